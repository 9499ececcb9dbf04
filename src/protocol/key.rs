//! The key that names a group.

use std::fmt;
use std::sync::Arc;

use super::CloseCode;

/// The longest key, in bytes after percent-decoding. npm's `sigver` allows 512 characters before it, so every key that
/// works there works here.
pub const MAX_KEY_BYTES: usize = 512;

/// What names a group: 1 to [`MAX_KEY_BYTES`] bytes of UTF-8. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey(Arc<str>);

impl GroupKey {
    /// A key as it is, with nothing decoded.
    ///
    /// # Errors
    /// [`KeyError::Empty`] and [`KeyError::TooLong`].
    pub fn new(key: &str) -> Result<Self, KeyError> {
        match key.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(key.into())),
            len => Err(KeyError::TooLong { len }),
        }
    }

    /// A key out of a URL, percent-decoded once. Every other character stands for itself, `/` and `+` included.
    ///
    /// ```
    /// use sigver::protocol::{GroupKey, KeyError};
    ///
    /// assert_eq!(GroupKey::from_escaped("caf%C3%A9/1")?.as_str(), "café/1");
    /// assert!(matches!(GroupKey::from_escaped("100%"), Err(KeyError::BadEscape { at: 3, .. })));
    /// # Ok::<(), KeyError>(())
    /// ```
    ///
    /// # Errors
    /// Every [`KeyError`].
    pub fn from_escaped(escaped: &str) -> Result<Self, KeyError> {
        // Three characters make at most one byte, so that a longer text cannot become a key: do not decode it.
        if escaped.len() > 3 * MAX_KEY_BYTES {
            return Err(KeyError::TooLong { len: escaped.len().div_ceil(3) });
        }
        let mut decoded = Vec::with_capacity(escaped.len());
        let mut rest = escaped.as_bytes().iter().enumerate();
        while let Some((at, &byte)) = rest.next() {
            if byte != b'%' {
                decoded.push(byte);
                continue;
            }
            let mut digit = || rest.next().and_then(|(_, &digit)| char::from(digit).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(KeyError::BadEscape { at });
            };
            decoded.push((high << 4 | low) as u8);
        }
        Self::new(std::str::from_utf8(&decoded).map_err(|_| KeyError::NotUtf8)?)
    }

    /// The key, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key may be all that protects a group, so a log must not show it.
impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKey({} bytes)", self.0.len())
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no key.
    #[error("the key is empty; it has to have 1 to {MAX_KEY_BYTES} bytes")]
    Empty,
    /// The key has more than [`MAX_KEY_BYTES`] bytes.
    #[error("the key has at least {len} bytes; it has to have 1 to {MAX_KEY_BYTES}")]
    #[non_exhaustive]
    TooLong {
        /// How many bytes it has, or a number that it has at least.
        len: usize,
    },
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the escape at byte {at} of the key is not a % with two hexadecimal digits")]
    #[non_exhaustive]
    BadEscape {
        /// Where the `%` is, in bytes of the escaped text.
        at: usize,
    },
    /// The decoded bytes are not UTF-8.
    #[error("the key is not UTF-8 after percent-decoding")]
    NotUtf8,
}

impl KeyError {
    /// The code that a peer with such a key is closed with: a browser cannot read an HTTP status.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Empty | Self::TooLong { .. } => CloseCode::Key,
            Self::BadEscape { .. } | Self::NotUtf8 => CloseCode::Url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_512_bytes_after_decoding() {
        assert_eq!(GroupKey::from_escaped(""), Err(KeyError::Empty));
        for escaped in ["x".repeat(512), "%78".repeat(512), "é".repeat(256)] {
            assert_eq!(GroupKey::from_escaped(&escaped).map(|key| key.as_str().len()), Ok(512));
        }
        for escaped in ["x".repeat(513), "%78".repeat(513), "é".repeat(257), "x".repeat(1_000_000)] {
            let error = GroupKey::from_escaped(&escaped).expect_err("too long");
            assert!(matches!(error, KeyError::TooLong { .. }), "{error}");
            assert_eq!(error.close_code(), CloseCode::Key);
        }
    }

    #[test]
    fn a_key_is_percent_decoded_once() {
        for (escaped, key) in [("a%2Fb", "a/b"), ("a/b", "a/b"), ("%2541", "%41"), ("a+b", "a+b"), ("%e9%a0%81", "頁")]
        {
            assert_eq!(GroupKey::from_escaped(escaped).as_ref().map(GroupKey::as_str), Ok(key));
        }
    }

    #[test]
    fn a_bad_escape_or_a_key_that_is_not_utf8_is_4745() {
        for (escaped, at) in [("%", 0), ("a%4", 1), ("%zz", 0), ("ab%4g", 2), ("%+1", 0)] {
            assert_eq!(GroupKey::from_escaped(escaped), Err(KeyError::BadEscape { at }));
        }
        assert_eq!(GroupKey::from_escaped("%ff"), Err(KeyError::NotUtf8));
        for error in [KeyError::BadEscape { at: 0 }, KeyError::NotUtf8] {
            assert_eq!(error.close_code(), CloseCode::Url);
        }
    }

    #[test]
    fn a_key_does_not_show_in_a_log() {
        assert_eq!(format!("{:?}", GroupKey::new("secret").expect("a key")), "GroupKey(6 bytes)");
    }
}
