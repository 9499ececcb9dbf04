//! The body of a response whose request is in progress until all of its data has been written.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::hyper::body::{Body, Buf, Bytes, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::handle::RequestInProgress;

pin_project! {
    /// A body that counts its request until it and all of its data are dropped.
    pub struct CountedBody<B> {
        #[pin]
        body: B,
        in_progress: Arc<RequestInProgress>,
    }
}

/// A chunk of the body. hyper drops the body once it has read the last chunk, and the chunk once it has written it: a
/// slow client can need minutes for that.
pub struct CountedData<D> {
    data: D,
    _in_progress: Arc<RequestInProgress>,
}

impl<B> CountedBody<B> {
    pub(super) fn new(body: B, in_progress: Arc<RequestInProgress>) -> Self {
        Self { body, in_progress }
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = CountedData<B::Data>;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let count = |data| CountedData { data, _in_progress: this.in_progress.clone() };
        this.body.poll_frame(cx).map_ok(|frame| frame.map_data(count))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<D: Buf> Buf for CountedData<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.data.copy_to_bytes(len)
    }
}
