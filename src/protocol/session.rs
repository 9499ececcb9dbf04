//! The protocol state of one peer: decodes its messages and counts missed heartbeats.

use bytes::Bytes;

use super::{CloseCode, MemberId, Message, WireError};

/// A peer's request to its group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// The peer asks to be a member.
    Connect {
        /// The id under which it becomes a member.
        id: MemberId,
        /// The ids that it names: those of the members that it is directly connected to.
        members: Vec<MemberId>,
    },
    /// The peer sends data along a link.
    Content {
        /// The link id of one of its joiners; or, for the member that it is bound to, 0 or that member's id.
        recipient: u32,
        /// Whether this is the last data in this direction of the link.
        last: bool,
        /// The payload.
        data: Bytes,
    },
}

/// The protocol state of one connection, between the socket and the group.
#[derive(Clone, Debug)]
pub struct Session {
    /// Heartbeat intervals since the peer's last heartbeat.
    missed: u32,
    max_missed: u32,
    max_members: usize,
}

impl Session {
    /// Creates a session that ends after `max_missed_heartbeats` intervals without a heartbeat from the peer, and that
    /// accepts at most `max_members_per_connect` ids in one `connect`.
    pub fn new(max_missed_heartbeats: u32, max_members_per_connect: usize) -> Self {
        Self { missed: 0, max_missed: max_missed_heartbeats, max_members: max_members_per_connect }
    }

    /// Decodes one binary message of the peer. Returns `None` if the message does not concern the group.
    ///
    /// # Errors
    /// [`SessionError::Wire`] and [`SessionError::TooManyMembers`]. The caller must close the peer.
    pub fn receive(&mut self, bytes: Bytes) -> Result<Option<Request>, SessionError> {
        match Message::decode(bytes)? {
            Message::Heartbeat => {
                self.missed = 0;
                Ok(None)
            }
            Message::Connect { members, .. } if members.len() > self.max_members => {
                Err(SessionError::TooManyMembers { count: members.len(), max: self.max_members })
            }
            Message::Connect { id, members } => Ok(Some(Request::Connect { id, members })),
            Message::Content { recipient, last, data, .. } => Ok(Some(Request::Content { recipient, last, data })),
            // npm's `sigver` ignores it as well.
            Message::Connected(_) => Ok(None),
        }
    }

    /// Returns whether the peer has sent no heartbeat since the last interval began.
    pub(crate) fn awaits_heartbeat(&self) -> bool {
        self.missed > 0
    }

    /// Counts one heartbeat interval. After `Ok`, the caller must send a heartbeat.
    ///
    /// # Errors
    /// [`SessionError::HeartbeatTimeout`]. The caller must close the peer.
    pub fn tick(&mut self) -> Result<(), SessionError> {
        self.missed += 1;
        if self.missed < self.max_missed { Ok(()) } else { Err(SessionError::HeartbeatTimeout { missed: self.missed }) }
    }
}

/// A violation of the protocol or of a limit, for which the peer must be closed.
///
/// The text is the close reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A message is not valid.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A `connect` names too many members.
    #[error("connect names {count} members; must be at most {max}")]
    #[non_exhaustive]
    TooManyMembers {
        /// The number of members that it names.
        count: usize,
        /// The maximum.
        max: usize,
    },
    /// The peer missed too many heartbeats in a row.
    #[error("missed {missed} heartbeats")]
    #[non_exhaustive]
    HeartbeatTimeout {
        /// The number of heartbeats that it missed.
        missed: u32,
    },
}

impl SessionError {
    /// Returns the code to close the peer with.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Wire(_) => CloseCode::Message,
            Self::TooManyMembers { .. } => CloseCode::Policy,
            Self::HeartbeatTimeout { .. } => CloseCode::Heartbeat,
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
    fn silent_peer_gets_two_heartbeats_and_then_4742() {
        let mut session = session();
        assert_eq!(session.tick(), Ok(()));
        assert_eq!(session.tick(), Ok(()));
        assert_eq!(session.tick().map_err(|error| error.close_code()), Err(CloseCode::Heartbeat));
    }

    #[test]
    fn heartbeat_is_awaited_from_an_interval_until_the_first_heartbeat() {
        let mut session = session();
        assert!(!session.awaits_heartbeat());
        assert_eq!(session.tick(), Ok(()));
        assert!(session.awaits_heartbeat());
        assert_eq!(session.receive(Message::HEARTBEAT), Ok(None));
        assert!(!session.awaits_heartbeat());
    }

    #[test]
    fn heartbeat_timeout_reports_the_configured_number() {
        for (max_missed, reason) in [(1, "missed 1 heartbeats"), (3, "missed 3 heartbeats"), (7, "missed 7 heartbeats")]
        {
            let mut session = Session::new(max_missed, 4);
            let error = (0..max_missed).find_map(|_| session.tick().err()).expect("the last interval is one too many");
            assert_eq!(error.to_string(), reason);
        }
    }

    #[test]
    fn only_heartbeats_reset_the_missed_count() {
        let mut session = session();
        for alive in [Message::HEARTBEAT, Bytes::from_static(&[0x08, 0])] {
            assert_eq!((session.tick(), session.tick()), (Ok(()), Ok(())));
            assert_eq!(session.receive(alive), Ok(None));
        }
        assert_eq!((session.tick(), session.tick()), (Ok(()), Ok(())));
        for other in [Message::content(0, "x"), Message::connect(1, &[]), Message::Connected(true)] {
            session.receive(other.encode()).expect("a valid message");
        }
        assert_eq!(session.tick(), Err(SessionError::HeartbeatTimeout { missed: 3 }));
    }

    #[test]
    fn connected_from_a_peer_is_ignored() {
        assert_eq!(session().receive(Message::Connected(true).encode()), Ok(None));
    }

    #[test]
    fn sender_in_a_peers_content_is_ignored() {
        let content = Message::Content { sender: 99, recipient: 7, last: true, data: Bytes::from_static(b"x") };
        let request = Request::Content { recipient: 7, last: true, data: Bytes::from_static(b"x") };
        assert_eq!(session().receive(content.encode()), Ok(Some(request)));
    }

    #[test]
    fn connect_over_the_maximum_of_members_closes_with_1008() {
        let connect = |count: u32| session().receive(Message::connect(1, &(0..count).collect::<Vec<_>>()).encode());
        assert!(connect(4).is_ok());
        let error = connect(5).expect_err("over the maximum");
        assert_eq!(error, SessionError::TooManyMembers { count: 5, max: 4 });
        assert_eq!(error.close_code(), CloseCode::Policy);
    }

    #[test]
    fn invalid_message_closes_with_4743() {
        for bytes in [&b""[..], b"\x78\x05", b"garbage"] {
            let error = session().receive(Bytes::from_static(bytes)).expect_err("not a valid message");
            assert_eq!(error.close_code(), CloseCode::Message);
        }
    }
}
