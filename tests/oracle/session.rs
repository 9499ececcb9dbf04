//! A session returns the requests in its messages, and counts missed heartbeats.

use bytes::Bytes;
use sigver::protocol::{CloseCode, Message, Request, Session, SessionError};

/// A heartbeat interval, in place of a message's length.
const TICK: u8 = 0xff;

/// Reads the two limits of a session, and then messages, each preceded by its length.
pub(crate) fn check(bytes: &[u8]) {
    let &[max_missed, max_members, ref messages @ ..] = bytes else { return };
    let (max_missed, max_members) = (max_missed.into(), max_members.into());
    let mut session = Session::new(max_missed, max_members);
    let mut missed = 0;
    let mut rest = messages;
    while let Some((&length, after)) = rest.split_first() {
        if length == TICK {
            missed += 1;
            match session.tick() {
                Ok(()) => assert!(missed < max_missed, "{missed} of {max_missed} missed without an error"),
                Err(error) => {
                    assert!(missed >= max_missed, "{error} after {missed} of {max_missed}");
                    assert_eq!(error.to_string(), format!("missed {missed} heartbeats"));
                    assert_eq!(error.close_code(), CloseCode::Heartbeat);
                }
            }
            rest = after;
            continue;
        }
        let (message, after) = after.split_at(after.len().min(length.into()));
        rest = after;
        let message = Bytes::copy_from_slice(message);
        let received = session.receive(message.clone());
        match Message::decode(message) {
            Ok(Message::Heartbeat) => {
                missed = 0;
                assert_eq!(received, Ok(None));
            }
            Ok(Message::Connect { members, .. }) if members.len() > max_members => {
                let error = received.expect_err("the connect names too many members");
                let count = members.len();
                assert!(matches!(error, SessionError::TooManyMembers { count: it, .. } if it == count), "{error}");
                assert_eq!(error.close_code(), CloseCode::Policy);
            }
            Ok(Message::Connect { id, members }) => assert_eq!(received, Ok(Some(Request::Connect { id, members }))),
            Ok(Message::Content { recipient, last, data, .. }) => {
                assert_eq!(received, Ok(Some(Request::Content { recipient, last, data })));
            }
            Ok(Message::Connected(_)) => assert_eq!(received, Ok(None)),
            Ok(other) => panic!("{other:?} is not a message of the protocol"),
            Err(error) => {
                let expected = SessionError::Wire(error);
                assert_eq!(expected.close_code(), CloseCode::Message);
                assert_eq!(received, Err(expected));
            }
        }
    }
}
