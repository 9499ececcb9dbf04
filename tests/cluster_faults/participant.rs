//! A peer of a run, with what it has sent.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::peer::{Peer, Seen};

pub(crate) struct Participant {
    pub(crate) peer: Peer,
    pub(crate) node: usize,
    pub(crate) group: usize,
    /// When the peer sent each `connect`.
    pub(crate) connects: Vec<Instant>,
    /// The contents that the peer has sent, in order.
    pub(crate) sent: Vec<Sent>,
    /// The peer's node has crashed.
    pub(crate) has_crashed: bool,
}

/// Content that a peer has sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) to: Receiver,
    pub(crate) last: bool,
}

/// To which receiver content was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// The member that the peer is bound to after this number of its `connect` messages.
    Member { connects: usize },
    /// The same, if the member has the id that the peer has named.
    MemberWithId { connects: usize },
    /// The joiner of this link.
    Joiner { link: u32 },
}

/// The content of a participant: its number, and how many contents it has sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) from: usize,
    pub(crate) nth: usize,
}

impl Participant {
    pub(crate) fn new(peer: Peer, node: usize, group: usize) -> Self {
        Self { peer, node, group, connects: Vec::new(), sent: Vec::new(), has_crashed: false }
    }

    pub(crate) fn connect(&mut self, id: u32, named: &[u32]) {
        self.connects.push(Instant::now());
        self.peer.send_connect(id, named);
    }

    /// Sends content to the member that the peer is bound to: by 0, or by an id.
    pub(crate) fn send_to_member(&mut self, me: usize, id: Option<u32>, last: bool) {
        let connects = self.connects.len();
        let to = if id.is_some() { Receiver::MemberWithId { connects } } else { Receiver::Member { connects } };
        self.send(me, id.unwrap_or(0), Sent { to, last });
    }

    pub(crate) fn send_to_joiner(&mut self, me: usize, link: u32, last: bool) {
        self.send(me, link, Sent { to: Receiver::Joiner { link }, last });
    }

    fn send(&mut self, me: usize, recipient: u32, sent: Sent) {
        let payload = Payload { from: me, nth: self.sent.len() };
        self.sent.push(sent);
        self.peer.send_content(recipient, sent.last, payload.encode());
    }

    pub(crate) fn answers(&self) -> impl Iterator<Item = bool> + '_ {
        self.peer.seen.iter().filter_map(|(_, seen)| if let Seen::Answer(member) = seen { Some(*member) } else { None })
    }

    /// Returns whether each `connect` of the peer was answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.answers().count() == self.connects.len()
    }

    /// Returns the number of the `connect` that has made the link on which the peer, as a joiner, sends content after
    /// this number of `connect` messages. `None` if there is no such link, or if an answer is missing.
    pub(crate) fn bound_by(&self, connects: usize) -> Option<usize> {
        let answers: Vec<_> = self.answers().take(connects).collect();
        if answers.len() < connects {
            return None;
        }
        answers.iter().rposition(|member| !member)
    }

    /// Returns the number of the `connect` that has made the peer's present link as a joiner. The link may have ended.
    pub(crate) fn bound_now(&self) -> Option<usize> {
        self.bound_by(self.connects.len())
    }

    /// Checks the answers, and the code with which the hub has closed the peer.
    pub(crate) fn check_answers_and_close(&self) -> Result<(), String> {
        let (answers, connects) = (self.answers().count(), self.connects.len());
        if answers > connects || (answers < connects && self.peer.is_connected()) {
            return Err(format!("{answers} answers to {connects} connects"));
        }
        let (at, end) = match self.peer.seen.last() {
            Some((at, end @ (Seen::Closed(..) | Seen::Lost))) => (*at, end),
            _ => return Ok(()),
        };
        match end {
            Seen::Lost if self.has_crashed => Ok(()),
            Seen::Closed(4744, _) if connects > 0 => Ok(()),
            Seen::Closed(1013, _) if answers < connects => {
                let waited = at - self.connects[answers];
                let is_late = waited >= Duration::from_secs(15);
                is_late.then_some(()).ok_or(format!("closed with 1013 after its connect has waited for {waited:?}"))
            }
            other => Err(format!("the connection has ended with {other:?}")),
        }
    }

    /// Checks that no answer came after the time in which the hub closes a peer without one.
    pub(crate) fn check_answer_times(&self) -> Result<(), String> {
        let mut read_at = None;
        let answers = self.peer.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Answer(_)));
        for ((answered_at, _), &sent_at) in answers.zip(&self.connects) {
            // The hub reads a `connect` after the answer to the one before it.
            let waited = *answered_at - read_at.map_or(sent_at, |read_at| sent_at.max(read_at));
            if waited > Duration::from_secs(17) {
                return Err(format!("a connect has waited for {waited:?}"));
            }
            read_at = Some(*answered_at);
        }
        Ok(())
    }

    /// Returns the time at which the peer was evicted.
    pub(crate) fn evicted_at(&self) -> Option<Instant> {
        self.peer.seen.last().and_then(|(at, seen)| matches!(seen, Seen::Closed(4744, _)).then_some(*at))
    }

    /// Returns whether the peer can have evicted a member before a time: it was bound, and sent another `connect`.
    pub(crate) fn can_have_evicted(&self, before: Instant) -> bool {
        let bound = self.answers().position(|member| !member);
        bound.is_some_and(|bound| self.connects.get(bound + 1).is_some_and(|&sent| sent <= before))
    }
}

impl Payload {
    fn encode(self) -> Bytes {
        let number = |number: usize| u16::try_from(number).expect("few peers and contents").to_be_bytes();
        [number(self.from), number(self.nth)].concat().into()
    }

    pub(crate) fn decode(data: &Bytes) -> Self {
        let data: [u8; 4] = data[..].try_into().expect("content of a participant");
        let number = |high, low| usize::from(u16::from_be_bytes([high, low]));
        Self { from: number(data[0], data[1]), nth: number(data[2], data[3]) }
    }
}
