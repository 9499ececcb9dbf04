//! The app's key function.

use std::time::Instant;

use super::Step;
use crate::event::Reason;
use crate::mesh::Mesh;

impl Mesh {
    /// It failed.
    pub(crate) fn key_failed(&mut self, now: Instant) {
        self.set_time(now);
        match self.membership.expired.clone() {
            _ if self.membership.step != Step::Opening => {}
            Some(close) => self.finish(Reason::Rejected, Some(close)),
            None => {
                self.set_away(Reason::KeyFailed, None);
                self.reconnect_later(false);
            }
        }
    }

    /// It returned an invalid key, as it would again.
    pub(crate) fn key_invalid(&mut self, now: Instant) {
        self.set_time(now);
        self.finish(Reason::KeyFailed, None);
    }
}
