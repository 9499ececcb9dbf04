//! A pair of peers that send to each other and read nothing.

use sigver::protocol::Message;

use super::attackers::Attackers;
use crate::client::{End, Socket, frame};
use crate::sources::Buffers;

/// Both peers of a pair.
pub(super) struct UnreadPair {
    member: Socket,
    joiner: Socket,
    /// The link between them.
    link: u32,
}

/// Receive buffer of both peers, small so that it fills quickly.
const SMALL_BUFFER: u32 = 4096;

impl UnreadPair {
    /// Opens a pair in a group of its own.
    pub(super) async fn open(attackers: &Attackers) -> Result<Self, End> {
        let (key, buffers) = (attackers.key(), Buffers::over_ethernet(SMALL_BUFFER));
        let mut member = attackers.open_with(&key, buffers).await?;
        member.connect(1, &[]).await?;
        let mut joiner = attackers.open_with(&key, buffers).await?;
        joiner.connect(2, &[]).await?;
        joiner.send(&frame(&Message::content(0, "offer").encode())).await?;
        let link = loop {
            if let Ok(Message::Content { sender, .. }) = Message::decode(member.recv().await?) {
                break sender;
            }
        };
        Ok(Self { member, joiner, link })
    }

    /// Sends a content of this size from each peer to the other.
    pub(super) async fn send_content(&mut self, bytes: usize) -> Result<(), End> {
        let data = vec![b'x'; bytes];
        let to_joiner = frame(&Message::content(self.link, data.clone()).encode());
        let to_member = frame(&Message::content(0, data).encode());
        tokio::try_join!(self.member.send(&to_joiner), self.joiner.send(&to_member)).map(|_| ())
    }

    /// Sends a heartbeat from each peer.
    pub(super) async fn send_heartbeats(&mut self) -> Result<(), End> {
        let heartbeat = frame(&Message::HEARTBEAT);
        tokio::try_join!(self.member.send(&heartbeat), self.joiner.send(&heartbeat)).map(|_| ())
    }
}
