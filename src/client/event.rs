//! What a client receives, and from where.

use bytes::Bytes;

use crate::protocol::{LinkId, Message};

/// The other end of a link. It is also the address to reply to.
///
/// A peer can be the joiner of one link and the member of any number of other links at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a link has two ends")]
pub enum Remote {
    /// The member that this peer is bound to: this peer is the joiner.
    Member,
    /// A joiner that is bound to this peer by this link: this peer is the member.
    Joiner(LinkId),
}

/// What a [`Client`](super::Client) receives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The answer to a `connect`.
    Connected {
        /// True if this peer is a member, false if it is bound to one, [`Remote::Member`] (`connected` on the wire).
        member: bool,
    },
    /// Data from the other end of a link. It is never empty.
    Content {
        /// The sender.
        from: Remote,
        /// The link, also when the sender is [`Remote::Member`].
        link: LinkId,
        /// The payload.
        data: Bytes,
    },
    /// Content without data. The hub sends it when the other end of a link disconnects. A peer can send it as well, to
    /// tell the other end that it sends nothing more.
    Ended {
        /// The end that sends nothing more.
        from: Remote,
        /// The link, also when the other end is [`Remote::Member`].
        link: LinkId,
    },
    /// A heartbeat from the hub. Reported only with [`manual_heartbeats`](super::Client::manual_heartbeats).
    Heartbeat,
}

impl Remote {
    /// The `recipientId` of content for this remote.
    pub(super) fn recipient(self) -> u32 {
        match self {
            Self::Member => 0,
            Self::Joiner(link) => link.value(),
        }
    }
}

impl Event {
    /// Returns the event of a message, or `None` if hubs do not send such a message.
    pub(super) fn from_message(message: Message) -> Option<Self> {
        match message {
            Message::Heartbeat => Some(Self::Heartbeat),
            Message::Connected(member) => Some(Self::Connected { member }),
            Message::Content { sender, recipient, data, .. } => {
                // The hub puts the link's id where the receiver's counterpart is, and 0 in the other field.
                let (from, link) = match (sender, recipient) {
                    (link, 0) => LinkId::new(link).map(|link| (Remote::Joiner(link), link))?,
                    (0, link) => LinkId::new(link).map(|link| (Remote::Member, link))?,
                    _ => return None,
                };
                Some(if data.is_empty() { Self::Ended { from, link } } else { Self::Content { from, link, data } })
            }
            Message::Connect { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(sender: u32, recipient: u32, data: &'static str) -> Option<Event> {
        Event::from_message(Message::Content { sender, recipient, last: false, data: data.into() })
    }

    #[test]
    fn content_with_a_sender_is_from_the_joiner_of_that_link() {
        let link = LinkId::new(7).expect("31 bits");
        let from = Remote::Joiner(link);
        assert_eq!(content(7, 0, "x"), Some(Event::Content { from, link, data: "x".into() }));
        assert_eq!(content(7, 0, ""), Some(Event::Ended { from, link }));
    }

    #[test]
    fn content_with_a_recipient_is_from_the_member_of_that_link() {
        let link = LinkId::new(7).expect("31 bits");
        let from = Remote::Member;
        assert_eq!(content(0, 7, "x"), Some(Event::Content { from, link, data: "x".into() }));
        assert_eq!(content(0, 7, ""), Some(Event::Ended { from, link }));
    }

    #[test]
    fn messages_that_no_hub_sends_are_not_events() {
        for (sender, recipient) in [(0, 0), (7, 7), (7, 8), (1 << 31, 0), (0, u32::MAX)] {
            assert_eq!(content(sender, recipient, "x"), None, "{sender} {recipient}");
        }
        assert_eq!(Event::from_message(Message::connect(1, &[])), None);
    }
}
