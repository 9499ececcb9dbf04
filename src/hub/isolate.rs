//! Keeps a panic in the app's code away from the hub.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code of the app, and catches a panic in it. The panic hook has reported the panic, and the code shares no state
/// of the hub.
pub(super) fn isolate(code: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(code));
}
