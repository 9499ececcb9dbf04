//! Reads for a scripted transport: copies of one frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sigver::Frame;

/// Returns a closure that returns this number of copies of a frame, and the number that it has returned.
pub(crate) fn copies(frame: Frame, count: usize) -> (impl FnMut() -> Option<Frame>, Arc<AtomicUsize>) {
    let returned = Arc::new(AtomicUsize::new(0));
    let counter = returned.clone();
    let read = move || {
        (counter.load(Ordering::Relaxed) < count).then(|| {
            counter.fetch_add(1, Ordering::Relaxed);
            frame.clone()
        })
    };
    (read, returned)
}
