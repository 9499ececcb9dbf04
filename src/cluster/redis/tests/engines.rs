//! What an engine contains.

use super::*;
use crate::protocol::GroupKey;

#[tokio::test]
async fn engine_has_three_kinds_of_keys_which_expire() {
    let Some(server) = Server::start(&[]) else { return };
    let backplane = backplane(&server);
    let group = GroupTag::new(&GroupKey::new("a secret key").expect("a valid key"));
    backplane.step(group, add(1)).await.expect("the engine is reachable");
    backplane.beat(NodeId(10), &[(NodeId(11), 0)]).await.expect("the engine is reachable");
    send(&backplane, NodeId(10), "1").await;
    let ttl = |key: &str, hours: f64| {
        let ttl: f64 = server.command(&format!("PTTL {key}"))[1..].parse().expect("a number");
        assert!((hours - ttl / 3_600_000.0).abs() < 0.01, "{key} lives for {ttl} ms");
    };
    ttl(&format!("sv1:test:{{{group}}}:members"), 6.0);
    ttl("sv1:test:{000000000000000a}:inbox", 1.0 / 60.0);
    ttl("sv1:test:nodes", 48.0);
    assert_eq!(server.command("DBSIZE"), ":3");
    let dead = server.command("HGET sv1:test:nodes 000000000000000b");
    assert!(dead.contains("dead "), "{dead}");
}

#[tokio::test]
async fn change_renews_a_list_and_a_look_or_a_failed_condition_does_not() {
    let Some(server) = &*SHARED else { return };
    let (backplane, group) = (backplane(server), random_group());
    let key = format!("sv1:test:{{{group}}}:members");
    let lives_for_hours = |hours| {
        let ttl: u64 = server.command(&format!("PTTL {key}"))[1..].parse().expect("a number");
        assert_eq!(ttl.div_ceil(3_600_000), hours);
        server.command(&format!("PEXPIRE {key} 3600000"));
    };
    backplane.step(group, add(1)).await.expect("the engine is reachable");
    lives_for_hours(6);
    members(&backplane, group).await.expect("the engine is reachable");
    lives_for_hours(1);
    let failed = Step { condition: Condition::Unchanged, ..add(2) };
    backplane.step(group, failed).await.expect("the engine is reachable");
    lives_for_hours(1);
    // Without an effect.
    backplane.step(group, add(1)).await.expect("the engine is reachable");
    lives_for_hours(6);
}

#[tokio::test]
async fn clusters_of_other_names_are_separate() {
    let Some(server) = &*SHARED else { return };
    let [one, two] = ["one", "two"].map(|name| {
        let builder = RedisBackplane::builder(server.url(), name);
        builder.build().expect("the settings are valid")
    });
    let group = random_group();
    one.step(group, add(1)).await.expect("the engine is reachable");
    assert_eq!(members(&two, group).await.expect("the engine is reachable"), 0);
    let me = random_node();
    one.beat(me, &[]).await.expect("the engine is reachable");
    assert!(!two.beat(random_node(), &[]).await.expect("the engine is reachable").nodes.contains_key(&me));
}

#[tokio::test]
async fn database_of_the_url_is_used() {
    let Some(server) = Server::start(&[]) else { return };
    let builder = RedisBackplane::builder(format!("{}/3", server.url()), "test");
    let backplane = builder.build().expect("the settings are valid");
    backplane.step(random_group(), add(1)).await.expect("the engine is reachable");
    assert_eq!(server.command("DBSIZE\r\nSELECT 3\r\nDBSIZE"), ":0\r\n+OK\r\n:1");
}

#[tokio::test]
async fn verdict_is_removed_after_a_day() {
    let Some(server) = &*SHARED else { return };
    let backplane = RedisBackplane::builder(server.url(), "verdicts").build().expect("the settings are valid");
    let now: u64 = server.command("TIME").lines().nth(2).expect("the seconds").parse().expect("a number");
    for (field, age) in [("0000000000000001", 86_401), ("0000000000000002", 86_300)] {
        server.command(&format!("HSET sv1:verdicts:nodes {field} \"dead {}\"", (now - age) * 1000));
    }
    let beat = backplane.beat(NodeId(3), &[]).await.expect("the engine is reachable");
    assert_eq!(beat.nodes, [(NodeId(2), None), (NodeId(3), Some(1))].into());
    // Its beats count again, although it asks for its removal in the same beat.
    let beat = backplane.beat(NodeId(1), &[]).await.expect("the engine is reachable");
    assert_eq!(beat.nodes[&NodeId(1)], Some(1));
}

#[tokio::test]
async fn engine_that_lost_the_scripts_gets_them_again() {
    let Some(server) = Server::start(&[]) else { return };
    let (backplane, group, me) = (backplane(&server), random_group(), random_node());
    for n in 1..3 {
        server.command("SCRIPT FLUSH");
        backplane.step(group, add(n)).await.expect("the script is sent");
        backplane.beat(me, &[]).await.expect("the script is sent");
        send(&backplane, me, "1").await;
        assert_eq!(receive(&backplane, me).await, ["1"]);
        assert_eq!(members(&backplane, group).await.expect("the script is known"), n as usize);
    }
}

#[tokio::test]
async fn wrong_type_is_an_error_without_the_key() {
    let Some(server) = &*SHARED else { return };
    let (backplane, group) = (backplane(server), random_group());
    server.command(&format!("SET sv1:test:{{{group}}}:members 1"));
    let error = backplane.step(group, add(1)).await.expect_err("it is not a hash").to_string();
    assert!(error.contains("WRONGTYPE") && !error.contains("sv1:"), "{error}");
}

#[tokio::test]
async fn large_list_is_stored_and_returned() {
    let Some(server) = &*SHARED else { return };
    let (backplane, group) = (backplane(server), random_group());
    let changes: Vec<_> = (0..1000).flat_map(|n| add(n).changes).collect();
    let list = backplane.step(group, step(&changes)).await.expect("the engine is reachable");
    assert_eq!(list.entries.expect("the caller has no copy").len(), 1000);
    let full = backplane.step(group, add(1000)).await.expect("the engine is reachable");
    assert_eq!(full.result, StepResult::Full);
}
