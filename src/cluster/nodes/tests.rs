//! One test for each rule about live and dead nodes.

mod verdicts;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(3600);
const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const THIRD: NodeId = NodeId(3);

impl Nodes {
    pub(super) fn me(&self) -> NodeId {
        self.me
    }

    pub(super) fn is_ready(&self, now: Duration) -> bool {
        self.ready_until().is_some_and(|until| now < until)
    }

    /// Returns the number of nodes that are not known to be dead, with this one.
    fn alive(&self) -> usize {
        self.others().count() + 1
    }
}

/// A node that beats, with scripted replies.
struct Beating {
    nodes: Nodes,
    now: Duration,
    /// This node's own count in the next reply.
    count: u64,
}

impl Beating {
    fn new() -> Self {
        Self { nodes: Nodes::new(ME, INTERVAL, TIMEOUT), now: SECOND, count: 1 }
    }

    /// Beats once, and again after an interval. `others` is what the reply says about the other nodes.
    fn beat(&mut self, others: &[(NodeId, Option<u64>)]) -> Vec<NodeEvent> {
        let own = (self.nodes.me(), Some(self.count));
        self.count += 1;
        self.beat_as(&[&[own], others].concat())
    }

    fn beat_as(&mut self, all: &[(NodeId, Option<u64>)]) -> Vec<NodeEvent> {
        let call = self.nodes.start_beat(self.now);
        self.now += INTERVAL;
        self.nodes.finish_beat(call, &reply(all))
    }

    /// Returns what a beat that starts now proposes, and gives it up.
    fn proposals(&mut self) -> Vec<(NodeId, u64)> {
        self.nodes.start_beat(self.now).silent
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn reply(nodes: &[(NodeId, Option<u64>)]) -> Beat {
    Beat { nodes: nodes.iter().copied().collect() }
}

#[test]
fn node_whose_count_stops_is_proposed_after_the_timeout_with_that_count() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(6)), (THIRD, Some(1))]);
    for count in 0..5 {
        assert_eq!(node.proposals(), [], "after {count} intervals");
        node.beat(&[(OTHER, Some(7)), (THIRD, Some(10 + count))]);
    }
    let millisecond = Duration::from_millis(1);
    node.now -= millisecond;
    assert_eq!(node.proposals(), []);
    node.wait(millisecond);
    assert_eq!(node.proposals(), [(OTHER, 7)], "10 s after the first reply with 7");
    node.beat(&[(OTHER, Some(8)), (THIRD, Some(20))]);
    assert_eq!(node.proposals(), [], "it beats again");
}

#[test]
fn time_between_two_beats_counts_as_at_most_three_seconds_of_silence() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(7))]);
    for gap in 1..=3 {
        node.wait(HOUR);
        assert_eq!(node.proposals(), [], "gap {gap}");
        node.beat(&[(OTHER, Some(7))]);
    }
    node.now -= INTERVAL;
    assert_eq!(node.proposals(), [], "9 s");
    node.wait(SECOND);
    assert_eq!(node.proposals(), [(OTHER, 7)], "10 s");
}

#[test]
fn failed_beats_do_not_count_as_silence() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(7))]);
    for _ in 0..100 {
        assert_eq!(node.proposals(), []);
        node.wait(INTERVAL);
    }
}

#[test]
fn count_that_goes_back_is_a_beat() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(100))]);
    for _ in 0..4 {
        node.beat(&[(OTHER, Some(100))]);
    }
    node.beat(&[(OTHER, Some(50))]);
    for _ in 0..4 {
        assert_eq!(node.proposals(), []);
        node.beat(&[(OTHER, Some(50))]);
    }
    assert_eq!(node.proposals(), [(OTHER, 50)]);
}

#[test]
fn lost_state_restarts_the_silence_of_all_nodes() {
    let mut node = Beating::new();
    for _ in 0..4 {
        node.beat(&[(OTHER, Some(1))]);
    }
    assert_eq!(node.beat_as(&[(ME, Some(1)), (OTHER, Some(1))]), [NodeEvent::EngineLostState]);
    for _ in 0..4 {
        assert_eq!(node.proposals(), []);
        node.beat(&[(OTHER, Some(1))]);
    }
    assert_eq!(node.proposals(), [(OTHER, 1)]);
}

#[test]
fn node_that_vanishes_is_proposed_as_absent_after_the_timeout() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(7))]);
    for _ in 0..5 {
        assert_eq!(node.proposals(), []);
        node.beat(&[]);
    }
    assert_eq!(node.proposals(), [(OTHER, 0)]);
}

#[test]
fn absent_node_that_something_names_is_proposed_with_count_0_after_the_timeout() {
    let mut node = Beating::new();
    node.beat(&[]);
    node.nodes.watch(OTHER, node.now - SECOND);
    for _ in 0..5 {
        assert_eq!(node.proposals(), []);
        node.beat(&[]);
        node.nodes.watch(OTHER, node.now);
    }
    node.now -= SECOND;
    assert_eq!(node.proposals(), [(OTHER, 0)], "10 s after it was named first");
    assert_eq!(node.beat(&[(OTHER, None)]), [NodeEvent::Dead(OTHER)]);
    assert_eq!(node.proposals(), []);
}

#[test]
fn absent_node_that_something_names_before_the_first_beat_is_watched() {
    let mut node = Beating::new();
    node.nodes.watch(OTHER, Duration::ZERO);
    for _ in 0..5 {
        node.beat(&[]);
        assert_eq!(node.nodes.start_beat(node.now - Duration::from_millis(1)).silent, []);
    }
    assert_eq!(node.proposals(), [(OTHER, 0)]);
}

#[test]
fn named_node_that_beats_is_not_proposed() {
    let mut node = Beating::new();
    node.beat(&[]);
    node.nodes.watch(OTHER, node.now);
    for count in 0..10 {
        assert_eq!(node.proposals(), []);
        node.beat(&[(OTHER, Some(1 + count))]);
    }
    assert_eq!(node.nodes.others().collect::<Vec<_>>(), [OTHER]);
}

#[test]
fn naming_a_watched_node_does_not_restart_its_silence() {
    let mut node = Beating::new();
    for _ in 0..5 {
        node.beat(&[(OTHER, Some(7))]);
        node.nodes.watch(OTHER, node.now);
    }
    assert_eq!(node.proposals(), [(OTHER, 7)]);
}

#[test]
fn neither_this_node_nor_a_dead_one_is_watched() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, None)]);
    node.nodes.watch(ME, node.now);
    node.nodes.watch(OTHER, node.now);
    assert_eq!(node.nodes.alive(), 1);
}

#[test]
fn names_and_proposals_are_bounded() {
    let mut node = Beating::new();
    node.beat(&[]);
    (10..20_000).for_each(|name| node.nodes.watch(NodeId(name), node.now));
    assert_eq!(node.nodes.others().count(), MAX_WATCHED);
    for _ in 0..5 {
        node.beat(&[]);
    }
    assert_eq!(node.proposals().len(), MAX_PROPOSALS);
}

#[test]
fn own_count_that_does_not_rise_means_lost_state() {
    for (own, expected) in [
        (Some(11), &[][..]),
        (Some(10), &[NodeEvent::EngineLostState]),
        (Some(3), &[NodeEvent::EngineLostState]),
        (None, &[NodeEvent::EngineLostState]),
    ] {
        let mut node = Beating::new();
        assert_eq!(node.beat_as(&[(ME, Some(10))]), [], "the first reply");
        let all: Vec<_> = own.map(|count| (ME, Some(count))).into_iter().collect();
        assert_eq!(node.beat_as(&all), expected, "{own:?}");
        assert_eq!(node.beat_as(&[(ME, Some(12))]), [], "after {own:?}");
    }
}

#[test]
fn beat_after_a_gap_of_more_than_three_seconds_means_that_the_engine_returned() {
    let mut node = Beating::new();
    node.wait(HOUR);
    assert_eq!(node.beat(&[]), [], "the first reply");
    for (gap, expected) in [(3000, &[][..]), (3001, &[NodeEvent::EngineReturned])] {
        node.now += Duration::from_millis(gap) - INTERVAL;
        assert_eq!(node.beat(&[]), expected, "{gap} ms");
    }
    node.wait(HOUR);
    assert_eq!(node.beat_as(&[(ME, Some(1))]), [NodeEvent::EngineLostState], "the stronger event only");
}

#[test]
fn reply_to_a_beat_that_was_given_up_has_no_effect() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(7))]);
    let given_up = node.nodes.start_beat(node.now);
    node.wait(INTERVAL);
    let next = node.nodes.start_beat(node.now - SECOND);
    let stale = reply(&[(ME, Some(1)), (OTHER, None)]);
    assert_eq!(node.nodes.finish_beat(given_up, &stale), []);
    assert!(!node.nodes.is_dead(OTHER));
    assert_eq!(node.nodes.beat_age(node.now), Some(2 * INTERVAL));
    assert_eq!(node.nodes.finish_beat(next, &reply(&[(ME, Some(3)), (OTHER, None)])), [NodeEvent::Dead(OTHER)]);
}

#[test]
fn node_is_ready_until_five_seconds_after_the_start_of_a_successful_beat() {
    let mut node = Beating::new();
    assert_eq!((node.nodes.beat_age(node.now), node.nodes.is_ready(node.now)), (None, false));
    let (started, call) = (node.now, node.nodes.start_beat(node.now));
    assert!(!node.nodes.is_ready(node.now));
    node.wait(4 * SECOND);
    node.nodes.finish_beat(call, &reply(&[(ME, Some(1))]));
    assert_eq!(node.nodes.beat_age(node.now), Some(4 * SECOND), "the reply was late");
    assert!(node.nodes.is_ready(started + 5 * SECOND - Duration::from_nanos(1)));
    assert!(!node.nodes.is_ready(started + 5 * SECOND));
    node.beat_as(&[(ME, Some(2))]);
    assert!(node.nodes.is_ready(node.now));
}

#[test]
fn nodes_that_are_not_dead_are_alive() {
    let mut node = Beating::new();
    assert_eq!(node.nodes.alive(), 1);
    node.beat(&[(OTHER, Some(7)), (THIRD, Some(4)), (NodeId(4), None)]);
    assert_eq!((node.nodes.alive(), node.nodes.others().collect()), (3, vec![OTHER, THIRD]));
    node.beat(&[(OTHER, None), (THIRD, Some(5)), (NodeId(4), None)]);
    assert_eq!((node.nodes.alive(), node.nodes.others().collect()), (2, vec![THIRD]));
}

#[test]
fn wrong_clocks_and_extreme_counts_do_not_panic() {
    let mut node = Beating::new();
    for (now, count) in [(Duration::MAX, u64::MAX), (Duration::ZERO, 0), (Duration::MAX, 1)] {
        node.now = now;
        let call = node.nodes.start_beat(now);
        node.nodes.finish_beat(call, &reply(&[(ME, Some(count)), (OTHER, Some(count)), (THIRD, None)]));
        node.nodes.watch(NodeId(9), now);
        node.nodes.new_incarnation(ME, now);
        node.nodes.is_ready(now);
    }
}
