//! Sends the events of a hub to their readers.

use std::mem::{replace, take};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::TryRecvError};

use super::events::HubEvent;
use crate::hub::isolate::isolate;
use crate::hub::sync::switch_point;

/// Sends events to all readers. Costs nothing until the first reader subscribes.
///
/// Sending has two steps, because a reader's waker and the values in an event are code of the app: [`EventBus::push`]
/// may be called under a lock, which fixes the order of events, and [`EventBus::wake_readers`] must not.
#[derive(Debug, Default)]
pub(in crate::hub) struct EventBus {
    sender: OnceLock<broadcast::Sender<QueuedEvent>>,
    /// Readers wait here and not in the channel, whose `send` would wake them.
    pushed: Arc<Notify>,
    discarded: Discarded,
}

impl EventBus {
    /// Sends an event to the current readers. Never waits, and creates the event only if there is a reader.
    pub(in crate::hub) fn emit(&self, event: impl FnOnce() -> HubEvent) {
        self.push(event);
        self.wake_readers();
    }

    /// Queues an event for the current readers without waking them. Runs no code of the app.
    pub(in crate::hub) fn push(&self, event: impl FnOnce() -> HubEvent) {
        switch_point();
        if let Some(sender) = self.sender.get().filter(|sender| sender.receiver_count() > 0) {
            // Fails only if the last reader has unsubscribed in the meantime. Then nothing needs the event.
            let _ = sender.send(QueuedEvent { event: event(), discarded: self.discarded.list.clone() });
        }
    }

    /// Wakes the readers after [`EventBus::push`], and drops events that no reader needs. The caller must hold no lock.
    pub(in crate::hub) fn wake_readers(&self) {
        if self.sender.get().is_some() {
            self.pushed.notify_waiters();
            self.discarded.empty();
        }
    }

    pub(in crate::hub) fn subscribe(&self, capacity: usize) -> impl Stream<Item = HubEvent> + Send + Unpin + use<> {
        let sender = self.sender.get_or_init(|| broadcast::Sender::new(capacity));
        let discarded = Discarded { list: self.discarded.list.clone() };
        let reader = Reader { receiver: sender.subscribe(), pushed: self.pushed.clone(), discarded };
        Box::pin(unfold(reader, |mut reader| async {
            let event = reader.next().await?;
            Some((event, reader))
        }))
    }
}

impl Drop for EventBus {
    /// Ends the streams of the readers.
    fn drop(&mut self) {
        self.sender.take();
        self.pushed.notify_waiters();
    }
}

struct Reader {
    receiver: broadcast::Receiver<QueuedEvent>,
    pushed: Arc<Notify>,
    /// Dropped after the receiver, which discards the events that this reader has not read.
    discarded: Discarded,
}

impl Reader {
    /// Returns the next event. `None` if the hub was dropped.
    async fn next(&mut self) -> Option<HubEvent> {
        loop {
            // Create the future first: it also receives a notification between `try_recv` and the await.
            let notified = self.pushed.notified();
            match self.receiver.try_recv() {
                Ok(event) => {
                    // The last reader of an event discards it.
                    self.discarded.empty();
                    return Some(event.into_event());
                }
                Err(TryRecvError::Lagged(missed)) => return Some(HubEvent::Lagged { missed }),
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) => notified.await,
            }
        }
    }
}

/// An event in the channel. The channel drops it under a lock of its own, and perhaps one of the hub. An event that
/// runs code of the app is therefore moved to the discarded ones.
#[derive(Clone, Debug)]
struct QueuedEvent {
    event: HubEvent,
    discarded: Arc<Mutex<Vec<HubEvent>>>,
}

impl QueuedEvent {
    fn into_event(mut self) -> HubEvent {
        self.take()
    }

    fn take(&mut self) -> HubEvent {
        replace(&mut self.event, HubEvent::Lagged { missed: 0 })
    }
}

impl Drop for QueuedEvent {
    fn drop(&mut self) {
        if self.event.runs_app_code() {
            let event = self.take();
            lock(&self.discarded).push(event);
        }
    }
}

/// Events to drop when no lock is held. Dropping it drops them.
#[derive(Debug, Default)]
struct Discarded {
    list: Arc<Mutex<Vec<HubEvent>>>,
}

impl Discarded {
    /// Drops the events. The caller must hold no lock.
    fn empty(&self) {
        let events = take(&mut *lock(&self.list));
        for event in events {
            isolate(|| drop(event));
        }
    }
}

impl Drop for Discarded {
    fn drop(&mut self) {
        self.empty();
    }
}

fn lock(list: &Mutex<Vec<HubEvent>>) -> MutexGuard<'_, Vec<HubEvent>> {
    // No code of the app runs under the lock, and each change leaves a valid list.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
