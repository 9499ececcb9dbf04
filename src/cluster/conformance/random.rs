//! A comparison with [`MemoryBackplane`] over random calls.

use std::time::Duration;

use fastrand::Rng;

use super::{Group, add, member, remove, step};
use crate::cluster::{
    Backplane, Change, Condition, Entry, MemberList, MemoryBackplane, NodeId, Step, StepResult, Token, Version,
};
use crate::protocol::MemberId;

/// A group of one of the two backplanes, with the copy of its list.
struct Side<'a, B> {
    group: Group<'a, B>,
    entries: Vec<Entry>,
    /// The versions of the last lists, the newest first. They are equal on both sides.
    versions: Vec<Option<Version>>,
}

/// A condition whose entry, if any, is the one that a side has for this member.
#[derive(Clone, Copy, Debug)]
enum RandomCondition {
    Plain(Condition),
    Witness(Token, MemberId),
}

impl<'a, B: Backplane> Side<'a, B> {
    fn new(backplane: &'a B) -> Self {
        Self { group: Group::new(backplane), entries: Vec::new(), versions: vec![None] }
    }

    /// Applies a step. Returns the reply without times, because the clocks differ.
    async fn step(&mut self, step: &Step, condition: RandomCondition) -> MemberList {
        let condition = match condition {
            RandomCondition::Plain(condition) => condition,
            RandomCondition::Witness(token, id) => {
                let absent = Entry { token, position: 1, id, favored: false, since: Duration::ZERO };
                let entry = self.entries.iter().find(|entry| entry.token == token);
                Condition::Witness(entry.copied().unwrap_or(absent))
            }
        };
        let mut list = self.group.try_step(Step { condition, ..step.clone() }).await;
        self.entries = list.entries.clone().unwrap_or_else(|| self.entries.clone());
        self.versions.insert(0, list.version);
        self.versions.truncate(4);
        list.now = Duration::ZERO;
        if let Some(entries) = &mut list.entries {
            entries.iter_mut().for_each(|entry| entry.since = Duration::ZERO);
            entries.sort_by_key(|entry| (entry.position, entry.token));
        }
        list
    }
}

fn random_change(rng: &mut Rng) -> Change {
    let (n, id) = (rng.u64(..5), MemberId(rng.u32(..4)));
    match rng.u8(..8) {
        0..=2 => Change::Add { token: member(n), id, favored: rng.bool() },
        3 => add(n, id.0),
        4 => Change::Put(Entry {
            token: member(n),
            position: rng.u64(..12),
            id,
            favored: rng.bool(),
            since: Duration::from_millis(rng.u64(..9)),
        }),
        _ => remove(n),
    }
}

fn random_condition(rng: &mut Rng, versions: &[Option<Version>]) -> RandomCondition {
    match rng.u8(..5) {
        0 => RandomCondition::Plain(Condition::Unchanged),
        1 => RandomCondition::Witness(member(rng.u64(..5)), MemberId(rng.u32(..4))),
        2 => {
            let known = versions[rng.usize(..versions.len())].map_or(0, |version| version.lineage);
            RandomCondition::Plain(Condition::LineageOrAbsent(known))
        }
        _ => RandomCondition::Plain(Condition::Always),
    }
}

pub(crate) async fn random_calls_have_the_replies_of_the_memory_backplane(backplane: &impl Backplane) {
    let model = MemoryBackplane::new();
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let mut results = [0; 3];
    for _ in 0..20 {
        let (mut tested, mut expected) = (Side::new(backplane), Side::new(&model));
        for _ in 0..50 {
            let changes: Vec<_> = (0..rng.usize(..4)).map(|_| random_change(&mut rng)).collect();
            // Mostly the last version.
            let seen = tested.versions[rng.usize(..tested.versions.len()) / 2];
            let condition = random_condition(&mut rng, &tested.versions);
            let max_members = rng.usize(2..6);
            let step = Step { seen, max_members, nonce: rng.u64(..), lineage: rng.u64(..), ..step(&changes) };
            let list = tested.step(&step, condition).await;
            assert_eq!(list, expected.step(&step, condition).await, "seed {seed}, {condition:?}, {step:?}");
            results[match list.result {
                StepResult::Applied => 0,
                StepResult::ConditionFailed => 1,
                StepResult::Full => 2,
            }] += 1;
        }
    }
    assert!(results.iter().all(|&count| count > 10), "each result occurs: {results:?}");
    compare_beats(backplane, &model, &mut rng, seed).await;
}

async fn compare_beats(backplane: &impl Backplane, model: &MemoryBackplane, rng: &mut Rng, seed: u64) {
    let nodes = [(); 4].map(|()| NodeId(rng.u64(..)));
    for _ in 0..100 {
        let me = nodes[rng.usize(..4)];
        let silent: Vec<_> =
            (0..rng.usize(..3)).map(|_| (nodes[rng.usize(..4)], rng.u64(..20).saturating_sub(10))).collect();
        let mut tested = backplane.beat(me, &silent).await.expect("the engine is reachable");
        // Other tests may use the same engine.
        tested.nodes.retain(|node, _| nodes.contains(node));
        let expected = model.beat(me, &silent).await.expect("no fault is active");
        assert_eq!(tested, expected, "seed {seed}, {silent:?}");
    }
}
