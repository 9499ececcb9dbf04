//! A member and a joiner that exchange messages.

use std::time::{Duration, Instant};

use sigver::Transport;
use sigver::client::{Event, Remote};

use super::diagnosis::{Diagnosis, Step};
use super::elapsed::Elapsed;
use super::peer::Peer;
use super::report::{Finding, RoundTrips};

/// About the size of an offer.
const OFFER_BYTES: usize = 2000;
/// About the size of an ICE candidate.
const CANDIDATE_BYTES: usize = 200;
const ROUND_TRIPS: usize = 20;
/// A hub closes a peer with 4742 when its third heartbeat in a row stays unanswered. A peer that has received three is
/// still connected only if the hub received its answers.
const HEARTBEATS_OF_A_LIVE_PEER: u32 = 3;

/// A member, and a joiner that is bound to it.
pub(super) struct Pair<T> {
    member: Peer<T>,
    joiner: Peer<T>,
    /// The joiner, as the member addresses it.
    joiner_address: Remote,
    timeout: Duration,
}

impl<T: Transport + Unpin> Pair<T> {
    /// Exchanges a message in each direction. The first one gives the member the joiner's address.
    pub(super) async fn exchange(mut member: Peer<T>, mut joiner: Peer<T>, timeout: Duration) -> Finding<Self> {
        let joiner_address = relay(&mut joiner, Remote::Member, &mut member, OFFER_BYTES, timeout).await?;
        relay(&mut member, joiner_address, &mut joiner, OFFER_BYTES, timeout).await?;
        Ok((Self { member, joiner, joiner_address, timeout }, format!("{OFFER_BYTES} bytes in each direction")))
    }

    /// Measures the time of a message to the other peer and another one back.
    pub(super) async fn round_trips(&mut self) -> Finding<RoundTrips> {
        let mut times = Vec::with_capacity(ROUND_TRIPS);
        for _ in 0..ROUND_TRIPS {
            let start = Instant::now();
            self.round_trip().await?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let [median, max] = [ROUND_TRIPS / 2, ROUND_TRIPS - 1].map(|index| times[index]);
        let figures = format!(
            "median {}, max {}: {ROUND_TRIPS} round trips with {CANDIDATE_BYTES} bytes",
            Elapsed(median),
            Elapsed(max),
        );
        Ok((RoundTrips { median, max }, figures))
    }

    pub(super) async fn first_heartbeat(&mut self) -> Finding<()> {
        tokio::try_join!(self.member.answer_heartbeats(1), self.joiner.answer_heartbeats(1))?;
        Ok(((), format!("both peers received one within {} of the first connection", Elapsed(self.member.age()))))
    }

    /// Checks that idle peers stay connected while they answer heartbeats.
    pub(super) async fn keepalive(&mut self) -> Finding<()> {
        let count = HEARTBEATS_OF_A_LIVE_PEER;
        tokio::try_join!(self.member.answer_heartbeats(count), self.joiner.answer_heartbeats(count))?;
        self.round_trip().await?;
        let silence = Elapsed(self.member.longest_silence().max(self.joiner.longest_silence()));
        let age = Elapsed(self.member.age());
        Ok(((), format!("{count} heartbeats answered, connected for {age}, longest silence {silence}")))
    }

    /// Checks that idle peers stay connected for this time.
    pub(super) async fn idle(&mut self, time: Duration) -> Finding<()> {
        let start = Instant::now();
        tokio::try_join!(self.member.idle(time), self.joiner.idle(time))?;
        let idle = Elapsed(start.elapsed());
        self.round_trip().await?;
        Ok(((), format!("only heartbeats for {idle}, connected for {}", Elapsed(self.member.age()))))
    }

    /// Checks that the hub notifies the member when the joiner leaves.
    pub(super) async fn leave(mut self) -> Finding<()> {
        let start = Instant::now();
        self.joiner.close(self.timeout).await;
        let event = self.member.recv(Step::Leave, self.timeout).await?;
        let elapsed = Elapsed(start.elapsed());
        self.member.close(self.timeout).await;
        match event {
            Event::Ended { .. } => Ok(((), format!("the member was notified that the joiner left, {elapsed}"))),
            event => Err(Diagnosis::Unexpected { event, expected: "the end of the link" }),
        }
    }

    async fn round_trip(&mut self) -> Result<(), Diagnosis> {
        let Self { member, joiner, joiner_address, timeout } = self;
        relay(joiner, Remote::Member, member, CANDIDATE_BYTES, *timeout).await?;
        relay(member, *joiner_address, joiner, CANDIDATE_BYTES, *timeout).await?;
        Ok(())
    }
}

/// Sends random bytes from one peer to another. Returns the sender, as the receiver addresses it.
async fn relay<T: Transport + Unpin>(
    sender: &mut Peer<T>,
    to: Remote,
    receiver: &mut Peer<T>,
    bytes: usize,
    timeout: Duration,
) -> Result<Remote, Diagnosis> {
    let unexpected = |event| Diagnosis::Unexpected { event, expected: "the message of the other peer" };
    let sent: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
    sender.send_content(to, sent.clone()).await?;
    let event = tokio::select! {
        event = receiver.recv(Step::Relay, timeout) => event?,
        // The hub may close the sender because of the message. The sender also answers its heartbeats meanwhile.
        event = sender.recv(Step::Relay, timeout) => return Err(unexpected(event?)),
    };
    match event {
        Event::Content { from, data, .. } if data == sent => Ok(from),
        Event::Content { .. } => Err(Diagnosis::Altered { bytes }),
        // The sender has disconnected, and its connection has the reason.
        Event::Ended { .. } => Err(unexpected(sender.recv(Step::Relay, timeout).await?)),
        event => Err(unexpected(event)),
    }
}
