//! The checks that tell from outside whether a hub can be used, through all that is in between.

mod dial;
mod pair;
mod peer;
mod report;
mod target;
mod trouble;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ArgAction;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use sigver::protocol::{CloseCode, Message};
use sigver::{Frame, Transport};

use crate::tls::TlsError;
use dial::Dial;
use pair::Pair;
use peer::Peer;
use report::{Finding, Report, Took};
use target::Target;
use trouble::Trouble;

/// What to probe, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where the hub is, as ws:// or wss://. A fresh key goes to its end if that is a slash, and else where it says
    /// {key}; a URL with neither has a key of its own
    #[arg(value_name = "URL")]
    url: Target,
    /// How long to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// How long to keep two sockets open with nothing but heartbeats, 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    idle: u64,
    /// Send this Origin, as a page from there would: https://HOST
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<HeaderValue>,
    /// Trust the certificates in this file too (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: (),
}

impl Options {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// Checks everything that can be checked, a line for each. Whether all is well.
pub(crate) async fn run(options: &Options) -> Result<bool, TlsError> {
    let dial = Dial::new(options)?;
    let mut report = Report::default();
    // Where it stopped has been said.
    let _: Option<()> = check(options, &dial, &mut report).await;
    Ok(report.verdict())
}

/// The way to the server; and with that, a group and what the hub refuses.
async fn check(options: &Options, dial: &Dial<'_>, report: &mut Report) -> Option<()> {
    let target = &options.url;
    let url = target.with_key(&fresh_key());
    report.send("url", Ok(((), target.to_string())));
    let addresses = report.check("name", dial.resolve()).await?;
    let socket = report.check("connect", dial.connect(&addresses)).await?;
    let socket = if target.encrypted() {
        report.check("tls", dial.secure(socket)).await?
    } else {
        report.skip("tls", "ws:// is not encrypted; a page from https:// can only open wss://");
        Box::new(socket)
    };
    let member = report.check("websocket", dial.upgrade(socket, &url)).await?;
    let second = async {
        // By another address, if there is one: all of them have to lead to the same groups.
        let addresses: Vec<_> = addresses.iter().rev().copied().collect();
        let (socket, way) = dial.again(&addresses).await?;
        let (peer, figures) = dial.upgrade(socket, &url).await?;
        Ok((peer, format!("{way}; {figures}")))
    };
    // What the hub refuses can be checked whatever becomes of the group.
    let _: Option<()> = group(options, report, member, second).await;
    refusals(options, report, dial, &addresses).await;
    Some(())
}

/// Two peers meet, talk, stay and leave.
async fn group<T: Transport + Unpin>(
    options: &Options,
    report: &mut Report,
    mut member: Peer<T>,
    second: impl Future<Output = Finding<Peer<T>>>,
) -> Option<()> {
    let within = options.timeout();
    report.check("admission", admission(&mut member, &options.url, within)).await?;
    // However long that takes, the first one is not to be found silent.
    let second = async {
        tokio::select! {
            second = second => second,
            Err(trouble) = member.rest(u32::MAX) => Err(trouble),
        }
    };
    let mut joiner = report.check("second peer", second).await?;
    report.check("binding", binding(&mut joiner, within)).await?;
    let mut pair = report.check("relay", Pair::meet(member, joiner, within)).await?;
    report.check("round trip", pair.round_trips()).await?;
    report.check("heartbeat", pair.first_heartbeat()).await?;
    report.check("staying", pair.stay()).await?;
    match options.idle {
        0 => report.skip("idle", "--idle SECONDS tells whether something in between ends long-lived sockets"),
        seconds => report.check("idle", pair.idle(Duration::from_secs(seconds))).await?,
    }
    report.check("leaving", pair.part()).await
}

/// What a hub does not take.
async fn refusals(options: &Options, report: &mut Report, dial: &Dial<'_>, addresses: &[SocketAddr]) {
    let target = &options.url;
    let text = async {
        let url = target.with_key(&fresh_key());
        let (socket, _) = dial.again(addresses).await?;
        let (mut peer, _) = dial.upgrade(socket, &url).await?;
        peer.send_frame(Frame::Text("text".to_owned())).await;
        closed(&mut peer, CloseCode::Message, options.timeout()).await
    };
    report.check("text message", text).await;

    let Some(url) = target.without_key() else {
        return report.skip("empty key", "the URL has a key of its own");
    };
    let keyless = async {
        let (socket, _) = dial.again(addresses).await?;
        let (mut peer, _) = dial.upgrade(socket, &url).await?;
        closed(&mut peer, CloseCode::Key, options.timeout()).await
    };
    match keyless.await {
        // A route such as axum's `/signal/{*key}` has no such URL.
        Err(Trouble::Http { status: StatusCode::NOT_FOUND, .. }) => {
            report.skip("empty key", "HTTP 404: without a key the URL is not the hub's");
        }
        finding => _ = report.send("empty key", finding),
    }
}

fn fresh_key() -> String {
    format!("probe-{:016x}", fastrand::u64(..))
}

/// The first peer of a group is its first member.
async fn admission<T: Transport + Unpin>(member: &mut Peer<T>, target: &Target, within: Duration) -> Finding<()> {
    let start = Instant::now();
    match connect(member, within).await? {
        true => Ok(((), format!("the first peer is a member, {}", Took(start.elapsed())))),
        false if target.has_own_key() => Err(Trouble::Occupied),
        false => Err(Trouble::Bound),
    }
}

/// The second one is no member, but bound to one.
async fn binding<T: Transport + Unpin>(joiner: &mut Peer<T>, within: Duration) -> Finding<()> {
    let start = Instant::now();
    match connect(joiner, within).await? {
        false => Ok(((), format!("the second peer is bound to it, {}", Took(start.elapsed())))),
        true => Err(Trouble::Apart),
    }
}

/// Asks to be admitted, and returns the answer.
async fn connect<T: Transport + Unpin>(peer: &mut Peer<T>, within: Duration) -> Result<bool, Trouble> {
    // Netflux draws its ids from here, too: below are those of links.
    peer.send(Message::connect(fastrand::u32(1 << 31..), &[])).await;
    match peer.hear("connect", within).await? {
        Message::Connected(admitted) => Ok(admitted),
        came => Err(Trouble::Unexpected { came, expected: "connected" }),
    }
}

/// The hub closes a peer with this code.
async fn closed<T: Transport + Unpin>(peer: &mut Peer<T>, code: CloseCode, within: Duration) -> Finding<()> {
    let expected = code.as_u16();
    match peer.hear("what has to be refused", within).await {
        Err(Trouble::Closed(Some(frame))) if frame.code == expected => Ok(((), format!("closed with {expected}"))),
        Err(Trouble::Closed(frame)) => Err(Trouble::OtherClose { frame, expected }),
        Err(Trouble::Cut { .. }) => Err(Trouble::NoClose { expected }),
        Err(Trouble::Unanswered { .. }) => Err(Trouble::NoRefusal { expected, within }),
        Err(trouble) => Err(trouble),
        Ok(came) => Err(Trouble::Unexpected { came, expected: "a close" }),
    }
}
