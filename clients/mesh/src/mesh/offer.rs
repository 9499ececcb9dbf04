//! Whether an offer is answered.

use std::time::Duration;

use super::action::CloseReason;
use super::limits::SETTLED_AFTER;

/// What the answerer knows about an offer.
#[derive(Debug)]
pub(crate) struct Offer<'a> {
    /// The answerer's id.
    pub(crate) id: u32,
    pub(crate) from: u32,
    /// The ids of the offerer's neighbours.
    pub(crate) members: &'a [u32],
    /// Whether `from` belongs to no other certificate.
    pub(crate) owns_id: bool,
    /// The age of the answerer's open connection to `from`.
    pub(crate) open: Option<Duration>,
    pub(crate) pending: Option<Attempt>,
    /// Whether the answerer has as many neighbours and answered attempts as it wants.
    pub(crate) full: bool,
}

/// A pending attempt between the two peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Begun by the answerer.
    Own,
    /// Begun by the offerer.
    Theirs,
}

impl Offer<'_> {
    /// Returns why the offer is rejected, or `None` if it is answered. `has_slot` is called last: it may take a token of
    /// a rate limit.
    pub(crate) fn rejection(&self, has_slot: impl FnOnce() -> bool) -> Option<CloseReason> {
        let is_known = self.open.is_some() || self.pending == Some(Attempt::Theirs);
        if self.from == self.id || !self.owns_id {
            Some(CloseReason::SameId)
        } else if self.open.is_some_and(|age| age < SETTLED_AFTER || self.members.contains(&self.id)) {
            Some(CloseReason::Present)
        } else if self.pending == Some(Attempt::Own) && self.id < self.from {
            Some(CloseReason::Glare)
        } else if self.full && !is_known {
            Some(CloseReason::Full)
        } else if !has_slot() {
            Some(CloseReason::Busy)
        } else {
            None
        }
    }
}
