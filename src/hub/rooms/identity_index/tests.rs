//! Tests of the index of identities.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);
const CODE: CloseCode = CloseCode::app(4001);

fn index() -> Arc<IdentityIndex> {
    Arc::new(IdentityIndex::new(&Config { admission_timeout: TIMEOUT, ..Config::default() }))
}

fn insert(index: &Arc<IdentityIndex>, identity: &str, peer: u64, close_count: u64) -> IdentityEntry {
    let outbox = Outbox::new(Arc::default());
    index.insert(&identity.into(), || PeerId(peer), outbox, close_count).expect("no limit is reached")
}

fn close(index: &IdentityIndex, identity: &str, at: Duration) -> usize {
    index.close(identity, &CODE.into(), at)
}

fn is_closed(entry: &IdentityEntry) -> bool {
    entry.outbox().close_code().is_some()
}

#[test]
fn close_reaches_the_peers_of_the_identity_until_they_leave() {
    let index = index();
    let [first, second, other] =
        [("alice", 0), ("alice", 1), ("bob", 2)].map(|(identity, peer)| insert(&index, identity, peer, 0));
    assert_eq!(close(&index, "alice", TIMEOUT), 2);
    assert!(is_closed(&first) && is_closed(&second) && !is_closed(&other));
    drop(first);
    assert_eq!(close(&index, "alice", TIMEOUT), 1);
    drop(second);
    assert_eq!((close(&index, "alice", TIMEOUT), close(&index, "nobody", TIMEOUT)), (0, 0));
}

#[test]
fn peer_whose_admission_began_before_the_close_is_closed_and_a_later_one_is_not() {
    let index = index();
    let before = index.close_count();
    assert_eq!(close(&index, "alice", TIMEOUT), 0);
    assert!(is_closed(&insert(&index, "alice", 0, before)));
    assert!(!is_closed(&insert(&index, "bob", 1, before)));
    let after = index.close_count();
    assert!(!is_closed(&insert(&index, "alice", 2, after)));
    // Other closes do not hide this one.
    for other in 0..1000 {
        close(&index, &other.to_string(), 2 * TIMEOUT);
    }
    assert!(is_closed(&insert(&index, "alice", 3, before)));
    assert!(!is_closed(&insert(&index, "alice", 4, after)));
}

#[test]
fn admission_that_began_between_two_closes_is_reached_by_the_second() {
    let index = index();
    close(&index, "alice", TIMEOUT);
    let between = index.close_count();
    close(&index, "alice", TIMEOUT);
    assert!(is_closed(&insert(&index, "alice", 0, between)));
}

fn limited(max: usize, at_limit: AtLimit) -> Arc<IdentityIndex> {
    let config = Config { max_peers_per_identity: Some((max, at_limit)), ..Config::default() };
    Arc::new(IdentityIndex::new(&config))
}

#[test]
fn peer_over_the_limit_is_rejected_until_another_one_leaves() {
    let index = limited(2, AtLimit::RejectNew);
    let [first, _second] = [0, 1].map(|peer| insert(&index, "alice", peer, 0));
    let third = |peer| index.insert(&"alice".into(), || PeerId(peer), Outbox::new(Arc::default()), 0);
    let rejection = third(2).expect_err("the limit is reached");
    assert_eq!(rejection.close_code(), CloseCode::TryAgainLater);
    assert_eq!(rejection.reason(), "peer limit of the identity reached (2)");
    insert(&index, "bob", 3, 0);
    first.replace_oldest();
    assert!(!is_closed(&first));
    drop(first);
    assert!(third(4).is_ok());
}

#[test]
fn newer_peer_replaces_the_oldest_once_it_has_joined() {
    let index = limited(2, AtLimit::ReplaceOldest);
    let peers = [0, 1, 2, 3].map(|peer| insert(&index, "alice", peer, 0));
    let closed = || peers.each_ref().map(is_closed);
    peers[1].replace_oldest();
    assert_eq!(closed(), [false; 4], "two of four have not joined yet");
    peers[3].replace_oldest();
    assert_eq!(closed(), [true, true, false, false]);
    assert_eq!(peers[0].outbox().close_code(), Some(CloseCode::Policy));
    peers[1].replace_oldest();
    peers[2].replace_oldest();
    assert_eq!(closed(), [true, true, false, false], "a replaced peer replaces nobody");
    // The replaced peers have not left yet, and no longer count.
    let next = insert(&index, "alice", 4, 0);
    next.replace_oldest();
    assert_eq!((closed(), is_closed(&next)), ([true, true, true, false], false));
    drop(peers);
    assert_eq!(close(&index, "alice", TIMEOUT), 1);
}

#[test]
fn peer_that_is_admitted_later_does_not_count_for_an_earlier_one() {
    let index = limited(2, AtLimit::ReplaceOldest);
    let peers = [0, 1, 2, 3].map(|peer| insert(&index, "alice", peer, 0));
    peers[2].replace_oldest();
    assert_eq!(peers.each_ref().map(is_closed), [true, false, false, false]);
}

#[test]
fn peer_that_is_closed_and_has_not_left_costs_no_other_peer_its_place() {
    let index = limited(2, AtLimit::ReplaceOldest);
    let [first, second, third] = [0, 1, 2].map(|peer| insert(&index, "alice", peer, 0));
    second.outbox().close(CODE.into());
    third.replace_oldest();
    assert!(!is_closed(&first) && !is_closed(&third));
    let fourth = insert(&index, "alice", 3, 0);
    fourth.outbox().close(CODE.into());
    fourth.replace_oldest();
    assert!(!is_closed(&first), "a closed peer replaces nobody");
}

#[test]
fn identities_and_closes_that_are_over_leak_no_memory() {
    let index = index();
    let entries: Vec<_> = (0..100_000).map(|peer| insert(&index, &peer.to_string(), peer, 0)).collect();
    for second in 0..100 {
        for identity in 0..1000 {
            close(&index, &format!("{second}-{identity}"), Duration::from_secs(second));
        }
    }
    drop(entries);
    let tables: Vec<_> = index.shards.iter().map(|shard| shard.0.lock().expect("no panic")).collect();
    assert!(tables.iter().all(|table| table.peers.capacity() <= 8 * KEPT_CAPACITY));
    // 10 s of closes, and as many again until the next clean-up.
    let closes = tables.iter().map(|table| table.closed.len()).sum::<usize>();
    assert!(closes <= 2 * 11_000 + KEPT_CAPACITY * tables.len(), "{closes}");
}

#[cfg(shuttle)]
mod interleavings {
    use shuttle::thread;

    use super::*;
    use crate::hub::interleavings::check_many;
    use crate::hub::sync::switch_point;

    #[test]
    fn close_reaches_a_peer_that_is_admitted_meanwhile() {
        check_many(|| {
            let index = index();
            let before = index.close_count();
            let closing = index.clone();
            let close = thread::spawn(move || close(&closing, "alice", TIMEOUT));
            let peer = insert(&index, "alice", 0, before);
            close.join().expect("the thread does not panic");
            assert!(is_closed(&peer));
        });
    }

    #[test]
    fn only_the_newest_of_several_joining_peers_is_not_replaced() {
        check_many(|| {
            let index = limited(1, AtLimit::ReplaceOldest);
            let next = Arc::new(AtomicU64::new(0));
            let peers = [(); 3].map(|()| {
                let (index, next) = (index.clone(), next.clone());
                thread::spawn(move || {
                    let next_peer = || PeerId(next.fetch_add(1, Ordering::SeqCst));
                    let peer = index.insert(&"alice".into(), next_peer, Outbox::new(Arc::default()), 0);
                    let peer = peer.expect("no peer is rejected");
                    switch_point();
                    peer.replace_oldest();
                    peer
                })
            });
            let peers = peers.map(|peer| peer.join().expect("the thread does not panic"));
            let open: Vec<_> = peers.iter().filter(|peer| !is_closed(peer)).map(IdentityEntry::peer).collect();
            assert_eq!(open, [PeerId(2)]);
        });
    }
}
