//! `sigver probe`: checks as a client whether a hub is usable through every proxy in between.

mod diagnosis;
mod dial;
mod elapsed;
mod header;
mod options;
mod pair;
mod peer;
mod report;
mod target;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use sigver::Transport;
use sigver::protocol::CloseCode;

use crate::tls::TlsError;
use diagnosis::{Diagnosis, Step};
use dial::Dialer;
use elapsed::Elapsed;
use pair::Pair;
use peer::Peer;
use report::{Finding, Report};
use target::Target;

pub(crate) use options::Options;

const QUICK: &str = "takes too long for --quick";

/// Runs all checks and prints their results. Returns whether no check failed.
pub(crate) async fn run(options: &Options) -> Result<bool, TlsError> {
    let dialer = Dialer::new(options, &options.url)?;
    let second = options.second_url.as_ref().map(|target| Dialer::new(options, target)).transpose()?;
    let mut report = Report::new(options.json);
    // The report contains the check that failed.
    let _: Option<()> = check_server(options, &dialer, second.as_ref(), &mut report).await;
    Ok(report.finish())
}

/// Connects to the server, then checks a group and the rejections of the hub.
async fn check_server(
    options: &Options,
    dialer: &Dialer<'_>,
    second_dialer: Option<&Dialer<'_>>,
    report: &mut Report,
) -> Option<()> {
    let (target, key) = (&options.url, random_key());
    let url = target.with_key(&key);
    report.record("url", Ok(((), target.to_string())));
    if let Some(second) = &options.second_url {
        let is_comparable = second.has_own_key() == target.has_own_key();
        let finding = if is_comparable { Ok(((), second.to_string())) } else { Err(Diagnosis::KeyInOneUrl) };
        report.record("second url", finding)?;
    }
    let addresses = report.check("dns", dialer.resolve()).await?;
    let socket = report.check("tcp", dialer.connect(&addresses)).await?;
    let encrypt = dialer.encrypt(socket);
    let socket = if target.is_encrypted() {
        report.check("tls", encrypt).await?
    } else {
        report.skip("tls", "ws:// is not encrypted; pages from https:// can open only wss://");
        encrypt.await.expect("without TLS, no handshake can fail").0
    };
    let member = report.check("websocket", dialer.upgrade(socket, &url)).await?;
    let second = async {
        if let (Some(dialer), Some(target)) = (second_dialer, &options.second_url) {
            let (addresses, _) = dialer.resolve().await?;
            let (socket, connected) = dialer.open(&addresses).await?;
            let (peer, upgraded) = dialer.upgrade(socket, &target.with_key(&key)).await?;
            return Ok((peer, format!("{connected}; {upgraded}")));
        }
        // The second peer uses another address, if there is one: all addresses must lead to the same groups.
        let addresses: Vec<_> = addresses.iter().rev().copied().collect();
        let (socket, connected) = dialer.open(&addresses).await?;
        let (peer, upgraded) = dialer.upgrade(socket, &url).await?;
        Ok((peer, format!("{connected}; {upgraded}")))
    };
    // The rejections do not depend on the group.
    let _: Option<()> = check_group(options, report, member, second).await;
    check_rejections(options, report, dialer, &addresses).await;
    Some(())
}

/// Checks that two peers join a group, exchange messages, stay connected and leave.
async fn check_group<T: Transport + Unpin>(
    options: &Options,
    report: &mut Report,
    mut member: Peer<T>,
    second: impl Future<Output = Finding<Peer<T>>>,
) -> Option<()> {
    let timeout = options.timeout();
    report.check("first peer", first_peer(&mut member, &options.url, timeout)).await?;
    // The first peer answers its heartbeats while the second one connects.
    let second = async {
        tokio::select! {
            second = second => second,
            Err(diagnosis) = member.answer_heartbeats(u32::MAX) => Err(diagnosis),
        }
    };
    let mut joiner = report.check("second peer", second).await?;
    // The first peer answers its heartbeats while the second one waits for its answer.
    let bound = async {
        tokio::select! {
            bound = bind(&mut joiner, options) => bound,
            Err(diagnosis) = member.answer_heartbeats(u32::MAX) => Err(diagnosis),
        }
    };
    let check = if options.second_url.is_some() { "one hub" } else { "bind" };
    report.check(check, bound).await?;
    let mut pair = report.check("relay", Pair::exchange(member, joiner, timeout)).await?;
    let times = report.check("rtt", pair.round_trips()).await?;
    report.set_round_trips(times);
    if options.quick {
        ["heartbeat", "keepalive", "idle"].iter().for_each(|check| report.skip(check, QUICK));
        return report.check("leave", pair.leave()).await;
    }
    report.check("heartbeat", pair.first_heartbeat()).await?;
    report.check("keepalive", pair.keepalive()).await?;
    match options.idle {
        0 => report.skip("idle", "--idle SECONDS checks whether a proxy closes long-lived connections"),
        seconds => report.check("idle", pair.idle(Duration::from_secs(seconds))).await?,
    }
    report.check("leave", pair.leave()).await
}

/// Checks that the hub closes a peer for a text message, and for an empty key.
async fn check_rejections(options: &Options, report: &mut Report, dialer: &Dialer<'_>, addresses: &[SocketAddr]) {
    if options.quick {
        return ["text message", "empty key"].iter().for_each(|check| report.skip(check, QUICK));
    }
    let target = &options.url;
    let text = async {
        let url = target.with_key(&random_key());
        let (socket, _) = dialer.open(addresses).await?;
        let (mut peer, _) = dialer.upgrade(socket, &url).await?;
        peer.send_text().await;
        expect_close(&mut peer, CloseCode::Message, options.timeout()).await
    };
    report.check("text message", text).await;

    let Some(url) = target.without_key() else {
        return report.skip("empty key", "the URL contains a key");
    };
    let empty_key = async {
        let (socket, _) = dialer.open(addresses).await?;
        let (mut peer, _) = dialer.upgrade(socket, &url).await?;
        expect_close(&mut peer, CloseCode::Key, options.timeout()).await
    };
    match empty_key.await {
        // A route such as axum's `/signal/{*key}` does not match without a key.
        Err(Diagnosis::Http { status: StatusCode::NOT_FOUND, .. }) => {
            report.skip("empty key", "HTTP 404: without a key, the URL does not lead to the hub");
        }
        finding => _ = report.record("empty key", finding),
    }
}

fn random_key() -> String {
    format!("probe-{:016x}", fastrand::u64(..))
}

/// Checks that the first peer of a group becomes a member.
async fn first_peer<T: Transport + Unpin>(peer: &mut Peer<T>, target: &Target, timeout: Duration) -> Finding<()> {
    let start = Instant::now();
    match peer.connect(timeout).await? {
        true => Ok(((), format!("the first peer is a member, {}", Elapsed(start.elapsed())))),
        false if target.has_own_key() => Err(Diagnosis::GroupInUse),
        false => Err(Diagnosis::FirstPeerBound),
    }
}

/// Checks that the second peer is bound to the first one.
async fn bind<T: Transport + Unpin>(peer: &mut Peer<T>, options: &Options) -> Finding<()> {
    let start = Instant::now();
    let is_member = peer.connect(options.timeout()).await?;
    let elapsed = Elapsed(start.elapsed());
    match (is_member, &options.second_url) {
        (false, None) => Ok(((), format!("the second peer is bound to the first, {elapsed}"))),
        (false, Some(_)) => Ok(((), format!("the peer of the second URL is bound to that of the first, {elapsed}"))),
        (true, None) => Err(Diagnosis::SplitGroup),
        (true, Some(_)) => Err(Diagnosis::SeparateHubs),
    }
}

/// Checks that the hub closes a peer with this code.
async fn expect_close<T: Transport + Unpin>(peer: &mut Peer<T>, code: CloseCode, timeout: Duration) -> Finding<()> {
    let expected = code.as_u16();
    match peer.recv(Step::Close, timeout).await {
        Err(Diagnosis::Closed(Some(frame))) if frame.code == expected => Ok(((), format!("closed with {expected}"))),
        Err(Diagnosis::Closed(frame)) => Err(Diagnosis::WrongClose { frame, expected }),
        Err(Diagnosis::ConnectionLost { .. }) => Err(Diagnosis::NoCloseFrame { expected }),
        Err(Diagnosis::Timeout { .. }) => Err(Diagnosis::NotClosed { expected, timeout }),
        Err(diagnosis) => Err(diagnosis),
        Ok(event) => Err(Diagnosis::Unexpected { event, expected: "a close" }),
    }
}
