//! Removes entries of this node from groups in which it has no peer.
//!
//! A step can reach the engine after its peer and the peer's room are gone, and an engine that lost state can have an
//! earlier list. A room removes such entries whenever it reads its list. Without a room, this node learns of them when
//! another node binds a joiner to one.

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::node::Node;
use super::steps::STEP_TIMEOUT;
use crate::cluster::{GroupTag, Step, Token};

/// The number of entries that wait. Further ones are ignored: another node names them again.
pub(super) const MAX_STRAYS: usize = 1024;

impl Node {
    /// Removes the entries that [`Node::strays`] receives.
    pub(super) async fn run_strays(&self, mut strays: mpsc::Receiver<(GroupTag, Token)>) {
        while let Some((group, token)) = strays.recv().await {
            let step = Step::removal(token, fastrand::u64(..));
            match timeout(STEP_TIMEOUT, self.backplane.step(group, step)).await {
                Ok(Ok(_)) => tracing::debug!(%group, "entry without a peer removed"),
                // Another node names the entry again.
                Ok(Err(error)) => tracing::debug!(%group, %error, "entry without a peer not removed"),
                Err(_) => tracing::debug!(%group, timeout = ?STEP_TIMEOUT, "entry without a peer not removed"),
            }
        }
    }
}
