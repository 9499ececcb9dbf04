//! A member that returns what its joiners send.

use sigver::protocol::Message;

use crate::client::{End, Socket, Target, frame};

/// The id of each member.
pub(super) const MEMBER: u32 = 1;

/// Opens the first member of a group.
pub(super) async fn open_member(target: &Target, key: &str) -> Socket {
    let mut member = Socket::open(target, key).await;
    assert!(member.expect_connect(MEMBER, &[]).await, "the first peer becomes a member");
    member
}

/// Returns content and answers heartbeats until the connection ends.
pub(super) async fn echo(mut peer: Socket) -> End {
    loop {
        let message = match peer.recv().await {
            Ok(message) => Message::decode(message),
            Err(end) => return end,
        };
        let answer = match message {
            Ok(Message::Heartbeat) => Message::HEARTBEAT,
            // The end of a link has no data.
            Ok(Message::Content { sender, data, .. }) if !data.is_empty() => Message::content(sender, data).encode(),
            _ => continue,
        };
        if let Err(end) = peer.send(&frame(&answer)).await {
            return end;
        }
    }
}
