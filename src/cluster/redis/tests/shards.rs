//! A Redis Cluster.

use futures::future::join;
use tokio::task::yield_now;
use tokio::time::pause;

use super::super::routes::slot;
use super::access::permissions;
use super::*;

/// A Redis Cluster of three servers.
struct Shards {
    servers: [Server; 3],
}

const FIRST_SLOTS: [u16; 4] = [0, 5461, 10923, 16384];

static SHARDS: LazyLock<Option<Shards>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // A runtime cannot run in the thread of another one.
    std::thread::spawn(move || runtime.block_on(Shards::start())).join().expect("it does not panic")
});

impl Shards {
    async fn start() -> Option<Self> {
        let start = || {
            let user = format!("user sigver on >secret -@all ~sv1:test:* {}", permissions());
            Server::start(&["cluster-enabled yes", "cluster-config-file FOLDER/nodes.conf", &user])
        };
        let servers = [start()?, start()?, start()?];
        for (index, server) in servers.iter().enumerate() {
            assert_eq!(server.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), "+OK");
            let [first, next] = [FIRST_SLOTS[index], FIRST_SLOTS[index + 1]];
            assert_eq!(server.command(&format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1)), "+OK");
            let first = servers[0].port;
            assert_eq!(server.command(&format!("CLUSTER MEET 127.0.0.1 {first}")), "+OK");
        }
        for server in &servers {
            let is_complete =
                |reply: &str| reply.contains("cluster_state:ok") && reply.contains("cluster_slots_ok:16384");
            server.wait_until("CLUSTER INFO", is_complete).await;
        }
        Some(Self { servers })
    }

    /// Creates a backplane that knows one of the servers.
    fn backplane(&self) -> RedisBackplane {
        with_login(builder(&self.servers[0]))
    }

    fn owner(&self, slot: u16) -> usize {
        FIRST_SLOTS.iter().position(|&first| slot < first).expect("a slot") - 1
    }

    fn id(&self, index: usize) -> String {
        let reply = self.servers[index].command("CLUSTER MYID");
        reply.lines().nth(1).expect("an id").to_owned()
    }

    /// Returns a node whose inbox a server owns, and the slot.
    fn node_of(&self, owner: usize) -> (NodeId, u16) {
        let slot_of = |node: NodeId| slot(&key(node));
        let node = std::iter::repeat_with(random_node).find(|&node| self.owner(slot_of(node)) == owner);
        let node = node.expect("an endless iterator");
        (node, slot_of(node))
    }

    /// Starts to move a slot, with its key if it exists: the old owner redirects calls for other keys.
    fn start_moving(&self, slot: u16, [from, to]: [usize; 2], key: &str) {
        let [from_id, to_id] = [from, to].map(|index| self.id(index));
        let [from, to] = [from, to].map(|index| &self.servers[index]);
        assert_eq!(to.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")), "+OK");
        assert_eq!(from.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")), "+OK");
        let moved = from.command(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port));
        assert!(["+OK", "+NOKEY"].contains(&&*moved), "{moved}");
    }

    /// Makes a server the owner of a slot.
    fn finish_moving(&self, slot: u16, [from, to]: [usize; 2]) {
        let id = self.id(to);
        for index in [to, from] {
            assert_eq!(self.servers[index].command(&format!("CLUSTER SETSLOT {slot} NODE {id}")), "+OK");
        }
    }
}

/// All calls have the documented permissions only.
fn with_login(builder: RedisBackplaneBuilder) -> RedisBackplane {
    builder.user("sigver").password("secret").build().expect("the settings are valid")
}

fn key(node: NodeId) -> String {
    format!("sv1:test:{{{:016x}}}:inbox", node.0)
}

conformance_tests!(
    #[tokio::test]
    async {
        SHARDS.as_ref().map(Shards::backplane)
    }
);

#[tokio::test]
async fn several_servers_can_be_named() {
    let Some(Shards { servers }) = &*SHARDS else { return };
    let url = |servers: [&Server; 2]| format!("redis://127.0.0.1:1,{},{}", servers[0].address(), servers[1].address());
    let named = with_login(RedisBackplane::builder(url([&servers[1], &servers[2]]), "test"));
    let group = random_group();
    // The first one does not exist.
    eventually(async || named.step(group, add(1)).await).await;
    let findings = named.check().await.expect("the engine is reachable");
    assert!(findings.len() == 1 && findings[0].contains("refused"), "{findings:?}");
    let Some(other) = Server::start(&["user sigver on >secret ~* +@all"]) else { return };
    let url = format!("redis://{},{}", other.address(), servers[1].address());
    let mixed = with_login(RedisBackplane::builder(url, "test"));
    let error = mixed.step(group, add(1)).await.expect_err("the first one is not of the cluster").to_string();
    assert!(error.starts_with(&other.address()) && error.contains("not a node of a Redis Cluster"), "{error}");
}

#[tokio::test]
async fn slot_moves_during_a_blocked_read() {
    let Some(shards) = Shards::start().await else { return };
    for (move_, has_key) in [([0, 1], false), ([1, 2], true)] {
        let backplane = shards.backplane();
        let (me, slot) = shards.node_of(move_[0]);
        if has_key {
            send(&backplane, me, "1").await;
            assert_eq!(receive(&backplane, me).await, ["1"]);
        }
        let move_slot = async {
            let owner = &shards.servers[move_[0]];
            owner.wait_until("INFO clients", |reply| reply.contains("blocked_clients:1\r")).await;
            shards.start_moving(slot, move_, &key(me));
            shards.finish_moving(slot, move_);
            send(&backplane, me, "2").await;
            let len = if has_key { ":2" } else { ":1" };
            assert_eq!(shards.servers[move_[1]].command(&format!("XLEN {}", key(me))), len, "batches at the new owner");
        };
        assert_eq!(join(receive(&backplane, me), move_slot).await.0, ["2"]);
        send(&backplane, me, "3").await;
        assert_eq!(receive(&backplane, me).await, ["3"]);
    }
}

#[tokio::test]
async fn calls_for_a_moving_slot_reach_its_keys_on_both_servers() {
    let Some(shards) = Shards::start().await else { return };
    let backplane = shards.backplane();
    let (me, slot) = shards.node_of(2);
    send(&backplane, me, "1").await;
    assert_eq!(receive(&backplane, me).await, ["1"]);
    let move_ = [2, 0];
    let move_key = async {
        shards.servers[2].wait_until("INFO clients", |reply| reply.contains("blocked_clients:1\r")).await;
        shards.start_moving(slot, move_, &key(me));
        send(&backplane, me, "2").await;
    };
    assert_eq!(join(receive(&backplane, me), move_key).await.0, ["2"]);
    assert_eq!(
        shards.servers[2].command(&format!("EXISTS {}", key(me))),
        format!("-ASK {slot} 127.0.0.1:{}", shards.servers[0].port)
    );
    // The other server does not have the script.
    shards.servers[0].command("SCRIPT FLUSH");
    send(&backplane, me, "3").await;
    assert_eq!(receive(&backplane, me).await, ["3"]);
    shards.finish_moving(slot, move_);
    send(&backplane, me, "4").await;
    assert_eq!(receive(&backplane, me).await, ["4"]);
}

#[tokio::test]
async fn unreachable_server_fails_the_calls_for_its_slots_only() {
    let Some(mut shards) = Shards::start().await else { return };
    for server in &shards.servers {
        assert_eq!(server.command("CONFIG SET cluster-require-full-coverage no"), "+OK");
    }
    let backplane = shards.backplane();
    let [(here, _), (there, _)] = [0, 1].map(|owner| shards.node_of(owner));
    send(&backplane, here, "1").await;
    send(&backplane, there, "1").await;
    shards.servers[1].kill();
    assert!(backplane.send(there, "2".into()).await.is_err());
    assert!(backplane.send(there, "2".into()).await.is_err());
    send(&backplane, here, "2").await;
    shards.servers[1].restart();
    eventually(async || backplane.send(there, "3".into()).await).await;
}

/// Its clock does not move while the read waits, so the lack of a reply is not suspicious.
#[tokio::test]
async fn dropped_read_is_not_a_failure_of_its_server() {
    let Some(server) = Server::start(&["cluster-enabled yes", "cluster-config-file FOLDER/nodes.conf"]) else { return };
    assert_eq!(server.command("CLUSTER ADDSLOTSRANGE 0 16383"), "+OK");
    server.wait_until("CLUSTER INFO", |reply| reply.contains("cluster_state:ok")).await;
    // The second server does not exist.
    let url = format!("redis://{},127.0.0.1:1", server.address());
    let backplane = RedisBackplane::builder(url, "test").build().expect("the settings are valid");
    let (me, other) = (random_node(), random_node());
    send(&backplane, other, "1").await;
    pause();
    let is_blocked = || server.command("INFO clients").contains("blocked_clients:1\r");
    let blocked = async {
        while !is_blocked() {
            yield_now().await;
        }
    };
    tokio::select! {
        batches = backplane.recv(me) => panic!("{batches:?}"),
        () = blocked => {}
    }
    // Drops the read of the first inbox.
    let busy = async {
        loop {
            yield_now().await;
        }
    };
    let batches = tokio::select! {
        batches = receive(&backplane, other) => batches,
        never = busy => never,
    };
    assert_eq!(batches, ["1"]);
}
