//! The secrets of the TURN servers in use. They are reloaded when their files change.

use sigver::SignalingHub;

use super::ice_servers::IceSettings;
use super::secrets::Secret;
use crate::polled::Polled;

pub(crate) struct TurnSecrets {
    settings: IceSettings,
    secrets: Polled<Vec<Secret>, String>,
    hub: SignalingHub,
}

impl TurnSecrets {
    /// Returns the secrets of a hub that uses `read`, which come from the files of the settings. `None` if there are no
    /// files: the environment of a process does not change.
    pub(super) fn in_files(settings: IceSettings, read: Vec<Secret>, hub: SignalingHub) -> Option<Self> {
        settings.has_secret_files().then_some(Self { settings, secrets: Polled(Ok(read)), hub })
    }

    /// Reloads the files if their contents have changed, or if `force` is set. New credentials are signed with the new
    /// secrets. An invalid one is logged once and keeps the previous ones in use.
    pub(crate) async fn reload(&mut self, force: bool) {
        match self.poll_files(force).await {
            None => {}
            Some(Ok(())) => tracing::info!("TURN secrets reloaded"),
            Some(Err(error)) => tracing::warn!(%error, "TURN secret reload failed, keeping the previous ones"),
        }
    }

    /// Returns `None` if it loads nothing.
    async fn poll_files(&mut self, force: bool) -> Option<Result<(), String>> {
        let settings = self.settings.clone();
        let read = move || settings.read_secrets().map_err(|error| error.to_string());
        let secrets = self.secrets.poll(force, read).await?;
        Some(secrets.and_then(|secrets| {
            let servers = self.settings.servers(secrets).map_err(|error| error.to_string())?;
            let servers = servers.expect("settings with secrets have servers");
            self.hub.set_ice_servers(servers).map_err(|error| error.to_string())
        }))
    }
}
