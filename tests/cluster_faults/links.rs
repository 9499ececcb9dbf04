//! The links of a run, reconstructed from what the peers have sent and received, and what must be true for each.

use std::collections::BTreeMap;

use crate::participant::{Participant, Payload, Receiver};
use crate::peer::{Seen, Side};

/// The links of a run. A joiner and the number of its `connect` identify a link.
#[derive(Default)]
pub(crate) struct Links {
    links: BTreeMap<(usize, usize), Link>,
    /// The link that has an id at a member.
    by_member: BTreeMap<(usize, u32), (usize, usize)>,
    /// Contents of which a peer was the sender when its last `connect` had no answer: nothing tells on which link it
    /// was. Each is received at most once.
    unattributed: Vec<Payload>,
}

/// One link, as far as its ends know it.
#[derive(Debug, Default)]
struct Link {
    id: Option<u32>,
    /// The member that has received content, and its id of the link.
    member: Option<usize>,
    /// The numbers of the contents that each end has received, among the contents that the other end has sent.
    by_joiner: Vec<usize>,
    by_member: Vec<usize>,
    joiner_told: bool,
    member_told: bool,
}

impl Links {
    /// Reconstructs the links.
    ///
    /// # Errors
    /// What a peer has received and should not have.
    pub(crate) fn new(participants: &[Participant]) -> Result<Self, String> {
        let mut links = Self::default();
        for (joiner, participant) in participants.iter().enumerate() {
            for (nth, member) in participant.answers().enumerate() {
                if !member {
                    links.links.insert((joiner, nth), Link::default());
                }
            }
        }
        for peer in 0..participants.len() {
            links.read_as_member(participants, peer).map_err(|error| format!("peer {peer}, {error}"))?;
        }
        for peer in 0..participants.len() {
            links.read_as_joiner(participants, peer).map_err(|error| format!("peer {peer}, {error}"))?;
        }
        Ok(links)
    }

    /// Reads what a peer has received from its joiners.
    fn read_as_member(&mut self, participants: &[Participant], peer: usize) -> Result<(), String> {
        let mut ended = Vec::new();
        for (_, seen) in &participants[peer].peer.seen {
            let Seen::Content { side: Side::Joiner, link: id, data } = seen else { continue };
            if data.is_empty() {
                ended.push(*id);
                continue;
            }
            if ended.contains(id) {
                return Err(format!("link {id}: content after the end"));
            }
            let payload = Payload::decode(data);
            let sender = &participants[payload.from];
            let (Receiver::Member { connects } | Receiver::MemberWithId { connects }) = sender.sent[payload.nth].to
            else {
                return Err(format!("link {id}: {payload:?} was sent to a joiner"));
            };
            if sender.group != participants[peer].group {
                return Err(format!("link {id}: {payload:?} is of another group"));
            }
            if sender.answers().count() < connects {
                if self.unattributed.contains(&payload) {
                    return Err(format!("link {id}: {payload:?} was received twice"));
                }
                self.unattributed.push(payload);
                continue;
            }
            let Some(bound_by) = sender.bound_by(connects) else {
                return Err(format!("link {id}: {payload:?} was sent by a peer without a link"));
            };
            let key = (payload.from, bound_by);
            let link = self.links.get_mut(&key).expect("each answer false has a link");
            if *link.member.get_or_insert(peer) != peer || *link.id.get_or_insert(*id) != *id {
                return Err(format!("link {id}: {payload:?} belongs to another peer or link: {link:?}"));
            }
            if *self.by_member.entry((peer, *id)).or_insert(key) != key {
                return Err(format!("link {id} is that of two joiners or answers"));
            }
            link.by_member.push(payload.nth);
        }
        for id in ended {
            if let Some(link) = self.by_member.get(&(peer, id)) {
                self.links.get_mut(link).expect("the link is known").member_told = true;
            }
        }
        Ok(())
    }

    /// Reads what a peer has received from the members that it was bound to.
    fn read_as_joiner(&mut self, participants: &[Participant], peer: usize) -> Result<(), String> {
        let (mut answers, mut bound_by) = (0, None);
        for (_, seen) in &participants[peer].peer.seen {
            let (id, data) = match seen {
                Seen::Answer(member) => {
                    bound_by = if *member { bound_by } else { Some(answers) };
                    answers += 1;
                    continue;
                }
                Seen::Content { side: Side::Member, link, data } => (*link, data),
                _ => continue,
            };
            let Some(bound_by) = bound_by else { return Err(format!("link {id}: content before an answer")) };
            let key = (peer, bound_by);
            let link = self.links.get_mut(&key).expect("each answer false has a link");
            if *link.id.get_or_insert(id) != id {
                return Err(format!("link {id}: content while the peer is bound by {link:?}"));
            }
            if link.joiner_told {
                return Err(format!("link {id}: content or another end after the end"));
            }
            if data.is_empty() {
                link.joiner_told = true;
                continue;
            }
            let payload = Payload::decode(data);
            let sent = participants[payload.from].sent[payload.nth];
            if sent.to != (Receiver::Joiner { link: id }) {
                return Err(format!("link {id}: {payload:?} was sent as {sent:?}"));
            }
            if self.by_member.get(&(payload.from, id)) != Some(&key) {
                return Err(format!("link {id}: {payload:?} is of another link"));
            }
            link.by_joiner.push(payload.nth);
        }
        Ok(())
    }

    /// Returns whether the member of a link has answered its joiner.
    pub(crate) fn is_answered(&self, joiner: usize, bound_by: usize) -> bool {
        self.links.get(&(joiner, bound_by)).is_some_and(|link| !link.by_joiner.is_empty())
    }

    /// Checks that each link has ended only because an end has disconnected.
    ///
    /// # Errors
    /// The link that has ended although both ends are connected.
    pub(crate) fn check_ends(&self, participants: &[Participant]) -> Result<(), String> {
        let is_connected = |peer: usize| participants[peer].peer.is_connected();
        for (&(joiner, bound_by), link) in &self.links {
            let is_current = participants[joiner].bound_now() == Some(bound_by);
            let both_connected = is_current && is_connected(joiner) && link.member.is_some_and(is_connected);
            if both_connected && (link.joiner_told || link.member_told) {
                return Err(format!(
                    "link {bound_by} of joiner {joiner}, {link:?}: ended, and both ends are connected"
                ));
            }
        }
        Ok(())
    }

    /// Checks each link. Returns the number of links on which content was received in both directions at the end.
    ///
    /// # Errors
    /// What is wrong with a link.
    pub(crate) fn check(&self, participants: &[Participant]) -> Result<usize, String> {
        let mut live = 0;
        for (&(joiner, bound_by), link) in &self.links {
            let is_live = link.check(participants, joiner, bound_by);
            let is_live = is_live.map_err(|error| format!("link {bound_by} of joiner {joiner}, {link:?}: {error}"))?;
            live += usize::from(is_live);
        }
        Ok(live)
    }
}

impl Link {
    /// Checks the link, and returns whether it is in use at both ends.
    fn check(&self, participants: &[Participant], joiner: usize, bound_by: usize) -> Result<bool, String> {
        let from = &participants[joiner];
        let is_of_link = |receiver| match receiver {
            Receiver::Member { connects } | Receiver::MemberWithId { connects } => {
                from.bound_by(connects) == Some(bound_by)
            }
            Receiver::Joiner { .. } => false,
        };
        let joiner_sent = Direction::new(from, is_of_link);
        let member = self.member.map(|member| &participants[member]);
        let is_of_member = |receiver| self.id.is_some_and(|link| receiver == Receiver::Joiner { link });
        let member_sent = member.map(|member| Direction::new(member, is_of_member)).unwrap_or_default();
        joiner_sent.check_prefix(&self.by_member).map_err(|error| format!("to the member: {error}"))?;
        member_sent.check_prefix(&self.by_joiner).map_err(|error| format!("to the joiner: {error}"))?;

        let is_current = from.is_answered() && from.bound_now() == Some(bound_by);
        let has_joiner = is_current && from.peer.is_connected();
        let has_member = member.is_some_and(|member| member.peer.is_connected());
        if has_joiner && !self.joiner_told && !member_sent.ended {
            if !has_member && !joiner_sent.sent.is_empty() {
                return Err("the joiner was not told that its member has gone".into());
            }
            joiner_sent.check_complete(&self.by_member).map_err(|error| format!("to the member: {error}"))?;
            if self.member_told {
                return Err("the member was told the end, and the joiner was not".into());
            }
        }
        if has_member && !self.member_told && !joiner_sent.ended {
            if has_joiner {
                member_sent.check_complete(&self.by_joiner).map_err(|error| format!("to the joiner: {error}"))?;
                if self.joiner_told {
                    return Err("the joiner was told the end, and the member was not".into());
                }
            } else if is_current {
                return Err("the member was not told that its joiner has gone".into());
            }
        }
        Ok(has_joiner && has_member && !self.joiner_told && !self.member_told && !self.by_joiner.is_empty())
    }
}

/// The contents of one direction of a link, up to the last one.
#[derive(Default)]
struct Direction {
    sent: Vec<usize>,
    /// Contents that the receiver may have received or not.
    optional: Vec<usize>,
    /// The last content was sent.
    ended: bool,
}

impl Direction {
    fn new(sender: &Participant, is_of_link: impl Fn(Receiver) -> bool) -> Self {
        let mut direction = Self::default();
        for (nth, sent) in sender.sent.iter().enumerate().filter(|(_, sent)| is_of_link(sent.to)) {
            if let Receiver::MemberWithId { .. } = sent.to {
                direction.optional.push(nth);
            } else if !direction.ended {
                direction.sent.push(nth);
                direction.ended = sent.last;
            }
        }
        direction
    }

    /// Checks that nothing was received twice, out of order, or after something that was lost.
    fn check_prefix(&self, received: &[usize]) -> Result<(), String> {
        if received.iter().any(|nth| received.iter().filter(|other| *other == nth).count() > 1) {
            return Err(format!("content was received twice: {received:?}"));
        }
        let required = self.required(received);
        if !self.sent.starts_with(&required) {
            return Err(format!("received {required:?} of {:?}", self.sent));
        }
        Ok(())
    }

    fn check_complete(&self, received: &[usize]) -> Result<(), String> {
        let required = self.required(received);
        if required != self.sent {
            return Err(format!("received only {required:?} of {:?}", self.sent));
        }
        Ok(())
    }

    fn required(&self, received: &[usize]) -> Vec<usize> {
        received.iter().copied().filter(|nth| !self.optional.contains(nth)).collect()
    }
}
