//! Peers come and go without end, and nothing of them stays: no peer, no group, no link, no byte.

use std::net::Ipv4Addr;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fastrand::Rng;
use futures::FutureExt as _;
use sigver::memory::{self, ChannelTransport, Client, Heard};
use sigver::protocol::Message;
use sigver::{Cause, Ending, Frame, GroupSnapshot, JoinRequest, SignalingHub};
use tokio::runtime::Builder;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::advance;

/// How many are there at a time, and how many at first, so that every table grows as large as it will ever be.
const CROWD: usize = 64;
const FIRST_CROWD: usize = 4 * CROWD;
/// How many steps there are for each that comes.
const STEPS: usize = 8;
/// Half of those that come meet under one of so many keys.
const MEETING_PLACES: u32 = 8;
/// Where they come from: so few that who is still counted for one when it is gone soon fills it.
const ADDRESSES: u32 = 128;
const MOST_OF_ONE: usize = 16;
/// A table that grows later all the same: keys fall on its shards by chance.
const SLACK: i64 = 4096;

#[test]
fn what_came_and_went_leaves_nothing() {
    nothing_is_left_of(20_000);
}

#[test]
#[ignore = "ten seconds, in release"]
fn a_million_that_came_and_went_leave_nothing() {
    nothing_is_left_of(1_000_000);
}

/// The first tenth lets everything grow that is kept; the rest may add nothing.
fn nothing_is_left_of(lives: usize) {
    // So low that some of those that come go over them.
    let builder = SignalingHub::builder().max_outbox_messages(4).max_missed_heartbeats(2).max_peers_per_ip(MOST_OF_ONE);
    let hub = builder.build().expect("sound limits");
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let mut rng = Rng::with_seed(20);
    let mut seen = Seen::default();
    let mut live = |lives, crowd| measure(|| runtime.block_on(live(&hub, &mut rng, lives, crowd, &mut seen)));
    live(lives / 10, FIRST_CROWD);
    let AllocationInfo { count_current, bytes_current, .. } = live(lives - lives / 10, CROWD);
    seen.assert_all();
    assert!(hub.stats().rejections.get(Cause::MaxOutboxMessages) > 0, "nobody was too slow");
    assert!(hub.stats().rejections.get(Cause::MaxMissedHeartbeats) > 0, "nobody was silent for too long");
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeersPerIp), 0, "who went still counts for its address");
    assert!(count_current.abs() <= 8, "{count_current} allocations are left of what came after the first tenth");
    assert!(bytes_current.abs() <= SLACK, "{bytes_current} bytes are left of what came after the first tenth");
}

/// How often each thing happened, so that none of it can go untried.
#[derive(Debug, Default)]
struct Seen {
    admitted: u64,
    bound: u64,
    relayed: u64,
    left: u64,
    closed: u64,
    aborted: u64,
}

impl Seen {
    fn note(&mut self, heard: &Heard) {
        match heard {
            Heard::Message(Message::Connected(true)) => self.admitted += 1,
            Heard::Message(Message::Connected(false)) => self.bound += 1,
            Heard::Message(Message::Content { .. }) => self.relayed += 1,
            _ => {}
        }
    }

    fn assert_all(&self) {
        let Self { admitted, bound, relayed, left, closed, aborted, .. } = *self;
        for (what, times) in [
            ("admitted", admitted),
            ("bound", bound),
            ("relayed", relayed),
            ("left", left),
            ("closed", closed),
            ("aborted", aborted),
        ] {
            assert!(times >= 100, "{what} {times} times only");
        }
    }
}

/// So many open, do what comes to their mind, and go, each in one way or another.
async fn live(hub: &SignalingHub, rng: &mut Rng, lives: usize, most: usize, seen: &mut Seen) {
    let mut serving = JoinSet::new();
    let mut crowd: Vec<Peer> = Vec::with_capacity(most);
    for _ in 0..lives {
        if crowd.len() == most {
            let gone = crowd.swap_remove(rng.usize(..most));
            gone.go(rng).await;
        }
        crowd.push(Peer::open(hub, rng, &mut serving));
        for _ in 0..STEPS {
            let one = rng.usize(..crowd.len());
            let named = crowd[rng.usize(..crowd.len())].id;
            crowd[one].act(rng, named, seen).await;
        }
        // As much as an address may have a new peer in; now and then a heartbeat is due.
        let pause = if rng.u8(..64) == 0 { Duration::from_secs(5) } else { Duration::from_millis(10) };
        advance(pause).await;
        while let Some(ended) = serving.try_join_next() {
            note(ended, seen);
        }
        if rng.u8(..64) == 0 {
            assert_no_ghosts(hub);
        }
    }
    for peer in crowd {
        peer.go(rng).await;
    }
    while let Some(ended) = serving.join_next().await {
        note(ended, seen);
    }
    let stats = hub.stats();
    assert_eq!((stats.peers, stats.groups, stats.links), (0, 0, 0));
}

/// The groups have no peers but those that are there. Who is being closed has left its group already.
fn assert_no_ghosts(hub: &SignalingHub) {
    let (stats, groups) = (hub.stats(), hub.groups());
    let [peers, links] = [|group: &GroupSnapshot| group.peers, |group: &GroupSnapshot| group.links]
        .map(|count| groups.iter().map(count).sum::<usize>());
    assert_eq!(links, stats.links);
    assert!(peers <= stats.peers, "{peers} in groups of {} that are there", stats.peers);
}

fn note(ended: Result<Ending, tokio::task::JoinError>, seen: &mut Seen) {
    match ended {
        Ok(Ending::Left { .. }) => seen.left += 1,
        Ok(Ending::Closed { .. }) => seen.closed += 1,
        Ok(ending) => panic!("nothing is wrong with the transport, and yet the peer {ending}"),
        Err(error) => {
            assert!(error.is_cancelled(), "{error}");
            seen.aborted += 1;
        }
    }
}

struct Peer {
    client: Client<ChannelTransport>,
    task: AbortHandle,
    id: u32,
    /// Whom to send to: the last link that something came along, or 0.
    recipient: u32,
}

impl Peer {
    fn open(hub: &SignalingHub, rng: &mut Rng, serving: &mut JoinSet<Ending>) -> Self {
        let key = match rng.bool() {
            true => rng.u32(..MEETING_PLACES),
            false => rng.u32(..),
        };
        let opening = JoinRequest::new(&key.to_string()).favored(rng.u8(..8) == 0);
        let request = JoinRequest::from(opening).with_client_ip(Ipv4Addr::from(rng.u32(..ADDRESSES)).into());
        let (there, here) = memory::pair(rng.usize(1..16));
        let hub = hub.clone();
        let task = serving.spawn(async move { hub.serve(there, request).await });
        Self { client: Client::new(here), task, id: rng.u32(1..), recipient: 0 }
    }

    /// Does one thing, mostly one that is allowed.
    async fn act(&mut self, rng: &mut Rng, named: u32, seen: &mut Seen) {
        match rng.u8(..64) {
            0..8 => self.client.send_connect(self.id, &[]).await,
            8..16 => self.client.send_connect(self.id, &[named]).await,
            16..32 => {
                for _ in 0..rng.u8(1..16) {
                    self.client.send_content(self.recipient, Bytes::from_static(b"candidate")).await;
                }
            }
            32..34 => self.client.send_last_content(self.recipient, Bytes::from_static(b"last")).await,
            34 => self.client.send_content(rng.u32(..), Bytes::from_static(b"to a link that is none")).await,
            35 => self.client.send_frame(Frame::Text("offence".to_owned())).await,
            36 => self.client.send_frame(Frame::Ping(Bytes::new())).await,
            37..40 => self.client.send_heartbeat().await,
            40..44 => yield_now().await,
            _ => {
                while let Some(heard) = self.client.recv_any().now_or_never() {
                    seen.note(&heard);
                    match heard {
                        Heard::Message(Message::Content { sender, recipient, .. }) => {
                            self.recipient = sender.max(recipient);
                        }
                        Heard::Message(_) => {}
                        _ => break,
                    }
                }
            }
        }
    }

    /// Goes: with a goodbye, without one, or by an end of the task that serves it, wherever that is.
    async fn go(self, rng: &mut Rng) {
        match rng.u8(..3) {
            0 => self.client.close().await,
            1 => drop(self.client),
            _ => {
                for _ in 0..rng.u8(..4) {
                    yield_now().await;
                }
                self.task.abort();
            }
        }
    }
}
