//! Rejections and closes of a hub: each is an error that tells whether to try again.

use futures::{SinkExt as _, StreamExt as _};
use sigver::client::{Client, ClientError, JoinError, Retry, WebSocket};
use sigver::protocol::MemberId;
use sigver::{CloseCode, DisconnectReason, Frame, HubEvent, JoinRequest, PeerInfo, Rejection, SignalingHub};

use crate::servers::{tcp, tls};

/// Returns the close code of the next error.
fn closed<T>(result: Result<T, ClientError>) -> (u16, Retry) {
    match result.map(drop).expect_err("the hub closes the client") {
        error @ ClientError::Closed(_) => {
            let retry = error.retry();
            let ClientError::Closed(Some(frame)) = error else { panic!("expected a code, got {error:?}") };
            (frame.code, retry)
        }
        error => panic!("expected a close, got {error:?}"),
    }
}

#[tokio::test]
async fn hub_learns_that_the_client_has_closed_or_was_dropped() {
    for is_closed in [true, false] {
        let hub = SignalingHub::new();
        let mut events = hub.events();
        for server in [tcp(&hub).await, tls(&hub).await] {
            let mut client = server.connector.join("K").await.expect("joined");
            assert!(member(&mut client, 1).await);
            if is_closed {
                client.close().await;
            } else {
                drop(client);
            }
            let reason = loop {
                if let Some(HubEvent::PeerLeft { reason, .. }) = events.next().await {
                    break reason;
                }
            };
            assert_eq!(matches!(reason, DisconnectReason::ClosedByPeer { .. }), is_closed, "{reason:?}");
        }
    }
}

async fn member(client: &mut Client<WebSocket>, id: u32) -> bool {
    client.connect(MemberId(id), &[]).await.expect("an answer")
}

#[tokio::test]
async fn rejection_with_a_close_code_is_the_error_of_the_first_operation() {
    let admission = |request: JoinRequest| async move {
        Err::<PeerInfo, _>(match request.key().as_str() {
            "banned" => Rejection::close(CloseCode::app(4001), "banned"),
            _ => Rejection::close(CloseCode::TryAgainLater, "full"),
        })
    };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    for server in [tcp(&hub).await, tls(&hub).await] {
        for (key, expected) in [("banned", (4001, Retry::Never)), ("busy", (1013, Retry::Later))] {
            let mut client = server.connector.join(key).await.expect("the handshake succeeds");
            assert_eq!(closed(client.recv().await), expected);
            let mut client = server.connector.join(key).await.expect("the handshake succeeds");
            assert_eq!(closed(client.connect(MemberId(1), &[]).await), expected);
            assert!(matches!(client.recv().await, Err(ClientError::ConnectionLost(None))), "the client is finished");
        }
    }
}

#[tokio::test]
async fn close_of_a_joined_peer_is_an_error_with_its_code() {
    let hub = SignalingHub::new();
    for server in [tcp(&hub).await, tls(&hub).await] {
        let join = async |key| server.connector.join(key).await.expect("joined");
        let (mut first, mut second) = (join("K").await, join("K").await);
        assert!(member(&mut first, 1).await);
        assert!(!member(&mut second, 2).await);
        // The second peer could not connect to the only member, and evicts it.
        assert!(member(&mut second, 2).await);
        assert_eq!(closed(first.recv().await), (4744, Retry::Now));
        // It also learns that the link has ended.
        second.recv().await.expect("the end of the link");
        hub.close_group("K", CloseCode::app(4002));
        assert_eq!(closed(second.recv().await), (4002, Retry::Never));
        let mut silent = join("text").await;
        silent.transport_mut().send(Frame::Text("text".to_owned())).await.expect("sent");
        assert_eq!(closed(silent.recv().await), (4743, Retry::Never));
    }
    let server = tcp(&hub).await;
    let mut client = server.connector.join("K").await.expect("joined");
    assert!(member(&mut client, 1).await);
    let ((), result) = tokio::join!(hub.shutdown(), client.recv());
    assert_eq!(closed(result), (1001, Retry::Later));
    let error = server.connector.join("K").await.expect_err("the hub is shut down");
    assert!(matches!(error, JoinError::Rejected { status: 503, .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
}
