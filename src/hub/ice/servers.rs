//! The setting: ICE servers, and the secrets of TURN servers.

use std::time::{Duration, SystemTime};

use super::configuration::{IceConfiguration, IceServer};
use super::credential::{TurnSecret, username};
use super::url::Kind;
use crate::hub::limits::config::ConfigError;

/// The ICE servers of a hub's clients, for [`HubBuilder::ice_servers`](crate::HubBuilder::ice_servers).
///
/// ```
/// use std::time::Duration;
///
/// use sigver::{IceServers, SignalingHub};
///
/// let secret = "the static-auth-secret of coturn, at least 20 bytes"; // from the environment
/// let ice_servers = IceServers::new()
///     .stun(["stun:turn.example:3478"])
///     .turn(["turn:turn.example:3478", "turns:turn.example:443?transport=tcp"], secret)
///     .ttl(Duration::from_secs(1800));
/// let hub = SignalingHub::builder().ice_servers(ice_servers).build()?;
/// # Ok::<(), sigver::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct IceServers {
    servers: Vec<Server>,
    ttl: Duration,
    /// The first invalid URL or secret, which [`IceServers::check`] returns.
    error: Option<ConfigError>,
}

/// Servers that share a secret, or STUN servers, which have none.
#[derive(Clone, Debug)]
struct Server {
    urls: Vec<String>,
    secret: Option<TurnSecret>,
}

impl IceServers {
    /// Creates an empty list. It must contain at least one server when the hub is built.
    pub fn new() -> Self {
        Self { servers: Vec::new(), ttl: Duration::from_secs(3600), error: None }
    }

    /// Adds STUN servers: `stun:HOST`, `stuns:HOST`, with an optional port (RFC 7064).
    pub fn stun<U: AsRef<str>>(self, urls: impl IntoIterator<Item = U>) -> Self {
        self.with(Kind::Stun, urls, None)
    }

    /// Adds TURN servers that share a secret: `turn:HOST`, `turns:HOST`, with an optional port and an optional
    /// `?transport=udp` or `?transport=tcp` (RFC 7065).
    ///
    /// The secret must have at least 20 bytes. coturn calls it `static-auth-secret`. Each client gets a credential that
    /// expires after [`IceServers::ttl`]: the user name is `EXPIRY:IDENTITY`, with the expiry in seconds since 1970 and
    /// the [identity](crate::PeerInfo::identity) that the admission hook gave the client, or only `EXPIRY`. The
    /// password is the HMAC-SHA1 of the user name in base64. In the user name, an identity is percent-encoded where
    /// coturn rejects its characters, and truncated to 508 bytes in all.
    ///
    /// Each call adds an entry to the answer. While servers are switched from one secret to another, call it a second time
    /// with the old secret and only the URLs over TCP and TLS: the chapter `ice_servers` of the guide explains why.
    pub fn turn<U: AsRef<str>>(mut self, urls: impl IntoIterator<Item = U>, secret: impl AsRef<[u8]>) -> Self {
        match TurnSecret::new(secret.as_ref()) {
            Ok(secret) => self.with(Kind::Turn, urls, Some(secret)),
            Err(error) => {
                self.error.get_or_insert(error);
                self
            }
        }
    }

    /// Sets how long a credential is valid. Default: one hour. It must be 60 s to 7 days.
    ///
    /// A client that the hook admits until [`PeerInfo::expires_at`](crate::PeerInfo::expires_at) gets a credential that
    /// expires at that time if it is earlier. TURN servers check the expiry when a client starts to use them. Existing
    /// relays continue.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Checks the list as [`HubBuilder::build`](crate::HubBuilder::build) does.
    ///
    /// # Errors
    /// The first invalid URL or secret, an invalid time, or an empty list. [`ConfigError::field`] is `ice_servers`,
    /// `turn_secret` or `turn_ttl`.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.servers.is_empty() {
            return Err(ConfigError::new("ice_servers", "empty".to_owned(), "must have at least one URL"));
        }
        if !(Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3600)).contains(&self.ttl) {
            return Err(ConfigError::new("turn_ttl", format!("{:?}", self.ttl), "must be 60s to 604800s (7 days)"));
        }
        Ok(())
    }

    fn with<U: AsRef<str>>(
        mut self,
        kind: Kind,
        urls: impl IntoIterator<Item = U>,
        secret: Option<TurnSecret>,
    ) -> Self {
        let urls: Vec<_> = urls.into_iter().map(|url| url.as_ref().to_owned()).collect();
        for url in &urls {
            if let Err(rule) = kind.check(url) {
                self.error.get_or_insert(ConfigError::new("ice_servers", format!("{url:?}"), rule));
            }
        }
        if !urls.is_empty() {
            self.servers.push(Server { urls, secret });
        }
        self
    }

    /// Returns the servers for a client with this identity, which the app has admitted until `expires_at`.
    pub(super) fn configuration(
        &self,
        identity: Option<&str>,
        expires_at: Option<SystemTime>,
        now: SystemTime,
    ) -> IceConfiguration {
        let since_1970 =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let (now, expires_at) = (since_1970(now), expires_at.map_or(u64::MAX, since_1970));
        let expiry = (now + self.ttl.as_secs()).min(expires_at);
        let username = username(expiry, identity);
        let server = |Server { urls, secret }: &Server| IceServer {
            urls: urls.clone(),
            login: secret.as_ref().map(|secret| secret.login(&username)),
        };
        IceConfiguration {
            ice_servers: self.servers.iter().map(server).collect(),
            ttl: Duration::from_secs(expiry.saturating_sub(now)),
        }
    }
}

impl Default for IceServers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn invalid_servers_are_errors_that_name_the_setting() {
        let new = IceServers::new;
        for (servers, expected) in [
            (new(), "ice_servers is empty; must have at least one URL"),
            (new().stun([""; 0]).turn([""; 0], SECRET), "ice_servers is empty; must have at least one URL"),
            (new().stun(["turn:a.example"]), "ice_servers is \"turn:a.example\"; must be a stun: or stuns: URL"),
            (
                new().turn(["turn:a.example", "b"], SECRET),
                "ice_servers is \"b\"; must be a stun:, stuns:, turn: or turns: URL",
            ),
            (new().turn(["turn:a.example"], "short"), "turn_secret is 5 bytes long; must be at least 20 bytes"),
            (new().stun(["stun:a"]).ttl(Duration::from_secs(59)), "turn_ttl is 59s; must be 60s to 604800s"),
            (new().stun(["stun:a"]).ttl(Duration::from_secs(604_801)), "turn_ttl is 604801s; must be 60s to 604800s"),
        ] {
            let error = servers.check().expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        for seconds in [60, 604_800] {
            assert_eq!(new().stun(["stun:a"]).ttl(Duration::from_secs(seconds)).check(), Ok(()));
        }
    }

    #[test]
    fn json_has_the_servers_in_order_with_credentials_for_turn_only() {
        let servers = IceServers::new().stun(["stun:a"]).turn(["turn:b", "turns:c?transport=tcp"], SECRET);
        let servers = servers.turn(["turn:b"], OTHER).ttl(Duration::from_secs(60));
        let json = serde_json::to_string(&servers.configuration(Some("alice"), None, at(1_899_999_940_900)));
        // printf 1900000000:alice | openssl dgst -sha1 -hmac SECRET -binary | base64
        let expected = "{\"iceServers\":[{\"urls\":[\"stun:a\"]},\
            {\"urls\":[\"turn:b\",\"turns:c?transport=tcp\"],\"username\":\"1900000000:alice\",\
            \"credential\":\"FnIcefRcs3gZxdvXwIj6AX9PtEM=\"},\
            {\"urls\":[\"turn:b\"],\"username\":\"1900000000:alice\",\
            \"credential\":\"BsaKCyp6sLi/1Ipd7Rbd0UzqYac=\"}],\"ttl\":60}";
        assert_eq!(json.expect("text and numbers"), expected);
    }

    #[test]
    fn credentials_do_not_outlive_the_session_of_the_client() {
        let servers = IceServers::new().turn(["turn:a"], SECRET);
        for (expires_at, expiry, ttl) in [
            (None, 4600, 3600),
            (Some(at(9_000_000)), 4600, 3600),
            (Some(at(4_600_000)), 4600, 3600),
            (Some(at(4_599_999)), 4599, 3599),
            (Some(at(1_060_500)), 1060, 60),
            (Some(at(1_000_950)), 1000, 0),
        ] {
            let configuration = servers.configuration(None, expires_at, at(1_000_900));
            assert_eq!(configuration.ttl(), Duration::from_secs(ttl));
            assert_eq!(configuration.servers()[0].username(), Some(&*expiry.to_string()));
        }
    }

    #[test]
    fn debug_hides_secrets_and_credentials() {
        let servers = IceServers::new().turn(["turn:a"], SECRET);
        let configuration = servers.configuration(Some("alice"), None, at(0));
        let credential = configuration.servers()[0].credential().expect("a TURN server");
        let shown = format!("{servers:?} {configuration:?}");
        assert!(shown.contains("turn:a") && shown.contains("3600:alice"), "{shown}");
        assert!(!shown.contains(SECRET) && !shown.contains(credential), "{shown}");
    }
}
