//! Runs a group: one task that connects the mesh with the hub, the sockets, the WebRTC engine and the app.
//!
//! - `engine`: one connection of the WebRTC engine; `sdp` prepares descriptions for it
//! - `sockets`: UDP
//! - `outgoing` and `inbox`: the app's messages, in both directions

mod engine;
mod inbox;
mod outgoing;
mod sdp;
mod sockets;
mod work;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

pub(crate) use engine::EngineConfig;
#[cfg(feature = "__fuzzing")]
pub(crate) use engine::fuzz_engine;
pub(crate) use inbox::Inbox;
pub(crate) use outgoing::Request;
pub(crate) use sockets::Sockets;

use engine::Engine;
use outgoing::Outgoing;

use crate::error::{JoinError, SendError};
use crate::hub::{HubConfig, HubSocket, Outage};
use crate::id::PeerId;
use crate::mesh::{ConnectionId, Mesh};

/// Datagrams of one turn.
const MAX_DATAGRAMS: usize = 64;
/// Larger than the largest datagram that the engine sends or accepts.
const DATAGRAM_BYTES: usize = 2_048;
/// How long leaving waits until the last messages are received, and then until `bye` is sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
const BYE_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest time between two looks at the clock.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// What the app asks for, besides sending messages.
#[derive(Debug)]
pub(crate) enum Order {
    SetMetadata(Value),
    Leave(oneshot::Sender<()>),
}

/// What the handle and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    mesh: Mutex<Mesh>,
    pub(crate) inbox: Inbox,
    pub(crate) fingerprint: String,
}

impl Shared {
    pub(crate) fn new(mesh: Mesh, fingerprint: String) -> Self {
        Self { mesh: Mutex::new(mesh), inbox: Inbox::default(), fingerprint }
    }

    /// Never held across an await.
    pub(crate) fn mesh(&self) -> MutexGuard<'_, Mesh> {
        self.mesh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    config: Arc<EngineConfig>,
    engines: BTreeMap<ConnectionId, Engine>,
    /// The connection that last received a datagram from an address.
    sources: HashMap<SocketAddr, ConnectionId>,
    sockets: Sockets,
    hub_config: HubConfig,
    hub: Option<HubSocket>,
    outage: Outage,
    closing_hub: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    outgoing: Outgoing,
    /// Peers whose messages are dropped until they have left.
    overflowing: HashSet<PeerId>,
    requests: mpsc::Receiver<Request>,
    orders: mpsc::Receiver<Order>,
    /// Resolves `Group::join`.
    joined: Option<oneshot::Sender<Result<(), JoinError>>>,
    leaving: Leaving,
    /// Resolve `Group::leave`.
    left: Vec<oneshot::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// The last messages are sent until this time.
    Flushing(Instant),
    /// `bye` is sent until this time.
    Bye(Instant),
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        config: EngineConfig,
        sockets: Sockets,
        hub_config: HubConfig,
        requests: mpsc::Receiver<Request>,
        orders: mpsc::Receiver<Order>,
        joined: oneshot::Sender<Result<(), JoinError>>,
    ) -> Self {
        Self {
            shared,
            config: Arc::new(config),
            engines: BTreeMap::new(),
            sources: HashMap::new(),
            sockets,
            hub_config,
            hub: None,
            outage: Outage::default(),
            closing_hub: None,
            outgoing: Outgoing::default(),
            overflowing: HashSet::new(),
            requests,
            orders,
            joined: Some(joined),
            leaving: Leaving::No,
            left: Vec::new(),
        }
    }

    /// Runs until the group is left.
    pub(crate) async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let mut has_handle = true;
        loop {
            self.check_timeouts(Instant::now());
            self.work();
            if self.has_ended() {
                break;
            }
            let wake = self.next_timeout();
            let can_send = self.leaving == Leaving::No && self.outgoing.has_room();
            tokio::select! {
                event = next_of(&mut self.hub) => self.on_hub(event, Instant::now()),
                () = end_of(&mut self.closing_hub) => self.closing_hub = None,
                datagrams = poll_fn(|context| {
                    // Waits for room in the sockets at the same time. They wake the task, which sends the rest.
                    let _: Poll<()> = self.sockets.poll_flush(context);
                    self.sockets.poll_recv(context, &mut buffer)
                }) => self.on_datagrams(datagrams, &mut buffer).await,
                Some(request) = self.requests.recv(), if can_send => self.on_request(request, Instant::now()),
                order = self.orders.recv(), if has_handle => match order {
                    Some(order) => self.on_order(order, Instant::now()),
                    None => {
                        has_handle = false;
                        self.start_leaving(Instant::now());
                    }
                },
                () = sleep_until(wake.into()) => {}
            }
        }
        self.end().await;
    }

    async fn on_datagrams(&mut self, first: (usize, SocketAddr, SocketAddr), buffer: &mut [u8]) {
        let now = Instant::now();
        self.on_datagram(first, buffer, now);
        for _ in 1..MAX_DATAGRAMS {
            let next = poll_fn(|context| match self.sockets.poll_recv(context, buffer) {
                Poll::Ready(datagram) => Poll::Ready(Some(datagram)),
                Poll::Pending => Poll::Ready(None),
            });
            let Some(datagram) = next.await else { return };
            self.on_datagram(datagram, buffer, now);
        }
    }

    fn on_datagram(&mut self, datagram: (usize, SocketAddr, SocketAddr), buffer: &[u8], now: Instant) {
        let (length, source, destination) = datagram;
        let data = &buffer[..length];
        let last = self
            .sources
            .get(&source)
            .filter(|id| self.engines.get(id).is_some_and(|engine| engine.accepts(source, destination, data, now)));
        let found = last.copied().or_else(|| {
            let mut engines = self.engines.iter();
            engines.find(|(_, engine)| engine.accepts(source, destination, data, now)).map(|(&id, _)| id)
        });
        let Some(id) = found else { return };
        // An entry for each connection's addresses: bounded by the addresses that the connections accept.
        if last_is_new(&self.sources, source, id) {
            if self.sources.len() >= 4 * self.engines.len().max(64) {
                self.sources.clear();
            }
            self.sources.insert(source, id);
        }
        if let Some(engine) = self.engines.get_mut(&id) {
            engine.receive(source, destination, data, now);
        }
    }

    fn on_request(&mut self, request: Request, now: Instant) {
        let to = self.shared.mesh().recipients(request.to, request.channel.as_deref());
        self.outgoing.send(request, to, now);
    }

    fn on_order(&mut self, order: Order, now: Instant) {
        match order {
            Order::SetMetadata(metadata) => self.shared.mesh().set_metadata(metadata, now),
            Order::Leave(left) => {
                self.left.push(left);
                self.start_leaving(now);
            }
        }
    }

    fn start_leaving(&mut self, now: Instant) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Flushing(now + FLUSH_TIMEOUT);
        }
    }

    /// Moves on with leaving. Returns whether the task ends.
    fn has_ended(&mut self) -> bool {
        let now = Instant::now();
        if let Leaving::Flushing(until) = self.leaving
            && (until <= now || (self.outgoing.is_empty() && self.engines.values_mut().all(Engine::is_flushed)))
        {
            self.shared.mesh().leave(now);
            self.work();
        }
        if let Leaving::Bye(until) = self.leaving {
            return until <= now || self.engines.values_mut().all(Engine::is_flushed);
        }
        false
    }

    async fn end(mut self) {
        for (_, mut engine) in std::mem::take(&mut self.engines) {
            engine.close();
            self.transmit(&mut engine);
        }
        let flush = poll_fn(|context| self.sockets.poll_flush(context));
        // Datagrams may be lost in any case.
        let _: Result<(), tokio::time::error::Elapsed> = tokio::time::timeout(BYE_TIMEOUT, flush).await;
        if let Some(hub) = self.hub.take() {
            hub.close().await;
        }
        if let Some(closing) = self.closing_hub.take() {
            closing.await;
        }
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            // The app may have dropped the future.
            let _: Result<(), Result<usize, SendError>> = request.reply.send(Err(SendError::Left));
        }
        self.shared.inbox.close();
        for left in self.left.drain(..) {
            let _: Result<(), ()> = left.send(()); // as above
        }
    }

    fn next_timeout(&self) -> Instant {
        let leaving = match self.leaving {
            Leaving::No => None,
            Leaving::Flushing(until) | Leaving::Bye(until) => Some(until),
        };
        let engines = self.engines.values().filter_map(Engine::poll_timeout);
        let others = [leaving, self.shared.mesh().poll_timeout(), self.outgoing.poll_timeout()];
        let latest = Instant::now() + MAX_SLEEP;
        engines.chain(others.into_iter().flatten()).chain([latest]).min().unwrap_or(latest)
    }

    fn check_timeouts(&mut self, now: Instant) {
        for engine in self.engines.values_mut() {
            if engine.poll_timeout().is_some_and(|at| at <= now) {
                engine.handle_timeout(now);
            }
        }
        let mut mesh = self.shared.mesh();
        if mesh.poll_timeout().is_some_and(|at| at <= now) {
            mesh.handle_timeout(now);
        }
        for stalled in self.outgoing.stalled(now) {
            mesh.failed(stalled, now);
        }
    }
}

fn last_is_new(sources: &HashMap<SocketAddr, ConnectionId>, source: SocketAddr, id: ConnectionId) -> bool {
    sources.get(&source) != Some(&id)
}

async fn next_of(hub: &mut Option<HubSocket>) -> crate::hub::HubEvent {
    match hub {
        Some(hub) => hub.next().await,
        None => std::future::pending().await,
    }
}

async fn end_of(closing: &mut Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    match closing {
        Some(closing) => closing.await,
        None => std::future::pending().await,
    }
}
