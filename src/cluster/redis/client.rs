//! Sends calls to the right server.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant, timeout_at};

use super::address::Address;
use super::connection::{Connection, Dialer, Pool, is_fatal};
use super::error;
use super::routes::{Routes, slot};
use super::script::Call;
use crate::cluster::BackplaneError;

/// The time within which an engine must answer. It includes opening a connection.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// The time after which a call that is dropped without an answer discards its connection, which may be dead.
const SUSPICIOUS: Duration = Duration::from_millis(500);

/// The number of servers that a call may be redirected to.
const MAX_REDIRECTIONS: usize = 5;

/// Makes calls. Each is one attempt: it is sent again only if a server rejected it unseen.
pub(super) struct Client {
    pub(super) dialer: Dialer,
    pub(super) routes: Routes,
}

/// A call without an answer yet. If it ends without one, later calls avoid the server and the connection.
struct Unanswered<'a> {
    routes: &'a Routes,
    address: &'a Address,
    connection: Option<Arc<Connection>>,
    /// The time from which on the lack of an answer means that the server or the connection is dead.
    suspicious_at: Instant,
    is_answered: bool,
}

impl Client {
    /// Makes a call over a connection of the pool. `waits` is how long the command itself waits.
    pub(super) async fn call(&self, pool: &Pool, call: &Call, waits: Duration) -> Result<Value, BackplaneError> {
        let limit = waits + TIMEOUT;
        let deadline = Instant::now() + limit;
        let no_reply = |from: &dyn Display| BackplaneError::new(format!("{from}: no reply within {limit:?}"));
        let slot = slot(&call.key);
        // The server that has the slot only for calls that ask for it, because the slot is moving there.
        let mut asked = None;
        for _ in 0..=MAX_REDIRECTIONS {
            let is_asking = asked.is_some();
            let address = match asked.take() {
                Some(address) => address,
                None => timeout_at(deadline, self.routes.find(slot)).await.map_err(|_| no_reply(&"Sentinels"))??,
            };
            let unanswered = Unanswered {
                routes: &self.routes,
                address: &address,
                connection: None,
                suspicious_at: Instant::now() + waits + SUSPICIOUS,
                is_answered: false,
            };
            let reply = timeout_at(deadline, self.send(pool, call, is_asking, unanswered)).await;
            let error = match reply.map_err(|_| no_reply(&address))?? {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let target = error.redirect_node().and_then(|(to, _)| Address::parse_redirection(to, &address));
            match (error.kind(), target) {
                (ErrorKind::Server(ServerErrorKind::Moved), Some(owner)) => self.routes.moved(slot, owner),
                (ErrorKind::Server(ServerErrorKind::Ask), Some(target)) => asked = Some(target),
                _ => return Err(error::failed(&address, &error)),
            }
        }
        Err(BackplaneError::new("the nodes of the Redis Cluster redirect in a circle"))
    }

    /// Sends a call to a server. The outer error is that no connection could be opened.
    async fn send(
        &self,
        pool: &Pool,
        call: &Call,
        is_asking: bool,
        mut unanswered: Unanswered<'_>,
    ) -> Result<Result<Value, RedisError>, BackplaneError> {
        let address = unanswered.address;
        let connection = match pool.get(address, &self.dialer).await {
            Ok(connection) => unanswered.connection.insert(connection).clone(),
            Err(error) => {
                self.routes.failed(address);
                return Err(error);
            }
        };
        let reply = connection.call(call, is_asking).await;
        unanswered.is_answered = true;
        if reply.as_ref().is_err_and(is_fatal) {
            connection.discard();
            self.routes.failed(address);
        }
        Ok(reply)
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered && Instant::now() >= self.suspicious_at {
            self.routes.failed(self.address);
            if let Some(connection) = &self.connection {
                connection.discard();
            }
        }
    }
}
