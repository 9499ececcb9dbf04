//! Several hubs that act as one, over the backplane in memory: what peers observe, and what is left in the engine.
//!
//! Each test is a scenario with named faults. All times are those of the paused clock.

mod audits;
mod cluster;
mod decisions;
mod driver;
mod engine;
mod incarnations;
#[path = "../common/log.rs"]
mod log;
mod logs;
mod losses;
mod lost_records;
mod nodes;
mod peer;
mod records;
mod rest;
mod sessions;
mod switch;
mod tap;
