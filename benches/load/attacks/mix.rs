//! Hostile peers: ten attacks on a server, each repeated on many connections.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum;
use sigver::protocol::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::client::{End, Socket, Target, frame};
use crate::sources::{Buffers, Sources};

/// The attackers and how long they attack.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Number of concurrent attacking connections
    #[arg(long, default_value_t = 1000)]
    pub(crate) count: usize,
    /// Duration in seconds
    #[arg(long, default_value_t = 20.0)]
    pub(crate) seconds: f64,
    /// Attacks to run [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Attack>,
}

/// A way to attack a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Attack {
    /// Reads nothing while its partner sends to it.
    NoRead,
    /// Reads one byte per second while its partner sends to it.
    SlowRead,
    /// Sends one byte of its handshake per second.
    Slowloris,
    /// Opens a TCP connection and sends nothing.
    IdleTcp,
    /// Opens a WebSocket and sends nothing.
    IdleWebsocket,
    /// Sends messages far over the rate limit.
    Messages,
    /// Sends pings far over the rate limit.
    Pings,
    /// Sends messages over the size limit, whole or in fragments.
    Oversized,
    /// Sends invalid frames or messages.
    Malformed,
    /// Opens a WebSocket, sends `connect` and resets the connection.
    ConnectStorm,
}

/// Messages in one flood: more than a peer may send per second.
const FLOOD: usize = 25_000;
/// Receive buffer of a peer that does not read, small so that it fills quickly.
const SMALL_BUFFER: u32 = 4096;
/// How long an attacker waits for a close code.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
const SECOND: Duration = Duration::from_secs(1);

/// How attacks ended, by attack.
#[derive(Default)]
pub(crate) struct Ends(BTreeMap<Attack, Tally>);

#[derive(Default)]
struct Tally {
    started: u64,
    /// The key is `None` if the attacker ended the connection.
    ended: BTreeMap<Option<End>, u64>,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<14} {:>8} {:>12}  ended by", "attack", "attacks", "open at end")?;
        for (attack, Tally { started, ended }) in &self.0 {
            let open = started - ended.values().sum::<u64>();
            write!(f, "\n{:<14} {started:>8} {open:>12} ", attack.name())?;
            for (end, count) in ended {
                match end {
                    Some(end) => write!(f, " {end}: {count}")?,
                    None => write!(f, " attacker: {count}")?,
                }
            }
        }
        Ok(())
    }
}

/// Runs the attacks, each with the same number of connections.
pub(crate) async fn run(target: &Target, options: &Options) -> Ends {
    let ends = Arc::new(Mutex::new(Ends::default()));
    // The attacks test the limits of each peer, not those of each IP.
    let target = Target { sources: Sources::MANY_HOSTILE, ..target.clone() };
    let mut attackers = JoinSet::new();
    let attacks = if options.only.is_empty() { Attack::value_variants() } else { &options.only };
    let connections = options.count.div_ceil(attacks.len());
    for &attack in attacks {
        for nth in 0..connections / attack.connections() {
            attackers.spawn(repeat(attack, nth, target.clone(), ends.clone()));
        }
    }
    sleep(Duration::from_secs_f64(options.seconds)).await;
    let ends = std::mem::take(&mut *ends.lock().expect("nothing panics under this lock"));
    while let Some(ended) = attackers.try_join_next() {
        ended.expect("an attacker does not panic");
    }
    ends
}

/// Repeats an attack until the future is dropped.
async fn repeat(attack: Attack, nth: usize, target: Target, ends: Arc<Mutex<Ends>>) {
    let pause = attack.pause();
    sleep(pause.mul_f64(fastrand::f64())).await;
    for round in nth.. {
        let tally = |count: fn(&mut Tally, Option<End>), end| {
            count(ends.lock().expect("nothing panics under this lock").0.entry(attack).or_default(), end);
        };
        tally(|tally, _| tally.started += 1, None);
        let end = attack.run_once(round, &target).await.err();
        tally(|tally, end| *tally.ended.entry(end).or_default() += 1, end);
        sleep(pause).await;
    }
}

impl Attack {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no variant is skipped").get_name().to_owned()
    }

    /// Returns the number of connections that one attack uses.
    fn connections(self) -> usize {
        match self {
            Self::NoRead | Self::SlowRead => 2,
            _ => 1,
        }
    }

    /// Returns the pause between two attacks. The hub handles up to 20 000 messages of a flood before it closes the
    /// peer, so floods pause longer.
    fn pause(self) -> Duration {
        match self {
            Self::Messages | Self::Pings => 10 * SECOND,
            Self::ConnectStorm => SECOND / 2,
            _ => SECOND,
        }
    }

    /// Attacks once. Returns an error if the server ended the connection.
    async fn run_once(self, nth: usize, target: &Target) -> Result<(), End> {
        let key = format!("bad-{}", fastrand::u64(..));
        match self {
            Self::NoRead => starve(target, &key, nth, false).await,
            Self::SlowRead => starve(target, &key, nth, true).await,
            Self::Slowloris => {
                let headers = "X-Patience: endless\r\n".bytes().cycle();
                let request = target.request(&key);
                let bytes = request.trim_end().bytes().chain("\r\n".bytes()).chain(headers);
                trickle(open_tcp(target).await?, bytes).await
            }
            Self::IdleTcp => trickle(open_tcp(target).await?, std::iter::empty()).await,
            Self::IdleWebsocket => Err(open(target, &key).await?.recv_end().await),
            Self::Messages => {
                let message = frame(&Message::content(0, vec![b'x'; 50]).encode());
                flood(open_member(target, &key).await?, &message).await
            }
            Self::Pings => flood(open_member(target, &key).await?, &[0x89, 0x80, 0, 0, 0, 0]).await,
            Self::Oversized => send_and_wait(open_member(target, &key).await?, &oversized(nth)).await,
            Self::Malformed => send_and_wait(open_member(target, &key).await?, &malformed(nth)).await,
            Self::ConnectStorm => {
                let mut socket = open(target, &key).await?;
                socket.send(&frame(&Message::connect(1, &[]).encode())).await?;
                socket.reset();
                Ok(())
            }
        }
    }
}

async fn open_tcp(target: &Target) -> Result<TcpStream, End> {
    target.connect().await.map_err(|_| End::ConnectionLost)
}

async fn open(target: &Target, key: &str) -> Result<Socket, End> {
    Socket::open_over(open_tcp(target).await?, target, key).await
}

async fn open_member(target: &Target, key: &str) -> Result<Socket, End> {
    let mut socket = open(target, key).await?;
    socket.connect(1, &[]).await?;
    Ok(socket)
}

/// Sends to a partner that reads nothing, or one byte per second, until the server closes the partner.
async fn starve(target: &Target, key: &str, nth: usize, reads_slowly: bool) -> Result<(), End> {
    let mut sender = open_member(target, key).await?;
    let stream = target.connect_with(Buffers { receive: Some(SMALL_BUFFER), segment: None }).await;
    let stream = stream.map_err(|_| End::ConnectionLost)?;
    let mut consumer = Socket::open_over(stream, target, key).await?;
    consumer.connect(2, &[]).await?;
    consumer.send(&frame(&Message::content(0, "offer").encode())).await?;
    let link = loop {
        if let Ok(Message::Content { sender, .. }) = Message::decode(sender.recv().await?) {
            break sender;
        }
    };
    // The same bytes per second, in few messages or in many.
    let (bytes, every) = if nth.is_multiple_of(2) { (60_000, SECOND / 10) } else { (2000, SECOND / 300) };
    let content = frame(&Message::content(link, vec![b'x'; bytes]).encode());
    let heartbeat = frame(&Message::HEARTBEAT);
    let (mut contents, mut seconds) = (interval(every), interval(SECOND));
    loop {
        tokio::select! {
            _ = contents.tick() => sender.send(&content).await?,
            _ = seconds.tick() => {
                sender.send(&heartbeat).await?;
                if consumer.send(&heartbeat).await.is_err() {
                    break;
                }
                if reads_slowly && consumer.read_up_to(1).is_err() {
                    break;
                }
            }
            message = sender.recv() => if let Ok(Message::Content { .. }) = Message::decode(message?) {
                break; // The link has ended.
            }
        }
    }
    // The messages before the close frame must pass through the small buffer first.
    wait_for_end(consumer).await
}

/// Sends one byte per second until the server ends the connection.
async fn trickle(mut stream: TcpStream, mut bytes: impl Iterator<Item = u8>) -> Result<(), End> {
    let mut seconds = interval(SECOND);
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            _ = seconds.tick() => if let Some(byte) = bytes.next() {
                stream.write_all(&[byte]).await.map_err(|_| End::ConnectionLost)?;
            },
            read = stream.read(&mut answer) => return Err(match read {
                Ok(0) | Err(_) => End::ConnectionLost,
                // HTTP/1.1 STATUS
                Ok(read) => {
                    let head = String::from_utf8_lossy(&answer[..read]).into_owned();
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                    status.map_or(End::ConnectionLost, End::Rejected)
                }
            }),
        }
    }
}

async fn flood(socket: Socket, frame: &[u8]) -> Result<(), End> {
    send_and_wait(socket, &frame.repeat(FLOOD)).await
}

async fn send_and_wait(mut socket: Socket, bytes: &[u8]) -> Result<(), End> {
    // If the server ends the connection during the write, a close code may have arrived before.
    let _: Result<(), End> = socket.send(bytes).await;
    wait_for_end(socket).await
}

/// Waits until the server ends the connection, at most [`CLOSE_TIMEOUT`].
async fn wait_for_end(mut socket: Socket) -> Result<(), End> {
    timeout(CLOSE_TIMEOUT, socket.recv_end()).await.map_or(Ok(()), Err)
}

/// Returns a message of one MiB, a message slightly over the limit, or fragments of a message that never ends.
fn oversized(nth: usize) -> Vec<u8> {
    const MASK: [u8; 4] = [0; 4];
    match nth % 3 {
        0 | 1 => {
            let length = if nth.is_multiple_of(3) { 1 << 20 } else { 66_000 };
            let mut frame = vec![0x82, 0x80 | 127];
            frame.extend(u64::to_be_bytes(length));
            frame.extend(MASK);
            frame.resize(frame.len() + length as usize, 0);
            frame
        }
        _ => {
            let mut fragment = vec![0, 0x80 | 125];
            fragment.extend(MASK);
            fragment.extend([0; 125]);
            let mut fragments = fragment.repeat(600);
            fragments[0] = 2;
            fragments
        }
    }
}

/// Returns one of six invalid frames.
fn malformed(nth: usize) -> Vec<u8> {
    match nth % 6 {
        0 => vec![0x82, 1, 0],                                      // not masked
        1 => vec![0x8f, 0x80, 0, 0, 0, 0],                          // an unknown opcode
        2 => vec![0xf2, 0x80, 0, 0, 0, 0],                          // reserved bits
        3 => [&[0x89, 0x80 | 126, 0, 200][..], &[0; 204]].concat(), // a ping over 125 bytes
        4 => vec![0x81, 0x81, 0, 0, 0, 0, b'x'],                    // a text frame
        _ => frame(b"\xff\xff\xff\xff\xff\xff\xff"),                // not a message
    }
}
