//! The part of one node in the member list of a group: one step at a time, and one answer for each `connect`.

use std::collections::HashMap;

use super::state::{CloseCause, ClusterGroup, Connect, Held, InFlight, Job, OutcomeUnknown, Output};
use crate::cluster::{Change, Condition, Entry, MemberList, Step, StepResult, Token};
use crate::protocol::{ConnectRequest, Decision, LinkId, MemberId, PeerId, decide};

impl ClusterGroup {
    /// Queues a `connect` of a local peer. `new_link` and `stand_in` are new ids, for the link that it may create and
    /// for the remote end of that link. The caller must not pass the peer's next request before the answer.
    pub(crate) fn connect(
        &mut self,
        peer: PeerId,
        id: MemberId,
        named: Vec<MemberId>,
        new_link: LinkId,
        stand_in: PeerId,
        out: &mut Vec<Output>,
    ) {
        let local = self.local_mut(peer).unwrap_or_else(|| panic!("{peer:?} is not a local peer"));
        if local.closing {
            return out.push(Output::ReleaseLink(new_link));
        }
        local.held = Some(Held::default());
        let (asked, unresolved, attempted, seen_by_others) = (false, None, false, false);
        let connect = Connect { peer, id, named, new_link, stand_in, asked, unresolved, attempted, seen_by_others };
        self.jobs.push_back(Job::Connect(connect));
    }

    /// Queues a look at the list. All looks that wait are one.
    pub(crate) fn look(&mut self) {
        if !self.jobs.iter().any(|job| matches!(job, Job::Look { asked: false })) {
            self.jobs.push_back(Job::Look { asked: false });
        }
    }

    /// Reads the list, and puts the entries of all local members again, so that the list does not expire.
    pub(crate) fn audit(&mut self) {
        self.audit_due = true;
    }

    /// Returns whether [`ClusterGroup::next_step`] may return a step.
    pub(crate) fn has_work(&self) -> bool {
        let has_work = !self.jobs.is_empty() || !self.removals.is_empty() || self.has_lost_members || self.audit_due;
        self.in_flight.is_none() && has_work
    }

    /// Returns the next step to send, if none is in flight and something waits. `random` returns new random numbers.
    /// The caller passes the outcome to [`ClusterGroup::reply`].
    pub(crate) fn next_step(&mut self, mut random: impl FnMut() -> u64) -> Option<Step> {
        if self.in_flight.is_some() {
            return None;
        }
        let (nonce, mut lineage) = (random(), random());
        let (in_flight, condition, changes) = self.plan(nonce, &mut lineage)?;
        if let (InFlight::Change(_), Some(Job::Connect(connect))) = (&in_flight, self.jobs.front_mut()) {
            connect.attempted = true;
        }
        self.in_flight = Some(in_flight);
        for job in &mut self.jobs {
            let (Job::Connect(Connect { asked, .. }) | Job::Look { asked }) = job;
            *asked = true;
        }
        Some(Step {
            seen: self.copy.version(),
            condition,
            changes,
            nonce,
            lineage,
            max_members: self.rules.max_members,
        })
    }

    /// Applies the reply to the step in flight.
    ///
    /// # Panics
    /// If no step is in flight. This is a bug in the caller.
    pub(crate) fn reply(&mut self, reply: Result<MemberList, OutcomeUnknown>, out: &mut Vec<Output>) {
        let mut in_flight = self.in_flight.take().expect("a reply follows a step");
        if std::mem::take(&mut self.in_flight_is_void) && !matches!(in_flight, InFlight::Removals(_)) {
            in_flight = InFlight::Look;
        }
        let Ok(list) = reply else { return self.repeat(in_flight) };
        if self.copy.update(&list) {
            for peer in self.links.all_peers() {
                if let Some(local) = self.local_mut(peer) {
                    local.search.rewind();
                }
            }
        }
        match in_flight {
            InFlight::Change(decision) => match list.result {
                StepResult::Applied => self.finish(decision, out),
                StepResult::ConditionFailed => {}
                StepResult::Full => self.drop_first(CloseCause::GroupFull, out),
            },
            InFlight::Resolve(decision) => self.resolve(decision, out),
            InFlight::Returns { nonce } => match list.result {
                StepResult::Full => self.close_members_without_room(out),
                // Entries that are put again as they are do not change the list.
                _ => self.repairs.put_back += u64::from(list.version.is_some_and(|version| version.nonce == nonce)),
            },
            InFlight::Look | InFlight::Removals(_) => {}
        }
        self.reconcile(out);
        self.answer_asked(out);
    }

    /// Removes the jobs of a peer that leaves, but not the one that the step in flight is for.
    pub(super) fn drop_jobs(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        let mut in_flight = self.in_flight.is_some();
        self.jobs.retain(|job| {
            let is_first = std::mem::take(&mut in_flight);
            match job {
                Job::Connect(connect) if connect.peer == peer && !is_first => {
                    out.push(Output::ReleaseLink(connect.new_link));
                    false
                }
                _ => true,
            }
        });
    }

    /// Returns whether a `connect` of a peer waits.
    pub(super) fn has_connect(&self, peer: PeerId) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Connect(connect) if connect.peer == peer))
    }

    /// Notes that another node knows a local peer as a member.
    pub(super) fn note_seen(&mut self, peer: PeerId) {
        for job in &mut self.jobs {
            if let Job::Connect(connect) = job {
                connect.seen_by_others |= connect.attempted && connect.peer == peer;
            }
        }
    }

    /// Removes the entries of dead nodes at the next step.
    pub(super) fn remove_dead_members(&mut self) {
        let dead = self.copy.entries().map(|entry| entry.token).filter(|token| self.dead.contains(&token.node));
        let mut dead: Vec<_> = dead.filter(|token| !self.removals.contains(token)).collect();
        dead.sort_unstable();
        self.repairs.removed += dead.len() as u64;
        self.removals.append(&mut dead);
    }

    /// Returns what the step with this nonce does. Sets the lineage that it gives to a list that it founds.
    fn plan(&mut self, nonce: u64, lineage: &mut u64) -> Option<(InFlight, Condition, Vec<Change>)> {
        if let Some(Job::Connect(Connect { unresolved, .. })) = self.jobs.front_mut()
            && let Some(decision) = unresolved.take()
        {
            return Some((InFlight::Resolve(decision), Condition::Always, vec![]));
        }
        if let Some((returning, known)) = self.returning_members() {
            *lineage = known;
            return Some((InFlight::Returns { nonce }, Condition::LineageOrAbsent(known), returning));
        }
        if !self.removals.is_empty() {
            let removals = std::mem::take(&mut self.removals);
            let changes = removals.iter().map(|&token| Change::Remove(token)).collect();
            return Some((InFlight::Removals(removals), Condition::Always, changes));
        }
        if std::mem::take(&mut self.audit_due) {
            let Some((entries, known)) = self.audited_members() else {
                return Some((InFlight::Look, Condition::Always, vec![]));
            };
            *lineage = known;
            return Some((InFlight::Returns { nonce }, Condition::LineageOrAbsent(known), entries));
        }
        match self.jobs.front()? {
            Job::Look { .. } => Some((InFlight::Look, Condition::Always, vec![])),
            Job::Connect(connect) => {
                let Some(decision) = self.decide(connect) else {
                    return Some((InFlight::Look, Condition::Always, vec![]));
                };
                let Some((condition, changes)) = self.changes(connect, decision) else {
                    return Some((InFlight::Look, Condition::Always, vec![]));
                };
                Some((InFlight::Change(decision), condition, changes))
            }
        }
    }

    /// Decides a `connect` on the copy. `None` if the peer has left or is being closed.
    pub(super) fn decide(&self, connect: &Connect) -> Option<Decision<Token>> {
        let local = self.local(connect.peer).filter(|local| !local.closing)?;
        let request = ConnectRequest {
            peer: self.token(connect.peer),
            named: &connect.named,
            now: self.copy.now(),
            eviction_min_age: self.rules.eviction_min_age,
        };
        Some(decide(self.copy.members(), &local.search, request))
    }

    /// Returns what a decision changes in the list, and the condition under which the decision is right. `None` if it
    /// changes nothing.
    pub(super) fn changes(&self, connect: &Connect, decision: Decision<Token>) -> Option<(Condition, Vec<Change>)> {
        let token = self.token(connect.peer);
        let entry = self.copy.entry(token);
        let favored = self.local(connect.peer).is_some_and(|local| local.favored);
        let add = Change::Add { token, id: connect.id, favored };
        match decision {
            Decision::Keep => None,
            Decision::MakeMember if entry.is_some_and(|entry| entry.id == connect.id) => None,
            Decision::MakeMember => {
                // Rule 3 needs no version: it is right as long as another member that the peer names is in the list.
                // A member that names only itself may be the only one by now, so that rule 2 applies.
                let witness = self.copy.members().with_ids(&connect.named).find(|member| member.peer != token);
                let witness = witness.and_then(|member| self.copy.entry(member.peer));
                Some((witness.map_or(Condition::Unchanged, Condition::Witness), vec![add]))
            }
            Decision::EvictAndMakeMember(blocking) => Some((Condition::Unchanged, vec![Change::Remove(blocking), add])),
            Decision::Bind(_) => entry.map(|_| (Condition::Unchanged, vec![Change::Remove(token)])),
        }
    }

    /// Plans a step again whose outcome is unknown.
    fn repeat(&mut self, in_flight: InFlight) {
        match in_flight {
            InFlight::Change(decision) | InFlight::Resolve(decision) => {
                let Some(Job::Connect(connect)) = self.jobs.front_mut() else {
                    unreachable!("the first job is a connect until its step has a reply");
                };
                connect.unresolved = Some(decision);
            }
            InFlight::Removals(mut tokens) => {
                tokens.append(&mut self.removals);
                self.removals = tokens;
            }
            InFlight::Look | InFlight::Returns { .. } => {}
        }
    }

    /// Compares the list with the local peers: removes entries without a member, puts lost members back, and closes
    /// evicted ones.
    fn reconcile(&mut self, out: &mut Vec<Output>) {
        self.remove_dead_members();
        self.has_lost_members = false;
        let mut own: Vec<_> = self.copy.entries().filter(|entry| entry.token.node == self.me).collect();
        own.sort_unstable_by_key(|entry| entry.token);
        let lineage = self.copy.lineage();
        for entry in own {
            let member = self.local_mut(entry.token.peer).and_then(|local| local.membership.as_mut());
            if let (Some(membership), Some(lineage)) = (member, lineage) {
                *membership = (entry, lineage);
            } else if !self.removals.contains(&entry.token) {
                self.repairs.removed += 1;
                self.removals.push(entry.token);
            }
        }
        for peer in self.links.all_peers() {
            let Some((_, known)) = self.local(peer).and_then(|local| local.membership) else { continue };
            if self.returning(peer).is_some() {
                if lineage.is_some_and(|lineage| lineage != known) {
                    self.repairs.other_lineage += 1;
                    self.evict(peer, out);
                } else {
                    self.has_lost_members = true;
                }
            }
        }
    }

    /// Closes the local members that the list has lost and that do not fit into it any more: those with the last
    /// positions.
    fn close_members_without_room(&mut self, out: &mut Vec<Output>) {
        let lost = self.lost_members();
        let room = self.rules.max_members.saturating_sub(self.copy.members().len());
        for (entry, _) in lost.into_iter().skip(room) {
            let peer = entry.token.peer;
            self.close(peer, CloseCause::GroupFull, out);
            if let Some(local) = self.local_mut(peer) {
                local.membership = None;
            }
        }
    }

    /// Returns the entry of a local member if the list has lost it, or if a late step has set an earlier id in the
    /// list.
    fn returning(&self, peer: PeerId) -> Option<(Entry, u64)> {
        let (entry, lineage) = self.local(peer)?.membership?;
        let entry = Entry { id: self.links.joined(peer).id, ..entry };
        let is_listed = |listed: Entry| listed.id == entry.id || self.has_connect(peer);
        (!self.copy.entry(entry.token).is_some_and(is_listed)).then_some((entry, lineage))
    }

    /// Returns the local members that [`ClusterGroup::returning`] returns, in the order of their positions.
    fn lost_members(&self) -> Vec<(Entry, u64)> {
        let mut lost: Vec<_> = self.links.all_peers().into_iter().filter_map(|peer| self.returning(peer)).collect();
        lost.sort_unstable_by_key(|(entry, _)| entry.position);
        lost
    }

    /// Returns the changes that put back the local members that the list has lost, and their lineage.
    pub(super) fn returning_members(&self) -> Option<(Vec<Change>, u64)> {
        if !self.has_lost_members {
            return None;
        }
        let lost = self.lost_members();
        let &(_, lineage) = lost.first()?;
        Some((self.puts(&lost, lineage), lineage))
    }

    /// Returns the changes that put the entries of all local members again, and their lineage. `None` if there is no
    /// such member.
    fn audited_members(&self) -> Option<(Vec<Change>, u64)> {
        let entry = |peer| {
            let (entry, lineage) = self.local(peer)?.membership?;
            Some((Entry { id: self.links.joined(peer).id, ..entry }, lineage))
        };
        let mut members: Vec<_> = self.links.all_peers().into_iter().filter_map(entry).collect();
        members.sort_unstable_by_key(|(entry, _)| entry.position);
        let &(_, lineage) = members.first()?;
        Some((self.puts(&members, lineage), lineage))
    }

    /// Returns the changes that put the entries with this lineage. They also remove an entry of a dead node at the same
    /// position: that of the same peer, if this node has a new incarnation.
    fn puts(&self, entries: &[(Entry, u64)], lineage: u64) -> Vec<Change> {
        let dead = self.copy.entries().filter(|entry| self.dead.contains(&entry.token.node));
        let dead: HashMap<_, _> = dead.map(|entry| (entry.position, Change::Remove(entry.token))).collect();
        let entries = entries.iter().filter(|(_, known)| *known == lineage);
        entries
            .flat_map(|&(entry, _)| dead.get(&entry.position).copied().into_iter().chain([Change::Put(entry)]))
            .collect()
    }
}
