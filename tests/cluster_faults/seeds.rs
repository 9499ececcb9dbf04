//! Runs a function for many seeds, and prints the seed that fails.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `CLUSTER_SEEDS` | the number of seeds of each run |
//! | `CLUSTER_SEED` | the only seed |

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Builder;

/// The number of failed seeds after which a test ends.
const MAX_FAILED: usize = 3;

/// Runs a function for a number of seeds, each in its own runtime with a paused clock.
///
/// The random numbers of the hubs have the same seed, so a run with one seed can be repeated.
pub(crate) fn for_each_seed(name: &str, count: u64, mut run: impl AsyncFnMut(u64)) {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("the variable has a number"));
    let seeds = match number("CLUSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CLUSTER_SEEDS").unwrap_or(count),
    };
    let mut failed = Vec::new();
    for seed in seeds {
        fastrand::seed(seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        // The panic has printed what is wrong.
        if catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(seed)))).is_err() {
            eprintln!("{name} failed with seed {seed}; CLUSTER_SEED={seed} runs it alone");
            failed.push(seed);
        }
        assert!(failed.len() < MAX_FAILED, "{name} failed with the seeds {failed:?}; the others did not run");
    }
    assert!(failed.is_empty(), "{name} failed with the seeds {failed:?}");
}
