//! Peers that mean harm.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum;
use sigver::protocol::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::client::{Heard, Over, Socket, Target, frame};

/// How many attack, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Force {
    /// How many connections attack at a time
    #[arg(long, default_value_t = 1000)]
    pub(crate) count: usize,
    /// For how long
    #[arg(long, default_value_t = 20.0)]
    pub(crate) seconds: f64,
    /// In which ways, if not in all
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Attack>,
}

/// How a server is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Attack {
    /// Reads nothing while its partner sends to it.
    Deaf,
    /// The same, and reads a byte a second.
    Sipping,
    /// Sends a byte of its handshake a second.
    Slowloris,
    /// Connects and says nothing.
    Mute,
    /// Opens a WebSocket and says nothing.
    Silent,
    /// Sends more messages at once than it may in a second.
    Messages,
    /// Pings as much.
    Pings,
    /// Sends messages that are too long, whole or in pieces.
    Oversized,
    /// Sends what is no frame, or no message.
    Malformed,
    /// Opens, connects and resets its connection.
    Storm,
}

/// More than a peer may send in a second.
const FLOOD: usize = 25_000;
/// So little that what the system keeps for a peer that does not read is soon full.
const SMALL_BUFFER: u32 = 4096;
/// How long who is closed looks for a code.
const PATIENCE: Duration = Duration::from_secs(3);
const SECOND: Duration = Duration::from_secs(1);

/// How attacks ended, by attack.
#[derive(Default)]
pub(crate) struct Ends(BTreeMap<Attack, Tally>);

#[derive(Default)]
struct Tally {
    begun: u64,
    /// Who left by itself has none.
    ended: BTreeMap<Option<Over>, u64>,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {:>8} {:>12}  ended by", "attack", "attacks", "open at end")?;
        for (attack, Tally { begun, ended }) in &self.0 {
            let open = begun - ended.values().sum::<u64>();
            write!(f, "\n{:<12} {begun:>8} {open:>12} ", format!("{attack:?}").to_lowercase())?;
            for (over, count) in ended {
                match over {
                    Some(over) => write!(f, " {over}: {count}")?,
                    None => write!(f, " left: {count}")?,
                }
            }
        }
        Ok(())
    }
}

/// Attacks in each way with the same number of connections.
pub(crate) async fn run(target: &Target, force: &Force) -> Ends {
    let ends = Arc::new(Mutex::new(Ends::default()));
    let mut attacking = JoinSet::new();
    let attacks = if force.only.is_empty() { Attack::value_variants() } else { &force.only };
    let each = force.count.div_ceil(attacks.len());
    for &attack in attacks {
        for nth in 0..each / attack.connections() {
            attacking.spawn(again(attack, nth, target.clone(), ends.clone()));
        }
    }
    sleep(Duration::from_secs_f64(force.seconds)).await;
    let ends = std::mem::take(&mut *ends.lock().expect("nothing panics under this lock"));
    while let Some(ended) = attacking.try_join_next() {
        ended.expect("it does not panic");
    }
    ends
}

/// Attacks whenever the attack before is over, until it is dropped.
async fn again(attack: Attack, nth: usize, target: Target, ends: Arc<Mutex<Ends>>) {
    let pause = attack.pause();
    sleep(pause.mul_f64(fastrand::f64())).await;
    for round in nth.. {
        let tally = |count: fn(&mut Tally, Option<Over>), over| {
            count(ends.lock().expect("nothing panics under this lock").0.entry(attack).or_default(), over);
        };
        tally(|tally, _| tally.begun += 1, None);
        let over = attack.carry_out(round, &target).await.err();
        tally(|tally, over| *tally.ended.entry(over).or_default() += 1, over);
        sleep(pause).await;
    }
}

impl Attack {
    fn connections(self) -> usize {
        match self {
            Self::Deaf | Self::Sipping => 2,
            _ => 1,
        }
    }

    /// From the end of one to the next. A flood is up to 20 000 messages of work, which the hub allows to each peer.
    fn pause(self) -> Duration {
        match self {
            Self::Messages | Self::Pings => 10 * SECOND,
            Self::Storm => SECOND / 2,
            _ => SECOND,
        }
    }

    /// Ends by what the server does, or well if nothing is done to it.
    async fn carry_out(self, nth: usize, target: &Target) -> Result<(), Over> {
        let key = format!("bad-{}", fastrand::u64(..));
        match self {
            Self::Deaf => starve(target, &key, nth, false).await,
            Self::Sipping => starve(target, &key, nth, true).await,
            Self::Slowloris => {
                let headers = "X-Patience: endless\r\n".bytes().cycle();
                let request = target.request(&key);
                let bytes = request.trim_end().bytes().chain("\r\n".bytes()).chain(headers);
                trickle(connect(target).await?, bytes).await
            }
            Self::Mute => trickle(connect(target).await?, std::iter::empty()).await,
            Self::Silent => Err(open(target, &key).await?.end().await),
            Self::Messages => {
                let message = frame(&Message::content(0, vec![b'x'; 50]).encode());
                flood(admitted(target, &key).await?, &message).await
            }
            Self::Pings => flood(admitted(target, &key).await?, &[0x89, 0x80, 0, 0, 0, 0]).await,
            Self::Oversized => flood_once(admitted(target, &key).await?, &oversized(nth)).await,
            Self::Malformed => flood_once(admitted(target, &key).await?, &malformed(nth)).await,
            Self::Storm => {
                let mut socket = open(target, &key).await?;
                socket.send(&frame(&Message::connect(1, &[]).encode())).await?;
                socket.reset();
                Ok(())
            }
        }
    }
}

async fn connect(target: &Target) -> Result<TcpStream, Over> {
    TcpStream::connect(target.address).await.map_err(|_| Over::HungUp)
}

async fn open(target: &Target, key: &str) -> Result<Socket, Over> {
    Socket::open_over(connect(target).await?, target, key).await
}

async fn admitted(target: &Target, key: &str) -> Result<Socket, Over> {
    let mut socket = open(target, key).await?;
    socket.try_ask(1, &[]).await?;
    Ok(socket)
}

/// Sends to a partner that does not read, until the partner is closed.
async fn starve(target: &Target, key: &str, nth: usize, sips: bool) -> Result<(), Over> {
    let mut feeder = admitted(target, key).await?;
    let socket = TcpSocket::new_v4().and_then(|socket| socket.set_recv_buffer_size(SMALL_BUFFER).map(|()| socket));
    let stream = socket.expect("there are files enough").connect(target.address).await.map_err(|_| Over::HungUp)?;
    let mut starved = Socket::open_over(stream, target, key).await?;
    starved.try_ask(2, &[]).await?;
    starved.send(&frame(&Message::content(0, "offer").encode())).await?;
    let link = loop {
        match feeder.hear().await {
            Heard::Message(message) => {
                if let Ok(Message::Content { sender, .. }) = Message::decode(message) {
                    break sender;
                }
            }
            Heard::Over(over) => return Err(over),
        }
    };
    // As much by the second, in few messages or in many.
    let (bytes, every) = if nth.is_multiple_of(2) { (60_000, SECOND / 10) } else { (2000, SECOND / 300) };
    let meal = frame(&Message::content(link, vec![b'x'; bytes]).encode());
    let heartbeat = frame(&Message::HEARTBEAT);
    let (mut meals, mut seconds) = (interval(every), interval(SECOND));
    loop {
        tokio::select! {
            _ = meals.tick() => feeder.send(&meal).await?,
            _ = seconds.tick() => {
                feeder.send(&heartbeat).await?;
                if starved.send(&heartbeat).await.is_err() {
                    break;
                }
                if sips {
                    starved.sip();
                }
            }
            heard = feeder.hear() => match heard {
                Heard::Message(message) => {
                    if let Ok(Message::Content { .. }) = Message::decode(message) {
                        break; // The link has ended.
                    }
                }
                Heard::Over(over) => return Err(over),
            }
        }
    }
    // What was written to it before the close frame has to go through its small buffer.
    until_ended(starved).await
}

/// Sends a byte a second until the server has enough.
async fn trickle(mut stream: TcpStream, mut bytes: impl Iterator<Item = u8>) -> Result<(), Over> {
    let mut seconds = interval(SECOND);
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            _ = seconds.tick() => if let Some(byte) = bytes.next() {
                stream.write_all(&[byte]).await.map_err(|_| Over::HungUp)?;
            },
            read = stream.read(&mut answer) => return Err(match read {
                Ok(0) | Err(_) => Over::HungUp,
                // HTTP/1.1 STATUS
                Ok(read) => {
                    let head = String::from_utf8_lossy(&answer[..read]).into_owned();
                    head.split(' ').nth(1).and_then(|status| status.parse().ok()).map_or(Over::HungUp, Over::Refused)
                }
            }),
        }
    }
}

async fn flood(socket: Socket, frame: &[u8]) -> Result<(), Over> {
    flood_once(socket, &frame.repeat(FLOOD)).await
}

async fn flood_once(mut socket: Socket, bytes: &[u8]) -> Result<(), Over> {
    // Who is cut off in the middle may have been told why before.
    let _: Result<(), Over> = socket.send(bytes).await;
    until_ended(socket).await
}

/// Looks for a code, and goes if the server does not end it.
async fn until_ended(mut socket: Socket) -> Result<(), Over> {
    timeout(PATIENCE, socket.end()).await.map_or(Ok(()), Err)
}

/// A message of a mebibyte, one that is a little too long, or one that never ends.
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
            let mut piece = vec![0, 0x80 | 125];
            piece.extend(MASK);
            piece.extend([0; 125]);
            let mut pieces = piece.repeat(600);
            pieces[0] = 2;
            pieces
        }
    }
}

/// One of six faults.
fn malformed(nth: usize) -> Vec<u8> {
    match nth % 6 {
        0 => vec![0x82, 1, 0],                                      // not masked
        1 => vec![0x8f, 0x80, 0, 0, 0, 0],                          // a kind that there is not
        2 => vec![0xf2, 0x80, 0, 0, 0, 0],                          // reserved bits
        3 => [&[0x89, 0x80 | 126, 0, 200][..], &[0; 204]].concat(), // a ping that is too long
        4 => vec![0x81, 0x81, 0, 0, 0, 0, b'x'],                    // a text
        _ => frame(b"\xff\xff\xff\xff\xff\xff\xff"),                // no message
    }
}
