//! Writes one peer's outbox and heartbeats to its transport.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::hub::close::DisconnectReason;
use crate::hub::rooms::frame_queue::{FRAME_OVERHEAD, FrameQueue};
use crate::hub::rooms::outbox::Outbox;
use crate::hub::rooms::outbox_budget::FREE_BYTES;
use crate::hub::shared::Shared;
use crate::protocol::Message;
use crate::transport::{Frame, Transport};

/// The bytes that a transport accepts before the writer flushes it. The outbox counts them until then. The offers and
/// candidates of a call take less, so they cost one flush.
const FLUSH_BYTES: usize = 32 * 1024;

/// The frames between a peer's outbox and its transport.
///
/// A heartbeat is a flag and not a frame of the batch, so it overtakes the frames that a slow peer has not read yet.
/// The writer passes frames to the transport only after the transport has flushed those of the previous poll. Therefore
/// the age of the frames that the transport holds is known.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Frames that were taken from the outbox. Empty between polls.
    batch: FrameQueue,
    heartbeat_due: bool,
    /// The bytes that the transport accepted since it was last flushed.
    unflushed: usize,
    /// When the first of them were queued, on the hub's clock.
    unflushed_since: Duration,
}

impl Writer {
    /// Writes a heartbeat in the next poll in which the transport has flushed.
    pub(super) fn queue_heartbeat(&mut self) {
        self.heartbeat_due = true;
    }

    /// Counts a pong, with which the transport answers a ping. Otherwise a peer that reads nothing could fill the
    /// transport with pongs.
    pub(super) fn count_pong(&mut self, bytes: usize, now: Duration) {
        self.count_unflushed(bytes, now);
    }

    /// Writes until nothing is left or the transport stalls. Flushes after the last frame, or after [`FLUSH_BYTES`].
    ///
    /// If the transport stalls, returns the time at which the oldest unwritten frame was queued. The transport wakes
    /// the task when it can continue. Fails if the outbox is closed or the transport fails. A stalled transport does
    /// not delay a close.
    pub(super) fn poll<T: Transport>(
        &mut self,
        mut transport: Pin<&mut T>,
        outbox: &Outbox,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Result<Option<Duration>, DisconnectReason> {
        let failed = |error: T::Err| DisconnectReason::from_transport_error(error.into(), &shared.config);
        if self.unflushed > 0 && !self.flush(transport.as_mut(), cx).map_err(failed)? {
            return self.stall(outbox, shared, cx);
        }
        loop {
            if self.fill(outbox, cx)? {
                if transport.as_mut().poll_ready(cx).map_err(failed)?.is_pending() {
                    return self.stall(outbox, shared, cx);
                }
                transport.as_mut().start_send(self.next(shared)).map_err(failed)?;
                if self.unflushed < FLUSH_BYTES {
                    continue;
                }
            }
            let unflushed = self.unflushed;
            if unflushed > 0 && !self.flush(transport.as_mut(), cx).map_err(failed)? {
                return self.stall(outbox, shared, cx);
            }
            // The outbox counts flushed bytes above `FREE_BYTES` until the next `poll_take`, so call it again.
            if unflushed <= FREE_BYTES {
                return Ok(None);
            }
        }
    }

    /// Returns whether the transport has flushed all frames.
    fn flush<T: Transport>(&mut self, transport: Pin<&mut T>, cx: &mut Context<'_>) -> Result<bool, T::Err> {
        let flushed = transport.poll_flush(cx)?.is_ready();
        if flushed {
            self.unflushed = 0;
        }
        Ok(flushed)
    }

    /// Takes a batch from the outbox if nothing else is left to write. Returns whether there is anything to write.
    fn fill(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Result<bool, DisconnectReason> {
        if self.heartbeat_due || !self.batch.is_empty() {
            return Ok(true);
        }
        match outbox.poll_take(&mut self.batch, self.unflushed, cx) {
            Poll::Ready(taken) => Ok(taken.map(|()| true)?),
            Poll::Pending => Ok(false),
        }
    }

    fn next(&mut self, shared: &Shared) -> Frame {
        let (bytes, queued_at) = if std::mem::take(&mut self.heartbeat_due) {
            (Message::HEARTBEAT, shared.clock())
        } else {
            let frame = self.batch.pop().expect("the batch was filled");
            let queued_at = frame.queued_at();
            (frame.bytes, queued_at)
        };
        self.count_unflushed(bytes.len(), queued_at);
        Frame::Binary(bytes)
    }

    fn count_unflushed(&mut self, bytes: usize, queued_at: Duration) {
        if self.unflushed == 0 {
            self.unflushed_since = queued_at;
        }
        self.unflushed += bytes + FRAME_OVERHEAD;
    }

    /// Returns the rest of the batch to the outbox.
    fn stall(
        &mut self,
        outbox: &Outbox,
        shared: &Shared,
        cx: &mut Context<'_>,
    ) -> Result<Option<Duration>, DisconnectReason> {
        let in_flight = (self.unflushed > 0).then_some((self.unflushed, self.unflushed_since));
        Ok(outbox.stall(&mut self.batch, in_flight, &shared.config, cx)?)
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
    use crate::hub::limits::config::Config;
    use crate::hub::rooms::frame_queue::QueuedFrame;
    use crate::hub::shared::SignalingHub;
    use crate::hub::sync::Mutex;
    use crate::protocol::PeerId;
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

    fn push(outbox: &Outbox, frame: &'static str) {
        let frame = QueuedFrame::new(frame.into(), PeerId(0), Duration::ZERO);
        outbox.push(frame, &Config::default()).expect("the outbox is not full");
    }

    #[test]
    fn frames_pushed_while_the_transport_stalls_are_written_when_it_has_room() {
        // Too many schedules to try all of them.
        let run = || {
            let (hub, transport) = (SignalingHub::new(), Stalled::default());
            let outbox = Outbox::new(Arc::default());
            push(&outbox, "first");

            let pushing = outbox.clone();
            thread::spawn(move || push(&pushing, "second"));
            let opening = transport.clone();
            thread::spawn(move || opening.make_room());

            let (mut writer, mut writes) = (Writer::default(), transport.clone());
            // A lost wake-up is a deadlock, which shuttle reports.
            block_on(poll_fn(|cx| {
                writer.poll(Pin::new(&mut writes), &outbox, &hub.shared, cx).expect("the peer is not closed");
                if transport.written() == 2 { Poll::Ready(()) } else { Poll::Pending }
            }));
        };
        check_random(run, 4000);
        check_pct(run, 4000, 3);
    }
}
