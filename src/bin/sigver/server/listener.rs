//! A socket that listens: on a TCP port, or on a Unix socket.

use std::io;
use std::net::SocketAddr;

#[cfg(not(unix))]
use tokio::io::Empty as UnixStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio_util::either::Either;

#[cfg(unix)]
use super::unix_socket::UnixSocket;
use crate::config::ListenAddress;
#[cfg(unix)]
use crate::config::UNIX_CLIENT;

/// A connection over TCP or over a Unix socket.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A socket that listens.
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixSocket),
}

impl Listener {
    /// Listens on the first of these addresses that can be bound. Returns that address as well.
    pub(super) async fn bind_tcp(address: impl ToSocketAddrs) -> io::Result<(ListenAddress, Self)> {
        let socket = TcpListener::bind(address).await?;
        Ok((socket.local_addr()?.into(), Self::Tcp(socket)))
    }

    /// Listens on a TCP port or a Unix socket. Returns its address as well, with the port in place of 0.
    pub(super) async fn bind(address: &ListenAddress) -> io::Result<(ListenAddress, Self)> {
        match address {
            ListenAddress::Tcp { host, port } => Self::bind_tcp((&**host, *port)).await,
            #[cfg(unix)]
            ListenAddress::Unix(path) => {
                Ok((ListenAddress::Unix(path.clone()), Self::Unix(UnixSocket::bind(path).await?)))
            }
            #[cfg(not(unix))]
            ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Returns the next connection and its address, for a Unix socket [`UNIX_CLIENT`] and port 0.
    pub(super) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, client)| (Either::Left(stream), client)),
            #[cfg(unix)]
            Self::Unix(socket) => Ok((Either::Right(socket.accept().await?), (UNIX_CLIENT, 0).into())),
        }
    }
}
