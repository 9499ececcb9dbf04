//! The limits of a hub: safe when left alone, each a number.

use std::sync::Arc;
use std::time::Duration;

use super::entrance::Guards;
use super::{Admission, SignalingHub};

/// The slowest heartbeat that the published clients bear: Netflux gives up after about 15 s without one.
const SLOWEST_HEARTBEAT: Duration = Duration::from_secs(5);

/// More than that in one message is no signaling.
const LARGEST_MESSAGE: usize = 64 << 20;

/// Every number that bounds what peers can ask of a hub.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) heartbeat: Duration,
    pub(crate) missed_heartbeats: u32,
    pub(crate) connect_within: Duration,
    pub(crate) write_within: Duration,
    pub(crate) close_within: Duration,
    pub(crate) upgrade_within: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_members_named: usize,
    pub(crate) outbox_messages: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) max_peers: usize,
    pub(crate) max_peers_per_group: usize,
    pub(crate) max_peers_per_address: usize,
    pub(crate) max_groups: usize,
    pub(crate) opens_per_second: u32,
    pub(crate) messages_per_second: u32,
    pub(crate) bytes_per_second: u32,
    pub(crate) connects_per_second: u32,
    pub(crate) admission_within: Duration,
    pub(crate) min_stay: Duration,
    pub(crate) read_buffer_bytes: usize,
    pub(crate) kept_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: SLOWEST_HEARTBEAT,
            missed_heartbeats: 3,
            connect_within: Duration::from_secs(60),
            write_within: Duration::from_secs(10),
            close_within: Duration::from_secs(1),
            upgrade_within: Duration::from_secs(10),
            max_message_bytes: 64 * 1024,
            max_members_named: 4096,
            outbox_messages: 256,
            outbox_bytes: 1024 * 1024,
            max_peers: 100_000,
            max_peers_per_group: 10_000,
            max_peers_per_address: 1000,
            max_groups: 100_000,
            opens_per_second: 200,
            messages_per_second: 20_000,
            bytes_per_second: 32 * 1024 * 1024,
            connects_per_second: 1000,
            admission_within: Duration::from_secs(5),
            min_stay: Duration::ZERO,
            read_buffer_bytes: 4096,
            kept_events: 1024,
        }
    }
}

/// Makes a [`SignalingHub`] with other limits than the default ones, which each method names, and with checks of who may
/// come in.
///
/// [`HubBuilder::build`] takes times over 0 and up to a year, counts and rates from 1, and where a method says so, less
/// than that. A rate is a token bucket that holds one second's worth: so much may come at once.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HubBuilder {
    limits: Limits,
    guards: Guards,
    without_origin: Option<bool>,
    /// The first wrong thing that was said of the guards.
    wrong: Option<ConfigError>,
}

/// Who may come in.
impl HubBuilder {
    /// The app's own say, asked after all other checks: whoever comes, when it is not set.
    pub fn admission(mut self, admission: impl Admission) -> Self {
        self.guards.admission = Some(Arc::new(admission));
        self
    }

    /// How long the app's [`Admission`] may take for one peer: 5 s. After that the peer is closed with 1013.
    pub fn admission_within(mut self, time: Duration) -> Self {
        self.limits.admission_within = time;
        self
    }

    /// Pages of which origins may open sockets: of all, when it is not set. Else a request from another page, and one
    /// without an `Origin`, is answered with 403.
    ///
    /// An origin is `https://app.example`, with a port if it is not the scheme's own; `https://*.app.example` is every
    /// name below that one, and not the name itself. Set it wherever cookies or the visitor's network let somebody in:
    /// browsers let every page on the web open a WebSocket to every server, in the name of whoever looks at the page.
    ///
    /// ```
    /// let hub = sigver::SignalingHub::builder().origins(["https://app.example", "https://*.app.example"]).build()?;
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    pub fn origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        let mut list = self.guards.origins.take().unwrap_or_default();
        for origin in origins {
            if let Err(rule) = list.allow(origin.as_ref()) {
                self.wrong.get_or_insert(ConfigError::new("origins", format!("{:?}", origin.as_ref()), rule));
            }
        }
        self.guards.origins = Some(list);
        self
    }

    /// Whether requests that say no origin may come too, when [`HubBuilder::origins`] are set: false. Native clients,
    /// Node and tests send none, and neither does who wants to be taken for them.
    pub fn without_origin(mut self, allowed: bool) -> Self {
        self.without_origin = Some(allowed);
        self
    }

    /// Whose word to take for where a peer comes from, and which of their headers: nobody's. Addresses and networks of
    /// the proxies between the peers and this server. Without them every peer behind a proxy counts as one address. The
    /// last call counts.
    ///
    /// ```
    /// use sigver::{ProxyHeader, SignalingHub};
    ///
    /// let proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"];
    /// let hub = SignalingHub::builder().trusted_proxies(ProxyHeader::XForwardedFor, proxies).build()?;
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    #[cfg(feature = "hyper")]
    pub fn trusted_proxies<P: AsRef<str>>(
        mut self,
        header: super::ProxyHeader,
        proxies: impl IntoIterator<Item = P>,
    ) -> Self {
        let mut list = super::entrance::Proxies::new(header);
        for proxy in proxies {
            if let Err(rule) = list.trust(proxy.as_ref()) {
                self.wrong.get_or_insert(ConfigError::new("trusted_proxies", format!("{:?}", proxy.as_ref()), rule));
            }
        }
        self.guards.proxies = list;
        self
    }
}

/// How much of what.
impl HubBuilder {
    /// How many peers there may be in all: 100 000. One more is closed with 1013.
    pub fn max_peers(mut self, count: usize) -> Self {
        self.limits.max_peers = count;
        self
    }

    /// How many peers may come from one address: 1000. One more is closed with 1013. An IPv6 network of 64 bits counts
    /// as one. Where the hub is not told addresses it counts none: see the adapter, and
    /// `HubBuilder::trusted_proxies`.
    pub fn max_peers_per_address(mut self, count: usize) -> Self {
        self.limits.max_peers_per_address = count;
        self
    }

    /// How many keys may have a peer at a time: 100 000. The first peer of one more is closed with 1013.
    pub fn max_groups(mut self, count: usize) -> Self {
        self.limits.max_groups = count;
        self
    }

    /// How many new peers may come from one address in a second: 200. One more is closed with 1013. Netflux comes back
    /// 3 s later.
    pub fn opens_per_second(mut self, rate: u32) -> Self {
        self.limits.opens_per_second = rate;
        self
    }

    /// How many messages a peer may send in a second, pings and heartbeats included: 20 000, which costs some 2 % of a
    /// core. One more closes it with 1008. A peer that only signals sends a few hundred when it joins.
    pub fn messages_per_second(mut self, rate: u32) -> Self {
        self.limits.messages_per_second = rate;
        self
    }

    /// How many bytes a peer may send in a second: 32 MiB, and at least [`HubBuilder::max_message_bytes`]. More close it
    /// with 1008.
    pub fn bytes_per_second(mut self, rate: u32) -> Self {
        self.limits.bytes_per_second = rate;
        self
    }

    /// How often a peer may ask `connect` in a second: 1000. Once more closes it with 1008. Netflux asks again at once
    /// when it was refused, so a low rate puts out peers that search.
    pub fn connects_per_second(mut self, rate: u32) -> Self {
        self.limits.connects_per_second = rate;
        self
    }

    /// How often each peer is sent a heartbeat: 5 s. It cannot be more: published clients would take the hub for dead.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.limits.heartbeat = every;
        self
    }

    /// How many heartbeats in a row a peer may leave unanswered, the last of which closes it with 4742: 3.
    pub fn missed_heartbeats(mut self, count: u32) -> Self {
        self.limits.missed_heartbeats = count;
        self
    }

    /// How long a peer may wait with its first `connect`: 60 s. After that it is closed with 1008.
    pub fn connect_within(mut self, time: Duration) -> Self {
        self.limits.connect_within = time;
        self
    }

    /// How long a peer's socket may take not one message of those that wait: 10 s. After that it is closed with 1013.
    pub fn write_within(mut self, time: Duration) -> Self {
        self.limits.write_within = time;
        self
    }

    /// How long a closed peer has for its part of the goodbye: 1 s. After that its socket is dropped.
    pub fn close_within(mut self, time: Duration) -> Self {
        self.limits.close_within = time;
        self
    }

    /// How long an HTTP connection has to become a WebSocket after the handshake was accepted: 10 s. After that it is
    /// dropped.
    pub fn upgrade_within(mut self, time: Duration) -> Self {
        self.limits.upgrade_within = time;
        self
    }

    /// The longest message that a peer may send, in bytes: 64 KiB, and 64 MiB at most. A longer one closes it with 1009.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_message_bytes = bytes;
        self
    }

    /// How many members one `connect` may name: 4096. More close the peer with 1008.
    pub fn max_members_named(mut self, count: usize) -> Self {
        self.limits.max_members_named = count;
        self
    }

    /// How many messages may wait for a peer whose socket takes no more: 256. One more closes it with 1013, as nothing is
    /// ever dropped from the middle. A peer that reads is bounded by [`HubBuilder::outbox_bytes`] only.
    pub fn outbox_messages(mut self, count: usize) -> Self {
        self.limits.outbox_messages = count;
        self
    }

    /// How many bytes may wait for one peer, with 64 more for each message: 1 MiB, and at least 1024 more than
    /// [`HubBuilder::max_message_bytes`]. More close it with 1013.
    pub fn outbox_bytes(mut self, bytes: usize) -> Self {
        self.limits.outbox_bytes = bytes;
        self
    }

    /// How many peers one key may have, members or not: 10 000. One more is closed with 1013.
    pub fn max_peers_per_group(mut self, count: usize) -> Self {
        self.limits.max_peers_per_group = count;
        self
    }

    /// How long the only member of a group has to have been one before it can be put out for blocking, with 4744: 0, as
    /// the protocol has no such rule. Who asks before that is bound to it again.
    ///
    /// Any joiner can put the only member out by asking twice. With a stay of some seconds nobody takes a group over
    /// that has just begun; but who joins a group whose member went silent waits for so long, too.
    pub fn min_stay(mut self, time: Duration) -> Self {
        self.limits.min_stay = time;
        self
    }

    /// The read buffer of each WebSocket that an adapter upgrades, in bytes: 4096. It is most of what an idle peer
    /// costs. From 512 to 131 072; below 1024 bursts get slow, and above 16 KiB everything does.
    pub fn read_buffer_bytes(mut self, bytes: usize) -> Self {
        self.limits.read_buffer_bytes = bytes;
        self
    }

    /// How many events wait for a reader of [`SignalingHub::events`]: 1024, and 65 536 at most. They take some 128 bytes
    /// each, once somebody reads events.
    pub fn kept_events(mut self, count: usize) -> Self {
        self.limits.kept_events = count;
        self
    }

    /// The hub.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the first limit that makes no sense.
    pub fn build(self) -> Result<SignalingHub, ConfigError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let mut guards = self.guards;
        match (&mut guards.origins, self.without_origin) {
            (Some(origins), without) => origins.without = without.unwrap_or(false),
            (None, None) => {}
            (None, Some(without)) => {
                let rule = "set beside origins, of which there are none";
                return Err(ConfigError::new("without_origin", without.to_string(), rule));
            }
        }
        if guards.origins.as_ref().is_some_and(|origins| origins.is_empty() && !origins.without) {
            return Err(ConfigError::new("origins", "empty".to_owned(), "at least one: else nobody could come in"));
        }
        let limits = &self.limits;
        let wrong = |field, value, rule| Err(ConfigError::new(field, value, rule));
        if limits.heartbeat.is_zero() || limits.heartbeat > SLOWEST_HEARTBEAT {
            return wrong("heartbeat", format!("{:?}", limits.heartbeat), "more than 0 and at most 5s");
        }
        for (field, time) in [
            ("connect_within", limits.connect_within),
            ("write_within", limits.write_within),
            ("close_within", limits.close_within),
            ("upgrade_within", limits.upgrade_within),
            ("admission_within", limits.admission_within),
        ] {
            // A longer one could not be added to a clock.
            if time.is_zero() || time > Duration::from_secs(365 * 24 * 3600) {
                return wrong(field, format!("{time:?}"), "more than 0 and at most a year");
            }
        }
        if limits.min_stay > Duration::from_secs(365 * 24 * 3600) {
            return wrong("min_stay", format!("{:?}", limits.min_stay), "at most a year");
        }
        for (field, count) in [
            ("missed_heartbeats", limits.missed_heartbeats as usize),
            ("max_message_bytes", limits.max_message_bytes),
            ("max_members_named", limits.max_members_named),
            ("outbox_messages", limits.outbox_messages),
            ("max_peers", limits.max_peers),
            ("max_peers_per_group", limits.max_peers_per_group),
            ("max_peers_per_address", limits.max_peers_per_address),
            ("max_groups", limits.max_groups),
            ("opens_per_second", limits.opens_per_second as usize),
            ("messages_per_second", limits.messages_per_second as usize),
            ("bytes_per_second", limits.bytes_per_second as usize),
            ("connects_per_second", limits.connects_per_second as usize),
        ] {
            if count == 0 {
                return wrong(field, "0".to_owned(), "at least 1");
            }
        }
        if limits.max_message_bytes > LARGEST_MESSAGE {
            return wrong("max_message_bytes", limits.max_message_bytes.to_string(), "at most 67108864");
        }
        if (limits.bytes_per_second as usize) < limits.max_message_bytes {
            return wrong("bytes_per_second", limits.bytes_per_second.to_string(), "at least max_message_bytes");
        }
        // A relayed message is a little longer than what came, by the link's id.
        if limits.outbox_bytes < limits.max_message_bytes + 1024 {
            return wrong("outbox_bytes", limits.outbox_bytes.to_string(), "at least 1024 more than max_message_bytes");
        }
        if !(512..=128 * 1024).contains(&limits.read_buffer_bytes) {
            return wrong("read_buffer_bytes", limits.read_buffer_bytes.to_string(), "512 to 131072");
        }
        if !(1..=1 << 16).contains(&limits.kept_events) {
            return wrong("kept_events", limits.kept_events.to_string(), "1 to 65536");
        }
        Ok(SignalingHub::with(self.limits, guards))
    }
}

/// A limit that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; it has to be {rule}")]
pub struct ConfigError {
    field: &'static str,
    value: String,
    rule: &'static str,
}

impl ConfigError {
    pub(super) fn new(field: &'static str, value: String, rule: &'static str) -> Self {
        Self { field, value, rule }
    }

    /// The limit's name, which is that of its method of [`HubBuilder`].
    pub fn field(&self) -> &'static str {
        self.field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_refuses_nonsense_and_names_the_field() {
        let new = HubBuilder::default;
        let zero = Duration::ZERO;
        for (builder, field) in [
            (new().heartbeat(Duration::from_millis(5001)), "heartbeat"),
            (new().heartbeat(zero), "heartbeat"),
            (new().missed_heartbeats(0), "missed_heartbeats"),
            (new().connect_within(zero), "connect_within"),
            (new().connect_within(Duration::MAX), "connect_within"),
            (new().write_within(zero), "write_within"),
            (new().close_within(zero), "close_within"),
            (new().upgrade_within(zero), "upgrade_within"),
            (new().max_message_bytes(0), "max_message_bytes"),
            (new().max_members_named(0), "max_members_named"),
            (new().outbox_messages(0), "outbox_messages"),
            (new().outbox_bytes(64 * 1024 + 1023), "outbox_bytes"),
            (new().max_message_bytes(usize::MAX), "max_message_bytes"),
            (new().max_peers(0), "max_peers"),
            (new().max_peers_per_group(0), "max_peers_per_group"),
            (new().max_peers_per_address(0), "max_peers_per_address"),
            (new().max_groups(0), "max_groups"),
            (new().opens_per_second(0), "opens_per_second"),
            (new().messages_per_second(0), "messages_per_second"),
            (new().bytes_per_second(64 * 1024 - 1), "bytes_per_second"),
            (new().connects_per_second(0), "connects_per_second"),
            (new().admission_within(zero), "admission_within"),
            (new().origins(["https://app.example", "app.example"]), "origins"),
            (new().origins([""; 0]), "origins"),
            (new().without_origin(true), "without_origin"),
            (new().min_stay(Duration::MAX), "min_stay"),
            (new().kept_events(0), "kept_events"),
            (new().kept_events(65_537), "kept_events"),
            (new().read_buffer_bytes(511), "read_buffer_bytes"),
            (new().read_buffer_bytes(1 << 20), "read_buffer_bytes"),
        ] {
            let error = builder.build().expect_err(field);
            assert_eq!(error.field(), field);
            assert!(error.to_string().starts_with(field), "{error}");
        }
        assert!(new().build().is_ok());
    }
}
