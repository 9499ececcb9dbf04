//! Makes a hub.

use std::sync::Arc;
use std::time::Duration;

use super::admission::AccessRules;
use super::admission::hook::Admission;
use super::limits::config::{Config, ConfigError};
use super::shared::SignalingHub;

/// Makes a [`SignalingHub`] with other config than the default ones, which each method names, and with checks of who may
/// come in.
///
/// [`HubBuilder::build`] takes times over 0 and up to a year, counts and rates from 1, and where a method says so, less
/// than that. A rate is a token bucket that holds one second's worth: so much may come at once.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HubBuilder {
    config: Config,
    access_rules: AccessRules,
    allow_missing_origin: Option<bool>,
    /// The first wrong thing that was said of the access_rules.
    wrong: Option<ConfigError>,
}

/// Who may come in.
impl HubBuilder {
    /// The app's own say, asked after all other checks: whoever comes, when it is not set.
    pub fn admission(mut self, admission: impl Admission) -> Self {
        self.access_rules.admission = Some(Arc::new(admission));
        self
    }

    /// How long the app's [`Admission`] may take for one peer: 5 s. After that the peer is closed with 1013.
    pub fn admission_timeout(mut self, time: Duration) -> Self {
        self.config.admission_timeout = time;
        self
    }

    /// Pages of which origins may open sockets: of all, when it is not set. Else a request from another page, and one
    /// without an `Origin`, is answered with 403.
    ///
    /// An origin is `https://app.example`, with a port if it is not the scheme's own; `https://*.app.example` is every
    /// name below that one, and not the name itself. Set it wherever cookies or the request's network let somebody in:
    /// browsers let every page on the web open a WebSocket to every server, in the name of whoever looks at the page.
    ///
    /// ```
    /// let hub = sigver::SignalingHub::builder().allowed_origins(["https://app.example", "https://*.app.example"]).build()?;
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    pub fn allowed_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        let mut list = self.access_rules.origins.take().unwrap_or_default();
        for origin in origins {
            if let Err(rule) = list.allow(origin.as_ref()) {
                self.wrong.get_or_insert(ConfigError::new("allowed_origins", format!("{:?}", origin.as_ref()), rule));
            }
        }
        self.access_rules.origins = Some(list);
        self
    }

    /// Whether requests that say no origin may come too, when [`HubBuilder::origins`] are set: false. Native clients,
    /// Node and tests send none, and neither does who wants to be taken for them.
    pub fn allow_missing_origin(mut self, allowed: bool) -> Self {
        self.allow_missing_origin = Some(allowed);
        self
    }

    /// Whose word to take for where a peer comes from, and which of their headers: nobody's. IpLimiter and networks of
    /// the proxies between the peers and this server. Without them every peer behind a proxy counts as one address. The
    /// last call counts.
    ///
    /// ```
    /// use sigver::{ClientIpHeader, SignalingHub};
    ///
    /// let proxies = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"];
    /// let hub = SignalingHub::builder().trusted_proxies(ClientIpHeader::XForwardedFor, proxies).build()?;
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    #[cfg(feature = "hyper")]
    pub fn trusted_proxies<P: AsRef<str>>(
        mut self,
        header: super::admission::proxies::ClientIpHeader,
        proxies: impl IntoIterator<Item = P>,
    ) -> Self {
        let mut list = super::admission::proxies::TrustedProxies::new(header);
        for proxy in proxies {
            if let Err(rule) = list.trust(proxy.as_ref()) {
                self.wrong.get_or_insert(ConfigError::new("trusted_proxies", format!("{:?}", proxy.as_ref()), rule));
            }
        }
        self.access_rules.proxies = list;
        self
    }
}

/// How much of what.
impl HubBuilder {
    /// How many peers there may be in all: 100 000. One more is closed with 1013.
    pub fn max_peers(mut self, count: usize) -> Self {
        self.config.max_peers = count;
        self
    }

    /// How many peers may come from one address: 1000. One more is closed with 1013. An IPv6 network of 64 bits counts
    /// as one. Where the hub is not told addresses it counts none: see the adapter, and
    /// `HubBuilder::trusted_proxies`.
    pub fn max_peers_per_ip(mut self, count: usize) -> Self {
        self.config.max_peers_per_ip = count;
        self
    }

    /// How many keys may have a peer at a time: 100 000. The first peer of one more is closed with 1013.
    pub fn max_groups(mut self, count: usize) -> Self {
        self.config.max_groups = count;
        self
    }

    /// How many new peers may come from one address in a second: 200. One more is closed with 1013. Netflux comes back
    /// 3 s later.
    pub fn joins_per_second_per_ip(mut self, rate: u32) -> Self {
        self.config.joins_per_second_per_ip = rate;
        self
    }

    /// How many messages a peer may send in a second, pings and heartbeats included: 20 000, which costs some 2 % of a
    /// core. One more closes it with 1008. A peer that only signals sends a few hundred when it joins.
    pub fn messages_per_second(mut self, rate: u32) -> Self {
        self.config.messages_per_second = rate;
        self
    }

    /// How many bytes a peer may send in a second: 32 MiB, and at least [`HubBuilder::max_message_bytes`]. More close it
    /// with 1008.
    pub fn bytes_per_second(mut self, rate: u32) -> Self {
        self.config.bytes_per_second = rate;
        self
    }

    /// How often a peer may ask `connect` in a second: 1000. Once more closes it with 1008. Netflux asks again at once
    /// when it was refused, so a low rate puts out peers that search.
    pub fn connects_per_second(mut self, rate: u32) -> Self {
        self.config.connects_per_second = rate;
        self
    }

    /// How often each peer is sent a heartbeat: 5 s. It cannot be more: published clients would take the hub for dead.
    pub fn heartbeat_interval(mut self, every: Duration) -> Self {
        self.config.heartbeat_interval = every;
        self
    }

    /// How many heartbeats in a row a peer may leave unanswered, the last of which closes it with 4742: 3.
    pub fn max_missed_heartbeats(mut self, count: u32) -> Self {
        self.config.max_missed_heartbeats = count;
        self
    }

    /// How long a peer may wait with its first `connect`: 60 s. After that it is closed with 1008.
    pub fn first_connect_timeout(mut self, time: Duration) -> Self {
        self.config.first_connect_timeout = time;
        self
    }

    /// How long a peer's socket may take not one message of those that wait: 10 s. After that it is closed with 1013.
    pub fn outbox_timeout(mut self, time: Duration) -> Self {
        self.config.outbox_timeout = time;
        self
    }

    /// How long a closed peer has for its part of the goodbye: 1 s. After that its socket is dropped.
    pub fn close_timeout(mut self, time: Duration) -> Self {
        self.config.close_timeout = time;
        self
    }

    /// How long an HTTP connection has to become a WebSocket after the handshake was accepted: 10 s. After that it is
    /// dropped.
    pub fn upgrade_timeout(mut self, time: Duration) -> Self {
        self.config.upgrade_timeout = time;
        self
    }

    /// The longest message that a peer may send, in bytes: 64 KiB, and 64 MiB at most. A longer one closes it with 1009.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.config.max_message_bytes = bytes;
        self
    }

    /// How many members one `connect` may name: 4096. More close the peer with 1008.
    pub fn max_members_per_connect(mut self, count: usize) -> Self {
        self.config.max_members_per_connect = count;
        self
    }

    /// How many messages may wait for a peer whose socket takes no more: 256. One more closes it with 1013, as nothing is
    /// ever dropped from the middle. A peer that reads is bounded by [`HubBuilder::max_outbox_bytes`] only.
    pub fn max_outbox_messages(mut self, count: usize) -> Self {
        self.config.max_outbox_messages = count;
        self
    }

    /// How many bytes may wait for one peer, with 64 more for each message: 1 MiB, and at least 1024 more than
    /// [`HubBuilder::max_message_bytes`]. More close it with 1013.
    pub fn max_outbox_bytes(mut self, bytes: usize) -> Self {
        self.config.max_outbox_bytes = bytes;
        self
    }

    /// How many peers one key may have, members or not: 10 000. One more is closed with 1013.
    pub fn max_peers_per_group(mut self, count: usize) -> Self {
        self.config.max_peers_per_group = count;
        self
    }

    /// How long the only member of a group has to have been one before it can be put out for blocking, with 4744: 0, as
    /// the protocol has no such rule. Who asks before that is bound to it again.
    ///
    /// Any joiner can put the only member out by asking twice. With a stay of some seconds nobody takes a group over
    /// that has just begun; but who joins a group whose member went silent waits for so long, too.
    pub fn eviction_min_age(mut self, time: Duration) -> Self {
        self.config.eviction_min_age = time;
        self
    }

    /// The read buffer of each WebSocket that an adapter upgrades, in bytes: 4096. It is most of what an idle peer
    /// costs. From 512 to 131 072; below 1024 bursts get slow, and above 16 KiB everything does.
    pub fn read_buffer_bytes(mut self, bytes: usize) -> Self {
        self.config.read_buffer_bytes = bytes;
        self
    }

    /// How many events wait for a reader of [`SignalingHub::events`]: 1024, and 65 536 at most. They take some 128 bytes
    /// each, once somebody reads events.
    pub fn event_capacity(mut self, count: usize) -> Self {
        self.config.event_capacity = count;
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
        let mut access_rules = self.access_rules;
        match (&mut access_rules.origins, self.allow_missing_origin) {
            (Some(origins), without) => origins.without = without.unwrap_or(false),
            (None, None) => {}
            (None, Some(without)) => {
                let rule = "requires allowed_origins";
                return Err(ConfigError::new("allow_missing_origin", without.to_string(), rule));
            }
        }
        if access_rules.origins.as_ref().is_some_and(|origins| origins.is_empty() && !origins.without) {
            return Err(ConfigError::new("allowed_origins", "empty".to_owned(), "must have at least one origin"));
        }
        self.config.check()?;
        Ok(SignalingHub::with(self.config, access_rules))
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
            (new().heartbeat_interval(Duration::from_millis(5001)), "heartbeat_interval"),
            (new().heartbeat_interval(zero), "heartbeat_interval"),
            (new().max_missed_heartbeats(0), "max_missed_heartbeats"),
            (new().first_connect_timeout(zero), "first_connect_timeout"),
            (new().first_connect_timeout(Duration::MAX), "first_connect_timeout"),
            (new().outbox_timeout(zero), "outbox_timeout"),
            (new().close_timeout(zero), "close_timeout"),
            (new().upgrade_timeout(zero), "upgrade_timeout"),
            (new().max_message_bytes(0), "max_message_bytes"),
            (new().max_members_per_connect(0), "max_members_per_connect"),
            (new().max_outbox_messages(0), "max_outbox_messages"),
            (new().max_outbox_bytes(64 * 1024 + 1023), "max_outbox_bytes"),
            (new().max_message_bytes(usize::MAX), "max_message_bytes"),
            (new().max_peers(0), "max_peers"),
            (new().max_peers_per_group(0), "max_peers_per_group"),
            (new().max_peers_per_ip(0), "max_peers_per_ip"),
            (new().max_groups(0), "max_groups"),
            (new().joins_per_second_per_ip(0), "joins_per_second_per_ip"),
            (new().messages_per_second(0), "messages_per_second"),
            (new().bytes_per_second(64 * 1024 - 1), "bytes_per_second"),
            (new().connects_per_second(0), "connects_per_second"),
            (new().admission_timeout(zero), "admission_timeout"),
            (new().allowed_origins(["https://app.example", "app.example"]), "allowed_origins"),
            (new().allowed_origins([""; 0]), "allowed_origins"),
            (new().allow_missing_origin(true), "allow_missing_origin"),
            (new().eviction_min_age(Duration::MAX), "eviction_min_age"),
            (new().event_capacity(0), "event_capacity"),
            (new().event_capacity(65_537), "event_capacity"),
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
