//! The connection to one peer: the trait that the hub and the client need, and an in-process implementation.

mod channel;
mod error;
mod frame;
#[cfg(any(feature = "client", feature = "hyper"))]
pub(crate) mod websocket;

use futures::{Sink, Stream};

pub use channel::{ChannelTransport, pair};
pub use error::TransportError;
pub use frame::{CloseFrame, Frame};

/// A connection that carries [`Frame`]s in both directions.
///
/// Every `Stream<Item = Result<Frame, E>> + Sink<Frame, Error = E> + Send` whose error converts into a
/// [`TransportError`] implements it. The hub relies on these rules:
///
/// - Each message is one frame, complete and not fragmented.
/// - The transport answers pings, as WebSocket libraries do. The hub counts a [`Frame::Ping`] as a queued pong until the
///   transport flushes, and ignores a [`Frame::Pong`].
/// - The stream ends, or fails with [`TransportError::ConnectionLost`], when the connection ends. The hub reads nothing
///   afterwards. After any other error, the hub sends a close frame, and then reads and discards frames until the end.
/// - `poll_ready` is pending while the peer reads too slowly, so that the transport's write buffer is bounded.
/// - `poll_flush` becomes ready without further frames. The hub passes new ones only after it has.
/// - `poll_close` starts or answers the close handshake. The hub waits at most
///   [`HubBuilder::close_timeout`](crate::HubBuilder::close_timeout) for it.
/// - Dropping the transport closes the connection immediately.
///
/// `examples/custom_transport.rs` implements one over plain TCP.
pub trait Transport:
    Stream<Item = Result<Frame, <Self as Transport>::Err>> + Sink<Frame, Error = <Self as Transport>::Err> + Send
{
    /// The error of both directions.
    type Err: Into<TransportError>;
}

impl<T, E> Transport for T
where
    T: Stream<Item = Result<Frame, E>> + Sink<Frame, Error = E> + Send,
    E: Into<TransportError>,
{
    type Err = E;
}
