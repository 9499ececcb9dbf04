//! The limits of a hub: safe when left alone, each a number.

use std::time::Duration;

use super::SignalingHub;

/// The slowest heartbeat that the published clients bear: Netflux gives up after about 15 s without one.
const SLOWEST_HEARTBEAT: Duration = Duration::from_secs(5);

/// More than that in one message is no signaling.
const LARGEST_MESSAGE: usize = 64 << 20;

/// Every number that bounds what peers can ask of a hub.
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
    pub(crate) max_peers_per_group: usize,
    pub(crate) read_buffer_bytes: usize,
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
            max_peers_per_group: 10_000,
            read_buffer_bytes: 4096,
        }
    }
}

/// Makes a [`SignalingHub`] with other limits than the default ones, which each method names.
///
/// [`HubBuilder::build`] takes times over 0 and up to a year, counts from 1, and where a method says so, less than that.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct HubBuilder {
    limits: Limits,
}

impl HubBuilder {
    /// How often each peer is sent a heartbeat: 5 s. It cannot be more: published clients would take the hub for dead.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.limits.heartbeat = every;
        self
    }

    /// How many heartbeats in a row a peer may leave unanswered, the last of which closes it with 4742: 3.
    pub fn missed_heartbeats(mut self, count: u32) -> Self {
        self.limits.missed_heartbeats = count;
        self
    }

    /// How long a peer may wait with its first `connect`: 60 s. After that it is closed with 1008.
    pub fn connect_within(mut self, time: Duration) -> Self {
        self.limits.connect_within = time;
        self
    }

    /// How long a peer's socket may take not one message of those that wait: 10 s. After that it is closed with 1013.
    pub fn write_within(mut self, time: Duration) -> Self {
        self.limits.write_within = time;
        self
    }

    /// How long a closed peer has for its part of the goodbye: 1 s. After that its socket is dropped.
    pub fn close_within(mut self, time: Duration) -> Self {
        self.limits.close_within = time;
        self
    }

    /// How long an HTTP connection has to become a WebSocket after the handshake was accepted: 10 s. After that it is
    /// dropped.
    pub fn upgrade_within(mut self, time: Duration) -> Self {
        self.limits.upgrade_within = time;
        self
    }

    /// The longest message that a peer may send, in bytes: 64 KiB, and 64 MiB at most. A longer one closes it with 1009.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_message_bytes = bytes;
        self
    }

    /// How many members one `connect` may name: 4096. More close the peer with 1008.
    pub fn max_members_named(mut self, count: usize) -> Self {
        self.limits.max_members_named = count;
        self
    }

    /// How many messages may wait for a peer whose socket takes no more: 256. One more closes it with 1013, as nothing is
    /// ever dropped from the middle. A peer that reads is bounded by [`HubBuilder::outbox_bytes`] only.
    pub fn outbox_messages(mut self, count: usize) -> Self {
        self.limits.outbox_messages = count;
        self
    }

    /// How many bytes may wait for one peer, with 64 more for each message: 1 MiB, and at least 1024 more than
    /// [`HubBuilder::max_message_bytes`]. More close it with 1013.
    pub fn outbox_bytes(mut self, bytes: usize) -> Self {
        self.limits.outbox_bytes = bytes;
        self
    }

    /// How many peers one key may have, members or not: 10 000. One more is closed with 1013.
    pub fn max_peers_per_group(mut self, count: usize) -> Self {
        self.limits.max_peers_per_group = count;
        self
    }

    /// The read buffer of each WebSocket that an adapter upgrades, in bytes: 4096. It is most of what an idle peer
    /// costs. From 512 to 131 072; below 1024 bursts get slow, and above 16 KiB everything does.
    pub fn read_buffer_bytes(mut self, bytes: usize) -> Self {
        self.limits.read_buffer_bytes = bytes;
        self
    }

    /// The hub.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the first limit that makes no sense.
    pub fn build(self) -> Result<SignalingHub, ConfigError> {
        let limits = &self.limits;
        let wrong = |field, value, rule| Err(ConfigError { field, value, rule });
        if limits.heartbeat.is_zero() || limits.heartbeat > SLOWEST_HEARTBEAT {
            return wrong("heartbeat", format!("{:?}", limits.heartbeat), "more than 0 and at most 5s");
        }
        for (field, time) in [
            ("connect_within", limits.connect_within),
            ("write_within", limits.write_within),
            ("close_within", limits.close_within),
            ("upgrade_within", limits.upgrade_within),
        ] {
            // A longer one could not be added to a clock.
            if time.is_zero() || time > Duration::from_secs(365 * 24 * 3600) {
                return wrong(field, format!("{time:?}"), "more than 0 and at most a year");
            }
        }
        for (field, count) in [
            ("missed_heartbeats", limits.missed_heartbeats as usize),
            ("max_message_bytes", limits.max_message_bytes),
            ("max_members_named", limits.max_members_named),
            ("outbox_messages", limits.outbox_messages),
            ("max_peers_per_group", limits.max_peers_per_group),
        ] {
            if count == 0 {
                return wrong(field, "0".to_owned(), "at least 1");
            }
        }
        if limits.max_message_bytes > LARGEST_MESSAGE {
            return wrong("max_message_bytes", limits.max_message_bytes.to_string(), "at most 67108864");
        }
        // A relayed message is a little longer than what came, by the link's id.
        if limits.outbox_bytes < limits.max_message_bytes + 1024 {
            return wrong("outbox_bytes", limits.outbox_bytes.to_string(), "at least 1024 more than max_message_bytes");
        }
        if !(512..=128 * 1024).contains(&limits.read_buffer_bytes) {
            return wrong("read_buffer_bytes", limits.read_buffer_bytes.to_string(), "512 to 131072");
        }
        Ok(SignalingHub::with(self.limits))
    }
}

/// A limit that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; it has to be {rule}")]
pub struct ConfigError {
    field: &'static str,
    value: String,
    rule: &'static str,
}

impl ConfigError {
    /// The limit's name, which is that of its method of [`HubBuilder`].
    pub fn field(&self) -> &'static str {
        self.field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_refuses_nonsense_and_names_the_field() {
        let new = HubBuilder::default;
        let zero = Duration::ZERO;
        for (builder, field) in [
            (new().heartbeat(Duration::from_millis(5001)), "heartbeat"),
            (new().heartbeat(zero), "heartbeat"),
            (new().missed_heartbeats(0), "missed_heartbeats"),
            (new().connect_within(zero), "connect_within"),
            (new().connect_within(Duration::MAX), "connect_within"),
            (new().write_within(zero), "write_within"),
            (new().close_within(zero), "close_within"),
            (new().upgrade_within(zero), "upgrade_within"),
            (new().max_message_bytes(0), "max_message_bytes"),
            (new().max_members_named(0), "max_members_named"),
            (new().outbox_messages(0), "outbox_messages"),
            (new().outbox_bytes(64 * 1024 + 1023), "outbox_bytes"),
            (new().max_message_bytes(usize::MAX), "max_message_bytes"),
            (new().max_peers_per_group(0), "max_peers_per_group"),
            (new().read_buffer_bytes(511), "read_buffer_bytes"),
            (new().read_buffer_bytes(1 << 20), "read_buffer_bytes"),
        ] {
            let error = builder.build().expect_err(field);
            assert_eq!(error.field(), field);
            assert!(error.to_string().starts_with(field), "{error}");
        }
        assert!(new().build().is_ok());
    }
}
