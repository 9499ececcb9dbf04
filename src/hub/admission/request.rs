//! A request to join a group.

#[cfg(feature = "hyper")]
mod head;

use std::fmt;
use std::net::IpAddr;
#[cfg(feature = "hyper")]
use std::sync::Arc;

use crate::protocol::{GroupKey, KeyError};

/// A request to join a group: key, client IP, origin and HTTP request head.
///
/// The adapters create one for each handshake. An app that upgrades its own connections creates it with what it knows.
/// In tests a key is enough. A clone is cheap.
///
/// An invalid key does not fail here. The hub closes such a peer with 4741 or 4745, because a browser can read a close
/// code but not an HTTP status.
///
/// ```
/// use sigver::JoinRequest;
///
/// let request = JoinRequest::new("a key")
///     .with_client_ip([192, 0, 2, 7].into())
///     .with_origin("https://app.example");
/// assert_eq!(request.key().as_str(), "a key");
/// ```
#[derive(Clone)]
pub struct JoinRequest {
    key: Result<GroupKey, KeyError>,
    favored: bool,
    client_ip: Option<IpAddr>,
    origin: Option<Box<str>>,
    is_upgrade: bool,
    #[cfg(feature = "hyper")]
    parts: Option<Arc<http::request::Parts>>,
    /// Whether the head is that of an HTTP request, and not of a request that a test has composed.
    #[cfg(feature = "hyper")]
    came_over_http: bool,
}

impl JoinRequest {
    /// Creates a request to join the group with this key. The key is not percent-decoded.
    pub fn new(key: impl AsRef<str>) -> Self {
        Self::of_key(GroupKey::new(key.as_ref()))
    }

    /// Reads the key and the `favored` flag from a URL.
    ///
    /// `path` is the path below the mount, without its leading slash. `query` is the URL's query. Both are still
    /// percent-encoded.
    ///
    /// | mount | URL | key |
    /// |---|---|---|
    /// | axum `router` nested at `/signal`, warp `filter` behind `path("signal")`, hyper `service(hub).at("/signal")` | `/signal/KEY` | the path below the mount, slashes included |
    /// | the same | `/signal?key=KEY` | the first `key` parameter of the query, if the path is empty |
    /// | axum `handler` at `/signal/{*key}` or `/signal/{key}` | `/signal/KEY` | the part of the path that matches `key` |
    /// | axum `handler` at `/signal`, `sigver::hyper::upgrade` | `/signal?key=KEY` | the first `key` parameter of the query |
    /// | standalone server | `/KEY`, `/?key=KEY` | as for a mount at `/` |
    ///
    /// The key is percent-decoded once and must be 1 to 512 bytes of UTF-8. In the query, `+` means a space, as
    /// `URLSearchParams` writes it. Without a key, the peer is closed with 4741. With `favored` in the query (any
    /// value), the hub prefers this peer when it selects a member for a joiner.
    ///
    /// ```
    /// use sigver::JoinRequest;
    ///
    /// for request in [
    ///     JoinRequest::from_url("my%20key", None),
    ///     JoinRequest::from_url("", Some("key=my+key")),
    ///     JoinRequest::from_url("my%20key", Some("favored")),
    /// ] {
    ///     assert_eq!(request.key().as_str(), "my key");
    /// }
    /// ```
    pub fn from_url(path: &str, query: Option<&str>) -> Self {
        let parameters = || parameters(query.unwrap_or_default());
        let named =
            |name: &str, expected| GroupKey::from_percent_encoded(name).is_ok_and(|name| name.as_str() == expected);
        let key = match path {
            "" => match parameters().find(|(name, _)| named(name, "key")) {
                Some((_, key)) => GroupKey::from_percent_encoded(&key.replace('+', "%20")),
                None => Err(KeyError::Empty),
            },
            key => GroupKey::from_percent_encoded(key),
        };
        Self::of_key(key).favored(parameters().any(|(name, _)| named(name, "favored")))
    }

    /// Sets whether the hub prefers this peer, as a member, when it selects a member for a joiner. Default: false.
    #[must_use]
    pub fn favored(mut self, favored: bool) -> Self {
        self.favored = favored;
        self
    }

    /// Sets the address of the socket's other end. If that is a trusted proxy (`HubBuilder::trusted_proxies`), the hub
    /// replaces it with the client IP that the proxy reports in the headers of `JoinRequest::with_parts`.
    #[must_use]
    pub fn with_client_ip(mut self, ip: IpAddr) -> Self {
        self.client_ip = Some(ip);
        self
    }

    /// Sets the origin of the page that opened the connection, as browsers send it in the header `Origin`.
    /// `JoinRequest::with_parts` reads it from the headers. Prefer that method: the hub then also rejects a request with
    /// several `Origin` headers.
    #[must_use]
    pub fn with_origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into().into());
        self
    }

    /// Turns the request to join into a request for ICE servers only.
    #[cfg(feature = "turn")]
    pub(in crate::hub) fn without_upgrade(self) -> Self {
        Self { is_upgrade: false, ..self }
    }

    fn of_key(key: Result<GroupKey, KeyError>) -> Self {
        Self {
            key,
            favored: false,
            client_ip: None,
            origin: None,
            is_upgrade: true,
            #[cfg(feature = "hyper")]
            parts: None,
            #[cfg(feature = "hyper")]
            came_over_http: false,
        }
    }
}

/// Returns the names and values of a query, still encoded.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Getters, for an [`Admission`](crate::Admission) hook.
impl JoinRequest {
    /// Returns the key of the group that the peer asks to join.
    ///
    /// # Panics
    /// If the key is invalid. An [`Admission`](crate::Admission) never receives such a request. Elsewhere, use
    /// [`JoinRequest::try_key`].
    pub fn key(&self) -> &GroupKey {
        self.try_key().unwrap_or_else(|error| panic!("the request has no valid key: {error}"))
    }

    /// Returns the key of the group that the peer asks to join.
    ///
    /// # Errors
    /// The key is empty, too long, or not valid percent-encoded UTF-8.
    pub fn try_key(&self) -> Result<&GroupKey, &KeyError> {
        self.key.as_ref()
    }

    /// Returns whether the peer asks to be favored.
    pub fn is_favored(&self) -> bool {
        self.favored
    }

    /// Returns the client IP, if it is known. In an [`Admission`](crate::Admission), this is the address that a trusted
    /// proxy reports, or otherwise the socket's.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.client_ip
    }

    /// Returns the origin of the page that opened the connection, if the client sent one.
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// Returns whether the client asks to join: with a WebSocket handshake, or over any other transport. `false` if it
    /// asks for ICE servers only (`HubBuilder::ice_servers`), which it may do at any time, also before and after a
    /// join.
    ///
    /// An [`Admission`](crate::Admission) decides about both. A hook that accepts a token only once must not use it up
    /// for ICE servers. A hook that attaches a value, for example a permit ([`PeerInfo::attach`](crate::PeerInfo::attach)),
    /// should attach it only to a peer that joins.
    pub fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }
}

/// Omits the request head, which contains keys, tokens and cookies.
impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("JoinRequest");
        shown.field("key", &self.key).field("favored", &self.favored);
        shown.field("client_ip", &self.client_ip).field("origin", &self.origin);
        shown.finish_non_exhaustive()
    }
}

impl From<&str> for JoinRequest {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<String> for JoinRequest {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

impl From<GroupKey> for JoinRequest {
    fn from(key: GroupKey) -> Self {
        Self::of_key(Ok(key))
    }
}

/// For the result of [`GroupKey::new`] or [`GroupKey::within`]. The hub closes a peer with an invalid key.
impl From<Result<GroupKey, KeyError>> for JoinRequest {
    fn from(key: Result<GroupKey, KeyError>) -> Self {
        Self::of_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, query: &str) -> Result<String, KeyError> {
        JoinRequest::from_url(path, Some(query)).key.map(|key| key.as_str().to_owned())
    }

    #[test]
    fn path_below_the_mount_is_the_key() {
        for (path, expected) in [("K", "K"), ("a/b", "a/b"), ("/K", "/K"), ("K/", "K/"), ("a+b", "a+b"), ("%41", "A")] {
            assert_eq!(key(path, "").as_deref(), Ok(expected));
        }
    }

    #[test]
    fn query_parameter_is_the_key_without_a_path() {
        assert_eq!(key("", "key=K").as_deref(), Ok("K"));
        assert_eq!(key("", "x=1&key=a%2Fb+c&key=second").as_deref(), Ok("a/b c"));
        assert_eq!(key("", "%6bey=K%2B").as_deref(), Ok("K+"));
        assert_eq!(key("path", "key=query").as_deref(), Ok("path"), "the path takes precedence");
    }

    #[test]
    fn missing_key_is_an_empty_key() {
        for query in ["", "key", "key=", "Key=K", "keys=K", "favored"] {
            assert_eq!(key("", query), Err(KeyError::Empty), "{query}");
        }
    }

    #[test]
    fn undecodable_key_reports_the_error() {
        assert_eq!(key("%zz", ""), Err(KeyError::BadEscape { at: 0 }));
        assert_eq!(key("", "key=%ff"), Err(KeyError::NotUtf8));
    }

    #[test]
    fn favored_counts_with_any_value() {
        for query in ["favored", "favored=", "favored=0", "x=1&favored", "favored&x", "%66avored"] {
            assert!(JoinRequest::from_url("K", Some(query)).favored, "{query}");
        }
        for query in ["", "Favored", "favoredx", "x=favored", "?favored"] {
            assert!(!JoinRequest::from_url("K", Some(query)).favored, "{query}");
        }
        assert!(!JoinRequest::from_url("K", None).favored);
    }
}
