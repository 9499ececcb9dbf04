//! The records between two nodes in order: numbers, gaps, RESET and SYNC.
//!
//! Each pair of a sending and a receiving node has one sequence of records, numbered from 0. [`Outbound`] is the
//! sending end, and [`Inbox`] the receiving end. A new incarnation of either node starts new sequences, because it is a
//! new [`NodeId`]. A node keeps both ends of a pair until the other node is dead.
//!
//! # Gaps
//!
//! Records can be lost: the inbox was trimmed, wiped or rolled back, or the sender's outbox was full. A link that lost
//! a record must end, because its ends no longer agree. These rules make all links of a pair agree again:
//!
//! 1. A node that sees a gap ([`Received::missed`], or an unreadable batch) ends all links with the sender at once, so
//!    that no content follows lost content. It looks at the groups of these links. It applies the records that follow
//!    the gap as usual; those of ended links have no effect.
//! 2. It sends RESET when [`Inbox::take_reset`] allows it. At that time it ends all links with the sender again: those
//!    that were bound since the gap. Usually this is at once and there are none.
//! 3. A node that receives RESET ends all links with the sender. For each link *whose joiner is on the node itself*, it
//!    sends END, because its BIND may have crossed the RESET: the sender of the RESET may have applied such a BIND
//!    after it ended all links. Links whose joiner is on the other node need no END: the other node made them before
//!    the RESET and has ended them.
//! 4. RESET is never answered with RESET, so two nodes that both saw a gap send one each.
//! 5. A node whose outbox overflows ([`OutboxFull`]) ends all links with the receiver. It sends no RESET: the discarded
//!    records keep their numbers, so the receiver sees a gap.
//!
//! RESET has a number like any record. A duplicate of it is dropped, and cannot end later links. If it is lost, the
//! other node sees a gap and does what RESET asks for, and more.
//!
//! SYNC is a batch without records: the number of its first record is the number of the next one. A receiver thus has a
//! single rule for both.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use super::NodeId;
use super::records::{Batch, BatchWriter, MAX_BATCH_BYTES, Record, Records};

/// The time between two SYNCs, and thus the time after which a receiver learns that it missed the last records.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The minimum time between two RESETs.
pub(crate) const RESET_INTERVAL: Duration = Duration::from_millis(500);

/// The number of SYNCs after the last record. A SYNC can be lost, too.
const SYNCS_AFTER_RECORD: u32 = 10;

/// What a node has received from one other node.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// The number of the next record.
    expected: u64,
    /// The other node has not been told about a gap yet.
    reset_owed: bool,
    /// The time before which no RESET may be sent.
    reset_not_before: Duration,
}

/// A batch that an [`Inbox`] has received.
#[derive(Debug)]
#[must_use]
pub(crate) struct Received {
    /// The number of records that were missed before this batch. If it is not 0, there is a gap: the caller ends all
    /// links with the sender before it applies the records.
    pub(crate) missed: u64,
    /// The records to apply, without duplicates.
    pub(crate) records: std::iter::Skip<Records>,
}

/// What a node sends to one other node. One batch is in flight at a time.
#[derive(Debug)]
pub(crate) struct Outbound {
    me: NodeId,
    /// The number of the next record.
    next: u64,
    /// The records that wait for the batch in flight.
    waiting: Option<BatchWriter>,
    /// The length of the batch in flight, in bytes.
    in_flight: Option<usize>,
    /// The number of its records.
    in_flight_records: u64,
    /// The maximum length of the waiting batch and the one in flight together.
    max_bytes: usize,
    /// The number of SYNCs that remain to be sent.
    syncs: u32,
    /// The time of the next SYNC.
    sync_at: Duration,
}

/// The records that wait for another node exceed the maximum. They were discarded, and the receiver will see a gap.
///
/// The caller ends all links with the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("records for a node exceed {max_bytes} bytes; {discarded} records were discarded")]
pub(crate) struct OutboxFull {
    pub(crate) discarded: u64,
    pub(crate) max_bytes: usize,
}

impl Inbox {
    /// Receives a batch of the other node. Records that were received before are dropped: the engine may store a batch
    /// twice.
    pub(crate) fn receive(&mut self, batch: Batch) -> Received {
        let missed = batch.first().saturating_sub(self.expected);
        let duplicates = self.expected.saturating_sub(batch.first());
        self.reset_owed |= missed > 0;
        self.expected = self.expected.max(batch.end());
        let records = batch.into_records().skip(usize::try_from(duplicates).unwrap_or(usize::MAX));
        Received { missed, records }
    }

    /// Receives a batch of the other node that cannot be decoded. It counts as a gap. The number of its records is
    /// unknown, so the next batch reports another gap.
    pub(crate) fn unreadable(&mut self) {
        self.reset_owed = true;
    }

    /// Returns the time at which a RESET is due. `None` if none is owed.
    pub(crate) fn reset_at(&self) -> Option<Duration> {
        self.reset_owed.then_some(self.reset_not_before)
    }

    /// Returns whether to send a RESET now. If it does, the caller ends all links with the other node first.
    pub(crate) fn take_reset(&mut self, now: Duration) -> bool {
        let due = self.reset_at().is_some_and(|at| at <= now);
        if due {
            self.reset_owed = false;
            self.reset_not_before = now + RESET_INTERVAL;
        }
        due
    }
}

impl Outbound {
    /// Creates the sending end to a node to which this incarnation has sent nothing.
    ///
    /// # Panics
    /// If `max_bytes` exceeds [`MAX_BATCH_BYTES`], because no node would read such a batch.
    pub(crate) fn new(me: NodeId, max_bytes: usize) -> Self {
        assert!(max_bytes <= MAX_BATCH_BYTES, "a batch of {max_bytes} bytes would be too long");
        Self {
            me,
            next: 0,
            waiting: None,
            in_flight: None,
            in_flight_records: 0,
            max_bytes,
            syncs: 0,
            sync_at: Duration::ZERO,
        }
    }

    /// Adds a record to the next batch.
    ///
    /// # Errors
    /// [`OutboxFull`]: this record and all waiting records were discarded.
    pub(crate) fn push(&mut self, record: &Record) -> Result<(), OutboxFull> {
        let waiting = self.waiting.get_or_insert_with(|| BatchWriter::new(self.me, self.next));
        waiting.push(record);
        self.next += 1;
        // After an overflow, a SYNC shows the gap to the receiver.
        self.syncs = SYNCS_AFTER_RECORD;
        if waiting.len() + self.in_flight.unwrap_or(0) <= self.max_bytes {
            return Ok(());
        }
        let discarded = waiting.count().into();
        self.waiting = None;
        Err(OutboxFull { discarded, max_bytes: self.max_bytes })
    }

    /// Returns the next batch: the waiting records, or a SYNC. `None` if nothing is due, or if a batch is in flight.
    ///
    /// The caller sends the batch, repeats the same bytes until the engine has confirmed them, and then calls
    /// [`Outbound::sent`].
    pub(crate) fn next_batch(&mut self, now: Duration) -> Option<Bytes> {
        self.due_at().filter(|&at| at <= now)?;
        let batch = self.waiting.take().unwrap_or_else(|| {
            self.syncs = self.syncs.saturating_sub(1);
            BatchWriter::new(self.me, self.next)
        });
        self.in_flight_records = batch.count().into();
        let batch = batch.finish();
        self.in_flight = Some(batch.len());
        self.sync_at = now + SYNC_INTERVAL;
        Some(batch)
    }

    /// Returns the time at which [`Outbound::next_batch`] returns a batch. Zero if records wait. `None` if a batch is
    /// in flight, or if there is nothing to send.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        match (self.in_flight, &self.waiting) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(Duration::ZERO),
            (None, None) => (self.syncs > 0).then_some(self.sync_at),
        }
    }

    /// Returns whether the engine has confirmed all records.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.in_flight.is_none()
    }

    /// Sends SYNCs again, although no record was added: the engine may have lost the last records.
    pub(crate) fn repeat_syncs(&mut self) {
        if self.next > 0 {
            self.syncs = SYNCS_AFTER_RECORD;
        }
    }

    /// Ends the flight of the batch that [`Outbound::next_batch`] returned last. Returns the number of its records.
    pub(crate) fn sent(&mut self) -> u64 {
        self.in_flight = None;
        std::mem::take(&mut self.in_flight_records)
    }
}
