//! Benchmarks the reducer, the session, and a hub over in-memory transports. `cargo bench --bench core`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sigver::protocol::{Action, Event, Group, LinkId, MemberId, Message, PeerId, Session};
use sigver::{CloseCode, JoinRequest, PeerInfo, SignalingHub, memory};

const SIZES: [u64; 3] = [2, 100, 10_000];

fn link(id: u32) -> LinkId {
    LinkId::new(id).expect("within range")
}

fn connect(peer: u64, members: &[u32], new_link: u32) -> Event {
    let members = members.iter().copied().map(MemberId).collect();
    let (peer, id) = (PeerId(peer), MemberId(peer as u32));
    Event::Connect { peer, id, members, new_link: link(new_link), now: Duration::ZERO }
}

/// Creates a group with this number of members, whose ids start at 1, and with peer 0, which is not a member.
fn group(members: u64) -> (Group, Vec<Action>) {
    let (mut group, mut actions) = (Group::new(), Vec::new());
    group.handle(Event::Join { peer: PeerId(0), favored: false }, &mut actions);
    for peer in 1..=members {
        group.handle(Event::Join { peer: PeerId(peer), favored: false }, &mut actions);
        group.handle(connect(peer, &[1], 1), &mut actions);
    }
    actions.clear();
    (group, actions)
}

fn reducer(c: &mut Criterion) {
    let mut benches = c.benchmark_group("reducer");
    for size in SIZES {
        let (mut group, mut actions) = group(size);
        benches.bench_function(BenchmarkId::new("connect, bound", size), |b| {
            let mut id = 1;
            b.iter(|| {
                id = id % 1000 + 1; // each link is released when the next one replaces it
                group.handle(connect(0, &[], id), &mut actions);
                actions.clear();
            });
        });
        group.handle(connect(0, &[], 2000), &mut actions);
        actions.clear();
        let data = Bytes::from(vec![0; 200]);
        benches.bench_function(BenchmarkId::new("relay", size), |b| {
            b.iter(|| {
                let content = Event::Content { peer: PeerId(0), recipient: 0, last: false, data: data.clone() };
                group.handle(content, &mut actions);
                black_box(&actions);
                actions.clear();
            });
        });
        benches.bench_function(BenchmarkId::new("join, connect as member, leave", size), |b| {
            let peer = PeerId(u64::MAX >> 1);
            b.iter(|| {
                group.handle(Event::Join { peer, favored: false }, &mut actions);
                group.handle(connect(peer.0, &[1], 3000), &mut actions);
                group.handle(Event::Leave { peer }, &mut actions);
                actions.clear();
            });
        });
    }
    for joiners in [1, 1000] {
        benches.throughput(Throughput::Elements(joiners));
        benches.bench_function(BenchmarkId::new("leave, member with joiners", joiners), |b| {
            let with_joiners = || {
                let (mut group, mut actions) = group(2);
                for peer in 10..10 + joiners {
                    group.handle(Event::Join { peer: PeerId(peer), favored: false }, &mut actions);
                    group.handle(connect(peer, &[], peer as u32), &mut actions);
                }
                actions.clear();
                (group, actions)
            };
            let leave = |(mut group, mut actions): (Group, Vec<Action>)| {
                group.handle(Event::Leave { peer: PeerId(1) }, &mut actions);
                (group, actions)
            };
            b.iter_batched(with_joiners, leave, BatchSize::LargeInput);
        });
    }
}

fn session(c: &mut Criterion) {
    let mut benches = c.benchmark_group("session");
    for (name, message) in [
        ("content of 200 bytes", Message::content(7, vec![0; 200])),
        ("content of 1000 bytes", Message::content(7, vec![0; 1000])),
        ("connect with 10 members", Message::connect(1, &[2; 10])),
        ("heartbeat", Message::Heartbeat),
    ] {
        let bytes = message.clone().encode();
        let mut session = Session::new(3, 512);
        benches.bench_function(format!("decode {name}"), |b| b.iter(|| session.receive(bytes.clone())));
        benches.bench_function(format!("encode {name}"), |b| b.iter(|| message.clone().encode()));
    }
}

fn hub(c: &mut Criterion) {
    let mut benches = c.benchmark_group("hub over memory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    benches.throughput(Throughput::Elements(2));
    benches.bench_function("relay, round trip", |b| {
        b.iter_custom(|times| {
            runtime.block_on(async {
                // The benchmark exceeds the default rates.
                let limits = SignalingHub::builder().messages_per_second(u32::MAX).bytes_per_second(u32::MAX);
                let limits = limits.messages_per_second_per_ip(u32::MAX).bytes_per_second_per_ip(u32::MAX);
                let hub = limits.build().expect("valid settings");
                let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
                assert!(member.connect(1, &[]).await);
                assert!(!joiner.connect(2, &[]).await);
                let data = Bytes::from(vec![0; 200]);
                let start = Instant::now();
                for _ in 0..times {
                    joiner.send_content(0, data.clone()).await;
                    let (link, _) = member.recv_content().await;
                    member.send_content(link, data.clone()).await;
                    joiner.recv_content().await;
                }
                start.elapsed()
            })
        });
    });
    benches.throughput(Throughput::Elements(1));
    for peers in [10, 10_000] {
        let crowded = runtime.block_on(crowd(peers));
        for (answer, members) in [("as member", &[0][..]), ("bound", &[])] {
            benches.bench_function(BenchmarkId::new(format!("join, connect {answer}, leave"), peers), |b| {
                b.iter_custom(|times| runtime.block_on(joins(&crowded, members, times)));
            });
        }
    }
    for groups in [10, 40_000] {
        let hub = runtime.block_on(groups_with_identities(groups));
        benches.bench_function(BenchmarkId::new("close_identity of one peer, by groups", groups), |b| {
            b.iter_custom(|times| runtime.block_on(identity_closes(&hub, times)));
        });
    }
}

/// Creates a hub with this number of groups, each with one peer that has an identity, reads all messages and never
/// answers.
async fn groups_with_identities(groups: u32) -> SignalingHub {
    let admit = async |request: JoinRequest| Ok(PeerInfo::new().identity(request.key().as_str()));
    let limits = SignalingHub::builder().max_missed_heartbeats(u32::MAX).admission(admit);
    let hub = limits.build().expect("valid settings");
    for group in 0..groups {
        let mut peer = memory::join(&hub, group.to_string());
        assert!(peer.connect(group, &[]).await);
        tokio::spawn(async move { while peer.recv().await.is_ok() {} });
    }
    hub
}

/// Measures a number of closes, each of a new peer.
async fn identity_closes(hub: &SignalingHub, times: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..times {
        let mut peer = memory::join(hub, "one more");
        assert!(peer.connect(1, &[]).await);
        let start = Instant::now();
        assert_eq!(hub.close_identity("one more", CloseCode::app(4001), "banned"), 1);
        total += start.elapsed();
        assert_eq!(peer.recv_close().await.code, 4001);
    }
    total
}

/// Creates a hub with one group of this number of members, which read all messages and never answer.
async fn crowd(peers: u32) -> SignalingHub {
    let limits = SignalingHub::builder().max_peers_per_group(20_000).max_missed_heartbeats(u32::MAX);
    let hub = limits.build().expect("valid settings");
    for id in 0..peers {
        let mut member = memory::join(&hub, "K");
        assert!(member.connect(id, &[0]).await);
        tokio::spawn(async move { while member.recv().await.is_ok() {} });
    }
    hub
}

/// Measures a number of consecutive joins of peers that see these members.
async fn joins(hub: &SignalingHub, seen: &[u32], times: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        let mut peer = memory::join(hub, "K");
        assert_eq!(peer.connect(u32::MAX, seen).await, !seen.is_empty());
    }
    start.elapsed()
}

criterion_group!(benches, reducer, session, hub);
criterion_main!(benches);
