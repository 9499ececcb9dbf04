//! Keys that their bearer was given by the app, for a while.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::hook::{Admission, PeerInfo};
use super::rejection::Rejection;
use super::request::JoinRequest;
use crate::hub::limits::config::ConfigError;
use crate::protocol::{CloseCode, GroupKey, KeyError};

/// Fewer can be guessed, given time: as many as the hash has.
const MIN_SECRET_BYTES: usize = 32;

/// An [`Admission`] of keys that the app has signed: `KEY~EXPIRY~MAC`.
///
/// EXPIRY is in seconds since 1970, MAC is HMAC-SHA256 of `KEY~EXPIRY` in unpadded base64url; `~` and all of these are
/// free to stand in a URL's path. Published clients send no header and no query, so this is the one place where they
/// can carry a capability. Peers with permits for one KEY meet in the group of that name, whatever expires when. A
/// permit is looked at when its bearer comes, and not again while it stays.
///
/// Who is refused is closed with 1008.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use sigver::protocol::GroupKey;
/// use sigver::{SignalingHub, SignedKeys, memory};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = SignedKeys::new("a secret of at least 32 bytes, from the environment")?;
/// let permit = keys.sign(&GroupKey::new("room")?, SystemTime::now() + Duration::from_secs(60))?;
///
/// let hub = SignalingHub::builder().admission(keys).build()?;
/// assert!(memory::join(&hub, &*permit).connect(1, &[]).await);
/// assert_eq!(memory::join(&hub, "room").recv_close().await, 1008);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SignedKeys {
    signing: Hmac<Sha256>,
    also: Option<Hmac<Sha256>>,
}

impl SignedKeys {
    /// Signs with this secret, and takes what it has signed.
    ///
    /// # Errors
    /// It has less than 32 bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self { signing: mac(secret.as_ref())?, also: None })
    }

    /// Takes what another secret has signed, too. To replace a secret without a peer noticing: have every server take
    /// the new one as well, then have every server sign with the new one and take the old one as well, and forget the
    /// old one when its last permit has expired.
    ///
    /// # Errors
    /// It has less than 32 bytes.
    pub fn with_secondary_secret(mut self, secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.also = Some(mac(secret.as_ref())?);
        Ok(self)
    }

    /// A permit for the group of this key: escape it as a part of a URL if the key has characters that need it.
    ///
    /// # Errors
    /// [`KeyError::TooLong`]: the permit is longer than a key may be. It adds some 55 bytes.
    pub fn sign(&self, key: &GroupKey, expires: SystemTime) -> Result<String, KeyError> {
        // Before 1970 is long ago all the same.
        let expiry = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let signed = format!("{}~{expiry}", key.as_str());
        let mac = self.signing.clone().chain_update(&signed).finalize().into_bytes();
        let permit = format!("{signed}~{}", BASE64URL_NOPAD.encode(&mac));
        GroupKey::new(&permit).map(|_| permit)
    }

    /// Whether a request has a permit: for an [`Admission`] of the app's own that looks at more than that.
    ///
    /// # Errors
    /// It has none, or it is forged or has expired.
    pub fn verify(&self, request: &JoinRequest) -> Result<PeerInfo, Rejection> {
        Ok(PeerInfo::new().key(self.read(request.try_key()?.as_str(), SystemTime::now())?))
    }

    fn read(&self, permit: &str, now: SystemTime) -> Result<GroupKey, Rejection> {
        let refuse = |reason: &'static str| Rejection::close(CloseCode::Policy, reason);
        let parts = permit.rsplit_once('~').and_then(|(signed, mac)| Some((signed, mac, signed.rsplit_once('~')?)));
        let Some((signed, mac, (key, expiry))) = parts else {
            return Err(refuse("the key has to be signed: KEY~EXPIRY~MAC"));
        };
        let forged = || refuse("the key's signature is wrong");
        let mac = BASE64URL_NOPAD.decode(mac.as_bytes()).map_err(|_| forged())?;
        let secrets = [Some(&self.signing), self.also.as_ref()];
        // Each comparison takes the same time wherever the first wrong byte is.
        let is_right = |secret: &Hmac<Sha256>| secret.clone().chain_update(signed).verify_slice(&mac).is_ok();
        if !secrets.into_iter().flatten().any(is_right) {
            return Err(forged());
        }
        let expiry = expiry.parse().map_err(|_| forged())?;
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if since_1970 >= Duration::from_secs(expiry) {
            return Err(refuse("the key has expired"));
        }
        GroupKey::new(key).map_err(|error| Rejection::from(&error))
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

fn mac(secret: &[u8]) -> Result<Hmac<Sha256>, ConfigError> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(ConfigError::new("secret", format!("{} bytes long", secret.len()), "must be at least 32 bytes"));
    }
    Ok(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
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

    fn permit(secret: &str, key: &str) -> String {
        keys(secret).sign(&GroupKey::new(key).expect("a key"), at(1000)).expect("short enough")
    }

    fn read(keys: &SignedKeys, permit: &str, seconds: u64) -> Result<String, String> {
        let key = keys.read(permit, at(seconds)).map_err(|rejection| rejection.reason().to_owned())?;
        Ok(key.as_str().to_owned())
    }

    #[test]
    fn the_mac_is_hmac_sha256_in_base64url() {
        // printf 'room~1000' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef -binary | basenc --base64url
        assert_eq!(permit(SECRET, "room"), "room~1000~rKV4OzG9qYkdWw3eZtgGu-m40boEkK10zABS-NGaIDc");
    }

    #[test]
    fn a_ticket_opens_its_group_until_it_expires() {
        for key in ["room", "a~b", "café/7", "~"] {
            let permit = permit(SECRET, key);
            assert_eq!(read(&keys(SECRET), &permit, 999), Ok(key.to_owned()));
            assert_eq!(read(&keys(SECRET), &permit, 1000), Err("the key has expired".to_owned()));
        }
    }

    #[test]
    fn what_is_changed_or_signed_by_another_is_refused() {
        let good = permit(SECRET, "room");
        for at in 0..good.len() {
            let mut forged = good.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII");
            assert!(read(&keys(SECRET), &forged, 1).is_err(), "{forged}");
        }
        for wrong in ["", "room", "room~1000", "room~1000~", "~~", &good[..good.len() - 1], &permit(OTHER, "room")] {
            assert!(read(&keys(SECRET), wrong, 1).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_replaced_by_way_of_two() {
        let (old, new) = (permit(SECRET, "room"), permit(OTHER, "room"));
        let both = keys(OTHER).with_secondary_secret(SECRET).expect("long enough");
        assert!(read(&both, &old, 1).is_ok() && read(&both, &new, 1).is_ok());
        let signed = both.sign(&GroupKey::new("room").expect("a key"), at(1000));
        assert_eq!(signed.as_deref(), Ok(&*new));
        assert!(read(&keys(OTHER), &old, 1).is_err());
    }

    #[test]
    fn a_short_secret_is_an_error_and_none_shows_in_a_log() {
        let error = SignedKeys::new("too short").expect_err("9 bytes");
        assert_eq!(error.to_string(), "secret is 9 bytes long; must be at least 32 bytes");
        assert_eq!(format!("{:?}", keys(SECRET)), "SignedKeys { .. }");
    }

    #[test]
    fn a_ticket_that_is_longer_than_a_key_is_an_error() {
        let key = GroupKey::new(&"k".repeat(500)).expect("a key");
        assert!(matches!(keys(SECRET).sign(&key, at(1000)), Err(KeyError::TooLong { .. })));
    }
}
