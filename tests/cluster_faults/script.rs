//! Random actions of a few peers with few ids, so that collisions, evictions and denials happen.

use fastrand::Rng;

/// What the next peer does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A new peer joins. `node` is any number; the cluster has fewer nodes.
    Join {
        node: usize,
        favored: bool,
    },
    Connect {
        id: u32,
        named: Vec<u32>,
    },
    Content {
        to: To,
        last: bool,
    },
    Leave {
        with_close_frame: bool,
    },
}

/// The receiver of content.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// The member that the peer is bound to.
    Member,
    /// The member with this id.
    MemberId(u32),
    /// A joiner that is bound to the peer. 0 is the latest one of which the peer knows.
    Joiner(usize),
}

/// Where the random actions come from.
pub(crate) struct Script {
    pub(crate) random: Rng,
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed) }
    }

    /// Returns the next action, and which of the connected peers performs it.
    pub(crate) fn next(&mut self, connected: usize, max_connected: usize) -> (usize, Action) {
        let joins = connected < max_connected && self.random.u8(0..6) == 0;
        if connected == 0 || joins {
            return (0, Action::Join { node: self.random.usize(0..1000), favored: self.random.u8(0..4) == 0 });
        }
        let peer = self.random.usize(0..connected);
        let action = match self.random.u8(0..20) {
            0 => Action::Leave { with_close_frame: self.random.bool() },
            1..=8 => {
                let named = (0..self.random.usize(0..3)).map(|_| self.id()).collect();
                Action::Connect { id: self.id(), named }
            }
            _ => {
                let to = match self.random.u8(0..8) {
                    0..=2 => To::Member,
                    3 => To::MemberId(self.id()),
                    _ => To::Joiner(self.random.usize(0..3)),
                };
                Action::Content { to, last: self.random.u8(0..12) == 0 }
            }
        };
        (peer, action)
    }

    fn id(&mut self) -> u32 {
        100 + self.random.u32(0..7)
    }
}
