//! How much an attacker may send: the default limits of the hub.

use sigver::SignalingHub;

/// An attacker uses this part of a limit, so that the hub does not close it for a clock that differs from its own.
pub(super) const SAFE_PART: f64 = 0.9;
/// A `connect` costs one token, and another one for each of these ids that it names.
const IDS_PER_TOKEN: u32 = 64;

/// Returns the default of a limit of the hub.
pub(crate) fn default_limit(name: &str) -> f64 {
    // The hub's settings are private, but its Debug output contains all of them.
    let hub = format!("{:?}", SignalingHub::new());
    let limit = hub.split_once(&format!(" {name}: ")).and_then(|(_, rest)| rest.split([',', ' ']).next()?.parse().ok());
    limit.unwrap_or_else(|| panic!("the hub has no limit {name}"))
}

/// Returns how many `connect` messages per second each of these senders may send, if each names this number of ids.
pub(super) fn connects_per_second(senders: usize, addresses: u8, ids: u32) -> f64 {
    let of_one_peer = default_limit("connects_per_second") / f64::from(1 + ids / IDS_PER_TOKEN);
    let of_one_ip = default_limit("messages_per_second_per_ip");
    SAFE_PART * of_one_peer.min(of_one_ip * f64::from(addresses) / senders as f64)
}
