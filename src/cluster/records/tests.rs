//! Batches are unchanged after encoding and decoding, and invalid ones are rejected with what is wrong.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::reader::RecordError;
use super::*;

const SENDER: NodeId = NodeId(0x0102_0304_0506_0708);
const FIRST: u64 = 9;
const ENVELOPE: usize = 21;

fn encode(records: &[Record]) -> Bytes {
    let mut writer = BatchWriter::new(SENDER, FIRST);
    records.iter().for_each(|record| writer.push(record));
    writer.finish()
}

fn decode(bytes: &[u8]) -> Result<Vec<Record>, RecordError> {
    Batch::decode(Bytes::copy_from_slice(bytes)).map(|batch| batch.into_records().collect())
}

fn group() -> GroupTag {
    GroupTag::from_bytes([0xab; 16])
}

fn link(value: u32) -> LinkId {
    LinkId::new(value).expect("a valid link id")
}

fn data(content: &'static [u8]) -> Record {
    let bytes = Bytes::from_static(content);
    Record::Data { group: group(), link: link(7), side: Side::Member, last: true, bytes }
}

fn closing(code: CloseCode) -> Record {
    Record::Close { group: group(), peer: PeerId(3), code, reason: "é".to_owned(), cause: "max_peers".to_owned() }
}

/// One record of each kind.
fn all_kinds() -> Vec<Record> {
    let (group, link, member_id) = (group(), link(7), MemberId(u32::MAX));
    let (code, reason) = (CloseCode::app(4001), "banned".to_owned());
    let matching = [Matching::Group(group), Matching::Identity("alice".to_owned())];
    let [of_group, of_identity] =
        matching.map(|matching| Record::CloseMatching { matching, code, reason: reason.clone() });
    vec![
        Record::Bind { group, link, joiner: PeerId(1), member: PeerId(u64::MAX), member_id },
        data(b"offer"),
        Record::End { group, link, side: Side::Joiner },
        Record::Over { group, link },
        Record::Id { group, link, member_id },
        Record::Look { group, member: PeerId(2) },
        closing(CloseCode::Policy),
        of_group,
        of_identity,
        Record::Reset,
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let link = (any::<[u8; 16]>(), 1..=u32::MAX >> 1)
        .prop_map(|(group, id)| (GroupTag::from_bytes(group), LinkId::new(id).expect("31 bits, not 0")));
    let side = || prop_oneof![Just(Side::Joiner), Just(Side::Member)];
    let code = prop_oneof![
        prop::sample::select(vec![CloseCode::GoingAway, CloseCode::Policy, CloseCode::BlockingMember, CloseCode::Url]),
        prop_oneof![4000..=4739_u16, 4746..=4999_u16].prop_map(CloseCode::app),
    ];
    let close = (code, "\\PC{0,50}");
    let (peer, id) = (any::<u64>().prop_map(PeerId), any::<u32>().prop_map(MemberId));
    prop_oneof![
        (link.clone(), peer.clone(), peer.clone(), id.clone()).prop_map(
            |((group, link), joiner, member, member_id)| Record::Bind { group, link, joiner, member, member_id }
        ),
        (link.clone(), side(), any::<bool>(), vec(any::<u8>(), 0..300)).prop_map(
            |((group, link), side, last, bytes)| Record::Data { group, link, side, last, bytes: bytes.into() }
        ),
        (link.clone(), side()).prop_map(|((group, link), side)| Record::End { group, link, side }),
        link.clone().prop_map(|(group, link)| Record::Over { group, link }),
        (link.clone(), id).prop_map(|((group, link), member_id)| Record::Id { group, link, member_id }),
        (link.clone(), peer.clone()).prop_map(|((group, _), member)| Record::Look { group, member }),
        (link.clone(), peer, close.clone(), "\\PC{0,50}").prop_map(|((group, _), peer, (code, reason), cause)| {
            Record::Close { group, peer, code, reason, cause }
        }),
        (link, "\\PC{0,50}", any::<bool>(), close).prop_map(|((group, _), identity, by_group, (code, reason))| {
            let matching = if by_group { Matching::Group(group) } else { Matching::Identity(identity) };
            Record::CloseMatching { matching, code, reason }
        }),
        Just(Record::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batch_is_unchanged_after_encoding_and_decoding(
        sender in any::<u64>(),
        first in 0..u64::MAX - 30,
        records in vec(record(), 0..30),
    ) {
        let mut writer = BatchWriter::new(NodeId(sender), first);
        records.iter().for_each(|record| writer.push(record));
        let (length, bytes) = (writer.len(), writer.finish());
        prop_assert_eq!(length, bytes.len());
        let batch = Batch::decode(bytes).expect("a valid batch");
        prop_assert_eq!((batch.sender(), batch.first()), (NodeId(sender), first));
        prop_assert_eq!(batch.end(), first + records.len() as u64);
        prop_assert_eq!(batch.into_records().collect::<Vec<_>>(), records);
    }

    #[test]
    fn damaged_batch_that_decodes_has_the_bytes_of_its_records(
        records in vec(record(), 0..4),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut bytes = encode(&records).to_vec();
        for (at, byte) in damages {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(batch) = Batch::decode(bytes.clone().into()) {
            let mut writer = BatchWriter::new(batch.sender(), batch.first());
            batch.into_records().for_each(|record| writer.push(&record));
            prop_assert_eq!(writer.finish(), bytes);
        }
    }
}

#[test]
fn format_of_a_batch_is_fixed() {
    let envelope = [&[1][..], &[1, 2, 3, 4, 5, 6, 7, 8], &[0, 0, 0, 0, 0, 0, 0, 9], &[0, 0, 0, 2]].concat();
    let record = [&[2][..], &[0xab; 16], &[0, 0, 0, 7], &[1], &[1], &[0, 0, 0, 2], b"hi"].concat();
    assert_eq!(encode(&[data(b"hi"), Record::Reset]), [&envelope[..], &record, &[10]].concat());
}

#[test]
fn content_is_a_slice_of_the_batch() {
    let bytes = encode(&[data(b"offer"), data(b"")]);
    let whole = bytes.as_ptr_range();
    let first = Batch::decode(bytes).expect("a valid batch").into_records().next();
    let Some(Record::Data { bytes: content, .. }) = first else { panic!("{first:?} is not content") };
    assert_eq!(content, "offer");
    assert!(whole.contains(&content.as_ptr()), "the content was copied");
}

#[test]
fn every_truncated_batch_is_rejected() {
    let bytes = encode(&all_kinds());
    for length in 0..bytes.len() {
        let error = decode(&bytes[..length]).expect_err("a truncated batch");
        assert!(matches!(error, RecordError::Truncated { .. }), "{length} bytes: {error}");
    }
}

#[test]
fn bytes_after_the_last_record_are_rejected() {
    let bytes = encode(&all_kinds());
    // The second one would be a valid record.
    for byte in [0, 10] {
        let error = decode(&[&bytes[..], &[byte]].concat()).expect_err("a byte too many");
        assert_eq!(error.to_string(), "batch has 1 bytes after its last record; must have none");
    }
}

#[test]
fn length_beyond_the_batch_is_rejected_before_anything_is_allocated() {
    let mut bytes = encode(&[data(b"hi")]).to_vec();
    let at = bytes.len() - 6;
    bytes[at..at + 4].fill(0xff);
    let error = decode(&bytes).expect_err("the length is wrong");
    assert_eq!(error.to_string(), "content at byte 48 needs 4294967295 bytes, but the batch has only 2 more");

    let mut bytes = encode(&[]).to_vec();
    bytes[ENVELOPE - 4..].fill(0xff);
    let error = decode(&bytes).expect_err("the number of records is wrong");
    assert_eq!(error.to_string(), "kind of a record at byte 21 needs 1 bytes, but the batch has only 0 more");
}

#[test]
fn unknown_kind_is_rejected() {
    for kind in [0, 11, 255] {
        let mut bytes = encode(&[Record::Reset, Record::Reset]).to_vec();
        bytes[ENVELOPE + 1] = kind;
        assert_eq!(decode(&bytes), Err(RecordError::UnknownKind { at: 22, kind }));
    }
}

#[test]
fn other_version_is_rejected_and_its_sender_is_known() {
    for version in [0, 2, 255] {
        let mut bytes = encode(&all_kinds()).to_vec();
        bytes[0] = version;
        let error = decode(&bytes).expect_err("another version");
        assert_eq!(error.to_string(), format!("batch has format version {version}; must be 1"));
        assert_eq!(sender(&bytes), Some(SENDER));
        assert_eq!(sender(&bytes[..9]), Some(SENDER));
        assert_eq!(sender(&bytes[..8]), None);
        assert_eq!(sender(&[]), None);
    }
}

#[test]
fn too_long_batch_is_rejected() {
    let decode = |length| Batch::decode(vec![0; length].into()).expect_err("zeros").to_string();
    assert_eq!(decode(MAX_BATCH_BYTES + 1), "batch has 134217729 bytes; must have at most 134217728");
    assert_eq!(decode(MAX_BATCH_BYTES), "batch has format version 0; must be 1");
}

#[test]
fn numbers_over_64_bits_are_rejected() {
    let batch = |first| {
        let mut writer = BatchWriter::new(SENDER, first);
        writer.push(&Record::Reset);
        Batch::decode(writer.finish())
    };
    assert_eq!(batch(u64::MAX - 1).map(|batch| batch.end()).ok(), Some(u64::MAX));
    let error = batch(u64::MAX).expect_err("the numbers are too large");
    assert_eq!(
        error.to_string(),
        "1 records from number 18446744073709551615 exceed the largest number, 18446744073709551615"
    );
}

#[test]
fn invalid_value_is_rejected_with_its_position() {
    let cases = [
        (data(b""), 38, &[0, 0, 0, 0][..], "link at byte 38 is invalid; must be 1 to 2147483647"),
        (data(b""), 38, &[0x80, 0, 0, 1], "link at byte 38 is invalid; must be 1 to 2147483647"),
        (data(b""), 42, &[2], "side at byte 42 is invalid; must be 0 or 1"),
        (data(b""), 43, &[0xff], "last at byte 43 is invalid; must be 0 or 1"),
        (
            closing(CloseCode::Policy),
            46,
            &[3, 0xee],
            "close code at byte 46 is invalid; must be one that the hub sends",
        ),
        (closing(CloseCode::Policy), 52, &[0xff], "close reason at byte 48 is invalid; must be UTF-8"),
    ];
    for (record, at, value, expected) in cases {
        let mut bytes = encode(&[record]).to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        assert_eq!(decode(&bytes).map_err(|error| error.to_string()), Err(expected.to_owned()));
    }
}

#[test]
fn every_number_of_a_close_code_is_that_code_or_is_rejected() {
    let mut bytes = encode(&[closing(CloseCode::Policy)]).to_vec();
    let mut accepted = 0;
    for number in 0..=u16::MAX {
        bytes[46..48].copy_from_slice(&number.to_be_bytes());
        match decode(&bytes).as_deref() {
            Ok([Record::Close { code, .. }]) => {
                assert_eq!(code.as_u16(), number);
                accepted += 1;
            }
            Ok(records) => panic!("{records:?}"),
            Err(error) => assert!(matches!(error, RecordError::InvalidField { field: "close code", .. }), "{error}"),
        }
    }
    // The codes of the app, those of the protocol between them, and those of RFC 6455.
    assert_eq!(accepted, 1000 + 6);
}
