//! The app's admission hook, and how the hub calls it.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::time::timeout;

use super::app_values::AppValues;
use super::rejection::Rejection;
use super::request::JoinRequest;
use crate::hub::limits::Cause;
use crate::protocol::{CloseCode, GroupKey};

/// The app's access decision, for [`HubBuilder::admission`](crate::HubBuilder::admission).
///
/// The hub calls it after all other checks except `max_peers_per_identity`, `max_groups` and `max_peers_per_group`, which
/// can still reject a peer that it has admitted. The peer already counts in `max_peers` and `max_peers_per_ip` while the
/// hook runs. It has no group or outbox yet. Calls for several peers may run at the same time. A panic rejects only the
/// peer of that call, with 1011. A call that takes longer than
/// [`HubBuilder::admission_timeout`](crate::HubBuilder::admission_timeout) rejects its peer with 1013.
///
/// Closures implement it:
///
/// ```
/// use sigver::{CloseCode, GroupKey, JoinRequest, PeerInfo, Rejection, SignalingHub};
///
/// async fn find_user(token: &str) -> Option<String> {
///     token.strip_prefix("token of ").map(str::to_owned) // a lookup in the app's sessions
/// }
///
/// let hub = SignalingHub::builder()
///     .admission(|request: JoinRequest| async move {
///         // Clients open TOKEN/KEY, and all users of a key join one group.
///         let (token, key) = request.key().as_str().split_once('/').unwrap_or_default();
///         match find_user(token).await {
///             Some(user) => Ok(PeerInfo::new().key(GroupKey::new(key)?).identity(user)),
///             None => Err(Rejection::close(CloseCode::app(4001), "log in first")),
///         }
///     })
///     .build()?;
/// # Ok::<(), sigver::ConfigError>(())
/// ```
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Decides whether the peer may join. The key of the request is valid.
    ///
    /// # Errors
    /// The rejection that the peer receives.
    async fn admit(&self, request: JoinRequest) -> Result<PeerInfo, Rejection>;
}

#[async_trait]
impl<F, A> Admission for F
where
    F: Fn(JoinRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<PeerInfo, Rejection>> + Send,
{
    async fn admit(&self, request: JoinRequest) -> Result<PeerInfo, Rejection> {
        self(request).await
    }
}

impl fmt::Debug for dyn Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}

/// The identity, key, `favored` flag and expiry of an admitted peer, and the app's own values.
///
/// A method with the name of a value sets it, and a method that starts with `get_` returns it. A hook that changes the
/// answer of another one, such as `SignedKeys`, and tests of a hook need the latter.
///
/// ```
/// use sigver::{GroupKey, JoinRequest, PeerInfo, SignalingHub, memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Clients open `KEY;NAME`. The name is not verified: anyone can choose any name.
/// let admission = |request: JoinRequest| async move {
///     let key = request.key().as_str();
///     let (key, name) = key.split_once(';').unwrap_or((key, "guest"));
///     Ok(PeerInfo::new().key(GroupKey::new(key)?).identity(name))
/// };
/// let hub = SignalingHub::builder().admission(admission).build()?;
///
/// assert!(memory::join(&hub, "lobby;alice").connect(1, &[]).await);
/// assert_eq!(hub.peers("lobby")[0].identity.as_deref(), Some("alice"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct PeerInfo {
    pub(in crate::hub) identity: Option<Arc<str>>,
    pub(in crate::hub) key: Option<GroupKey>,
    pub(in crate::hub) favored: Option<bool>,
    pub(in crate::hub) expires_at: Option<SystemTime>,
    /// Boxed, because most apps give no values.
    pub(in crate::hub) values: Option<Box<AppValues>>,
}

impl PeerInfo {
    /// Creates an answer that keeps the key and `favored` flag of the request, without an identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the identity shown in events, snapshots and logs, such as a user name. Other peers never see it.
    ///
    /// All groups of a hub share the identities: `max_peers_per_identity`,
    /// [`SignalingHub::close_identity`](crate::SignalingHub::close_identity) and the quotas of a TURN server apply to all
    /// of them. If names are unique only within a tenant, the identity must contain the tenant.
    pub fn identity(mut self, identity: impl Into<Arc<str>>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Replaces the key of the request, for example if that key also contains a token.
    pub fn key(mut self, key: GroupKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the time at which the hub closes the peer with 4740. Default: never.
    ///
    /// The client may join again, and the hook then decides again. If the time has passed when the hook returns, the
    /// peer is rejected with 4740.
    ///
    /// The hub reads the system's clock once, when the hook returns, and then waits for the remaining time on the
    /// monotonic clock. A later change of the system's clock does not move the close. If the machine is suspended, the
    /// close may come later by the time of the suspend. A time more than 100 years away counts as never.
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// Replaces the `favored` flag of the request: whether the hub prefers this peer when it selects a member for a
    /// joiner.
    pub fn favored(mut self, favored: bool) -> Self {
        self.favored = Some(favored);
        self
    }

    /// Attaches a value that is dropped when the peer has left its group, whatever the cause: a close by either side, a
    /// lost connection, a dropped future, or a panic. It may be called several times.
    ///
    /// Unlike an event, the drop cannot be missed. A guard that counts, holds a permit or writes to a database
    /// therefore follows the peer without loss:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sigver::ConfigError> {
    /// use std::sync::Arc;
    ///
    /// use sigver::{CloseCode, JoinRequest, PeerInfo, Rejection, SignalingHub, memory};
    /// use tokio::sync::Semaphore;
    ///
    /// let licenses = Arc::new(Semaphore::new(1));
    /// let hub = SignalingHub::builder()
    ///     .admission(move |request: JoinRequest| {
    ///         // A request for ICE servers needs no license.
    ///         let license = request.is_upgrade().then(|| licenses.clone().try_acquire_owned());
    ///         async {
    ///             match license {
    ///                 None => Ok(PeerInfo::new()),
    ///                 Some(Ok(license)) => Ok(PeerInfo::new().attach(license)),
    ///                 Some(Err(_)) => Err(Rejection::close(CloseCode::app(4001), "no license is free")),
    ///             }
    ///         }
    ///     })
    ///     .build()?;
    /// let mut alice = memory::join(&hub, "a key");
    /// assert!(alice.connect(1, &[]).await);
    /// assert_eq!(memory::join(&hub, "a key").recv_close().await.code, 4001);
    /// alice.close().await;
    /// assert!(memory::join(&hub, "a key").connect(2, &[]).await);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// When the value is dropped, the peer no longer appears in snapshots, has released its slot in the limits, and
    /// [`HubEvent::PeerLeft`](crate::HubEvent::PeerLeft) was sent. The close handshake has not started. So if a client
    /// joins again after it has received its close frame, its old value was dropped before.
    ///
    /// If the peer never joins, the value is dropped when that is certain: a later check rejects the peer, its
    /// WebSocket handshake fails, or the app drops the [`Permit`](crate::Permit) or the future. If the hub rejects the
    /// peer, [`HubEvent::Rejected`](crate::HubEvent::Rejected) was sent before. The value of a
    /// request for ICE servers ([`JoinRequest::is_upgrade`]) is dropped when it is answered.
    ///
    /// The future that serves the peer drops its values one after the other, in the order of the calls, while the hub
    /// holds no lock. Therefore `Drop` may call the hub, and must not block. A panic in `Drop` affects no other value
    /// and no peer. When [`SignalingHub::drain`](crate::SignalingHub::drain) returns 0, the values of all peers have
    /// been dropped.
    pub fn attach(mut self, value: impl Send + 'static) -> Self {
        self.values.get_or_insert_default().attach(value);
        self
    }

    /// Sets a value of the app that snapshots and events of this peer return, such as the user's record. A second call
    /// replaces the value.
    ///
    /// [`PeerSnapshot::data`](crate::PeerSnapshot::data), [`HubEvent::data`](crate::HubEvent::data) and
    /// [`Permit::data`](crate::Permit::data) return it. Logs, other peers and other nodes of a cluster never see it. It
    /// is shared and not cloned: it is dropped when the peer has left and no snapshot or event refers to it. A reader
    /// that is behind keeps up to [`HubBuilder::event_capacity`](crate::HubBuilder::event_capacity) events. `Drop` may
    /// call the hub, which holds no lock.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), sigver::ConfigError> {
    /// use sigver::{JoinRequest, PeerInfo, SignalingHub, memory};
    ///
    /// struct User {
    ///     is_moderator: bool,
    /// }
    ///
    /// let admission = |request: JoinRequest| async move {
    ///     let is_moderator = request.key().as_str() == "moderators";
    ///     Ok(PeerInfo::new().data(User { is_moderator }))
    /// };
    /// let hub = SignalingHub::builder().admission(admission).build()?;
    /// assert!(memory::join(&hub, "moderators").connect(1, &[]).await);
    /// let peers = hub.peers("moderators");
    /// assert!(peers[0].data::<User>().is_some_and(|user| user.is_moderator));
    /// assert!(peers[0].data::<String>().is_none(), "another type");
    /// # Ok(())
    /// # }
    /// ```
    pub fn data(mut self, data: impl Any + Send + Sync) -> Self {
        self.values.get_or_insert_default().set_data(data);
        self
    }

    /// Returns the identity. `None` if it is not set.
    pub fn get_identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Returns the key that replaces the key of the request. `None` if it is not set. In the answer of `SignedKeys`, it
    /// is the group key without the expiry and the signature.
    pub fn get_key(&self) -> Option<&GroupKey> {
        self.key.as_ref()
    }

    /// Returns the time at which the hub closes the peer. `None` if it is not set. In the answer of `SignedKeys`, it is
    /// the expiry of the key.
    pub fn get_expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// Returns the `favored` flag that replaces the one of the request. `None` if it is not set.
    pub fn get_favored(&self) -> Option<bool> {
        self.favored
    }

    /// Returns the value that [`PeerInfo::data`] set. `None` if it is not set, or of another type.
    pub fn get_data<T: 'static>(&self) -> Option<&T> {
        self.values.as_ref()?.data().get()
    }
}

/// Calls the hook with a timeout. A panic of the hook becomes a rejection.
pub(in crate::hub) async fn call(
    admission: &dyn Admission,
    request: JoinRequest,
    limit: Duration,
) -> Result<PeerInfo, Rejection> {
    // `admit` may panic when it is called as well as when its future is polled. The hub shares no state with the hook,
    // so a panic cannot break an invariant of the hub.
    let answer = AssertUnwindSafe(async { admission.admit(request).await }).catch_unwind();
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            tracing::error!("admission hook panicked");
            Err(Rejection::by(Cause::Admission, CloseCode::Internal, CloseCode::Internal.reason()))
        }
        Err(_) => {
            Err(Rejection::by(Cause::Admission, CloseCode::TryAgainLater, "admission timed out, try again later"))
        }
    }
}
