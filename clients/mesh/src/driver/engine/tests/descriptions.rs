//! Descriptions: media, other certificates, and hostile ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Pair, config};
use crate::driver::engine::descriptions::Unusable;
use crate::driver::engine::fuzz::fuzz_engine;
use crate::driver::engine::{Engine, Output, Written};
use crate::mesh::{Description, Kind};

/// What a browser offers after `addTrack`, on top of an earlier description of the engine.
fn with_camera(offer: &str) -> String {
    let session = offer.split_once("m=").map_or(offer, |(session, _)| session);
    let mid = offer.lines().find_map(|line| line.strip_prefix("a=mid:")).expect("a mid");
    let application = offer.split_once("m=").map_or("", |(_, media)| media);
    let session = session.replace(&format!("BUNDLE {mid}"), &format!("BUNDLE {mid} 1"));
    let transport: String = application
        .lines()
        .filter(|line| ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint"].iter().any(|it| line.starts_with(it)))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let camera = format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n{transport}a=setup:actpass\r\n\
         a=mid:1\r\na=sendrecv\r\na=msid:stream track\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n\
         a=ssrc:1001 cname:c\r\na=candidate:1 1 udp 2113937151 0a1b2c3d.local 50000 typ host\r\n"
    );
    format!("{session}m={application}{camera}")
}

#[test]
fn every_corpus_file_of_descriptions_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/description");
    let entries: Vec<_> = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("a file")).collect();
    assert!(!entries.is_empty());
    for entry in entries {
        let description = std::fs::read(entry.path()).expect("a readable file");
        fuzz_engine(&String::from_utf8_lossy(&description)); // libFuzzer adds files that are not UTF-8
    }
}

#[test]
fn camera_of_a_browser_is_answered_inactive_and_the_channels_stay() {
    let mut pair = Pair::connected();
    let description = pair.engines[0].restart_ice().expect("a description of the session");
    let offer = Description { kind: Kind::Offer, sdp: with_camera(&description.sdp) };
    let answer = pair.engines[1].answer(&offer);
    let (_, video) = answer.sdp.split_once("m=video").expect("an answer for the camera");
    assert!(!video.starts_with(" 0 "), "the media line is accepted: {video}");
    assert!(video.contains("a=inactive"), "{video}");
    assert!(!pair.has_failed(1));
}

#[test]
fn media_whose_codecs_are_unknown_are_rejected_and_the_channels_stay() {
    let mut pair = Pair::connected();
    let description = pair.engines[0].restart_ice().expect("a description of the session");
    let sdp = with_camera(&description.sdp).replace("VP8/90000", "other/90000");
    let answer = pair.engines[1].answer(&Description { kind: Kind::Offer, sdp });
    let (_, video) = answer.sdp.split_once("m=video").expect("an answer for the camera");
    assert!(video.starts_with(" 0 UDP/TLS/RTP/SAVPF 0\r\n"), "{video}");
    assert!(!pair.has_failed(1));
}

#[test]
fn each_description_has_a_higher_version() {
    let version = |description: &Description| {
        let origin = description.sdp.lines().find(|line| line.starts_with("o=")).expect("an origin");
        origin.split(' ').nth(2).expect("a version").parse::<u64>().expect("a number")
    };
    let mut pair = Pair::connected();
    let [first, second] = [(); 2].map(|()| pair.engines[0].restart_ice().expect("an offer"));
    assert!(1 < version(&first) && version(&first) < version(&second), "the first offer had a lower one");
    let [third, fourth] = [&first, &second].map(|offer| pair.engines[1].answer(offer));
    assert!(1 < version(&third) && version(&third) < version(&fourth));
}

/// Descriptions that cannot be parsed or applied. The second value: whether an own offer stays open.
fn unusable(description: &Description) -> Vec<(Description, bool)> {
    let change = |from: &str, to: &str| {
        assert!(description.sdp.contains(from), "{from} is in {}", description.sdp);
        description.sdp.replace(from, to)
    };
    let sdps = [
        (String::new(), true),
        (change("v=0", "w=0"), true),
        (change("a=ice-pwd:", "a=other:"), false),
        // The engine sees that this line is one too many when it has restarted ICE.
        (change("m=application", "m=other 9 X x\r\na=mid:other\r\nm=application"), false),
    ];
    sdps.into_iter().map(|(sdp, is_open)| (Description { kind: description.kind, sdp }, is_open)).collect()
}

#[test]
fn unusable_offer_does_not_end_a_connection() {
    let offer = Pair::connected().engines[0].restart_ice().expect("an offer");
    for index in 0..unusable(&offer).len() {
        let mut pair = Pair::connected();
        assert!(pair.engines[1].restart_ice().is_some());
        let offer = pair.engines[0].restart_ice().expect("an offer");
        let (changed, is_open) = unusable(&offer).swap_remove(index);
        assert!(pair.engines[1].accept(&changed).is_err(), "{}", changed.sdp);
        assert_eq!(pair.engines[1].has_offer(), is_open, "{}", changed.sdp);
        let answer = pair.engines[1].answer(&offer);
        pair.engines[0].accept(&answer).expect("usable");
        assert_works(&mut pair);
    }
}

#[test]
fn unusable_answer_does_not_end_a_connection() {
    let answer = Pair::connected().engines[1].restart_ice().expect("a description of the session");
    for index in 0..unusable(&answer).len() {
        let mut pair = Pair::connected();
        let offer = pair.engines[0].restart_ice().expect("an offer");
        let answer = pair.engines[1].answer(&offer);
        let (changed, is_open) = unusable(&answer).swap_remove(index);
        assert!(pair.engines[0].accept(&changed).is_err(), "{}", changed.sdp);
        assert_eq!(pair.engines[0].has_offer(), is_open, "{}", changed.sdp);
        let answer = if is_open {
            answer
        } else {
            let offer = pair.engines[0].restart_ice().expect("another offer");
            pair.engines[1].answer(&offer)
        };
        pair.engines[0].accept(&answer).expect("usable");
        assert_works(&mut pair);
    }
}

/// Both engines receive what the other one sends after this.
fn assert_works(pair: &mut Pair) {
    for engine in 0..2 {
        assert_eq!(pair.engines[engine].write_data(None, &[2, 7], true), Written::Accepted);
    }
    assert!(pair.run_until(Duration::from_secs(20), |pair| (0..2).all(|engine| !pair.received(engine).is_empty())));
    // A path of the old credentials would be silent by then.
    pair.run_until(Duration::from_secs(20), |_| false);
    assert!(!pair.has_failed(0) && !pair.has_failed(1));
    assert!(pair.engines.iter().all(|engine| engine.ice_connected));
}

#[test]
fn other_certificate_than_described_does_not_connect() {
    let now = Instant::now();
    let addresses = Pair::new().addresses;
    let engine = |address| Engine::new(Arc::new(config(address)), now);
    let [mut offerer, mut answerer] = addresses.map(engine);
    let offer = offerer.offer().expect("an offer");
    let mut answer = answerer.answer(&offer);
    let (before, after) = answer.sdp.split_once("a=fingerprint:sha-256 ").expect("a fingerprint");
    answer.sdp = format!("{before}a=fingerprint:sha-256 {}{}", ["AB"; 32].join(":"), &after[95..]);
    offerer.accept(&answer).expect("usable");
    let engines = [offerer, answerer];
    let mut pair = Pair { now, engines, addresses, blocked: false, outputs: [Vec::new(), Vec::new()] };
    pair.run_until(Duration::from_secs(5), |pair| pair.has_failed(0));
    assert!(pair.has_failed(0));
    assert!(!pair.outputs[0].iter().any(|output| matches!(output, Output::Opened)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn descriptions_and_candidates_cause_no_panic(
        line in "[ -~]{0,40}",
        at in 0..40_usize,
        attribute in "(a=(mid|setup|ssrc|rid|simulcast|extmap|rtpmap|fmtp|candidate|sctp-port|group):|m=)[ -~]{0,30}",
        kind in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        let offer = Engine::new(Arc::new(config(pair.addresses[0])), pair.now).offer().expect("an offer");
        let mut lines: Vec<_> = with_camera(&offer.sdp).lines().map(str::to_owned).collect();
        lines.insert(at.min(lines.len()), line.clone());
        lines.insert((2 * at).min(lines.len()), attribute.clone());
        let kind = if kind { Kind::Offer } else { Kind::Answer };
        let description = Description { kind, sdp: lines.join("\r\n") + "\r\n" };
        let _: Result<_, Unusable> = pair.engines[1].accept(&description);
        pair.engines[0].add_candidate(&attribute);
        pair.engines[0].add_candidate(&format!("candidate:{line}"));
        pair.run_until(Duration::from_millis(100), |_| false);
    }
}
