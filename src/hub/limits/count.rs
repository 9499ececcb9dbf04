//! A counter that can refuse one more, and that can be awaited until it reaches zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A number of things. Each [`CountGuard`] counts one.
#[derive(Debug, Default)]
pub(in crate::hub) struct Count {
    value: AtomicUsize,
    zero: Notify,
}

impl Count {
    pub(in crate::hub) fn get(&self) -> usize {
        self.value.load(Ordering::Acquire)
    }

    pub(in crate::hub) async fn wait_for_zero(&self) {
        loop {
            // Registered first: the count may reach zero between the check and the wait.
            let zero = self.zero.notified();
            if self.get() == 0 {
                return;
            }
            zero.await;
        }
    }
}

/// Counts one until it is dropped.
#[derive(Debug)]
pub(crate) struct CountGuard(Arc<Count>);

impl CountGuard {
    pub(in crate::hub) fn new(count: &Arc<Count>) -> Self {
        count.value.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }

    /// Counts one more, unless the count has reached `max`.
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
    fn refused_guards_are_never_counted() {
        let count = Arc::default();
        let acquire_and_release = || {
            (0..1_000_000).all(|_| {
                let _guard = CountGuard::try_new(&count, 1);
                count.get() <= 1
            })
        };
        let threads =
            thread::scope(|scope| [(); 2].map(|()| scope.spawn(acquire_and_release)).map(|thread| thread.join()));
        assert!(threads.into_iter().all(|held| held.expect("it does not panic")), "the count exceeded its maximum");
        assert_eq!(count.get(), 0);
    }
}
