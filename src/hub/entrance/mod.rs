//! The way in: who wants to open a socket, and whether the hub lets it.

mod addresses;
mod admission;
mod origins;
#[cfg(feature = "hyper")]
mod proxies;
mod refusal;
#[cfg(feature = "signed-keys")]
mod signed;
mod ticket;
mod visitor;

use std::sync::Arc;

pub(super) use addresses::Addresses;
pub use admission::{Admission, Pass};
pub(super) use origins::Origins;
#[cfg(feature = "hyper")]
pub(super) use proxies::Proxies;
#[cfg(feature = "hyper")]
pub use proxies::ProxyHeader;
pub use refusal::Refusal;
#[cfg(feature = "signed-keys")]
pub use signed::SignedKeys;
pub use ticket::Ticket;
pub use visitor::Visitor;

use super::stats::Count;
use super::{Opening, Shared, SignalingHub};
use crate::protocol::GroupKey;

/// What [`SignalingHub::serve`] takes beside a socket: a key, an [`Opening`] or a [`Visitor`], all of which it asks the
/// guards about; or what came of asking them before, a [`Ticket`] or a [`Refusal`].
#[derive(Debug)]
pub struct Entrance {
    /// Boxed, as it is soon over: it would be part of every peer's future.
    pub(super) step: Box<Step>,
    /// What a drain waits by, where it has to before the socket is there.
    pub(super) expected: Option<Count>,
}

#[derive(Debug)]
pub(super) enum Step {
    Ask(Visitor),
    In(Ticket),
    Out(Refusal),
}

impl Step {
    /// Asks the guards, unless that was done before.
    pub(super) async fn ask(self: Box<Self>, shared: &Arc<Shared>) -> Result<Ticket, Refusal> {
        match *self {
            Self::In(ticket) => Ok(ticket),
            Self::Out(refusal) => Err(refusal),
            // Boxed, as it is soon over: it would be part of every peer's future.
            Self::Ask(visitor) if shared.guards.admission.is_some() => Box::pin(shared.admit(visitor)).await,
            Self::Ask(visitor) => shared.check(visitor).map(|(ticket, _)| ticket),
        }
    }
}

/// What checks a peer before it is let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards {
    pub(in crate::hub) admission: Option<Arc<dyn Admission>>,
    pub(in crate::hub) origins: Option<Origins>,
    #[cfg(feature = "hyper")]
    pub(in crate::hub) proxies: Proxies,
}

impl SignalingHub {
    /// Asks the guards whether a peer may open a socket.
    ///
    /// [`SignalingHub::serve`] does it by itself; the adapters do it before they accept a handshake, so that a refusal
    /// can be an HTTP status. What is not about HTTP can be refused by a close code only, as a browser cannot read the
    /// status of a WebSocket: serve the refusal then, and the peer is told.
    ///
    /// In this order: a drain, the origin, the address's new peers per second and peers, the peers in all, the key, and
    /// the app's [`Admission`].
    ///
    /// # Errors
    /// The refusal.
    ///
    /// # Cancel safety
    /// Dropping the future, or the ticket that it gave, leaves nothing behind.
    pub async fn admit(&self, visitor: impl Into<Visitor>) -> Result<Ticket, Refusal> {
        self.shared.admit(visitor.into()).await
    }
}

impl Shared {
    pub(super) async fn admit(self: &Arc<Self>, visitor: Visitor) -> Result<Ticket, Refusal> {
        let (mut ticket, visitor) = self.check(visitor)?;
        if let Some(admission) = &self.guards.admission {
            let pass = admission::ask(&**admission, visitor, self.limits.admission_within).await?;
            // It may have taken its time.
            if self.is_leaving() {
                return Err(Refusal::leaving());
            }
            ticket.take_pass(pass);
        }
        Ok(ticket)
    }

    /// Every check but the app's own.
    pub(super) fn check(self: &Arc<Self>, visitor: Visitor) -> Result<(Ticket, Visitor), Refusal> {
        if self.is_leaving() {
            return Err(Refusal::leaving());
        }
        if let Some(origins) = &self.guards.origins {
            origins.check(visitor.page_origin())?;
        }
        #[cfg(feature = "hyper")]
        let visitor = visitor.past(&self.guards.proxies);
        let place = visitor.client_address().map(|address| Addresses::enter(self, address)).transpose()?;
        let count = self.count_peer()?;
        let key = visitor.key()?.clone();
        let ticket = Ticket::new(key, &visitor, self.clock(), count, place);
        Ok((ticket, visitor))
    }
}

impl From<Step> for Entrance {
    fn from(step: Step) -> Self {
        Self { step: Box::new(step), expected: None }
    }
}

impl From<Visitor> for Entrance {
    fn from(visitor: Visitor) -> Self {
        Step::Ask(visitor).into()
    }
}

impl From<Opening> for Entrance {
    fn from(opening: Opening) -> Self {
        Visitor::from(opening).into()
    }
}

impl From<&str> for Entrance {
    fn from(key: &str) -> Self {
        Opening::from(key).into()
    }
}

impl From<GroupKey> for Entrance {
    fn from(key: GroupKey) -> Self {
        Opening::from(key).into()
    }
}

impl From<Ticket> for Entrance {
    fn from(ticket: Ticket) -> Self {
        Step::In(ticket).into()
    }
}

impl From<Refusal> for Entrance {
    fn from(refusal: Refusal) -> Self {
        Step::Out(refusal).into()
    }
}

impl From<Result<Ticket, Refusal>> for Entrance {
    fn from(asked: Result<Ticket, Refusal>) -> Self {
        asked.map_or_else(Self::from, Self::from)
    }
}
