//! The goodbye to a peer that the hub closes.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;

use super::{Ending, Guard, Shared};
use crate::protocol::{CloseCode, Fault};
use crate::transport::{CloseFrame, Frame, Transport, TransportError};

/// What a peer is told when it is closed.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    code: CloseCode,
    reason: Cow<'static, str>,
    guard: Option<Guard>,
}

impl Closing {
    pub(super) fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into(), guard: None }
    }

    /// What a guard says to a peer that does not pass it.
    pub(super) fn by(guard: Guard, code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { guard: Some(guard), ..Self::new(code, reason) }
    }

    pub(super) fn code(&self) -> CloseCode {
        self.code
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn guard(&self) -> Option<Guard> {
        self.guard
    }

    /// Writes what still waits and the close frame, and reads on until the peer has answered, so that no reset of the
    /// socket eats the code. A peer that does not do its part in time is dropped by the caller.
    pub(super) async fn carry_out<T: Transport>(
        self,
        mut transport: Pin<&mut T>,
        rest: VecDeque<Bytes>,
        shared: &Shared,
    ) -> Ending {
        let Self { code, reason, guard } = self;
        shared.turned_away(guard, &reason);
        shared.meters.closed(code);
        let frame = CloseFrame::new(code.code(), reason);
        let reason = frame.reason.clone();
        let goodbye = async {
            for bytes in rest {
                transport.feed(Frame::Binary(bytes)).await?;
            }
            transport.send(Frame::Close(Some(frame))).await?;
            // What still comes may be broken too.
            let mut faults = 0;
            while let Some(read) = transport.next().await {
                match read.map_err(Into::into) {
                    Ok(Frame::Close(_)) | Err(TransportError::Lost(_)) => break,
                    Ok(_) => {}
                    Err(_) if faults == 0 => faults += 1,
                    // It is stuck there. While it stays open, the peer can read the close frame.
                    Err(_) => std::future::pending().await,
                }
            }
            transport.close().await
        };
        // In time or not, done or failed: the peer is closed, and there is nothing left to do for it.
        let _: Result<Result<(), T::Fault>, _> = timeout(shared.limits.close_within, goodbye).await;
        Ending::Closed { code, reason, guard }
    }
}

impl From<CloseCode> for Closing {
    fn from(code: CloseCode) -> Self {
        Self::new(code, code.reason())
    }
}

impl From<Fault> for Closing {
    fn from(fault: Fault) -> Self {
        let guard = match fault {
            Fault::Members { .. } => Some(Guard::MaxMembersNamed),
            Fault::Silent => Some(Guard::MissedHeartbeats),
            Fault::Wire(_) => None,
        };
        Self { guard, ..Self::new(fault.close_code(), fault.to_string()) }
    }
}
