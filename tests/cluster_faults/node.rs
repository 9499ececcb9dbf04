//! One node of a cluster: a hub, its driver and its connections. It can pause and crash.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sigver::cluster::MemoryBackplane;
use sigver::{ClusterConfig, JoinRequest, SignalingHub, memory};
use tokio::task::{AbortHandle, JoinHandle};

use crate::backplane::ObservedBackplane;
use crate::fault::Class;
use crate::peer::Peer;

/// The number of frames that a connection holds while its hub does not read.
const CAPACITY: usize = 1024;

pub(crate) struct Node {
    pub(crate) hub: SignalingHub,
    pub(crate) backplane: ObservedBackplane,
    driver: JoinHandle<()>,
    driver_pause: Arc<Pause>,
    connections_pause: Arc<Pause>,
    connections: Vec<AbortHandle>,
}

impl Node {
    pub(crate) fn start(engine: &MemoryBackplane, class: Class) -> Self {
        let backplane = ObservedBackplane::new(engine.connect());
        let config = ClusterConfig::new(backplane.clone());
        let config = config.audit_interval(class.audit_interval()).node_timeout(class.node_timeout());
        // A peer of a run may send its first `connect` late.
        let builder = SignalingHub::builder().first_connect_timeout(Duration::from_secs(3600));
        let (hub, driver) = builder.build_cluster(config).expect("valid settings");
        let (driver_pause, connections_pause) = <(Arc<Pause>, Arc<Pause>)>::default();
        let driver = tokio::spawn(driver_pause.clone().apply_to(driver));
        Self { hub, backplane, driver, driver_pause, connections_pause, connections: Vec::new() }
    }

    pub(crate) fn join(&mut self, key: &str, favored: bool) -> Peer {
        let (hub_end, client_end) = memory::pair(CAPACITY);
        let connection = self.hub.serve(hub_end, JoinRequest::new(key).favored(favored));
        let connection = tokio::spawn(self.connections_pause.clone().apply_to(connection));
        self.connections.push(connection.abort_handle());
        Peer::new(client_end)
    }

    /// Polls the driver no more. If `connections` is set, polls no connection either.
    pub(crate) fn pause(&self, connections: bool) {
        self.driver_pause.start();
        if connections {
            self.connections_pause.start();
        }
    }

    pub(crate) fn resume(&self) {
        self.driver_pause.end();
        self.connections_pause.end();
    }

    /// Drops the driver and all connections at once. The node sends nothing any more.
    pub(crate) fn crash(&self) {
        self.driver.abort();
        self.connections.iter().for_each(AbortHandle::abort);
    }

    /// Drops the handle of the hub, and returns the driver, which then completes.
    pub(crate) fn shut_down(self) -> JoinHandle<()> {
        self.driver
    }
}

/// Whether futures are polled.
#[derive(Default)]
struct Pause(Mutex<Paused>);

#[derive(Default)]
struct Paused {
    is_paused: bool,
    wakers: Vec<Waker>,
}

impl Pause {
    fn start(&self) {
        self.0.lock().expect("no panic").is_paused = true;
    }

    fn end(&self) {
        let mut paused = self.0.lock().expect("no panic");
        paused.is_paused = false;
        paused.wakers.drain(..).for_each(Waker::wake);
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut paused = self.0.lock().expect("no panic");
        if !paused.is_paused {
            return Poll::Ready(());
        }
        paused.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    /// Returns a future that is not polled during a pause.
    async fn apply_to<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| match self.poll_ready(cx) {
            Poll::Ready(()) => future.as_mut().poll(cx),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
