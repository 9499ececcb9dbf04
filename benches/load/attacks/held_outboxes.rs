//! Pairs of peers that send a little to each other and read nothing: each outbox stays far below its limit, but the
//! outboxes of all peers together do not.

use std::convert::Infallible;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;

use super::Options;
use super::attackers::Attackers;
use super::unread_pair::UnreadPair;
use crate::client::End;

/// The bytes that each outbox holds.
const HELD: usize = 60 * 1024;
/// The bytes that Linux buffers for a peer that reads nothing: they leave its outbox.
const IN_KERNEL: usize = 73 * 1024;
/// The bytes that each attacker sends at once.
pub(super) const BYTES_AT_ONCE: usize = HELD + IN_KERNEL;
/// Attackers of one address: few, so that it stays within `bytes_per_second_per_ip`.
pub(super) const PER_ADDRESS: f64 = 250.0;
/// Often, to notice soon that the server closed a peer.
const HEARTBEATS: Duration = Duration::from_secs(2);

pub(super) async fn start(attackers: &Attackers, options: &Options) -> JoinSet<()> {
    let bytes = options.content_bytes.into();
    attackers.spawn_pairs(move |attackers| async move { attack(&attackers, bytes).await })
}

/// Sends, and waits until the server ends one of the connections.
async fn attack(attackers: &Attackers, content_bytes: usize) -> Result<Infallible, End> {
    let mut pair = UnreadPair::open(attackers).await?;
    for _ in 0..BYTES_AT_ONCE / content_bytes {
        pair.send_content(content_bytes).await?;
    }
    let mut heartbeats = interval(HEARTBEATS);
    loop {
        heartbeats.tick().await;
        pair.send_heartbeats().await?;
    }
}
