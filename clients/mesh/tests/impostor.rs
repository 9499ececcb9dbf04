//! A peer that is not a sigver-mesh: what the hub passes on from it.

mod common;

use common::{Hub, peer_join};
use serde_json::{Value, json};
use sigver::client::{self, Event, Remote};
use sigver::protocol::MemberId;
use sigver_mesh::PeerId;
use tokio::time::timeout;

/// A WebSocket that is bound to a member, and what the member answers to an offer.
async fn answer_to(hub: &Hub, from: u32, fingerprint: &str) -> Value {
    let mut client = client::join(&hub.url(), "tea room").await.expect("a WebSocket");
    assert!(!client.connect(MemberId(from), &[]).await.expect("an answer"), "bound to a member");
    let sdp = format!("v=0\r\na=fingerprint:sha-256 {fingerprint}\r\n");
    let description = json!({ "type": "offer", "sdp": sdp });
    let offer = json!({ "from": from, "to": 0, "negotiationId": 1, "members": [], "description": description });
    client.send_content(Remote::Member, offer.to_string()).await.expect("sent");
    loop {
        let event = timeout(common::SOON, client.recv()).await.expect("soon").expect("an event");
        if let Event::Content { data, .. } = event {
            return serde_json::from_slice(&data).expect("JSON");
        }
    }
}

#[tokio::test]
async fn impostor_with_another_certificate_is_rejected_and_the_owner_stays() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    let PeerId(owned) = peer_join(&alice).await;
    let reject = answer_to(&hub, owned, &["AB"; 32].join(":")).await;
    assert_eq!(reject["reject"], "same-id");
    assert_eq!((reject["from"].clone(), reject["to"].clone()), (json!(alice.id().0), json!(owned)));
    assert_eq!(bob.send(None, "still here").await, Ok(1));
    assert_eq!(common::message(&alice).await, "still here".into());
}

#[tokio::test]
async fn offer_that_the_engine_cannot_read_is_rejected() {
    let hub = Hub::start().await;
    let _alice = hub.peer().await;
    let reject = answer_to(&hub, (1 << 31) + 5, &["AB"; 32].join(":")).await;
    assert_eq!(reject["reject"], "ice-failed");
    let reject = answer_to(&hub, (1 << 31) + 5, "none").await;
    assert_eq!(reject["reject"], "invalid");
}
