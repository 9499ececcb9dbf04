//! The values that the app gives a peer.

use std::any::Any;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::peer_data::PeerData;
use crate::hub::isolate::isolate;

/// The data of a peer, and the values that are dropped when the peer has left.
///
/// Dropping it runs code of the app, so it must not be dropped under a lock.
#[derive(Default)]
pub(in crate::hub) struct AppValues {
    data: PeerData,
    /// Never locked. The mutex allows values that are not `Sync`.
    attached: Mutex<Vec<Box<dyn Send>>>,
}

impl AppValues {
    pub(super) fn attach(&mut self, value: impl Send + 'static) {
        self.attached_mut().push(Box::new(value));
    }

    pub(super) fn set_data(&mut self, data: impl Any + Send + Sync) {
        self.data = PeerData::new(data);
    }

    pub(super) fn data(&self) -> &PeerData {
        &self.data
    }

    fn attached_mut(&mut self) -> &mut Vec<Box<dyn Send>> {
        self.attached.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AppValues {
    /// Drops the values in the order of their calls. A panic skips no other value, and does not abort the process if
    /// the values are dropped because of another panic.
    fn drop(&mut self) {
        for value in std::mem::take(self.attached_mut()) {
            isolate(|| drop(value));
        }
        let data = std::mem::take(&mut self.data);
        isolate(|| drop(data));
    }
}

impl fmt::Debug for AppValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppValues").field("data", &self.data).finish_non_exhaustive()
    }
}
