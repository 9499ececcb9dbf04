//! A log line about an event that can occur at any rate: at most one line per minute, with the number of events.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// The minimum time between two lines.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts events and logs them.
///
/// The first event is logged at once. Later ones are counted, and the next line is written a minute after the last one
/// at the earliest: with the next event, or by [`CountedLog::write_due`].
pub(super) struct CountedLog<E> {
    /// Writes a line about this number of events, of which the second argument is the first.
    write: fn(u64, E),
    tally: Mutex<Tally<E>>,
}

struct Tally<E> {
    unwritten: u64,
    /// The first unwritten event. `None` if there are none.
    example: Option<E>,
    /// When the next line may be written. `None` before the first line.
    due: Option<Instant>,
}

impl<E> CountedLog<E> {
    pub(super) fn new(write: fn(u64, E)) -> Self {
        Self { write, tally: Mutex::new(Tally { unwritten: 0, example: None, due: None }) }
    }

    /// Counts an event.
    pub(super) fn count(&self, event: E) {
        let mut tally = self.lock();
        tally.unwritten += 1;
        tally.example.get_or_insert(event);
        drop(tally);
        self.write_due();
    }

    /// Writes the unwritten events if their minute has passed.
    pub(super) fn write_due(&self) {
        let now = Instant::now();
        self.write_if(|due| due.is_none_or(|due| due <= now));
    }

    /// Writes the unwritten events, before the process ends.
    pub(super) fn write_all(&self) {
        self.write_if(|_| true);
    }

    fn write_if(&self, is_due: impl FnOnce(Option<Instant>) -> bool) {
        let mut tally = self.lock();
        let due = tally.due;
        let Some(example) = tally.example.take_if(|_| is_due(due)) else { return };
        let count = std::mem::take(&mut tally.unwritten);
        tally.due = Some(Instant::now() + INTERVAL);
        drop(tally);
        (self.write)(count, example);
    }

    fn lock(&self) -> MutexGuard<'_, Tally<E>> {
        self.tally.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The lines of a log: the number of events, and the first of them.
    type Lines = RefCell<Vec<(u64, u64)>>;

    fn log<'a>() -> CountedLog<(u64, &'a Lines)> {
        CountedLog::new(|count, (first, lines)| lines.borrow_mut().push((count, first)))
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_logged_once_per_minute_with_their_number() {
        let (log, lines) = (log(), Lines::default());
        for nth in 0..500 {
            log.count((nth, &lines));
        }
        assert_eq!(lines.take(), [(1, 0)]);
        tokio::time::advance(INTERVAL).await;
        log.count((500, &lines));
        log.count((501, &lines));
        assert_eq!(lines.take(), [(500, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn events_without_a_later_one_are_logged_when_their_minute_is_over() {
        let (log, lines) = (log(), Lines::default());
        for nth in 0..500 {
            log.count((nth, &lines));
        }
        tokio::time::advance(INTERVAL - Duration::from_millis(1)).await;
        log.write_due();
        assert_eq!(lines.take(), [(1, 0)]);
        tokio::time::advance(Duration::from_millis(1)).await;
        log.write_due();
        assert_eq!(lines.take(), [(499, 1)]);
        tokio::time::advance(2 * INTERVAL).await;
        log.write_due();
        assert_eq!(lines.take(), [], "nothing happened");
    }

    #[tokio::test(start_paused = true)]
    async fn end_writes_events_whose_minute_is_not_over() {
        let (log, lines) = (log(), Lines::default());
        log.write_all();
        log.count((0, &lines));
        log.count((1, &lines));
        log.write_all();
        log.write_all();
        assert_eq!(lines.take(), [(1, 0), (1, 1)]);
    }
}
