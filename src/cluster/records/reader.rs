//! Reads the fields of a batch. Checks each length before it takes the bytes, and each value.

use bytes::{Buf as _, Bytes};

use super::{CloseCode, GroupTag, LinkId, MAX_BATCH_BYTES, Side, VERSION};

/// The reason why bytes are not a valid batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("batch has {0} bytes; must have at most {MAX_BATCH_BYTES}")]
    TooLong(usize),
    /// The sender runs another version of sigver.
    #[error("batch has format version {0}; must be {VERSION}")]
    UnsupportedVersion(u8),
    #[error("record at byte {at} has kind {kind}; must be a kind of format version {VERSION}")]
    UnknownKind { at: usize, kind: u8 },
    #[error("{field} at byte {at} is invalid; must be {valid}")]
    InvalidField { at: usize, field: &'static str, valid: &'static str },
    #[error("{field} at byte {at} needs {needed} bytes, but the batch has only {left} more")]
    Truncated { at: usize, field: &'static str, needed: usize, left: usize },
    #[error("batch has {0} bytes after its last record; must have none")]
    TrailingBytes(usize),
    #[error("{count} records from number {first} exceed the largest number, {}", u64::MAX)]
    NumberTooLarge { first: u64, count: u32 },
}

/// The rest of a batch.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    rest: Bytes,
    /// The length of the batch.
    length: usize,
}

impl Reader {
    pub(super) fn new(batch: Bytes) -> Self {
        Self { length: batch.len(), rest: batch }
    }

    /// Returns the position of the next byte in the batch.
    pub(super) fn at(&self) -> usize {
        self.length - self.left()
    }

    /// Returns the number of bytes after it.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, RecordError> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, RecordError> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, RecordError> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, RecordError> {
        self.checked(field, "0 or 1", |reader| {
            Ok(match reader.u8(field)? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })
        })
    }

    pub(super) fn side(&mut self) -> Result<Side, RecordError> {
        let is_member = self.flag("side")?;
        Ok(if is_member { Side::Member } else { Side::Joiner })
    }

    pub(super) fn group(&mut self) -> Result<GroupTag, RecordError> {
        self.array("group").map(GroupTag::from_bytes)
    }

    pub(super) fn link(&mut self) -> Result<LinkId, RecordError> {
        self.checked("link", "1 to 2147483647", |reader| Ok(LinkId::new(reader.u32("link")?)))
    }

    pub(super) fn close_code(&mut self) -> Result<CloseCode, RecordError> {
        self.checked("close code", "one that the hub sends", |reader| {
            Ok(CloseCode::from_u16(reader.array("close code").map(u16::from_be_bytes)?))
        })
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, RecordError> {
        self.checked(field, "UTF-8", |reader| Ok(String::from_utf8(reader.bytes(field)?.into()).ok()))
    }

    /// Reads a length and as many bytes. Returns a slice of the batch.
    pub(super) fn bytes(&mut self, field: &'static str) -> Result<Bytes, RecordError> {
        let needed = self.u32(field)? as usize;
        self.check_length(field, needed)?;
        Ok(self.rest.split_to(needed))
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], RecordError> {
        self.check_length(field, N)?;
        let mut array = [0; N];
        self.rest.copy_to_slice(&mut array);
        Ok(array)
    }

    fn check_length(&self, field: &'static str, needed: usize) -> Result<(), RecordError> {
        let left = self.left();
        if needed > left { Err(RecordError::Truncated { at: self.at(), field, needed, left }) } else { Ok(()) }
    }

    /// Reads a field. `None` becomes an error that states the position of the field.
    fn checked<T>(
        &mut self,
        field: &'static str,
        valid: &'static str,
        read: impl FnOnce(&mut Self) -> Result<Option<T>, RecordError>,
    ) -> Result<T, RecordError> {
        let at = self.at();
        read(self)?.ok_or(RecordError::InvalidField { at, field, valid })
    }
}
