//! The end of a connection: starts the close handshake, or answers it.

use std::future::pending;
use std::pin::Pin;

use futures::{SinkExt as _, StreamExt as _};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::rate_limits::READ_BUDGET;
use crate::hub::close::DisconnectReason;
use crate::hub::limits::config::{Config, message_work};
use crate::hub::rooms::frame_queue::FrameQueue;
use crate::transport::{CloseFrame, Frame, Transport, TransportError};

/// The work of reading after the hub's close frame, in the unit of [`message_work`]: 1024 frames without a payload, or
/// 8 MiB. One message of the maximum size is allowed in addition, because it may be in transit.
///
/// A correct peer sends little before it answers: what it sent before it read the close frame. The rates do not apply
/// any more, so this bounds what a flooding peer costs.
const MAX_WORK: usize = 1024;

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
                let max_work = MAX_WORK + message_work(config.max_message_bytes);
                close(CloseFrame::new(code.as_u16(), &**reason), transport, queued, max_work).await
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
/// close code. After `max_work`, it reads no more and never returns.
async fn close<T: Transport>(
    frame: CloseFrame,
    mut transport: Pin<&mut T>,
    queued: FrameQueue,
    max_work: usize,
) -> Result<(), T::Err> {
    for frame in queued {
        transport.feed(Frame::Binary(frame.bytes)).await?;
    }
    transport.send(Frame::Close(Some(frame))).await?;
    // The peer may still send frames that are not valid.
    let mut failed = false;
    let (mut work, mut work_since_yield) = (0, 0);
    while let Some(read) = transport.next().await {
        match read.map_err(Into::into) {
            Ok(Frame::Close(_)) | Err(TransportError::ConnectionLost(_)) => break,
            Ok(frame) => work_since_yield += message_work(frame.payload_len()),
            Err(_) if !failed => failed = true,
            // The transport repeats its error. The peer can read the close frame while the connection stays open.
            Err(_) => pending().await,
        }
        if work_since_yield >= READ_BUDGET {
            work += std::mem::take(&mut work_since_yield);
            if work >= max_work {
                // As after a repeated error.
                pending().await
            }
            yield_now().await;
        }
    }
    transport.close().await
}
