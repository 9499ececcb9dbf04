//! The key of a group.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::CloseCode;

/// The maximum length of a group key in bytes, after percent-decoding.
///
/// npm's `sigver` allows 512 characters before percent-decoding, so no key that works there is too long here.
pub const MAX_KEY_BYTES: usize = 512;

/// The name of a group: 1 to [`MAX_KEY_BYTES`] bytes of UTF-8. Cheap to clone.
///
/// A key can be the only secret that protects a group. `Debug` therefore shows only its length, and there is no
/// `Display`. Serialized with serde, it is the whole key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct GroupKey(Arc<str>);

impl GroupKey {
    /// Creates a key from text that is not percent-encoded.
    ///
    /// # Errors
    /// [`KeyError::Empty`] and [`KeyError::TooLong`].
    pub fn new(key: impl AsRef<str>) -> Result<Self, KeyError> {
        let key = key.as_ref();
        match key.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(key.into())),
            len => Err(KeyError::TooLong { len }),
        }
    }

    /// Creates a key from a part of a URL, which is percent-decoded once. `/` and `+` stand for themselves.
    ///
    /// ```
    /// use sigver::protocol::{GroupKey, KeyError};
    ///
    /// assert_eq!(GroupKey::from_percent_encoded("caf%C3%A9/1")?.as_str(), "café/1");
    /// assert!(matches!(GroupKey::from_percent_encoded("100%"), Err(KeyError::BadEscape { at: 3, .. })));
    /// # Ok::<(), KeyError>(())
    /// ```
    ///
    /// # Errors
    /// Every [`KeyError`].
    pub fn from_percent_encoded(encoded: &str) -> Result<Self, KeyError> {
        // Each decoded byte takes at most three characters, so a longer text is not worth decoding.
        if encoded.len() > 3 * MAX_KEY_BYTES {
            return Err(KeyError::TooLong { len: encoded.len().div_ceil(3) });
        }
        Self::new(percent_decoded(encoded)?)
    }

    /// Returns this key within a namespace, such as a tenant: `NAMESPACE/KEY`. Keys of different namespaces are never
    /// equal, because each `%` and `/` of the namespace is percent-encoded.
    ///
    /// If keys of several namespaces share a hub, put every key of that hub into a namespace: a key without one can
    /// contain a slash, too.
    ///
    /// ```
    /// use sigver::GroupKey;
    ///
    /// let room = GroupKey::new("room/1")?;
    /// assert_eq!(room.within("acme")?.as_str(), "acme/room/1");
    /// assert_eq!(GroupKey::new("1")?.within("acme/room")?.as_str(), "acme%2Froom/1");
    /// # Ok::<(), sigver::protocol::KeyError>(())
    /// ```
    ///
    /// # Errors
    /// [`KeyError::TooLong`], and [`KeyError::Empty`] if the namespace is empty.
    pub fn within(&self, namespace: impl AsRef<str>) -> Result<Self, KeyError> {
        match namespace.as_ref() {
            "" => Err(KeyError::Empty),
            namespace => Self::new(format!("{}/{}", namespace.replace('%', "%25").replace('/', "%2F"), self.as_str())),
        }
    }

    /// Returns the namespace and the key of a key that [`GroupKey::within`] has composed. `None` if the key has no
    /// namespace.
    ///
    /// ```
    /// use sigver::GroupKey;
    ///
    /// let key = GroupKey::new("room/1")?.within("acme")?;
    /// let (namespace, room) = key.namespace().expect("the key has a namespace");
    /// assert_eq!((&*namespace, room.as_str()), ("acme", "room/1"));
    /// assert!(room.namespace().is_some(), "any key with a slash looks like one with a namespace");
    /// # Ok::<(), sigver::protocol::KeyError>(())
    /// ```
    pub fn namespace(&self) -> Option<(String, Self)> {
        let (namespace, key) = self.as_str().split_once('/')?;
        let key = Self::new(key).ok().filter(|_| !namespace.is_empty())?;
        // In the opposite order of `within`.
        Some((namespace.replace("%2F", "/").replace("%25", "%"), key))
    }

    /// Returns the decoded key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Decodes the escapes of a text, strictly: browsers produce no other ones.
pub(crate) fn percent_decoded(encoded: &str) -> Result<String, KeyError> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes().iter().enumerate();
    while let Some((at, &byte)) = rest.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|(_, &digit)| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(KeyError::BadEscape { at });
        };
        decoded.push((16 * high + low) as u8);
    }
    String::from_utf8(decoded).map_err(|_| KeyError::NotUtf8)
}

impl AsRef<str> for GroupKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The same as [`GroupKey::new`].
impl FromStr for GroupKey {
    type Err = KeyError;

    fn from_str(key: &str) -> Result<Self, KeyError> {
        Self::new(key)
    }
}

/// The same as [`GroupKey::new`].
impl TryFrom<&str> for GroupKey {
    type Error = KeyError;

    fn try_from(key: &str) -> Result<Self, KeyError> {
        Self::new(key)
    }
}

/// The same as [`GroupKey::new`].
impl TryFrom<String> for GroupKey {
    type Error = KeyError;

    fn try_from(key: String) -> Result<Self, KeyError> {
        Self::new(key)
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKey({} bytes)", self.0.len())
    }
}

/// The reason why a text is not a valid group key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key is empty.
    #[error("group key is empty; must be 1 to {MAX_KEY_BYTES} bytes")]
    Empty,
    /// The key has more than [`MAX_KEY_BYTES`] bytes.
    #[error("group key is at least {len} bytes; must be 1 to {MAX_KEY_BYTES}")]
    #[non_exhaustive]
    TooLong {
        /// A lower bound of its length in bytes.
        len: usize,
    },
    /// A `%` is not followed by two hexadecimal digits.
    #[error("percent-escape at byte {at} of the group key is invalid; must be % and two hexadecimal digits")]
    #[non_exhaustive]
    BadEscape {
        /// The offset of the `%` in the encoded text, in bytes.
        at: usize,
    },
    /// The route has no parameter of this name, which should contain the key or a part of it.
    #[error("group key is missing; the route must have a parameter {{{name}}} or {{*{name}}}{}", in_query(name))]
    #[non_exhaustive]
    MissingParameter {
        /// The name of the parameter.
        name: &'static str,
    },
    /// The decoded bytes are not UTF-8.
    #[error("group key is not UTF-8 after percent-decoding")]
    NotUtf8,
}

impl KeyError {
    /// Returns the code that closes a peer with such a key. A browser cannot read an HTTP status instead.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Empty | Self::TooLong { .. } | Self::MissingParameter { .. } => CloseCode::Key,
            Self::BadEscape { .. } | Self::NotUtf8 => CloseCode::Url,
        }
    }
}

/// The other place for a key in a URL.
fn in_query(name: &str) -> &'static str {
    if name == "key" { ", or the query key=KEY" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_1_to_512_bytes_after_decoding() {
        assert_eq!(GroupKey::from_percent_encoded(""), Err(KeyError::Empty));
        for encoded in ["x".repeat(512), "%78".repeat(512), "é".repeat(256)] {
            assert_eq!(GroupKey::from_percent_encoded(&encoded).map(|key| key.as_str().len()), Ok(512));
        }
        for encoded in ["x".repeat(513), "%78".repeat(513), "é".repeat(257), "x".repeat(1_000_000)] {
            let error = GroupKey::from_percent_encoded(&encoded).expect_err("too long");
            assert!(matches!(error, KeyError::TooLong { .. }), "{error}");
            assert_eq!(error.close_code(), CloseCode::Key);
        }
    }

    #[test]
    fn key_is_percent_decoded_once() {
        for (encoded, key) in [("a%2Fb", "a/b"), ("a/b", "a/b"), ("%2541", "%41"), ("a+b", "a+b"), ("%e9%a0%81", "頁")]
        {
            assert_eq!(GroupKey::from_percent_encoded(encoded).as_ref().map(GroupKey::as_str), Ok(key));
        }
    }

    #[test]
    fn invalid_escape_and_invalid_utf8_close_with_4745() {
        for (encoded, at) in [("%", 0), ("a%4", 1), ("%zz", 0), ("ab%4g", 2), ("%+1", 0)] {
            assert_eq!(GroupKey::from_percent_encoded(encoded), Err(KeyError::BadEscape { at }));
        }
        assert_eq!(GroupKey::from_percent_encoded("%ff"), Err(KeyError::NotUtf8));
        for error in [KeyError::BadEscape { at: 0 }, KeyError::NotUtf8] {
            assert_eq!(error.close_code(), CloseCode::Url);
        }
    }

    #[test]
    fn key_converts_from_str_and_string_without_decoding() {
        let key = GroupKey::new("room").expect("a valid key");
        assert_eq!("room".parse(), Ok(key.clone()));
        assert_eq!("room".try_into(), Ok(key.clone()));
        assert_eq!(String::from("room").try_into(), Ok(key.clone()));
        assert_eq!(GroupKey::new(&key), Ok(key.clone()));
        assert_eq!("%41".parse().as_ref().map(GroupKey::as_str), Ok("%41"), "nothing is decoded");
        assert_eq!(GroupKey::try_from(String::new()), Err(KeyError::Empty));
    }

    #[test]
    fn keys_of_different_namespaces_are_never_equal() {
        let within = |namespace: &str, key: &str| GroupKey::new(key).and_then(|key| key.within(namespace));
        let namespaces = ["a", "a/b", "a%2Fb", "a%252Fb", "a/", "/", "%", "a/b/"];
        let keys = ["c", "b/c", "/c", "/b/c", "2Fb/c", "%2Fb/c"];
        let all: std::collections::BTreeSet<_> =
            namespaces.iter().flat_map(|namespace| keys.map(|key| within(namespace, key).expect("short"))).collect();
        assert_eq!(all.len(), namespaces.len() * keys.len());
        assert_eq!(within("", "c"), Err(KeyError::Empty));
        assert!(within("a", &"x".repeat(510)).is_ok());
        assert_eq!(within("a", &"x".repeat(511)), Err(KeyError::TooLong { len: 513 }));
    }

    #[test]
    fn missing_parameter_is_named_and_its_close_code_is_4741() {
        let [key, tenant] = ["key", "tenant"].map(|name| KeyError::MissingParameter { name });
        assert_eq!(
            key.to_string(),
            "group key is missing; the route must have a parameter {key} or {*key}, or the query key=KEY",
        );
        assert_eq!(tenant.to_string(), "group key is missing; the route must have a parameter {tenant} or {*tenant}",);
        assert_eq!(key.close_code(), CloseCode::Key);
    }

    #[test]
    fn debug_output_does_not_contain_the_key() {
        assert_eq!(format!("{:?}", GroupKey::new("secret").expect("a valid key")), "GroupKey(6 bytes)");
    }

    #[test]
    fn namespace_is_the_one_that_the_key_was_composed_with() {
        for namespace in ["acme", "a/b", "50%", "%2F", "%252f/%", "é"] {
            for key in ["room", "room/1", "/", "%2F"] {
                let composed = GroupKey::new(key).and_then(|key| key.within(namespace)).expect("short enough");
                let (found, rest) = composed.namespace().expect("a namespace");
                assert_eq!((&*found, rest.as_str()), (namespace, key));
            }
        }
        for key in ["room", "/room", "room/", "/"] {
            assert_eq!(GroupKey::new(key).expect("a key").namespace(), None, "{key}");
        }
    }
}
