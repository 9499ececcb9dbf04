//! What a rejection by the app sends to the client: headers, and nothing about an internal error.

use std::io;

use hyper::StatusCode;
use hyper::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use sigver::{Cause, HubBuilder, JoinRequest, PeerInfo, Rejection, SignalingHub};

use crate::http::{HANDSHAKE, KEY, VERSION, header, request};
use crate::server::{Adapter, OpenRequest, Rejected, TestServer};

crate::on_every_configurable_adapter! {
    internal_error_of_admission_gets_500_or_1011_and_leaks_nothing
    headers_of_a_rejection_are_in_the_http_response
}

crate::on_every_adapter_with_one_hub! {
    internal_error_of_admission_counts_once
}

/// An error of the app, which `?` converts into a rejection.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the sessions")]
struct AppError(#[from] io::Error);

impl From<AppError> for Rejection {
    fn from(error: AppError) -> Self {
        Self::internal(error)
    }
}

fn hub_without_sessions() -> HubBuilder {
    fn find_user() -> Result<String, AppError> {
        Err(io::Error::other("password of db.internal is wrong"))?
    }
    SignalingHub::builder().admission(|_: JoinRequest| async { Ok(PeerInfo::new().identity(find_user()?)) })
}

/// Sends a handshake, and returns the HTTP response.
async fn handshake(server: &dyn TestServer) -> String {
    request(server, "GET", "HTTP/1.1", &format!("{HANDSHAKE}{KEY}{VERSION}")).await
}

async fn internal_error_of_admission_gets_500_or_1011_and_leaks_nothing(adapter: Adapter) {
    let server = adapter.start_with(hub_without_sessions()).await;
    if let Rejected::Http(_) = adapter.rejection(500, 1011) {
        let response = handshake(&*server).await;
        assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
        assert!(response.ends_with("\r\n\r\ninternal error\n"), "{response}");
    } else {
        let close = server.open("K").await.recv_close().await;
        assert_eq!((close.code, &*close.reason), (1011, "internal error"));
    }
}

async fn internal_error_of_admission_counts_once(adapter: Adapter) {
    let hub = adapter.build(hub_without_sessions());
    let server = adapter.mount(hub.clone()).await;
    assert_eq!(server.open_rejected(OpenRequest::new("K")).await, adapter.rejection(500, 1011));
    hub.shutdown().await;
    let rejections = hub.stats().rejections;
    assert_eq!((rejections.get(Cause::Admission), rejections.total()), (1, 1));
}

async fn headers_of_a_rejection_are_in_the_http_response(adapter: Adapter) {
    let admission = |_: JoinRequest| async {
        let rejection = Rejection::http(StatusCode::UNAUTHORIZED, "log in first").with_header(RETRY_AFTER, 30);
        let rejection = rejection.with_header(WWW_AUTHENTICATE, "Bearer").with_header(WWW_AUTHENTICATE, "Basic");
        Err::<PeerInfo, _>(rejection)
    };
    let server = adapter.start_with(SignalingHub::builder().admission(admission)).await;
    if let Rejected::Http(_) = adapter.rejection(401, 1008) {
        let response = handshake(&*server).await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        assert_eq!(header(&response, "retry-after"), Some("30"));
        for challenge in ["www-authenticate: Bearer\r\n", "www-authenticate: Basic\r\n"] {
            assert!(response.to_lowercase().contains(&challenge.to_lowercase()), "{response}");
        }
        assert_eq!(header(&response, "content-type"), Some("text/plain; charset=utf-8"));
        assert!(response.ends_with("\r\n\r\nlog in first\n"), "{response}");
    } else {
        // A close frame has no headers.
        let close = server.open("K").await.recv_close().await;
        assert_eq!((close.code, &*close.reason), (1008, "log in first"));
    }
}
