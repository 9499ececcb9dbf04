//! One protobuf `Message`, as bytes and as a Rust value.

use bytes::Bytes;
use prost::Message as _;

use super::{LinkId, MemberId};

/// The generated types. They stay private, so that prost's versions are not part of this crate's API.
#[expect(unreachable_pub, reason = "generated")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/sigver.rs"));
}

/// What one binary WebSocket message says. `proto/sigver.proto` has the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// "I am alive", both ways.
    Heartbeat,
    /// Data that goes along a link, both ways.
    Content {
        /// From the server: the link's id for the member, 0 for the joiner. From a peer: ignored.
        sender: u32,
        /// From a peer: a link's id, or 0 or a member's id. From the server: the link's id for the joiner, else 0.
        recipient: u32,
        /// From a peer: nothing more comes in this direction of the link. Never sent by the server.
        last: bool,
        /// The payload, not looked at. Empty from the server: the other end is gone.
        data: Bytes,
    },
    /// "I am `id` and see `members`: am I in?", from a peer.
    Connect {
        /// What the peer calls itself.
        id: MemberId,
        /// The ids of the members that it sees, in any order.
        members: Vec<MemberId>,
    },
    /// The answer to [`Message::Connect`], from the server. True: a member. False: bound to one.
    Connected(bool),
}

impl Message {
    /// What the server sends to keep a connection alive.
    pub const HEARTBEAT: Bytes = Bytes::from_static(&[0x08, 0x01]);
    const ADMITTED: Bytes = Bytes::from_static(&[0x20, 0x01]);
    const BOUND: Bytes = Bytes::from_static(&[0x20, 0x00]);

    /// A content as a peer sends it to `recipient`.
    pub fn content(recipient: u32, data: impl Into<Bytes>) -> Self {
        Self::Content { sender: 0, recipient, last: false, data: data.into() }
    }

    /// A content as a peer sends it to `recipient`, with `lastData` set.
    pub fn last_content(recipient: u32, data: impl Into<Bytes>) -> Self {
        Self::Content { sender: 0, recipient, last: true, data: data.into() }
    }

    /// A content as the server sends it to the member of `link`.
    pub fn from_joiner(link: LinkId, data: Bytes) -> Self {
        Self::Content { sender: link.value(), recipient: 0, last: false, data }
    }

    /// A content as the server sends it to the joiner of `link`.
    pub fn from_member(link: LinkId, data: Bytes) -> Self {
        Self::Content { sender: 0, recipient: link.value(), last: false, data }
    }

    /// The question whether a peer that calls itself `id` and sees `members` is in.
    pub fn connect(id: u32, members: &[u32]) -> Self {
        Self::Connect { id: MemberId(id), members: members.iter().copied().map(MemberId).collect() }
    }

    /// Reads one binary WebSocket message. The payload of a content is a slice of `bytes`, not a copy.
    ///
    /// # Errors
    /// [`WireError`], which is a close with 4743.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        match proto::Message::decode(bytes)?.r#type {
            Some(proto::message::Type::Heartbeat(_)) => Ok(Self::Heartbeat),
            Some(proto::message::Type::Content(proto::Content { sender_id, recipient_id, last_data, data })) => {
                Ok(Self::Content { sender: sender_id, recipient: recipient_id, last: last_data, data })
            }
            Some(proto::message::Type::Connect(proto::GroupData { id, members })) => {
                Ok(Self::Connect { id: MemberId(id), members: members.into_iter().map(MemberId).collect() })
            }
            Some(proto::message::Type::Connected(admitted)) => Ok(Self::Connected(admitted)),
            None => Err(WireError::NoKnownType),
        }
    }

    /// The bytes of one binary WebSocket message. A payload is copied once; the constant messages are not built.
    pub fn encode(self) -> Bytes {
        let kind = match self {
            Self::Heartbeat => return Self::HEARTBEAT,
            Self::Connected(true) => return Self::ADMITTED,
            Self::Connected(false) => return Self::BOUND,
            Self::Content { sender, recipient, last, data } => proto::message::Type::Content(proto::Content {
                sender_id: sender,
                recipient_id: recipient,
                last_data: last,
                data,
            }),
            Self::Connect { id, members } => proto::message::Type::Connect(proto::GroupData {
                id: id.0,
                members: members.into_iter().map(|MemberId(id)| id).collect(),
            }),
        };
        proto::Message { r#type: Some(kind) }.encode_to_vec().into()
    }
}

/// Why bytes are no message that this protocol knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are not a protobuf `Message`. The text says where.
    #[error("not a protobuf Message: {0}")]
    Malformed(String),
    /// The message is empty or holds unknown fields only.
    #[error("a Message has to have one of heartbeat, content, connect and connected")]
    NoKnownType,
}

impl From<prost::DecodeError> for WireError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &'static [u8]) -> Result<Message, WireError> {
        Message::decode(Bytes::from_static(bytes))
    }

    #[test]
    fn each_message_survives_the_way_to_bytes_and_back() {
        let link = LinkId::new(7).expect("31 bits");
        for message in [
            Message::Heartbeat,
            Message::Connected(true),
            Message::Connected(false),
            Message::content(3, "offer"),
            Message::last_content(u32::MAX, ""),
            Message::from_joiner(link, Bytes::from_static(b"x")),
            Message::from_member(link, Bytes::new()),
            Message::connect(u32::MAX, &[1, 2, u32::MAX]),
            Message::connect(0, &[]),
        ] {
            assert_eq!(Message::decode(message.clone().encode()), Ok(message));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_reference_server() {
        assert_eq!(&Message::Heartbeat.encode()[..], [0x08, 1]);
        assert_eq!(&Message::Connected(true).encode()[..], [0x20, 1]);
        assert_eq!(&Message::Connected(false).encode()[..], [0x20, 0]);
        assert_eq!(&Message::last_content(5, "ab").encode()[..], [0x12, 8, 0x10, 5, 0x18, 1, 0x22, 2, b'a', b'b']);
    }

    #[test]
    fn fields_that_are_zero_may_be_written_out() {
        assert_eq!(decode(&[0x12, 8, 0x08, 0, 0x10, 0, 0x18, 0, 0x22, 0]), Ok(Message::content(0, "")));
        assert_eq!(decode(&[0x1a, 2, 0x08, 0]), Ok(Message::connect(0, &[])));
    }

    #[test]
    fn members_may_be_packed_and_unpacked() {
        assert_eq!(decode(&[0x1a, 6, 0x08, 9, 0x12, 2, 1, 2]), Ok(Message::connect(9, &[1, 2])));
        assert_eq!(decode(&[0x1a, 6, 0x08, 9, 0x10, 1, 0x10, 2]), Ok(Message::connect(9, &[1, 2])));
    }

    #[test]
    fn heartbeat_false_is_a_heartbeat() {
        assert_eq!(decode(&[0x08, 0]), Ok(Message::Heartbeat));
    }

    #[test]
    fn an_unknown_field_is_skipped() {
        assert_eq!(decode(&[0x78, 5, 0x08, 1]), Ok(Message::Heartbeat));
    }

    #[test]
    fn a_message_with_no_known_type_is_an_error() {
        assert_eq!(decode(&[]), Err(WireError::NoKnownType));
        assert_eq!(decode(&[0x78, 5]), Err(WireError::NoKnownType));
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        for bytes in [
            &[0xff; 12][..],        // a varint that never ends
            &[0x12, 5, 0x08],       // truncated
            &[0x0a, 0],             // heartbeat with the wrong wire type
            &[0x10, 1],             // content with the wrong wire type
            &[0x00],                // field number 0
            &[0x12, 3, 0x22, 9, 1], // data longer than its message
        ] {
            assert!(matches!(decode(bytes), Err(WireError::Malformed(_))), "{bytes:?}");
        }
    }
}
