//! The signals that an operator sends to the process.

use std::{fmt, io};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that stops the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownSignal {
    /// Sent from a terminal, where the user waits for the end of the process.
    Interrupt,
    /// Sent by a service manager, which waits for a graceful shutdown.
    #[cfg_attr(not(unix), expect(dead_code, reason = "other systems have no SIGTERM"))]
    Terminate,
}

impl fmt::Display for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt if cfg!(unix) => "SIGINT",
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// A stream of SIGINT and SIGTERM.
pub(crate) struct ShutdownSignals {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
}

#[cfg(unix)]
impl ShutdownSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn recv(&mut self) -> ShutdownSignal {
        tokio::select! {
            _ = self.interrupt.recv() => ShutdownSignal::Interrupt,
            _ = self.terminate.recv() => ShutdownSignal::Terminate,
        }
    }
}

#[cfg(not(unix))]
impl ShutdownSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn recv(&mut self) -> ShutdownSignal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => ShutdownSignal::Interrupt,
            Err(error) => {
                tracing::warn!(%error, "cannot listen for Ctrl-C");
                std::future::pending().await
            }
        }
    }
}

/// A stream of SIGHUP. Without a listener, SIGHUP would end the process.
pub(crate) struct ReloadSignal {
    #[cfg(unix)]
    hangup: Signal,
}

#[cfg(unix)]
impl ReloadSignal {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    pub(crate) async fn recv(&mut self) {
        if self.hangup.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
impl ReloadSignal {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn recv(&mut self) {
        std::future::pending().await
    }
}
