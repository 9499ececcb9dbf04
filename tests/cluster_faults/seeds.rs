//! Runs a function for many seeds, and prints the seed that fails.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `CLUSTER_SEEDS` | the number of seeds of each run |
//! | `CLUSTER_SEED` | the only seed |

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::runtime::Builder;

/// Runs a function for a number of seeds, each in its own runtime with a paused clock.
///
/// The random numbers of the hubs have the same seed, so a run with one seed can be repeated.
pub(crate) fn for_each_seed(name: &str, count: u64, mut run: impl AsyncFnMut(u64)) {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("the variable has a number"));
    let seeds = match number("CLUSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CLUSTER_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        fastrand::seed(seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(seed)))) {
            eprintln!("{name} failed with seed {seed}; CLUSTER_SEED={seed} runs it alone");
            resume_unwind(panic);
        }
    }
}
