//! Reloads the files that may change while the server runs.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::certificate::Certificate;
use crate::config::TurnSecrets;
use crate::signals::ReloadSignal;

/// The interval at which the files are read. Their contents are compared, not their modification times: a copy can
/// keep an old time, and a symbolic link can change its target.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Polls the files, and reloads all of them on every SIGHUP.
pub(super) async fn reload(
    mut certificate: Option<Certificate>,
    mut turn_secrets: Option<TurnSecrets>,
    mut signal: ReloadSignal,
) -> Infallible {
    if certificate.is_none() && turn_secrets.is_none() {
        loop {
            signal.recv().await;
            tracing::info!("SIGHUP ignored: TLS and turn_secret_files are not configured");
        }
    }
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let force = tokio::select! {
            _ = ticks.tick() => false,
            () = signal.recv() => true,
        };
        if let Some(certificate) = &mut certificate {
            certificate.reload(force).await;
        }
        if let Some(secrets) = &mut turn_secrets {
            secrets.reload(force).await;
        }
    }
}
