//! The output of the probe: a line for each check, and the result.

use std::fmt;
use std::io::{self, Write as _};

use super::diagnosis::Diagnosis;

/// Prints the result of each check as soon as it is known, and counts the results.
#[derive(Debug, Default)]
pub(super) struct Report {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// The result of a check: a value for the next checks and the figures to print, or the reason of the failure.
pub(super) type Finding<T> = Result<(T, String), Diagnosis>;

impl Report {
    /// Runs a check. Returns `None` if it failed, and the checks that depend on it must be skipped.
    pub(super) async fn check<T>(&mut self, name: &str, check: impl Future<Output = Finding<T>>) -> Option<T> {
        self.record(name, check.await)
    }

    /// Prints the result of a check.
    pub(super) fn record<T>(&mut self, name: &str, finding: Finding<T>) -> Option<T> {
        match finding {
            Ok((value, figures)) => {
                self.passed += 1;
                line(format_args!("{name:<13} ok       {figures}"));
                Some(value)
            }
            Err(diagnosis) => {
                self.failed += 1;
                line(format_args!("{name:<13} FAILED   {diagnosis}"));
                None
            }
        }
    }

    pub(super) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        line(format_args!("{name:<13} skipped  {reason}"));
    }

    /// Prints the last line. Returns whether no check failed.
    pub(super) fn finish(self) -> bool {
        let Self { passed, failed, skipped } = self;
        if failed == 0 {
            line(format_args!("ok: {passed} passed, {skipped} skipped"));
        } else {
            line(format_args!("FAILED: {failed} of {} checks; dependent checks were skipped", passed + failed));
        }
        failed == 0
    }
}

fn line(text: fmt::Arguments<'_>) {
    // The parent process may have closed the output. The exit code still reports the result.
    let _ = writeln!(io::stdout(), "{text}");
}
