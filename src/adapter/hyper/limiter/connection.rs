//! An accepted connection, from the accept to its end.

use std::pin::pin;

use futures::future::{Either, select};

use super::handle::ConnectionHandle;
use super::service::CountingService;

/// An accepted connection, from [`ConnectionLimiter::accept_from`](super::ConnectionLimiter::accept_from) or
/// [`ConnectionLimiter::accept`](super::ConnectionLimiter::accept). It counts against the limits until it is dropped.
#[derive(Debug)]
#[must_use = "a connection that is not run is not limited"]
pub struct Connection {
    handle: ConnectionHandle,
}

impl Connection {
    pub(super) fn new(handle: ConnectionHandle) -> Self {
        Self { handle }
    }

    /// Returns the service of this connection: the app's service for hyper, with its requests counted. Wrap a service
    /// of tower, such as axum's `Router`, in hyper-util's `TowerToHyperService` first.
    ///
    /// If the app serves the connection without it, the connection is idle until it ends, whatever requests it has.
    pub fn service<S>(&self, service: S) -> CountingService<S> {
        CountingService::new(service, self.handle.clone())
    }

    /// Returns the handle that the service adds to the extensions of each request, for an app that does not use
    /// [`Connection::service`].
    pub fn handle(&self) -> ConnectionHandle {
        self.handle.clone()
    }

    /// Serves the connection until `served` ends, and returns its output, or `None` if the limiter closes it before.
    /// `served` is the whole work of the connection, including its TLS handshake, and owns the socket: the limiter
    /// closes the connection by dropping it.
    ///
    /// A client of a connection that the limiter closes gets no response and, over HTTP/2, no `GOAWAY`. Requests and
    /// WebSockets of sigver that are still open on it end as if the connection was lost.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and removes it from the limiter. A panic of `served` does the same.
    pub async fn run<F: Future>(self, served: F) -> Option<F::Output> {
        match select(pin!(served), pin!(self.handle.closed())).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(((), _)) => None,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.handle.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::time::{Instant, advance, sleep, timeout};

    use super::super::{CloseCause, ConnectionLimiter};
    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

    fn accept(limiter: &ConnectionLimiter) -> Connection {
        limiter.accept([192, 0, 2, 1].into())
    }

    /// Runs a connection until the limiter closes it, and returns the time.
    async fn time_to_close(connection: Connection) -> u64 {
        let start = Instant::now();
        let run = timeout(Duration::from_secs(3600), connection.run(pending::<()>()));
        assert_eq!(run.await, Ok(None));
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn closed_connection_stops_and_a_finished_one_returns_its_output() {
        let limiter = ConnectionLimiter::builder().max_handshakes(1).build().expect("valid settings");
        let mut first = Box::pin(accept(&limiter).run(pending::<()>()));
        assert_eq!(first.as_mut().now_or_never(), None);
        let second = accept(&limiter);
        assert_eq!(first.now_or_never(), Some(None));
        assert_eq!(second.run(ready(7)).await, Some(7));
        assert_eq!((limiter.handshakes(), limiter.closes(CloseCause::MaxHandshakes)), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn connection_closes_when_it_has_been_idle_for_the_idle_timeout() {
        let limiter = ConnectionLimiter::new();
        assert_eq!(time_to_close(accept(&limiter)).await, 10);
        // The time before the first poll counts.
        let connection = accept(&limiter);
        advance(Duration::from_secs(4)).await;
        assert_eq!(time_to_close(connection).await, 6);
        assert_eq!((limiter.handshakes(), limiter.closes(CloseCause::IdleTimeout)), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_timeout_begins_when_the_last_request_or_guard_ends() {
        let limiter = ConnectionLimiter::new();
        for (request, guard, expected) in [(3, 0, 13), (9, 0, 19), (35, 0, 45), (0, 3, 13), (0, 300, 310), (7, 20, 30)]
        {
            let connection = accept(&limiter);
            let handle = connection.handle();
            let (in_progress, kept) = (handle.begin_request(), handle.keep_open());
            let run = tokio::spawn(time_to_close(connection));
            tokio::spawn(async move {
                sleep(Duration::from_secs(request)).await;
                drop(in_progress);
            });
            tokio::spawn(async move {
                sleep(Duration::from_secs(guard)).await;
                drop(kept);
            });
            assert_eq!(run.await.expect("no panic"), expected, "{request} s, {guard} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_restarts_the_idle_timeout() {
        let limiter = ConnectionLimiter::new();
        let connection = accept(&limiter);
        let handle = connection.handle();
        tokio::spawn(async move {
            for _ in 0..10 {
                sleep(IDLE_TIMEOUT - Duration::from_secs(1)).await;
                drop(handle.begin_request());
            }
        });
        assert_eq!(time_to_close(connection).await, 90 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_idle_timeout_only_a_limit_closes_an_idle_connection() {
        let builder = ConnectionLimiter::builder().idle_timeout(Duration::MAX).max_handshakes(1);
        let limiter = builder.build().expect("valid settings");
        let first = tokio::spawn(time_to_close(accept(&limiter)));
        sleep(Duration::from_secs(600)).await;
        assert_eq!(limiter.handshakes(), 1);
        let _second = accept(&limiter);
        assert_eq!(first.await.expect("no panic"), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_cancelled_and_panicked_connections_are_removed() {
        let limiter = ConnectionLimiter::new();
        drop(accept(&limiter));
        drop(accept(&limiter).run(pending::<()>()));
        let cancelled = tokio::spawn(accept(&limiter).run(pending::<()>()));
        let panicked = tokio::spawn(accept(&limiter).run(async { panic!("of the app") }));
        assert!(panicked.await.is_err());
        assert_eq!(limiter.handshakes(), 1);
        cancelled.abort();
        assert!(cancelled.await.is_err());
        assert_eq!(limiter.handshakes(), 0);
    }
}
