//! Every number that bounds what peers can ask of a hub.

use std::time::Duration;

use super::ConfigError;

/// The slowest heartbeat that the published clients bear: Netflux gives up after about 15 s without one.
const SLOWEST_HEARTBEAT: Duration = Duration::from_secs(5);

/// Longer than anybody means, and far from what could not be added to a clock.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// More than that in one message is no signaling.
const LARGEST_MESSAGE: usize = 64 << 20;

/// As [`HubBuilder`](super::HubBuilder) sets them, whose methods say what each is.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) heartbeat: Duration,
    pub(crate) missed_heartbeats: u32,
    pub(crate) connect_within: Duration,
    pub(crate) write_within: Duration,
    pub(crate) close_within: Duration,
    pub(crate) upgrade_within: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_members_named: usize,
    pub(crate) outbox_messages: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) max_peers: usize,
    pub(crate) max_peers_per_group: usize,
    pub(crate) max_peers_per_address: usize,
    pub(crate) max_groups: usize,
    pub(crate) opens_per_second: u32,
    pub(crate) messages_per_second: u32,
    pub(crate) bytes_per_second: u32,
    pub(crate) connects_per_second: u32,
    pub(crate) admission_within: Duration,
    pub(crate) min_stay: Duration,
    pub(crate) read_buffer_bytes: usize,
    pub(crate) kept_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: SLOWEST_HEARTBEAT,
            missed_heartbeats: 3,
            connect_within: Duration::from_secs(60),
            write_within: Duration::from_secs(10),
            close_within: Duration::from_secs(1),
            upgrade_within: Duration::from_secs(10),
            max_message_bytes: 64 * 1024,
            max_members_named: 4096,
            outbox_messages: 256,
            outbox_bytes: 1024 * 1024,
            max_peers: 100_000,
            max_peers_per_group: 10_000,
            max_peers_per_address: 1000,
            max_groups: 100_000,
            opens_per_second: 200,
            messages_per_second: 20_000,
            bytes_per_second: 32 * 1024 * 1024,
            connects_per_second: 1000,
            admission_within: Duration::from_secs(5),
            min_stay: Duration::ZERO,
            read_buffer_bytes: 4096,
            kept_events: 1024,
        }
    }
}

impl Limits {
    /// Finds the first that makes no sense.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, value, rule| Err(ConfigError::new(field, value, rule));
        if self.heartbeat.is_zero() || self.heartbeat > SLOWEST_HEARTBEAT {
            return wrong("heartbeat", format!("{:?}", self.heartbeat), "more than 0 and at most 5s");
        }
        for (field, time) in [
            ("connect_within", self.connect_within),
            ("write_within", self.write_within),
            ("close_within", self.close_within),
            ("upgrade_within", self.upgrade_within),
            ("admission_within", self.admission_within),
        ] {
            if time.is_zero() || time > YEAR {
                return wrong(field, format!("{time:?}"), "more than 0 and at most a year");
            }
        }
        if self.min_stay > YEAR {
            return wrong("min_stay", format!("{:?}", self.min_stay), "at most a year");
        }
        for (field, count) in [
            ("missed_heartbeats", self.missed_heartbeats as usize),
            ("max_message_bytes", self.max_message_bytes),
            ("max_members_named", self.max_members_named),
            ("outbox_messages", self.outbox_messages),
            ("max_peers", self.max_peers),
            ("max_peers_per_group", self.max_peers_per_group),
            ("max_peers_per_address", self.max_peers_per_address),
            ("max_groups", self.max_groups),
            ("opens_per_second", self.opens_per_second as usize),
            ("messages_per_second", self.messages_per_second as usize),
            ("bytes_per_second", self.bytes_per_second as usize),
            ("connects_per_second", self.connects_per_second as usize),
        ] {
            if count == 0 {
                return wrong(field, "0".to_owned(), "at least 1");
            }
        }
        if self.max_message_bytes > LARGEST_MESSAGE {
            return wrong("max_message_bytes", self.max_message_bytes.to_string(), "at most 67108864");
        }
        if (self.bytes_per_second as usize) < self.max_message_bytes {
            return wrong("bytes_per_second", self.bytes_per_second.to_string(), "at least max_message_bytes");
        }
        // A relayed message is a little longer than what came, by the link's id.
        if self.outbox_bytes < self.max_message_bytes + 1024 {
            return wrong("outbox_bytes", self.outbox_bytes.to_string(), "at least 1024 more than max_message_bytes");
        }
        if !(512..=128 * 1024).contains(&self.read_buffer_bytes) {
            return wrong("read_buffer_bytes", self.read_buffer_bytes.to_string(), "512 to 131072");
        }
        if !(1..=1 << 16).contains(&self.kept_events) {
            return wrong("kept_events", self.kept_events.to_string(), "1 to 65536");
        }
        Ok(())
    }
}
