//! The format of batches: an envelope and records, encoded and decoded.
//!
//! All numbers are big-endian and have a fixed width. Most of them are random, so a variable width would make them
//! longer. A fixed width also gives each batch exactly one encoding. A text or content has its length before it, in 32
//! bits.
//!
//! | envelope | bytes |
//! |---|---|
//! | version | 1 |
//! | sending node | 8 |
//! | number of the first record | 8 |
//! | number of records | 4 |
//!
//! A batch without records is a SYNC: it states that the sender has sent all records below the number of the first one.
//! The number of records makes a batch invalid that was truncated between two records, or that has bytes after the last
//! one.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::reader::{Reader, RecordError};
use super::{CloseCode, GroupTag, LinkId, MAX_BATCH_BYTES, Matching, MemberId, NodeId, PeerId, Record, Side, VERSION};

/// The position of the number of records in the envelope.
const COUNT_AT: usize = 17;

const BIND: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;
const OVER: u8 = 4;
const ID: u8 = 5;
const LOOK: u8 = 6;
const CLOSE: u8 = 7;
const CLOSE_GROUP: u8 = 8;
const CLOSE_IDENTITY: u8 = 9;
const RESET: u8 = 10;

/// A batch of valid records.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    sender: NodeId,
    first: u64,
    records: Records,
}

/// The records of a batch, in order. Each is decoded when it is taken, so that a batch costs no memory but its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    reader: Reader,
    count: u32,
}

/// A batch to which records can be added.
#[derive(Debug)]
pub(crate) struct BatchWriter {
    bytes: BytesMut,
    count: u32,
}

/// Returns the node that sent a batch, even if the batch is invalid. The version and the sender are at the same place
/// in every version of the format, so that a node can tell which node it does not understand.
pub(crate) fn sender(batch: &[u8]) -> Option<NodeId> {
    let (_version, after) = batch.split_first()?;
    after.first_chunk().map(|&id| NodeId(u64::from_be_bytes(id)))
}

impl Batch {
    /// Decodes a batch. Content is a slice of `bytes`, not a copy.
    ///
    /// # Errors
    /// [`RecordError`]: none of the records may be applied. The caller treats them as missed, see
    /// `Inbox::unreadable`.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        if bytes.len() > MAX_BATCH_BYTES {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let mut reader = Reader::new(bytes);
        let version = reader.u8("version")?;
        if version != VERSION {
            return Err(RecordError::UnsupportedVersion(version));
        }
        let sender = NodeId(reader.u64("sending node")?);
        let first = reader.u64("number of the first record")?;
        let count = reader.u32("number of records")?;
        if first.checked_add(count.into()).is_none() {
            return Err(RecordError::NumberTooLarge { first, count });
        }
        let records = Records { reader: reader.clone(), count };
        for _ in 0..count {
            Record::decode(&mut reader)?;
        }
        match reader.left() {
            0 => Ok(Self { sender, first, records }),
            left => Err(RecordError::TrailingBytes(left)),
        }
    }

    /// Returns the node that sent the batch.
    pub(crate) fn sender(&self) -> NodeId {
        self.sender
    }

    /// Returns the number of the first record. Without records, the number that the next record will have.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number after that of the last record.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.records.count)
    }

    /// Returns the records.
    pub(crate) fn into_records(self) -> Records {
        self.records
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.count = self.count.checked_sub(1)?;
        Some(Record::decode(&mut self.reader).expect("Batch::decode has decoded all records"))
    }
}

impl BatchWriter {
    /// Creates a batch without records.
    pub(crate) fn new(sender: NodeId, first: u64) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        bytes.put_u64(sender.0);
        bytes.put_u64(first);
        bytes.put_u32(0);
        Self { bytes, count: 0 }
    }

    /// Adds a record. Content is copied once.
    pub(crate) fn push(&mut self, record: &Record) {
        record.encode(&mut self.bytes);
        self.count += 1;
    }

    /// Returns the number of records.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the encoded batch.
    pub(crate) fn finish(mut self) -> Bytes {
        self.bytes[COUNT_AT..][..4].copy_from_slice(&self.count.to_be_bytes());
        self.bytes.freeze()
    }
}

impl Record {
    fn encode(&self, bytes: &mut BytesMut) {
        match self {
            Self::Bind { group, link, joiner, member, member_id } => {
                put_link(bytes, BIND, *group, *link);
                bytes.put_u64(joiner.0);
                bytes.put_u64(member.0);
                bytes.put_u32(member_id.0);
            }
            Self::Data { group, link, side, last, bytes: content } => {
                put_link(bytes, DATA, *group, *link);
                bytes.put_u8((*side == Side::Member).into());
                bytes.put_u8((*last).into());
                put_bytes(bytes, content);
            }
            Self::End { group, link, side } => {
                put_link(bytes, END, *group, *link);
                bytes.put_u8((*side == Side::Member).into());
            }
            Self::Over { group, link } => put_link(bytes, OVER, *group, *link),
            Self::Id { group, link, member_id } => {
                put_link(bytes, ID, *group, *link);
                bytes.put_u32(member_id.0);
            }
            Self::Look { group, member } => {
                put_group(bytes, LOOK, *group);
                bytes.put_u64(member.0);
            }
            Self::Close { group, peer, code, reason, cause } => {
                put_group(bytes, CLOSE, *group);
                bytes.put_u64(peer.0);
                put_close(bytes, *code, reason);
                put_bytes(bytes, cause.as_bytes());
            }
            Self::CloseMatching { matching, code, reason } => {
                match matching {
                    Matching::Group(group) => put_group(bytes, CLOSE_GROUP, *group),
                    Matching::Identity(identity) => {
                        bytes.put_u8(CLOSE_IDENTITY);
                        put_bytes(bytes, identity.as_bytes());
                    }
                }
                put_close(bytes, *code, reason);
            }
            Self::Reset => bytes.put_u8(RESET),
        }
    }

    /// Decodes the next record. The fields of a variant are read in the order in which they are written here.
    fn decode(reader: &mut Reader) -> Result<Self, RecordError> {
        let at = reader.at();
        Ok(match reader.u8("kind of a record")? {
            BIND => Self::Bind {
                group: reader.group()?,
                link: reader.link()?,
                joiner: PeerId(reader.u64("joiner")?),
                member: PeerId(reader.u64("member")?),
                member_id: MemberId(reader.u32("member id")?),
            },
            DATA => Self::Data {
                group: reader.group()?,
                link: reader.link()?,
                side: reader.side()?,
                last: reader.flag("last")?,
                bytes: reader.bytes("content")?,
            },
            END => Self::End { group: reader.group()?, link: reader.link()?, side: reader.side()? },
            OVER => Self::Over { group: reader.group()?, link: reader.link()? },
            ID => {
                Self::Id { group: reader.group()?, link: reader.link()?, member_id: MemberId(reader.u32("member id")?) }
            }
            LOOK => Self::Look { group: reader.group()?, member: PeerId(reader.u64("member")?) },
            CLOSE => Self::Close {
                group: reader.group()?,
                peer: PeerId(reader.u64("peer")?),
                code: reader.close_code()?,
                reason: reader.text("close reason")?,
                cause: reader.text("close cause")?,
            },
            CLOSE_GROUP => Self::CloseMatching {
                matching: Matching::Group(reader.group()?),
                code: reader.close_code()?,
                reason: reader.text("close reason")?,
            },
            CLOSE_IDENTITY => Self::CloseMatching {
                matching: Matching::Identity(reader.text("identity")?),
                code: reader.close_code()?,
                reason: reader.text("close reason")?,
            },
            RESET => Self::Reset,
            kind => return Err(RecordError::UnknownKind { at, kind }),
        })
    }
}

fn put_group(bytes: &mut BytesMut, kind: u8, group: GroupTag) {
    bytes.put_u8(kind);
    bytes.put_slice(&group.to_bytes());
}

fn put_link(bytes: &mut BytesMut, kind: u8, group: GroupTag, link: LinkId) {
    put_group(bytes, kind, group);
    bytes.put_u32(link.value());
}

fn put_close(bytes: &mut BytesMut, code: CloseCode, reason: &str) {
    bytes.put_u16(code.as_u16());
    put_bytes(bytes, reason.as_bytes());
}

fn put_bytes(bytes: &mut BytesMut, slice: &[u8]) {
    bytes.put_u32(slice.len().try_into().expect("no content or text has 4 GiB"));
    bytes.put_slice(slice);
}
