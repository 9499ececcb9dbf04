//! Captures log lines of the current thread.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, set_default};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// The lines at a level and above since it was created, as `WARN message name=value`.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Log {
    /// Captures the lines of this thread at the level `warn` and above until it is dropped.
    pub(crate) fn capture() -> Self {
        Self::capture_at(Level::WARN)
    }

    /// Captures the lines of this thread at a level and above until it is dropped.
    pub(crate) fn capture_at(level: Level) -> Self {
        keep_second_subscriber();
        let lines = Lines::default();
        Self { _guard: set_default(Capture { lines: lines.clone(), level }), lines }
    }

    /// Returns the lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().expect("nothing panicked"))
    }
}

/// Registers a subscriber that is never dropped.
///
/// While a process has one subscriber, tracing asks the thread that first reaches a callsite for its interest. A thread
/// of another test has no subscriber, so the callsite would be disabled for all threads.
fn keep_second_subscriber() {
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(Capture { lines: Lines::default(), level: Level::ERROR }));
}

struct Capture {
    lines: Lines,
    level: Level,
}

impl Subscriber for Capture {
    // The other tests of the process have no subscriber, so the interest must not be cached.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sigver") && *metadata.level() <= self.level
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { message: event.metadata().level().to_string(), fields: String::new() };
        event.record(&mut line);
        self.lines.lock().expect("nothing panicked").push(line.message + &line.fields);
    }

    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let result = match field.name() {
            "message" => write!(self.message, " {value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        result.expect("a String accepts any text");
    }
}
