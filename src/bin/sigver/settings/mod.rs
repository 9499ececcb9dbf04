//! Every setting of the server: each has a flag, an environment variable and a key of the file with the same name.

// A test oracle includes this folder by its path, so it imports nothing from the rest of the server.

mod cluster_table;
mod file;
mod table;
mod units;

use std::path::PathBuf;

use clap::{Command, ValueEnum};
use serde::{Deserialize, Serialize};
use sigver::ClientIpHeader;

use cluster_table::{TABLE, is_in_table, name_in_table};
use table::settings;
use units::Bytes;

pub(crate) use file::parse;
pub(crate) use units::Time;

const ACCESS_CONTROL: &str = "Access control";
const ICE: &str = "ICE servers";
const LIMITS: &str = "Limits";
const CLUSTER: &str = "Cluster";

settings! {
    server {
        /// IP address or host name to listen on, or a Unix socket: unix:/PATH
        #[arg(short = 'h', long, value_name = "IP")]
        host: String = "0.0.0.0".to_owned();
        /// Port to listen on, 0 for any free port. A Unix socket has none
        #[arg(short, long, value_name = "NUMBER")]
        port: u16 = 8000;
        /// Private key of the certificate (PEM)
        #[arg(short, long, value_name = "FILE")]
        key: PathBuf;
        /// Server certificate (PEM). With a certificate and its key, the server accepts TLS only
        #[arg(short, long, value_name = "FILE")]
        cert: PathBuf;
        /// Intermediate certificates (PEM) that clients need to verify the server certificate
        #[arg(short = 'a', long, value_name = "FILE")]
        ca: PathBuf;
        /// Time over which SIGTERM spreads the closing of all peers, at most 1day
        #[arg(long, value_name = "TIME")]
        drain_timeout: Time = Time::seconds(5);
        /// Serve metrics, health checks and a status page on this address, without TLS or authentication. Keep it
        /// private
        #[arg(long, value_name = "HOST:PORT")]
        admin: String;
        /// Format of the log on stderr: text, or one JSON object per line
        #[arg(long, value_name = "FORMAT")]
        log_format: LogFormat = LogFormat::Text;

        /// Allow only this origin: https://HOST, or https://*.HOST for all of its subdomains. Can be repeated
        #[arg(long = "allowed-origin", value_name = "ORIGIN", value_delimiter = ',', help_heading = ACCESS_CONTROL)]
        allowed_origins: Vec<String>;
        /// Also allow requests without an Origin header. Requires --allowed-origin
        #[arg(
            long,
            value_name = "BOOL",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "true",
            help_heading = ACCESS_CONTROL,
        )]
        allow_missing_origin: bool;
        /// Trust the client IP header from this proxy address or CIDR network. Can be repeated
        #[arg(long = "trusted-proxy", value_name = "NET", value_delimiter = ',', help_heading = ACCESS_CONTROL)]
        trusted_proxies: Vec<String>;
        /// Header in which the trusted proxies report the client IP. Requires --trusted-proxy or a Unix socket
        #[arg(long, value_name = "HEADER", help_heading = ACCESS_CONTROL)]
        client_ip_header: Header;
        /// Admit only keys signed with the secret in this file, or in SIGVER_SIGNED_KEYS_SECRET. Can be given twice
        /// while one secret replaces the other
        #[arg(
            long = "signed-keys-secret-file",
            value_name = "FILE",
            value_delimiter = ',',
            help_heading = ACCESS_CONTROL,
        )]
        signed_keys_secret_files: Vec<PathBuf>;

        /// Give clients this STUN or TURN server: stun:HOST or turn:HOST, with an optional port. Can be repeated.
        /// TURN servers require --turn-secret-file
        #[arg(long = "ice-server", value_name = "URL", value_delimiter = ',', help_heading = ICE)]
        ice_servers: Vec<String>;
        /// Sign credentials for TURN with the secret in this file, or in SIGVER_TURN_SECRET: coturn's
        /// static-auth-secret. Can be given twice while one secret replaces the other
        #[arg(long = "turn-secret-file", value_name = "FILE", value_delimiter = ',', help_heading = ICE)]
        turn_secret_files: Vec<PathBuf>;
        /// Time for which a credential for TURN is valid, 1m to 7days
        #[arg(long, value_name = "TIME", help_heading = ICE)]
        turn_ttl: Time = Time::seconds(3600);

        /// Maximum number of connections without a completed WebSocket handshake. At the limit, the oldest is closed
        /// [default: a quarter of the file descriptor limit, at most 16384]
        #[arg(long, value_name = "N", help_heading = LIMITS)]
        max_handshakes: usize;
        /// Maximum number of connections without a completed WebSocket handshake from one IP address or IPv6 /64
        /// network; trusted proxies are exempt. Each IPv6 /48 network may have four times as many
        #[arg(long, value_name = "N", help_heading = LIMITS)]
        max_handshakes_per_ip: usize = 64;
    }
    limits {
        /// Maximum number of connected peers
        max_peers: usize = 100_000;
        /// Maximum number of peers in one group
        max_peers_per_group: usize = 10_000;
        /// Maximum number of peers of one IP address or IPv6 /64 network. Each IPv6 /48 network may have four times as many
        max_peers_per_ip: usize = 1000;
        /// Maximum number of groups
        max_groups: usize = 100_000;
        /// Maximum joins per second from one IP address or IPv6 /64 network, four times as many from an IPv6 /48 network
        joins_per_second_per_ip: u32 = 200;
        /// Maximum messages per second from one peer
        messages_per_second: u32 = 20_000;
        /// Maximum bytes per second from one peer
        bytes_per_second: Bytes<u32> = Bytes::new(2 << 20);
        /// Maximum `connect` messages per second from one peer. Every 64 ids in one `connect` count as one more
        /// `connect`
        connects_per_second: u32 = 1000;
        /// Maximum messages per second from one IP address or IPv6 /64 network, four times as many from an IPv6 /48 network
        messages_per_second_per_ip: u32 = 100_000;
        /// Maximum bytes per second from one IP address or IPv6 /64 network, four times as many from an IPv6 /48 network
        bytes_per_second_per_ip: Bytes<u32> = Bytes::new(32 << 20);
        /// Interval between the heartbeats to each peer, at most 5s
        heartbeat_interval: Time = Time::seconds(5);
        /// Consecutive unanswered heartbeats after which a peer is closed
        max_missed_heartbeats: u32 = 3;
        /// Time for a peer to send its first `connect`
        first_connect_timeout: Time = Time::seconds(60);
        /// Time for which a message may be queued for a peer
        outbox_timeout: Time = Time::seconds(10);
        /// Time for a peer to complete the close handshake
        close_timeout: Time = Time::seconds(1);
        /// Time from an accepted handshake to the first use of its WebSocket
        upgrade_timeout: Time = Time::seconds(10);
        /// Time for the verification of a signed key
        admission_timeout: Time = Time::seconds(5);
        /// Time after it became a member during which the only member of a group cannot be evicted
        eviction_min_age: Time = Time::seconds(0);
        /// Maximum size of a message from a peer
        max_message_bytes: Bytes<usize> = Bytes::new(64 << 10);
        /// Maximum number of members named by one `connect`
        max_members_per_connect: usize = 512;
        /// Maximum messages queued for a peer whose socket is not writable
        max_outbox_messages: usize = 256;
        /// Maximum bytes queued for one peer
        max_outbox_bytes: Bytes<usize> = Bytes::new(1 << 18);
        /// Maximum bytes queued for all peers, at least four times `max-outbox-bytes`
        max_total_outbox_bytes: Bytes<usize> = Bytes::new(1 << 28);
        /// Size of the read buffer of each WebSocket
        read_buffer_bytes: Bytes<usize> = Bytes::new(4096);
        /// Maximum events queued for a subscriber
        event_capacity: usize = 1024;
    }
    cluster {
        /// Connect to the other servers of a cluster through the Redis with this URL: redis://, rediss:// (TLS),
        /// redis+sentinel:// or rediss+sentinel://, with one or several HOST:PORT
        #[arg(long, value_name = "URL", hide_env_values = true, help_heading = CLUSTER)]
        cluster_url: String;
        /// Name of the cluster: 1 to 32 of the characters a-z, 0-9 and -. Servers with the same name share groups
        #[arg(long, value_name = "NAME", help_heading = CLUSTER)]
        cluster_name: String = "sigver".to_owned();
        /// Redis user, in place of that of the URL
        #[arg(long, value_name = "USER", help_heading = CLUSTER)]
        cluster_user: String;
        /// File that contains the password of the Redis user, in place of that of the URL
        #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
        cluster_password_file: PathBuf;
        /// User for the Sentinels, which have users of their own
        #[arg(long, value_name = "USER", help_heading = CLUSTER)]
        cluster_sentinel_user: String;
        /// File that contains the password for the Sentinels
        #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
        cluster_sentinel_password_file: PathBuf;
        /// CA certificates (PEM) that may sign the certificate of Redis, in place of those of the system
        #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
        cluster_ca_certificates: PathBuf;
        /// Allow connections without TLS to a Redis on another machine. Its network can then read all signals
        #[arg(
            long,
            value_name = "BOOL",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "true",
            help_heading = CLUSTER,
        )]
        cluster_allow_unencrypted: bool;
        /// Maximum batches of messages that the inbox of a server keeps, read or not. The oldest are dropped
        #[arg(long, value_name = "N", help_heading = CLUSTER)]
        cluster_max_inbox_entries: usize = 10_000;
    }
    cluster_limits {
        /// Time for a `connect` to be answered, also while Redis is unreachable
        cluster_connect_answer_timeout => connect_answer_timeout: Time = Time::seconds(15);
        /// Interval at which the server shows the others that it is alive
        cluster_beat_interval => beat_interval: Time = Time::seconds(2);
        /// Time after which a silent server is declared dead, at least four times `cluster-beat-interval`
        cluster_node_timeout => node_timeout: Time = Time::seconds(10);
        /// Interval at which the server compares Redis with its own peers
        cluster_audit_interval => audit_interval: Time = Time::seconds(900);
        /// Maximum number of members of one group on all servers
        cluster_max_members_per_group => max_members_per_group: usize = 1000;
        /// Maximum bytes queued for one other server
        cluster_max_outbox_bytes_per_node => max_outbox_bytes_per_node: Bytes<usize> = Bytes::new(4 << 20);
    }
}

/// [`ClientIpHeader`] as a value of a setting.
#[derive(Clone, Copy, Debug, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Header {
    XForwardedFor,
    Forwarded,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Gives each flag its environment variable, and shows the default in its help.
pub(crate) fn complete(command: Command) -> Command {
    let defaults = toml::Table::try_from(Settings::defaults()).expect("every default can be written as TOML");
    Settings::NAMES.iter().fold(command, |command, name| {
        let table = defaults.get(TABLE).filter(|_| is_in_table(name)).and_then(toml::Value::as_table);
        let default = match table {
            Some(table) => table.get(name_in_table(name)),
            None => defaults.get(*name),
        };
        let default = default.map(|value| match value {
            toml::Value::String(text) => text.clone(),
            value => value.to_string(),
        });
        command.mut_arg(name, |arg| {
            let arg = arg.env(format!("SIGVER_{}", name.to_uppercase()));
            match (arg.get_help(), default) {
                (Some(help), Some(default)) => {
                    let help = format!("{help} [default: {default}]");
                    arg.help(help)
                }
                _ => arg,
            }
        })
    })
}

impl From<Header> for ClientIpHeader {
    fn from(header: Header) -> Self {
        match header {
            Header::XForwardedFor => Self::XForwardedFor,
            Header::Forwarded => Self::Forwarded,
        }
    }
}

#[cfg(test)]
mod tests {
    use sigver::cluster::MemoryBackplane;
    use sigver::{ClusterConfig, HubBuilder};

    use super::*;

    #[test]
    fn defaults_of_limits_equal_those_of_the_hub_and_of_a_cluster() {
        let hub = HubBuilder::default();
        assert_eq!(format!("{:?}", Settings::defaults().apply_limits(hub.clone())), format!("{hub:?}"));
        let cluster = ClusterConfig::new(MemoryBackplane::new());
        assert_eq!(format!("{:?}", Settings::defaults().apply_cluster_limits(cluster.clone())), format!("{cluster:?}"));
    }
}
