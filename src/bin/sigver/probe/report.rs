//! A line for each check.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use super::trouble::Trouble;

/// Says how each check went as soon as it is known, and counts.
#[derive(Debug, Default)]
pub(super) struct Report {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// What a check found, and what to say of it.
pub(super) type Finding<T> = Result<(T, String), Trouble>;

impl Report {
    /// Runs a check. `None` says that what needs it has to be left out.
    pub(super) async fn check<T>(&mut self, what: &str, check: impl Future<Output = Finding<T>>) -> Option<T> {
        self.send(what, check.await)
    }

    /// Says what a check found.
    pub(super) fn say<T>(&mut self, what: &str, finding: Finding<T>) -> Option<T> {
        match finding {
            Ok((found, figures)) => {
                self.passed += 1;
                line(format_args!("{what:<13} ok       {figures}"));
                Some(found)
            }
            Err(trouble) => {
                self.failed += 1;
                line(format_args!("{what:<13} FAILED   {trouble}"));
                None
            }
        }
    }

    pub(super) fn skip(&mut self, what: &str, why: &str) {
        self.skipped += 1;
        line(format_args!("{what:<13} skipped  {why}"));
    }

    /// The last line. Whether all is well.
    pub(super) fn verdict(self) -> bool {
        let Self { passed, failed, skipped } = self;
        if failed == 0 {
            line(format_args!("all is well: {passed} checks passed, {skipped} skipped"));
        } else {
            line(format_args!("NOT well: {failed} of {} checks failed; what needs them was left out", passed + failed));
        }
        failed == 0
    }
}

fn line(text: fmt::Arguments<'_>) {
    // Whoever started the probe may have closed its output: the exit code still tells.
    let _ = writeln!(io::stdout(), "{text}");
}

/// A time as people read it.
pub(super) struct Took(pub(super) Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs_f64() {
            seconds if seconds >= 1.0 => write!(f, "{seconds:.1} s"),
            seconds if seconds >= 0.01 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds => write!(f, "{:.2} ms", seconds * 1e3),
        }
    }
}
