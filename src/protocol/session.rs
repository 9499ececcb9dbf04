//! One peer's side of the protocol: what its bytes ask for, and whether it is still alive.

use bytes::Bytes;

use super::{CloseCode, MemberId, Message, WireError};

/// What a peer asks of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// "I am `id` and see `members`: am I in?"
    Connect {
        /// What the peer calls itself.
        id: MemberId,
        /// The members that it sees.
        members: Vec<MemberId>,
    },
    /// "Carry this along a link."
    Content {
        /// A link's id, or 0 or the bound member's id.
        recipient: u32,
        /// Nothing more comes in this direction.
        last: bool,
        /// The payload.
        data: Bytes,
    },
}

/// A connection's protocol state between the socket and the group.
#[derive(Clone, Debug)]
pub struct Session {
    /// Heartbeats sent, or due, since the peer's last one.
    missed: u32,
    missed_limit: u32,
    members_limit: usize,
}

impl Session {
    /// A session that is over when `missed_limit` heartbeats in a row went unanswered, and that takes at most
    /// `members_limit` ids in one `connect`.
    pub fn new(missed_limit: u32, members_limit: usize) -> Self {
        Self { missed: 0, missed_limit, members_limit }
    }

    /// Takes one binary message from the peer. `None` says that the group has nothing to do with it.
    ///
    /// # Errors
    /// The message is not one of the protocol (4743), or breaks a limit (1008): the peer has to be closed.
    pub fn receive(&mut self, bytes: Bytes) -> Result<Option<Request>, Fault> {
        match Message::decode(bytes)? {
            Message::Heartbeat => {
                self.missed = 0;
                Ok(None)
            }
            Message::Connect { members, .. } if members.len() > self.members_limit => {
                Err(Fault::Members { count: members.len(), limit: self.members_limit })
            }
            Message::Connect { id, members } => Ok(Some(Request::Connect { id, members })),
            Message::Content { recipient, last, data, .. } => Ok(Some(Request::Content { recipient, last, data })),
            // The reference ignores it too.
            Message::Connected(_) => Ok(None),
        }
    }

    /// Counts one heartbeat interval: `Ok` says that a heartbeat is to be sent.
    ///
    /// # Errors
    /// The peer missed as many as it may: [`Fault::Silent`].
    pub fn tick(&mut self) -> Result<(), Fault> {
        self.missed += 1;
        if self.missed < self.missed_limit { Ok(()) } else { Err(Fault::Silent) }
    }
}

/// What a peer did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A message that is none of the protocol's.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A `connect` that names too many members.
    #[error("connect names {count} members; at most {limit} are allowed")]
    #[non_exhaustive]
    Members {
        /// How many it names.
        count: usize,
        /// How many it may name.
        limit: usize,
    },
    /// Too many heartbeats in a row without one from the peer.
    #[error("missed too many heartbeats")]
    Silent,
}

impl Fault {
    /// The code to close the peer with.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Wire(_) => CloseCode::Message,
            Self::Members { .. } => CloseCode::Policy,
            Self::Silent => CloseCode::Heartbeat,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(3, 4)
    }

    #[test]
    fn a_silent_peer_gets_two_heartbeats_and_then_4742() {
        let mut session = session();
        assert_eq!(session.tick(), Ok(()));
        assert_eq!(session.tick(), Ok(()));
        assert_eq!(session.tick().map_err(|fault| fault.close_code()), Err(CloseCode::Heartbeat));
    }

    #[test]
    fn only_a_heartbeat_sets_the_missed_count_back() {
        let mut session = session();
        for alive in [Message::HEARTBEAT, Bytes::from_static(&[0x08, 0])] {
            assert_eq!((session.tick(), session.tick()), (Ok(()), Ok(())));
            assert_eq!(session.receive(alive), Ok(None));
        }
        assert_eq!((session.tick(), session.tick()), (Ok(()), Ok(())));
        for other in [Message::content(0, "x"), Message::connect(1, &[]), Message::Connected(true)] {
            session.receive(other.encode()).expect("a message of the protocol");
        }
        assert_eq!(session.tick(), Err(Fault::Silent));
    }

    #[test]
    fn connected_from_a_peer_is_ignored() {
        assert_eq!(session().receive(Message::Connected(true).encode()), Ok(None));
    }

    #[test]
    fn the_sender_that_a_peer_writes_is_ignored() {
        let content = Message::Content { sender: 99, recipient: 7, last: true, data: Bytes::from_static(b"x") };
        let request = Request::Content { recipient: 7, last: true, data: Bytes::from_static(b"x") };
        assert_eq!(session().receive(content.encode()), Ok(Some(request)));
    }

    #[test]
    fn too_many_members_are_1008() {
        let ask = |count: u32| session().receive(Message::connect(1, &(0..count).collect::<Vec<_>>()).encode());
        assert!(ask(4).is_ok());
        let fault = ask(5).expect_err("over the limit");
        assert_eq!(fault, Fault::Members { count: 5, limit: 4 });
        assert_eq!(fault.close_code(), CloseCode::Policy);
    }

    #[test]
    fn what_is_no_message_is_4743() {
        for bytes in [&b""[..], b"\x78\x05", b"garbage"] {
            let fault = session().receive(Bytes::from_static(bytes)).expect_err("no message");
            assert_eq!(fault.close_code(), CloseCode::Message);
        }
    }
}
