//! What a hub does on two cores and on one: pairs in memory, so that no network and no other process takes a part.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sigver::memory::{self, Heard};
use sigver::protocol::Message;
use sigver::{SignalingHub, Transport};
use tokio::runtime::Builder;
use tokio::time::sleep;

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(2);
/// Messages on their way in each group.
const OUTSTANDING: usize = 16;

/// Prints messages a second with one and with two worker threads, and their ratio, the median of the rounds.
pub(crate) fn run(groups: usize) {
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (relayed(1, groups), relayed(2, groups))).collect();
    rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (one, two) = rounds[ROUNDS / 2];
    println!("{groups} groups in memory: {one:.0} messages/s on one core, {two:.0} on two, {:.2} times", two / one);
}

fn relayed(cores: usize, groups: usize) -> f64 {
    // A runtime of its own cannot be inside of another one's thread.
    let run = move || {
        let runtime = Builder::new_multi_thread().worker_threads(cores).enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (hub, counted) = (SignalingHub::new(), Arc::new(AtomicU64::new(0)));
            let mut pairs = Vec::new();
            for group in 0..groups {
                let key = group.to_string();
                let [mut member, mut joiner] = [&*key, &key].map(|key| memory::join(&hub, key));
                assert!(member.ask(1, &[]).await);
                assert!(!joiner.ask(2, &[]).await);
                pairs.push((member, joiner));
            }
            for (member, mut joiner) in pairs {
                for _ in 0..OUTSTANDING {
                    joiner.content(0, vec![0; 200]).await;
                }
                tokio::spawn(bounce(member, |link| link, counted.clone()));
                tokio::spawn(bounce(joiner, |_| 0, counted.clone()));
            }
            sleep(Duration::from_millis(300)).await;
            let (start, before) = (Instant::now(), counted.load(Ordering::Relaxed));
            sleep(TIME).await;
            (counted.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
        })
    };
    thread::spawn(run).join().expect("it runs")
}

/// Sends back all that comes, to the recipient that a link has for this peer, until the runtime ends.
async fn bounce<T: Transport + Unpin>(mut peer: memory::Client<T>, to: fn(u32) -> u32, counted: Arc<AtomicU64>) {
    while let Heard::Message(Message::Content { sender, recipient, data, .. }) = peer.hear().await {
        peer.content(to(sender.max(recipient)), data).await;
        counted.fetch_add(1, Ordering::Relaxed);
    }
}
