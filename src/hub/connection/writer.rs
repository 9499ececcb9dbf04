//! Writes one peer's outbox and heartbeats to its transport.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::hub::close::DisconnectReason;
use crate::hub::limits::config::Config;
use crate::hub::rooms::outbox::Outbox;
use crate::protocol::Message;
use crate::transport::{Frame, Transport};

/// The frames between a peer's outbox and its transport.
///
/// A heartbeat is a flag and not a frame of the batch, so it overtakes the frames that a slow peer has not read yet.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Frames that were taken from the outbox and that the transport has not accepted.
    batch: VecDeque<Bytes>,
    heartbeat_due: bool,
    state: State,
    /// The result of the last poll. The outbox is writable while it is false.
    stalled: bool,
}

/// What the transport did with the frames that it accepted.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// It flushed all of them.
    #[default]
    Flushed,
    /// It has not flushed all of them.
    Unflushed,
    /// It has not flushed all of them, and the last one is a heartbeat.
    UnflushedHeartbeat,
}

/// The result of [`Writer::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The transport does not accept, or has not flushed, all frames. It wakes the task when it can continue.
    pub(super) stalled: bool,
    /// The transport accepted a frame.
    pub(super) progressed: bool,
}

impl Writer {
    /// Writes a heartbeat in the next poll.
    ///
    /// Does nothing while the last heartbeat is unflushed and no other frame followed it. Otherwise a transport that
    /// accepts heartbeats and never flushes them would seem to make progress.
    pub(super) fn queue_heartbeat(&mut self) {
        self.heartbeat_due |= self.state != State::UnflushedHeartbeat;
    }

    /// Returns the number of frames taken from the outbox that the transport has not accepted.
    pub(super) fn queued(&self) -> usize {
        self.batch.len()
    }

    /// Writes until nothing is left or the transport stalls. Flushes once, after the last frame.
    ///
    /// Fails if the outbox is closed or the transport fails. A stalled transport does not delay a close.
    pub(super) fn poll<T: Transport>(
        &mut self,
        mut transport: Pin<&mut T>,
        outbox: &Outbox,
        config: &Config,
        cx: &mut Context<'_>,
    ) -> Result<Progress, DisconnectReason> {
        let failed = |error: T::Err| DisconnectReason::from_transport_error(error.into(), config);
        let mut progressed = false;
        loop {
            while self.fill(outbox, cx)? {
                if transport.as_mut().poll_ready(cx).map_err(failed)?.is_pending() {
                    return self.stall(outbox, progressed, cx);
                }
                if let Some(bytes) = self.next() {
                    transport.as_mut().start_send(Frame::Binary(bytes)).map_err(failed)?;
                    progressed = true;
                }
            }
            if self.state != State::Flushed {
                if transport.as_mut().poll_flush(cx).map_err(failed)?.is_pending() {
                    return self.stall(outbox, progressed, cx);
                }
                self.state = State::Flushed;
            }
            if !self.stalled {
                return Ok(Progress { stalled: false, progressed });
            }
            // Pushes did not wake the task while the outbox was not writable, so look for them.
            self.stalled = false;
            outbox.set_writable(true);
        }
    }

    /// Returns the frames that the close handshake must write.
    pub(super) fn into_batch(self) -> VecDeque<Bytes> {
        self.batch
    }

    /// Takes a batch from the outbox if nothing else is left to write. Returns whether there is anything to write.
    fn fill(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Result<bool, DisconnectReason> {
        if self.heartbeat_due || !self.batch.is_empty() {
            return Ok(true);
        }
        match outbox.poll_take(&mut self.batch, cx) {
            Poll::Ready(taken) => Ok(taken.map(|()| true)?),
            Poll::Pending => Ok(false),
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        if std::mem::take(&mut self.heartbeat_due) {
            self.state = State::UnflushedHeartbeat;
            return Some(Message::HEARTBEAT);
        }
        self.state = State::Unflushed;
        self.batch.pop_front()
    }

    fn stall(&mut self, outbox: &Outbox, progressed: bool, cx: &mut Context<'_>) -> Result<Progress, DisconnectReason> {
        if !self.stalled {
            self.stalled = true;
            outbox.set_writable(false);
        }
        match outbox.poll_closed(cx) {
            Poll::Ready(close) => Err(close.into()),
            Poll::Pending => Ok(Progress { stalled: true, progressed }),
        }
    }
}

#[cfg(all(test, shuttle))]
mod interleavings {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::task::Waker;

    use futures::{Sink, Stream};
    use shuttle::future::block_on;
    use shuttle::{check_pct, check_random, thread};

    use super::*;
    use crate::hub::sync::Mutex;
    use crate::transport::TransportError;

    /// A transport that accepts no frame until another thread makes room.
    #[derive(Clone, Default)]
    struct Stalled(Arc<Mutex<Buffer>>);

    #[derive(Default)]
    struct Buffer {
        has_room: bool,
        waker: Option<Waker>,
        written: Vec<Frame>,
    }

    impl Stalled {
        fn make_room(&self) {
            let mut buffer = self.0.lock().expect("nothing panics under this lock");
            buffer.has_room = true;
            let waker = buffer.waker.take();
            drop(buffer);
            waker.inspect(Waker::wake_by_ref);
        }

        fn written(&self) -> usize {
            self.0.lock().expect("nothing panics under this lock").written.len()
        }
    }

    impl Stream for Stalled {
        type Item = Result<Frame, TransportError>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Pending
        }
    }

    impl Sink<Frame> for Stalled {
        type Error = TransportError;

        fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
            let mut buffer = self.0.lock().expect("nothing panics under this lock");
            if buffer.has_room {
                return Poll::Ready(Ok(()));
            }
            buffer.waker = Some(cx.waker().clone());
            Poll::Pending
        }

        fn start_send(self: Pin<&mut Self>, frame: Frame) -> Result<(), TransportError> {
            self.0.lock().expect("nothing panics under this lock").written.push(frame);
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn frames_pushed_while_the_transport_stalls_are_written_when_it_has_room() {
        // Too many schedules to try all of them.
        let run = || {
            let (outbox, transport) = (Arc::new(Outbox::default()), Stalled::default());
            outbox.push("first".into(), &Config::default());
            let pushing = outbox.clone();
            thread::spawn(move || pushing.push("second".into(), &Config::default()));
            let opening = transport.clone();
            thread::spawn(move || opening.make_room());

            let (mut writer, mut writes, config) = (Writer::default(), transport.clone(), Config::default());
            // A lost wake-up is a deadlock, which shuttle reports.
            block_on(poll_fn(|cx| {
                writer.poll(Pin::new(&mut writes), &outbox, &config, cx).expect("the peer is not closed");
                if transport.written() == 2 { Poll::Ready(()) } else { Poll::Pending }
            }));
        };
        check_random(run, 4000);
        check_pct(run, 4000, 3);
    }
}
