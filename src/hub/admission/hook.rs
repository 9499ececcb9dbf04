//! The app's own say in who comes in.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::time::timeout;

use super::rejection::Rejection;
use super::request::JoinRequest;
use crate::hub::limits::Cause;
use crate::protocol::{CloseCode, GroupKey};

/// The app's own say in who comes in, for [`HubBuilder::admission`](crate::HubBuilder::admission).
///
/// It is asked after the hub's other checks, those of the group's size apart, and before anything is kept for the peer, at most for
/// [`HubBuilder::admission_timeout`](crate::HubBuilder::admission_timeout). A panic in it refuses that one peer, with
/// 1011. It may be asked for many peers at a time.
///
/// A closure does as well:
///
/// ```
/// use sigver::protocol::CloseCode;
/// use sigver::{PeerInfo, Rejection, SignalingHub, JoinRequest};
///
/// async fn user_of(token: &str) -> Option<String> {
///     token.strip_prefix("token of ").map(str::to_owned)
/// }
///
/// let hub = SignalingHub::builder()
///     .admission(|request: JoinRequest| async move {
///         let key = request.key()?;
///         match user_of(key.as_str()).await {
///             Some(user) => Ok(PeerInfo::new().identity(user)),
///             None => Err(Rejection::close(CloseCode::app(4001), "log in first")),
///         }
///     })
///     .build()?;
/// # Ok::<(), sigver::ConfigError>(())
/// ```
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Whether the request may come in.
    ///
    /// # Errors
    /// It may not: the rejection says what it is told.
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

/// What an [`Admission`] lets a request in with.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PeerInfo {
    pub(in crate::hub) identity: Option<Arc<str>>,
    pub(in crate::hub) key: Option<GroupKey>,
    pub(in crate::hub) favored: Option<bool>,
}

impl PeerInfo {
    /// Lets the request in as it asks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whom the app takes it for: a user's name or number. It is in events, snapshots and logs; other peers never see it.
    pub fn identity(mut self, identity: impl Into<Arc<str>>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Puts it into another group than it asks for, for example when what it asked with holds a token too.
    pub fn key(mut self, key: GroupKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Has it offered to joiners before the other members, or not, whatever it asks for.
    pub fn favored(mut self, favored: bool) -> Self {
        self.favored = Some(favored);
        self
    }
}

/// Asks, with a deadline, and takes a panic for a rejection.
pub(in crate::hub) async fn call(
    admission: &dyn Admission,
    request: JoinRequest,
    within: Duration,
) -> Result<PeerInfo, Rejection> {
    // The panic may come out of the call as well as out of a poll. What it leaves broken is the app's own.
    let asked = AssertUnwindSafe(async { admission.admit(request).await }).catch_unwind();
    match timeout(within, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            tracing::error!("the app's admission panicked");
            Err(Rejection::by(Cause::Admission, CloseCode::Internal, CloseCode::Internal.reason()))
        }
        Err(_) => {
            tracing::warn!(?within, "the app's admission took too long");
            Err(Rejection::by(Cause::Admission, CloseCode::TryAgainLater, "admission took too long, try again later"))
        }
    }
}
