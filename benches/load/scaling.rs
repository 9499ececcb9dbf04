//! Throughput of one hub on one core and on two, with pairs in memory: without a network or another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sigver::client::Event;
use sigver::memory::{self, TestClient};
use sigver::{SignalingHub, Transport};
use tokio::runtime::Builder;
use tokio::time::sleep;

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
/// Messages in flight per group.
const OUTSTANDING: usize = 16;

/// Prints messages per second with one and with two worker threads, and the median of their ratios.
pub(crate) fn run(groups: usize) {
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (relayed(1, groups), relayed(2, groups))).collect();
    rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (one, two) = rounds[ROUNDS / 2];
    println!("{groups} groups in memory: {one:.0} messages/s on one core, {two:.0} on two, ratio {:.2}", two / one);
}

fn relayed(cores: usize, groups: usize) -> f64 {
    // A runtime cannot block a thread of another runtime, so it needs a thread of its own.
    let run = move || {
        let runtime =
            Builder::new_multi_thread().worker_threads(cores).enable_time().build().expect("the runtime starts");
        runtime.block_on(async {
            let (hub, counter) = (SignalingHub::new(), Arc::new(AtomicU64::new(0)));
            let mut pairs = Vec::new();
            for group in 0..groups {
                let key = group.to_string();
                let [mut member, mut joiner] = [&*key, &key].map(|key| memory::join(&hub, key));
                assert!(member.connect(1, &[]).await);
                assert!(!joiner.connect(2, &[]).await);
                pairs.push((member, joiner));
            }
            for (member, mut joiner) in pairs {
                for _ in 0..OUTSTANDING {
                    joiner.send_content(0, vec![0; 200]).await;
                }
                tokio::spawn(bounce(member, |link| link, counter.clone()));
                tokio::spawn(bounce(joiner, |_| 0, counter.clone()));
            }
            sleep(Duration::from_millis(300)).await;
            let (start, before) = (Instant::now(), counter.load(Ordering::Relaxed));
            sleep(TIME).await;
            (counter.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
        })
    };
    thread::spawn(run).join().expect("the load does not panic")
}

/// Returns every content over its link until the runtime ends. `recipient` maps a link to the recipient that this peer
/// addresses it by.
async fn bounce<T: Transport + Unpin>(mut peer: TestClient<T>, recipient: fn(u32) -> u32, counter: Arc<AtomicU64>) {
    while let Ok(Event::Content { link, data, .. }) = peer.recv().await {
        peer.send_content(recipient(link.value()), data).await;
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
