//! Servers that Sentinel watches.

use super::*;

/// A primary and its replica, and a Sentinel that knows both.
struct Watched {
    primary: Server,
    replica: Server,
    sentinel: Server,
}

impl Watched {
    async fn start() -> Option<Self> {
        let primary = Server::start(&[])?;
        let replica = Server::start(&[&format!("replicaof 127.0.0.1 {}", primary.port), "repl-diskless-sync-delay 0"])?;
        let monitor = format!("sentinel monitor primary 127.0.0.1 {} 1", primary.port);
        let times = ["sentinel down-after-milliseconds primary 500", "sentinel failover-timeout primary 2000"];
        let sentinel = Server::sentinel(&[&monitor, times[0], times[1]])?;
        replica.wait_until("INFO replication", |reply| reply.contains("master_link_status:up")).await;
        sentinel.wait_until("SENTINEL MASTER primary", |reply| reply.contains("num-slaves\r\n$1\r\n1\r")).await;
        Some(Self { primary, replica, sentinel })
    }

    fn backplane(&self, service: &str) -> RedisBackplane {
        // The first one does not exist.
        let url = format!("redis+sentinel://127.0.0.1:1,{}/{service}", self.sentinel.address());
        RedisBackplane::builder(url, "test").build().expect("the settings are valid")
    }
}

#[tokio::test]
async fn calls_follow_a_failover() {
    let Some(mut watched) = Watched::start().await else { return };
    let (backplane, group, me) = (watched.backplane("primary"), random_group(), random_node());
    backplane.step(group, add(1)).await.expect("the primary is reachable");
    send(&backplane, me, "1").await;
    assert_eq!(receive(&backplane, me).await, ["1"]);
    assert_eq!(backplane.check().await.expect("the primary is reachable"), [""; 0]);
    watched.replica.wait_until("DBSIZE", |reply| reply == ":2").await;
    watched.primary.kill();
    let list = eventually(async || backplane.step(group, add(2)).await).await;
    assert_eq!(list.entries.expect("the caller has no copy").len(), 2, "the replica had the first member");
    assert!(watched.replica.command("ROLE").contains("master"));
    eventually(async || backplane.send(me, "2".into()).await).await;
    assert_eq!(eventually(async || backplane.recv(me).await).await, ["2"]);
}

#[tokio::test]
async fn calls_follow_a_failover_from_a_primary_that_still_answers() {
    let Some(watched) = Watched::start().await else { return };
    let (backplane, group) = (watched.backplane("primary"), random_group());
    backplane.step(group, add(1)).await.expect("the primary is reachable");
    watched.replica.wait_until("DBSIZE", |reply| reply == ":1").await;
    assert_eq!(watched.sentinel.command("SENTINEL FAILOVER primary"), "+OK");
    watched.primary.wait_until("ROLE", |reply| reply.contains("slave")).await;
    let list = eventually(async || backplane.step(group, add(2)).await).await;
    assert_eq!(list.entries.expect("the caller has no copy").len(), 2);
    assert!(watched.replica.command("ROLE").contains("master"));
}

#[tokio::test]
async fn database_of_the_url_is_that_of_the_primary() {
    let Some(watched) = Watched::start().await else { return };
    watched.backplane("primary/3").step(random_group(), add(1)).await.expect("the primary is reachable");
    let keys = watched.primary.command("INFO keyspace");
    assert!(keys.contains("db3:keys=1") && !keys.contains("db0"), "{keys}");
}

#[tokio::test]
async fn login_of_sentinel_is_not_that_of_the_primary() {
    let Some(primary) = Server::start(&["requirepass of-the-primary"]) else { return };
    let monitor = format!("sentinel monitor primary 127.0.0.1 {} 1", primary.port);
    let auth = "sentinel auth-pass primary of-the-primary";
    let Some(sentinel) = Server::sentinel(&[&monitor, auth, "requirepass of-sentinel"]) else { return };
    let url = format!("redis+sentinel://{}/primary", sentinel.address());
    let builder = RedisBackplane::builder(url, "test").password("of-the-primary");
    let backplane = builder.clone().sentinel_password("of-sentinel").build().expect("the settings are valid");
    backplane.step(random_group(), add(1)).await.expect("both passwords are right");
    let backplane = builder.build().expect("the settings are valid");
    let error = backplane.step(random_group(), add(1)).await.expect_err("Sentinel requires a password").to_string();
    assert!(error.contains("the engine requires a password"), "{error}");
}

#[tokio::test]
async fn unknown_service_and_unreachable_sentinels_are_errors() {
    let Some(mut watched) = Watched::start().await else { return };
    let error = watched.backplane("other").beat(NodeId(1), &[]).await.expect_err("unknown").to_string();
    assert!(error.contains("127.0.0.1:1: ") && error.contains("no service has the name other"), "{error}");
    watched.sentinel.kill();
    let error = watched.backplane("primary").beat(NodeId(1), &[]).await.expect_err("unreachable").to_string();
    assert!(error.starts_with("no Sentinel named a primary: ") && error.contains("refused"), "{error}");
}
