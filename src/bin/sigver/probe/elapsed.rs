//! A duration as the probe prints it.

use std::fmt;
use std::time::Duration;

/// Prints a duration in seconds or milliseconds.
pub(super) struct Elapsed(pub(super) Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs_f64() {
            seconds if seconds >= 1.0 => write!(f, "{seconds:.1} s"),
            seconds if seconds >= 0.01 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds => write!(f, "{:.2} ms", seconds * 1e3),
        }
    }
}
