//! Who is slow, who only has not had its turn, and what is counted.

use std::time::Duration;

use sigver::memory::{self, Client, Heard};
use sigver::protocol::Message;
use sigver::{Ending, SignalingHub};

#[tokio::test(start_paused = true)]
async fn a_member_that_reads_survives_many_joiners_at_once() {
    let hub = SignalingHub::new();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let mut joiners = Vec::new();
    for id in 2..602 {
        let mut joiner = memory::join(&hub, "K");
        assert!(!joiner.connect(id, &[]).await);
        joiners.push(joiner);
    }
    for joiner in &mut joiners {
        joiner.send_content(0, "offer").await;
    }
    for _ in &joiners {
        assert_eq!(member.recv_content().await.1, "offer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_and_steadily_stays() {
    let hub = SignalingHub::new();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let (there, here) = memory::pair(0);
    let served = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, "K").await }
    });
    let mut slow = Client::new(here);
    assert!(!slow.connect(2, &[]).await);
    slow.send_content(0, "offer").await;
    let (link, _) = member.recv_content().await;
    for n in 0..40 {
        member.send_content(link, vec![n; 100]).await;
    }
    let start = tokio::time::Instant::now();
    // One message a second, which is far longer than the write deadline in all.
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let (mut heard, mut heartbeats) = (0, 0);
    while heard < 40 {
        second.tick().await;
        slow.send_heartbeat().await;
        member.send_heartbeat().await;
        match slow.recv_any().await {
            Heard::Message(Message::Content { .. }) => heard += 1,
            Heard::Message(_) => heartbeats += 1,
            other => panic!("closed after {heard}: {other:?}"),
        }
    }
    // What is due while it lags waits behind the rest; a client that gets none takes the hub for dead.
    while heartbeats < 7 {
        second.tick().await;
        slow.send_heartbeat().await;
        match slow.recv_any().await {
            Heard::Message(Message::Heartbeat) => heartbeats += 1,
            other => panic!("expected a heartbeat, but heard {other:?}"),
        }
    }
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
    slow.close().await;
    assert!(matches!(served.await.expect("it does not panic"), Ending::Left { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sent_more_than_one_turns_worth_is_heard_to_the_end() {
    let hub = SignalingHub::new();
    let (there, here) = memory::pair(500);
    let mut peer = Client::new(here);
    for _ in 0..300 {
        peer.send_content(0, "to nobody").await;
    }
    peer.send_connect(1, &[]).await;
    let served = tokio::spawn({
        let hub = hub.clone();
        async move { hub.serve(there, "K").await }
    });
    // Nothing but the hub itself wakes its task again.
    let answer = tokio::time::timeout(Duration::from_secs(1), peer.recv()).await.expect("it is heard");
    assert!(matches!(answer, Heard::Message(Message::Connected(true))));
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn a_message_of_the_largest_size_fits_the_smallest_outbox() {
    let builder = SignalingHub::builder().max_message_bytes(1000).max_outbox_bytes(2024);
    let hub = builder.build().expect("sound limits");
    let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    joiner.send_content(0, vec![0; 990]).await;
    assert_eq!(member.recv_content().await.1.len(), 990);
}

#[tokio::test(start_paused = true)]
async fn only_a_content_that_is_passed_on_counts_as_relayed() {
    let hub = SignalingHub::new();
    let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
    assert!(member.connect(1, &[]).await);
    assert!(!joiner.connect(2, &[]).await);
    member.send_content(0, "to nobody").await;
    joiner.send_content(7, "to nobody").await;
    joiner.send_last_content(0, "offer").await;
    joiner.send_content(0, "after the last").await;
    assert!(joiner.connect(2, &[1]).await);
    assert_eq!(member.recv_content().await.1, "offer");
    assert_eq!(hub.stats().relayed_messages, 1);
}
