//! The arguments and replies of the scripts for member lists and beats.

use std::collections::BTreeMap;
use std::str;
use std::time::Duration;

use ::redis::Value;

use super::error::unexpected_reply;
use crate::cluster::{
    BackplaneError, Beat, Change, Condition, Entry, MemberList, NodeId, Step, StepResult, Token, Version,
};
use crate::protocol::{MemberId, PeerId};

/// The arguments of `step.lua`.
pub(super) fn step_args(step: &Step) -> Vec<Vec<u8>> {
    let condition = match step.condition {
        Condition::Always => "a".to_owned(),
        Condition::Unchanged => "u".to_owned(),
        Condition::Witness(entry) => {
            // Times in the engine are whole milliseconds, so no entry equals one with a fraction.
            let fraction = if entry.since.subsec_nanos() % 1_000_000 == 0 { "" } else { "fraction" };
            format!("w{}{}{fraction}", token(entry.token), row(&entry))
        }
        Condition::LineageOrAbsent(lineage) => format!("l{lineage:016x}"),
    };
    let seen = step.seen.map_or_else(String::new, |Version { count, nonce, lineage }| {
        format!("{count:016x}{nonce:016x}{lineage:016x}")
    });
    let head = [
        seen,
        condition,
        format!("{:016x}", step.nonce),
        format!("{:016x}", step.lineage),
        step.max_members.to_string(),
    ];
    let changes = step.changes.iter().map(|change| match change {
        Change::Add { token: added, id, favored } => {
            format!("a{}{:08x}{}", token(*added), id.0, u8::from(*favored))
        }
        Change::Put(entry) => format!("p{}{}", token(entry.token), row(entry)),
        Change::Remove(removed) => format!("r{}", token(*removed)),
    });
    head.into_iter().chain(changes).map(String::into_bytes).collect()
}

/// The reply of `step.lua`.
pub(super) fn member_list(reply: Value) -> Result<MemberList, BackplaneError> {
    read_member_list(reply).ok_or_else(|| unexpected_reply("a member list"))
}

/// The arguments of `beat.lua`.
pub(super) fn beat_args(me: NodeId, silent: &[(NodeId, u64)]) -> Vec<Vec<u8>> {
    let proposals = silent.iter().flat_map(|(node, count)| [node_name(*node), count.to_string()]);
    [node_name(me)].into_iter().chain(proposals).map(String::into_bytes).collect()
}

/// The reply of `beat.lua`.
pub(super) fn beat(reply: Value) -> Result<Beat, BackplaneError> {
    read_beat(reply).ok_or_else(|| unexpected_reply("the beats of the nodes"))
}

/// Returns the name of a node in the engine.
pub(super) fn node_name(node: NodeId) -> String {
    format!("{:016x}", node.0)
}

fn token(Token { node, peer }: Token) -> String {
    format!("{:016x}{:016x}", node.0, peer.0)
}

fn row(Entry { position, id, favored, since, .. }: &Entry) -> String {
    // A `u64` of milliseconds lasts for 584 million years.
    format!("{position:016x}{:08x}{}{:016x}", id.0, u8::from(*favored), since.as_millis() as u64)
}

fn read_member_list(reply: Value) -> Option<MemberList> {
    let Value::Array(reply) = reply else { return None };
    let [result, now, head, fields] = reply.try_into().ok()?;
    let result = match result {
        Value::Int(0) => StepResult::Applied,
        Value::Int(1) => StepResult::ConditionFailed,
        Value::Int(2) => StepResult::Full,
        _ => return None,
    };
    let mut now = Digits::new(&now)?;
    let mut head = Digits::new(&head)?;
    let version = match head.is_empty() {
        true => None,
        false => Some(Version { count: head.take(16)?, nonce: head.take(16)?, lineage: head.take(16)? }),
    };
    let entries = match fields {
        Value::Nil => None,
        Value::Array(fields) => {
            let is_head = |name: &Value| matches!(name, Value::BulkString(name) if name == b"head");
            let rows = pairs(&fields)?.filter(|(token, _)| !is_head(token));
            Some(rows.map(|(token, row)| read_entry(token, row)).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    Some(MemberList { result, version, entries, now: Duration::from_millis(now.take(16)?) })
}

fn read_entry(token: &Value, row: &Value) -> Option<Entry> {
    let (mut token, mut row) = (Digits::new(token)?, Digits::new(row)?);
    Some(Entry {
        token: Token { node: NodeId(token.take(16)?), peer: PeerId(token.take(16)?) },
        position: row.take(16)?,
        id: MemberId(row.take(8)?.try_into().ok()?),
        favored: row.take(1)? != 0,
        since: Duration::from_millis(row.take(16)?),
    })
}

fn read_beat(reply: Value) -> Option<Beat> {
    let Value::Array(fields) = reply else { return None };
    let read = |(node, count): (&Value, &Value)| {
        let Value::BulkString(count) = count else { return None };
        let count = str::from_utf8(count).ok()?;
        let count = if count.starts_with("dead") { None } else { Some(count.parse().ok()?) };
        Some((NodeId(Digits::new(node)?.take(16)?), count))
    };
    Some(Beat { nodes: pairs(&fields)?.map(read).collect::<Option<BTreeMap<_, _>>>()? })
}

/// Returns the names and values of a hash, which a reply has one after the other.
fn pairs(fields: &[Value]) -> Option<impl Iterator<Item = (&Value, &Value)>> {
    let (pairs, rest) = fields.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[name, value]| (name, value)))
}

/// Hexadecimal digits of several numbers.
struct Digits<'a>(&'a str);

impl<'a> Digits<'a> {
    fn new(value: &'a Value) -> Option<Self> {
        let Value::BulkString(digits) = value else { return None };
        str::from_utf8(digits).ok().map(Self)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a number with this many digits.
    fn take(&mut self, len: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        u64::from_str_radix(number, 16).ok()
    }
}
