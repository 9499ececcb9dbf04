//! The rules of the engine that need control of its clock. The others are in `cluster/conformance.rs`.

use super::*;
use crate::protocol::{MemberId, PeerId};

const START: Duration = Duration::from_secs(1_000_000);
const HOUR: Duration = Duration::from_secs(60 * 60);
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
const GROUP: GroupTag = GroupTag::from_bytes([7; 16]);
const ME: NodeId = NodeId(1);

const TOKEN: Token = Token { node: ME, peer: PeerId(1) };
const ADD: Change = Change::Add { token: TOKEN, id: MemberId(5), favored: false };

fn step(condition: Condition, changes: &[Change]) -> Step {
    Step { seen: None, condition, changes: changes.to_vec(), nonce: 1, lineage: 2, max_members: 1 }
}

/// Returns whether a list still exists after a time if `step` follows 5 h after its founding.
fn survives(second: &Step, after: Duration) -> bool {
    let mut engine = Engine::new(10);
    engine.step(GROUP, &step(Condition::Always, &[ADD]), START);
    engine.step(GROUP, second, START + 5 * HOUR);
    engine.step(GROUP, &step(Condition::Always, &[]), START + after).version.is_some()
}

#[test]
fn applied_changes_let_a_list_live_for_6_hours() {
    let entry = Engine::new(10).step(GROUP, &step(Condition::Always, &[ADD]), START).entries.expect("no copy")[0];
    let rename = Change::Add { token: TOKEN, id: MemberId(6), favored: false };
    let absent = Change::Remove(Token { peer: PeerId(2), ..TOKEN });
    for change in [rename, ADD, Change::Put(entry), absent] {
        let step = step(Condition::Always, &[change]);
        assert!(survives(&step, 11 * HOUR - MILLI), "{change:?}");
        assert!(!survives(&step, 11 * HOUR), "{change:?}");
    }
}

#[test]
fn step_without_changes_does_not_renew_the_time_to_live() {
    assert!(survives(&step(Condition::Always, &[]), 6 * HOUR - MILLI));
    assert!(!survives(&step(Condition::Always, &[]), 6 * HOUR));
}

#[test]
fn rejected_step_does_not_renew_the_time_to_live() {
    assert!(!survives(&step(Condition::Unchanged, &[ADD]), 6 * HOUR), "the condition failed");
    let second = Change::Add { token: Token { peer: PeerId(2), ..TOKEN }, id: MemberId(5), favored: false };
    assert!(!survives(&step(Condition::Always, &[second]), 6 * HOUR), "the list is full");
}

#[test]
fn expired_list_is_absent_for_a_condition() {
    let mut engine = Engine::new(10);
    engine.step(GROUP, &step(Condition::Always, &[ADD]), START);
    let founding = Step { lineage: 3, ..step(Condition::Unchanged, &[ADD]) };
    assert_eq!(engine.step(GROUP, &founding, START + 6 * HOUR - MILLI).result, StepResult::ConditionFailed);
    let list = engine.step(GROUP, &founding, START + 6 * HOUR);
    assert_eq!((list.result, list.version), (StepResult::Applied, Some(Version { count: 1, nonce: 1, lineage: 3 })));
}

#[test]
fn reply_and_entry_have_the_time_in_whole_milliseconds() {
    let list = Engine::new(10).step(GROUP, &step(Condition::Always, &[ADD]), START + MILLI + MILLI / 3);
    assert_eq!((list.now, list.entries.expect("no copy")[0].since), (START + MILLI, START + MILLI));
}

#[test]
fn extreme_position_does_not_overflow_the_count() {
    let mut engine = Engine::new(10);
    let entry = Entry { token: TOKEN, position: u64::MAX, id: MemberId(5), favored: false, since: Duration::MAX };
    let second = Change::Add { token: Token { peer: PeerId(2), ..TOKEN }, id: MemberId(5), favored: false };
    let step = Step { max_members: 2, ..step(Condition::Always, &[Change::Put(entry), second]) };
    assert_eq!(engine.step(GROUP, &step, START).version.map(|version| version.count), Some(u64::MAX));
}

#[test]
fn verdict_is_removed_a_day_after_it_was_made() {
    let (mut engine, dead) = (Engine::new(10), NodeId(2));
    engine.beat(ME, &[(dead, 0)], START);
    let shown = |engine: &mut Engine, now| engine.beat(ME, &[(dead, 0)], now).nodes.get(&dead).copied();
    assert_eq!(shown(&mut engine, START + 23 * HOUR), Some(None), "a repetition does not renew it");
    assert_eq!(engine.beat(dead, &[], START + 24 * HOUR - MILLI).nodes.get(&dead), Some(&None));
    assert_eq!(engine.beat(ME, &[], START + 24 * HOUR).nodes, [(ME, Some(3))].into());
    assert_eq!(engine.beat(dead, &[], START + 24 * HOUR).nodes, [(dead, Some(1)), (ME, Some(3))].into());
}

/// Reads an inbox and stores the cursor.
fn read(engine: &mut Engine, cursor: &mut Option<BatchId>, now: Duration) -> Vec<Bytes> {
    let (batches, next) = engine.read(ME, *cursor, now);
    *cursor = next;
    batches
}

fn engine_with(batches: &[&'static str]) -> Engine {
    let mut engine = Engine::new(3);
    batches.iter().for_each(|&batch| engine.append(ME, batch.into(), START));
    engine
}

#[test]
fn append_drops_the_oldest_batches_above_the_limit() {
    let mut engine = engine_with(&["1", "2", "3", "4"]);
    assert_eq!(read(&mut engine, &mut None, START), ["2", "3", "4"]);
}

#[test]
fn read_does_not_remove_batches() {
    let mut engine = engine_with(&["1", "2"]);
    let mut cursor = None;
    assert_eq!(read(&mut engine, &mut cursor, START), ["1", "2"]);
    assert!(read(&mut engine, &mut cursor, START).is_empty());
    assert_eq!(read(&mut engine, &mut None, START), ["1", "2"]);
}

#[test]
fn inbox_is_deleted_60_seconds_after_it_was_created_or_read() {
    let mut engine = engine_with(&["1"]);
    engine.append(ME, "2".into(), START + 59 * SECOND);
    assert!(read(&mut engine.clone(), &mut None, START + 60 * SECOND).is_empty(), "an append does not renew this");
    let mut cursor = None;
    assert_eq!(read(&mut engine, &mut cursor, START + 60 * SECOND - MILLI), ["1", "2"]);
    assert!(read(&mut engine, &mut cursor, START + 119 * SECOND).is_empty(), "nothing new, but the read renews this");
    assert_eq!(read(&mut engine.clone(), &mut None, START + 178 * SECOND), ["1", "2"]);
    engine.append(ME, "3".into(), START + 179 * SECOND);
    assert_eq!(read(&mut engine, &mut None, START + 179 * SECOND), ["3"]);
}

#[test]
fn reader_receives_all_of_an_inbox_whose_last_id_is_below_its_cursor() {
    let mut engine = engine_with(&["1"]);
    let mut cursor = None;
    engine.append(ME, "2".into(), START + SECOND);
    assert_eq!(read(&mut engine, &mut cursor, START + SECOND), ["1", "2"]);
    engine.wipe();
    assert!(read(&mut engine, &mut cursor, START).is_empty());
    // The clock of this engine is behind.
    engine.append(ME, "3".into(), START + MILLI);
    engine.append(ME, "4".into(), START + MILLI);
    assert_eq!(read(&mut engine, &mut cursor, START + MILLI), ["3", "4"]);
    engine.append(ME, "5".into(), START + MILLI);
    assert_eq!(read(&mut engine, &mut cursor, START + MILLI), ["5"]);
}

#[test]
fn ids_increase_although_the_clock_goes_back() {
    let mut engine = engine_with(&["1"]);
    let mut cursor = None;
    assert_eq!(read(&mut engine, &mut cursor, START), ["1"]);
    engine.append(ME, "2".into(), START - SECOND);
    assert_eq!(read(&mut engine, &mut cursor, START - SECOND), ["2"]);
}

#[test]
fn trimmed_inbox_keeps_its_last_id() {
    let mut engine = engine_with(&["1", "2", "3"]);
    let mut cursor = None;
    assert_eq!(read(&mut engine, &mut cursor, START), ["1", "2", "3"]);
    engine.append(ME, "4".into(), START);
    engine.trim_inbox(ME, 0);
    assert!(read(&mut engine, &mut cursor, START).is_empty());
    engine.append(ME, "5".into(), START);
    assert_eq!(read(&mut engine, &mut cursor, START), ["5"], "not seen as another inbox");
}

#[test]
fn wipe_deletes_lists_inboxes_and_nodes() {
    let mut engine = engine_with(&["1"]);
    engine.step(GROUP, &step(Condition::Always, &[ADD]), START);
    engine.beat(ME, &[(NodeId(2), 0)], START);
    assert_eq!(engine.key_counts(START), (1, 1));
    engine.wipe();
    assert_eq!(engine.key_counts(START), (0, 0));
    assert_eq!(engine.beat(ME, &[], START).nodes, [(ME, Some(1))].into());
    engine.append(ME, "2".into(), START);
    engine.append(ME, "3".into(), START);
    engine.append(ME, "4".into(), START);
    engine.append(ME, "5".into(), START);
    assert_eq!(read(&mut engine, &mut None, START), ["3", "4", "5"], "the limit stays");
}

#[test]
fn expired_keys_are_not_counted() {
    let mut engine = engine_with(&["1"]);
    engine.step(GROUP, &step(Condition::Always, &[ADD]), START);
    assert_eq!(engine.key_counts(START + 60 * SECOND), (1, 0));
    assert_eq!(engine.key_counts(START + 6 * HOUR), (0, 0));
}
