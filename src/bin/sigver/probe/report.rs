//! The output of the probe: a line for each check and the result, or one JSON object.

use std::fmt;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use super::diagnosis::Diagnosis;

/// Counts the results of the checks. Prints each as soon as it is known, or all of them as JSON at the end.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(skip)]
    json: bool,
    /// Whether no check failed.
    ok: bool,
    passed: u32,
    failed: u32,
    skipped: u32,
    /// Absent if the check was not reached.
    #[serde(rename = "round_trip_seconds", skip_serializing_if = "Option::is_none")]
    round_trips: Option<RoundTrips>,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    name: String,
    result: CheckResult,
    /// The figures, the reason of the failure, or why the check was skipped.
    detail: String,
    /// Absent if the check takes no time.
    #[serde(rename = "seconds", skip_serializing_if = "Option::is_none", serialize_with = "optional_seconds")]
    duration: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckResult {
    Ok,
    Failed,
    Skipped,
}

/// The times of messages to the other peer and back.
#[derive(Clone, Copy, Serialize)]
pub(super) struct RoundTrips {
    #[serde(serialize_with = "seconds")]
    pub(super) median: Duration,
    #[serde(serialize_with = "seconds")]
    pub(super) max: Duration,
}

/// The result of a check: a value for the next checks and the figures to print, or the reason of the failure.
pub(super) type Finding<T> = Result<(T, String), Diagnosis>;

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, ok: true, passed: 0, failed: 0, skipped: 0, round_trips: None, checks: Vec::new() }
    }

    /// Runs a check. Returns `None` if it failed, and the checks that depend on it must be skipped.
    pub(super) async fn check<T>(&mut self, name: &str, check: impl Future<Output = Finding<T>>) -> Option<T> {
        let start = Instant::now();
        let finding = check.await;
        self.add(name, finding, Some(start.elapsed()))
    }

    /// Reports the result of a check.
    pub(super) fn record<T>(&mut self, name: &str, finding: Finding<T>) -> Option<T> {
        self.add(name, finding, None)
    }

    pub(super) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        self.push(name, CheckResult::Skipped, reason.to_owned(), None);
    }

    pub(super) fn set_round_trips(&mut self, times: RoundTrips) {
        self.round_trips = Some(times);
    }

    /// Prints the result. Returns whether no check failed.
    pub(super) fn finish(self) -> bool {
        let Self { json, ok, passed, failed, skipped, .. } = self;
        if json {
            let text = serde_json::to_string(&self).expect("numbers and strings can be written as JSON");
            line(format_args!("{text}"));
        } else if ok {
            line(format_args!("ok: {passed} passed, {skipped} skipped"));
        } else {
            line(format_args!("FAILED: {failed} of {} checks; dependent checks were skipped", passed + failed));
        }
        ok
    }

    fn add<T>(&mut self, name: &str, finding: Finding<T>, duration: Option<Duration>) -> Option<T> {
        match finding {
            Ok((value, figures)) => {
                self.passed += 1;
                self.push(name, CheckResult::Ok, figures, duration);
                Some(value)
            }
            Err(diagnosis) => {
                self.failed += 1;
                self.ok = false;
                self.push(name, CheckResult::Failed, diagnosis.to_string(), duration);
                None
            }
        }
    }

    fn push(&mut self, name: &str, result: CheckResult, detail: String, duration: Option<Duration>) {
        if self.json {
            self.checks.push(Check { name: name.to_owned(), result, detail, duration });
            return;
        }
        let result = match result {
            CheckResult::Ok => "ok",
            CheckResult::Failed => "FAILED",
            CheckResult::Skipped => "skipped",
        };
        line(format_args!("{name:<13} {result:<8} {detail}"));
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

fn line(text: fmt::Arguments<'_>) {
    // The parent process may have closed the output. The exit code still reports the result.
    let _ = writeln!(io::stdout(), "{text}");
}
