//! The signals that an operator sends.

use std::{fmt, io};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What asks a server to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody is at the terminal, and waits.
    Interrupt,
    /// What service managers send, which wait for a while.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is none"))]
    Terminate,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt if cfg!(unix) => "SIGINT",
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// SIGINT and SIGTERM, from now on.
pub(crate) struct Stops {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
}

#[cfg(unix)]
impl Stops {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

#[cfg(not(unix))]
impl Stops {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn next(&mut self) -> Stop {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Stop::Interrupt,
            Err(error) => {
                tracing::warn!(%error, "cannot listen for Ctrl-C");
                std::future::pending().await
            }
        }
    }
}

/// SIGHUP, from now on: without that it would end the process.
pub(crate) struct HangUps {
    #[cfg(unix)]
    hang_up: Signal,
}

#[cfg(unix)]
impl HangUps {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { hang_up: signal(SignalKind::hangup())? })
    }

    pub(crate) async fn next(&mut self) {
        if self.hang_up.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
impl HangUps {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
}
