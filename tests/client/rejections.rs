//! Responses of real hubs that reject the handshake.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use sigver::client::{JoinError, Retry};
use sigver::{JoinRequest, PeerInfo, Rejection, SignalingHub};

use crate::servers::{connector, tcp, tls};

#[tokio::test]
async fn rejection_has_the_status_the_text_and_the_retry_after_of_the_app() {
    let admission = |request: JoinRequest| async move {
        Err::<PeerInfo, _>(match request.key().as_str() {
            "busy" => Rejection::http(StatusCode::SERVICE_UNAVAILABLE, "busy").with_header(RETRY_AFTER, 30),
            _ => Rejection::http(StatusCode::UNAUTHORIZED, "log in first"),
        })
    };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    for server in [tcp(&hub).await, tls(&hub).await] {
        let error = server.connector.join("K").await.expect_err("a rejection");
        assert_eq!(error.to_string(), r#"the server rejected the WebSocket with HTTP 401: "log in first""#);
        assert_eq!(error.retry(), Retry::Never);
        let error = server.connector.join("busy").await.expect_err("a rejection");
        assert_eq!(error.retry(), Retry::Later);
        let JoinError::Rejected { status, retry_after, .. } = error else { panic!("got {error:?}") };
        assert_eq!((status, retry_after), (503, Some(Duration::from_secs(30))));
    }
}

#[tokio::test]
async fn hub_with_allowed_origins_needs_an_origin() {
    let hub = SignalingHub::builder().allowed_origins(["https://app.example"]).build().expect("valid settings");
    let server = tcp(&hub).await;
    let error = server.connector.join("K").await.expect_err("a rejection");
    assert!(matches!(error, JoinError::Rejected { status: 403, .. }), "{error:?}");
    let connector = server.connector.header("Origin", "https://app.example").expect("a valid header");
    assert!(connector.join("K").await.is_ok());
}

#[tokio::test]
async fn path_without_a_hub_is_a_rejection() {
    let server = tcp(&SignalingHub::new()).await;
    let error = connector(&server.url.replace("/signal", "/other")).join("K").await.expect_err("no hub");
    let JoinError::Rejected { status, .. } = error else { panic!("got {error:?}") };
    assert_eq!(status, 404);
}
