//! The end of a connection: starts the close handshake, or answers it.

use std::pin::Pin;

use futures::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;

use crate::hub::close::DisconnectReason;
use crate::hub::limits::config::Config;
use crate::hub::rooms::frame_queue::FrameQueue;
use crate::transport::{CloseFrame, Frame, Transport, TransportError};

/// Ends a connection as its reason requires, within `close_timeout`. Afterwards the caller drops the transport, even if
/// the peer has not answered.
pub(in crate::hub) async fn close_handshake<T: Transport>(
    reason: &DisconnectReason,
    mut transport: Pin<&mut T>,
    queued: FrameQueue,
    config: &Config,
) {
    let handshake = async {
        match reason {
            DisconnectReason::ClosedByHub { code, reason, .. } => {
                close(CloseFrame::new(code.as_u16(), &**reason), transport, queued).await
            }
            // The transport answers the peer's close frame.
            DisconnectReason::ClosedByPeer { .. } => transport.close().await,
            // The transport can no longer send.
            DisconnectReason::ConnectionLost(_) | DisconnectReason::Cancelled => Ok(()),
        }
    };
    // Whether the handshake completes, fails or times out, the connection is over.
    let _: Result<Result<(), T::Err>, _> = timeout(config.close_timeout, handshake).await;
}

/// Writes the queued messages and the close frame, then reads until the peer answers, so that no TCP reset discards the
/// close code.
async fn close<T: Transport>(frame: CloseFrame, mut transport: Pin<&mut T>, queued: FrameQueue) -> Result<(), T::Err> {
    for frame in queued {
        transport.feed(Frame::Binary(frame.bytes)).await?;
    }
    transport.send(Frame::Close(Some(frame))).await?;
    // The peer may still send frames that are not valid.
    let mut failed = false;
    while let Some(read) = transport.next().await {
        match read.map_err(Into::into) {
            Ok(Frame::Close(_)) | Err(TransportError::ConnectionLost(_)) => break,
            Ok(_) => {}
            Err(_) if !failed => failed = true,
            // The transport repeats its error. The peer can read the close frame while the connection stays open.
            Err(_) => std::future::pending().await,
        }
    }
    transport.close().await
}
