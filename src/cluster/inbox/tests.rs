//! Every record arrives once and in order, or the receiver sees a gap; and after gaps, both nodes have the same links.

mod channel;
mod links;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::cluster::GroupTag;
use crate::protocol::PeerId;

const ME: NodeId = NodeId(1);
const SECOND: Duration = Duration::from_secs(1);

/// A record that is distinguishable from others.
fn record(number: u64) -> Record {
    Record::Look { group: GroupTag::from_bytes([0; 16]), member: PeerId(number) }
}

fn number(record: &Record) -> u64 {
    match record {
        Record::Look { member, .. } => member.0,
        other => panic!("{other:?} is not a record of these tests"),
    }
}

/// A batch of these records.
fn batch(numbers: std::ops::Range<u64>) -> Batch {
    let mut writer = BatchWriter::new(ME, numbers.start);
    numbers.for_each(|number| writer.push(&record(number)));
    decode(writer.finish())
}

fn decode(bytes: Bytes) -> Batch {
    Batch::decode(bytes).expect("a valid batch")
}

/// Receives a batch of these records, and returns how many were missed before it and which ones to apply.
fn receive(inbox: &mut Inbox, numbers: std::ops::Range<u64>) -> (u64, Vec<u64>) {
    let Received { missed, records } = inbox.receive(batch(numbers));
    (missed, records.map(|record| number(&record)).collect())
}

fn numbers(batch: Option<Bytes>) -> Option<Vec<u64>> {
    let batch = decode(batch?);
    let numbers: Vec<_> = (batch.first()..batch.end()).collect();
    assert_eq!(batch.sender(), ME);
    assert_eq!(batch.into_records().map(|record| number(&record)).collect::<Vec<_>>(), numbers);
    Some(numbers)
}

fn push(outbound: &mut Outbound, numbers: std::ops::Range<u64>) {
    for number in numbers {
        outbound.push(&record(number)).expect("the outbox is not full");
    }
}

#[test]
fn records_in_order_are_applied() {
    let mut inbox = Inbox::default();
    assert_eq!(receive(&mut inbox, 0..2), (0, vec![0, 1]));
    assert_eq!(receive(&mut inbox, 2..3), (0, vec![2]));
    assert_eq!(inbox.reset_at(), None);
}

#[test]
fn first_record_of_a_node_has_number_0() {
    assert_eq!(receive(&mut Inbox::default(), 1..3), (1, vec![1, 2]));
}

#[test]
fn number_above_the_expected_one_is_a_gap_after_which_numbers_continue() {
    let mut inbox = Inbox::default();
    assert_eq!(receive(&mut inbox, 0..2), (0, vec![0, 1]));
    assert_eq!(receive(&mut inbox, 5..7), (3, vec![5, 6]));
    assert_eq!(receive(&mut inbox, 7..8), (0, vec![7]));
}

#[test]
fn record_with_a_lower_number_is_dropped() {
    let mut inbox = Inbox::default();
    assert_eq!(receive(&mut inbox, 0..5), (0, vec![0, 1, 2, 3, 4]));
    assert_eq!(receive(&mut inbox, 0..5), (0, vec![]));
    assert_eq!(receive(&mut inbox, 1..3), (0, vec![]), "numbers do not go back");
    assert_eq!(receive(&mut inbox, 3..8), (0, vec![5, 6, 7]), "a part of the batch is new");
    assert_eq!(receive(&mut inbox, 8..9), (0, vec![8]));
    assert_eq!(inbox.reset_at(), None);
}

#[test]
fn missed_record_that_arrives_after_the_gap_is_dropped() {
    let mut inbox = Inbox::default();
    assert_eq!(receive(&mut inbox, 2..3), (2, vec![2]));
    assert_eq!(receive(&mut inbox, 0..2), (0, vec![]));
}

#[test]
fn sync_reports_missed_records_once() {
    let mut inbox = Inbox::default();
    assert_eq!(receive(&mut inbox, 0..0), (0, vec![]));
    assert_eq!(receive(&mut inbox, 0..2), (0, vec![0, 1]));
    assert_eq!(receive(&mut inbox, 2..2), (0, vec![]));
    assert_eq!(receive(&mut inbox, 4..4), (2, vec![]));
    assert_eq!(receive(&mut inbox, 4..4), (0, vec![]));
    assert_eq!(receive(&mut inbox, 2..2), (0, vec![]), "a late duplicate");
    assert_eq!(receive(&mut inbox, 4..5), (0, vec![4]));
}

#[test]
fn gap_causes_one_reset_and_at_most_two_per_second() {
    let mut inbox = Inbox::default();
    let start = 100 * SECOND;
    assert!(!inbox.take_reset(start), "no gap, no RESET");
    let mut taken = 0;
    // A gap every 10 ms for 3 s.
    for step in 0..300 {
        let _ = receive(&mut inbox, 2 * step + 1..2 * step + 2);
        let now = start + step as u32 * Duration::from_millis(10);
        taken += u32::from(inbox.take_reset(now));
        assert!(!inbox.take_reset(now), "one RESET for one gap");
    }
    assert_eq!(taken, 6);
    // The RESET for the last gaps is delayed, and not forgotten.
    let due = inbox.reset_at().expect("a RESET is owed");
    assert_eq!(due, start + 3 * SECOND);
    assert!(!inbox.take_reset(due - Duration::from_nanos(1)));
    assert!(inbox.take_reset(due));
    assert_eq!(inbox.reset_at(), None);
}

#[test]
fn unreadable_batch_causes_a_reset_and_its_records_are_missed() {
    let mut inbox = Inbox::default();
    inbox.unreadable();
    assert!(inbox.take_reset(Duration::ZERO));
    assert_eq!(receive(&mut inbox, 2..3), (2, vec![2]));
}

#[test]
fn records_form_one_batch_while_another_is_in_flight() {
    let mut outbound = Outbound::new(ME, 1024);
    assert_eq!(outbound.due_at(), None);
    assert_eq!(numbers(outbound.next_batch(SECOND)), None);
    push(&mut outbound, 0..1);
    assert_eq!(outbound.due_at(), Some(Duration::ZERO));
    assert_eq!(numbers(outbound.next_batch(SECOND)), Some(vec![0]));
    push(&mut outbound, 1..4);
    assert_eq!(outbound.due_at(), None);
    assert_eq!(numbers(outbound.next_batch(9 * SECOND)), None, "one batch is in flight at a time");
    outbound.sent();
    assert_eq!(numbers(outbound.next_batch(9 * SECOND)), Some(vec![1, 2, 3]));
}

#[test]
fn sync_states_the_number_of_the_next_record() {
    let mut outbound = Outbound::new(ME, 1024);
    push(&mut outbound, 0..3);
    let _ = outbound.next_batch(10 * SECOND);
    outbound.sent();
    let now = 11 * SECOND;
    assert_eq!(outbound.due_at(), Some(now));
    assert_eq!(outbound.next_batch(now - Duration::from_nanos(1)), None);
    let sync = decode(outbound.next_batch(now).expect("a SYNC"));
    assert_eq!((sync.first(), sync.end()), (3, 3));
}

#[test]
fn record_delays_the_next_sync() {
    let mut outbound = Outbound::new(ME, 1024);
    let now = 10 * SECOND;
    push(&mut outbound, 0..1);
    let _ = outbound.next_batch(now);
    outbound.sent();
    push(&mut outbound, 1..2);
    assert_eq!(numbers(outbound.next_batch(now + SECOND / 2)), Some(vec![1]), "records do not wait");
    outbound.sent();
    assert_eq!(outbound.due_at(), Some(now + SECOND / 2 + SYNC_INTERVAL));
}

#[test]
fn sync_is_sent_every_second_ten_times_after_the_last_record_or_a_loss() {
    let mut outbound = Outbound::new(ME, 1024);
    outbound.repeat_syncs();
    assert_eq!(outbound.next_batch(SECOND), None, "nothing was ever sent");
    for (start, lost) in [(100, false), (200, false), (300, true)] {
        let number = outbound.next;
        if lost {
            outbound.repeat_syncs();
        } else {
            push(&mut outbound, number..number + 1);
        }
        let batches = (start..start + 60).filter_map(|second| {
            let batch = outbound.next_batch(second * SECOND);
            outbound.sent();
            numbers(batch)
        });
        let records: Vec<_> = batches.map(|batch| batch.len()).collect();
        let expected = if lost { vec![0; 10] } else { vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
        assert_eq!(records, expected);
        assert_eq!(outbound.due_at(), None);
    }
}

#[test]
fn outbox_is_full_when_waiting_records_and_batch_in_flight_exceed_the_maximum() {
    let length = |count| {
        let mut writer = BatchWriter::new(ME, 0);
        (0..count).for_each(|number| writer.push(&record(number)));
        writer.len()
    };
    // The largest maximum that is too small for batches of 2 and of 4 records.
    let mut outbound = Outbound::new(ME, length(2) + length(4) - 1);
    push(&mut outbound, 0..2);
    let in_flight = outbound.next_batch(SECOND);
    push(&mut outbound, 2..5);
    let full = outbound.push(&record(5)).expect_err("the outbox is full");
    assert_eq!((full.discarded, full.max_bytes), (4, length(2) + length(4) - 1));
    assert_eq!(numbers(in_flight), Some(vec![0, 1]));

    let mut outbound = Outbound::new(ME, length(2) + length(4));
    push(&mut outbound, 0..2);
    let _ = outbound.next_batch(SECOND);
    push(&mut outbound, 2..6);
    outbound.sent();
    assert_eq!(numbers(outbound.next_batch(SECOND)), Some(vec![2, 3, 4, 5]));
    outbound.sent();
    push(&mut outbound, 6..12);
}

#[test]
fn overflow_is_a_gap_for_the_receiver() {
    let (mut outbound, mut inbox) = (Outbound::new(ME, 64), Inbox::default());
    push(&mut outbound, 0..1);
    assert!(outbound.push(&record(1)).is_err());
    let sync = outbound.next_batch(SECOND).expect("a SYNC shows the gap");
    assert_eq!(inbox.receive(decode(sync)).missed, 2);
    outbound.sent();
    push(&mut outbound, 2..3);
    assert_eq!(numbers(outbound.next_batch(SECOND)), Some(vec![2]));
}

#[test]
fn record_over_the_maximum_is_a_gap_even_if_it_is_the_only_one() {
    let (mut outbound, mut inbox) = (Outbound::new(ME, 30), Inbox::default());
    assert!(outbound.push(&record(0)).is_err());
    let sync = outbound.next_batch(SECOND).expect("a SYNC shows the gap");
    assert_eq!(inbox.receive(decode(sync)).missed, 1);
}

#[test]
#[should_panic = "would be too long"]
fn maximum_over_the_longest_batch_is_a_bug() {
    Outbound::new(ME, MAX_BATCH_BYTES + 1);
}

#[test]
fn constants_keep_the_limits_of_the_design() {
    assert_eq!(SYNC_INTERVAL, SECOND);
    assert_eq!(RESET_INTERVAL, SECOND / 2, "at most two per second");
    let _ = Outbound::new(ME, MAX_BATCH_BYTES);
}
