//! The app's values of a peer: when `PeerInfo::attach` drops a value, and where `PeerInfo::data` appears.

mod data;
mod drops;
#[path = "../common/scripted.rs"]
mod scripted;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures::{FutureExt as _, SinkExt as _, Stream, StreamExt as _};
use sigver::memory::{self, TestClient};
use sigver::{
    AtLimit, Cause, CloseCode, DisconnectReason, Frame, HubBuilder, HubEvent, JoinRequest, PeerInfo, SignalingHub,
    TransportError,
};
use tokio::task::yield_now;
use tokio_test::task;

use scripted::Scripted;

/// Calls a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Counts the values that exist.
#[derive(Clone, Default)]
struct Live(Arc<AtomicUsize>);

impl Live {
    fn value(&self) -> impl Send + Sync + 'static {
        let count = self.clone();
        count.0.fetch_add(1, Ordering::SeqCst);
        OnDrop(move || _ = count.0.fetch_sub(1, Ordering::SeqCst))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Returns settings whose hook attaches two values to each peer and sets a third one as data.
fn attaching(live: &Live) -> HubBuilder {
    let live = live.clone();
    SignalingHub::builder().admission(move |_| {
        let info = PeerInfo::new().attach(live.value()).identity("alice").attach(live.value()).data(live.value());
        async { Ok(info) }
    })
}

fn build(builder: HubBuilder) -> SignalingHub {
    builder.build().expect("valid settings")
}

async fn wait_until_empty(hub: &SignalingHub) {
    while hub.stats().peers > 0 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn values_live_as_long_as_their_peer() {
    let live = Live::default();
    let hub = build(attaching(&live));
    let [mut first, mut second] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    assert!(first.connect(1, &[]).await && !second.connect(2, &[]).await);
    assert_eq!(live.get(), 6);
    first.close().await;
    while hub.stats().peers > 1 {
        yield_now().await;
    }
    assert_eq!(live.get(), 3, "the values of the other peer stay");
    drop(second);
    wait_until_empty(&hub).await;
    assert_eq!(live.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn values_are_dropped_when_the_connection_is_lost_or_the_transport_panics() {
    let live = Live::default();
    let hub = build(attaching(&live));
    let (transport, mut client) = memory::pair(1);
    let lost = transport.map(|_| Err(TransportError::from(io::Error::from(io::ErrorKind::ConnectionReset))));
    client.send(Frame::Pong("".into())).await.expect("the transport has capacity");
    assert!(matches!(hub.serve(lost, "K").await, DisconnectReason::ConnectionLost(_)));
    assert_eq!(live.get(), 0);
    let panicking = Scripted { read: || panic!("a bug in the transport"), room: usize::MAX, flushes: true };
    let served = tokio::spawn(hub.serve(panicking, "K"));
    assert!(served.await.expect_err("the transport panics").is_panic());
    assert_eq!((live.get(), hub.stats().peers), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn values_are_dropped_with_the_future_or_permit_of_their_peer() {
    let live = Live::default();
    let hub = build(attaching(&live));
    let permit = hub.admit("K").await.expect("no limit");
    assert_eq!(live.get(), 3);
    drop(permit);
    assert_eq!(live.get(), 0, "the permit is dropped");

    let serve = async || hub.admit("K").await.expect("no limit").serve(memory::pair(1).0);
    drop(serve().await);
    assert_eq!(live.get(), 0, "the future is dropped before its first poll");

    let (transport, _client) = memory::pair(1);
    let mut served = task::spawn(hub.serve(transport, "K"));
    assert!(served.poll().is_pending());
    assert_eq!((live.get(), hub.stats().peers), (3, 1));
    drop(served);
    assert_eq!((live.get(), hub.stats().peers), (0, 0), "the future is dropped while the peer is connected");
}

#[tokio::test(start_paused = true)]
async fn values_are_dropped_when_a_later_check_rejects_the_peer() {
    let live = Live::default();
    for (builder, cause) in [
        (attaching(&live).max_peers_per_group(1), Cause::MaxPeersPerGroup),
        (attaching(&live).max_peers_per_identity(1, AtLimit::RejectNew), Cause::MaxPeersPerIdentity),
    ] {
        let hub = build(builder);
        let mut first = memory::join(&hub, "K");
        assert!(first.connect(1, &[]).await);
        assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
        assert_eq!((hub.stats().rejections.get(cause), live.get()), (1, 3), "{cause}");
        drop(first);
        wait_until_empty(&hub).await;
        assert_eq!(live.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn values_are_dropped_when_the_hook_does_not_admit_the_peer_in_time() {
    let live = Live::default();
    let values = live.clone();
    let hub = build(SignalingHub::builder().admission(move |request: JoinRequest| {
        let info = PeerInfo::new().attach(values.value()).data(values.value());
        async move {
            match request.key().as_str() {
                "expired" => return Ok(info.expires_at(SystemTime::UNIX_EPOCH)),
                "panics" => panic!("a bug in the hook"),
                "late" => tokio::time::sleep(Duration::from_secs(3600)).await,
                _ => yield_now().await,
            }
            Ok(info)
        }
    }));
    for (key, code) in [("expired", 4740), ("panics", 1011), ("late", 1013)] {
        assert_eq!(memory::join(&hub, key).recv_close().await.code, code, "{key}");
        assert_eq!(live.get(), 0, "{key}");
    }
    let mut admitted = task::spawn(hub.admit("K"));
    assert!(admitted.poll().is_pending());
    hub.drain(Duration::ZERO).await;
    assert!(admitted.await.is_err_and(|rejection| rejection.cause() == Cause::Draining));
    assert_eq!(live.get(), 0, "a drain began while the hook ran");
}

#[tokio::test(start_paused = true)]
async fn drain_that_returns_0_has_dropped_all_values() {
    let live = Live::default();
    let hub = build(attaching(&live));
    let mut peers: Vec<_> = (0..3).map(|_| memory::join(&hub, "K")).collect();
    while hub.stats().peers < 3 {
        yield_now().await;
    }
    assert_eq!(live.get(), 9);
    let closed = async {
        for peer in &mut peers {
            peer.recv_close().await;
        }
    };
    let (remaining, ()) = tokio::join!(hub.drain(Duration::from_secs(5)), closed);
    assert_eq!((remaining, live.get()), (0, 0));
}

/// What the hub shows when a value is dropped.
#[derive(Debug, PartialEq)]
struct Seen {
    value: u32,
    peers: usize,
    is_in_snapshots: bool,
    events: Vec<&'static str>,
    has_free_slot: bool,
}

#[tokio::test(start_paused = true)]
async fn attached_values_are_dropped_in_order_once_the_peer_is_gone() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let hub = Arc::new(std::sync::OnceLock::<SignalingHub>::new());
    let admission = {
        let (seen, hub) = (seen.clone(), hub.clone());
        move |_| {
            let value = |value| {
                let (seen, hub) = (seen.clone(), hub.clone());
                let mut events = hub.get().map(|hub| Box::pin(hub.events()));
                OnDrop(move || {
                    let hub = hub.get().expect("the hub exists");
                    let names = std::iter::from_fn(|| events.as_mut()?.next().now_or_never().flatten());
                    let seen_now = Seen {
                        value,
                        peers: hub.stats().peers,
                        is_in_snapshots: !hub.peers("K").is_empty() || !hub.groups().is_empty(),
                        // The previous value has led to a rejection.
                        events: names.map(name).filter(|name| *name != "rejected").collect(),
                        // `max_peers` is checked before the key.
                        has_free_slot: rejection(hub, "") == Cause::InvalidKey,
                    };
                    seen.lock().expect("nothing panicked").push(seen_now);
                })
            };
            let info = PeerInfo::new().attach(value(1)).attach(value(2));
            async { Ok(info) }
        }
    };
    let hub = hub.get_or_init(|| build(SignalingHub::builder().admission(admission).max_peers(1)));
    let (transport, client) = memory::pair(16);
    let served = tokio::spawn(hub.serve(transport, "K"));
    let mut peer = TestClient::new(client);
    assert!(peer.connect(1, &[]).await);
    assert!(hub.close_peer(hub.peers("K")[0].id, CloseCode::app(4001)));
    assert_eq!(peer.recv_close().await.code, 4001);
    assert!(!served.is_finished(), "the close handshake has not ended");
    let expected = |value| Seen {
        value,
        peers: 0,
        is_in_snapshots: false,
        events: vec!["created", "joined", "answered", "left", "removed"],
        has_free_slot: true,
    };
    assert_eq!(*seen.lock().expect("nothing panicked"), [expected(1), expected(2)]);
}

/// Returns the cause that rejects a join.
fn rejection(hub: &SignalingHub, key: &str) -> Cause {
    let admitted = hub.admit(key).now_or_never().expect("no hook runs");
    admitted.expect_err("the join is rejected").cause()
}

fn name(event: HubEvent) -> &'static str {
    match event {
        HubEvent::GroupCreated { .. } => "created",
        HubEvent::PeerJoined { .. } => "joined",
        HubEvent::ConnectAnswered { .. } => "answered",
        HubEvent::PeerLeft { .. } => "left",
        HubEvent::GroupRemoved { .. } => "removed",
        HubEvent::Rejected { .. } => "rejected",
        _ => "other",
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_event_precedes_the_drop_of_an_attached_value() {
    let reported = Arc::new(AtomicBool::new(false));
    let events = Arc::new(Mutex::new(None::<std::pin::Pin<Box<dyn Stream<Item = HubEvent> + Send>>>));
    let hub = build(SignalingHub::builder().max_peers_per_group(1).admission({
        let (reported, events) = (reported.clone(), events.clone());
        move |_| {
            let (reported, events) = (reported.clone(), events.clone());
            let value = OnDrop(move || {
                let mut events = events.lock().expect("nothing panicked");
                let mut next = || events.as_mut()?.next().now_or_never().flatten();
                let is_rejected = |event| matches!(event, HubEvent::Rejected { cause: Cause::MaxPeersPerGroup, .. });
                reported.store(next().is_some_and(is_rejected), Ordering::SeqCst);
            });
            async { Ok(PeerInfo::new().attach(value)) }
        }
    }));
    let mut first = memory::join(&hub, "K");
    assert!(first.connect(1, &[]).await);
    *events.lock().expect("nothing panicked") = Some(Box::pin(hub.events()));
    assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
    assert!(reported.load(Ordering::SeqCst));
}
