//! A counter with a maximum, whose return to zero can be awaited.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The number of live [`CountGuard`]s.
#[derive(Debug, Default)]
pub(in crate::hub) struct Count {
    value: AtomicUsize,
    zero: Notify,
}

impl Count {
    pub(in crate::hub) fn get(&self) -> usize {
        self.value.load(Ordering::Acquire)
    }

    /// Waits until no guard is alive.
    pub(in crate::hub) async fn wait_for_zero(&self) {
        loop {
            // Create the future first: it also receives a notification between the check and the await.
            let zero = self.zero.notified();
            if self.get() == 0 {
                return;
            }
            zero.await;
        }
    }
}

/// Adds one to a [`Count`] until dropped.
#[derive(Debug)]
pub(crate) struct CountGuard(Arc<Count>);

impl CountGuard {
    pub(in crate::hub) fn new(count: &Arc<Count>) -> Self {
        count.value.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }

    /// Returns the count, which includes this guard.
    pub(in crate::hub) fn total(&self) -> usize {
        self.0.get()
    }

    /// Adds one, unless the count has reached `max`.
    pub(in crate::hub) fn try_new(count: &Arc<Count>, max: usize) -> Option<Self> {
        let one_more = |value| (value < max).then_some(value + 1);
        count.value.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok().map(|_| Self(count.clone()))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        if self.0.value.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.zero.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn zero_is_reached_when_the_last_guard_is_dropped() {
        let count = Arc::default();
        let [first, last] = [CountGuard::new(&count), CountGuard::new(&count)];
        assert_eq!((first.total(), count.get()), (2, 2));
        let mut zero = tokio_test::task::spawn(count.wait_for_zero());
        assert!(zero.poll().is_pending());
        drop(first);
        assert!(!zero.is_woken());
        drop(last);
        assert!(zero.is_woken() && zero.poll().is_ready());
    }

    #[test]
    fn try_new_never_exceeds_its_maximum() {
        let count = Arc::default();
        let acquire_and_release = || {
            (0..1_000_000).all(|_| {
                let _guard = CountGuard::try_new(&count, 1);
                count.get() <= 1
            })
        };
        let threads =
            thread::scope(|scope| [(); 2].map(|()| scope.spawn(acquire_and_release)).map(|thread| thread.join()));
        assert!(
            threads.into_iter().all(|held| held.expect("the thread does not panic")),
            "the count exceeded its maximum"
        );
        assert_eq!(count.get(), 0);
    }
}
