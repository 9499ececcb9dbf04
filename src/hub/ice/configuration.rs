//! The ICE servers of one client.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The ICE servers of one client, and how long their credentials are valid. Returned by
/// [`SignalingHub::ice_servers`](crate::SignalingHub::ice_servers).
///
/// It serializes to the JSON that the adapters send. A browser accepts its `iceServers` in an `RTCConfiguration`; `ttl`
/// is in seconds:
///
/// ```json
/// {
///   "iceServers": [
///     { "urls": ["stun:stun.example"] },
///     { "urls": ["turn:turn.example"], "username": "1900000000:alice", "credential": "…" }
///   ],
///   "ttl": 3600
/// }
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IceConfiguration {
    pub(super) ice_servers: Vec<IceServer>,
    #[serde(serialize_with = "seconds")]
    pub(super) ttl: Duration,
}

/// The URLs of one or several ICE servers, and the credential for them if they are TURN servers.
#[derive(Clone, Serialize)]
pub struct IceServer {
    pub(super) urls: Vec<String>,
    #[serde(flatten)]
    pub(super) login: Option<Login>,
}

/// The user name and password for a TURN server.
#[derive(Clone, Serialize)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) credential: String,
}

impl IceConfiguration {
    /// Returns the servers, in the order of the settings. Empty if
    /// [`HubBuilder::ice_servers`](crate::HubBuilder::ice_servers) is not set.
    pub fn servers(&self) -> &[IceServer] {
        &self.ice_servers
    }

    /// Returns how long the credentials are valid, in whole seconds. A client should request new ones before that.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}

impl IceServer {
    /// Returns the URLs, which are all `stun:` or `stuns:`, or all `turn:` or `turns:`.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns the user name for a TURN server. `None` for STUN servers, which need none.
    pub fn username(&self) -> Option<&str> {
        self.login.as_ref().map(|login| &*login.username)
    }

    /// Returns the password for a TURN server. `None` for STUN servers, which need none.
    pub fn credential(&self) -> Option<&str> {
        self.login.as_ref().map(|login| &*login.credential)
    }
}

/// Omits the credential.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username())
            .finish_non_exhaustive()
    }
}

fn seconds<S: Serializer>(ttl: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(ttl.as_secs())
}
