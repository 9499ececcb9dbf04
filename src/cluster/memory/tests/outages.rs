//! Outages, cuts, and what happens to the engine's data.

use super::*;

/// Waits for a time that no timer of a test reaches.
async fn pause() {
    sleep(millis(10_000)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_during_an_outage_fail_after_the_timeout_and_are_not_applied() {
    let backplane = MemoryBackplane::new();
    send(&backplane, "1").await;
    backplane.outage(Outage::Lose);
    let (result, took) = timed(join(&backplane.connect(), 1)).await;
    assert!(result.is_err() && took == TIMEOUT, "{took:?}");
    let (result, took) = timed(backplane.recv(ME)).await;
    assert!(result.is_err() && took == TIMEOUT, "{took:?}");
    assert!(backplane.send(ME, "2".into()).await.is_err() && backplane.beat(ME, &[]).await.is_err());
    backplane.restore();
    pause().await;
    assert_eq!((members(&backplane).await, receive(&backplane).await), (0, vec![Bytes::from("1")]));
    assert_eq!(backplane.beat(ME, &[]).await.expect("no fault is active").nodes, [(ME, Some(1))].into());
}

#[tokio::test(start_paused = true)]
async fn hanging_calls_complete_when_the_outage_ends() {
    let backplane = MemoryBackplane::new();
    backplane.outage(Outage::Hang);
    let restored_later = async {
        sleep(millis(8000)).await;
        backplane.restore();
    };
    let (step, batches) = (timed(join(&backplane, 1)), timed(backplane.recv(ME)));
    let (send, beat) = (backplane.send(ME, "1".into()), backplane.beat(ME, &[]));
    let (step, batches, sent, beat, ()) = future::join5(step, batches, send, beat, restored_later).await;
    assert_eq!((step.0.ok(), step.1), (Some(1), millis(8000)), "no timeout");
    assert_eq!((batches.0.expect("the outage ended"), batches.1), (vec![Bytes::from("1")], millis(8000)));
    assert!(sent.is_ok());
    assert_eq!(beat.expect("the outage ended").nodes, [(ME, Some(1))].into());
    let list = backplane.step(GROUP, super::step(&[])).await.expect("no fault is active");
    assert_eq!(list.entries.expect("no copy")[0].since, list.now, "the engine received it when the outage ended");
}

#[tokio::test(start_paused = true)]
async fn hanging_requests_of_dropped_calls_are_applied_in_order() {
    let backplane = MemoryBackplane::new();
    backplane.outage(Outage::Hang);
    for batch in ["1", "2", "3"] {
        assert!(timeout(millis(10), backplane.send(ME, batch.into())).await.is_err());
    }
    backplane.restore();
    assert_eq!(receive(&backplane).await, ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn outage_interrupts_a_waiting_reader() {
    let backplane = MemoryBackplane::new();
    let outage_later = async {
        sleep(millis(100)).await;
        backplane.outage(Outage::Lose);
    };
    let ((result, took), ()) = future::join(timed(backplane.recv(ME)), outage_later).await;
    assert!(result.is_err() && took == millis(600), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn outage_loses_the_replies_under_way() {
    let (node, observer) = faulty(Faults::new(1).reply_delay(fixed(100)));
    let outage_later = async {
        sleep(millis(50)).await;
        observer.outage(Outage::Lose);
    };
    let ((result, took), ()) = future::join(timed(join(&node, 1)), outage_later).await;
    assert!(result.is_err() && took == TIMEOUT, "{took:?}");
    observer.restore();
    assert_eq!(members(&observer).await, 1);
}

#[tokio::test(start_paused = true)]
async fn outage_holds_the_replies_under_way() {
    let (node, observer) = faulty(Faults::new(1).reply_delay(fixed(100)));
    let outage = async {
        sleep(millis(50)).await;
        observer.outage(Outage::Hang);
        sleep(millis(1000)).await;
        observer.restore();
    };
    let ((result, took), ()) = future::join(timed(join(&node, 1)), outage).await;
    assert_eq!((result.ok(), took), (Some(1), millis(1050)));
}

#[tokio::test(start_paused = true)]
async fn outage_does_not_affect_requests_that_arrived_before_it() {
    let (node, observer) = faulty(Faults::new(1).request_delay(fixed(20)));
    assert!(timeout(millis(10), join(&node, 1)).await.is_err());
    assert!(timeout(millis(5), join(&node, 2)).await.is_err());
    sleep(millis(10)).await;
    observer.outage(Outage::Lose);
    pause().await;
    observer.restore();
    assert_eq!(members(&observer).await, 1, "the second request was under way");
}

#[tokio::test(start_paused = true)]
async fn cut_concerns_one_node_until_it_is_healed() {
    let backplane = MemoryBackplane::new();
    let [first, second] = [backplane.connect(), backplane.connect()];
    first.cut(Outage::Lose);
    assert!(join(&first.clone(), 1).await.is_err());
    assert_eq!(join(&second, 2).await.ok(), Some(1));
    first.heal();
    assert_eq!(join(&first, 1).await.ok(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn request_waits_until_both_outage_and_cut_have_ended() {
    let backplane = MemoryBackplane::new();
    let node = backplane.connect();
    node.cut(Outage::Hang);
    backplane.outage(Outage::Hang);
    let ends = async {
        sleep(millis(100)).await;
        backplane.restore();
        sleep(millis(100)).await;
        assert_eq!(members(&backplane).await, 0);
        node.heal();
    };
    let ((result, took), ()) = future::join(timed(join(&node, 1)), ends).await;
    assert_eq!((result.ok(), took), (Some(1), millis(200)));
}

#[tokio::test(start_paused = true)]
async fn cut_that_loses_requests_loses_them_during_a_hanging_outage() {
    let backplane = MemoryBackplane::new();
    let node = backplane.connect();
    node.cut(Outage::Lose);
    backplane.outage(Outage::Hang);
    assert!(join(&node, 1).await.is_err());
    node.heal();
    backplane.restore();
    assert_eq!(members(&backplane).await, 0);
}

#[tokio::test(start_paused = true)]
async fn rollback_restores_lists_counts_and_inboxes() {
    let backplane = MemoryBackplane::new();
    assert!(join(&backplane, 1).await.is_ok() && backplane.beat(ME, &[]).await.is_ok());
    send(&backplane, "1").await;
    let snapshot = backplane.snapshot();
    assert!(join(&backplane, 2).await.is_ok() && backplane.beat(ME, &[]).await.is_ok());
    sleep(millis(10)).await;
    send(&backplane, "2").await;
    assert_eq!(receive(&backplane).await, ["1", "2"]);
    backplane.rollback(&snapshot);
    assert_eq!(members(&backplane).await, 1);
    assert_eq!(backplane.beat(ME, &[]).await.expect("no fault is active").nodes, [(ME, Some(2))].into());
    assert_eq!(receive(&backplane).await, ["1"], "the last id is below the reader's cursor");
}

#[tokio::test(start_paused = true)]
async fn rolled_back_engine_can_reach_the_same_count_with_another_nonce() {
    let backplane = MemoryBackplane::new();
    let snapshot = backplane.snapshot();
    let first = backplane.step(GROUP, add(1)).await.expect("no fault is active").version.expect("one member");
    backplane.rollback(&snapshot);
    let again = Step { nonce: first.nonce + 1, ..add(2) };
    let second = backplane.step(GROUP, again).await.expect("no fault is active").version.expect("one member");
    assert_eq!((second.count, second.lineage), (first.count, first.lineage));
    let stale = Step { seen: Some(first), condition: Condition::Unchanged, ..add(3) };
    let list = backplane.step(GROUP, stale).await.expect("no fault is active");
    assert_eq!(list.result, StepResult::ConditionFailed);
}

#[tokio::test(start_paused = true)]
async fn wipe_deletes_everything_but_keeps_connections() {
    let backplane = MemoryBackplane::new();
    assert!(join(&backplane, 1).await.is_ok() && backplane.beat(ME, &[]).await.is_ok());
    send(&backplane, "1").await;
    assert_eq!((backplane.list_count(), backplane.inbox_count()), (1, 1));
    backplane.wipe();
    assert_eq!((backplane.list_count(), backplane.inbox_count()), (0, 0));
    assert_eq!(backplane.beat(ME, &[]).await.expect("no fault is active").nodes, [(ME, Some(1))].into());
    assert!(backplane.recv(ME).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn reader_of_a_wiped_inbox_receives_what_is_sent_afterwards() {
    for turned_back in [Duration::ZERO, millis(60_000)] {
        let backplane = MemoryBackplane::new();
        send(&backplane, "1").await;
        assert_eq!(receive(&backplane).await, ["1"]);
        send(&backplane, "2").await;
        backplane.turn_clock_back(turned_back);
        backplane.wipe_inbox(ME);
        let sent_later = async {
            sleep(millis(1)).await;
            send(&backplane, "3").await;
        };
        let (batches, ()) = future::join(receive(&backplane), sent_later).await;
        assert_eq!(batches, ["3"], "{turned_back:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn trimmed_inbox_loses_its_oldest_batches() {
    let backplane = MemoryBackplane::with_max_inbox_entries(Faults::default(), 3);
    for batch in ["1", "2", "3", "4"] {
        send(&backplane, batch).await;
    }
    backplane.trim_inbox(ME, 2);
    backplane.trim_inbox(NodeId(2), 0);
    assert_eq!(receive(&backplane).await, ["3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn inbox_of_a_cut_node_is_deleted_60_seconds_after_its_last_read() {
    let (node, observer) = (MemoryBackplane::new(), MemoryBackplane::new());
    for (backplane, is_cut) in [(node, true), (observer, false)] {
        send(&backplane, "1").await;
        assert_eq!(receive(&backplane).await, ["1"]);
        if is_cut {
            backplane.cut(Outage::Lose);
        }
        sleep(millis(30_000)).await;
        assert!(timeout(millis(1), backplane.recv(ME)).await.is_err());
        sleep(millis(30_000)).await;
        assert_eq!(backplane.inbox_count(), usize::from(!is_cut));
    }
}
