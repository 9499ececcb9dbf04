//! The close handshake with a peer that the hub closes.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;

use crate::hub::close::{Close, DisconnectReason};
use crate::hub::limits::config::Config;
use crate::transport::{Frame, Transport, TransportError};

/// Writes the queued messages and the close frame, then reads until the peer answers, so that no TCP reset discards the
/// close code. The caller drops the connection of a peer that does not answer within `close_timeout`.
pub(in crate::hub) async fn close_handshake<T: Transport>(
    close: Close,
    mut transport: Pin<&mut T>,
    queued: VecDeque<Bytes>,
    config: &Config,
) -> DisconnectReason {
    let handshake = async {
        for bytes in queued {
            transport.feed(Frame::Binary(bytes)).await?;
        }
        transport.send(Frame::Close(Some(close.to_frame()))).await?;
        // Frames that arrive from now on may be broken, too.
        let mut errors = 0;
        while let Some(read) = transport.next().await {
            match read.map_err(Into::into) {
                Ok(Frame::Close(_)) | Err(TransportError::ConnectionLost(_)) => break,
                Ok(_) => {}
                Err(_) if errors == 0 => errors += 1,
                // The transport repeats its error. The peer can read the close frame while the connection stays open.
                Err(_) => std::future::pending().await,
            }
        }
        transport.close().await
    };
    // Whether the handshake completed, failed or timed out: the connection is over.
    let _: Result<Result<(), T::Err>, _> = timeout(config.close_timeout, handshake).await;
    DisconnectReason::from(&close)
}
