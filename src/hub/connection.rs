//! One peer's task: it reads, writes and keeps time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio::time::{sleep, timeout};

use super::allowance::Allowance;
use super::closing::Closing;
use super::deadlines::{Deadlines, Due};
use super::outbox::Outbox;
use super::{Departure, Ending, Guard, Limits, Seat, Shared};
use crate::protocol::{CloseCode, Message, Request, Session};
use crate::transport::{Frame, Transport, TransportError};

/// How many frames are read before the task writes and lets others run.
const READ_BUDGET: usize = 64;

/// What the task works with. Reading, writing and timers are polled side by side, so that a peer that does not read
/// is still heard, and one that does not write is still written to.
pub(super) struct Connection<'a, T> {
    transport: Pin<&'a mut T>,
    seat: &'a Seat,
    session: Session,
    allowance: Allowance,
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
enum Stop {
    /// The peer said goodbye, or went without.
    Left(Option<u16>),
    /// The peer has to go.
    Close(Closing),
    /// The socket failed.
    Lost(TransportError),
}

impl<T: Transport> Connection<'_, T> {
    /// Runs until the peer is gone or has to go. The seat is given up before the goodbye, which may take a while.
    pub(super) async fn run(mut seat: Box<Seat>, mut transport: Pin<&mut T>, shared: &Shared) -> Ending {
        let limits = &shared.limits;
        let mut batch = VecDeque::new();
        let stop = {
            let sleep = pin!(sleep(limits.heartbeat));
            let mut connection = Connection {
                transport: transport.as_mut(),
                seat: &seat,
                session: Session::new(limits.missed_heartbeats, limits.max_members_named),
                allowance: Allowance::default(),
                shared,
                deadlines: Deadlines::start(sleep, limits, shared.epoch),
                batch: &mut batch,
                unflushed: false,
                progress: false,
                heartbeat_waits: false,
            };
            // The span is entered here and not by `Instrument`, which would make each peer's future larger by 100 bytes.
            poll_fn(|cx| match seat.span().in_scope(|| connection.advance(cx)) {
                Ok(()) => Poll::Pending,
                Err(stop) => Poll::Ready(stop),
            })
            .await
        };
        let outbox = seat.outbox().clone();
        seat.departs(stop.departure());
        drop(seat);
        // Rare and large, so not part of every peer's future.
        Box::pin(stop.carry_out(transport, batch, &outbox, shared)).await
    }

    /// Does all that can be done now.
    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), Stop> {
        loop {
            let more = self.read(cx)?;
            self.progress = false;
            let stalled = self.write(cx)?;
            self.deadlines.writing(stalled, self.progress);
            match self.deadlines.poll(cx) {
                Poll::Ready(Due::Heartbeat) => {
                    self.session.tick()?;
                    self.shared.meters.waits(self.batch.len() + self.seat.outbox().waiting().0);
                    if !std::mem::replace(&mut self.heartbeat_waits, true) {
                        self.batch.push_back(Message::HEARTBEAT);
                    }
                }
                Poll::Ready(Due::Connect) => {
                    let reason = format!("no connect within {:?}", self.shared.limits.connect_within);
                    return Err(Stop::Close(Closing::by(Guard::ConnectWithin, CloseCode::Policy, reason)));
                }
                Poll::Ready(Due::Write) => {
                    let reason = format!("took nothing for {:?}", self.shared.limits.write_within);
                    return Err(Stop::Close(Closing::by(Guard::WriteWithin, CloseCode::TryAgainLater, reason)));
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
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut now = None;
        for _ in 0..READ_BUDGET {
            match self.transport.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let now = *now.get_or_insert_with(|| self.shared.clock());
                    self.allowance.take_message(frame.payload_len(), &self.shared.limits, now)?;
                    self.receive(frame, now)?;
                }
                Poll::Ready(Some(Err(error))) => return Err(Stop::failed(error, &self.shared.limits)),
                Poll::Ready(None) => return Err(Stop::Left(None)),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    fn receive(&mut self, frame: Frame, now: Duration) -> Result<(), Stop> {
        match frame {
            Frame::Binary(bytes) if bytes.len() > self.shared.limits.max_message_bytes => {
                Err(self.shared.limits.too_big().into())
            }
            Frame::Binary(bytes) => {
                if bytes == Message::HEARTBEAT {
                    self.shared.meters.heartbeat(self.deadlines.since_heartbeat());
                }
                if let Some(request) = self.session.receive(bytes)? {
                    if matches!(request, Request::Connect { .. }) {
                        self.allowance.take_connect(&self.shared.limits, now)?;
                        self.deadlines.connected();
                    }
                    self.seat.request(request, now);
                }
                Ok(())
            }
            Frame::Text(_) => {
                Err(Closing::new(CloseCode::Message, "a text message; messages have to be binary").into())
            }
            // The transport answers.
            Frame::Ping(_) | Frame::Pong(_) => Ok(()),
            Frame::Close(frame) => Err(Stop::Left(frame.map(|frame| frame.code))),
        }
    }

    /// Writes what waits: feeds all of it, then flushes once. Says whether the socket holds it up.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let stalled = self.feed(cx)?;
        if stalled && let Poll::Ready(closing) = self.seat.outbox().poll_closed(cx) {
            return Err(closing.into());
        }
        Ok(stalled)
    }

    fn feed(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let failed = |error| Stop::failed(error, &self.shared.limits);
        loop {
            if self.batch.is_empty() {
                match self.seat.outbox().poll_take(self.batch, cx) {
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

impl Stop {
    fn departure(&self) -> Departure {
        match self {
            Self::Left(code) => Departure::Left(*code),
            Self::Lost(_) => Departure::Lost,
            Self::Close(closing) => Departure::Closed(closing.code()),
        }
    }

    fn failed(error: impl Into<TransportError>, limits: &Limits) -> Self {
        match error.into() {
            TransportError::TooBig(_) => limits.too_big().into(),
            TransportError::Flooded => Allowance::too_many_messages(limits).into(),
            TransportError::Malformed(_) => Closing::from(CloseCode::ProtocolError).into(),
            error @ TransportError::Lost(_) => Self::Lost(error),
        }
    }

    async fn carry_out<T: Transport>(
        self,
        mut transport: Pin<&mut T>,
        mut rest: VecDeque<Bytes>,
        outbox: &Arc<Outbox>,
        shared: &Shared,
    ) -> Ending {
        let limits = &shared.limits;
        let closing = match self {
            Self::Close(closing) => closing,
            Self::Lost(error) => return Ending::Lost(error),
            Self::Left(code) => {
                // The transport answers the peer's goodbye. If it cannot, the peer is gone all the same.
                let _: Result<Result<(), T::Fault>, _> = timeout(limits.close_within, transport.close()).await;
                return Ending::Left { code };
            }
        };
        outbox.drain(&mut rest);
        closing.carry_out(transport, rest, shared).await
    }
}

impl Limits {
    fn too_big(&self) -> Closing {
        let reason = format!("a message over {} bytes", self.max_message_bytes);
        Closing::by(Guard::MaxMessageBytes, CloseCode::TooBig, reason)
    }
}

impl<C: Into<Closing>> From<C> for Stop {
    fn from(closing: C) -> Self {
        Self::Close(closing.into())
    }
}
