//! Many peers join and disconnect, and the hub leaks nothing of them: no peer, group, link or memory.

use std::net::Ipv4Addr;
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use fastrand::Rng;
use futures::FutureExt as _;
use sigver::client::Event;
use sigver::memory::{self, ChannelTransport, TestClient};
use sigver::{Cause, DisconnectReason, Frame, GroupSnapshot, HubStats, JoinRequest, SignalingHub};
use tokio::runtime::Builder;
use tokio::task::{AbortHandle, JoinError, JoinSet, yield_now};
use tokio::time::advance;

/// The number of connected peers. It is higher at first, so that every table reaches its final size.
const CONNECTED: usize = 64;
const CONNECTED_AT_FIRST: usize = 4 * CONNECTED;
/// The number of actions of connected peers for each peer that joins.
const ACTIONS: usize = 8;
/// Half of the peers share this number of keys. The others have a key of their own.
const SHARED_KEYS: u32 = 8;
/// The number of client IPs. It is so low that a leaked slot soon exceeds the limit of its IP.
const CLIENT_IPS: u32 = 128;
const MAX_PEERS_PER_IP: usize = 16;
/// Bytes by which tables may grow later: random keys do not fill their shards evenly.
const TOLERANCE: i64 = 4096;

#[test]
fn many_connections_leak_nothing() {
    assert_nothing_leaks(20_000);
}

#[test]
#[ignore = "10 s in a release build"]
fn one_million_connections_leak_nothing() {
    assert_nothing_leaks(1_000_000);
}

/// The first tenth of the connections grows everything that the hub keeps. The others must add nothing.
fn assert_nothing_leaks(connections: usize) {
    // Limits that some of the peers exceed.
    let builder =
        SignalingHub::builder().max_outbox_messages(4).max_missed_heartbeats(2).max_peers_per_ip(MAX_PEERS_PER_IP);
    let hub = builder.build().expect("valid settings");
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let mut rng = Rng::with_seed(20);
    let mut seen = Seen::default();
    let mut churn = |connections, max| measure(|| runtime.block_on(churn(&hub, &mut rng, connections, max, &mut seen)));
    churn(connections / 10, CONNECTED_AT_FIRST);
    let AllocationInfo { count_current, bytes_current, .. } = churn(connections - connections / 10, CONNECTED);
    seen.assert_all();
    let HubStats { rejections, closes, .. } = hub.stats();
    assert!(closes.get(Cause::MaxOutboxMessages) > 0, "no peer was a slow consumer");
    assert!(closes.get(Cause::MaxMissedHeartbeats) > 0, "no peer missed its heartbeats");
    assert_eq!(rejections.get(Cause::MaxPeersPerIp), 0, "disconnected peers still count for their IP");
    assert!(count_current.abs() <= 8, "{count_current} allocations leaked");
    assert!(bytes_current.abs() <= TOLERANCE, "{bytes_current} bytes leaked");
}

/// How often each event happened. The test requires every one of them.
#[derive(Debug, Default)]
struct Seen {
    member: u64,
    bound: u64,
    content: u64,
    closed_by_peer: u64,
    closed_by_hub: u64,
    aborted: u64,
}

impl Seen {
    fn count_received(&mut self, event: &Event) {
        match event {
            Event::Connected { member: true, .. } => self.member += 1,
            Event::Connected { member: false, .. } => self.bound += 1,
            Event::Content { .. } => self.content += 1,
            _ => {}
        }
    }

    fn count_ended(&mut self, served: Result<DisconnectReason, JoinError>) {
        match served {
            Ok(DisconnectReason::ClosedByPeer { .. }) => self.closed_by_peer += 1,
            Ok(DisconnectReason::ClosedByHub { .. }) => self.closed_by_hub += 1,
            Ok(reason) => panic!("the transport works, but the connection ended: {reason}"),
            Err(error) => {
                assert!(error.is_cancelled(), "{error}");
                self.aborted += 1;
            }
        }
    }

    fn assert_all(&self) {
        let Self { member, bound, content, closed_by_peer, closed_by_hub, aborted } = *self;
        let counts = [member, bound, content, closed_by_peer, closed_by_hub, aborted];
        assert!(counts.iter().all(|&count| count >= 100), "{self:?}");
    }
}

/// Lets peers join, act at random and disconnect, with at most `max` of them connected.
async fn churn(hub: &SignalingHub, rng: &mut Rng, connections: usize, max: usize, seen: &mut Seen) {
    let mut serving = JoinSet::new();
    let mut peers: Vec<Peer> = Vec::with_capacity(max);
    for _ in 0..connections {
        if peers.len() == max {
            let peer = peers.swap_remove(rng.usize(..max));
            peer.disconnect(rng).await;
        }
        peers.push(Peer::join(hub, rng, &mut serving));
        for _ in 0..ACTIONS {
            let index = rng.usize(..peers.len());
            let named = peers[rng.usize(..peers.len())].id;
            peers[index].act(rng, named, seen).await;
        }
        // Within the join rate of one IP. Sometimes heartbeats become due.
        let pause = if rng.u8(..64) == 0 { Duration::from_secs(5) } else { Duration::from_millis(10) };
        advance(pause).await;
        while let Some(served) = serving.try_join_next() {
            seen.count_ended(served);
        }
        if rng.u8(..64) == 0 {
            assert_snapshots_match_stats(hub);
        }
    }
    for peer in peers {
        peer.disconnect(rng).await;
    }
    while let Some(served) = serving.join_next().await {
        seen.count_ended(served);
    }
    let stats = hub.stats();
    assert_eq!((stats.peers, stats.groups, stats.links), (0, 0, 0));
}

fn assert_snapshots_match_stats(hub: &SignalingHub) {
    let (stats, groups) = (hub.stats(), hub.groups());
    let [peers, links] = [|group: &GroupSnapshot| group.peers, |group: &GroupSnapshot| group.links]
        .map(|count| groups.iter().map(count).sum::<usize>());
    assert_eq!((peers, links), (stats.peers, stats.links));
}

struct Peer {
    client: TestClient<ChannelTransport>,
    task: AbortHandle,
    id: u32,
    /// The link of the last received content, or 0.
    recipient: u32,
}

impl Peer {
    fn join(hub: &SignalingHub, rng: &mut Rng, serving: &mut JoinSet<DisconnectReason>) -> Self {
        let key = match rng.bool() {
            true => rng.u32(..SHARED_KEYS),
            false => rng.u32(..),
        };
        let request = JoinRequest::new(key.to_string())
            .favored(rng.u8(..8) == 0)
            .with_client_ip(Ipv4Addr::from(rng.u32(..CLIENT_IPS)).into());
        let (there, here) = memory::pair(rng.usize(1..16));
        let hub = hub.clone();
        let task = serving.spawn(async move { hub.serve(there, request).await });
        Self { client: TestClient::new(here), task, id: rng.u32(1..), recipient: 0 }
    }

    /// Does one thing at random. Most of them are valid.
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
            34 => self.client.send_content(rng.u32(..), Bytes::from_static(b"unknown link")).await,
            35 => self.client.send_frame(Frame::Text("not a message".to_owned())).await,
            36 => self.client.send_frame(Frame::Ping(Bytes::new())).await,
            37..40 => self.client.send_heartbeat().await,
            40..44 => yield_now().await,
            _ => {
                // Until nothing is left, or the connection has ended.
                while let Some(Ok(event)) = self.client.recv_any().now_or_never() {
                    seen.count_received(&event);
                    if let Event::Content { link, .. } = event {
                        self.recipient = link.value();
                    }
                }
            }
        }
    }

    /// Disconnects with a close frame, without one, or by an abort of the task that serves the peer.
    async fn disconnect(self, rng: &mut Rng) {
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
