//! The protobuf `Message` as a Rust value: decoding and encoding.

use bytes::Bytes;
use prost::Message as _;

use super::{LinkId, MemberId};

/// The generated types. They are private, so that prost is not part of the public API.
#[expect(unreachable_pub, reason = "generated")]
mod proto {
    include!("wire/generated.rs");
}

/// The content of one binary WebSocket message. The schema is `proto/sigver.proto`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Shows that the sender is responsive, in both directions.
    Heartbeat,
    /// Data along a link, in both directions.
    Content {
        /// From the server: the link id if the receiver is the member, 0 if it is the joiner. From a peer: ignored.
        sender: u32,
        /// From a peer: a link id to reach that joiner; 0 or the bound member's id to reach the member. From the
        /// server: the link id if the receiver is the joiner, 0 if it is the member.
        recipient: u32,
        /// From a peer: this is the last data in this direction of the link. Never sent by the server.
        last: bool,
        /// The payload, which the server does not inspect. Empty from the server: the other end has disconnected.
        data: Bytes,
    },
    /// A peer asks to be a member, or to be bound to one.
    Connect {
        /// The id under which the peer becomes a member.
        id: MemberId,
        /// The ids that it names: those of the members that it is directly connected to, in any order.
        members: Vec<MemberId>,
    },
    /// The server's answer to [`Message::Connect`]. True: the peer is a member. False: it is bound to a member.
    Connected(bool),
}

impl Message {
    /// An encoded heartbeat, as the server sends it to keep a connection alive.
    pub const HEARTBEAT: Bytes = Bytes::from_static(&[0x08, 0x01]);
    const CONNECTED_TRUE: Bytes = Bytes::from_static(&[0x20, 0x01]);
    const CONNECTED_FALSE: Bytes = Bytes::from_static(&[0x20, 0x00]);

    /// Creates content as a peer sends it to `recipient`.
    pub fn content(recipient: u32, data: impl Into<Bytes>) -> Self {
        Self::Content { sender: 0, recipient, last: false, data: data.into() }
    }

    /// Creates content as a peer sends it to `recipient`, with `lastData` set.
    pub fn last_content(recipient: u32, data: impl Into<Bytes>) -> Self {
        Self::Content { sender: 0, recipient, last: true, data: data.into() }
    }

    /// Creates content as the server sends it to the member of `link`.
    pub fn from_joiner(link: LinkId, data: Bytes) -> Self {
        Self::Content { sender: link.value(), recipient: 0, last: false, data }
    }

    /// Creates content as the server sends it to the joiner of `link`.
    pub fn from_member(link: LinkId, data: Bytes) -> Self {
        Self::Content { sender: 0, recipient: link.value(), last: false, data }
    }

    /// Creates the `connect` of a peer with this id that names these members.
    pub fn connect(id: u32, members: &[u32]) -> Self {
        Self::Connect { id: MemberId(id), members: members.iter().copied().map(MemberId).collect() }
    }

    /// Decodes one binary WebSocket message. The payload of content is a slice of `bytes`, not a copy.
    ///
    /// # Errors
    /// [`WireError`], for which the server closes the peer with 4743.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let message = proto::Message::decode(bytes).map_err(|error| WireError::Malformed(error.to_string()))?;
        match message.r#type {
            Some(proto::message::Type::Heartbeat(_)) => Ok(Self::Heartbeat),
            Some(proto::message::Type::Content(proto::Content { sender_id, recipient_id, last_data, data })) => {
                Ok(Self::Content { sender: sender_id, recipient: recipient_id, last: last_data, data })
            }
            Some(proto::message::Type::Connect(proto::GroupData { id, members })) => {
                Ok(Self::Connect { id: MemberId(id), members: members.into_iter().map(MemberId).collect() })
            }
            Some(proto::message::Type::Connected(member)) => Ok(Self::Connected(member)),
            None => Err(WireError::NoKnownType),
        }
    }

    /// Encodes one binary WebSocket message. A payload is copied once. Messages without fields cost no allocation.
    pub fn encode(self) -> Bytes {
        let kind = match self {
            Self::Heartbeat => return Self::HEARTBEAT,
            Self::Connected(true) => return Self::CONNECTED_TRUE,
            Self::Connected(false) => return Self::CONNECTED_FALSE,
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

/// The reason why bytes are not a valid message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are not a protobuf `Message`. The text describes the position.
    #[error("message is not a protobuf Message: {0}")]
    Malformed(String),
    /// The message is empty, or contains only unknown fields.
    #[error("message has no known type; must be heartbeat, content, connect or connected")]
    NoKnownType,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &'static [u8]) -> Result<Message, WireError> {
        Message::decode(Bytes::from_static(bytes))
    }

    #[test]
    fn every_message_is_unchanged_after_encoding_and_decoding() {
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
    fn encoded_bytes_equal_those_of_npms_server() {
        assert_eq!(&Message::Heartbeat.encode()[..], [0x08, 1]);
        assert_eq!(&Message::Connected(true).encode()[..], [0x20, 1]);
        assert_eq!(&Message::Connected(false).encode()[..], [0x20, 0]);
        assert_eq!(&Message::last_content(5, "ab").encode()[..], [0x12, 8, 0x10, 5, 0x18, 1, 0x22, 2, b'a', b'b']);
    }

    #[test]
    fn explicit_zero_fields_are_accepted() {
        assert_eq!(decode(&[0x12, 8, 0x08, 0, 0x10, 0, 0x18, 0, 0x22, 0]), Ok(Message::content(0, "")));
        assert_eq!(decode(&[0x1a, 2, 0x08, 0]), Ok(Message::connect(0, &[])));
    }

    #[test]
    fn packed_and_unpacked_members_are_accepted() {
        assert_eq!(decode(&[0x1a, 6, 0x08, 9, 0x12, 2, 1, 2]), Ok(Message::connect(9, &[1, 2])));
        assert_eq!(decode(&[0x1a, 6, 0x08, 9, 0x10, 1, 0x10, 2]), Ok(Message::connect(9, &[1, 2])));
    }

    #[test]
    fn heartbeat_false_is_a_heartbeat() {
        assert_eq!(decode(&[0x08, 0]), Ok(Message::Heartbeat));
    }

    #[test]
    fn unknown_field_is_skipped() {
        assert_eq!(decode(&[0x78, 5, 0x08, 1]), Ok(Message::Heartbeat));
    }

    #[test]
    fn message_without_a_known_type_is_rejected() {
        assert_eq!(decode(&[]), Err(WireError::NoKnownType));
        assert_eq!(decode(&[0x78, 5]), Err(WireError::NoKnownType));
    }

    #[test]
    fn malformed_bytes_are_rejected() {
        for bytes in [
            &[0xff; 12][..],        // a varint without end
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
