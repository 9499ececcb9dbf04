//! Every limit of the hub, for flags, variables and the file: what is missing in this table cannot be set.

use serde::{Deserialize, Serialize};
use sigver::HubBuilder;

use super::units::{Bytes, Time, Unit};

macro_rules! limits {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ty = $default:expr;)+) => {
        /// The limits that somebody has set, each by the name of its method of [`HubBuilder`].
        #[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
        pub(crate) struct Limits {
            $($(#[doc = $help])+
            #[arg(long, value_name = <$kind as Unit>::NAME, help_heading = "Limits")]
            $name: Option<$kind>,)+
        }

        impl Limits {
            /// All of them, as the hub has them by itself.
            pub(crate) fn defaults() -> Self {
                Self { $($name: Some($default)),+ }
            }

            /// These, and the others' where there is none.
            pub(crate) fn or(self, others: Self) -> Self {
                Self { $($name: self.$name.or(others.$name)),+ }
            }

            pub(crate) fn apply(self, builder: HubBuilder) -> HubBuilder {
                $(let builder = match self.$name {
                    Some(limit) => builder.$name(limit.into()),
                    None => builder,
                };)+
                builder
            }
        }
    };
}

limits! {
    /// Peers in all
    max_peers: usize = 100_000;
    /// Peers with one key
    max_peers_per_group: usize = 10_000;
    /// Peers from one address, or one IPv6 network of 64 bits
    max_peers_per_ip: usize = 1000;
    /// Keys that have a peer
    max_groups: usize = 100_000;
    /// New peers from one address in a second
    joins_per_second_per_ip: u32 = 200;
    /// Messages from one peer in a second
    messages_per_second: u32 = 20_000;
    /// Bytes from one peer in a second
    bytes_per_second: Bytes<u32> = Bytes::new(32 << 20);
    /// How often one peer may ask to be admitted in a second
    connects_per_second: u32 = 1000;
    /// How often each peer is sent a heartbeat, 5s at most
    heartbeat_interval: Time = Time::seconds(5);
    /// Heartbeats in a row that a peer may leave unanswered, the last of which closes it
    max_missed_heartbeats: u32 = 3;
    /// How long a peer may wait with its first `connect`
    first_connect_timeout: Time = Time::seconds(60);
    /// How long a peer's socket may take nothing of what waits for it
    outbox_timeout: Time = Time::seconds(10);
    /// How long a closed peer has for its part of the goodbye
    close_timeout: Time = Time::seconds(1);
    /// How long a connection has to become a WebSocket once its handshake was accepted
    upgrade_timeout: Time = Time::seconds(10);
    /// How long the check of a signed key may take
    admission_timeout: Time = Time::seconds(5);
    /// How long the only member of a group has to have been one before it can be put out for blocking
    eviction_min_age: Time = Time::seconds(0);
    /// The longest message of a peer
    max_message_bytes: Bytes<usize> = Bytes::new(64 << 10);
    /// Members that one `connect` may name
    max_members_per_connect: usize = 4096;
    /// Messages that may wait for a peer whose socket takes no more
    max_outbox_messages: usize = 256;
    /// Bytes that may wait for one peer
    max_outbox_bytes: Bytes<usize> = Bytes::new(1 << 20);
    /// The read buffer of each WebSocket
    read_buffer_bytes: Bytes<usize> = Bytes::new(4096);
    /// Events that may wait for a reader
    event_capacity: usize = 1024;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_hub() {
        let untouched = HubBuilder::default();
        assert_eq!(format!("{:?}", Limits::defaults().apply(untouched.clone())), format!("{untouched:?}"));
    }
}
