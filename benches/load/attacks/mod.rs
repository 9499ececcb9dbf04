//! Attacks on a server: a mix of simple ones, and attacks with a name that stay within the limits of the hub.

mod attackers;
mod flooded_member;
mod held_outboxes;
mod limits;
pub(crate) mod mix;
mod named_ids;
mod renamed_members;
mod report;
mod silent_connections;
mod unread_outboxes;
mod unread_pair;

use std::time::Duration;

use clap::ValueEnum;
use tokio::time::sleep;

use crate::client::Target;
use attackers::Attackers;

pub(crate) use limits::default_limit;
pub(crate) use report::Report;

/// An attack that stays within the limits of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum NamedAttack {
    /// All attacks below, one after another.
    All,
    /// Peers send `connect` messages that name as many ids as they may.
    NamedIds,
    /// Members change their ids once, and joiners search among them continuously.
    RenamedMembers,
    /// Pairs of peers send to each other and read nothing.
    UnreadOutboxes,
    /// Pairs of peers send 60 KiB to each other, and read nothing.
    HeldOutboxes,
    /// A joiner sends more than a member with a slow connection can read.
    FloodedMember,
    /// A client opens TCP connections to the standalone server, and sends nothing.
    SilentConnections,
}

/// How an attack with a name differs from its defaults.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Number of attacking connections, or of floods for flooded-member [default: depends on the attack]
    #[arg(long)]
    attackers: Option<usize>,
    /// Number of addresses that they come from [default: as few as max_peers_per_ip allows]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=250))]
    addresses: Option<u8>,
    /// Ids that each connect of named-ids names [default: max_members_per_connect]
    #[arg(long)]
    ids: Option<u32>,
    /// Joiners among the attackers of renamed-members [default: one of ten]
    #[arg(long)]
    joiners: Option<usize>,
    /// Connects per second of each attacker of named-ids, and of each joiner of renamed-members [default: as many as
    /// the limits allow]
    #[arg(long)]
    connects_per_second: Option<f64>,
    /// Payload bytes per second of each attacker of unread-outboxes [default: as many as fill an outbox in 10 s]
    #[arg(long)]
    bytes_per_second: Option<f64>,
    /// Bytes of each content of held-outboxes. The buffers of a connection keep the size of its largest message
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    content_bytes: u16,
    /// Connections per second of silent-connections
    #[arg(long, default_value_t = 200.0)]
    connections_per_second: f64,
}

impl NamedAttack {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no variant is skipped").get_name().to_owned()
    }

    /// Replaces [`NamedAttack::All`] by all other attacks.
    pub(crate) fn expand(attacks: &[Self]) -> Vec<Self> {
        match attacks.contains(&Self::All) {
            true => Self::value_variants().iter().copied().filter(|&attack| attack != Self::All).collect(),
            false => attacks.to_vec(),
        }
    }

    /// Returns the number of attacking connections.
    pub(crate) fn attackers(self, options: &Options) -> usize {
        options.attackers.unwrap_or(match self {
            Self::NamedIds => 20,
            Self::RenamedMembers => 990,
            Self::UnreadOutboxes => 980,
            Self::HeldOutboxes => 10_000,
            Self::FloodedMember => 10,
            Self::SilentConnections | Self::All => 0,
        })
    }
}

impl Options {
    /// Returns the options as command-line arguments.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        args.extend(self.attackers.map(|count| format!("--attackers={count}")));
        args.extend(self.addresses.map(|count| format!("--addresses={count}")));
        args.extend(self.ids.map(|count| format!("--ids={count}")));
        args.extend(self.joiners.map(|count| format!("--joiners={count}")));
        args.extend(self.connects_per_second.map(|rate| format!("--connects-per-second={rate}")));
        args.extend(self.bytes_per_second.map(|rate| format!("--bytes-per-second={rate}")));
        args.push(format!("--content-bytes={}", self.content_bytes));
        args.push(format!("--connections-per-second={}", self.connections_per_second));
        args
    }
}

/// The line that the process of an attack prints when its attackers are in place. Its next line is the report.
pub(crate) const READY: &str = "ready";

/// Runs an attack for this time after its attackers are in place.
pub(crate) async fn run(attack: NamedAttack, target: &Target, options: &Options, time: Duration) {
    let attackers = Attackers::new(attack, target, options);
    let running = match attack {
        NamedAttack::NamedIds => named_ids::start(&attackers, options).await,
        NamedAttack::RenamedMembers => renamed_members::start(&attackers, options).await,
        NamedAttack::UnreadOutboxes => unread_outboxes::start(&attackers, options).await,
        NamedAttack::HeldOutboxes => held_outboxes::start(&attackers, options).await,
        NamedAttack::FloodedMember => flooded_member::start(&attackers, time).await,
        NamedAttack::SilentConnections => silent_connections::start(&attackers, options).await,
        NamedAttack::All => panic!("one process runs one attack"),
    };
    println!("{READY}");
    sleep(time).await;
    println!("{}", attackers.report());
    drop(running);
}
