//! Inboxes that were deleted, replaced or trimmed.

use super::*;

fn key(node: NodeId) -> String {
    format!("sv1:test:{{{:016x}}}:inbox", node.0)
}

#[tokio::test]
async fn batches_of_a_deleted_inbox_are_lost_and_later_ones_arrive() {
    let Some(server) = &*SHARED else { return };
    let (backplane, me) = (backplane(server), random_node());
    send(&backplane, me, "1").await;
    assert_eq!(receive(&backplane, me).await, ["1"]);
    send(&backplane, me, "2").await;
    server.command(&format!("DEL {}", key(me)));
    // In the millisecond of the first batch, the third one would get the same id.
    sleep(Duration::from_millis(2)).await;
    send(&backplane, me, "3").await;
    assert_eq!(receive(&backplane, me).await, ["3"]);
}

#[tokio::test]
async fn inbox_behind_its_reader_is_read_from_the_start() {
    let Some(server) = &*SHARED else { return };
    let (backplane, me) = (backplane(server), random_node());
    server.command(&format!("XADD {} 9999999999999-5 b 1", key(me)));
    assert_eq!(receive(&backplane, me).await, ["1"]);
    for (id, batch) in [("9999999999999-4", "2"), ("9999999999998-9", "3"), ("5-10", "4")] {
        server.command(&format!("DEL {}", key(me)));
        server.command(&format!("XADD {} {id} b {batch}", key(me)));
        assert_eq!(receive(&backplane, me).await, [batch]);
    }
    send(&backplane, me, "5").await;
    assert_eq!(receive(&backplane, me).await, ["5"]);
}

#[tokio::test]
async fn waiting_reader_of_an_inbox_that_falls_behind_is_served() {
    let Some(server) = Server::start(&[]) else { return };
    let (backplane, me) = (backplane(&server), random_node());
    server.command(&format!("XADD {} 9999999999999-5 b 1", key(me)));
    assert_eq!(receive(&backplane, me).await, ["1"]);
    let replace = async {
        server.wait_until("INFO clients", |reply| reply.contains("blocked_clients:1\r")).await;
        server.command("FLUSHALL");
        send(&backplane, me, "2").await;
    };
    let (batches, ()) = futures::future::join(receive(&backplane, me), replace).await;
    assert_eq!(batches, ["2"]);
}

#[tokio::test]
async fn inbox_drops_the_oldest_batches() {
    let Some(server) = Server::start(&["stream-node-max-entries 10"]) else { return };
    let backplane = builder(&server).max_inbox_entries(20).build().expect("the settings are valid");
    let me = random_node();
    for _ in 0..100 {
        send(&backplane, me, "1").await;
    }
    send(&backplane, me, "2").await;
    let batches = receive(&backplane, me).await;
    // The engine drops whole blocks of entries.
    assert!((20..=30).contains(&batches.len()), "{}", batches.len());
    assert_eq!(batches.last(), Some(&Bytes::from("2")));
}

#[tokio::test]
async fn only_its_reader_renews_an_inbox() {
    let Some(server) = &*SHARED else { return };
    let (backplane, me) = (backplane(server), random_node());
    let ttl = || server.command(&format!("PTTL {}", key(me)))[1..].parse::<i64>().expect("a number");
    send(&backplane, me, "1").await;
    assert!((50_000..=60_000).contains(&ttl()));
    server.command(&format!("PEXPIRE {} 30000", key(me)));
    send(&backplane, me, "2").await;
    assert!((20_000..=30_000).contains(&ttl()));
    assert_eq!(receive(&backplane, me).await, ["1", "2"]);
    assert!((50_000..=60_000).contains(&ttl()));
}

#[tokio::test]
async fn reader_receives_more_batches_than_one_read_has() {
    let Some(server) = &*SHARED else { return };
    let (backplane, me) = (backplane(server), random_node());
    for _ in 0..250 {
        send(&backplane, me, "1").await;
    }
    let mut received = Vec::new();
    while received.len() < 250 {
        received.push(receive(&backplane, me).await.len());
        if received.iter().sum::<usize>() >= 250 {
            break;
        }
    }
    assert_eq!(received, [100, 100, 50]);
}

#[tokio::test]
async fn dropped_calls_leave_one_read_at_the_engine() {
    let Some(server) = Server::start(&[]) else { return };
    let (backplane, me) = (backplane(&server), random_node());
    for _ in 0..20 {
        assert!(timeout(Duration::from_millis(10), backplane.recv(me)).await.is_err());
    }
    let clients = server.command("CLIENT LIST TYPE normal");
    assert_eq!(clients.matches("cmd=xread").count(), 1, "{clients}");
    send(&backplane, me, "1").await;
    assert_eq!(receive(&backplane, me).await, ["1"]);
}

#[tokio::test]
async fn another_inbox_closes_the_connection_of_the_one_before() {
    let Some(server) = Server::start(&[]) else { return };
    let (backplane, nodes) = (backplane(&server), [random_node(), random_node()]);
    for me in nodes {
        send(&backplane, me, "1").await;
        assert_eq!(receive(&backplane, me).await, ["1"]);
    }
    // One for the inbox, one for all other calls, and that of this command.
    server.wait_until("CLIENT LIST TYPE normal", |reply| reply.matches("addr=").count() / 2 == 3).await;
}

/// No other command of the reader could find the batch, because it is deleted at once.
#[tokio::test]
async fn waiting_reader_gets_a_batch_before_the_engine_executes_another_command() {
    let Some(server) = Server::start(&[]) else { return };
    let (backplane, me) = (backplane(&server), random_node());
    let send_and_delete = async {
        loop {
            server.wait_until("INFO clients", |reply| reply.contains("blocked_clients:1\r")).await;
            // If the wait of the reader has just ended, this batch is lost.
            server.command(&format!("XADD {} * b 1\r\nDEL {}", key(me), key(me)));
        }
    };
    let batches = tokio::select! {
        batches = receive(&backplane, me) => batches,
        never = send_and_delete => never,
    };
    assert_eq!(batches, ["1"]);
}
