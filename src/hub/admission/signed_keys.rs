//! Group keys that the app signs and that expire.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::hook::{Admission, PeerInfo};
use super::rejection::Rejection;
use super::request::JoinRequest;
use crate::hub::limits::Cause;
use crate::hub::limits::config::ConfigError;
use crate::protocol::{CloseCode, GroupKey, KeyError};

/// The output size of SHA-256, which RFC 2104 recommends as the minimum.
const MIN_SECRET_BYTES: usize = 32;

/// Admits only keys signed by the app, until they expire. Peers whose keys are signed for the same group key join the
/// same group.
///
/// A signed key is `KEY~EXPIRY~MAC`. EXPIRY is in seconds since 1970, and MAC is the HMAC-SHA256 of `KEY~EXPIRY` in
/// unpadded base64url. All of these characters, except those of KEY, are allowed in a URL path without escaping.
/// Published clients send no header and no query, so the key is the only place for a credential.
///
/// A key is valid at every hub that has its secret. If an app has several hubs, use one secret for each, or sign
/// `key.within("the name of the hub")`.
///
/// The hub verifies a signed key once, when its peer joins, and closes the peer with 4740 when the key expires
/// ([`PeerInfo::expires_at`]). A key that has expired before the join closes the peer with 4740, too: the client should
/// get a fresh one. An unsigned or forged key closes it with 1008.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use sigver::{GroupKey, SignalingHub, SignedKeys, memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = SignedKeys::new("a secret of at least 32 bytes, from the environment")?;
/// let signed_key = keys.sign(&GroupKey::new("room")?, SystemTime::now() + Duration::from_secs(60))?;
///
/// let hub = SignalingHub::builder().admission(keys).build()?;
/// assert!(memory::join(&hub, &*signed_key).connect(1, &[]).await);
/// assert_eq!(memory::join(&hub, "room").recv_close().await.code, 1008);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SignedKeys {
    primary: Hmac<Sha256>,
    secondary: Option<Hmac<Sha256>>,
}

impl SignedKeys {
    /// Signs and verifies with this primary secret.
    ///
    /// # Errors
    /// The secret has fewer than 32 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self { primary: hmac(secret.as_ref())?, secondary: None })
    }

    /// Sets a secondary secret, which verifies but does not sign.
    ///
    /// To rotate a secret without rejecting peers: set the new one as the secondary secret of every server. Then make
    /// it the primary secret of every server, with the old one as the secondary secret. Remove the old one after the
    /// last key that it signed has expired. A running hub keeps its secrets; the chapter `signed_keys` of the guide
    /// shows a hook that replaces them.
    ///
    /// # Errors
    /// The secret has fewer than 32 bytes.
    pub fn with_secondary_secret(mut self, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.secondary = Some(hmac(secret.as_ref())?);
        Ok(self)
    }

    /// Signs a group key. Percent-encode the result for a URL if the key needs it. The expiry is rounded up to a whole
    /// second.
    ///
    /// # Errors
    /// [`KeyError::TooLong`] if the signed key has more than 512 bytes. The signature adds about 55 bytes.
    pub fn sign(&self, key: &GroupKey, expires: SystemTime) -> Result<String, KeyError> {
        // A time before 1970 becomes 1970, which has expired too.
        let since_1970 = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let expiry = since_1970.as_secs() + u64::from(since_1970.subsec_nanos() > 0);
        let signed = format!("{}~{expiry}", key.as_str());
        let mac = self.primary.clone().chain_update(&signed).finalize().into_bytes();
        let signed_key = format!("{signed}~{}", BASE64URL_NOPAD.encode(&mac));
        GroupKey::new(&signed_key).map(|_| signed_key)
    }

    /// Verifies the key of a request at the present time, and returns the group key that was signed, with the expiry.
    /// Use it in your own [`Admission`] hook that checks more than the key. [`PeerInfo::get_key`] and
    /// [`PeerInfo::get_expires_at`] return what was signed.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// use sigver::{GroupKey, JoinRequest, SignedKeys};
    ///
    /// let keys = SignedKeys::new("a secret of at least 32 bytes, from the environment")?;
    /// let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    /// let signed_key = keys.sign(&GroupKey::new("room")?, expires)?;
    ///
    /// let info = keys.verify(&JoinRequest::new(signed_key)).expect("the key is signed");
    /// assert_eq!(info.get_key().map(GroupKey::as_str), Some("room"));
    /// assert_eq!(info.get_expires_at(), Some(expires));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The key is empty, too long or not valid UTF-8 (4741, 4745), unsigned or forged (1008), or expired (4740).
    pub fn verify(&self, request: &JoinRequest) -> Result<PeerInfo, Rejection> {
        self.verify_at(request, SystemTime::now())
    }

    /// Verifies the key of a request as [`SignedKeys::verify`] does, at a time of the app's own clock. A test with a
    /// paused clock of tokio needs it; the chapter `testing` of the guide has an example.
    ///
    /// # Errors
    /// As [`SignedKeys::verify`].
    pub fn verify_at(&self, request: &JoinRequest, now: SystemTime) -> Result<PeerInfo, Rejection> {
        let (key, expiry) = self.read(request.try_key()?.as_str(), now)?;
        let expires_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expiry));
        let info = PeerInfo::new().key(key);
        // A time that the system cannot represent never comes.
        Ok(match expires_at {
            Some(time) => info.expires_at(time),
            None => info,
        })
    }

    /// Returns the group key that was signed, and its expiry in seconds since 1970.
    fn read(&self, signed_key: &str, now: SystemTime) -> Result<(GroupKey, u64), Rejection> {
        let reject = |reason: &'static str| Rejection::close(CloseCode::Policy, reason);
        let parts = signed_key.rsplit_once('~').and_then(|(signed, mac)| Some((signed, mac, signed.rsplit_once('~')?)));
        let Some((signed, mac, (key, expiry))) = parts else {
            return Err(reject("key is not signed; must be KEY~EXPIRY~MAC"));
        };
        let forged = || reject("key has an invalid signature");
        let mac = BASE64URL_NOPAD.decode(mac.as_bytes()).map_err(|_| forged())?;
        let secrets = [Some(&self.primary), self.secondary.as_ref()];
        // `verify_slice` compares in constant time.
        let verifies = |secret: &Hmac<Sha256>| secret.clone().chain_update(signed).verify_slice(&mac).is_ok();
        if !secrets.into_iter().flatten().any(verifies) {
            return Err(forged());
        }
        let expiry = expiry.parse().map_err(|_| forged())?;
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if since_1970 >= Duration::from_secs(expiry) {
            return Err(Rejection::by(Cause::ExpiresAt, CloseCode::Expired, "key has expired"));
        }
        let key = GroupKey::new(key).map_err(|error| Rejection::from(&error))?;
        Ok((key, expiry))
    }
}

#[async_trait]
impl Admission for SignedKeys {
    async fn admit(&self, request: JoinRequest) -> Result<PeerInfo, Rejection> {
        self.verify(&request)
    }
}

impl fmt::Debug for SignedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedKeys").finish_non_exhaustive()
    }
}

fn hmac(secret: &[u8]) -> Result<Hmac<Sha256>, ConfigError> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(ConfigError::new("secret", format!("{} bytes long", secret.len()), "must be at least 32 bytes"));
    }
    Ok(Hmac::new_from_slice(secret).expect("HMAC accepts keys of any length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn keys(secret: &str) -> SignedKeys {
        SignedKeys::new(secret).expect("long enough")
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn sign(secret: &str, key: &str) -> String {
        keys(secret).sign(&GroupKey::new(key).expect("a key"), at(1000)).expect("short enough")
    }

    #[test]
    fn expired_key_is_rejected_with_4740() {
        let rejection = keys(SECRET).verify(&JoinRequest::new(sign(SECRET, "room"))).expect_err("expired in 1970");
        assert_eq!((rejection.cause(), rejection.close_code()), (Cause::ExpiresAt, CloseCode::Expired));
        let rejection = keys(OTHER).verify(&JoinRequest::new(sign(SECRET, "room"))).expect_err("forged");
        assert_eq!(rejection.close_code(), CloseCode::Policy);
    }

    fn read(keys: &SignedKeys, signed_key: &str, seconds: u64) -> Result<String, String> {
        let info = keys.verify_at(&JoinRequest::new(signed_key), at(seconds));
        let info = info.map_err(|rejection| rejection.reason().to_owned())?;
        Ok(info.get_key().expect("it was signed").as_str().to_owned())
    }

    #[test]
    fn mac_is_hmac_sha256_in_base64url() {
        // printf 'room~1000' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef -binary | basenc --base64url
        assert_eq!(sign(SECRET, "room"), "room~1000~rKV4OzG9qYkdWw3eZtgGu-m40boEkK10zABS-NGaIDc");
    }

    #[test]
    fn expiry_is_rounded_up_to_a_second() {
        for (millis, expiry) in [(0, "0"), (1, "1"), (999, "1"), (1000, "1"), (1001, "2")] {
            let expires = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            let signed = keys(SECRET).sign(&GroupKey::new("room").expect("a key"), expires).expect("short enough");
            assert_eq!(signed.split('~').nth(1), Some(expiry), "{millis} ms");
        }
    }

    #[test]
    fn signed_key_is_valid_for_its_group_until_it_expires() {
        for key in ["room", "a~b", "café/7", "~"] {
            let signed_key = sign(SECRET, key);
            assert_eq!(read(&keys(SECRET), &signed_key, 999), Ok(key.to_owned()));
            assert_eq!(read(&keys(SECRET), &signed_key, 1000), Err("key has expired".to_owned()));
        }
    }

    #[test]
    fn verified_key_passes_its_expiry_on() {
        let expiry = |seconds| {
            let key = keys(SECRET).sign(&GroupKey::new("room").expect("a key"), at(seconds)).expect("short enough");
            keys(SECRET).verify(&JoinRequest::new(key)).expect("the key is valid").expires_at
        };
        assert_eq!(expiry(1 << 40), Some(at(1 << 40)));
        // The app signs any number, but only in another implementation: `sign` takes a `SystemTime`.
        let signed = format!("room~{}", u64::MAX);
        let mac = hmac(SECRET.as_ref()).expect("long enough").chain_update(&signed).finalize().into_bytes();
        let request = JoinRequest::new(format!("{signed}~{}", BASE64URL_NOPAD.encode(&mac)));
        assert_eq!(keys(SECRET).verify(&request).expect("the key is valid").expires_at, None);
    }

    #[test]
    fn forged_key_is_rejected() {
        let good = sign(SECRET, "room");
        for at in 0..good.len() {
            let mut forged = good.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII");
            assert!(read(&keys(SECRET), &forged, 1).is_err(), "{forged}");
        }
        for wrong in ["", "room", "room~1000", "room~1000~", "~~", &good[..good.len() - 1], &sign(OTHER, "room")] {
            assert!(read(&keys(SECRET), wrong, 1).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secondary_secret_verifies_but_does_not_sign() {
        let (old, new) = (sign(SECRET, "room"), sign(OTHER, "room"));
        let both = keys(OTHER).with_secondary_secret(SECRET).expect("long enough");
        assert!(read(&both, &old, 1).is_ok() && read(&both, &new, 1).is_ok());
        let signed = both.sign(&GroupKey::new("room").expect("a key"), at(1000));
        assert_eq!(signed.as_deref(), Ok(&*new));
        assert!(read(&keys(OTHER), &old, 1).is_err());
    }

    #[test]
    fn short_secret_is_an_error_and_debug_hides_secrets() {
        let error = SignedKeys::new("too short").expect_err("9 bytes");
        assert_eq!(error.to_string(), "secret is 9 bytes long; must be at least 32 bytes");
        assert_eq!(format!("{:?}", keys(SECRET)), "SignedKeys { .. }");
    }

    #[test]
    fn signed_key_over_512_bytes_is_an_error() {
        let key = GroupKey::new("k".repeat(500)).expect("a key");
        assert!(matches!(keys(SECRET).sign(&key, at(1000)), Err(KeyError::TooLong { .. })));
    }
}
