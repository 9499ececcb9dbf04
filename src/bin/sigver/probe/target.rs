//! The URL that is probed.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Where the key goes in a URL.
const KEY: &str = "{key}";

/// A WebSocket URL, and how a key gets into it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// With [`KEY`] in it, unless the URL has a key of its own.
    template: String,
    place: Place,
    host: String,
    port: u16,
    encrypted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The URL ends with a slash, or has no path.
    Appended,
    /// The URL says where.
    Named,
    /// The URL has one, or its server finds it elsewhere.
    Own,
}

impl Target {
    /// The URL of a socket for this key, which needs no escapes. A URL with a key of its own stays what it is.
    pub(super) fn with_key(&self, key: &str) -> Uri {
        self.template.replace(KEY, key).parse().expect("it was read with another such key")
    }

    /// The URL of a socket without a key, unless the URL has one of its own.
    pub(super) fn without_key(&self) -> Option<Uri> {
        (!self.has_own_key()).then(|| self.with_key(""))
    }

    pub(super) fn has_own_key(&self) -> bool {
        self.place == Place::Own
    }

    /// As it is resolved and as a certificate has it: without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn encrypted(&self) -> bool {
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
        let read = |text: &str| text.parse::<Uri>().map_err(|error| TargetError::Unreadable(error.to_string()));
        let uri = read(&text.replace(KEY, "key"))?;
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
        let (template, place) = if text.contains(KEY) {
            (text.to_owned(), Place::Named)
        } else if !named && (bare || path.ends_with('/')) {
            let slash = if bare { "/" } else { "" };
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            (format!("{path}{slash}{KEY}{query}"), Place::Appended)
        } else {
            (text.to_owned(), Place::Own)
        };
        // Empty, and as it will be.
        read(&template.replace(KEY, ""))?;
        read(&template.replace(KEY, "key"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { template, place, host, port, encrypted })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Appended => "a fresh key is appended",
            Place::Named => "{key} is a fresh key",
            Place::Own => {
                "the key is the URL's own, so other peers may be in its group; \
                 for a fresh one end the path with a slash, or write {key} where it goes"
            }
        };
        write!(f, "{}: {place}", self.template)
    }
}

/// Why a text is no URL for a probe.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("the URL of a WebSocket begins with ws:// or wss://")]
    Scheme,
    #[error("the URL of a WebSocket has no # in it; as a part of a key it is written %23")]
    Fragment,
    #[error("the URL has no host; ws://HOST:PORT/PATH/ would be right")]
    Host,
    #[error("the port has to be a number from 0 to 65535")]
    Port,
    #[error("a browser's WebSocket sends no user name or password; leave out what is before the @")]
    User,
    #[error("no URL: {0}")]
    Unreadable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> (String, Option<String>) {
        let target: Target = text.parse().expect("a URL");
        (target.with_key("K").to_string(), target.without_key().map(|url| url.to_string()))
    }

    #[test]
    fn a_url_that_ends_with_a_slash_or_has_no_path_gets_a_key() {
        for (text, expected, keyless) in [
            ("ws://host", "ws://host/K", "ws://host/"),
            ("ws://host/", "ws://host/K", "ws://host/"),
            ("wss://host:1/signal/", "wss://host:1/signal/K", "wss://host:1/signal/"),
            ("ws://host?token=x", "ws://host/K?token=x", "ws://host/?token=x"),
            ("ws://host/signal/?token=x/", "ws://host/signal/K?token=x/", "ws://host/signal/?token=x/"),
        ] {
            assert_eq!(urls(text), (expected.to_owned(), Some(keyless.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_url_may_say_where_its_key_goes() {
        let expected = ("wss://host/signal?key=K".to_owned(), Some("wss://host/signal?key=".to_owned()));
        assert_eq!(urls("wss://host/signal?key={key}"), expected);
        let expected = ("ws://host/a/K/b/".to_owned(), Some("ws://host/a//b/".to_owned()));
        assert_eq!(urls("ws://host/a/{key}/b/"), expected);
    }

    #[test]
    fn a_url_with_a_key_stays_what_it_is() {
        for text in ["ws://host/signal", "ws://host/?key=mine", "ws://host/signal/K?favored"] {
            assert_eq!(urls(text), (text.to_owned(), None));
        }
    }

    #[test]
    fn host_and_port_are_those_to_connect_to() {
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
    fn what_cannot_be_probed_is_refused() {
        for (text, expected) in [
            ("http://host/", TargetError::Scheme),
            ("host:8000", TargetError::Scheme),
            ("ws://host/#room", TargetError::Fragment),
            ("ws://host:99999/", TargetError::Port),
            ("ws://me:secret@host/", TargetError::User),
        ] {
            assert_eq!(text.parse::<Target>().expect_err("no URL"), expected, "{text}");
        }
        for text in ["ws://", "ws:///path", "ws://a host/"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
