//! The same seed gives the same run.

use fastrand::Rng;

use super::*;

const CALLS: usize = 60;

/// Runs three nodes with every fault and a driver of outages. Returns all results with their times.
async fn run(seed: u64) -> Vec<String> {
    let faults = Faults::new(seed)
        .request_delay(millis(0)..=millis(80))
        .reply_delay(millis(0)..=millis(80))
        .lost_requests(0.05)
        .lost_replies(0.05)
        .late_duplicates(0.2, millis(0)..=millis(900))
        .timeout(millis(120));
    let backplane = MemoryBackplane::with_faults(faults);
    let started = Instant::now();
    let log = Mutex::new(Vec::new());
    let record = |what: String| {
        log.lock().expect("nothing panics under this lock").push(format!("{:?} {what}", started.elapsed()));
    };
    let nodes = [1, 2, 3].map(|n| (NodeId(n), backplane.connect()));
    let callers = nodes.iter().map(async |(me, node)| {
        let mut rng = Rng::with_seed(me.0);
        for n in 0..CALLS {
            match rng.u8(..3) {
                0 => record(format!("{me:?} {:?}", node.step(GROUP, add(rng.u64(..5))).await)),
                1 => record(format!("{me:?} {:?}", node.send(NodeId(rng.u64(1..=3)), n.to_string().into()).await)),
                _ => record(format!("{me:?} {:?}", node.beat(*me, &[]).await)),
            }
        }
    });
    let readers = nodes.iter().map(async |(me, node)| {
        loop {
            record(format!("{me:?} {:?}", node.recv(*me).await));
        }
    });
    let commands = async {
        for (after, command) in [
            (500, &(|| backplane.outage(Outage::Hang)) as &dyn Fn()),
            (400, &|| backplane.restore()),
            (300, &|| nodes[0].1.cut(Outage::Lose)),
            (300, &|| nodes[0].1.heal()),
            (100, &|| backplane.wipe()),
        ] {
            sleep(millis(after)).await;
            command();
        }
    };
    let end = future::join(future::join_all(callers), commands);
    complete(future::select(pin!(end), pin!(future::join_all(readers)))).await;
    log.into_inner().expect("nothing panics under this lock")
}

#[tokio::test(start_paused = true)]
async fn same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let first = run(seed).await;
        assert_eq!(first, run(seed).await, "seed {seed}");
        assert!(first.len() > 3 * CALLS, "the readers received batches");
        assert_ne!(first, run(seed + 1).await, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn replaced_faults_start_from_their_seed() {
    let faults = Faults::new(5).request_delay(millis(0)..=millis(100));
    let (fresh, used) = (MemoryBackplane::with_faults(faults.clone()), MemoryBackplane::with_faults(Faults::new(6)));
    assert!(join(&used, 1).await.is_ok());
    used.set_faults(faults);
    assert_eq!(timed(join(&used, 2)).await.1, timed(join(&fresh, 2)).await.1);
}

#[tokio::test(start_paused = true)]
async fn nodes_of_one_backplane_have_different_faults() {
    let backplane = MemoryBackplane::with_faults(Faults::new(1).request_delay(millis(0)..=millis(100)));
    let times = future::join_all([1, 2, 3].map(async |n| timed(join(&backplane.connect(), n)).await.1)).await;
    assert!(times[0] != times[1] && times[1] != times[2], "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn added_fault_does_not_change_the_other_random_numbers() {
    let delays = async |faults: Faults| {
        let backplane = MemoryBackplane::with_faults(faults.request_delay(millis(0)..=millis(100)));
        let mut times = Vec::new();
        for n in 0..20 {
            times.push(timed(backplane.beat(NodeId(n), &[])).await.1);
        }
        times
    };
    assert_eq!(delays(Faults::new(1)).await, delays(Faults::new(1).late_duplicates(0.5, fixed(1))).await);
    assert_eq!(delays(Faults::new(1)).await, delays(Faults::new(1).lost_requests(f64::MIN_POSITIVE)).await);
    assert_ne!(delays(Faults::new(1)).await, delays(Faults::new(2)).await);
}
