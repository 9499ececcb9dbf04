//! Events on their way to the app.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::event::Event;
use crate::id::PeerId;
use crate::mesh::MAX_MESSAGE_BYTES;

/// While this many peers have joined or left and the app has not received it, no further peer is accepted.
const MAX_MEMBERSHIP_EVENTS: usize = 4_096;
/// What an unread message costs in addition to its bytes.
const MESSAGE_OVERHEAD: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    /// Unread bytes of each peer.
    bytes: HashMap<PeerId, usize>,
    /// Unread events that are not messages.
    membership_events: usize,
    closed: bool,
}

/// The app does not receive the messages of this peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Inbox {
    /// Adds an event. Unread events that it makes obsolete are replaced.
    pub(crate) fn push(&self, event: Event) -> Result<(), Overflow> {
        let mut state = self.state();
        match &event {
            Event::Message { from, data, .. } => {
                let bytes = state.bytes.entry(*from).or_default();
                // A message of the largest size always finds room in an empty inbox.
                if *bytes > MAX_MESSAGE_BYTES {
                    return Err(Overflow);
                }
                *bytes += data.len() + MESSAGE_OVERHEAD;
            }
            Event::StateChange { .. } => state.remove(|other| matches!(other, Event::StateChange { .. })),
            Event::PeerMetadata { peer, .. } => {
                let peer = *peer;
                state.remove(|other| matches!(other, Event::PeerMetadata { peer: other, .. } if *other == peer));
            }
            _ => {}
        }
        state.membership_events += usize::from(!matches!(event, Event::Message { .. }));
        state.events.push_back(event);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Whether the app has fallen so far behind that no further peer is accepted.
    pub(crate) fn is_full(&self) -> bool {
        self.state().membership_events >= MAX_MEMBERSHIP_EVENTS
    }

    /// No further event follows.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Returns `None` when the inbox is closed and empty. Cancel safe.
    pub(crate) async fn recv(&self) -> Option<Event> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if let Some(event) = state.pop() {
                    if !state.events.is_empty() || state.closed {
                        self.changed.notify_one(); // for another receiver
                    }
                    return Some(event);
                }
                if state.closed {
                    self.changed.notify_one();
                    return None;
                }
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        match &event {
            Event::Message { from, data, .. } => {
                if let Some(bytes) = self.bytes.get_mut(from) {
                    *bytes -= data.len() + MESSAGE_OVERHEAD;
                    if *bytes == 0 {
                        self.bytes.remove(from);
                    }
                }
            }
            _ => self.membership_events -= 1,
        }
        Some(event)
    }

    fn remove(&mut self, is_obsolete: impl Fn(&Event) -> bool) {
        if let Some(index) = self.events.iter().position(is_obsolete) {
            self.events.remove(index);
            self.membership_events -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{Reason, State as GroupState};
    use crate::payload::Payload;

    fn message(from: u32, bytes: usize) -> Event {
        Event::Message { from: PeerId(from), channel: None, data: Payload::from(vec![0; bytes]) }
    }

    #[tokio::test]
    async fn peer_overflows_with_more_than_64_mib_and_others_do_not() {
        let inbox = Inbox::default();
        assert_eq!(inbox.push(message(1, MAX_MESSAGE_BYTES)), Ok(()));
        assert_eq!(inbox.push(message(1, 1)), Err(Overflow));
        assert_eq!(inbox.push(message(2, 1)), Ok(()));
        assert_eq!(inbox.recv().await, Some(message(1, MAX_MESSAGE_BYTES)));
        assert_eq!(inbox.push(message(1, 1)), Ok(()));
        assert_eq!(inbox.recv().await, Some(message(2, 1)));
        assert_eq!(inbox.recv().await, Some(message(1, 1)));
        assert!(inbox.state().bytes.is_empty());
    }

    #[tokio::test]
    async fn empty_messages_are_bounded_too() {
        let inbox = Inbox::default();
        let accepted = (0..).take_while(|_| inbox.push(message(1, 0)).is_ok()).count();
        assert_eq!(accepted, MAX_MESSAGE_BYTES / MESSAGE_OVERHEAD + 1);
    }

    #[tokio::test]
    async fn unread_state_and_metadata_are_replaced_by_the_latest() {
        let inbox = Inbox::default();
        let metadata = |peer, value| Event::PeerMetadata { peer: PeerId(peer), metadata: json!(value) };
        let state = |state| Event::StateChange { state, reason: Reason::None, close: None };
        for event in [metadata(1, 1), state(GroupState::Joining), metadata(2, 1), metadata(1, 2)] {
            assert_eq!(inbox.push(event), Ok(()));
        }
        assert_eq!(inbox.push(state(GroupState::Joined)), Ok(()));
        inbox.close();
        for event in [metadata(2, 1), metadata(1, 2), state(GroupState::Joined)] {
            assert_eq!(inbox.recv().await, Some(event));
        }
        assert_eq!(inbox.recv().await, None);
        assert_eq!(inbox.recv().await, None);
        assert_eq!(inbox.state().membership_events, 0);
    }
}
