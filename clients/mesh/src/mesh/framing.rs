//! Messages of the app in pieces: one byte of flags, then up to 16 384 bytes.

use bytes::Bytes;

use super::limits::{MAX_MESSAGE_BYTES, PIECE_BYTES};
use crate::payload::Payload;

const TEXT: u8 = 1;
const LAST: u8 = 2;

/// The pieces of one message, in order.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    payload: &'a Payload,
    /// Where the next piece starts; `None` after the last one.
    position: Option<usize>,
}

impl<'a> Pieces<'a> {
    /// Continues at `position`, a multiple of the size of a piece.
    pub(crate) fn starting_at(payload: &'a Payload, position: usize) -> Self {
        Self { payload, position: Some(position) }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let bytes = self.payload.as_bytes();
        let start = self.position?;
        let end = bytes.len().min(start + PIECE_BYTES);
        let is_last = end == bytes.len();
        let mut piece = Vec::with_capacity(1 + end - start);
        let text = if self.payload.as_text().is_some() { TEXT } else { 0 };
        piece.push(text | if is_last { LAST } else { 0 });
        piece.extend_from_slice(bytes.get(start..end)?);
        self.position = (!is_last).then_some(end);
        Some(piece)
    }
}

/// A piece breaks the rules: the connection closes with `invalid`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidPiece;

/// Puts the pieces of one channel together.
#[derive(Debug)]
pub(crate) struct Assembler {
    bytes: Vec<u8>,
    /// A channel that is unordered or not reliable: each message is one piece.
    single: bool,
}

impl Assembler {
    pub(crate) fn new(single: bool) -> Self {
        Self { bytes: Vec::new(), single }
    }

    /// Adds a binary message of the channel. Returns the message that it completes.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Option<Payload>, InvalidPiece> {
        let Some((&flags, content)) = piece.split_first() else { return Ok(None) };
        let is_last = flags & LAST != 0;
        let is_valid =
            if is_last { content.len() <= PIECE_BYTES } else { content.len() == PIECE_BYTES && !self.single };
        if !is_valid || self.bytes.len() + content.len() > MAX_MESSAGE_BYTES {
            return Err(InvalidPiece);
        }
        self.bytes.extend_from_slice(content);
        if !is_last {
            return Ok(None);
        }
        let bytes = std::mem::take(&mut self.bytes);
        Ok(Some(if flags & TEXT != 0 {
            Payload::Text(
                String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            )
        } else {
            Payload::Binary(Bytes::from(bytes))
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn message_of_64_mib_is_accepted_and_a_longer_one_is_not() {
        let mut full = vec![0; 1 + PIECE_BYTES];
        let mut assembler = Assembler::new(false);
        for _ in 0..MAX_MESSAGE_BYTES / PIECE_BYTES {
            assert_eq!(assembler.push(&full), Ok(None));
        }
        assert_eq!(assembler.push(&[LAST]).map(|message| message.expect("complete").len()), Ok(MAX_MESSAGE_BYTES));
        for _ in 0..MAX_MESSAGE_BYTES / PIECE_BYTES {
            assert_eq!(assembler.push(&full), Ok(None));
        }
        full.truncate(2);
        full[0] = LAST;
        assert_eq!(assembler.push(&full), Err(InvalidPiece));
    }

    #[test]
    fn empty_messages_and_unknown_flags_are_ignored() {
        let mut assembler = Assembler::new(false);
        assert_eq!(assembler.push(&[]), Ok(None));
        assert_eq!(assembler.push(&[0xff, b'x']), Ok(Some("x".into())));
    }

    #[test]
    fn text_that_is_not_utf_8_is_replaced() {
        let mut assembler = Assembler::new(false);
        assert_eq!(assembler.push(&[TEXT | LAST, b'h', 0xff]), Ok(Some("h\u{fffd}".into())));
    }

    #[test]
    fn message_of_an_unreliable_channel_is_one_piece() {
        let mut assembler = Assembler::new(true);
        let mut full = vec![0; 1 + PIECE_BYTES];
        assert_eq!(assembler.push(&full), Err(InvalidPiece));
        full[0] = LAST;
        assert!(assembler.push(&full).is_ok_and(|message| message.is_some()));
    }

    proptest! {
        #[test]
        fn message_that_is_split_is_put_together_again(text: bool, length in 0..3 * PIECE_BYTES + 2) {
            let payload = if text { Payload::Text("x".repeat(length)) } else { vec![7; length].into() };
            let mut assembler = Assembler::new(false);
            let mut received = None;
            for piece in Pieces::starting_at(&payload, 0) {
                prop_assert_eq!(received, None);
                received = assembler.push(&piece).expect("valid");
            }
            prop_assert_eq!(received, Some(payload));
        }
    }
}
