//! The builder of a hub: one method per setting.

#[cfg(feature = "turn")]
mod ice;
mod identities;
#[cfg(feature = "cluster")]
mod node;
mod observability;
mod rates;

use std::sync::Arc;
use std::time::Duration;

use super::admission::AccessRules;
use super::admission::hook::Admission;
#[cfg(feature = "hyper")]
use super::admission::proxies::{ClientIpHeader, TrustedProxies};
use super::limits::config::{Config, ConfigError};
use super::shared::SignalingHub;

/// Configures and builds a [`SignalingHub`].
///
/// Every resource that a peer can use has a limit. The defaults protect the server and suit trusted users; for a public
/// server, lower them. If a limit rejects a join or closes a peer, the close reason describes the limit, and a
/// [`Cause`](crate::Cause) names it. The close code 1013 means that the client may try again later, and 1008 that it must
/// not repeat what it did.
///
/// [`HubBuilder::build`] checks all values. Unless a method states another range, a duration must be greater than 0 and
/// at most one year, and a count, a size or a rate must be at least 1. A rate is a token bucket whose burst is one
/// second's worth of tokens.
///
/// ```
/// use std::time::Duration;
///
/// use sigver::SignalingHub;
///
/// let hub = SignalingHub::builder()
///     .max_peers_per_group(50)
///     .joins_per_second_per_ip(20)
///     .outbox_timeout(Duration::from_secs(5))
///     .build()?;
/// # Ok::<(), sigver::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HubBuilder {
    config: Config,
    access_rules: AccessRules,
    allow_missing_origin: Option<bool>,
    /// The first invalid access rule, which [`HubBuilder::build`] returns.
    error: Option<ConfigError>,
}

impl HubBuilder {
    /// Builds the hub.
    ///
    /// # Errors
    /// The first setting with an invalid value. [`ConfigError::field`] has the name of its method.
    pub fn build(self) -> Result<SignalingHub, ConfigError> {
        let (config, access_rules) = self.check()?;
        Ok(SignalingHub::with(config, access_rules))
    }

    fn check(mut self) -> Result<(Config, AccessRules), ConfigError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        match (&mut self.access_rules.origins, self.allow_missing_origin) {
            (Some(origins), allowed) => origins.allow_missing = allowed.unwrap_or(false),
            (None, None) => {}
            (None, Some(allowed)) => {
                let rule = "requires allowed_origins";
                return Err(ConfigError::new("allow_missing_origin", allowed.to_string(), rule));
            }
        }
        if self.access_rules.origins.as_ref().is_some_and(|origins| origins.is_empty() && !origins.allow_missing) {
            return Err(ConfigError::new("allowed_origins", "empty".to_owned(), "must have at least one origin"));
        }
        self.config.check()?;
        Ok((self.config, self.access_rules))
    }
}

/// Access control.
impl HubBuilder {
    /// Sets the admission hook. It runs after all built-in checks except `max_peers_per_identity`, `max_groups` and
    /// `max_peers_per_group`. Default: admit every client.
    ///
    /// [`Admission`] has an example.
    pub fn admission(mut self, admission: impl Admission) -> Self {
        self.access_rules.admission = Some(Arc::new(admission));
        self
    }

    /// Sets how long the [`Admission`] hook may take for one peer. Default: 5 s. Exceeding it closes the peer with 1013
    /// (cause `admission`).
    pub fn admission_timeout(mut self, timeout: Duration) -> Self {
        self.config.admission_timeout = timeout;
        self
    }

    /// Restricts browser clients to these origins; others get 403. Default: any origin. An empty list is an error of
    /// [`HubBuilder::build`].
    ///
    /// Write an origin as `https://app.example`, with a port unless it is the scheme's default. `https://*.app.example`
    /// matches all subdomains but not the domain itself. Further calls add to the list. A request without an `Origin`
    /// header gets 403 too, see [`HubBuilder::allow_missing_origin`]. A request with several `Origin` headers always gets
    /// 403, whether this is set or not.
    ///
    /// Set this if cookies or the client's network authenticate a peer. Browsers let any page open a WebSocket to any
    /// server, and send the cookies of that server's host along unless their `SameSite` attribute forbids it. Without
    /// the list, any page on the web may join as the user who visits it. The list does not authenticate clients:
    /// anything but a browser can send any `Origin`.
    ///
    /// ```
    /// let builder = sigver::SignalingHub::builder();
    /// let hub = builder.allowed_origins(["https://app.example", "https://*.app.example"]).build()?;
    /// # Ok::<(), sigver::ConfigError>(())
    /// ```
    pub fn allowed_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        let mut list = self.access_rules.origins.take().unwrap_or_default();
        for origin in origins {
            if let Err(rule) = list.allow(origin.as_ref()) {
                self.error.get_or_insert(ConfigError::new("allowed_origins", format!("{:?}", origin.as_ref()), rule));
            }
        }
        self.access_rules.origins = Some(list);
        self
    }

    /// Sets whether requests without an `Origin` header may join. Default: false. Requires
    /// [`HubBuilder::allowed_origins`].
    ///
    /// Native clients, Node.js and command-line tools send no `Origin`. Browsers always send one, so this setting does
    /// not admit other pages.
    pub fn allow_missing_origin(mut self, allowed: bool) -> Self {
        self.allow_missing_origin = Some(allowed);
        self
    }

    /// Trusts `header` from these proxies to determine the client IP. Default: none; the socket address is used.
    ///
    /// `proxies` are IP addresses and CIDR networks with a prefix length of at least 1. Without this setting, all
    /// clients behind a proxy share the limits of one IP. The last call replaces the previous ones. With an empty list,
    /// no proxy is trusted.
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
        header: ClientIpHeader,
        proxies: impl IntoIterator<Item = P>,
    ) -> Self {
        let mut list = TrustedProxies::new(header);
        for proxy in proxies {
            if let Err(rule) = list.trust(proxy.as_ref()) {
                self.error.get_or_insert(ConfigError::new("trusted_proxies", format!("{:?}", proxy.as_ref()), rule));
            }
        }
        self.access_rules.proxies = list;
        self
    }
}

/// Numbers of peers and groups.
impl HubBuilder {
    /// Sets the maximum number of connected and pending peers. Default: 100 000. Further peers are closed with 1013.
    ///
    /// A peer is pending from the start of its admission until it is served.
    ///
    /// A rejected or closed connection stays open until its close handshake ends. If the hub has more than twice as many
    /// connections as this limit, handshakes get the HTTP status 503. If the app has already accepted the handshake, the
    /// hub drops the connection.
    pub fn max_peers(mut self, count: usize) -> Self {
        self.config.max_peers = count;
        self
    }

    /// Sets the maximum number of connected and pending peers from one client IP. Default: 1000. Further peers are
    /// closed with 1013.
    ///
    /// An IPv6 /64 network counts as one IP, and four times the limit applies to each IPv6 /48 network. The limit applies
    /// only if the adapter knows the client IP: see the adapter's documentation, and `HubBuilder::trusted_proxies`.
    ///
    /// A rejected or closed connection stays open until its close handshake ends. If the client IP has more than twice as
    /// many connections as this limit, its handshakes get the HTTP status 429. If the app has already accepted the
    /// handshake, the hub drops the connection.
    pub fn max_peers_per_ip(mut self, count: usize) -> Self {
        self.config.max_peers_per_ip = count;
        self
    }

    /// Sets the maximum number of groups that have at least one peer. Default: 100 000. The first peer of a further
    /// group is closed with 1013.
    pub fn max_groups(mut self, count: usize) -> Self {
        self.config.max_groups = count;
        self
    }

    /// Sets the maximum number of peers in one group, members or not. Default: 10 000. Further peers are closed with
    /// 1013.
    pub fn max_peers_per_group(mut self, count: usize) -> Self {
        self.config.max_peers_per_group = count;
        self
    }

    /// Sets how long the only member of a group is protected from eviction (4744) after it became a member. Default: 0,
    /// no protection. It must be at most one year.
    ///
    /// With the default, any joiner can evict the only member by sending `connect` twice, as the
    /// [rules](crate::protocol#the-rules-of-connect) allow. A few seconds keep a joiner from taking over a group that
    /// has just started. But if the member does not respond, a joiner waits until the member has reached this age.
    /// Until then, the hub binds the joiner to the same member again.
    pub fn eviction_min_age(mut self, age: Duration) -> Self {
        self.config.eviction_min_age = age;
        self
    }
}

/// Sizes of messages and queues.
impl HubBuilder {
    /// Sets the maximum size in bytes of a message from a peer. Default: 64 KiB. It must be at most 64 MiB. Exceeding
    /// it closes the peer with 1009.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.config.max_message_bytes = bytes;
        self
    }

    /// Sets the maximum number of ids that one `connect` may name. Default: 512. Exceeding it closes the peer with 1008.
    ///
    /// A client names the members that it is directly connected to. A browser supports at most about 500 WebRTC
    /// connections.
    pub fn max_members_per_connect(mut self, count: usize) -> Self {
        self.config.max_members_per_connect = count;
        self
    }

    /// Sets the maximum number of messages queued for a slow consumer, a peer whose socket is not writable. Default:
    /// 256. Exceeding it closes a peer as [`HubBuilder::max_outbox_bytes`] does.
    ///
    /// For a peer whose socket is writable, only the limits in bytes apply.
    pub fn max_outbox_messages(mut self, count: usize) -> Self {
        self.config.max_outbox_messages = count;
        self
    }

    /// Sets the maximum number of bytes queued for one peer. Each message counts as its length plus 96. Default: 256
    /// KiB. It must be at least [`HubBuilder::max_message_bytes`] + 1024.
    ///
    /// Exceeding it closes the receiver with 1013 if the oldest message has been queued for more than a fifth of
    /// [`HubBuilder::outbox_timeout`], or if no peer sent more than half of the queue. Otherwise it closes the peer that
    /// sent more than half with 1008, and discards its messages. The receiver then learns that the link has ended. The
    /// hub never drops single messages.
    pub fn max_outbox_bytes(mut self, bytes: usize) -> Self {
        self.config.max_outbox_bytes = bytes;
        self
    }

    /// Sets the maximum number of bytes queued for all peers. Default: 256 MiB. It must be at least 4 *
    /// [`HubBuilder::max_outbox_bytes`].
    ///
    /// Exceeding it closes the peer with the largest queue among those whose sockets are not writable, with 1013. If none
    /// of them is larger than the queue that grows, a peer is closed as [`HubBuilder::max_outbox_bytes`] describes, but
    /// always with 1013. The first 4 KiB of each queue are not counted. The rest is counted in steps of 16 KiB.
    pub fn max_total_outbox_bytes(mut self, bytes: usize) -> Self {
        self.config.max_total_outbox_bytes = bytes;
        self
    }

    /// Sets the size in bytes of the read buffer of each WebSocket that an adapter upgrades. Default: 4096. It must be
    /// 512 to 131 072.
    ///
    /// The read buffer is the largest part of an idle peer's memory. Below 1024, bursts become slow. Above 16 KiB,
    /// everything becomes slow, because the buffer is zeroed before each read.
    pub fn read_buffer_bytes(mut self, bytes: usize) -> Self {
        self.config.read_buffer_bytes = bytes;
        self
    }
}

/// Heartbeats and timeouts.
impl HubBuilder {
    /// Sets the interval at which the hub sends heartbeats to each peer. Default: 5 s. It must be greater than 0 and at
    /// most 5 s: Netflux disconnects 10 to 15 s after the last heartbeat, and the limit leaves room for a lost one.
    ///
    /// Netflux and `sigver-client` send a heartbeat every 5 s. With a shorter interval, raise `max_missed_heartbeats`
    /// so that (`max_missed_heartbeats` - 1) * `heartbeat_interval` is well above 5 s.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.config.heartbeat_interval = interval;
        self
    }

    /// Sets how many missed heartbeats in a row close a peer with 4742. Default: 3.
    pub fn max_missed_heartbeats(mut self, count: u32) -> Self {
        self.config.max_missed_heartbeats = count;
        self
    }

    /// Sets how long a peer may take until its first `connect`. Default: 60 s. Exceeding it closes the peer with 1013.
    pub fn first_connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.first_connect_timeout = timeout;
        self
    }

    /// Sets how long a message may be queued for a peer. Default: 10 s. A peer whose oldest message is older is closed
    /// with 1013, even if its socket still accepts some bytes.
    pub fn outbox_timeout(mut self, timeout: Duration) -> Self {
        self.config.outbox_timeout = timeout;
        self
    }

    /// Sets how long a closed peer may take to complete the close handshake. Default: 1 s. Exceeding it drops the
    /// connection.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// Sets how long an HTTP connection may take to become a WebSocket after its handshake was accepted. Default: 10 s.
    /// Exceeding it drops the connection.
    ///
    /// It applies to the adapters. If the app upgrades the WebSocket itself, it must bound this time itself.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.upgrade_timeout = timeout;
        self
    }
}

#[cfg(test)]
mod tests;
