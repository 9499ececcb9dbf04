//! Closes of an identity on all nodes.

use sigver::{CloseCode, GroupKey, HubBuilder, JoinRequest, PeerInfo};

use crate::cluster::{Cluster, SECOND, settle};

const BANNED: CloseCode = CloseCode::app(4001);

/// A hub whose clients open `IDENTITY/KEY`.
fn identities(hub: HubBuilder) -> HubBuilder {
    hub.admission(|request: JoinRequest| async move {
        let (identity, key) = request.key().as_str().split_once('/').expect("an identity and a key");
        Ok(PeerInfo::new().identity(identity).key(GroupKey::new(key)?))
    })
}

#[tokio::test(start_paused = true)]
async fn close_identity_closes_the_peers_of_the_identity_on_all_nodes() {
    let cluster = Cluster::with(3, |hub, cluster| (identities(hub), cluster)).await;
    let alices = [(0, "alice/K"), (1, "alice/K"), (1, "alice/another"), (2, "alice/K")];
    let alices = alices.map(|(node, key)| cluster.join_as(node, key));
    let bob = cluster.join_as(2, "bob/K");
    assert!(alices[0].connect(1, &[]).await);
    settle().await;
    assert_eq!(cluster.nodes[0].hub.close_identity("alice", BANNED, "banned"), 1, "the peers of this node");
    settle().await;
    for alice in &alices {
        assert_eq!(alice.take(), ["close 4001: banned"]);
    }
    assert!(bob.take().is_empty());
    let again = cluster.join_as(1, "alice/K");
    assert!(again.connect(2, &[]).await, "the identity may join again");
    // A hub without a peer of the identity closes it as well.
    assert_eq!(cluster.nodes[0].hub.close_identity("bob", BANNED, ""), 0);
    settle().await;
    assert_eq!(bob.take(), ["close 4001: "]);
    drop((alices, bob, again));
    cluster.finish().await;
}

#[tokio::test(start_paused = true)]
async fn close_identity_reaches_a_peer_whose_admission_is_running_on_another_node() {
    let slow = |hub: HubBuilder| {
        hub.admission(|_| async {
            tokio::time::sleep(SECOND).await;
            Ok(PeerInfo::new().identity("alice"))
        })
    };
    let cluster = Cluster::with(2, |hub, cluster| (slow(hub), cluster)).await;
    let early = cluster.join(1);
    settle().await;
    assert_eq!(cluster.nodes[0].hub.close_identity("alice", BANNED, "banned"), 0);
    settle().await;
    let late = cluster.join(1);
    tokio::time::sleep(SECOND).await;
    settle().await;
    assert_eq!(early.take(), ["close 4001: banned"]);
    assert!(late.connect(1, &[]).await, "its admission began after the close");
    drop((early, late));
    cluster.finish().await;
}
