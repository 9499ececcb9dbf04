//! Engines that do not answer.

use std::net::{Ipv4Addr, TcpListener};

use futures::FutureExt as _;
use tokio::time::Instant;

use super::*;

/// Makes each call, and returns their errors.
async fn errors(backplane: &RedisBackplane) -> Vec<String> {
    let me = random_node();
    let errors = [
        backplane.step(random_group(), add(1)).await.err(),
        backplane.send(me, "1".into()).await.err(),
        backplane.recv(me).await.err(),
        backplane.beat(me, &[]).await.err(),
        backplane.check().await.err(),
    ];
    errors.into_iter().map(|error| error.expect("the call fails").to_string()).collect()
}

#[tokio::test]
async fn unreachable_engine_is_an_error_of_each_call_and_not_of_the_construction() {
    let Some(mut server) = Server::start(&[]) else { return };
    server.kill();
    let backplane = backplane(&server);
    for error in errors(&backplane).await {
        assert!(error.starts_with(&server.address()) && error.contains("refused"), "{error}");
    }
    server.restart();
    backplane.step(random_group(), add(1)).await.expect("the engine is reachable");
}

/// Its clock is paused, so the 2 s do not pass.
#[tokio::test(start_paused = true)]
async fn engine_that_does_not_answer_is_an_error_after_two_seconds() {
    // The system accepts connections, but nothing reads from them.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let backplane = RedisBackplane::builder(format!("redis://127.0.0.1:{port}"), "test");
    let backplane = backplane.build().expect("the settings are valid");
    for error in errors(&backplane).await {
        assert_eq!(error, format!("127.0.0.1:{port}: no reply within 2s"));
    }
    let started = Instant::now();
    assert!(backplane.beat(NodeId(1), &[]).await.is_err());
    assert_eq!(started.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn connection_without_an_answer_is_replaced() {
    let Some(server) = Server::start(&[]) else { return };
    let backplane = backplane(&server);
    backplane.beat(NodeId(1), &[]).await.expect("the engine is reachable");
    server.pause();
    let dropped = timeout(Duration::from_millis(700), backplane.beat(NodeId(1), &[])).await;
    assert!(dropped.is_err(), "the engine does not answer");
    server.resume();
    backplane.beat(NodeId(1), &[]).await.expect("the engine is reachable");
    let stats = server.command("INFO stats");
    // Two of the backplane, and that of this command.
    assert!(stats.contains("total_connections_received:3\r"), "{stats}");
}

#[tokio::test]
async fn connection_stays_after_a_call_that_was_dropped_soon() {
    let Some(server) = Server::start(&[]) else { return };
    let backplane = backplane(&server);
    backplane.beat(NodeId(1), &[]).await.expect("the engine is reachable");
    assert!(backplane.beat(NodeId(1), &[]).now_or_never().is_none(), "the reply takes a moment");
    backplane.beat(NodeId(1), &[]).await.expect("the engine is reachable");
    let stats = server.command("INFO stats");
    // That of the backplane, and that of this command.
    assert!(stats.contains("total_connections_received:2\r"), "{stats}");
}

#[tokio::test]
async fn connection_stays_after_an_error_of_a_command() {
    let Some(server) = Server::start(&[]) else { return };
    let backplane = backplane(&server);
    server.command("SET sv1:test:nodes text");
    let error = backplane.beat(NodeId(1), &[]).await.expect_err("the key has no hash").to_string();
    assert!(error.contains("WRONGTYPE"), "{error}");
    server.command("DEL sv1:test:nodes");
    backplane.beat(NodeId(1), &[]).await.expect("the engine is reachable");
    let stats = server.command("INFO stats");
    // That of the backplane, and those of the three commands.
    assert!(stats.contains("total_connections_received:4\r"), "{stats}");
}

#[tokio::test]
async fn killed_engine_returns_with_what_it_stored() {
    let settings = ["appendonly yes", "appendfsync always"];
    let Some(mut server) = Server::start(&settings) else { return };
    let (backplane, group, me) = (backplane(&server), random_group(), random_node());
    backplane.step(group, add(1)).await.expect("the engine is reachable");
    send(&backplane, me, "1").await;
    assert_eq!(receive(&backplane, me).await, ["1"]);
    send(&backplane, me, "2").await;
    server.kill();
    assert!(backplane.step(group, add(2)).await.is_err());
    server.restart();
    assert_eq!(eventually(async || members(&backplane, group).await).await, 1);
    let batches = eventually(async || backplane.recv(me).await).await;
    assert_eq!(batches, ["2"], "the cursor is still valid");
}

#[tokio::test]
async fn engine_killed_during_a_blocked_read_is_an_error_of_that_read_and_later_batches_arrive() {
    let Some(mut server) = Server::start(&[]) else { return };
    let (backplane, me) = (backplane(&server), random_node());
    send(&backplane, me, "1").await;
    assert_eq!(receive(&backplane, me).await, ["1"]);
    let restart = async {
        server.wait_until("INFO clients", |reply| reply.contains("blocked_clients:1\r")).await;
        server.kill();
    };
    let (read, ()) = futures::future::join(timeout(Duration::from_secs(10), backplane.recv(me)), restart).await;
    assert!(read.expect("the connection is closed").is_err());
    server.restart();
    eventually(async || backplane.send(me, "2".into()).await).await;
    assert_eq!(eventually(async || backplane.recv(me).await).await, ["2"]);
    assert_eq!(backplane.beat(me, &[]).await.expect("the engine is reachable").nodes, [(me, Some(1))].into());
}

#[tokio::test]
async fn demoted_server_is_connected_to_again() {
    let (Some(server), Some(other)) = (Server::start(&[]), Server::start(&[])) else { return };
    let (backplane, group) = (backplane(&server), random_group());
    backplane.step(group, add(1)).await.expect("the engine is reachable");
    server.command(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    let error = backplane.step(group, add(2)).await.expect_err("the server is a replica").to_string();
    assert!(error.contains("READONLY") || error.contains("MASTERDOWN"), "{error}");
    server.command("REPLICAOF NO ONE");
    backplane.step(group, add(2)).await.expect("the server is a primary");
    let stats = server.command("INFO stats");
    // Two of the backplane, and those of the three commands.
    assert!(stats.contains("total_connections_received:5\r"), "{stats}");
    // The old connection is closed: each client has the fields `addr` and `laddr`.
    server.wait_until("CLIENT LIST TYPE normal", |clients| clients.matches("addr=").count() == 4).await;
}
