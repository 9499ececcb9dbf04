//! Two peers of a group, and what goes on between them.

use std::time::{Duration, Instant};

use sigver::Transport;
use sigver::protocol::Message;

use super::peer::Peer;
use super::report::{Finding, Took};
use super::trouble::Trouble;

/// About that of an offer.
const OFFER_BYTES: usize = 2000;
/// About that of a candidate.
const CANDIDATE_BYTES: usize = 200;
const ROUND_TRIPS: usize = 20;
/// A peer that is not heard gets two, and is closed with 4742 when the third is due.
const HEARTBEATS_OF_A_PEER_THAT_IS_HEARD: u32 = 3;

/// A member, and a joiner that is bound to it.
pub(super) struct Pair<T> {
    member: Peer<T>,
    joiner: Peer<T>,
    link: u32,
    within: Duration,
}

impl<T: Transport + Unpin> Pair<T> {
    /// A message goes each way; the first one tells the member the link.
    pub(super) async fn meet(mut member: Peer<T>, mut joiner: Peer<T>, within: Duration) -> Finding<Self> {
        let link = carry(&mut joiner, 0, &mut member, OFFER_BYTES, within).await?;
        carry(&mut member, link, &mut joiner, OFFER_BYTES, within).await?;
        Ok((Self { member, joiner, link, within }, format!("{OFFER_BYTES} bytes each way")))
    }

    /// How long a message takes to the other peer, and another one back.
    pub(super) async fn round_trips(&mut self) -> Finding<()> {
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let start = Instant::now();
            self.round_trip().await?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let [median, max] = [ROUND_TRIPS / 2, ROUND_TRIPS - 1].map(|at| Took(times[at]));
        Ok(((), format!("median {median}, max {max}: {ROUND_TRIPS} times {CANDIDATE_BYTES} bytes, there and back")))
    }

    pub(super) async fn first_heartbeat(&mut self) -> Finding<()> {
        tokio::try_join!(self.member.rest(1), self.joiner.rest(1))?;
        Ok(((), format!("both peers heard one by {} after the first socket was opened", Took(self.member.age()))))
    }

    /// Peers that answer heartbeats stay, however quiet they are between them.
    pub(super) async fn stay(&mut self) -> Finding<()> {
        let heartbeats = HEARTBEATS_OF_A_PEER_THAT_IS_HEARD;
        tokio::try_join!(self.member.rest(heartbeats), self.joiner.rest(heartbeats))?;
        self.round_trip().await?;
        let (age, bore) = (Took(self.member.age()), Took(self.member.bore().max(self.joiner.bore())));
        Ok(((), format!("{heartbeats} heartbeats answered, open for {age}, quiet for {bore} at most")))
    }

    /// The same for as long as the operator wants to know.
    pub(super) async fn idle(&mut self, time: Duration) -> Finding<()> {
        let start = Instant::now();
        tokio::try_join!(self.member.idle(time), self.joiner.idle(time))?;
        let idle = Took(start.elapsed());
        self.round_trip().await?;
        Ok(((), format!("nothing but heartbeats for {idle}, open for {}", Took(self.member.age()))))
    }

    /// When one end of a link closes its socket, the other is told so.
    pub(super) async fn part(mut self) -> Finding<()> {
        let start = Instant::now();
        self.joiner.close(self.within).await;
        let came = self.member.hear("the other peer's leaving", self.within).await?;
        let took = Took(start.elapsed());
        self.member.close(self.within).await;
        match came {
            Message::Content { data, .. } if data.is_empty() => {
                Ok(((), format!("the member was told that the other peer left, {took}")))
            }
            came => Err(Trouble::Unexpected { came, expected: "an empty content" }),
        }
    }

    async fn round_trip(&mut self) -> Result<(), Trouble> {
        let Self { member, joiner, link, within } = self;
        carry(joiner, 0, member, CANDIDATE_BYTES, *within).await?;
        carry(member, *link, joiner, CANDIDATE_BYTES, *within).await?;
        Ok(())
    }
}

/// Sends random bytes from one peer to another, and returns the link that they came along.
async fn carry<T: Transport + Unpin>(
    from: &mut Peer<T>,
    recipient: u32,
    to: &mut Peer<T>,
    bytes: usize,
    within: Duration,
) -> Result<u32, Trouble> {
    const WHAT: &str = "a message from the other peer";
    let unexpected = |came| Trouble::Unexpected { came, expected: "what the other peer says" };
    let sent: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
    from.send(Message::content(recipient, sent.clone())).await;
    let came = tokio::select! {
        came = to.hear(WHAT, within) => came?,
        // The sender may be told what was wrong with its message, and in any case answers its heartbeats.
        came = from.hear(WHAT, within) => return Err(unexpected(came?)),
    };
    match came {
        Message::Content { sender, recipient, data, .. } if data == sent => Ok(sender.max(recipient)),
        // The sender is gone, and knows why.
        Message::Content { data, .. } if data.is_empty() => Err(unexpected(from.hear(WHAT, within).await?)),
        Message::Content { .. } => Err(Trouble::Altered { bytes }),
        came => Err(unexpected(came)),
    }
}
