//! Notifies the service manager, for example systemd, about the state of the process, as sd_notify(3) describes.

use std::convert::Infallible;
use std::env;
use std::fmt::Display;
use std::future::pending;
#[cfg(unix)]
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// The time that a shutdown may take in addition to the drain.
const SHUTDOWN_TIME: Duration = Duration::from_secs(15);

/// The service manager that started this process, or none.
#[derive(Default)]
pub(crate) struct ServiceManager {
    #[cfg(unix)]
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Whether the last notification failed. Only the first failure of several is logged.
    has_failed: AtomicBool,
    /// The time without a notification after which the service manager kills the process.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[cfg(unix)]
    pub(crate) fn from_environment() -> Self {
        let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let socket = address(&path).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // A service manager that does not read must not block the server.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        match socket {
            Ok(socket) => Self { socket: Some(socket), watchdog: watchdog(), ..Self::default() },
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot notify the service manager");
                Self::default()
            }
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn from_environment() -> Self {
        Self::default()
    }

    /// Reports that the server listens on this address.
    pub(crate) fn ready(&self, address: &impl Display) {
        self.notify(&format!("READY=1\nSTATUS=Listening on {address}"));
    }

    /// Reports that the server closes its peers within this time. The service manager must not kill it before.
    pub(crate) fn stopping(&self, peers: usize, drain_timeout: Duration) {
        let time = drain_timeout.saturating_add(SHUTDOWN_TIME).as_micros();
        self.notify(&format!("STOPPING=1\nSTATUS=Closing {peers} peers\nEXTEND_TIMEOUT_USEC={time}"));
    }

    /// Notifies the watchdog of the service manager, twice in the time that it allows.
    pub(crate) async fn notify_watchdog(&self) -> Infallible {
        let Some(time) = self.watchdog else { return pending().await };
        let mut ticks = interval(time / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.notify("WATCHDOG=1");
        }
    }

    #[cfg(unix)]
    fn notify(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        let sent = socket.send_to_addr(state.as_bytes(), address);
        let had_failed = self.has_failed.swap(sent.is_err(), Ordering::Relaxed);
        if let Err(error) = sent
            && !had_failed
        {
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }

    #[cfg(not(unix))]
    fn notify(&self, _: &str) {}
}

/// Returns the address in `NOTIFY_SOCKET`: a path, or after `@` the name of an abstract socket.
#[cfg(unix)]
fn address(path: &std::ffi::OsStr) -> std::io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = path.as_encoded_bytes().strip_prefix(b"@") {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    if !std::path::Path::new(path).is_absolute() {
        return Err(std::io::Error::other("must be an absolute path, or @ and the name of an abstract socket"));
    }
    SocketAddr::from_pathname(path)
}

/// Returns the time of the watchdog, unless it watches another process.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_other = env::var_os("WATCHDOG_PID").is_some() && number("WATCHDOG_PID") != Some(std::process::id().into());
    let time = number("WATCHDOG_USEC").filter(|time| *time > 1 && !is_other)?;
    Some(Duration::from_micros(time))
}
