//! The faults of the memory backplane, under the paused clock.

mod outages;
mod seeds;

use std::ops::RangeInclusive;

use futures::{FutureExt as _, future};
use tokio::time::timeout;

use super::*;
use crate::cluster::conformance::conformance_tests;
use crate::cluster::{Change, Condition, StepResult, Token};
use crate::protocol::{MemberId, PeerId};

conformance_tests!(
    #[tokio::test(start_paused = true)]
    async {
        Some(MemoryBackplane::new())
    }
);

const ME: NodeId = NodeId(1);
const GROUP: GroupTag = GroupTag::from_bytes([7; 16]);
const TIMEOUT: Duration = millis(500);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn fixed(delay: u64) -> RangeInclusive<Duration> {
    millis(delay)..=millis(delay)
}

fn step(changes: &[Change]) -> Step {
    let changes = changes.to_vec();
    Step { seen: None, condition: Condition::Always, changes, nonce: 1, lineage: 2, max_members: 1000 }
}

fn add(n: u64) -> Step {
    step(&[Change::Add { token: Token { node: ME, peer: PeerId(n) }, id: MemberId(5), favored: false }])
}

/// Adds a member, and returns the number of members.
async fn join(backplane: &MemoryBackplane, n: u64) -> Result<usize, BackplaneError> {
    Ok(len(&complete(backplane.step(GROUP, add(n))).await?))
}

fn len(list: &MemberList) -> usize {
    list.entries.as_ref().map_or(0, Vec::len)
}

/// Returns the number of members in the engine. `observer` must have no faults.
async fn members(observer: &MemoryBackplane) -> usize {
    len(&observer.step(GROUP, step(&[])).await.expect("no fault is active"))
}

async fn send(backplane: &MemoryBackplane, batch: &'static str) {
    complete(backplane.send(ME, batch.into())).await.expect("no fault is active");
}

async fn receive(backplane: &MemoryBackplane) -> Vec<Bytes> {
    complete(backplane.recv(ME)).await.expect("no fault is active")
}

/// Returns the output of a call and the time that it took.
async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    (complete(call).await, started.elapsed())
}

/// Fails the test if a call never completes.
async fn complete<T>(call: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60 * 60), call).await.expect("the call completes")
}

/// Creates an engine with handles for a node with faults and for one without.
fn faulty(faults: Faults) -> (MemoryBackplane, MemoryBackplane) {
    let observer = MemoryBackplane::new();
    let node = observer.connect();
    node.set_faults(faults);
    (node, observer)
}

#[tokio::test(start_paused = true)]
async fn calls_take_no_time_by_default() {
    let backplane = MemoryBackplane::new();
    assert_eq!(join(&backplane, 1).now_or_never().expect("ready at once").ok(), Some(1));
    assert!(backplane.send(ME, "1".into()).now_or_never().expect("ready at once").is_ok());
    assert_eq!(backplane.recv(ME).now_or_never().expect("ready at once").expect("no fault is active"), ["1"]);
    assert!(backplane.beat(ME, &[]).now_or_never().expect("ready at once").is_ok());
}

#[tokio::test(start_paused = true)]
async fn engine_has_a_clock_that_can_be_turned_back() {
    let backplane = MemoryBackplane::new();
    let now = async || backplane.step(GROUP, step(&[])).await.expect("no fault is active").now;
    let start = now().await;
    assert_eq!(start, Duration::from_secs(1_767_225_600));
    sleep(millis(1500)).await;
    assert_eq!(now().await, start + millis(1500));
    backplane.turn_clock_back(millis(2000));
    assert_eq!(now().await, start - millis(500));
}

#[tokio::test(start_paused = true)]
async fn delays_of_request_and_reply_add_up() {
    let (node, observer) = faulty(Faults::new(1).request_delay(fixed(20)).reply_delay(fixed(30)));
    let observe = async |after| {
        sleep(millis(after)).await;
        members(&observer).await
    };
    let ((result, took), before, after) = future::join3(timed(join(&node, 1)), observe(19), observe(21)).await;
    assert_eq!((result.ok(), took), (Some(1), millis(50)));
    assert_eq!((before, after), (0, 1), "the engine receives it after the delay of the request");
    let (result, took) = timed(node.beat(ME, &[])).await;
    assert_eq!((result.is_ok(), took), (true, millis(50)));
}

#[tokio::test(start_paused = true)]
async fn random_delays_are_within_their_range() {
    let (node, _) = faulty(Faults::new(1).request_delay(millis(10)..=millis(20)));
    let mut times = Vec::new();
    for n in 0..100 {
        times.push(timed(join(&node, n)).await.1);
    }
    let (min, max) = (times.iter().min().expect("100 times"), times.iter().max().expect("100 times"));
    assert!((millis(10)..millis(12)).contains(min) && (millis(18)..=millis(20)).contains(max), "{min:?} {max:?}");
}

#[tokio::test(start_paused = true)]
async fn batches_arrive_after_both_delays() {
    let (node, observer) = faulty(Faults::new(1).request_delay(fixed(20)).reply_delay(fixed(30)));
    let sent_later = async {
        sleep(millis(100)).await;
        send(&observer, "1").await;
    };
    let ((batches, took), ()) = future::join(timed(node.recv(ME)), sent_later).await;
    assert_eq!((batches.expect("no fault is active"), took), (vec![Bytes::from("1")], millis(130)));
}

#[tokio::test(start_paused = true)]
async fn lost_request_is_never_applied() {
    let (node, observer) = faulty(Faults::new(1).lost_requests(1.0));
    let (result, took) = timed(join(&node, 1)).await;
    assert_eq!(
        (result.map_err(|error| error.to_string()), took),
        (Err("no reply from the engine within 500ms".into()), TIMEOUT)
    );
    assert!(node.send(ME, "1".into()).await.is_err() && node.beat(ME, &[]).await.is_err());
    sleep(millis(10_000)).await;
    assert_eq!((members(&observer).await, observer.inbox_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn request_with_a_lost_reply_is_applied() {
    let (node, observer) = faulty(Faults::new(1).lost_replies(1.0).timeout(millis(700)));
    let (result, took) = timed(join(&node, 1)).await;
    assert!(result.is_err() && took == millis(700), "{took:?}");
    assert!(node.send(ME, "1".into()).await.is_err());
    assert_eq!((members(&observer).await, receive(&observer).await), (1, vec![Bytes::from("1")]));
    assert!(node.beat(ME, &[]).await.is_err());
    assert_eq!(observer.beat(ME, &[]).await.expect("no fault is active").nodes, [(ME, Some(2))].into());
}

#[tokio::test(start_paused = true)]
async fn failed_receive_loses_no_batch() {
    for faults in [Faults::new(1).lost_replies(1.0), Faults::new(1).lost_requests(1.0)] {
        let (node, observer) = faulty(faults);
        send(&observer, "1").await;
        let (result, took) = timed(node.recv(ME)).await;
        assert!(result.is_err() && took == TIMEOUT, "{took:?}");
        assert_eq!(receive(&observer).await, ["1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn probability_is_the_share_of_lost_calls() {
    let (node, observer) = faulty(Faults::new(1).lost_requests(0.2).lost_replies(0.1));
    let mut failed = 0;
    for n in 0..1000 {
        failed += usize::from(join(&node, n).await.is_err());
    }
    assert!((240..320).contains(&failed), "28 of 100: {failed}");
    let applied = members(&observer).await;
    assert!((760..840).contains(&applied), "80 of 100: {applied}");
}

#[tokio::test(start_paused = true)]
async fn receive_that_is_dropped_before_its_reply_loses_no_batch() {
    let (node, observer) = faulty(Faults::new(1).reply_delay(fixed(100)));
    send(&observer, "1").await;
    assert!(timeout(millis(50), node.recv(ME)).await.is_err());
    assert_eq!(receive(&node).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn request_that_is_delayed_beyond_the_timeout_is_applied_late() {
    let (node, observer) = faulty(Faults::new(1).request_delay(fixed(800)));
    assert!(join(&node, 1).await.is_err());
    assert_eq!(members(&observer).await, 0);
    sleep(millis(301)).await;
    let list = observer.step(GROUP, step(&[])).await.expect("no fault is active");
    let since = list.entries.expect("no copy")[0].since;
    assert_eq!(list.now - since, millis(1), "applied at the time of its arrival");
}

#[tokio::test(start_paused = true)]
async fn request_of_a_dropped_call_is_applied() {
    let (node, observer) = faulty(Faults::new(1).request_delay(fixed(100)));
    assert!(timeout(millis(50), join(&node, 1)).await.is_err());
    assert!(timeout(millis(50), node.send(ME, "1".into())).await.is_err());
    assert_eq!(members(&observer).await, 1, "it reached the engine 100 ms after the call");
    let (batches, took) = timed(receive(&observer)).await;
    assert_eq!((batches, took), (vec![Bytes::from("1")], millis(50)), "the waiting reader receives it in time");
}

#[tokio::test(start_paused = true)]
async fn late_duplicate_of_a_batch_arrives_after_later_batches() {
    let (node, observer) = faulty(Faults::new(1).late_duplicates(1.0, fixed(1000)));
    node.send(ME, "1".into()).await.expect("no fault is active");
    send(&observer, "2").await;
    assert_eq!(receive(&observer).await, ["1", "2"]);
    let (batches, took) = timed(receive(&observer)).await;
    assert_eq!((batches, took), (vec![Bytes::from("1")], millis(1000)));
    assert!(timeout(millis(10_000), observer.recv(ME)).await.is_err(), "once");
}

#[tokio::test(start_paused = true)]
async fn steps_and_beats_have_no_duplicates() {
    let (node, observer) = faulty(Faults::new(1).late_duplicates(1.0, fixed(1000)));
    assert_eq!(join(&node, 1).await.ok(), Some(1));
    node.beat(ME, &[]).await.expect("no fault is active");
    let remove = step(&[Change::Remove(Token { node: ME, peer: PeerId(1) })]);
    observer.step(GROUP, remove).await.expect("no fault is active");
    sleep(millis(2000)).await;
    assert_eq!(members(&observer).await, 0);
    assert_eq!(observer.beat(ME, &[]).await.expect("no fault is active").nodes, [(ME, Some(2))].into());
}

#[tokio::test(start_paused = true)]
async fn step_faults_concern_successive_steps() {
    let (node, observer) = faulty(Faults::new(1).timeout(millis(100)));
    node.fault_next_step(StepFault::LoseReply);
    node.fault_next_step(StepFault::LoseRequest);
    node.fault_next_step(StepFault::DelayReply(millis(70)));
    node.fault_next_step(StepFault::DelayRequest(millis(80)));
    assert!(node.beat(ME, &[]).await.is_ok() && node.send(ME, "1".into()).await.is_ok(), "these are not steps");
    assert_eq!(join(&observer, 9).await.ok(), Some(1), "this is another connection");
    let clone = node.clone();
    assert!(join(&clone, 1).await.is_err());
    assert!(join(&node, 2).await.is_err());
    assert_eq!(members(&observer).await, 2);
    let observed_early = async {
        sleep(millis(10)).await;
        members(&observer).await
    };
    let (slow, observed) = future::join(timed(join(&node, 3)), observed_early).await;
    assert_eq!((slow.0.ok(), slow.1, observed), (Some(3), millis(70), 3));
    let (slow, observed) = future::join(timed(join(&node, 4)), async {
        sleep(millis(10)).await;
        members(&observer).await
    })
    .await;
    assert_eq!((slow.0.ok(), slow.1, observed), (Some(4), millis(80), 3));
    let (result, took) = timed(join(&node, 5)).await;
    assert_eq!((result.ok(), took), (Some(5), Duration::ZERO), "no fault is left");
}
