//! The leave to open a socket.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::Place;
use super::{Pass, Visitor};
use crate::hub::stats::Count;
use crate::protocol::GroupKey;

/// The leave to open one socket, for [`SignalingHub::serve`](crate::SignalingHub::serve). It holds the peer's place
/// among those that the limits count; dropping it gives that back.
#[derive(Debug)]
pub struct Ticket {
    pub(in crate::hub) key: GroupKey,
    pub(in crate::hub) favored: bool,
    /// When it was given, on the hub's clock.
    pub(in crate::hub) since: Duration,
    identity: Option<Arc<str>>,
    address: Option<IpAddr>,
    _count: Count,
    _place: Option<Place>,
}

impl Ticket {
    pub(super) fn new(key: GroupKey, visitor: &Visitor, since: Duration, count: Count, place: Option<Place>) -> Self {
        Self {
            key,
            favored: visitor.is_favored(),
            since,
            identity: None,
            address: visitor.client_address(),
            _count: count,
            _place: place,
        }
    }

    pub(super) fn take_pass(&mut self, pass: Pass) {
        let Pass { identity, key, favored } = pass;
        self.identity = identity;
        self.key = key.unwrap_or_else(|| self.key.clone());
        self.favored = favored.unwrap_or(self.favored);
    }

    #[cfg(test)]
    pub(in crate::hub) fn of(key: &str) -> Self {
        let key = GroupKey::new(key).expect("a key");
        let visitor = Visitor::from(key.clone());
        Self::new(key, &visitor, Duration::ZERO, Count::up(&Arc::default()), None)
    }

    /// Whom the app took the peer for, to keep.
    pub(in crate::hub) fn shared_identity(&self) -> Option<Arc<str>> {
        self.identity.clone()
    }

    /// The key of the group that it is for.
    pub fn key(&self) -> &GroupKey {
        &self.key
    }

    /// Whom the app's [`Admission`](crate::Admission) took the peer for.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Where the peer comes from, if that is known.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}
