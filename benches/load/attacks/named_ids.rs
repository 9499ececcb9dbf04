//! Peers that send `connect` messages, each with as many ids as one may name. No member has any of these ids.

use sigver::protocol::Message;
use tokio::task::JoinSet;

use super::Options;
use super::attackers::{Attackers, stay};
use super::limits::{connects_per_second, default_limit};
use crate::client::frame;

/// The members of the group. With fewer, a `connect` would evict a member, or be answered without a search.
const MEMBERS: [u32; 2] = [1, 2];
/// The id of all attackers.
const ATTACKER: u32 = 3;

pub(super) async fn start(attackers: &Attackers, options: &Options) -> JoinSet<()> {
    let ids = options.ids.unwrap_or(default_limit("max_members_per_connect") as u32);
    let per_second =
        options.connects_per_second.unwrap_or_else(|| connects_per_second(attackers.count, attackers.addresses, ids));
    let named: Vec<u32> = (ATTACKER + 1..).take(ids as usize).collect();
    let connect = frame(&Message::connect(ATTACKER, &named).encode());
    let key = attackers.key();
    let mut running = JoinSet::new();
    for id in MEMBERS {
        let mut member = attackers.open(&key).await.expect("the hub admits a member");
        member.connect(id, &MEMBERS).await.expect("the hub answers a member");
        running.spawn(async { _ = stay(member).await });
    }
    attackers.spawn_senders(&mut running, attackers.count, &key, &connect, per_second);
    running
}
