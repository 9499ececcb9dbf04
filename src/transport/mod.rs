//! What the hub needs of a socket.

mod channel;
mod error;
mod frame;

use futures::{Sink, Stream};

pub use channel::{ChannelTransport, pair};
pub use error::TransportError;
pub use frame::{CloseFrame, Frame};

/// A socket that carries [`Frame`]s both ways.
///
/// Every `Stream<Item = Result<Frame, E>> + Sink<Frame, Error = E> + Send` whose error turns into a
/// [`TransportError`] is one. The hub relies on this:
///
/// - A message comes as one frame, whole and unfragmented.
/// - Pings are answered below, as WebSocket libraries do; the hub ignores [`Frame::Ping`] and [`Frame::Pong`].
/// - The stream ends, or fails with [`TransportError::ConnectionLost`], when the other end is gone. The hub reads nothing after
///   either. After another failure it sends a close frame, and reads on, and discards, until the end.
/// - `poll_ready` holds back a sender that is faster than the socket, so that what is written is bounded.
/// - `poll_close` says goodbye and gives the socket back. The hub waits for it, but not for long.
/// - Dropping it closes the socket at once.
///
/// `examples/custom_transport.rs` has one over plain TCP.
pub trait Transport:
    Stream<Item = Result<Frame, <Self as Transport>::Err>> + Sink<Frame, Error = <Self as Transport>::Err> + Send
{
    /// What both directions fail with.
    type Err: Into<TransportError>;
}

impl<T, E> Transport for T
where
    T: Stream<Item = Result<Frame, E>> + Sink<Frame, Error = E> + Send,
    E: Into<TransportError>,
{
    type Err = E;
}
