//! A session asks for what its messages say, and counts the heartbeats that are missed.

use bytes::Bytes;
use sigver::protocol::{CloseCode, Fault, Message, Request, Session};

/// In the place of a message's length: a heartbeat is due.
const TICK: u8 = 0xff;

/// Reads how many heartbeats may be missed, how many members may be named, and then messages, each behind its length.
pub(crate) fn check(bytes: &[u8]) {
    let &[missed_limit, members_limit, ref messages @ ..] = bytes else { return };
    let (missed_limit, members_limit) = (missed_limit.into(), members_limit.into());
    let mut session = Session::new(missed_limit, members_limit);
    let mut missed = 0;
    let mut rest = messages;
    while let Some((&length, behind)) = rest.split_first() {
        if length == TICK {
            missed += 1;
            let expected = if missed < missed_limit { Ok(()) } else { Err(Fault::Silent) };
            assert_eq!(session.tick(), expected, "{missed} missed, {missed_limit} are too many");
            rest = behind;
            continue;
        }
        let (message, behind) = behind.split_at(behind.len().min(length.into()));
        rest = behind;
        let message = Bytes::copy_from_slice(message);
        let asked = session.receive(message.clone());
        match Message::decode(message) {
            Ok(Message::Heartbeat) => {
                missed = 0;
                assert_eq!(asked, Ok(None));
            }
            Ok(Message::Connect { members, .. }) if members.len() > members_limit => {
                let fault = asked.expect_err("it names too many");
                assert!(matches!(fault, Fault::Members { count, .. } if count == members.len()), "{fault}");
                assert_eq!(fault.close_code(), CloseCode::Policy);
            }
            Ok(Message::Connect { id, members }) => assert_eq!(asked, Ok(Some(Request::Connect { id, members }))),
            Ok(Message::Content { recipient, last, data, .. }) => {
                assert_eq!(asked, Ok(Some(Request::Content { recipient, last, data })));
            }
            Ok(Message::Connected(_)) => assert_eq!(asked, Ok(None)),
            Ok(other) => panic!("{other:?} is nothing that the protocol knows"),
            Err(error) => {
                let fault = asked.expect_err("it is no message");
                assert_eq!(fault.close_code(), CloseCode::Message);
                assert_eq!(fault, Fault::Wire(error));
            }
        }
    }
}
