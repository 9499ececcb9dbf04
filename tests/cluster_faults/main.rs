//! Clusters of hubs over an engine in memory, under the paused clock: equal transcripts, and runs with faults.

mod oracle;
mod peer;
mod script;
mod seeds;
