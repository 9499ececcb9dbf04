//! Clusters of hubs over an engine in memory, under the paused clock: equal transcripts, and runs with faults.

mod backplane;
mod cluster;
mod fault;
mod histories;
mod links;
mod node;
mod oracle;
mod participant;
mod peer;
mod run;
mod script;
mod seeds;

use fault::Class;
use seeds::for_each_seed;

/// Creates a test for each class of faults, and one with many seeds.
macro_rules! fault_runs {
    ($($name:ident: $class:ident,)*) => {
        $(
            #[test]
            fn $name() {
                run_seeds(Class::$class, 1000);
            }
        )*

        /// Each takes minutes. `CLUSTER_SEEDS` is the number of seeds.
        mod many {
            use super::*;

            $(
                #[test]
                #[ignore = "takes minutes"]
                fn $name() {
                    run_seeds(Class::$class, 20_000);
                }
            )*
        }
    };
}

fault_runs! {
    cluster_survives_delays: Delays,
    cluster_survives_lost_requests: LostRequests,
    cluster_survives_lost_replies: LostReplies,
    cluster_survives_late_duplicates: LateDuplicates,
    cluster_survives_short_outages: ShortOutages,
    cluster_survives_a_long_outage: LongOutage,
    cluster_survives_rollbacks: Rollbacks,
    cluster_survives_wipes: Wipes,
    cluster_survives_lost_batches: LostBatches,
    cluster_survives_crashes: Crashes,
    cluster_survives_a_pause: Pause,
    cluster_survives_a_cut: Cut,
    cluster_survives_a_mix: Mix,
}

fn run_seeds(class: Class, count: u64) {
    let (mut runs, mut live) = (0, 0);
    for_each_seed(&format!("{class:?}"), count, async |seed| {
        live += run::run(class, seed).await;
        runs += 1;
    });
    eprintln!("{class:?}: {runs} runs, {live} live links after the faults");
    assert!(runs < 100 || live >= runs, "the runs leave too few links to check: {live} in {runs}");
}
