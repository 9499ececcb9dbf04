//! One peer's task: it reads, writes and keeps time.

pub(super) mod close_handshake;
mod deadlines;
pub(super) mod peer_guard;
mod rate_limits;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio::time::{sleep, timeout};

use super::close::{Close, DisconnectReason};
use super::limits::Cause;
use super::limits::config::Config;
use super::rooms::outbox::Outbox;
use super::shared::Shared;
use crate::protocol::{CloseCode, Message, Request, Session};
use crate::transport::{Frame, Transport, TransportError};
use close_handshake::close_handshake;
use deadlines::{Deadlines, Due};
use peer_guard::PeerGuard;
use rate_limits::PeerRateLimiter;

/// How many frames are read before the task writes and lets others run.
const READ_BUDGET: usize = 64;

/// What the task works with. Reading, writing and timers are polled side by side, so that a peer that does not read
/// is still heard, and one that does not write is still written to.
pub(in crate::hub) struct Connection<'a, T> {
    transport: Pin<&'a mut T>,
    guard: &'a PeerGuard,
    session: Session,
    rate_limits: PeerRateLimiter,
    shared: &'a Shared,
    deadlines: Deadlines<'a>,
    /// Taken from the outbox and not yet written.
    batch: &'a mut VecDeque<Bytes>,
    /// Something was written since the last flush.
    unflushed: bool,
    /// The socket took a message this time.
    progress: bool,
    /// Since the last heartbeat was due the socket has taken nothing else, and that one is not flushed yet. Another one
    /// would pass for progress.
    heartbeat_waits: bool,
}

/// Why reading and writing stopped.
enum Exit {
    /// The peer said goodbye, or went without.
    Left(Option<u16>),
    /// The peer has to go.
    Close(Close),
    /// The socket failed.
    Lost(Arc<TransportError>),
}

impl<T: Transport> Connection<'_, T> {
    /// Runs until the peer is gone or has to go. The seat is given up before the goodbye, which may take a while.
    pub(in crate::hub) async fn run(
        mut guard: Box<PeerGuard>,
        mut transport: Pin<&mut T>,
        shared: &Shared,
    ) -> DisconnectReason {
        let config = &shared.config;
        let mut batch = VecDeque::new();
        let exit = {
            let sleep = pin!(sleep(config.heartbeat_interval));
            let mut connection = Connection {
                transport: transport.as_mut(),
                guard: &guard,
                session: Session::new(config.max_missed_heartbeats, config.max_members_per_connect),
                rate_limits: PeerRateLimiter::default(),
                shared,
                deadlines: Deadlines::start(sleep, config, shared.epoch),
                batch: &mut batch,
                unflushed: false,
                progress: false,
                heartbeat_waits: false,
            };
            // The span is entered here and not by `Instrument`, which would make each peer's future larger by 100 bytes.
            poll_fn(|cx| match guard.span().in_scope(|| connection.advance(cx)) {
                Ok(()) => Poll::Pending,
                Err(exit) => Poll::Ready(exit),
            })
            .await
        };
        let outbox = guard.outbox().clone();
        if let Exit::Close(close) = &exit {
            shared.record_close(close);
        }
        guard.set_reason(exit.reason());
        drop(guard);
        // Rare and large, so not part of every peer's future.
        Box::pin(exit.finish(transport, batch, &outbox, shared)).await
    }

    /// Does all that can be done now.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), Exit> {
        loop {
            let more = self.read(cx)?;
            self.progress = false;
            let stalled = self.write(cx)?;
            self.deadlines.writing(stalled, self.progress);
            match self.deadlines.poll(cx) {
                Poll::Ready(Due::Heartbeat) => {
                    self.session.tick()?;
                    self.shared.metrics.queued(self.batch.len() + self.guard.outbox().queued().0);
                    if !std::mem::replace(&mut self.heartbeat_waits, true) {
                        self.batch.push_back(Message::HEARTBEAT);
                    }
                }
                Poll::Ready(Due::Connect) => {
                    let reason = format!("no connect within {:?}", self.shared.config.first_connect_timeout);
                    return Err(Exit::Close(Close::by(Cause::FirstConnectTimeout, CloseCode::Policy, reason)));
                }
                Poll::Ready(Due::Write) => {
                    let reason = format!("no write progress for {:?}", self.shared.config.outbox_timeout);
                    return Err(Exit::Close(Close::by(Cause::OutboxTimeout, CloseCode::TryAgainLater, reason)));
                }
                Poll::Pending => {
                    if more {
                        cx.waker().wake_by_ref();
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Reads what has come, and says whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Exit> {
        let mut now = None;
        for _ in 0..READ_BUDGET {
            match self.transport.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let now = *now.get_or_insert_with(|| self.shared.clock());
                    self.rate_limits.take_message(frame.payload_len(), &self.shared.config, now)?;
                    self.receive(frame, now)?;
                }
                Poll::Ready(Some(Err(error))) => return Err(Exit::failed(error, &self.shared.config)),
                Poll::Ready(None) => return Err(Exit::Left(None)),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    fn receive(&mut self, frame: Frame, now: Duration) -> Result<(), Exit> {
        match frame {
            Frame::Binary(bytes) if bytes.len() > self.shared.config.max_message_bytes => {
                Err(self.shared.config.too_big().into())
            }
            Frame::Binary(bytes) => {
                if bytes == Message::HEARTBEAT {
                    self.shared.metrics.heartbeat(self.deadlines.since_heartbeat());
                }
                if let Some(request) = self.session.receive(bytes)? {
                    if matches!(request, Request::Connect { .. }) {
                        self.rate_limits.take_connect(&self.shared.config, now)?;
                        self.deadlines.connected();
                    }
                    self.guard.request(request, now);
                }
                Ok(())
            }
            Frame::Text(_) => Err(Close::new(CloseCode::Message, "a text message; messages have to be binary").into()),
            // The transport answers.
            Frame::Ping(_) | Frame::Pong(_) => Ok(()),
            Frame::Close(frame) => Err(Exit::Left(frame.map(|frame| frame.code))),
        }
    }

    /// Writes what waits: feeds all of it, then flushes once. Says whether the socket holds it up.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Exit> {
        let stalled = self.feed(cx)?;
        if stalled && let Poll::Ready(closing) = self.guard.outbox().poll_closed(cx) {
            return Err(closing.into());
        }
        Ok(stalled)
    }

    fn feed(&mut self, cx: &mut Context<'_>) -> Result<bool, Exit> {
        let failed = |error| Exit::failed(error, &self.shared.config);
        loop {
            if self.batch.is_empty() {
                match self.guard.outbox().poll_take(self.batch, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(closing)) => return Err(closing.into()),
                    Poll::Pending => break,
                }
            }
            while !self.batch.is_empty() {
                if self.transport.as_mut().poll_ready(cx).map_err(failed)?.is_pending() {
                    return Ok(true);
                }
                if let Some(bytes) = self.batch.pop_front() {
                    self.heartbeat_waits &= bytes == Message::HEARTBEAT;
                    self.transport.as_mut().start_send(Frame::Binary(bytes)).map_err(failed)?;
                    self.unflushed = true;
                    self.progress = true;
                }
            }
        }
        if self.unflushed {
            self.unflushed = self.transport.as_mut().poll_flush(cx).map_err(failed)?.is_pending();
            self.heartbeat_waits &= self.unflushed;
        }
        Ok(self.unflushed)
    }
}

impl Exit {
    fn reason(&self) -> DisconnectReason {
        match self {
            Self::Left(code) => DisconnectReason::ClosedByPeer { code: *code },
            Self::Lost(error) => DisconnectReason::ConnectionLost(error.clone()),
            Self::Close(close) => close.into(),
        }
    }

    fn failed(error: impl Into<TransportError>, config: &Config) -> Self {
        match error.into() {
            TransportError::MessageTooBig(_) => config.too_big().into(),
            TransportError::TooManyFrames => PeerRateLimiter::too_many_messages(config).into(),
            TransportError::Malformed(_) => Close::from(CloseCode::ProtocolError).into(),
            error @ TransportError::ConnectionLost(_) => Self::Lost(Arc::new(error)),
        }
    }

    async fn finish<T: Transport>(
        self,
        mut transport: Pin<&mut T>,
        mut queued: VecDeque<Bytes>,
        outbox: &Arc<Outbox>,
        shared: &Shared,
    ) -> DisconnectReason {
        match self {
            Self::Close(close) => {
                outbox.drain(&mut queued);
                close_handshake(close, transport, queued, &shared.config).await
            }
            Self::Lost(error) => DisconnectReason::ConnectionLost(error),
            Self::Left(code) => {
                // The transport answers the peer's close frame. If it cannot, the connection is over all the same.
                let _: Result<Result<(), T::Err>, _> = timeout(shared.config.close_timeout, transport.close()).await;
                DisconnectReason::ClosedByPeer { code }
            }
        }
    }
}

impl Config {
    fn too_big(&self) -> Close {
        let reason = format!("a message over {} bytes", self.max_message_bytes);
        Close::by(Cause::MaxMessageBytes, CloseCode::TooBig, reason)
    }
}

impl<C: Into<Close>> From<C> for Exit {
    fn from(closing: C) -> Self {
        Self::Close(closing.into())
    }
}
