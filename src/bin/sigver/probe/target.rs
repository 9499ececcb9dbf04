//! The URL to probe, and the position of the key in it.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use sigver::client::Connector;

/// The placeholder of the key in a URL.
const PLACEHOLDER: &str = "{key}";

/// A WebSocket URL with a position for the key.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The URL. It contains [`PLACEHOLDER`] unless it contains its own key.
    template: String,
    position: KeyPosition,
    host: String,
    port: u16,
    encrypted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyPosition {
    /// The URL ends with a slash or has no path, so the key is appended.
    Appended,
    /// The URL contains the placeholder.
    Placeholder,
    /// The URL contains a key, or the server takes the key from elsewhere.
    Fixed,
}

impl Target {
    /// Returns the URL for this key, which must not need percent-encoding. A URL that contains a key stays unchanged.
    pub(super) fn with_key(&self, key: &str) -> Uri {
        self.template.replace(PLACEHOLDER, key).parse().expect("the URL was checked with another such key")
    }

    /// Returns the URL with an empty key, or `None` if the URL contains a key.
    pub(super) fn without_key(&self) -> Option<Uri> {
        (!self.has_own_key()).then(|| self.with_key(""))
    }

    /// Returns whether the URL contains a key, or the server takes the key from elsewhere.
    pub(super) fn has_own_key(&self) -> bool {
        self.position == KeyPosition::Fixed
    }

    /// Returns the host as DNS and certificates use it: without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let encrypted = match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("ws") => false,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(TargetError::Scheme),
        };
        if text.contains('#') {
            return Err(TargetError::Fragment);
        }
        let parse = |text: &str| text.parse::<Uri>().map_err(|error| TargetError::Invalid(error.to_string()));
        let uri = parse(&text.replace(PLACEHOLDER, "key"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(TargetError::Host)?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(TargetError::User);
        }
        let port = match (uri.port_u16(), authority.strip_prefix(host)) {
            (Some(port), _) => port,
            (None, Some("" | ":")) => {
                if encrypted {
                    443
                } else {
                    80
                }
            }
            (None, _) => return Err(TargetError::Port),
        };
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let named = query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("key=")));
        let bare = uri.path() == "/" && !path.ends_with('/');
        let (template, position) = if text.contains(PLACEHOLDER) {
            (text.to_owned(), KeyPosition::Placeholder)
        } else if !named && (bare || path.ends_with('/')) {
            let slash = if bare { "/" } else { "" };
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            (format!("{path}{slash}{PLACEHOLDER}{query}"), KeyPosition::Appended)
        } else {
            (text.to_owned(), KeyPosition::Fixed)
        };
        // Both an empty and a random key must give a valid URL.
        for key in ["", "key"] {
            let url = parse(&template.replace(PLACEHOLDER, key))?;
            let _: Connector =
                Connector::new(&url.to_string()).map_err(|error| TargetError::Invalid(error.to_string()))?;
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { template, position, host, port, encrypted })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.position {
            KeyPosition::Appended => "a random key is appended",
            KeyPosition::Placeholder => "{key} is replaced with a random key",
            KeyPosition::Fixed => {
                "the URL contains the key, so its group may have other peers; for a random key, end the path with a \
                 slash or write {key} in its place"
            }
        };
        write!(f, "{}: {key}", self.template)
    }
}

/// Why a text is not a URL to probe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("must begin with ws:// or wss://")]
    Scheme,
    #[error("must not contain #; percent-encode it in a key as %23")]
    Fragment,
    #[error("must contain a host, as in ws://HOST:PORT/PATH/")]
    Host,
    #[error("port must be 0 to 65535")]
    Port,
    #[error("must not contain a user name or password; browsers do not send them with a WebSocket")]
    User,
    #[error("not a URL: {0}")]
    Invalid(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> (String, Option<String>) {
        let target: Target = text.parse().expect("a URL");
        (target.with_key("K").to_string(), target.without_key().map(|url| url.to_string()))
    }

    #[test]
    fn key_is_appended_to_url_with_trailing_slash_or_without_path() {
        for (text, expected, without_key) in [
            ("ws://host", "ws://host/K", "ws://host/"),
            ("ws://host/", "ws://host/K", "ws://host/"),
            ("wss://host:1/signal/", "wss://host:1/signal/K", "wss://host:1/signal/"),
            ("ws://host?token=x", "ws://host/K?token=x", "ws://host/?token=x"),
            ("ws://host/signal/?token=x/", "ws://host/signal/K?token=x/", "ws://host/signal/?token=x/"),
        ] {
            assert_eq!(urls(text), (expected.to_owned(), Some(without_key.to_owned())), "{text}");
        }
    }

    #[test]
    fn placeholder_is_replaced_with_key() {
        let expected = ("wss://host/signal?key=K".to_owned(), Some("wss://host/signal?key=".to_owned()));
        assert_eq!(urls("wss://host/signal?key={key}"), expected);
        let expected = ("ws://host/a/K/b/".to_owned(), Some("ws://host/a//b/".to_owned()));
        assert_eq!(urls("ws://host/a/{key}/b/"), expected);
    }

    #[test]
    fn url_with_key_stays_unchanged() {
        for text in ["ws://host/signal", "ws://host/?key=mine", "ws://host/signal/K?favored"] {
            assert_eq!(urls(text), (text.to_owned(), None));
        }
    }

    #[test]
    fn host_and_port_are_parsed_with_default_ports() {
        for (text, host, port) in [
            ("ws://host", "host", 80),
            ("wss://host/", "host", 443),
            ("ws://[::1]:8000/", "::1", 8000),
            ("WSS://127.0.0.1:/", "127.0.0.1", 443),
        ] {
            let target: Target = text.parse().expect("a URL");
            assert_eq!((target.host(), target.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn invalid_urls_are_rejected() {
        for (text, expected) in [
            ("http://host/", TargetError::Scheme),
            ("host:8000", TargetError::Scheme),
            ("ws://host/#room", TargetError::Fragment),
            ("ws://host:99999/", TargetError::Port),
            ("ws://me:secret@host/", TargetError::User),
        ] {
            assert_eq!(text.parse::<Target>().expect_err("an invalid URL"), expected, "{text}");
        }
        for text in ["ws://", "ws:///path", "ws://a host/", "ws://a..b/"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
