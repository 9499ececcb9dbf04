//! Connections to servers.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value, cmd,
    pipe,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::Address;
use super::error;
use super::script::Call;
use crate::cluster::BackplaneError;

/// How to connect to a server.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) tls: Option<TlsConnector>,
    pub(super) allows_unencrypted: bool,
    pub(super) login: Login,
    pub(super) database: u32,
    /// Whether each server must be a node of a Redis Cluster.
    pub(super) is_cluster: bool,
}

/// A user and a password. It has no `Debug`.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// An open connection. Several calls can wait for their replies at the same time.
pub(super) struct Connection {
    commands: MultiplexedConnection,
    /// Reads the replies.
    driver: JoinHandle<()>,
    is_discarded: AtomicBool,
}

/// At most one open connection to each server.
#[derive(Default)]
pub(super) struct Pool {
    slots: Mutex<HashMap<Address, Arc<Slot>>>,
}

/// A connection that the first call opens, while other calls wait for it.
type Slot = tokio::sync::Mutex<Option<Arc<Connection>>>;

impl Dialer {
    /// Opens a connection.
    pub(super) async fn dial(&self, address: &Address) -> Result<Connection, BackplaneError> {
        if self.tls.is_none() && !self.allows_unencrypted && !address.is_loopback() {
            let text = format!("{address}: not connected, because the address is not loopback and TLS is off");
            return Err(BackplaneError::new(text));
        }
        let connection = self.open(address).await.map_err(|error| error::failed(address, &error))?;
        self.log_in(&connection).await.map_err(|error| error::failed(address, &error))?;
        Ok(connection)
    }

    async fn open(&self, address: &Address) -> RedisResult<Connection> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => {
                let invalid = |_| io::Error::other("the host is not a valid name for TLS");
                let name = ServerName::try_from(address.host.clone()).map_err(invalid)?;
                Connection::new(tls.connect(name, stream).await?).await
            }
            None => Connection::new(stream).await,
        }
    }

    async fn log_in(&self, connection: &Connection) -> RedisResult<()> {
        if let Some(password) = &self.login.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = &self.login.user {
                auth.arg(user);
            }
            connection.send(auth.arg(password), false).await?;
        }
        if self.database != 0 {
            connection.send(cmd("SELECT").arg(self.database), false).await?;
        }
        if self.is_cluster {
            // Other servers reject ASKING. It has no effect on TIME, which ends it.
            connection.send(&cmd("TIME"), true).await?;
        }
        Ok(())
    }
}

impl Connection {
    async fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> RedisResult<Self> {
        // The caller of a command has a timeout, which a blocking read must exceed.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        // The user and the password are sent by `log_in`: the errors of the library do not have their causes.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (commands, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        Ok(Self { commands, driver: tokio::spawn(driver), is_discarded: AtomicBool::new(false) })
    }

    /// Makes a call. The engine runs it at most once: it is repeated only if the engine did not have its script.
    pub(super) async fn call(&self, call: &Call, is_asking: bool) -> RedisResult<Value> {
        let reply = self.send(call.command(), is_asking).await;
        match (&reply, call.loading_command()) {
            (Err(error), Some(command)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(&command, is_asking).await
            }
            _ => reply,
        }
    }

    /// Sends a command and waits for its reply. `is_asking` says that the server may not own the slot yet.
    pub(super) async fn send(&self, command: &Cmd, is_asking: bool) -> RedisResult<Value> {
        let mut commands = self.commands.clone();
        let reply = if is_asking {
            let mut both = pipe();
            both.cmd("ASKING").add_command(command.clone());
            let [asking, reply] =
                <[Value; 2]>::try_from(commands.send_packed_commands(&both, 0, 2).await?).unwrap_or_default();
            asking.extract_error()?;
            reply
        } else {
            commands.send_packed_command(command).await?
        };
        reply.extract_error()
    }

    /// Makes later calls open another connection. Calls that wait on this one are not affected.
    pub(super) fn discard(&self) {
        self.is_discarded.store(true, Ordering::Relaxed);
    }

    fn is_usable(&self) -> bool {
        !self.is_discarded.load(Ordering::Relaxed) && !self.driver.is_finished()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pool {
    /// Returns the connection to a server. Opens it if there is none.
    pub(super) async fn get(&self, address: &Address, dialer: &Dialer) -> Result<Arc<Connection>, BackplaneError> {
        let slot =
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(address.clone()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        *slot = None;
        self.close_unused();
        Ok(slot.insert(Arc::new(dialer.dial(address).await?)).clone())
    }

    /// Closes connections that no call will use. The servers may be gone for good.
    fn close_unused(&self) {
        // If another call holds the lock of a slot, it is in use.
        let is_used = |slot: &Arc<Slot>| {
            slot.try_lock().map_or(true, |connection| connection.as_ref().is_some_and(|open| open.is_usable()))
        };
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, slot| is_used(slot));
    }
}

/// Returns whether a connection cannot be used any more after an error.
pub(super) fn is_fatal(error: &RedisError) -> bool {
    let demoted = ErrorKind::Server(ServerErrorKind::ReadOnly);
    error.kind() == demoted || error.is_io_error() || error.is_unrecoverable_error()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn dropped_connection_does_not_wait_for_a_server_that_reads_nothing() {
        // One byte of the command fits, so the connection cannot finish writing it.
        let (stream, mut server) = duplex(1);
        let connection = Connection::new(stream).await.expect("nothing is sent");
        let command = cmd("PING");
        tokio::select! {
            reply = connection.send(&command, false) => panic!("{reply:?}"),
            byte = server.read_u8() => assert_eq!(byte.expect("the connection is open"), b'*'),
        }
        drop(connection);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.expect("the connection is closed");
        assert!(rest.len() <= 1, "{}", rest.escape_ascii());
    }

    #[test]
    fn error_is_fatal_if_the_connection_or_the_server_cannot_be_used_any_more() {
        let parse = |reply: &[u8]| ::redis::parse_redis_value(reply).and_then(Value::extract_error);
        for reply in [&b"-READONLY You can't write against a read only replica.\r\n"[..], b"HTTP/1.1\r\n"] {
            assert!(is_fatal(&parse(reply).expect_err("an error")), "{reply:?}");
        }
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::TimedOut] {
            assert!(is_fatal(&io::Error::from(kind).into()), "{kind}");
        }
        for reply in [&b"-WRONGTYPE not a hash\r\n"[..], b"-NOSCRIPT No matching script.\r\n"] {
            assert!(!is_fatal(&parse(reply).expect_err("an error")), "{reply:?}");
        }
    }
}
