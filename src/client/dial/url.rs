//! The URL of a hub, and what a client requests from it.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::http::Uri;

use super::join_error::JoinError;
use crate::protocol::GroupKey;

/// The characters that a key keeps, as with `encodeURIComponent`: the browser client produces the same URL.
const KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The URL of a hub, without a key.
#[derive(Clone)]
pub(super) struct HubUrl {
    /// Whether the connection uses TLS.
    pub(super) is_encrypted: bool,
    /// The host as DNS and certificates use it: without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of the header `Host`.
    pub(super) authority: String,
    path: String,
    /// Not empty.
    query: Option<String>,
}

impl HubUrl {
    /// Parses a URL. Ignores its fragment, as browsers do.
    pub(super) fn parse(url: &str) -> Result<Self, JoinError> {
        // Error texts do not contain the URL, because its query can be a credential.
        let invalid = |reason: &str| JoinError::Url(reason.to_owned());
        let Some((scheme, _)) = url.split_once("://") else {
            return Err(invalid("it has no scheme; must begin with ws://, wss://, http:// or https://"));
        };
        let is_encrypted = match &*scheme.to_ascii_lowercase() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => {
                let reason = format!("its scheme is {scheme:?}; must be ws, wss, http or https");
                return Err(JoinError::Url(reason));
            }
        };
        let uri: Uri = url.parse().map_err(|error| {
            JoinError::Url(format!("{error}; must be as wss://HOST:PORT/PATH, with a percent-encoded path and query"))
        })?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(invalid("it contains a user; must not. Send credentials in a header"));
        }
        let host = uri.host().unwrap_or_default();
        let default_port = if is_encrypted { 443 } else { 80 };
        let port = match (uri.port_u16(), authority.strip_prefix(host)) {
            (Some(port), _) => port,
            (None, Some("" | ":")) => default_port,
            (None, _) => return Err(invalid("its port is invalid; must be 0 to 65535")),
        };
        let authority = if port == default_port { host.to_owned() } else { format!("{host}:{port}") };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if ServerName::try_from(&*host).is_err() {
            return Err(invalid("its host is invalid; must be a DNS name or an IP address"));
        }
        let encode = |part: &str| utf8_percent_encode(part, CONTROLS).to_string();
        let query = uri.query().filter(|query| !query.is_empty()).map(encode);
        Ok(Self { is_encrypted, host, port, authority, path: encode(uri.path()), query })
    }

    /// Returns the path and the query of the URL.
    pub(super) fn target(&self, is_favored: bool) -> String {
        self.with_path(&self.path, is_favored)
    }

    /// Returns the path and the query of the group's URL. The key is the last segment of the path.
    pub(super) fn target_of(&self, key: &str, is_favored: bool) -> Result<String, JoinError> {
        let key = GroupKey::new(key).map_err(JoinError::Key)?;
        if matches!(key.as_str(), "." | "..") {
            return Err(JoinError::DotSegment);
        }
        let mount = self.path.strip_suffix('/').unwrap_or(&self.path);
        Ok(self.with_path(&format!("{mount}/{}", utf8_percent_encode(key.as_str(), KEY)), is_favored))
    }

    fn with_path(&self, path: &str, is_favored: bool) -> String {
        match (&self.query, is_favored) {
            (None, false) => path.to_owned(),
            (None, true) => format!("{path}?favored"),
            (Some(query), false) => format!("{path}?{query}"),
            (Some(query), true) => format!("{path}?{query}&favored"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> HubUrl {
        HubUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// The URL of a group, as `groupUrl` of the browser client returns it.
    fn group_url(base: &str, key: &str, is_favored: bool) -> String {
        let url = parse(base);
        let scheme = if url.is_encrypted { "wss" } else { "ws" };
        let target = url.target_of(key, is_favored).unwrap_or_else(|error| panic!("{base} {key}: {error}"));
        format!("{scheme}://{}{target}", url.authority)
    }

    /// The first six are the cases of the browser client's test, and the others are its results.
    #[test]
    fn key_is_one_path_segment_after_the_mount_and_before_the_query() {
        for (base, key, is_favored, expected) in [
            ("ws://host:1", "key", false, "ws://host:1/key"),
            ("wss://host/signal/", "a/b c?#ü", false, "wss://host/signal/a%2Fb%20c%3F%23%C3%BC"),
            ("https://host/signal?token=x#y", "key", false, "wss://host/signal/key?token=x"),
            ("http://host/", "key", true, "ws://host/key?favored"),
            ("ws://host/?token=x", "key", true, "ws://host/key?token=x&favored"),
            ("ws://host", "%2e", false, "ws://host/%252e"),
            ("ws://host:80/?", "-_.!~*'()", true, "ws://host/-_.!~*'()?favored"),
            ("WSS://host:443/a//", "\"$&+,:;=@[]", false, "wss://host/a//%22%24%26%2B%2C%3A%3B%3D%40%5B%5D"),
            ("ws://[::1]:8000/ü?ü", "...", false, "ws://[::1]:8000/%C3%BC/...?%C3%BC"),
        ] {
            assert_eq!(group_url(base, key, is_favored), expected);
        }
    }

    #[test]
    fn url_without_a_key_stays_unchanged() {
        for (url, target) in [("ws://h", "/"), ("ws://h/a/", "/a/"), ("ws://h/a?key=%61#b", "/a?key=%61")] {
            assert_eq!(parse(url).target(false), target, "{url}");
        }
        assert_eq!(parse("ws://h/a?b").target(true), "/a?b&favored");
    }

    #[test]
    fn host_and_port_are_those_of_the_connection() {
        for (url, is_encrypted, host, port) in [
            ("ws://host", false, "host", 80),
            ("https://host", true, "host", 443),
            ("ws://127.0.0.1:8000/", false, "127.0.0.1", 8000),
            ("wss://[::1]:/", true, "::1", 443),
        ] {
            let url = parse(url);
            assert_eq!((url.is_encrypted, &*url.host, url.port), (is_encrypted, host, port));
        }
    }

    #[test]
    fn invalid_url_is_rejected_with_what_is_valid_and_without_its_query() {
        for (url, rule) in [
            ("", "must begin with ws://"),
            ("host/signal?token=secret", "must begin with ws://"),
            ("ftp://host/?secret", "\"ftp\"; must be ws, wss, http or https"),
            ("ws://", "must be as wss://HOST:PORT/PATH"),
            ("ws:///signal", "must be as wss://HOST:PORT/PATH"),
            ("ws://a host/?secret", "must be as wss://HOST:PORT/PATH"),
            ("ws://host/a b?secret", "must be as wss://HOST:PORT/PATH"),
            ("ws://hôst/?secret", "must be as wss://HOST:PORT/PATH"),
            ("ws://host:99999/", "must be 0 to 65535"),
            ("ws://me:secret@host/", "Send credentials in a header"),
            ("ws://a..b/?secret", "must be a DNS name or an IP address"),
        ] {
            let error = HubUrl::parse(url).err().unwrap_or_else(|| panic!("{url} is invalid")).to_string();
            assert!(error.contains(rule) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn invalid_key_is_rejected() {
        let url = parse("ws://host");
        for key in ["", &"ü".repeat(257)] {
            assert!(matches!(url.target_of(key, false), Err(JoinError::Key(_))), "{key}");
        }
        for key in [".", ".."] {
            assert!(matches!(url.target_of(key, false), Err(JoinError::DotSegment)), "{key}");
        }
        assert_eq!(url.target_of(&"ü".repeat(256), false).ok(), Some(format!("/{}", "%C3%BC".repeat(256))));
    }
}
