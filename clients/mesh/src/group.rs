//! The handle of a group.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use str0m::config::DtlsCert;
use tokio::sync::{mpsc, oneshot};

use crate::driver::{Driver, EngineConfig, Order, Request, Shared, Sockets};
use crate::error::{JoinError, OptionsError, SendError};
use crate::event::{Event, State};
use crate::hub::{Dialer, HubConfig, group_url};
use crate::id::PeerId;
use crate::mesh::{Config, MAX_MESSAGE_BYTES, Mesh, PIECE_BYTES};
use crate::options::{ChannelOptions, Key, Options, check_metadata};
use crate::payload::Payload;

/// Messages and orders that wait for the task.
const MAX_QUEUED: usize = 16;

/// This peer's membership in one group.
///
/// A task of tokio runs the group until [`leave`](Self::leave) is called or the handle is dropped. All methods take
/// `&self`, and `Group` is `Send` and `Sync`: tasks share it in an [`Arc`], and one can send while another receives.
///
/// Dropping the last handle leaves the group in the background. The other peers see
/// [`LeaveReason::Left`](crate::LeaveReason::Left) if the runtime keeps running for the time of [`leave`](Self::leave).
/// If it stops at once, as at the end of `main`, they see [`LeaveReason::Lost`](crate::LeaveReason::Lost) 12 to 14 s
/// later. A program should therefore await `leave` before it ends.
pub struct Group {
    shared: Arc<Shared>,
    channels: Vec<(Arc<str>, ChannelOptions)>,
    requests: mpsc::Sender<Request>,
    orders: mpsc::Sender<Order>,
}

/// A peer that is connected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its id.
    pub id: PeerId,
    /// The JSON value with which it describes itself. Untrusted.
    pub metadata: Option<Value>,
    /// The SHA-256 fingerprint of its certificate in upper-case hex.
    pub fingerprint: String,
    /// The smoothed round-trip time. `None` until it is measured.
    pub round_trip_time: Option<Duration>,
    /// Its own neighbours, with its round-trip times to them.
    pub neighbours: Vec<(PeerId, Option<Duration>)>,
}

impl Group {
    /// Joins the group of all peers with this key. `url` is the hub's mount: `ws`, `wss`, `http` or `https`. The key
    /// has 1 to 512 bytes, and is not `.` or `..`. It is appended to the path of the URL as one segment, before the
    /// query; special characters are escaped.
    ///
    /// Returns when this peer is a member: immediately for the first peer, otherwise after the first neighbour is
    /// connected.
    ///
    /// While the hub is unreachable, it keeps trying indefinitely, with a back-off: 1 s that doubles up to 30 s, each
    /// time multiplied by a random number from 0.5 to 1. The hub counts as unreachable if its name is not resolved, if
    /// the TCP connection, the TLS handshake or the WebSocket fails or takes more than 10 s, and after an HTTP status
    /// other than 401 and 403. This includes a wrong URL (404) and an untrusted certificate. The first of several
    /// failures in a row is logged with its cause at the level `warn`, the later ones at `debug`. A script sets a time
    /// limit:
    ///
    /// ```no_run
    /// # use sigver_mesh::{Group, Options};
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let join = Group::join("https://example.org/signal", "tea-room", Options::default());
    /// let group = tokio::time::timeout(std::time::Duration::from_secs(30), join).await??;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future leaves the group.
    ///
    /// # Errors
    /// [`JoinError`], if an argument or the key of the key function is invalid, if no UDP socket can be bound, or if the hub rejects this peer.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn join(url: &str, key: impl Into<Key>, options: Options) -> Result<Self, JoinError> {
        let key = key.into();
        options.check()?;
        let group_url = group_url(url, key.as_text().unwrap_or("key"), options.favored)?;
        let dialer = Dialer::new(&group_url, options.headers, options.certificate_authorities)?;
        let sockets = Sockets::bind(&options.addresses)?;
        let (certificate, fingerprint) = generate_certificate();
        let mesh_config = Config {
            metadata: options.metadata,
            max_peers: options.max_peers,
            channels: options.channels.iter().map(|(name, _)| name.to_string()).collect(),
            renewable_key: key.as_text().is_none(),
        };
        let mesh = Mesh::new(mesh_config, fastrand::u64(..), Instant::now());
        let shared = Arc::new(Shared::new(mesh, fingerprint));
        let engine_config =
            EngineConfig { certificate, addresses: sockets.addresses(), channels: options.channels.clone() };
        let hub_config = HubConfig { base: url.to_owned(), key, favored: options.favored, dialer };
        let (requests, from_app) = mpsc::channel(MAX_QUEUED);
        let (orders, orders_of_app) = mpsc::channel(MAX_QUEUED);
        let (joined, outcome) = oneshot::channel();
        let driver = Driver::new(shared.clone(), engine_config, sockets, hub_config, from_app, orders_of_app, joined);
        let group = Self { shared, channels: options.channels, requests, orders };
        tokio::spawn(driver.run());
        match outcome.await {
            Ok(joined) => joined.map(|()| group),
            Err(_) => panic!("the task of the group has panicked"),
        }
    }

    /// Receives the next event. Returns `None` after the group was left and all events were received.
    ///
    /// Call it all the time: if more than 64 MiB from one peer are waiting, the connection to it closes with
    /// [`LeaveReason::Overflow`](crate::LeaveReason::Overflow). The loop that receives should therefore not wait for a
    /// peer, not even in [`send`](Self::send). Events of several peers share one queue.
    ///
    /// # Cancel safety
    /// Cancel safe: no event is lost.
    pub async fn recv(&self) -> Option<Event> {
        self.shared.inbox.recv().await
    }

    /// Sends a message to one peer, or to all of them. Messages from one peer to another arrive in order.
    ///
    /// Waits until the local send buffers of all these connections have accepted the whole message. The other app may
    /// not have received it by then, and never receives it if the connection closes first. If an app does not receive,
    /// more than 64 MiB that wait there close the connection. A peer that accepts nothing for 30 s is disconnected.
    ///
    /// Do not await this in the loop that receives: one peer that does not read would delay the messages of all others.
    /// Send from another task, for example one task per peer with a bounded queue, as `examples/echo.rs` does.
    ///
    /// Returns the number of connections that accepted it. `Ok(0)` is not an error: there was no peer, `to` is not
    /// connected, or the connection closed first.
    ///
    /// # Cancel safety
    /// If the future is dropped, either nothing is sent or the whole message.
    ///
    /// # Errors
    /// [`SendError::TooLong`] above 64 MiB, and [`SendError::Left`].
    pub async fn send(&self, to: Option<PeerId>, message: impl Into<Payload>) -> Result<usize, SendError> {
        self.request(to, None, message.into(), MAX_MESSAGE_BYTES).await
    }

    /// Sends a message on a channel of [`Options::channel`], to the peers that have it as well.
    ///
    /// As [`send`](Self::send). On a channel that is unordered or not reliable, a message has at most 16 384 bytes.
    /// `Ok(0)` also means that no peer has this channel.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::UnknownChannel`].
    pub async fn send_on(
        &self,
        channel: &str,
        to: Option<PeerId>,
        message: impl Into<Payload>,
    ) -> Result<usize, SendError> {
        let Some((name, options)) = self.channels.iter().find(|(name, _)| &**name == channel) else {
            return Err(SendError::UnknownChannel { name: channel.to_owned() });
        };
        let max = if options.is_reliable_and_ordered() { MAX_MESSAGE_BYTES } else { PIECE_BYTES };
        self.request(to, Some(name.clone()), message.into(), max).await
    }

    async fn request(
        &self,
        to: Option<PeerId>,
        channel: Option<Arc<str>>,
        payload: Payload,
        max: usize,
    ) -> Result<usize, SendError> {
        if payload.len() > max {
            return Err(SendError::TooLong { bytes: payload.len(), max });
        }
        let (reply, accepted) = oneshot::channel();
        let request = Request { to: to.map(|PeerId(id)| id), channel, payload, reply };
        self.requests.send(request).await.map_err(|_| SendError::Left)?;
        accepted.await.unwrap_or(Err(SendError::Left))
    }

    /// Changes the JSON value with which this peer describes itself. Changes within one second are combined. Has no
    /// effect after the group was left.
    ///
    /// # Errors
    /// [`OptionsError::Metadata`] if it is longer than 4 096 bytes as JSON, and [`OptionsError::MetadataDepth`] if it is
    /// nested more than 64 levels deep.
    pub async fn set_metadata(&self, metadata: Value) -> Result<(), OptionsError> {
        check_metadata(&metadata)?;
        // The group was left.
        let _: Result<(), mpsc::error::SendError<Order>> = self.orders.send(Order::SetMetadata(metadata)).await;
        Ok(())
    }

    /// The connected peers, by id: those whose [`Event::PeerJoin`] was reported or is about to be.
    pub fn peers(&self) -> Vec<PeerInfo> {
        let milliseconds = |value: f64| Duration::try_from_secs_f64(value / 1_000.0).ok();
        let neighbours = self.shared.mesh().neighbours();
        let info = neighbours.into_iter().map(|it| PeerInfo {
            id: PeerId(it.peer),
            metadata: it.metadata,
            fingerprint: it.fingerprint,
            round_trip_time: it.round_trip_time.and_then(milliseconds),
            neighbours: it.neighbours.into_iter().map(|(id, time)| (PeerId(id), time.and_then(milliseconds))).collect(),
        });
        info.collect()
    }

    /// This peer's id. It changes only if another peer in the group already has it (a chance of 1 in 2^31).
    pub fn id(&self) -> PeerId {
        PeerId(self.shared.mesh().id())
    }

    /// The SHA-256 fingerprint of this peer's certificate in upper-case hex. Each membership has its own.
    pub fn fingerprint(&self) -> &str {
        &self.shared.fingerprint
    }

    /// The state of the membership.
    pub fn state(&self) -> State {
        self.shared.mesh().state()
    }

    /// Leaves the group. Returns when the last messages have been sent, and when the other peers know that this one has
    /// left, after at most 4 s.
    ///
    /// The last event is a change to [`State::Left`]. The peers that are still connected then have no
    /// [`Event::PeerLeave`].
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the group is left in the background.
    pub async fn leave(&self) {
        let (left, done) = oneshot::channel();
        if self.orders.send(Order::Leave(left)).await.is_ok() {
            // An error means that the group was left for another reason at the same time.
            let _: Result<(), oneshot::error::RecvError> = done.await;
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, state, peers) = (self.id(), self.state(), self.peers().len());
        f.debug_struct("Group").field("id", &id).field("state", &state).field("peers", &peers).finish_non_exhaustive()
    }
}

fn generate_certificate() -> (DtlsCert, String) {
    let provider = str0m::crypto::from_feature_flags();
    let certificate = provider.dtls_provider.generate_certificate();
    let certificate = certificate.expect("the provider generates certificates");
    let digest = provider.sha256_provider.sha256(&certificate.certificate);
    let hex: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    (certificate, hex.join(":"))
}
