//! The handle of a connection in its requests, and the guards that are counted for it.

use std::fmt;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::table::{Next, Table};

/// A handle of the connection that a request came over, among the extensions of each request.
///
/// An app that upgrades a connection to a WebSocket of its own keeps the connection open with it. It needs nothing for
/// the WebSockets of [`service`](crate::hyper::service), [`upgrade_with`](crate::hyper::upgrade_with) and the like.
///
/// ```
/// use http_body_util::Full;
/// use hyper::body::{Bytes, Incoming};
/// use hyper::{Request, Response};
/// use hyper_tungstenite::tungstenite::error::ProtocolError;
/// use sigver::hyper::limiter::ConnectionHandle;
///
/// fn chat(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, ProtocolError> {
///     // None if no limiter serves the connection.
///     let kept = request.extensions().get().map(ConnectionHandle::keep_open);
///     let (response, socket) = hyper_tungstenite::upgrade(&mut request, None)?;
///     tokio::spawn(async move {
///         let socket = socket.await; // the app's WebSocket
///         drop(socket);
///         drop(kept); // after the close handshake
///     });
///     Ok(response)
/// }
/// ```
///
/// The example upgrades over HTTP/1.1. Over HTTP/2, where the guard is needed, a WebSocket begins with a `CONNECT` request
/// whose extension `hyper::ext::Protocol` is `websocket`. Take the guard, answer 200, await `hyper::upgrade::on`, and
/// create the WebSocket with `hyper_tungstenite::WebSocketStream::from_raw_socket` and `Role::Server`.
#[derive(Clone)]
pub struct ConnectionHandle(Arc<Inner>);

struct Inner {
    table: Arc<Table>,
    id: u64,
    client: IpAddr,
    changed: Arc<Notify>,
}

/// Keeps a connection open until dropped. Created by [`ConnectionHandle::keep_open`].
#[derive(Debug)]
#[must_use = "the connection may be closed once this is dropped"]
pub struct KeepOpen(ConnectionHandle);

/// Counts a request until dropped.
pub(super) struct RequestInProgress(ConnectionHandle);

impl ConnectionHandle {
    pub(super) fn new(table: Arc<Table>, id: u64, client: IpAddr, changed: Arc<Notify>) -> Self {
        Self(Arc::new(Inner { table, id, client, changed }))
    }

    /// Returns the address of the socket's other end: the client, or a proxy. The adapters pass it to the hub unless the
    /// app has passed one.
    pub fn client_ip(&self) -> IpAddr {
        self.0.client
    }

    /// Exempts the connection from the limits and the idle timeout until the guard is dropped.
    ///
    /// Call it while the request is in progress, before the response that upgrades the connection. Hold the guard until
    /// the upgraded socket has been dropped, so that its last bytes are sent. Over HTTP/2, several WebSockets share one
    /// connection, and each has a guard. Over HTTP/1.1, the limiter forgets a connection with the upgrade.
    pub fn keep_open(&self) -> KeepOpen {
        self.0.table.add_guard(self.0.id);
        KeepOpen(self.clone())
    }

    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    pub(super) fn begin_request(&self) -> RequestInProgress {
        self.0.table.begin_request(self.0.id);
        RequestInProgress(self.clone())
    }

    /// Completes when the limiter closes the connection.
    pub(super) async fn closed(&self) {
        let Inner { table, id, changed, .. } = &*self.0;
        loop {
            // Created first: a change after the check is not missed.
            let change = pin!(changed.notified());
            match table.next(*id) {
                None => return,
                // Whichever comes first, the connection is checked again.
                Some(Next::Check(deadline)) => _ = timeout_at(deadline, change).await,
                Some(Next::Change) => change.await,
            }
        }
    }

    /// Removes the connection, which has ended.
    pub(super) fn remove(&self) {
        self.0.table.remove(self.0.id);
    }
}

impl fmt::Debug for ConnectionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionHandle").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl Drop for KeepOpen {
    fn drop(&mut self) {
        let Inner { table, id, .. } = &*self.0.0;
        table.remove_guard(*id);
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        let Inner { table, id, .. } = &*self.0.0;
        table.end_request(*id);
    }
}
