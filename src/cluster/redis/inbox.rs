//! Reads the inbox of a node.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Value, cmd};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::client::Client;
use super::connection::Pool;
use super::error::unexpected_reply;
use super::script::{Call, READ};
use crate::cluster::BackplaneError;

/// The time after which an inbox is deleted that its reader does not renew.
pub(super) const TTL: Duration = Duration::from_secs(60);

/// How long the engine waits for a batch before it returns none. A replaced inbox is detected within this time.
const BLOCK: Duration = Duration::from_secs(1);

/// The maximum number of batches of a read.
const MAX_BATCHES: usize = 100;

/// The start of an inbox.
const START: &str = "0-0";

/// The inbox of a node, as its reader sees it.
pub(super) struct Inbox {
    client: Arc<Client>,
    /// A blocked read stalls its connection, so the connections are of this inbox alone.
    connections: Arc<Pool>,
    key: String,
    /// The id of the last batch that was returned.
    cursor: String,
    renewed_at: Option<Instant>,
    /// The read in progress. A call that is dropped leaves it for the next call.
    reading: Option<BoxFuture<'static, Result<Vec<Batch>, BackplaneError>>>,
}

/// A batch and its id.
type Batch = (String, Bytes);

impl Inbox {
    pub(super) fn new(client: Arc<Client>, key: String) -> Self {
        let connections = Arc::default();
        Self { client, connections, key, cursor: START.to_owned(), renewed_at: None, reading: None }
    }

    /// Waits for batches.
    pub(super) async fn receive(&mut self) -> Result<Vec<Bytes>, BackplaneError> {
        loop {
            let read = match &mut self.reading {
                Some(reading) => reading.await,
                None => {
                    let reading = self.read();
                    self.reading.insert(reading).await
                }
            };
            // Nothing waits from here on, so a dropped call cannot lose batches.
            self.reading = None;
            let batches = read.inspect_err(|_| self.renewed_at = None)?;
            if let Some((id, _)) = batches.last() {
                self.cursor.clone_from(id);
                return Ok(batches.into_iter().map(|(_, batch)| batch).collect());
            }
        }
    }

    /// Closes the connections, but remembers the cursor.
    pub(super) fn disconnect(&mut self) {
        self.reading = None;
        self.renewed_at = None;
        self.connections = Arc::default();
    }

    /// Starts a read. At most once per `BLOCK`, it is one that also renews the inbox and compares its last id with the
    /// cursor. The others wait for a batch.
    fn read(&mut self) -> BoxFuture<'static, Result<Vec<Batch>, BackplaneError>> {
        let (client, connections) = (self.client.clone(), self.connections.clone());
        let millis = |time: Duration| time.as_millis().to_string();
        if self.renewed_at.is_none_or(|at| at.elapsed() >= BLOCK) {
            self.renewed_at = Some(Instant::now());
            let args = [self.cursor.clone(), MAX_BATCHES.to_string(), millis(TTL)].map(String::into_bytes);
            let call = READ.call(self.key.clone(), args.into());
            let reading = async move { read_entries(client.call(&connections, &call, Duration::ZERO).await?) };
            return reading.boxed();
        }
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(MAX_BATCHES).arg("BLOCK").arg(millis(BLOCK));
        command.arg("STREAMS").arg(&self.key).arg(&self.cursor);
        let call = Call::plain(self.key.clone(), command);
        async move { read_streams(client.call(&connections, &call, BLOCK).await?) }.boxed()
    }
}

/// Reads the reply to XREAD: the entries of each stream.
fn read_streams(reply: Value) -> Result<Vec<Batch>, BackplaneError> {
    let entries = match reply {
        Value::Nil => return Ok(Vec::new()),
        Value::Array(streams) => match streams.into_iter().next() {
            Some(Value::Array(mut stream)) => stream.pop(),
            _ => None,
        },
        _ => None,
    };
    read_entries(entries.unwrap_or_default())
}

/// Reads the entries of a stream: an id, and a name and a value.
fn read_entries(reply: Value) -> Result<Vec<Batch>, BackplaneError> {
    let read = || {
        let Value::Array(entries) = reply else { return None };
        entries.into_iter().map(read_entry).collect()
    };
    read().ok_or_else(|| unexpected_reply("batches"))
}

fn read_entry(entry: Value) -> Option<Batch> {
    let Value::Array(entry) = entry else { return None };
    let Ok([Value::BulkString(id), Value::Array(mut field)]) = <[Value; 2]>::try_from(entry) else { return None };
    let Some(Value::BulkString(batch)) = field.pop() else { return None };
    Some((String::from_utf8(id).ok()?, batch.into()))
}
