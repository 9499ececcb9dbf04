//! The app's own say in who comes in.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::time::timeout;

use super::{Refusal, Visitor};
use crate::hub::Guard;
use crate::protocol::{CloseCode, GroupKey};

/// The app's own say in who comes in, for [`HubBuilder::admission`](crate::HubBuilder::admission).
///
/// It is asked after the hub's other checks, those of the group's size apart, and before anything is kept for the peer, at most for
/// [`HubBuilder::admission_within`](crate::HubBuilder::admission_within). A panic in it refuses that one peer, with
/// 1011. It may be asked for many peers at a time.
///
/// A closure does as well:
///
/// ```
/// use sigver::protocol::CloseCode;
/// use sigver::{Pass, Refusal, SignalingHub, Visitor};
///
/// async fn user_of(token: &str) -> Option<String> {
///     token.strip_prefix("token of ").map(str::to_owned)
/// }
///
/// let hub = SignalingHub::builder()
///     .admission(|visitor: Visitor| async move {
///         let key = visitor.key()?;
///         match user_of(key.as_str()).await {
///             Some(user) => Ok(Pass::new().identity(user)),
///             None => Err(Refusal::close(CloseCode::app(4001), "log in first")),
///         }
///     })
///     .build()?;
/// # Ok::<(), sigver::ConfigError>(())
/// ```
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Whether the visitor may come in.
    ///
    /// # Errors
    /// It may not: the refusal says what it is told.
    async fn admit(&self, visitor: Visitor) -> Result<Pass, Refusal>;
}

#[async_trait]
impl<F, A> Admission for F
where
    F: Fn(Visitor) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Pass, Refusal>> + Send,
{
    async fn admit(&self, visitor: Visitor) -> Result<Pass, Refusal> {
        self(visitor).await
    }
}

impl fmt::Debug for dyn Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}

/// What an [`Admission`] lets a visitor in with.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Pass {
    pub(super) identity: Option<Arc<str>>,
    pub(super) key: Option<GroupKey>,
    pub(super) favored: Option<bool>,
}

impl Pass {
    /// Lets the visitor in as it asks.
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

/// Asks, with a deadline, and takes a panic for a refusal.
pub(super) async fn ask(admission: &dyn Admission, visitor: Visitor, within: Duration) -> Result<Pass, Refusal> {
    // The panic may come out of the call as well as out of a poll. What it leaves broken is the app's own.
    let asked = AssertUnwindSafe(async { admission.admit(visitor).await }).catch_unwind();
    match timeout(within, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            tracing::error!("the app's admission panicked");
            Err(Refusal::by(Guard::Admission, CloseCode::Internal, CloseCode::Internal.reason()))
        }
        Err(_) => {
            tracing::warn!(?within, "the app's admission took too long");
            Err(Refusal::by(Guard::Admission, CloseCode::TryAgainLater, "admission took too long, try again later"))
        }
    }
}
