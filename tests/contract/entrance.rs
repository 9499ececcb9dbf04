//! Who may come in, and how the others are told.

use std::time::{Duration, SystemTime};

use sigver::memory::Heard;
use sigver::protocol::{CloseCode, GroupKey};
use sigver::{Cause, ClientIpHeader, JoinRequest, PeerInfo, Rejection, SignalingHub, SignedKeys};

use crate::door::{Door, Kind, Knock, Refused};
use crate::limits::build;

crate::over_every_mount! {
    an_admission_sees_the_request_and_says_who_it_is
    an_admission_refuses_with_a_close_code
    an_admission_refuses_with_a_status
    an_admission_that_panics_refuses_that_one_peer
    an_admission_that_takes_too_long_refuses
    an_admission_is_not_asked_about_what_is_no_key
    a_peer_that_goes_while_it_is_asked_about_leaves_nothing
    a_cookie_admits
    a_token_in_the_query_admits
    a_token_before_the_key_admits_and_is_no_part_of_it
    a_subprotocol_admits
    a_signed_key_admits_until_it_expires
    pages_of_other_origins_get_403
    without_an_origin_needs_the_switch
    one_peer_too_many_in_all_is_1013
    one_peer_too_many_of_an_address_is_1013
    one_new_peer_too_many_in_a_second_is_1013
    an_address_is_believed_from_trusted_proxies_only
    one_group_too_many_is_1013
}

/// Counts as an address of its own, unlike the machine's own.
const CLIENT: &str = "192.0.2.7";

async fn admitted(door: &dyn Door, knock: Knock) -> bool {
    match door.knock(knock).await {
        Ok(mut peer) => {
            peer.send_connect(1, &[1]).await;
            matches!(peer.recv().await, Heard::Message(_))
        }
        Err(_) => false,
    }
}

async fn an_admission_sees_the_request_and_says_who_it_is(kind: Kind) {
    let hub = build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        let head = request.request().expect("it comes by a request");
        assert_eq!(request.client_ip(), Some([127, 0, 0, 1].into()));
        assert_eq!(request.key()?.as_str(), "my key");
        assert!(request.is_favored());
        assert_eq!(head.headers["x-user"], "alice");
        Ok(PeerInfo::new().identity("alice"))
    }));
    let door = kind.mount(hub).await;
    assert!(admitted(&*door, Knock::at("my%20key?favored").header("x-user", "alice")).await);
}

async fn an_admission_refuses_with_a_close_code(kind: Kind) {
    const BANNED: CloseCode = CloseCode::app(4001);
    let hub = build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        if request.key()?.as_str() == "open" {
            Ok(PeerInfo::new())
        } else {
            Err(Rejection::close(BANNED, "x".repeat(200)))
        }
    }));
    let door = kind.mount(hub.clone()).await;
    let mut banned = door.open("shut").await;
    match banned.recv().await {
        Heard::Closed(Some(frame)) => assert_eq!((frame.code, frame.reason), (4001, "x".repeat(123))),
        other => panic!("expected a close, but heard {other:?}"),
    }
    assert!(admitted(&*door, Knock::at("open")).await);
    assert_eq!(hub.stats().rejections.get(Cause::Admission), 1);
}

async fn an_admission_refuses_with_a_status(kind: Kind) {
    for (status, code) in [(401, 1008), (429, 1013), (500, 1011)] {
        let hub = build(
            SignalingHub::builder()
                .admission(move |_| async move { Err::<PeerInfo, _>(Rejection::http(status, "not you")) }),
        );
        let door = kind.mount(hub.clone()).await;
        assert_eq!(door.refused(Knock::at("K")).await, kind.rejection(status, code));
        hub.shutdown().await;
        assert_eq!(hub.stats().rejections.get(Cause::Admission), 1);
    }
}

async fn an_admission_that_panics_refuses_that_one_peer(kind: Kind) {
    let hub = build(SignalingHub::builder().admission(|request: JoinRequest| {
        assert_ne!(request.key().map(GroupKey::as_str), Ok("at once"), "a bug of the app");
        async move {
            assert_ne!(request.key()?.as_str(), "later", "a bug of the app");
            Ok(PeerInfo::new())
        }
    }));
    let door = kind.mount(hub).await;
    for key in ["at%20once", "later"] {
        assert_eq!(door.refused(Knock::at(key)).await, Refused::Closed(1011), "{key}");
        assert!(admitted(&*door, Knock::at("K")).await);
    }
}

async fn an_admission_that_takes_too_long_refuses(kind: Kind) {
    let builder = SignalingHub::builder().admission_timeout(Duration::from_millis(50));
    let hub = build(builder.admission(|request: JoinRequest| async move {
        if request.key()?.as_str() == "slow" {
            std::future::pending::<()>().await;
        }
        Ok(PeerInfo::new())
    }));
    let door = kind.mount(hub).await;
    assert_eq!(door.refused(Knock::at("slow")).await, Refused::Closed(1013));
    assert!(admitted(&*door, Knock::at("K")).await);
}

async fn an_admission_is_not_asked_about_what_is_no_key(kind: Kind) {
    let hub =
        build(SignalingHub::builder().admission(|_| async { panic!("it is asked") as Result<PeerInfo, Rejection> }));
    let door = kind.mount(hub).await;
    assert_eq!(door.refused(Knock::at("")).await, Refused::Closed(4741));
    assert_eq!(door.refused(Knock::at("%ff")).await, Refused::Closed(4745));
}

async fn a_peer_that_goes_while_it_is_asked_about_leaves_nothing(kind: Kind) {
    let (asked, mut is_asked) = tokio::sync::mpsc::channel(1);
    let limit = Duration::from_millis(50);
    let builder = SignalingHub::builder().max_peers(1).admission_timeout(limit);
    let hub = build(builder.admission(move |request: JoinRequest| {
        let asked = asked.clone();
        async move {
            if request.key()?.as_str() == "wait" {
                asked.send(()).await.expect("the test listens");
                std::future::pending::<()>().await;
            }
            Ok(PeerInfo::new())
        }
    }));
    let door = kind.mount(hub.clone()).await;
    tokio::select! {
        _ = door.refused(Knock::at("wait")) => panic!("it is not answered"),
        asked = is_asked.recv() => asked.expect("it is asked"),
    }
    // Its place is free once the server has seen that it went, or has waited long enough for the answer.
    if kind == Kind::Memory {
        tokio::time::advance(2 * limit).await;
    }
    while !admitted(&*door, Knock::at("K")).await {}
}

/// The value of a cookie.
fn cookie<'a>(request: &'a JoinRequest, name: &str) -> Option<&'a str> {
    let line = request.request()?.headers.get("cookie")?.to_str().ok()?;
    line.split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

async fn a_cookie_admits(kind: Kind) {
    let hub = build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        match cookie(&request, "session") {
            Some("alice's") => Ok(PeerInfo::new().identity("alice")),
            _ => Err(Rejection::http(401, "log in first")),
        }
    }));
    let door = kind.mount(hub).await;
    assert!(admitted(&*door, Knock::at("K").header("cookie", "a=b; session=alice's")).await);
    for wrong in ["session=bob's", "session2=alice's", ""] {
        assert_eq!(door.refused(Knock::at("K").header("cookie", wrong)).await, kind.rejection(401, 1008), "{wrong}");
    }
}

async fn a_token_in_the_query_admits(kind: Kind) {
    let hub = build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        let query = request.request().and_then(|head| head.uri.query()).unwrap_or_default();
        if query.split('&').any(|pair| pair == "token=secret") {
            Ok(PeerInfo::new())
        } else {
            Err(Rejection::close(CloseCode::app(4001), "a token, please"))
        }
    }));
    let door = kind.mount(hub).await;
    assert!(admitted(&*door, Knock::at("K?token=secret")).await);
    assert!(admitted(&*door, Knock::at("?key=K&token=secret")).await);
    assert_eq!(door.refused(Knock::at("K?token=guess")).await, Refused::Closed(4001));
}

async fn a_token_before_the_key_admits_and_is_no_part_of_it(kind: Kind) {
    let hub = build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        match request.key()?.as_str().split_once('/') {
            Some(("alice" | "bob", key)) => {
                Ok(PeerInfo::new().key(GroupKey::new(key).map_err(|error| Rejection::from(&error))?))
            }
            _ => Err(Rejection::close(CloseCode::app(4001), "a token before the key, please")),
        }
    }));
    let door = kind.mount(hub).await;
    let [mut alice, mut bob] = [door.open("alice/K").await, door.open("bob/K").await];
    assert!(alice.connect(1, &[]).await);
    assert!(!bob.connect(2, &[]).await);
    assert_eq!(door.refused(Knock::at("eve/K")).await, Refused::Closed(4001));
    assert_eq!(door.refused(Knock::at("alice/")).await, Refused::Closed(4741));
}

async fn a_signed_key_admits_until_it_expires(kind: Kind) {
    let keys = SignedKeys::new([7; 32]).expect("32 bytes");
    let sign = |expires| keys.sign(&GroupKey::new("room").expect("a key"), expires).expect("short enough");
    let now = SystemTime::now();
    let [good, later] = [60, 61].map(|seconds| sign(now + Duration::from_secs(seconds)));
    let over = sign(now - Duration::from_secs(1));
    let door = kind.mount(build(SignalingHub::builder().admission(keys.clone()))).await;
    let [mut alice, mut bob] = [door.open(&good).await, door.open(&later).await];
    assert!(alice.connect(1, &[]).await);
    assert!(!bob.connect(2, &[]).await, "one group");
    for bad in [&over, "room", &good.replace("room", "other")] {
        assert_eq!(door.refused(Knock::at(bad)).await, Refused::Closed(1008), "{bad}");
    }
}

async fn a_subprotocol_admits(kind: Kind) {
    // An app's own upgrade has to choose one of those that a browser offers.
    if matches!(kind, Kind::AppHyper | Kind::AppAxum | Kind::AppWarp) {
        return;
    }
    let hub = build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        let offered = request.request().and_then(|head| head.headers.get("sec-websocket-protocol"));
        let offered = offered.and_then(|offered| offered.to_str().ok()).unwrap_or_default();
        if offered.split(", ").any(|protocol| protocol == "token.secret") {
            Ok(PeerInfo::new())
        } else {
            Err(Rejection::http(401, "a token, please"))
        }
    }));
    let door = kind.mount(hub).await;
    assert!(admitted(&*door, Knock::at("K").header("sec-websocket-protocol", "sigver, token.secret")).await);
    let guess = Knock::at("K").header("sec-websocket-protocol", "token.guess");
    assert_eq!(door.refused(guess).await, kind.rejection(401, 1008));
}

async fn pages_of_other_origins_get_403(kind: Kind) {
    let hub = build(SignalingHub::builder().allowed_origins(["https://app.example", "https://*.app.example"]));
    let door = kind.mount(hub.clone()).await;
    for good in ["https://app.example", "https://a.app.example"] {
        assert!(admitted(&*door, Knock::at("K").header("origin", good)).await, "{good}");
    }
    for evil in ["https://app.example.evil.example", "null", "http://app.example", "caf\u{e9}"] {
        let knock = Knock::at("K").header("origin", evil);
        assert_eq!(door.refused(knock).await, kind.rejection(403, 1008), "{evil}");
    }
    hub.shutdown().await;
    assert_eq!(hub.stats().rejections.get(Cause::AllowedOrigins), 4);
}

async fn without_an_origin_needs_the_switch(kind: Kind) {
    let builder = || SignalingHub::builder().allowed_origins(["https://app.example"]);
    let door = kind.mount(build(builder())).await;
    assert_eq!(door.refused(Knock::at("K")).await, kind.rejection(403, 1008));
    let door = kind.mount(build(builder().allow_missing_origin(true))).await;
    assert!(admitted(&*door, Knock::at("K")).await);
    let evil = Knock::at("K").header("origin", "https://evil.example");
    assert_eq!(door.refused(evil).await, kind.rejection(403, 1008));
}

async fn one_peer_too_many_in_all_is_1013(kind: Kind) {
    let hub = build(SignalingHub::builder().max_peers(2));
    let door = kind.mount(hub.clone()).await;
    let [first, _second] = [door.open("K").await, door.open("L").await];
    assert_eq!(door.refused(Knock::at("M")).await, Refused::Closed(1013));
    assert!(hub.stats().rejections.get(Cause::MaxPeers) >= 1);
    first.close().await;
    // The place is free once the hub has seen it.
    while !admitted(&*door, Knock::at("M")).await {}
}

async fn one_peer_too_many_of_an_address_is_1013(kind: Kind) {
    let builder = SignalingHub::builder().max_peers_per_ip(2);
    let hub = build(builder.trusted_proxies(ClientIpHeader::XForwardedFor, ["127.0.0.1"]));
    let door = kind.mount(hub.clone()).await;
    let knock = |from: &str| door.knock(Knock::at("K").from(from));
    let [first, _second] = [knock(CLIENT).await.expect("a peer"), knock(CLIENT).await.expect("a peer")];
    assert_eq!(door.refused(Knock::at("K").from(CLIENT)).await, Refused::Closed(1013));
    assert!(hub.stats().rejections.get(Cause::MaxPeersPerIp) >= 1);
    assert!(admitted(&*door, Knock::at("L").from("192.0.2.8")).await, "another address");
    let [_third, _fourth] = [knock("2001:db8::1").await.expect("a peer"), knock("2001:db8::2").await.expect("a peer")];
    assert_eq!(door.refused(Knock::at("K").from("2001:db8::3:0:0:1")).await, Refused::Closed(1013), "the same /64");
    first.close().await;
    while !admitted(&*door, Knock::at("M").from(CLIENT)).await {}
}

async fn one_new_peer_too_many_in_a_second_is_1013(kind: Kind) {
    // Over TCP time runs on, but one that comes all ten seconds can only be late by accident.
    let builder = SignalingHub::builder().joins_per_second_per_ip(3);
    let hub = build(builder.trusted_proxies(ClientIpHeader::Forwarded, ["127.0.0.1"]));
    let door = kind.mount(hub.clone()).await;
    let from = |address: &str| Knock::at("K").header("forwarded", format!("for={address}"));
    let mut refused = 0;
    let mut came = 0;
    while refused == 0 {
        match admitted(&*door, from(CLIENT)).await {
            true => came += 1,
            false => refused += 1,
        }
        assert!(came < 1000, "nobody is refused");
    }
    assert!(came >= 3, "{came}");
    assert_eq!(hub.stats().rejections.get(Cause::JoinsPerSecondPerIp), 1);
    assert!(admitted(&*door, from("192.0.2.8")).await, "another address");
}

async fn an_address_is_believed_from_trusted_proxies_only(kind: Kind) {
    let builder = SignalingHub::builder().max_peers_per_ip(1);
    let door = kind.mount(build(builder.trusted_proxies(ClientIpHeader::XForwardedFor, ["192.0.2.0/24"]))).await;
    let _first = door.open("K").await;
    for claim in [CLIENT, "::1", "garbage"] {
        assert_eq!(door.refused(Knock::at("K").from(claim)).await, Refused::Closed(1013), "{claim}");
    }
}

async fn one_group_too_many_is_1013(kind: Kind) {
    let hub = build(SignalingHub::builder().max_groups(2));
    let door = kind.mount(hub.clone()).await;
    let [first, _second] = [door.open("K").await, door.open("L").await];
    assert_eq!(door.refused(Knock::at("M")).await, Refused::Closed(1013));
    assert!(admitted(&*door, Knock::at("L")).await, "a group that there is");
    assert!(hub.stats().rejections.get(Cause::MaxGroups) >= 1);
    first.close().await;
    while !admitted(&*door, Knock::at("M")).await {}
}
