//! The app's values of a peer: `PeerInfo::attach` and `data`, and what events report about a peer.

use std::time::Duration;

use futures::StreamExt as _;
use sigver::{Cause, CloseCode, DisconnectReason, HubBuilder, HubEvent, JoinRequest, PeerInfo, SignalingHub};
use tokio::sync::{mpsc, oneshot};

use crate::server::{Adapter, OpenRequest, Peer, TestServer};

crate::on_every_adapter_with_one_hub! {
    attached_value_is_dropped_when_the_peer_closes_the_connection
    attached_value_is_dropped_before_the_peer_is_closed
    attached_value_is_dropped_when_the_connection_is_lost
    attached_value_is_dropped_before_a_drain_ends
    attached_value_is_dropped_before_a_peer_rejected_after_the_hook_is_closed
    events_report_the_app_data_and_origin_of_a_peer
    rejected_event_reports_key_client_ip_and_cause
}

const BANNED: CloseCode = CloseCode::app(4001);

/// Fails when the value that was attached to a peer is dropped.
type Attached = oneshot::Receiver<()>;

/// Returns settings whose hook attaches a value to each peer, and the values.
fn attaching() -> (HubBuilder, mpsc::UnboundedReceiver<Attached>) {
    let (attached, values) = mpsc::unbounded_channel();
    let builder = SignalingHub::builder().admission(move |_| {
        let (value, receiver) = oneshot::channel::<()>();
        attached.send(receiver).expect("the test receives the values");
        async { Ok(PeerInfo::new().attach(value)) }
    });
    (builder, values)
}

/// Asserts that the value of a connected peer is still there.
fn assert_held(value: &mut Attached) {
    assert!(matches!(value.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
}

/// Opens a peer, and returns it with the value that is attached to it.
async fn open(server: &dyn TestServer, values: &mut mpsc::UnboundedReceiver<Attached>) -> (Peer, Attached) {
    let mut peer = server.open("K").await;
    assert!(peer.connect(1, &[]).await);
    let mut value = values.recv().await.expect("the hook was called");
    assert_held(&mut value);
    (peer, value)
}

/// Asserts that the value was dropped before.
fn assert_dropped(value: &mut Attached) {
    assert!(matches!(value.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

async fn attached_value_is_dropped_when_the_peer_closes_the_connection(adapter: Adapter) {
    let (builder, mut values) = attaching();
    let server = adapter.start_with(builder).await;
    let (peer, value) = open(&*server, &mut values).await;
    peer.close().await;
    value.await.expect_err("the value is dropped");
}

async fn attached_value_is_dropped_before_the_peer_is_closed(adapter: Adapter) {
    let (builder, mut values) = attaching();
    let hub = adapter.build(builder);
    let server = adapter.mount(hub.clone()).await;
    let (mut peer, mut value) = open(&*server, &mut values).await;
    assert_eq!(hub.close_group("K", BANNED), 1);
    assert_eq!(peer.recv_close().await.code, 4001);
    assert_dropped(&mut value);
}

async fn attached_value_is_dropped_when_the_connection_is_lost(adapter: Adapter) {
    let (builder, mut values) = attaching();
    let server = adapter.start_with(builder).await;
    let (peer, value) = open(&*server, &mut values).await;
    drop(peer);
    value.await.expect_err("the value is dropped");
}

async fn attached_value_is_dropped_before_a_drain_ends(adapter: Adapter) {
    let (builder, mut values) = attaching();
    let hub = adapter.build(builder);
    let server = adapter.mount(hub.clone()).await;
    let (mut peer, mut value) = open(&*server, &mut values).await;
    let (remaining, close) = tokio::join!(hub.drain(Duration::from_secs(30)), peer.recv_close());
    assert_eq!((remaining, close.code), (0, 1001));
    assert_dropped(&mut value);
}

async fn attached_value_is_dropped_before_a_peer_rejected_after_the_hook_is_closed(adapter: Adapter) {
    let (builder, mut values) = attaching();
    let server = adapter.start_with(builder.max_peers_per_group(1)).await;
    let mut first = server.open("K").await;
    assert!(first.connect(1, &[]).await);
    let mut second = server.open("K").await;
    assert_eq!(second.recv_close().await.code, 1013);
    let mut values = [values.recv().await, values.recv().await].map(|value| value.expect("the hook was called"));
    assert_held(&mut values[0]);
    assert_dropped(&mut values[1]);
    assert!(first.connect(1, &[]).await, "the other peer is not affected");
}

async fn events_report_the_app_data_and_origin_of_a_peer(adapter: Adapter) {
    let admission = |_| async { Ok(PeerInfo::new().identity("alice").data(7_u32)) };
    let hub = adapter.build(SignalingHub::builder().admission(admission));
    let server = adapter.mount(hub.clone()).await;
    let mut events = hub.events();
    let mut peer = server.open("K").await;
    assert!(peer.connect(1, &[]).await);
    assert_eq!(hub.peers("K")[0].data(), Some(&7_u32));
    peer.close().await;
    let mut joined = None;
    loop {
        let event = events.next().await.expect("the hub exists");
        match &event {
            HubEvent::PeerJoined { peer, .. } => {
                assert_eq!(event.data(), Some(&7_u32));
                joined = Some(*peer);
            }
            HubEvent::PeerLeft { peer, key, identity, client_ip, reason, .. } => {
                assert_eq!((joined, key.as_str(), identity.as_deref()), (Some(*peer), "K", Some("alice")));
                assert_eq!(*client_ip, Some([127, 0, 0, 1].into()));
                assert_eq!(event.data(), Some(&7_u32));
                break assert!(matches!(reason, DisconnectReason::ClosedByPeer { .. }), "{reason}");
            }
            _ => assert_eq!(event.data::<u32>(), None),
        }
    }
}

async fn rejected_event_reports_key_client_ip_and_cause(adapter: Adapter) {
    let admission = |request: JoinRequest| async move {
        match request.key().as_str() {
            "banned" => Err(sigver::Rejection::close(BANNED, "banned")),
            _ => Ok(PeerInfo::new().identity("alice").data(7_u32)),
        }
    };
    let hub = adapter.build(SignalingHub::builder().admission(admission).max_peers_per_group(1));
    let server = adapter.mount(hub.clone()).await;
    let mut first = server.open("K").await;
    assert!(first.connect(1, &[]).await);
    let mut events = hub.events();
    for (tail, expected_key, expected_cause) in [
        ("banned", Some("banned"), Cause::Admission),
        ("%", None, Cause::InvalidKey),
        ("K", Some("K"), Cause::MaxPeersPerGroup),
    ] {
        server.open_rejected(OpenRequest::new(tail)).await;
        let event = events.next().await.expect("the hub exists");
        let HubEvent::Rejected { is_upgrade, cause, key, client_ip, identity, .. } = &event else {
            panic!("got {event:?}")
        };
        assert!(is_upgrade, "{tail}");
        assert_eq!((key.as_ref().map(|key| key.as_str()), *cause), (expected_key, expected_cause));
        assert_eq!(*client_ip, Some([127, 0, 0, 1].into()), "{tail}");
        let is_admitted = expected_cause == Cause::MaxPeersPerGroup;
        assert_eq!((identity.is_some(), event.data::<u32>().is_some()), (is_admitted, is_admitted), "{tail}");
    }
}
