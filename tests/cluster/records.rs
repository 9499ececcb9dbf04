//! Batches that no node of this version sends.

use bytes::Bytes;
use sigver::GroupKey;
use sigver::cluster::{Backplane as _, GroupTag, NodeId};

use crate::cluster::{Cluster, assert_linked, settle};

/// A node that is not in the cluster.
const STRANGER: NodeId = NodeId(42);

/// Puts bytes into the inbox of node 0.
async fn inject(cluster: &Cluster, bytes: impl Into<Bytes>) {
    cluster.engine.send(cluster.tap(0).node(), bytes.into()).await.expect("the engine works");
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn batch_of_an_unknown_version_ends_the_links_with_its_sender_and_no_others() {
    let cluster = Cluster::start(3).await;
    let member = cluster.member(0, 1, &[]).await;
    let [joiner, other] = [cluster.joiner(1, 2).await, cluster.joiner(2, 3).await];
    let sender = cluster.tap(1).node().0.to_be_bytes();
    let mut batch = vec![99];
    batch.extend(sender);
    batch.extend([7; 40]);
    inject(&cluster, batch).await;
    assert_eq!(member.take(), ["joiner: end"]);
    assert_eq!(joiner.take(), ["member: end"]);
    assert_linked(&other, &member).await;
    let next = cluster.joiner(1, 4).await;
    assert_linked(&next, &member).await;
    drop((member, joiner, other, next));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn hostile_batches_end_no_link_of_other_nodes_and_stop_no_node() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    let unknown = 42_u64.to_be_bytes();
    let me = cluster.tap(0).node().0.to_be_bytes();
    for sender in [unknown, me] {
        for count in [0_u32, 1, u32::MAX] {
            let envelope = [&[1][..], &sender, &u64::MAX.to_be_bytes(), &count.to_be_bytes()].concat();
            for length in 0..envelope.len() {
                inject(&cluster, envelope[..length].to_vec()).await;
            }
            for kind in 0..=11 {
                // A record with an enormous length.
                let record = [&envelope[..], &[kind], &[0xFF; 64]].concat();
                inject(&cluster, record).await;
            }
        }
    }
    assert_linked(&joiner, &member).await;
    let next = cluster.joiner(1, 3).await;
    assert_linked(&next, &member).await;
    drop((member, joiner, next));
    cluster.finish().await;
}

/// Returns a batch of one record, which the stranger sends.
fn batch_of_stranger(number: u64, record: &[u8]) -> Vec<u8> {
    [&[1][..], &STRANGER.0.to_be_bytes(), &number.to_be_bytes(), &1_u32.to_be_bytes(), record].concat()
}

#[tokio::test(start_paused = true)]
async fn records_of_a_node_about_a_link_of_another_node_have_no_effect() {
    let cluster = Cluster::start(2).await;
    let member = cluster.member(0, 1, &[]).await;
    let joiner = cluster.joiner(1, 2).await;
    joiner.send_content(0, "offer");
    settle().await;
    let (link, _) = member.take_link();
    let group = GroupTag::new(&GroupKey::new("K").expect("a valid key")).to_bytes();
    let member_peer = cluster.nodes[0].hub.peers("K")[0].id.0;
    let names_link = |kind: u8| [&[kind][..], &group, &link.to_be_bytes()].concat();

    // A bind with a link id that is in use is answered with the end of that link.
    let peers = [&9_u64.to_be_bytes()[..], &member_peer.to_be_bytes(), &1_u32.to_be_bytes()].concat();
    inject(&cluster, batch_of_stranger(0, &[names_link(1), peers].concat())).await;
    let replies = cluster.engine.connect().recv(STRANGER).await.expect("the engine works");
    assert!(replies[0].ends_with(&[names_link(3), vec![1]].concat()), "{replies:?}");

    let content = [&[0, 0][..], &1_u32.to_be_bytes(), b"x"].concat();
    for (number, record) in [
        [names_link(2), content].concat(),
        [names_link(3), vec![0]].concat(),
        [names_link(3), vec![1]].concat(),
        names_link(4),
        [names_link(5), 7_u32.to_be_bytes().to_vec()].concat(),
        vec![10],
    ]
    .into_iter()
    .enumerate()
    {
        inject(&cluster, batch_of_stranger(1 + number as u64, &record)).await;
        assert!(member.take().is_empty() && joiner.take().is_empty(), "{record:?}");
    }
    assert_linked(&joiner, &member).await;
    drop((member, joiner));
    cluster.finish().await;
}
