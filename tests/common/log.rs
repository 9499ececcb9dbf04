//! Captures log lines of the current thread.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, Interest, set_default};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// The lines at a level and above since it was created, as `WARN message name=value`. If the line is in a span with the
/// name of a hub, ` in hub NAME` follows.
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
        Self { _guard: set_default(Capture { lines: lines.clone(), level, spans: Mutex::default() }), lines }
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
    SECOND.get_or_init(|| {
        Dispatch::new(Capture { lines: Lines::default(), level: Level::ERROR, spans: Mutex::default() })
    });
}

struct Capture {
    lines: Lines,
    level: Level,
    spans: Mutex<Spans>,
}

#[derive(Default)]
struct Spans {
    /// The field `hub` of each span. The id of a span is its position, counted from 1.
    hubs: Vec<Option<String>>,
    /// The spans that the thread has entered.
    entered: Vec<Id>,
}

impl Subscriber for Capture {
    // The other tests of the process have no subscriber, so the interest must not be cached.
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sigver") && *metadata.level() <= self.level
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut hub = HubField(None);
        span.record(&mut hub);
        let hubs = &mut self.spans.lock().expect("nothing panicked").hubs;
        hubs.push(hub.0);
        Id::from_u64(hubs.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { message: event.metadata().level().to_string(), fields: String::new() };
        event.record(&mut line);
        let spans = self.spans.lock().expect("nothing panicked");
        let explicit = event.parent().into_iter();
        let current = spans.entered.iter().rev().filter(|_| event.is_contextual());
        let mut hubs = explicit.chain(current).filter_map(|id| spans.hubs[id.into_u64() as usize - 1].as_deref());
        if let Some(hub) = hubs.next() {
            line.fields += &format!(" in hub {hub}");
        }
        self.lines.lock().expect("nothing panicked").push(line.message + &line.fields);
    }

    fn enter(&self, id: &Id) {
        self.spans.lock().expect("nothing panicked").entered.push(id.clone());
    }

    fn exit(&self, _: &Id) {
        self.spans.lock().expect("nothing panicked").entered.pop();
    }
}

/// The field `hub` of a span.
struct HubField(Option<String>);

impl Visit for HubField {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "hub" {
            self.0 = Some(format!("{value:?}"));
        }
    }
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
