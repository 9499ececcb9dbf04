//! A batch of records between nodes decodes or is rejected. A valid one has exactly the bytes of its records.

use bytes::Bytes;

// Records are not public, and their identifiers are not public yet.
#[path = "../../src/cluster/id.rs"]
#[allow(dead_code, unreachable_pub, reason = "its tests use what the oracle does not; the module is private here")]
mod id;
#[path = "../../src/cluster/records/mod.rs"]
#[expect(dead_code, unused_imports, reason = "only nodes queue records")]
mod node_records;

use id::{GroupTag, NodeId};
use node_records::{Batch, BatchWriter, Record, sender};

pub(crate) fn check(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(batch) = Batch::decode(bytes.clone()) else { return };
    assert_eq!(sender(&bytes), Some(batch.sender()));
    let mut writer = BatchWriter::new(batch.sender(), batch.first());
    let end = batch.end();
    for record in batch.into_records() {
        if let Record::Data { bytes: content, .. } = &record
            && !content.is_empty()
        {
            let (whole, part) = (bytes.as_ptr_range(), content.as_ptr_range());
            assert!(whole.start <= part.start && part.end <= whole.end, "the content is a slice of the batch");
        }
        writer.push(&record);
    }
    let again = writer.finish();
    assert_eq!(again, bytes, "a batch has one encoding");
    assert_eq!(Batch::decode(again).map(|batch| batch.end()).ok(), Some(end));
}
