//! Finds the primary server through Redis Sentinel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::{cmd, from_redis_value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::address::Address;
use super::connection::Dialer;
use super::error;
use crate::cluster::BackplaneError;

/// The time within which a Sentinel must answer. Shorter than that of a call, so that a call can ask another one.
const TIMEOUT: Duration = Duration::from_millis(600);

/// Sentinels, and what they said last.
pub(super) struct Sentinels {
    addresses: Vec<Address>,
    service: String,
    dialer: Dialer,
    /// The index of the Sentinel to ask next.
    next: AtomicUsize,
    primary: Mutex<Option<Address>>,
}

impl Sentinels {
    pub(super) fn new(addresses: Vec<Address>, service: String, dialer: Dialer) -> Self {
        Self { addresses, service, dialer, next: AtomicUsize::new(0), primary: Mutex::new(None) }
    }

    /// Returns the address of the primary. Asks the Sentinels one after the other if it is not known.
    pub(super) async fn primary(&self) -> Result<Address, BackplaneError> {
        // Other calls wait for the answer.
        let mut primary = self.primary.lock().await;
        if let Some(address) = &*primary {
            return Ok(address.clone());
        }
        let mut errors = Vec::new();
        for _ in &self.addresses {
            // Before the answer: a call that is dropped lets the next one ask another Sentinel.
            let index = self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len();
            let sentinel = &self.addresses[index];
            match timeout(TIMEOUT, self.ask(sentinel)).await {
                Ok(Ok(address)) => return Ok(primary.insert(address).clone()),
                Ok(Err(error)) => errors.push(error.to_string()),
                Err(_) => errors.push(format!("{sentinel}: no reply within {TIMEOUT:?}")),
            }
        }
        Err(BackplaneError::new(format!("no Sentinel named a primary: {}", errors.join("; "))))
    }

    /// Forgets the primary, because a call to it failed.
    pub(super) fn failed(&self, address: &Address) {
        // If another call holds the lock, it is asking for the primary.
        if let Ok(mut primary) = self.primary.try_lock()
            && primary.as_ref() == Some(address)
        {
            *primary = None;
        }
    }

    async fn ask(&self, sentinel: &Address) -> Result<Address, BackplaneError> {
        let connection = self.dialer.dial(sentinel).await?;
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        let reply = connection.send(&command, false).await.map_err(|error| error::failed(sentinel, &error))?;
        let reply: Option<(String, u16)> =
            from_redis_value(reply).map_err(|_| error::unexpected_reply("an address"))?;
        let unknown = || BackplaneError::new(format!("{sentinel}: no service has the name {}", self.service));
        reply.map(|(host, port)| Address { host, port }).ok_or_else(unknown)
    }
}
