//! What logs show instead of a group key.

use std::fmt;

/// The hash of a group key in logs. The key itself may be the only secret that protects a group.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) struct KeyHash(pub(in crate::hub) u64);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
