//! Credentials for a TURN server that expire: coturn's `use-auth-secret`.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha1::Sha1;

use super::configuration::Login;
use crate::hub::limits::config::ConfigError;

/// The output size of SHA-1, which RFC 2104 recommends as the minimum. A client can test guesses of a shorter secret
/// against its credential, without the server.
const MIN_SECRET_BYTES: usize = 20;

/// RFC 8489 section 14.3: less than 509 bytes.
const MAX_USERNAME_BYTES: usize = 508;

/// The characters that coturn rejects in a user name, and `%`, so that no two identities get the same name.
const REJECTED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'\'').add(b'\\').add(b'%');

/// A secret that the hub shares with TURN servers.
#[derive(Clone)]
pub(super) struct TurnSecret(Hmac<Sha1>);

impl TurnSecret {
    pub(super) fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        if secret.len() < MIN_SECRET_BYTES {
            let value = format!("{} bytes long", secret.len());
            return Err(ConfigError::new("turn_secret", value, "must be at least 20 bytes"));
        }
        Ok(Self(Hmac::new_from_slice(secret).expect("HMAC accepts keys of any length")))
    }

    /// Returns the credential for this user name.
    pub(super) fn login(&self, username: &str) -> Login {
        let mac = self.0.clone().chain_update(username).finalize().into_bytes();
        Login { username: username.to_owned(), credential: BASE64.encode(&mac) }
    }
}

impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnSecret").finish_non_exhaustive()
    }
}

/// Returns the user name of an identity until `expiry`, which is in seconds since 1970: `EXPIRY:IDENTITY`, or `EXPIRY`.
///
/// Rejected characters and those outside of ASCII are percent-encoded. A name that is too long is truncated.
pub(super) fn username(expiry: u64, identity: Option<&str>) -> String {
    let Some(identity) = identity else { return expiry.to_string() };
    let mut name = format!("{expiry}:{}", utf8_percent_encode(identity, REJECTED));
    name.truncate(MAX_USERNAME_BYTES);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn credential_is_hmac_sha1_in_base64() {
        // printf 1900000000:alice | openssl dgst -sha1 -hmac 0123456789abcdef0123456789abcdef -binary | base64
        let login = TurnSecret::new(SECRET).expect("long enough").login("1900000000:alice");
        assert_eq!((&*login.username, &*login.credential), ("1900000000:alice", "FnIcefRcs3gZxdvXwIj6AX9PtEM="));
        // printf 1900000000 | openssl dgst -sha1 -hmac 0123456789abcdef0123456789abcdef -binary | base64
        let login = TurnSecret::new(SECRET).expect("long enough").login("1900000000");
        assert_eq!((&*login.username, &*login.credential), ("1900000000", "9RFK5UX6HlJlVIyHu+oYntGLHqE="));
    }

    #[test]
    fn username_has_the_identity_if_there_is_one() {
        for (identity, expected) in [
            (None, "7"),
            (Some(""), "7:"),
            (Some("alice"), "7:alice"),
            (Some("alice@app.example"), "7:alice@app.example"),
            (Some("user:42"), "7:user:42"),
            (Some("Alice \"'\\\t50%"), "7:Alice%20%22%27%5C%0950%25"),
            (Some("é"), "7:%C3%A9"),
        ] {
            assert_eq!(username(7, identity), expected);
        }
    }

    #[test]
    fn long_username_is_truncated_to_508_bytes() {
        for identity in ["a".repeat(506), "a".repeat(507), "é".repeat(1000)] {
            assert_eq!(username(7, Some(&identity)).len(), 508, "{identity}");
        }
    }

    #[test]
    fn short_secret_is_an_error_and_debug_hides_secrets() {
        let error = TurnSecret::new(&[b'x'; 19]).expect_err("19 bytes");
        assert_eq!(error.to_string(), "turn_secret is 19 bytes long; must be at least 20 bytes");
        assert_eq!(format!("{:?}", TurnSecret::new(&[b'x'; 20])), "Ok(TurnSecret { .. })");
    }
}
