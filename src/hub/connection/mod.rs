//! One peer's future: reads, writes and keeps its timers.

pub(super) mod close_handshake;
#[cfg(feature = "cluster")]
mod connect_gate;
mod deadlines;
pub(super) mod grant;
pub(super) mod peer_guard;
mod rate_limits;
mod writer;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;

use super::close::{Close, DisconnectReason};
use super::limits::Cause;
use super::rooms::frame_queue::FrameQueue;
use super::shared::Shared;
use crate::protocol::{CloseCode, Message, Request, Session};
use crate::transport::{Frame, Transport};
use close_handshake::close_handshake;
#[cfg(feature = "cluster")]
use connect_gate::ConnectGate;
use deadlines::{Deadlines, Due};
use peer_guard::PeerGuard;
use rate_limits::{PeerRateLimiter, Received};
use writer::Writer;

/// The state of a joined peer's future.
///
/// Each poll covers reading, writing and the timers. Therefore the hub still reads from a peer that does not read, and
/// still writes to a peer that does not write.
pub(super) struct Connection<'a, T> {
    transport: Pin<&'a mut T>,
    guard: &'a PeerGuard,
    shared: &'a Shared,
    session: Session,
    rate_limiter: PeerRateLimiter,
    writer: Writer,
    deadlines: Deadlines<'a>,
    #[cfg(feature = "cluster")]
    gate: ConnectGate,
}

impl<T: Transport> Connection<'_, T> {
    /// Serves a joined peer until it disconnects, and returns the reason.
    ///
    /// The peer leaves its room before the close handshake, which can take `close_timeout`.
    pub(super) async fn run(guard: Box<PeerGuard>, mut transport: Pin<&mut T>, shared: &Shared) -> DisconnectReason {
        let config = &shared.config;
        if let Some(close) = guard.outbox().close_reason() {
            // A drain closed the peer as it joined. Its messages no longer count.
            return Box::pin(disconnect(close.into(), guard, transport, shared)).await;
        }
        let reason = {
            let sleep = pin!(sleep(config.heartbeat_interval));
            let mut connection = Connection {
                transport: transport.as_mut(),
                guard: &guard,
                shared,
                session: Session::new(config.max_missed_heartbeats, config.max_members_per_connect),
                rate_limiter: PeerRateLimiter::default(),
                writer: Writer::default(),
                deadlines: Deadlines::start(sleep, config, shared.epoch),
                #[cfg(feature = "cluster")]
                gate: ConnectGate::default(),
            };
            // `Instrument` would enlarge each peer's future by 100 bytes, so the span is entered here.
            poll_fn(|cx| match guard.span().in_scope(|| connection.advance(cx)) {
                Ok(()) => Poll::Pending,
                Err(reason) => Poll::Ready(reason),
            })
            .await
        };
        // Rare and large, so it is not part of every peer's future.
        Box::pin(disconnect(reason, guard, transport, shared)).await
    }

    /// Reads, writes and checks the timers until all of them are pending. Fails when the connection must end.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        let config = &self.shared.config;
        loop {
            let may_read_more = self.read(cx)?;
            let oldest = self.writer.poll(self.transport.as_mut(), self.guard.outbox(), self.shared, cx)?;
            #[cfg(feature = "cluster")]
            if self.gate.is_closed() && self.gate.poll_open(self.guard, self.shared, cx)? {
                // The answer arrived after the read. The outbox may not wake this task again.
                continue;
            }
            self.deadlines.set_oldest_message(oldest.map(|queued_at| self.shared.epoch + queued_at));
            match self.deadlines.poll(self.guard.expires(), cx) {
                Poll::Ready(Due::Heartbeat) => {
                    if self.reads_frames() {
                        self.session.tick().map_err(Close::from)?;
                    }
                    self.shared.metrics.queued(self.guard.outbox().queued().0, self.shared.outbox_budget.reserved());
                    self.writer.queue_heartbeat();
                    self.shared.limit_log.write_due();
                }
                Poll::Ready(Due::Expiry) => {
                    let code = CloseCode::Expired;
                    return Err(Close::by(Cause::ExpiresAt, code, code.reason()).into());
                }
                Poll::Ready(Due::FirstConnect) => {
                    let reason = format!("no connect within {:?}", config.first_connect_timeout);
                    return Err(Close::by(Cause::FirstConnectTimeout, CloseCode::TryAgainLater, reason).into());
                }
                Poll::Ready(Due::OldestMessage) => {
                    let limit = config.outbox_timeout;
                    let reason =
                        format!("oldest message queued for this peer is {limit:?} old; must be read within {limit:?}");
                    return Err(Close::by(Cause::OutboxTimeout, CloseCode::TryAgainLater, reason).into());
                }
                Poll::Pending => {
                    if may_read_more {
                        cx.waker().wake_by_ref();
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Returns whether frames are read at all: not while a `connect` waits for other nodes.
    fn reads_frames(&self) -> bool {
        #[cfg(feature = "cluster")]
        return !self.gate.is_closed();
        #[cfg(not(feature = "cluster"))]
        true
    }

    /// Reads frames until they exhaust the budget of one poll. Returns whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, DisconnectReason> {
        #[cfg(feature = "cluster")]
        if !self.gate.poll_open(self.guard, self.shared, cx)? {
            return Ok(false);
        }
        let mut received = Received::default();
        let may_read_more = self.read_frames(&mut received, cx);
        // Once for all frames, so that the peers of one IP rarely wait for each other. It counts the frames of a peer
        // that disconnects as well.
        let within_limits = received.count(self.guard.ip_slot(), &self.shared.config);
        let may_read_more = may_read_more?;
        within_limits?;
        Ok(may_read_more)
    }

    fn read_frames(&mut self, received: &mut Received, cx: &mut Context<'_>) -> Result<bool, DisconnectReason> {
        let config = &self.shared.config;
        while !received.exhausts_budget() {
            match self.transport.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.payload_len();
                    // Checked before the rates, because an oversized message can also exceed `bytes_per_second`, and
                    // 1009 is more specific.
                    if bytes > config.max_message_bytes {
                        return Err(Close::message_too_big(config).into());
                    }
                    let now = received.add(bytes, || self.shared.clock());
                    self.rate_limiter.count_message(bytes, config, now)?;
                    received.add_ids(self.receive(frame, now)?);
                    if !self.reads_frames() {
                        return Ok(false);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Err(DisconnectReason::from_transport_error(error.into(), config));
                }
                Poll::Ready(None) => return Err(DisconnectReason::ClosedByPeer { code: None }),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Handles a frame. Returns the number of ids that it names, if it is a `connect`.
    fn receive(&mut self, frame: Frame, now: Duration) -> Result<usize, DisconnectReason> {
        let config = &self.shared.config;
        match frame {
            Frame::Binary(bytes) => {
                // One sample for each interval, however many heartbeats the peer sends.
                if bytes == Message::HEARTBEAT && self.session.awaits_heartbeat() {
                    self.shared.metrics.heartbeat(self.deadlines.since_heartbeat());
                }
                let Some(request) = self.session.receive(bytes).map_err(Close::from)? else { return Ok(0) };
                let mut named_ids = 0;
                if let Request::Connect { members, .. } = &request {
                    named_ids = members.len();
                    self.rate_limiter.count_connect(named_ids, config, now)?;
                    self.deadlines.set_connected();
                }
                #[cfg(feature = "cluster")]
                let is_connect = matches!(request, Request::Connect { .. });
                self.guard.handle(request, now);
                #[cfg(feature = "cluster")]
                if is_connect {
                    self.gate.close(self.guard, self.shared);
                }
                Ok(named_ids)
            }
            Frame::Text(_) => Err(Close::new(CloseCode::Message, "text message; must be binary").into()),
            Frame::Ping(bytes) => {
                self.writer.count_pong(bytes.len(), now);
                Ok(0)
            }
            Frame::Pong(_) => Ok(0),
            Frame::Close(frame) => Err(DisconnectReason::ClosedByPeer { code: frame.map(|frame| frame.code) }),
        }
    }
}

/// Removes a peer from its room, and then completes the close handshake.
async fn disconnect<T: Transport>(
    reason: DisconnectReason,
    guard: Box<PeerGuard>,
    transport: Pin<&mut T>,
    shared: &Shared,
) -> DisconnectReason {
    let outbox = guard.leave(reason.clone());
    let mut queued = FrameQueue::default();
    outbox.take_remaining(&mut queued);
    // The outbox is dropped after the close handshake, because its reservation covers the frames.
    close_handshake(&reason, transport, queued, &shared.config).await;
    drop(outbox);
    reason
}
