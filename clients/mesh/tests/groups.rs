//! Native peers that meet over a hub in this process and UDP on the loopback interface.

mod common;

use common::{Hub, peer_join, until};
use sigver_mesh::{Event, Payload};

async fn message(group: &sigver_mesh::Group) -> Payload {
    until(group, |event| match event {
        Event::Message { data, .. } => Some(data.clone()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn two_peers_exchange_messages() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    assert_eq!(peer_join(&alice).await, bob.id());
    assert_eq!(peer_join(&bob).await, alice.id());
    assert_eq!(alice.send(None, "hello").await, Ok(1));
    assert_eq!(message(&bob).await, "hello".into());
    assert_eq!(bob.send(Some(alice.id()), vec![7; 300_000]).await, Ok(1));
    assert_eq!(message(&alice).await, vec![7; 300_000].into());
}
