//! Code of the app that the hub calls may call the hub, and a panic in it leaves no peer behind.

use std::panic::AssertUnwindSafe;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use sigver::memory::{self, TestClient};
use sigver::{CloseCode, HubEvent, SignalingHub};
use tokio::runtime::Builder;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, with_default};
use tracing::{Event, Level, Metadata, Subscriber};

/// Runs a test on a thread of its own, and fails if the thread does not end: it took a lock twice.
fn without_deadlock(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    thread::spawn(move || {
        test();
        done.send(())
    });
    ended.recv_timeout(Duration::from_secs(60)).expect("the test fails or deadlocks");
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(test)
}

/// Calls the methods of a hub that take its locks.
fn use_hub(hub: &SignalingHub) {
    hub.stats();
    hub.groups();
    hub.peers("K");
    hub.close_group("closed", CloseCode::app(4001));
}

/// A member and a joiner that exchange a message, disconnect and reconnect.
async fn connect_and_leave(hub: &SignalingHub) {
    for _ in 0..3 {
        let [mut member, mut joiner] = [memory::join(hub, "K"), memory::join(hub, "K")];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_last_content(0, "offer").await;
        let (link, _) = member.recv_content().await;
        member.send_last_content(link, "answer").await;
        joiner.recv_content().await;
        assert!(joiner.connect(2, &[1]).await);
        drop((member, joiner));
        while hub.stats().peers > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((hub.stats().groups, hub.stats().links), (0, 0));
}

#[test]
fn waker_of_an_event_reader_may_call_the_hub() {
    struct CallsHub(SignalingHub);

    impl Wake for CallsHub {
        fn wake(self: Arc<Self>) {
            use_hub(&self.0);
        }
    }

    without_deadlock(|| {
        block_on(async {
            let hub = SignalingHub::new();
            let mut events = hub.events();
            let waker = Waker::from(Arc::new(CallsHub(hub.clone())));
            // Waits for the next event again and again, so that most events call the waker.
            let reader = tokio::spawn(async move {
                loop {
                    while events.poll_next_unpin(&mut Context::from_waker(&waker)).is_ready() {}
                    tokio::task::yield_now().await;
                }
            });
            connect_and_leave(&hub).await;
            reader.abort();
        });
    });
}

/// Counts calls of the app's code, and panics in each call after the first ones.
#[derive(Clone, Default)]
struct Fuse(Arc<Mutex<FuseState>>);

#[derive(Default)]
struct FuseState {
    /// The number of calls that do not panic. `None` if no call panics.
    calls_left: Option<usize>,
    panicked: bool,
}

impl Fuse {
    fn arm(&self, calls: usize) {
        self.lock().calls_left = Some(calls);
    }

    /// Returns whether a call panicked.
    fn disarm(&self) -> bool {
        let mut state = self.lock();
        state.calls_left = None;
        state.panicked
    }

    fn call(&self) {
        let mut state = self.lock();
        match &mut state.calls_left {
            None => {}
            Some(0) => {
                state.panicked = true;
                drop(state);
                panic!("a bug in the app's code");
            }
            Some(left) => *left -= 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, FuseState> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// Serves a peer with code of the app that panics from its nth call on, for every n. `run` runs a test with that code.
fn panic_from_every_call_on(run: impl Fn(&Fuse, &mut dyn FnMut())) {
    for calls in 0..1000 {
        let (fuse, mut panicked) = (Fuse::default(), false);
        run(&fuse, &mut || {
            panicked = block_on(serve_with(&fuse, calls));
        });
        if !panicked {
            assert!(calls > 5, "the hub made only {calls} calls");
            return;
        }
    }
    panic!("the hub makes too many calls");
}

/// Serves a peer that becomes a member, evicts a member, sends a message and is closed for exceeding a limit. Returns
/// whether the app's code panicked.
async fn serve_with(fuse: &Fuse, calls: usize) -> bool {
    let hub = SignalingHub::builder().max_message_bytes(10).build().expect("valid settings");
    let mut events = hub.events();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let (server_end, client_end) = memory::pair(16);
    let mut peer = TestClient::new(client_end);
    peer.send_connect(2, &[]).await;
    peer.send_connect(2, &[]).await;
    peer.send_content(0, "more than ten bytes").await;
    fuse.arm(calls);
    // The hub runs code of the app in the tasks of both peers.
    let served = AssertUnwindSafe(hub.serve(server_end, "K")).catch_unwind();
    let _ = tokio::join!(served, async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        drop((peer, member));
    });
    while hub.stats().peers > 0 {
        tokio::task::yield_now().await;
    }
    let panicked = fuse.disarm();

    let stats = hub.stats();
    assert_eq!((stats.groups, stats.links), (0, 0), "after {calls} calls");
    let mut next = memory::join(&hub, "K");
    assert!(next.connect(1, &[]).await, "the group is not usable after {calls} calls");
    let (mut joined, mut left) = (0, 0);
    while let Some(Some(event)) = events.next().now_or_never() {
        match event {
            HubEvent::PeerJoined { .. } => joined += 1,
            HubEvent::PeerLeft { .. } => left += 1,
            _ => {}
        }
    }
    assert_eq!((joined, left), (3, 2), "after {calls} calls");
    panicked
}

/// A subscriber that calls a function for each span and event.
struct CallingSubscriber<F>(F);

impl<F: Fn() + Send + Sync + 'static> Subscriber for CallingSubscriber<F> {
    // The other tests of the process have no subscriber, so the interest must not be cached.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sigver") && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.0();
        Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        self.0();
    }

    fn enter(&self, _: &Id) {
        self.0();
    }

    fn try_close(&self, _: Id) -> bool {
        self.0();
        true
    }

    // tracing calls it while a panic unwinds, so a panic here aborts the process in every program.
    fn exit(&self, _: &Id) {}
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

#[test]
fn subscriber_may_call_the_hub() {
    without_deadlock(|| {
        let hub = SignalingHub::new();
        let called = hub.clone();
        let subscriber = CallingSubscriber(move || use_hub(&called));
        with_default(subscriber, || block_on(connect_and_leave(&hub)));
    });
}

#[test]
fn panic_in_a_subscriber_removes_its_peer() {
    panic_from_every_call_on(|fuse, test| {
        let fuse = fuse.clone();
        with_default(CallingSubscriber(move || fuse.call()), test);
    });
}

#[cfg(feature = "metrics")]
mod recorder {
    use std::sync::OnceLock;

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        Unit, with_local_recorder,
    };

    use super::*;

    /// A recorder that calls a function for each value that it records.
    struct CallingRecorder<F>(Arc<F>);

    impl<F: Fn() + Send + Sync + 'static> Recorder for CallingRecorder<F> {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Handle(self.0.clone())))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Handle(self.0.clone())))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(Handle(self.0.clone())))
        }
    }

    struct Handle<F>(Arc<F>);

    impl<F: Fn()> CounterFn for Handle<F> {
        fn increment(&self, _: u64) {
            self.0();
        }

        fn absolute(&self, _: u64) {
            self.0();
        }
    }

    impl<F: Fn()> GaugeFn for Handle<F> {
        fn increment(&self, _: f64) {
            self.0();
        }

        fn decrement(&self, _: f64) {
            self.0();
        }

        fn set(&self, _: f64) {
            self.0();
        }
    }

    impl<F: Fn()> HistogramFn for Handle<F> {
        fn record(&self, _: f64) {
            self.0();
        }
    }

    #[test]
    fn recorder_may_call_the_hub() {
        without_deadlock(|| {
            let hub = Arc::new(OnceLock::<SignalingHub>::new());
            let called = hub.clone();
            let calls_hub = move || {
                if let Some(hub) = called.get() {
                    use_hub(hub);
                }
            };
            with_local_recorder(&CallingRecorder(Arc::new(calls_hub)), || {
                block_on(async {
                    let hub = hub.get_or_init(SignalingHub::new);
                    connect_and_leave(hub).await;
                });
            });
        });
    }

    #[test]
    fn panic_in_a_recorder_removes_its_peer() {
        panic_from_every_call_on(|fuse, test| {
            let fuse = fuse.clone();
            with_local_recorder(&CallingRecorder(Arc::new(move || fuse.call())), test);
        });
    }
}
