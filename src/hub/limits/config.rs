//! Every setting of a hub: its default, its range, and the error that reports an invalid value.

use std::sync::Arc;
use std::time::Duration;

/// The longest interval that published clients tolerate: Netflux disconnects 10 to 15 s after the last heartbeat.
const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Longer than any useful timeout, and far below the values that overflow a clock.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Larger than any signaling message, and small enough for the arithmetic of rate limits.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The names of the hubs of one app are short, and are part of every time series and log line.
const MAX_NAME_BYTES: usize = 64;

/// The number of ids in a `connect` that cost as much as a message without ids.
const IDS_PER_MESSAGE: usize = 64;

/// The number of payload bytes that cost as much as a message without a payload.
const BYTES_PER_MESSAGE: usize = 8192;

/// Returns the number of tokens of `connects_per_second` that a `connect` takes.
pub(in crate::hub) const fn connect_tokens(named_ids: usize) -> usize {
    1 + ids_work(named_ids)
}

/// Returns the work of reading a message with this payload, without that of the ids that a `connect` names.
///
/// The unit is a message without a payload, which takes about 1 us.
pub(in crate::hub) const fn message_work(bytes: usize) -> usize {
    1 + bytes / BYTES_PER_MESSAGE
}

/// Returns the additional work of a `connect` that names ids, in the unit of [`message_work`].
pub(in crate::hub) const fn ids_work(named_ids: usize) -> usize {
    named_ids / IDS_PER_MESSAGE
}

/// What happens to a peer that exceeds [`HubBuilder::max_peers_per_identity`](crate::HubBuilder::max_peers_per_identity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AtLimit {
    /// The hub rejects the new peer with 1013, so the client may try again later.
    RejectNew,
    /// The hub closes the oldest peer of the identity with 1008, so that client must not reconnect by itself.
    ReplaceOldest,
}

/// The settings of [`HubBuilder`](crate::HubBuilder), whose methods document each of them.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_missed_heartbeats: u32,
    pub(crate) first_connect_timeout: Duration,
    pub(crate) outbox_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_members_per_connect: usize,
    pub(crate) max_outbox_messages: usize,
    pub(crate) max_outbox_bytes: usize,
    pub(crate) max_total_outbox_bytes: usize,
    pub(crate) max_peers: usize,
    pub(crate) max_peers_per_group: usize,
    pub(crate) max_peers_per_ip: usize,
    /// `None`: no limit.
    pub(crate) max_peers_per_identity: Option<(usize, AtLimit)>,
    pub(crate) max_groups: usize,
    pub(crate) joins_per_second_per_ip: u32,
    pub(crate) messages_per_second: u32,
    pub(crate) bytes_per_second: u32,
    pub(crate) connects_per_second: u32,
    pub(crate) messages_per_second_per_ip: u32,
    pub(crate) bytes_per_second_per_ip: u32,
    pub(crate) admission_timeout: Duration,
    pub(crate) eviction_min_age: Duration,
    pub(crate) read_buffer_bytes: usize,
    pub(crate) event_capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            heartbeat_interval: MAX_HEARTBEAT_INTERVAL,
            max_missed_heartbeats: 3,
            first_connect_timeout: Duration::from_secs(60),
            outbox_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(1),
            upgrade_timeout: Duration::from_secs(10),
            max_message_bytes: 64 * 1024,
            max_members_per_connect: 512,
            max_outbox_messages: 256,
            max_outbox_bytes: 256 * 1024,
            max_total_outbox_bytes: 256 * 1024 * 1024,
            max_peers: 100_000,
            max_peers_per_group: 10_000,
            max_peers_per_ip: 1000,
            max_peers_per_identity: None,
            max_groups: 100_000,
            joins_per_second_per_ip: 200,
            messages_per_second: 20_000,
            bytes_per_second: 2 * 1024 * 1024,
            connects_per_second: 1000,
            messages_per_second_per_ip: 100_000,
            bytes_per_second_per_ip: 32 * 1024 * 1024,
            admission_timeout: Duration::from_secs(5),
            eviction_min_age: Duration::ZERO,
            read_buffer_bytes: 4096,
            event_capacity: 1024,
        }
    }
}

impl Config {
    /// Returns an error for the first invalid setting.
    pub(in crate::hub) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, value, rule| Err(ConfigError::new(field, value, rule));
        if let Some(name) = &self.name
            && !is_valid_name(name)
        {
            return wrong("name", format!("{name:?}"), "must be 1 to 64 bytes without control characters");
        }
        if self.heartbeat_interval.is_zero() || self.heartbeat_interval > MAX_HEARTBEAT_INTERVAL {
            return wrong(
                "heartbeat_interval",
                format!("{:?}", self.heartbeat_interval),
                "must be greater than 0 and at most 5s",
            );
        }
        for (field, time) in [
            ("first_connect_timeout", self.first_connect_timeout),
            ("outbox_timeout", self.outbox_timeout),
            ("close_timeout", self.close_timeout),
            ("upgrade_timeout", self.upgrade_timeout),
            ("admission_timeout", self.admission_timeout),
        ] {
            if time.is_zero() || time > YEAR {
                return wrong(field, format!("{time:?}"), "must be greater than 0 and at most one year");
            }
        }
        if self.eviction_min_age > YEAR {
            return wrong("eviction_min_age", format!("{:?}", self.eviction_min_age), "must be at most one year");
        }
        for (field, count) in [
            ("max_missed_heartbeats", self.max_missed_heartbeats as usize),
            ("max_message_bytes", self.max_message_bytes),
            ("max_members_per_connect", self.max_members_per_connect),
            ("max_outbox_messages", self.max_outbox_messages),
            ("max_peers", self.max_peers),
            ("max_peers_per_group", self.max_peers_per_group),
            ("max_peers_per_ip", self.max_peers_per_ip),
            ("max_peers_per_identity", self.max_peers_per_identity.map_or(usize::MAX, |(count, _)| count)),
            ("max_groups", self.max_groups),
            ("joins_per_second_per_ip", self.joins_per_second_per_ip as usize),
            ("messages_per_second", self.messages_per_second as usize),
            ("bytes_per_second", self.bytes_per_second as usize),
            ("connects_per_second", self.connects_per_second as usize),
        ] {
            if count == 0 {
                return wrong(field, "0".to_owned(), "must be at least 1");
            }
        }
        if self.max_message_bytes > MAX_MESSAGE_BYTES {
            return wrong("max_message_bytes", self.max_message_bytes.to_string(), "must be at most 67108864");
        }
        if (self.bytes_per_second as usize) < self.max_message_bytes {
            return wrong("bytes_per_second", self.bytes_per_second.to_string(), "must be at least max_message_bytes");
        }
        if self.messages_per_second_per_ip < self.messages_per_second {
            return wrong(
                "messages_per_second_per_ip",
                self.messages_per_second_per_ip.to_string(),
                "must be at least messages_per_second",
            );
        }
        let largest = message_work(self.max_message_bytes) + ids_work(self.max_members_per_connect);
        if (self.messages_per_second_per_ip as usize) < largest {
            return wrong(
                "messages_per_second_per_ip",
                self.messages_per_second_per_ip.to_string(),
                "must be at least 1 + max_message_bytes / 8192 + max_members_per_connect / 64, the count of one message",
            );
        }
        if self.bytes_per_second_per_ip < self.bytes_per_second {
            return wrong(
                "bytes_per_second_per_ip",
                self.bytes_per_second_per_ip.to_string(),
                "must be at least bytes_per_second",
            );
        }
        if (self.connects_per_second as usize) < connect_tokens(self.max_members_per_connect) {
            return wrong(
                "connects_per_second",
                self.connects_per_second.to_string(),
                "must be at least 1 + max_members_per_connect / 64, the tokens of the largest connect",
            );
        }
        // A relayed message is longer than the received one by its link id.
        if self.max_outbox_bytes < self.max_message_bytes + 1024 {
            return wrong(
                "max_outbox_bytes",
                self.max_outbox_bytes.to_string(),
                "must be at least max_message_bytes + 1024",
            );
        }
        if self.max_total_outbox_bytes < self.max_outbox_bytes.saturating_mul(4) {
            return wrong(
                "max_total_outbox_bytes",
                self.max_total_outbox_bytes.to_string(),
                "must be at least 4 * max_outbox_bytes",
            );
        }
        if !(512..=128 * 1024).contains(&self.read_buffer_bytes) {
            return wrong("read_buffer_bytes", self.read_buffer_bytes.to_string(), "must be 512 to 131072");
        }
        if !(1..=1 << 16).contains(&self.event_capacity) {
            return wrong("event_capacity", self.event_capacity.to_string(), "must be 1 to 65536");
        }
        Ok(())
    }
}

fn is_valid_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains(char::is_control)
}

/// A setting with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; {rule}")]
pub struct ConfigError {
    field: &'static str,
    value: String,
    rule: &'static str,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, value: String, rule: &'static str) -> Self {
        Self { field, value, rule }
    }

    /// Returns the name of the setting: its method of [`HubBuilder`](crate::HubBuilder), `secret` for a secret of
    /// `SignedKeys`, or `turn_secret` and `turn_ttl` for those of `IceServers`.
    pub fn field(&self) -> &'static str {
        self.field
    }
}
