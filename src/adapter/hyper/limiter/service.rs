//! A service that counts its requests, from the call until the response has been written to the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::hyper::body::Body;
use ::hyper::service::Service;
use ::hyper::{Request, Response};
use pin_project_lite::pin_project;

use super::body::CountedBody;
use super::handle::{ConnectionHandle, RequestInProgress};

/// The service of one connection. Created by [`Connection::service`](super::Connection::service).
///
/// It counts a request from the call until the response has been written to the connection, or until the response is
/// dropped, for example because the client has reset the stream. It adds a [`ConnectionHandle`] to the extensions of
/// each request.
#[derive(Clone, Debug)]
pub struct CountingService<S> {
    service: S,
    connection: ConnectionHandle,
}

impl<S> CountingService<S> {
    pub(super) fn new(service: S, connection: ConnectionHandle) -> Self {
        Self { service, connection }
    }
}

impl<S, B, R> Service<Request<B>> for CountingService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<CountedBody<R>>;
    type Error = S::Error;
    type Future = CountedFuture<S::Future>;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        let in_progress = Arc::new(self.connection.begin_request());
        request.extensions_mut().insert(self.connection.clone());
        CountedFuture { future: self.service.call(request), in_progress: Some(in_progress) }
    }
}

pin_project! {
    /// The future of a response.
    pub struct CountedFuture<F> {
        #[pin]
        future: F,
        // `None` once the response is ready.
        in_progress: Option<Arc<RequestInProgress>>,
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for CountedFuture<F> {
    type Output = Result<Response<CountedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        let in_progress = this.in_progress.take().expect("a future is not polled after it has completed");
        Poll::Ready(result.map(|response| response.map(|body| CountedBody::new(body, in_progress))))
    }
}
