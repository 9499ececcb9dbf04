//! One test for each rule of verdicts and of this node's incarnation.

use super::*;

#[test]
fn each_verdict_is_reported_once() {
    let mut node = Beating::new();
    assert_eq!(node.beat(&[(OTHER, Some(7)), (THIRD, None)]), [NodeEvent::Dead(THIRD)]);
    assert_eq!(node.beat(&[(OTHER, None), (THIRD, None)]), [NodeEvent::Dead(OTHER)]);
    assert_eq!(node.beat(&[(OTHER, None), (THIRD, None)]), []);
    assert!(node.nodes.is_dead(OTHER) && node.nodes.is_dead(THIRD));
    assert_eq!(node.proposals(), []);
}

#[test]
fn lost_verdict_stays_and_is_proposed_at_any_count_until_it_is_written() {
    for lost in [&[][..], &[(OTHER, Some(5))]] {
        let mut node = Beating::new();
        node.beat(&[(OTHER, Some(7))]);
        node.beat(&[(OTHER, None)]);
        assert_eq!(node.beat_as(&[&[(ME, Some(1))], lost].concat()), [NodeEvent::EngineLostState]);
        node.count = 2;
        for _ in 0..10 {
            assert!(node.nodes.is_dead(OTHER));
            assert_eq!(node.proposals(), [(OTHER, u64::MAX)], "once, and not as a silent node");
            assert_eq!(node.beat(lost), []);
        }
        assert_eq!(node.beat(&[(OTHER, None)]), [], "it was known");
        assert_eq!(node.proposals(), []);
    }
}

#[test]
fn missing_verdict_means_lost_state_even_if_the_own_count_rose() {
    for lost in [&[][..], &[(OTHER, Some(5))]] {
        let mut node = Beating::new();
        node.beat(&[(OTHER, Some(7))]);
        node.beat(&[(OTHER, None)]);
        assert_eq!(node.beat(lost), [NodeEvent::EngineLostState]);
    }
}

#[test]
fn verdict_that_is_absent_because_of_its_age_is_forgotten() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(7))]);
    let learned = node.now;
    node.beat(&[(OTHER, None)]);
    node.now = learned + 24 * HOUR;
    assert_eq!(node.beat(&[(OTHER, None)]), [NodeEvent::EngineReturned]);
    assert!(node.nodes.is_dead(OTHER), "the engine still has it");
    assert_eq!(node.beat(&[]), []);
    assert!(!node.nodes.is_dead(OTHER));
    assert_eq!((node.proposals(), node.nodes.alive()), (vec![], 1));
}

#[test]
fn verdict_is_written_again_for_seven_hours() {
    for (age, event, is_lost) in
        [(7 * HOUR - SECOND, NodeEvent::EngineLostState, true), (7 * HOUR, NodeEvent::EngineReturned, false)]
    {
        let mut node = Beating::new();
        node.beat(&[(OTHER, Some(7))]);
        let learned = node.now;
        node.beat(&[(OTHER, None)]);
        node.now = learned + age;
        assert_eq!(node.beat(&[]), [event]);
        assert_eq!(node.nodes.is_dead(OTHER), is_lost);
    }
}

#[test]
fn old_verdict_whose_node_has_a_count_again_is_written_again() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(7))]);
    node.beat(&[(OTHER, None)]);
    node.wait(24 * HOUR);
    assert_eq!(node.beat(&[(OTHER, Some(1))]), [NodeEvent::EngineLostState]);
    assert_eq!(node.proposals(), [(OTHER, u64::MAX)]);
}

#[test]
fn verdict_from_before_the_start_is_forgotten_when_the_engine_removes_it() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, None)]);
    node.beat(&[(OTHER, None)]);
    assert!(node.nodes.is_dead(OTHER));
    assert_eq!(node.beat(&[]), []);
    assert!(!node.nodes.is_dead(OTHER));
}

#[test]
fn verdict_from_before_the_start_is_written_again_after_a_loss() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, None)]);
    assert_eq!(node.beat_as(&[(ME, Some(1))]), [NodeEvent::EngineLostState]);
    assert!(node.nodes.is_dead(OTHER));
    assert_eq!(node.proposals(), [(OTHER, u64::MAX)]);
}

#[test]
fn node_that_was_declared_dead_is_told_until_it_takes_a_new_incarnation() {
    let mut node = Beating::new();
    node.beat(&[(OTHER, Some(7))]);
    for _ in 0..2 {
        assert_eq!(node.beat_as(&[(ME, None), (OTHER, Some(7))]), [NodeEvent::DeclaredDead]);
    }
    let lost = node.beat_as(&[(ME, Some(1)), (OTHER, Some(7))]);
    assert_eq!(lost, [NodeEvent::DeclaredDead, NodeEvent::EngineLostState], "a verdict is permanent");
    node.nodes.new_incarnation(THIRD, node.now);
    assert_eq!((node.nodes.me(), node.nodes.start_beat(node.now).me), (THIRD, THIRD));
    node.count = 1;
    assert_eq!(node.beat(&[(ME, None), (OTHER, Some(7))]), []);
    assert!(node.nodes.is_dead(ME) && !node.nodes.is_dead(OTHER));
}

#[test]
fn new_incarnation_keeps_what_the_node_knows_of_others() {
    let mut node = Beating::new();
    for _ in 0..4 {
        node.beat(&[(OTHER, Some(7))]);
    }
    node.beat_as(&[(ME, None), (OTHER, Some(7))]);
    node.nodes.new_incarnation(THIRD, node.now);
    assert_eq!(node.proposals(), [(OTHER, 7)]);
}

#[test]
fn old_incarnation_is_proposed_as_dead_until_its_verdict_is_written() {
    let mut node = Beating::new();
    node.beat(&[]);
    node.beat_as(&[(ME, None)]);
    node.nodes.new_incarnation(THIRD, node.now);
    node.count = 1;
    assert_eq!(node.proposals(), []);
    assert_eq!(node.beat(&[]), [NodeEvent::EngineLostState], "wiped before the first beat of the incarnation");
    assert_eq!(node.proposals(), [(ME, u64::MAX)]);

    let mut unasked = Beating::new();
    unasked.beat(&[]);
    unasked.nodes.new_incarnation(THIRD, unasked.now);
    assert_eq!(unasked.proposals(), [(ME, u64::MAX)]);
    unasked.beat(&[(ME, None)]);
    assert_eq!(unasked.proposals(), []);
}

#[test]
fn node_that_named_the_new_incarnation_early_does_not_watch_itself() {
    let mut node = Beating::new();
    node.beat(&[(THIRD, Some(1))]);
    node.nodes.new_incarnation(THIRD, node.now);
    assert_eq!(node.nodes.alive(), 1);
}

#[test]
fn reply_to_a_beat_of_an_earlier_incarnation_has_no_effect() {
    let mut node = Beating::new();
    let call = node.nodes.start_beat(node.now);
    node.nodes.new_incarnation(THIRD, node.now);
    let next = node.nodes.start_beat(node.now);
    assert_eq!(node.nodes.finish_beat(call, &reply(&[(ME, Some(1)), (OTHER, Some(7))])), []);
    assert_eq!((node.nodes.alive(), node.nodes.beat_age(node.now)), (1, None));
    node.nodes.finish_beat(next, &reply(&[(THIRD, Some(1)), (OTHER, Some(7))]));
    assert_eq!(node.nodes.alive(), 2);
}
