//! What the app granted to an admitted peer beyond its place in the limits.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::hub::admission::permit::PeerSlot;
use crate::hub::admission::rejection::Rejection;
use crate::hub::limits::Cause;
use crate::hub::rooms::identity_index::IdentityEntry;
use crate::hub::rooms::outbox::Outbox;
use crate::hub::shared::Shared;
use crate::protocol::{CloseCode, PeerId};

/// A longer time would overflow some clocks.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// An admitted peer, which may join. The slot is dropped last, because it has the values of the app.
#[derive(Debug)]
pub(in crate::hub) struct AdmittedPeer {
    /// Boxed, because most hubs grant nothing.
    pub(in crate::hub) grant: Option<Box<Grant>>,
    pub(in crate::hub) slot: PeerSlot,
}

/// The entry of a peer that has an identity, and the end of its session.
#[derive(Debug)]
pub(in crate::hub) struct Grant {
    identity: Option<IdentityEntry>,
    expires: Option<Instant>,
}

impl Grant {
    /// Applies the answer of the admission hook. `close_count` is the number of closed identities when the admission
    /// began. Returns `None` if the answer has neither an identity nor an expiry.
    ///
    /// # Errors
    /// The rejection, if the expiry has passed, or by the limit of the identity.
    pub(in crate::hub) fn new(
        shared: &Shared,
        identity: Option<&Arc<str>>,
        expires_at: Option<SystemTime>,
        close_count: u64,
    ) -> Result<Option<Box<Self>>, Rejection> {
        let expires = expires_at.map(|time| remaining(time, SystemTime::now())).transpose()?;
        let expires = expires.filter(|&remaining| remaining < NEVER).map(|remaining| Instant::now() + remaining);
        let insert = |identity| {
            let outbox = Outbox::new(shared.outbox_budget.clone());
            shared.identities.insert(identity, || shared.next_peer(), outbox, close_count)
        };
        let identity = identity.map(insert).transpose()?;
        Ok((identity.is_some() || expires.is_some()).then(|| Box::new(Self { identity, expires })))
    }

    /// Closes other peers of the identity if the peer, which has joined, replaces them.
    pub(super) fn replace_oldest(&self) {
        if let Some(identity) = &self.identity {
            identity.replace_oldest();
        }
    }

    /// Returns when the peer is closed. `None`: never.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.expires
    }
}

/// Returns the time until an expiry, which is greater than 0.
pub(in crate::hub) fn remaining(expires_at: SystemTime, now: SystemTime) -> Result<Duration, Rejection> {
    match expires_at.duration_since(now) {
        Ok(remaining) if !remaining.is_zero() => Ok(remaining),
        _ => {
            Err(Rejection::by(Cause::ExpiresAt, CloseCode::Expired, "access had expired before the peer was admitted"))
        }
    }
}

impl AdmittedPeer {
    /// Returns the id of the peer and its outbox, which exist already if the peer has an identity.
    pub(in crate::hub) fn id_and_outbox(&self, shared: &Shared) -> (PeerId, Arc<Outbox>) {
        match self.grant.as_ref().and_then(|grant| grant.identity.as_ref()) {
            Some(identity) => (identity.peer(), identity.outbox().clone()),
            None => (shared.next_peer(), Outbox::new(shared.outbox_budget.clone())),
        }
    }
}

impl From<PeerSlot> for AdmittedPeer {
    fn from(slot: PeerSlot) -> Self {
        Self { grant: None, slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_must_be_later_than_now() {
        let (now, second) = (SystemTime::now(), Duration::from_secs(1));
        assert_eq!(remaining(now + second, now).ok(), Some(second));
        for past in [now, now - second, SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - second] {
            let rejection = remaining(past, now).expect_err("the expiry has passed");
            assert_eq!((rejection.cause(), rejection.close_code()), (Cause::ExpiresAt, CloseCode::Expired));
        }
    }

    #[tokio::test]
    async fn far_expiry_is_never_and_a_grant_without_content_is_none() {
        let shared = Shared::new(Default::default(), Default::default());
        let grant = |identity: Option<&str>, expires_at| {
            let identity = identity.map(Arc::from);
            Grant::new(&shared, identity.as_ref(), expires_at, 0).expect("the expiry has not passed")
        };
        let expires = |after: Duration| grant(None, Some(SystemTime::now() + after));
        assert!(expires(NEVER - Duration::from_secs(60)).is_some_and(|grant| grant.expires().is_some()));
        // Later than any year of a calendar.
        for far in [NEVER + Duration::from_secs(1), Duration::from_secs(1 << 60)] {
            assert!(expires(far).is_none(), "{far:?}");
        }
        assert!(grant(None, None).is_none());
        assert!(grant(Some("alice"), None).is_some_and(|grant| grant.expires().is_none()));
    }
}
