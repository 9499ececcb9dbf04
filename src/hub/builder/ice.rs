//! The ICE servers among the settings of a hub.

use super::HubBuilder;
use crate::hub::ice::servers::IceServers;

/// ICE servers.
impl HubBuilder {
    /// Sets the ICE servers that clients get from the URL of the hub. Default: none.
    ///
    /// The adapters answer a `GET` with `Accept: application/json`, on the same URL as the WebSocket, with the JSON of
    /// an [`IceConfiguration`](crate::IceConfiguration): the servers, and for TURN servers a credential that expires.
    /// Without this setting, the answer is 426, as for any other request that is not a WebSocket handshake. The chapter
    /// `ice_servers` of the guide shows the settings of coturn and the rotation of a secret.
    ///
    /// The checks are those of a join: see [`SignalingHub::ice_servers`](crate::SignalingHub::ice_servers).
    pub fn ice_servers(mut self, servers: IceServers) -> Self {
        if let Err(error) = servers.check() {
            self.error.get_or_insert(error);
        }
        self.access_rules.ice_servers = Some(servers);
        self
    }
}
