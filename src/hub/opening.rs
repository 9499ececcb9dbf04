//! What the URL of a peer's socket says.

use crate::protocol::{GroupKey, KeyError};

/// What a peer opens a socket with: the key of its group, and whether it is favored.
///
/// A text that is no key is kept as that: [`serve`](crate::SignalingHub::serve) closes such a peer with 4741 or 4745.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub(super) key: Result<GroupKey, KeyError>,
    pub(super) favored: bool,
}

impl Opening {
    /// A peer of the group with this key, with nothing decoded.
    pub fn new(key: &str) -> Self {
        Self { key: GroupKey::new(key), favored: false }
    }

    /// As a member, a favored peer is offered to joiners before the others.
    #[must_use]
    pub fn favored(mut self, favored: bool) -> Self {
        self.favored = favored;
        self
    }

    /// Reads what a URL's path has behind the place where signaling is mounted and the slash after it, and the URL's
    /// query, both still percent-encoded.
    ///
    /// The key is `tail`, unless that is empty: then it is the query's `key`, where a `+` is a space, as
    /// `URLSearchParams` writes it. `favored` in the query counts with any value.
    ///
    /// ```
    /// use sigver::Opening;
    ///
    /// let expected = Opening::new("my key");
    /// assert_eq!(Opening::from_url("my%20key", None), expected);
    /// assert_eq!(Opening::from_url("", Some("key=my+key")), expected);
    /// assert_eq!(Opening::from_url("my%20key", Some("favored")), expected.favored(true));
    /// ```
    pub fn from_url(tail: &str, query: Option<&str>) -> Self {
        let parameters = || query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let named = |name: &str, expected| GroupKey::from_escaped(name).is_ok_and(|name| name.as_str() == expected);
        let key = match tail {
            "" => match parameters().find(|(name, _)| named(name, "key")) {
                Some((_, key)) => GroupKey::from_escaped(&key.replace('+', "%20")),
                None => Err(KeyError::Empty),
            },
            key => GroupKey::from_escaped(key),
        };
        Self { key, favored: parameters().any(|(name, _)| named(name, "favored")) }
    }
}

impl From<&str> for Opening {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<GroupKey> for Opening {
    fn from(key: GroupKey) -> Self {
        Self { key: Ok(key), favored: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tail: &str, query: &str) -> Result<String, KeyError> {
        Opening::from_url(tail, Some(query)).key.map(|key| key.as_str().to_owned())
    }

    #[test]
    fn the_path_behind_the_mount_is_the_key() {
        for (tail, expected) in [("K", "K"), ("a/b", "a/b"), ("/K", "/K"), ("K/", "K/"), ("a+b", "a+b"), ("%41", "A")] {
            assert_eq!(key(tail, "").as_deref(), Ok(expected));
        }
    }

    #[test]
    fn without_a_path_the_query_has_the_key() {
        assert_eq!(key("", "key=K").as_deref(), Ok("K"));
        assert_eq!(key("", "x=1&key=a%2Fb+c&key=second").as_deref(), Ok("a/b c"));
        assert_eq!(key("", "%6bey=K%2B").as_deref(), Ok("K+"));
        assert_eq!(key("path", "key=query").as_deref(), Ok("path"), "the path wins");
    }

    #[test]
    fn no_key_is_an_empty_key() {
        for query in ["", "key", "key=", "Key=K", "keys=K", "favored"] {
            assert_eq!(key("", query), Err(KeyError::Empty), "{query}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_read_says_why() {
        assert_eq!(key("%zz", ""), Err(KeyError::BadEscape { at: 0 }));
        assert_eq!(key("", "key=%ff"), Err(KeyError::NotUtf8));
    }

    #[test]
    fn favored_counts_with_any_value() {
        for query in ["favored", "favored=", "favored=0", "x=1&favored", "favored&x", "%66avored"] {
            assert!(Opening::from_url("K", Some(query)).favored, "{query}");
        }
        for query in ["", "Favored", "favoredx", "x=favored", "?favored"] {
            assert!(!Opening::from_url("K", Some(query)).favored, "{query}");
        }
        assert!(!Opening::from_url("K", None).favored);
    }
}
