//! Tests of the bus: which records it keeps, and until when a node is ready.

use super::*;
use crate::protocol::GroupKey;

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const SECOND: Duration = Duration::from_secs(1);

fn bus() -> Bus {
    let rules = Rules { eviction_min_age: Duration::ZERO, max_members: 10, max_held_bytes: 1000 };
    Bus::new(ME, rules, 1000, SECOND, ClusterCounters::new(None))
}

/// Returns the nodes to which a batch is due.
fn receivers(bus: &Bus) -> Vec<NodeId> {
    bus.next_batches(Duration::ZERO).into_iter().map(|(to, _)| to).collect()
}

#[test]
fn record_is_sent_to_its_receiver() {
    let bus = bus();
    bus.send(ME, OTHER, &Record::Reset);
    assert!(!bus.is_idle());
    assert_eq!(receivers(&bus), [OTHER]);
    bus.sent(ME, OTHER);
    assert!(bus.is_idle());
}

#[test]
fn record_of_an_earlier_incarnation_is_dropped() {
    let bus = bus();
    bus.new_incarnation(NodeId(3), BTreeSet::from([ME]));
    bus.send(ME, OTHER, &Record::Reset);
    assert!(bus.is_idle());
    bus.send(NodeId(3), OTHER, &Record::Reset);
    assert_eq!(receivers(&bus), [OTHER]);
}

#[test]
fn record_for_a_dead_node_is_dropped() {
    let bus = bus();
    bus.send(ME, OTHER, &Record::Reset);
    bus.node_died(OTHER, BTreeSet::from([OTHER]));
    assert!(bus.is_idle(), "the record waited");
    bus.send(ME, OTHER, &Record::Reset);
    assert!(bus.is_idle());
}

#[test]
fn nothing_is_kept_for_a_driver_that_has_ended() {
    let bus = bus();
    bus.send(ME, OTHER, &Record::Reset);
    bus.disconnect();
    assert!(bus.is_idle(), "the record waited");
    bus.send(ME, OTHER, &Record::Reset);
    assert!(bus.is_idle());
    bus.enqueue_group(GroupTag::new(&GroupKey::new("K").expect("a valid key")));
    assert_eq!(bus.stats(Duration::ZERO).steps_waiting, 0);
}

#[test]
fn batch_is_wanted_until_its_receiver_has_died_or_its_sender_has_a_new_incarnation() {
    let bus = bus();
    assert!(!bus.is_wanted(ME, OTHER));
    bus.send(ME, OTHER, &Record::Reset);
    assert!(bus.is_wanted(ME, OTHER));
    bus.node_died(OTHER, BTreeSet::from([OTHER]));
    assert!(!bus.is_wanted(ME, OTHER));

    let (third, next) = (NodeId(3), NodeId(4));
    bus.send(ME, third, &Record::Reset);
    bus.new_incarnation(next, BTreeSet::from([ME, OTHER]));
    bus.send(next, third, &Record::Reset);
    assert!(!bus.is_wanted(ME, third));
    assert!(bus.is_wanted(next, third));
}

#[test]
fn batch_of_an_earlier_incarnation_that_was_sent_does_not_count_as_one_of_the_new_incarnation() {
    let (bus, next) = (bus(), NodeId(3));
    bus.send(ME, OTHER, &Record::Reset);
    assert_eq!(receivers(&bus), [OTHER]);
    bus.new_incarnation(next, BTreeSet::from([ME]));
    bus.send(next, OTHER, &Record::Reset);
    assert_eq!(receivers(&bus), [OTHER]);
    bus.sent(ME, OTHER);
    assert!(!bus.is_idle(), "the batch of the new incarnation is in flight");
    assert_eq!(bus.counters().load().records_sent, 0);
    bus.sent(next, OTHER);
    assert!(bus.is_idle());
    assert_eq!(bus.counters().load().records_sent, 1);
}

#[test]
fn node_is_ready_until_the_time_that_its_last_beat_has_set() {
    let bus = bus();
    assert!(!bus.is_ready(Duration::ZERO));
    bus.set_ready(Some(Duration::ZERO), Some(5 * SECOND), vec![OTHER]);
    assert!(bus.is_ready(5 * SECOND - Duration::from_nanos(1)));
    assert!(!bus.is_ready(5 * SECOND));
    assert_eq!(bus.stats(SECOND).nodes, 2);
    bus.disconnect();
    assert!(!bus.is_ready(Duration::ZERO));
    assert_eq!(bus.stats(SECOND).nodes, 0);
}
