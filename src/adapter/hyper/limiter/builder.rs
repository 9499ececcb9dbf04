//! The settings of a limiter: one method per setting.

use std::sync::Arc;
use std::time::Duration;

use super::close_cause::CloseCause;
use super::connection_limiter::ConnectionLimiter;
use super::pool::PoolLimits;
use super::table::Settings;
use crate::ConfigError;
use crate::hub::TrustedProxies;

/// Configures and builds a [`ConnectionLimiter`].
///
/// [`ConnectionLimiterBuilder::build`] checks all values: counts must be at least 1, and `idle_timeout` above 0.
/// An IPv6 /64 network counts as one IP, and four times the limit applies to each IPv6 /48 network.
///
/// ```
/// use std::time::Duration;
///
/// use sigver::hyper::ConnectionLimiter;
///
/// let limiter = ConnectionLimiter::builder()
///     .max_handshakes(5000)
///     .trusted_proxies(["10.0.0.0/8", "fd00::/8"])
///     .idle_timeout(Duration::from_secs(20))
///     .build()?;
/// # Ok::<(), sigver::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectionLimiterBuilder {
    settings: Settings,
    /// The first invalid trusted proxy.
    error: Option<ConfigError>,
}

impl ConnectionLimiter {
    /// Creates a limiter with the default settings.
    pub fn new() -> Self {
        Self::builder().build().expect("the default settings are valid")
    }

    /// Returns a builder with the default settings.
    pub fn builder() -> ConnectionLimiterBuilder {
        let idle =
            PoolLimits { max: (1000, CloseCause::MaxHandshakes), max_per_ip: (64, CloseCause::MaxHandshakesPerIp) };
        let busy = PoolLimits {
            max: (10_000, CloseCause::MaxBusyConnections),
            max_per_ip: (1000, CloseCause::MaxBusyConnectionsPerIp),
        };
        let trusted_proxies = TrustedProxies::default();
        let idle_timeout = Duration::from_secs(10);
        ConnectionLimiterBuilder {
            settings: Settings { name: None, idle, busy, trusted_proxies, idle_timeout },
            error: None,
        }
    }
}

/// Creates a limiter with the default settings.
impl Default for ConnectionLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl ConnectionLimiterBuilder {
    /// Builds the limiter.
    ///
    /// # Errors
    /// The first setting with an invalid value. [`ConfigError::field`] has the name of its method.
    pub fn build(self) -> Result<ConnectionLimiter, ConfigError> {
        let Settings { idle, busy, idle_timeout, .. } = &self.settings;
        for (count, cause) in [idle.max, idle.max_per_ip, busy.max, busy.max_per_ip] {
            if count == 0 {
                return Err(ConfigError::new(cause.as_str(), count.to_string(), "must be at least 1"));
            }
        }
        if idle_timeout.is_zero() {
            return Err(ConfigError::new("idle_timeout", format!("{idle_timeout:?}"), "must be greater than 0"));
        }
        self.error.map_or_else(|| Ok(ConnectionLimiter::with(self.settings)), Err)
    }

    /// Sets the name of the limiter, which its log lines contain as the field `limiter`: for an app with several
    /// listeners. Default: none.
    pub fn name(mut self, name: impl AsRef<str>) -> Self {
        self.settings.name = Some(Arc::from(name.as_ref()));
        self
    }

    /// Sets the maximum number of idle connections. Default: 1000. A further one closes the oldest.
    pub fn max_handshakes(mut self, count: usize) -> Self {
        self.settings.idle.max.0 = count;
        self
    }

    /// Sets the maximum number of idle connections from one client IP. Default: 64. A further one closes the oldest of
    /// these.
    pub fn max_handshakes_per_ip(mut self, count: usize) -> Self {
        self.settings.idle.max_per_ip.0 = count;
        self
    }

    /// Sets the maximum number of connections that have a request in progress and no WebSocket. Default: 10 000. A
    /// further one closes the connection that has been busy for the longest time.
    ///
    /// It protects the server from clients that do not send the body of their request, or do not read the response.
    /// Responses without an end, such as server-sent events, count too.
    pub fn max_busy_connections(mut self, count: usize) -> Self {
        self.settings.busy.max.0 = count;
        self
    }

    /// Sets the maximum number of such connections from one client IP. Default: 1000. A further one closes the one of
    /// these that has been busy for the longest time.
    pub fn max_busy_connections_per_ip(mut self, count: usize) -> Self {
        self.settings.busy.max_per_ip.0 = count;
        self
    }

    /// Sets the time after which an idle connection closes. Default: 10 s. `Duration::MAX` means never.
    ///
    /// It covers the TLS handshake, the head of a request, and the pause until the next request.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// Sets the proxies that connect on behalf of many clients, as addresses or CIDR networks. The limits per IP do not
    /// apply to them. Default: none, which an empty list means too. Use those of `HubBuilder::trusted_proxies`.
    pub fn trusted_proxies<P: AsRef<str>>(mut self, proxies: impl IntoIterator<Item = P>) -> Self {
        let mut list = TrustedProxies::default();
        for proxy in proxies {
            if let Err(rule) = list.trust(proxy.as_ref()) {
                self.error.get_or_insert(ConfigError::new("trusted_proxies", format!("{:?}", proxy.as_ref()), rule));
            }
        }
        self.settings.trusted_proxies = list;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_setting_is_an_error_that_names_it() {
        let builder = ConnectionLimiter::builder;
        for (builder, expected) in [
            (builder().max_handshakes(0), "max_handshakes is 0; must be at least 1"),
            (builder().max_handshakes_per_ip(0), "max_handshakes_per_ip is 0; must be at least 1"),
            (builder().max_busy_connections(0), "max_busy_connections is 0; must be at least 1"),
            (builder().max_busy_connections_per_ip(0), "max_busy_connections_per_ip is 0; must be at least 1"),
            (builder().idle_timeout(Duration::ZERO), "idle_timeout is 0ns; must be greater than 0"),
            (
                builder().trusted_proxies(["10.0.0.1", "proxy.example"]),
                "trusted_proxies is \"proxy.example\"; must be an IP address or a CIDR network, such as 10.0.0.0/8",
            ),
        ] {
            assert_eq!(builder.build().unwrap_err().to_string(), expected);
        }
        builder().max_handshakes(1).idle_timeout(Duration::MAX).trusted_proxies(["0.0.0.0"]).build().expect("valid");
    }
}
