//! Keeps a panic in one place from spreading.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the app, or of one room. Returns `None` if it panics: that must not disconnect other peers. The panic hook
/// has reported the panic, and a room whose code has panicked closes its peers when it is locked the next time.
pub(super) fn isolate<R>(code: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}
