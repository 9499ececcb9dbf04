//! `Drop` of the app's values may call the hub, and a panic in it disturbs no peer.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use sigver::{CloseCode, Frame, PeerInfo, SignalingHub, memory};
use tokio::runtime::Builder;

use super::{OnDrop, wait_until_empty};

/// Runs a test on a thread of its own, and fails if the thread does not end: it took a lock twice.
fn without_deadlock(test: impl Future<Output = ()> + Send + 'static) {
    let (done, ended) = channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(test);
        done.send(())
    });
    ended.recv_timeout(Duration::from_secs(60)).expect("the test fails or deadlocks");
}

/// Returns a hub whose peers have two attached values and data. Dropping each of them calls the function.
fn hub_with_values(dropped: impl Fn() + Clone + Send + Sync + 'static) -> SignalingHub {
    let builder = SignalingHub::builder().event_capacity(4).admission(move |_| {
        let value = || OnDrop(dropped.clone());
        let info = PeerInfo::new().attach(value()).data(value()).attach(value());
        async { Ok(info) }
    });
    builder.build().expect("valid settings")
}

/// A member and a joiner, which connect and disconnect.
async fn connect_and_leave(hub: &SignalingHub) {
    let [mut member, mut joiner] = [memory::join(hub, "K"), memory::join(hub, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, "offer").await;
    assert_eq!(member.recv_content().await.1, "offer");
    drop((member, joiner));
    wait_until_empty(hub).await;
    assert_eq!((hub.stats().groups, hub.stats().links), (0, 0));
}

#[test]
fn drop_of_a_value_may_call_the_hub() {
    without_deadlock(async {
        let hub = Arc::new(OnceLock::<SignalingHub>::new());
        let drops = Arc::new(AtomicUsize::new(0));
        let hub = hub.get_or_init(|| {
            let (hub, drops) = (hub.clone(), drops.clone());
            hub_with_values(move || {
                let hub = hub.get().expect("the hub exists");
                let peers = hub.peers("K");
                assert!(peers.iter().all(|peer| hub.close_peer(peer.id, CloseCode::app(4001))));
                hub.close_group("another", CloseCode::app(4001));
                assert_eq!(hub.groups().len(), usize::from(!peers.is_empty()));
                // Sends an event, which discards the oldest one.
                let admitted = hub.admit("").now_or_never().expect("the key is checked before the hook");
                admitted.expect_err("the key is invalid");
                drops.fetch_add(1, Ordering::SeqCst);
            })
        });
        // The channel is full most of the time, so the hub discards events when it sends others.
        let [unread, mut lagging] = [hub.events(), hub.events()];
        for _ in 0..5 {
            connect_and_leave(hub).await;
        }
        while lagging.next().now_or_never().is_some() {}
        connect_and_leave(hub).await;
        drop((unread, lagging));
        assert_eq!(drops.load(Ordering::SeqCst), 6 * 2 * 3, "each value is dropped once");
    });
}

#[test]
fn panic_in_the_drop_of_a_value_disturbs_no_peer_and_skips_no_value() {
    without_deadlock(async {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = drops.clone();
        let hub = hub_with_values(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("a bug in the app's code");
        });
        let unread = hub.events();
        let mut other = memory::join(&hub, "another");
        assert!(other.connect(1, &[]).await);
        for _ in 0..3 {
            let [mut member, mut peer] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
            assert!(member.connect(1, &[]).await && !peer.connect(2, &[]).await);
            peer.close().await;
            assert_eq!(member.recv_content().await.1, "", "the link ends");
            assert!(member.connect(1, &[]).await, "another peer of the group");
            assert_eq!(hub.close_group("K", CloseCode::app(4001)), 1);
            assert_eq!(member.recv_close().await.code, 4001, "the close handshake takes place");
        }
        // A value is dropped because of another panic, too.
        let (transport, mut client) = memory::pair(1);
        let panicking = transport.map(|_| panic!("a bug in the transport"));
        client.send(Frame::Pong("".into())).await.expect("the transport has capacity");
        assert!(AssertUnwindSafe(hub.serve(panicking, "K")).catch_unwind().await.is_err());
        drop(hub.admit("K").await.expect("no limit"));
        assert!(other.connect(1, &[]).await);
        other.close().await;
        wait_until_empty(&hub).await;
        drop(unread);
        assert_eq!(drops.load(Ordering::SeqCst), (1 + 3 * 2 + 2) * 3, "each value is dropped once");
    });
}
