//! Redis as the engine of a cluster.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::check;
use super::client::Client;
use super::codec::{self, node_name};
use super::connection::Pool;
use super::inbox::{self, Inbox};
use super::script::{BEAT, SEND, STEP};
use crate::cluster::{Backplane, BackplaneError, Beat, GroupTag, MemberList, NodeId, Step};

/// A [`Backplane`] over Redis or Valkey: one server, Sentinel, or Redis Cluster.
///
/// ```no_run
/// use std::fs;
///
/// use sigver::cluster::RedisBackplane;
/// use sigver::{ClusterConfig, SignalingHub};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = RedisBackplane::builder("rediss://redis.example", "prod")
///     .user("sigver")
///     .password(fs::read_to_string("/run/secrets/redis")?.trim_end())
///     .build()?;
/// let (hub, driver) = SignalingHub::builder().build_cluster(ClusterConfig::new(redis))?;
/// tokio::spawn(driver);
/// # Ok(())
/// # }
/// ```
///
/// It needs Redis 6.2 or newer, or any Valkey. The engine needs no persistence: each node puts its members back.
///
/// # URL
///
/// | URL | engine |
/// |---|---|
/// | `redis://HOST:PORT/DATABASE` | one server. The port (6379) and the database (0) are optional |
/// | `redis://HOST:PORT,HOST:PORT` | a Redis Cluster. Name some of its nodes; the others are found |
/// | `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` | the primary that these Sentinels (port 26379) name |
///
/// A single host may also be a node of a Redis Cluster. `rediss` in place of `redis` means TLS, which is required
/// unless all addresses are loopback addresses, or
/// [`allow_unencrypted`](super::RedisBackplaneBuilder::allow_unencrypted) is set. The certificate of a server must have
/// its host name, or its IP address if a Redis Cluster or a Sentinel names it by that. A user and a password before the
/// hosts, as `USER:PASSWORD@`, must be percent-encoded.
///
/// # What the engine holds
///
/// All keys start with `sv1:NAME:`, where NAME is the name of the cluster, so several clusters can share an engine. The
/// braces are part of the key; GROUP has 32 hexadecimal digits, and NODE has 16.
///
/// | key | content | expires after |
/// |---|---|---|
/// | `sv1:NAME:{GROUP}:members` | the member list of a group | the last removal; 6 h without a change or an audit |
/// | `sv1:NAME:{NODE}:inbox` | records for a node | 60 s without a read |
/// | `sv1:NAME:nodes` | the beats of the nodes | 48 h without a beat |
///
/// # Permissions
///
/// ```text
/// ACL SETUSER sigver on >PASSWORD resetchannels -@all ~sv1:NAME:*
///     +evalsha +eval +time +hget +hgetall +hset +hdel +hincrby +del +pexpire +xadd +xread +xrevrange +asking +info
/// ```
///
/// `asking` is for Redis Cluster only. A database other than 0 needs `+select`. Without `info`, the version and
/// `maxmemory-policy` are not checked. Write the rule in one line.
///
/// # Failures
///
/// A call fails if it has no reply within 2 s (`recv` within 3 s, because it waits for batches). It is sent again only
/// if a server has rejected it unseen: if it did not have the script, or redirected the call. The next call opens a new
/// connection if there is none. No text of an error has a credential or a key.
///
/// After a failure of the engine, the nodes put their members back; the guide describes the exceptions. A primary that
/// is cut off from its Sentinels or its cluster accepts changes which are lost later; `min-replicas-to-write` in its
/// configuration bounds that.
///
/// # Cancel safety
///
/// `recv` is cancel safe. Dropping another call does not withdraw the command.
pub struct RedisBackplane {
    client: Arc<Client>,
    /// The connections for everything but inboxes.
    connections: Pool,
    /// The start of the names of all keys.
    prefix: String,
    max_inbox_entries: usize,
    inboxes: Mutex<HashMap<NodeId, Arc<tokio::sync::Mutex<Inbox>>>>,
}

impl RedisBackplane {
    pub(super) fn new(client: Client, name: &str, max_inbox_entries: usize) -> Self {
        Self {
            client: Arc::new(client),
            connections: Pool::default(),
            prefix: format!("sv1:{name}:"),
            max_inbox_entries,
            inboxes: Mutex::default(),
        }
    }

    fn inbox_key(&self, node: NodeId) -> String {
        format!("{}{{{}}}:inbox", self.prefix, node_name(node))
    }

    /// Returns the inbox of a node. Closes the connections of other inboxes that nothing reads: a node that was
    /// declared dead reads another one from then on.
    fn inbox(&self, me: NodeId) -> Arc<tokio::sync::Mutex<Inbox>> {
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, inbox) in inboxes.iter().filter(|(node, _)| **node != me) {
            if let Ok(mut inbox) = inbox.try_lock() {
                inbox.disconnect();
            }
        }
        let inbox = || Arc::new(tokio::sync::Mutex::new(Inbox::new(self.client.clone(), self.inbox_key(me))));
        inboxes.entry(me).or_insert_with(inbox).clone()
    }
}

#[async_trait]
impl Backplane for RedisBackplane {
    async fn step(&self, group: GroupTag, step: Step) -> Result<MemberList, BackplaneError> {
        let call = STEP.call(format!("{}{{{group}}}:members", self.prefix), codec::step_args(&step));
        codec::member_list(self.client.call(&self.connections, &call, Duration::ZERO).await?)
    }

    async fn send(&self, to: NodeId, batch: Bytes) -> Result<(), BackplaneError> {
        let [max, ttl] = [self.max_inbox_entries.to_string(), inbox::TTL.as_millis().to_string()];
        let call = SEND.call(self.inbox_key(to), vec![max.into(), ttl.into(), batch.into()]);
        self.client.call(&self.connections, &call, Duration::ZERO).await.map(|_| ())
    }

    /// At most one call for each node can wait at a time: another one waits for it.
    async fn recv(&self, me: NodeId) -> Result<Vec<Bytes>, BackplaneError> {
        self.inbox(me).lock().await.receive().await
    }

    async fn beat(&self, me: NodeId, silent: &[(NodeId, u64)]) -> Result<Beat, BackplaneError> {
        let call = BEAT.call(format!("{}nodes", self.prefix), codec::beat_args(me, silent));
        codec::beat(self.client.call(&self.connections, &call, Duration::ZERO).await?)
    }

    /// Finds commands that the user has no permission for, versions before 6.2, and a `maxmemory-policy` other than
    /// `noeviction`.
    async fn check(&self) -> Result<Vec<String>, BackplaneError> {
        check::findings(&self.client, &self.connections, &self.prefix).await
    }
}

/// Without addresses and credentials.
impl fmt::Debug for RedisBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplane").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
