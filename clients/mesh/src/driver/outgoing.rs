//! Messages of the app on their way to peers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::engine::{Engine, Written};
use crate::error::SendError;
use crate::mesh::{ConnectionId, PIECE_BYTES, Pieces};
use crate::payload::Payload;

/// Further messages wait in `Group::send`.
const MAX_DELIVERIES: usize = 256;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// A connection that accepts no piece for this long is closed: the other side does not read.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A message for some peers.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) to: Option<u32>,
    pub(crate) channel: Option<Arc<str>>,
    pub(crate) payload: Payload,
    pub(crate) reply: oneshot::Sender<Result<usize, SendError>>,
}

#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    deliveries: HashMap<u64, Delivery>,
    next: u64,
    /// The bytes of all deliveries, each counted once.
    bytes: usize,
    queues: HashMap<ConnectionId, Queues>,
}

#[derive(Debug)]
struct Delivery {
    payload: Arc<Payload>,
    pending: usize,
    accepted: usize,
    reply: Option<oneshot::Sender<Result<usize, SendError>>>,
}

/// What waits for one peer.
#[derive(Debug, Default)]
struct Queues {
    channels: HashMap<Option<Arc<str>>, VecDeque<Transfer>>,
    /// When the connection accepted the last piece, or the oldest one began to wait.
    progress: Option<Instant>,
}

#[derive(Debug)]
struct Transfer {
    delivery: u64,
    payload: Arc<Payload>,
    position: usize,
}

impl Outgoing {
    /// Whether there is room for another message.
    pub(crate) fn has_room(&self) -> bool {
        self.deliveries.len() < MAX_DELIVERIES && self.bytes < MAX_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub(crate) fn send(&mut self, request: Request, connections: Vec<ConnectionId>, now: Instant) {
        let Request { channel, payload, reply, .. } = request;
        if connections.is_empty() {
            return answer(reply, 0);
        }
        let payload = Arc::new(payload);
        self.bytes += payload.len();
        let id = self.next;
        self.next += 1;
        for &connection in &connections {
            let queues = self.queues.entry(connection).or_default();
            queues.progress.get_or_insert(now);
            let transfer = Transfer { delivery: id, payload: payload.clone(), position: 0 };
            queues.channels.entry(channel.clone()).or_default().push_back(transfer);
        }
        let delivery = Delivery { payload, pending: connections.len(), accepted: 0, reply: Some(reply) };
        self.deliveries.insert(id, delivery);
    }

    /// Writes as many pieces as the connection accepts.
    pub(crate) fn write(&mut self, connection: ConnectionId, engine: &mut Engine, now: Instant) {
        let Some(queues) = self.queues.get_mut(&connection) else { return };
        let mut finished = Vec::new();
        for (channel, transfers) in &mut queues.channels {
            while let Some(transfer) = transfers.front_mut() {
                match transfer.write(channel.as_ref(), engine) {
                    Written::Accepted => {
                        queues.progress = Some(now);
                        if !transfer.is_complete() {
                            continue;
                        }
                        finished.push((transfer.delivery, true));
                    }
                    Written::Never => finished.push((transfer.delivery, false)),
                    Written::Later => break,
                }
                transfers.pop_front();
            }
        }
        queues.channels.retain(|_, transfers| !transfers.is_empty());
        if queues.channels.is_empty() {
            self.queues.remove(&connection);
        }
        for (delivery, accepted) in finished {
            self.finish(delivery, accepted);
        }
    }

    /// The connection is closed: what waits for it is not delivered.
    pub(crate) fn remove(&mut self, connection: ConnectionId) {
        let queues = self.queues.remove(&connection).unwrap_or_default();
        for transfer in queues.channels.into_values().flatten() {
            self.finish(transfer.delivery, false);
        }
    }

    /// The connections that something waits for.
    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        self.queues.keys().copied().collect()
    }

    /// The connections that accept nothing any longer.
    pub(crate) fn stalled(&self, now: Instant) -> Vec<ConnectionId> {
        let is_stalled = |queues: &Queues| queues.progress.is_some_and(|since| now >= since + STALL_TIMEOUT);
        self.queues.iter().filter(|(_, queues)| is_stalled(queues)).map(|(&id, _)| id).collect()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.queues.values().filter_map(|queues| Some(queues.progress? + STALL_TIMEOUT)).min()
    }

    fn finish(&mut self, id: u64, accepted: bool) {
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        delivery.pending -= 1;
        delivery.accepted += usize::from(accepted);
        if delivery.pending > 0 {
            return;
        }
        self.bytes -= delivery.payload.len();
        if let Some(reply) = delivery.reply.take() {
            answer(reply, delivery.accepted);
        }
        self.deliveries.remove(&id);
    }
}

impl Transfer {
    fn write(&mut self, channel: Option<&Arc<str>>, engine: &mut Engine) -> Written {
        let fits = self.payload.len() <= PIECE_BYTES;
        let Some(piece) = Pieces::starting_at(&self.payload, self.position).next() else { return Written::Never };
        let written = engine.write_data(channel, &piece, fits);
        if written == Written::Accepted {
            // Past the end after the last piece, also of an empty message.
            self.position += PIECE_BYTES;
        }
        written
    }

    fn is_complete(&self) -> bool {
        self.position >= self.payload.len().max(1)
    }
}

fn answer(reply: oneshot::Sender<Result<usize, SendError>>, accepted: usize) {
    // The app may have dropped the future. The message is sent nevertheless.
    let _: Result<(), Result<usize, SendError>> = reply.send(Ok(accepted));
}
