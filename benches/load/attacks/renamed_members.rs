//! Members that change their ids, and joiners that search among them continuously.

use sigver::protocol::Message;
use tokio::task::JoinSet;

use super::Options;
use super::attackers::{Attackers, stay};
use super::limits::connects_per_second;
use crate::client::{End, Socket, frame};

/// The id of the first member. It never changes, so that others can name it.
const FIRST: u32 = 1;
/// The id of all joiners.
const JOINER: u32 = 2;
/// The difference between the new and the old id of a member.
const RENAMED: u32 = 1 << 20;

pub(super) async fn start(attackers: &Attackers, options: &Options) -> JoinSet<()> {
    let joiners = options.joiners.unwrap_or(attackers.count.div_ceil(10));
    let per_second =
        options.connects_per_second.unwrap_or_else(|| connects_per_second(joiners, attackers.addresses, 0));
    let key = attackers.key();
    let mut running = JoinSet::new();
    for id in (FIRST..).take(attackers.count.saturating_sub(joiners)) {
        attackers.record(|report| report.attackers.started += 1);
        let id = if id == FIRST { FIRST } else { JOINER + id };
        let socket = open_member(attackers, &key, id).await;
        let attackers = attackers.clone();
        running.spawn(async move {
            let end = match socket {
                Ok(socket) => stay(socket).await,
                Err(end) => end,
            };
            attackers.record(|report| report.attackers.count_end(end));
        });
    }
    let connect = frame(&Message::connect(JOINER, &[]).encode());
    attackers.spawn_senders(&mut running, joiners, &key, &connect, per_second);
    running
}

async fn open_member(attackers: &Attackers, key: &str, id: u32) -> Result<Socket, End> {
    let mut socket = attackers.open(key).await?;
    socket.connect(id, &[FIRST]).await?;
    if id != FIRST {
        socket.connect(RENAMED + id, &[FIRST]).await?;
    }
    Ok(socket)
}
