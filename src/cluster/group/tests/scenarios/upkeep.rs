//! Audits, new incarnations of this node, peers that fill an outbox of another node, and groups that are given up.

use super::*;

impl Cluster {
    /// Gives node 0 a new incarnation, with a number that no node of the test has.
    fn new_incarnation(&mut self) {
        let mut out = Vec::new();
        self.nodes[0].new_incarnation(NodeId(9), Arc::new([NodeId(0)].into()), &mut out);
        self.apply(0, out);
    }

    /// Sends the steps of node 0 until it has none.
    fn settle_steps(&mut self) {
        while let Some(step) = self.next_step(0) {
            let list = self.engine.step(tag(), &step, Duration::ZERO);
            self.reply(0, Ok(list));
        }
    }

    fn tokens(&mut self) -> Vec<(u64, u64, u64)> {
        self.nodes[1].look();
        self.step_and_reply(1);
        let mut tokens: Vec<_> = self.nodes[1].copy.entries().collect();
        tokens.sort_unstable_by_key(|entry| entry.position);
        tokens.into_iter().map(|entry| (entry.position, entry.token.node.0, entry.token.peer.0)).collect()
    }

    fn step_and_reply(&mut self, node: usize) -> Step {
        let (step, list) = self.step(node);
        self.reply(node, Ok(list));
        step
    }
}

#[test]
fn audit_puts_the_entries_of_all_local_members_again() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    cluster.handle(connect(2, &[100]));
    cluster.nodes[0].audit();
    let step = cluster.step_and_reply(0);
    let put = |change: &Change| match change {
        Change::Put(entry) => (entry.position, entry.token.peer.0, entry.id.0),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(step.changes.iter().map(put).collect::<Vec<_>>(), [(1, 0, 100), (3, 2, 102)]);
    assert!(matches!(step.condition, Condition::LineageOrAbsent(_)));
    assert!(cluster.next_step(0).is_none(), "an audit is one step");
}

#[test]
fn audit_without_members_reads_the_list() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(0, &[]));
    cluster.nodes[0].audit();
    let step = cluster.step_and_reply(0);
    assert_eq!((step.changes, step.condition), (vec![], Condition::Always));
}

#[test]
fn audit_finds_a_member_that_another_node_has_evicted() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.start(connect(1, &[]));
    cluster.step_and_reply(1);
    // The hint is lost.
    cluster.records.clear();
    cluster.seen.clear();
    cluster.nodes[0].audit();
    cluster.step_and_reply(0);
    assert_eq!(cluster.seen(0), [CLOSED]);
    assert_eq!(cluster.listed(), [(1, 101)]);
}

#[test]
fn members_keep_their_positions_in_a_new_incarnation() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[100]));
    cluster.handle(connect(2, &[100]));
    cluster.seen.clear();
    cluster.new_incarnation();
    cluster.settle_steps();
    assert_eq!(cluster.tokens(), [(1, 9, 0), (2, 1, 1), (3, 9, 2)]);
    assert!(cluster.seen.is_empty(), "{:?}", cluster.seen);
}

#[test]
fn only_member_keeps_its_lineage_in_a_new_incarnation() {
    let mut cluster = two_nodes([0]);
    cluster.handle(connect(0, &[]));
    let lineage = cluster.nodes[0].copy.lineage();
    cluster.new_incarnation();
    let step = cluster.step_and_reply(0);
    assert_eq!(step.changes.len(), 2, "the list is not absent in between: {:?}", step.changes);
    cluster.settle_steps();
    assert_eq!(cluster.nodes[0].copy.lineage(), lineage);
    assert_eq!(cluster.listed(), [(0, 100)]);
}

#[test]
fn links_to_other_nodes_end_in_a_new_incarnation_and_local_links_stay() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(2, &[]));
    cluster.seen.clear();
    cluster.new_incarnation();
    assert_eq!(cluster.seen(0), [from_joiner(1, "")]);
    assert!(cluster.nodes[0].stand_ins.is_empty());
    cluster.settle_steps();
    cluster.start(content(2, 0, "x"));
    assert_eq!(cluster.seen(0), [from_joiner(2, "x")]);
}

#[test]
fn connect_whose_step_the_old_incarnation_sent_gets_one_answer() {
    for is_lost in [false, true] {
        let mut cluster = two_nodes([0]);
        cluster.start(connect(0, &[]));
        let (_, list) = cluster.step(0);
        cluster.new_incarnation();
        cluster.reply(0, if is_lost { Err(OutcomeUnknown) } else { Ok(list) });
        cluster.settle_steps();
        assert_eq!(cluster.seen(0), [answer(true)], "lost: {is_lost}");
        let entry = cluster.nodes[0].copy.entries().next().expect("the peer is a member");
        assert_eq!((entry.token.node, cluster.listed()), (NodeId(9), vec![(0, 100)]), "lost: {is_lost}");
    }
}

#[test]
fn remote_peer_that_fills_an_outbox_is_closed_and_its_link_ends() {
    let mut cluster = two_nodes([0, 1]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.seen.clear();
    let stand_in = cluster.nodes[0].stand_ins[&link(1)].peer;
    let mut out = Vec::new();
    cluster.nodes[0].close_remote(stand_in, CloseCode::Policy, "too fast".into(), "rate".into(), &mut out);
    let end = Record::End { group: tag(), link: link(1), side: Side::Member };
    let (code, reason, cause) = (CloseCode::Policy, "too fast".into(), "rate".into());
    let close = Record::Close { group: tag(), peer: PeerId(1), code, reason, cause };
    let to = NodeId(1);
    assert!(out.contains(&Output::Record { to, record: close }), "{out:?}");
    assert!(!out.contains(&Output::Record { to, record: end }), "the peer's own leave ends its half: {out:?}");
    cluster.apply(0, out);
    assert_eq!(cluster.seen(0), [from_joiner(1, "")]);
    let mut again = Vec::new();
    cluster.nodes[0].close_remote(stand_in, CloseCode::Policy, "too fast".into(), "rate".into(), &mut again);
    assert_eq!(again, []);
}

#[test]
fn content_has_its_sender_for_the_receivers_outbox() {
    let mut cluster = two_nodes([0, 1, 2]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(2, &[]));
    let stand_in = cluster.nodes[0].stand_ins[&link(1)].peer;
    let mut out = Vec::new();
    let data = Record::Data { group: tag(), link: link(1), side: Side::Joiner, last: false, bytes: "x".into() };
    cluster.nodes[0].receive(NodeId(1), data, PeerId(77), &mut out);
    cluster.nodes[0].content(PeerId(2), 0, false, "y".into(), &mut out);
    let senders: Vec<_> = out
        .iter()
        .map(|output| match output {
            Output::Send { to: PeerId(0), sender, .. } => *sender,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(senders, [stand_in, PeerId(2)]);
}

#[test]
fn abandoned_group_ends_its_links_to_other_nodes_and_releases_its_link_ids() {
    let mut cluster = two_nodes([0, 1, 2, 4]);
    cluster.handle(connect(0, &[]));
    cluster.handle(connect(1, &[]));
    cluster.handle(connect(2, &[]));
    cluster.start(connect(4, &[]));
    let end = Output::Record { to: NodeId(1), record: Record::End { group: tag(), link: link(1), side: Side::Member } };
    let mut outputs = cluster.nodes[0].abandon();
    assert_eq!(outputs.remove(0), end);
    assert_eq!(outputs, [Output::ReleaseLink(link(2)), Output::ReleaseLink(link(4))]);
}
