//! Where the server listens: a TCP port, or a Unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::error::ConfigError;

/// Stands for the process at the other end of a Unix socket, which has no IP address. No connection over IP has it.
pub(crate) const UNIX_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const UNIX_PREFIX: &str = "unix:";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl ListenAddress {
    /// Parses the settings `host` and `port`. A Unix socket has no port, so `port` is ignored: it is in each printed file.
    pub(super) fn parse(host: String, port: u16) -> Result<Self, ConfigError> {
        let Some(path) = host.strip_prefix(UNIX_PREFIX) else { return Ok(Self::Tcp { host, port }) };
        if !cfg!(unix) {
            return Err(ConfigError::NoUnixSockets(host));
        }
        if !Path::new(path).is_absolute() {
            return Err(ConfigError::RelativeSocket(host));
        }
        Ok(Self::Unix(path.into()))
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}
