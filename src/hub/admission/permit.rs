//! The count of a connection, and the slot of an admitted peer: its counts in the limits, and its key, identity and
//! client IP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::app_values::AppValues;
use super::hook::PeerInfo;
use super::ip_limiter::{IpConnection, IpSlot};
use super::peer_data::PeerData;
use super::rejection::Rejection;
use super::request::JoinRequest;
use crate::hub::limits::Cause;
use crate::hub::limits::config::Config;
use crate::hub::limits::count::CountGuard;
use crate::protocol::GroupKey;

/// Counts a connection until dropped: before its admission, while it is served, and in its close handshake.
#[derive(Debug)]
pub(in crate::hub) struct ConnectionCount {
    count: CountGuard,
    ip: Option<IpConnection>,
}

impl ConnectionCount {
    pub(in crate::hub) fn new(count: CountGuard, ip: Option<IpConnection>) -> Self {
        Self { count, ip }
    }

    /// Fails if there are more than twice as many connections as there may be peers, in the hub or from the client IP.
    ///
    /// A limit of peers alone would not bound the connections: a rejected or closed connection stays open until its
    /// close handshake ends.
    pub(in crate::hub) fn check(&self, config: &Config) -> Result<(), Rejection> {
        let max = config.max_peers.saturating_mul(2);
        if self.count.total() > max {
            let reason = format!("connection limit reached ({max})");
            return Err(Rejection::too_many_connections(Cause::MaxPeers, reason));
        }
        self.ip.as_ref().map_or(Ok(()), |ip| ip.check(config))
    }

    /// Counts a join from the client IP, if that is known, against its join rate only.
    #[cfg(feature = "turn")]
    pub(in crate::hub) fn count_join(&self, config: &Config, now: Duration) -> Result<(), Rejection> {
        self.ip.as_ref().map_or(Ok(()), |ip| ip.count_join(config, now))
    }

    /// Counts a join from the client IP, if that is known, and takes a slot in its limits.
    pub(in crate::hub) fn join(&self, config: &Config, now: Duration) -> Result<Option<IpSlot>, Rejection> {
        self.ip.as_ref().map(|ip| ip.join(config, now)).transpose()
    }
}

/// A granted slot. Dropping it releases the slot in the limits.
#[derive(Debug)]
pub(in crate::hub) struct PeerSlot {
    pub(in crate::hub) key: GroupKey,
    pub(in crate::hub) favored: bool,
    /// The time when the slot was granted, on the hub's clock. Nanoseconds, because a `Duration` takes twice the space.
    since_nanos: u64,
    identity: Option<Arc<str>>,
    client_ip: Option<IpAddr>,
    ip_slot: Option<IpSlot>,
    _count: CountGuard,
    /// The last field, so that the code of the app in it runs when the slot is released.
    values: Option<Box<AppValues>>,
}

impl PeerSlot {
    pub(in crate::hub) fn new(
        key: GroupKey,
        request: &JoinRequest,
        since: Duration,
        count: CountGuard,
        ip_slot: Option<IpSlot>,
    ) -> Self {
        Self {
            key,
            favored: request.is_favored(),
            // These last for 584 years.
            since_nanos: since.as_nanos() as u64,
            identity: None,
            client_ip: request.client_ip(),
            ip_slot,
            _count: count,
            values: None,
        }
    }

    /// Applies the answer of the admission hook.
    pub(in crate::hub) fn set_info(&mut self, info: PeerInfo) {
        let PeerInfo { identity, key, favored, expires_at: _, values } = info;
        self.identity = identity;
        self.values = values;
        if let Some(key) = key {
            self.key = key;
        }
        self.favored = favored.unwrap_or(self.favored);
    }

    /// Returns the time when the slot was granted, on the hub's clock.
    pub(in crate::hub) fn since(&self) -> Duration {
        Duration::from_nanos(self.since_nanos)
    }

    pub(in crate::hub) fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Returns the identity for events and snapshots, without copying it.
    pub(in crate::hub) fn shared_identity(&self) -> Option<Arc<str>> {
        self.identity.clone()
    }

    pub(in crate::hub) fn data<T: 'static>(&self) -> Option<&T> {
        self.values.as_ref()?.data().get()
    }

    /// Returns the app's data for events and snapshots, without copying it.
    pub(in crate::hub) fn shared_data(&self) -> PeerData {
        self.values.as_ref().map(|values| values.data().clone()).unwrap_or_default()
    }

    pub(in crate::hub) fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip
    }

    /// Returns the slot in the limits of the client IP, if that is known.
    pub(in crate::hub) fn ip_slot(&self) -> Option<&IpSlot> {
        self.ip_slot.as_ref()
    }

    #[cfg(test)]
    pub(in crate::hub) fn of(key: &str) -> Self {
        let key = GroupKey::new(key).expect("a valid key");
        let request = JoinRequest::from(key.clone());
        Self::new(key, &request, Duration::ZERO, CountGuard::new(&Arc::default()), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_of_the_hook_replaces_what_it_sets_and_keeps_the_rest_of_the_request() {
        let shown = |slot: &PeerSlot| (slot.key.as_str().to_owned(), slot.favored, slot.identity().map(str::to_owned));
        let mut slot = PeerSlot::of("K");
        slot.set_info(PeerInfo::new());
        assert_eq!(shown(&slot), ("K".to_owned(), false, None));
        slot.set_info(PeerInfo::new().favored(true));
        assert_eq!(shown(&slot), ("K".to_owned(), true, None));
        slot.set_info(PeerInfo::new().key(GroupKey::new("L").expect("a valid key")).identity("alice"));
        assert_eq!(shown(&slot), ("L".to_owned(), true, Some("alice".to_owned())));
        slot.set_info(PeerInfo::new().favored(false));
        assert_eq!(shown(&slot), ("L".to_owned(), false, None));
    }
}
