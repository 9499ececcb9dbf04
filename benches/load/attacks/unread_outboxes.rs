//! Pairs of peers that send to each other and read nothing, so that the outboxes of both fill up.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;

use super::Options;
use super::attackers::Attackers;
use super::limits::{SAFE_PART, default_limit};
use super::unread_pair::UnreadPair;
use crate::client::End;

/// The time in which the attackers fill an outbox: the default of `outbox_timeout`. Outboxes that fill later, or that
/// the hub closes earlier, occupy less memory.
const FILL_SECONDS: f64 = 10.0;
/// Contents per second of each peer.
const CONTENTS_PER_SECOND: f64 = 10.0;
const HEARTBEATS: Duration = Duration::from_secs(5);

pub(super) async fn start(attackers: &Attackers, options: &Options) -> JoinSet<()> {
    let per_ip = default_limit("bytes_per_second_per_ip");
    let allowed = SAFE_PART * per_ip * f64::from(attackers.addresses) / attackers.count as f64;
    let per_second = options.bytes_per_second.unwrap_or(allowed.min(default_limit("max_outbox_bytes") / FILL_SECONDS));
    let bytes = (per_second / CONTENTS_PER_SECOND) as usize;
    attackers.spawn_pairs(move |attackers| async move { attack(&attackers, bytes).await })
}

/// Sends until the server ends one of the connections.
async fn attack(attackers: &Attackers, bytes: usize) -> Result<Infallible, End> {
    let mut pair = UnreadPair::open(attackers).await?;
    let mut contents = interval(Duration::from_secs_f64(1.0 / CONTENTS_PER_SECOND));
    let mut heartbeats = interval(HEARTBEATS);
    loop {
        tokio::select! {
            _ = contents.tick() => pair.send_content(bytes).await?,
            _ = heartbeats.tick() => pair.send_heartbeats().await?,
        }
    }
}
