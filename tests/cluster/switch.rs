//! Stops and continues futures from outside, as SIGSTOP and SIGCONT do with a process.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Stops all futures that run under it.
#[derive(Clone, Default)]
pub(crate) struct Switch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_stopped: bool,
    waiting: Vec<Waker>,
}

impl Switch {
    /// Stops polling the futures. Their timers continue, but nothing reacts to them.
    pub(crate) fn stop(&self) {
        self.0.lock().expect("nothing panics under this lock").is_stopped = true;
    }

    pub(crate) fn resume(&self) {
        let mut state = self.0.lock().expect("nothing panics under this lock");
        state.is_stopped = false;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    pub(crate) async fn run<F: Future>(self, future: F) -> F::Output {
        Switched { switch: self, future: Box::pin(future) }.await
    }

    fn is_stopped(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock().expect("nothing panics under this lock");
        if state.is_stopped {
            state.waiting.push(cx.waker().clone());
        }
        state.is_stopped
    }
}

struct Switched<F> {
    switch: Switch,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Switched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.switch.is_stopped(cx) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(cx)
    }
}
