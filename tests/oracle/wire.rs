//! Bytes decode to a message or an error, and a message is unchanged after encoding and decoding.

use bytes::Bytes;
use sigver::protocol::Message;

/// A field that is not in the schema.
const UNKNOWN: [u8; 2] = [0x78, 5];

pub(crate) fn check(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(message) = Message::decode(bytes.clone()) else { return };
    if let Message::Content { data, .. } = &message
        && !data.is_empty()
    {
        let (whole, part) = (bytes.as_ptr_range(), data.as_ptr_range());
        assert!(whole.start <= part.start && part.end <= whole.end, "the payload is a slice of the input");
    }
    assert_eq!(Message::decode(message.clone().encode()).as_ref(), Ok(&message));
    let longer = [&bytes[..], &UNKNOWN].concat();
    assert_eq!(Message::decode(longer.into()), Ok(message), "an unknown field is skipped");
}
