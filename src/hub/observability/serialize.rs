//! How serde serializes times and hashes.

use std::time::Duration;

#[cfg(feature = "cluster")]
use serde::Serialize as _;
use serde::Serializer;

use super::key_hash::KeyHash;

/// Serializes a time as its seconds.
pub(super) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

#[cfg(feature = "cluster")]
pub(super) fn optional_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

/// Serializes the hash of a key as the logs show it: JavaScript has no integers of 64 bits.
pub(super) fn key_hash<S: Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&KeyHash(*hash))
}
