//! The admission hook, access control by origin, and how a peer learns of its rejection.

use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use hyper::StatusCode;
use sigver::client::ClientError;
use sigver::memory::TestClient;
use sigver::protocol::{CloseCode, GroupKey};
use sigver::{Cause, DisconnectReason, HubEvent, JoinRequest, PeerInfo, Rejection, SignalingHub, SignedKeys};

use crate::server::{Adapter, OpenRequest, Peer, Rejected, TestServer};

crate::on_every_adapter_with_one_hub! {
    admission_receives_request_and_sets_identity
    rejection_with_close_code_reports_code_and_reason_and_counts_once
    rejection_with_http_status_becomes_close_code_after_handshake
    peer_that_disconnects_during_admission_is_removed
    disallowed_origin_gets_403
    several_origins_get_403
}

crate::on_every_configurable_adapter! {
    panicking_admission_rejects_only_its_peer
    admission_over_timeout_closes_with_1013
    admission_is_not_called_with_invalid_key
    admission_can_check_cookie
    admission_can_check_token_in_query
    admission_can_strip_token_from_key
    admission_can_check_subprotocol
    signed_key_admits_until_it_expires
    missing_origin_gets_403_unless_allowed
}

const BANNED: CloseCode = CloseCode::app(4001);

/// Returns whether a peer joins and its connect is answered.
pub(crate) async fn joins(server: &dyn TestServer, request: OpenRequest) -> bool {
    match server.try_open(request).await {
        Ok(mut peer) => {
            peer.send_connect(1, &[1]).await;
            peer.recv().await.is_ok()
        }
        Err(_) => false,
    }
}

async fn admission_receives_request_and_sets_identity(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        let parts = request.parts().expect("the server passes the request head");
        assert_eq!(request.client_ip(), Some([127, 0, 0, 1].into()));
        assert_eq!(request.key().as_str(), "my key");
        assert!(request.is_favored());
        assert_eq!(parts.headers["x-user"], "alice");
        Ok(PeerInfo::new().identity("alice"))
    }));
    let mut events = hub.events();
    let server = adapter.mount(hub).await;
    assert!(joins(&*server, OpenRequest::new("my%20key?favored").header("x-user", "alice")).await);
    loop {
        let event = events.next().await.expect("the hub exists");
        if let HubEvent::PeerJoined { identity, .. } = event {
            break assert_eq!(identity.as_deref(), Some("alice"));
        }
    }
}

async fn rejection_with_close_code_reports_code_and_reason_and_counts_once(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().admission(|request: JoinRequest| async move {
        if request.key().as_str() == "open" {
            Ok(PeerInfo::new())
        } else {
            Err(Rejection::close(BANNED, "x".repeat(200)))
        }
    }));
    let server = adapter.mount(hub.clone()).await;
    let mut banned = server.open("banned").await;
    assert_eq!(close_frame(&mut banned).await, (4001, "x".repeat(123)));
    assert!(joins(&*server, OpenRequest::new("open")).await);
    hub.shutdown().await;
    let stats = hub.stats();
    assert_eq!((stats.rejections.get(Cause::Admission), stats.rejections.total()), (1, 1));
    assert_eq!(stats.closes.get(Cause::Admission), 0);
}

/// Returns the code and the reason of the close frame that must come next.
async fn close_frame(peer: &mut Peer) -> (u16, String) {
    match peer.recv().await {
        Err(ClientError::Closed(Some(frame))) => (frame.code, frame.reason),
        other => panic!("expected a close, but received {other:?}"),
    }
}

async fn rejection_with_http_status_becomes_close_code_after_handshake(adapter: Adapter) {
    for (status, code) in [
        (StatusCode::UNAUTHORIZED, 1008),
        (StatusCode::TOO_MANY_REQUESTS, 1013),
        (StatusCode::INTERNAL_SERVER_ERROR, 1011),
    ] {
        let admission = move |_| async move { Err::<PeerInfo, _>(Rejection::http(status, "rejected")) };
        let hub = adapter.build(SignalingHub::builder().admission(admission));
        let server = adapter.mount(hub.clone()).await;
        assert_eq!(server.open_rejected(OpenRequest::new("K")).await, adapter.rejection(status.as_u16(), code));
        hub.shutdown().await;
        assert_eq!(hub.stats().rejections.get(Cause::Admission), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hub_reject_closes_connection_and_counts_rejection_once() {
    let admission = |_| async { Err::<PeerInfo, _>(Rejection::close(BANNED, "banned")) };
    let hub = Adapter::Memory.build(SignalingHub::builder().admission(admission));
    let rejection = hub.admit("K").await.expect_err("the hook rejects every peer");
    assert_eq!(hub.stats().rejections.total(), 1, "counted when it is decided");
    let (there, here) = sigver::memory::pair(1);
    let served = tokio::spawn(hub.reject(there, rejection));
    let mut peer: Peer = TestClient::new(Box::pin(here));
    assert_eq!(close_frame(&mut peer).await, (4001, "banned".to_owned()));
    peer.close().await;
    match served.await.expect("the hub does not panic") {
        DisconnectReason::ClosedByHub { code, reason, cause, .. } => {
            assert_eq!((code, &*reason, cause), (BANNED, "banned", Some(Cause::Admission)));
        }
        other => panic!("expected a close by the hub, but the reason is: {other}"),
    }
    let stats = hub.stats();
    assert_eq!((stats.rejections.get(Cause::Admission), stats.rejections.total()), (1, 1));
    assert_eq!((stats.closes.total(), stats.peers), (0, 0));
}

async fn panicking_admission_rejects_only_its_peer(adapter: Adapter) {
    let builder = SignalingHub::builder().admission(|request: JoinRequest| {
        assert_ne!(request.key().as_str(), "in call", "a bug of the app");
        async move {
            assert_ne!(request.key().as_str(), "in future", "a bug of the app");
            Ok(PeerInfo::new())
        }
    });
    let server = adapter.start_with(builder).await;
    for key in ["in%20call", "in%20future"] {
        assert_eq!(server.open_rejected(OpenRequest::new(key)).await, Rejected::Closed(1011), "{key}");
        assert!(joins(&*server, OpenRequest::new("K")).await);
    }
}

async fn admission_over_timeout_closes_with_1013(adapter: Adapter) {
    let builder = SignalingHub::builder().admission_timeout(Duration::from_millis(50));
    let builder = builder.admission(|request: JoinRequest| async move {
        if request.key().as_str() == "slow" {
            std::future::pending::<()>().await;
        }
        Ok(PeerInfo::new())
    });
    let server = adapter.start_with(builder).await;
    assert_eq!(server.open_rejected(OpenRequest::new("slow")).await, Rejected::Closed(1013));
    assert!(joins(&*server, OpenRequest::new("K")).await);
}

async fn admission_is_not_called_with_invalid_key(adapter: Adapter) {
    let admission = |_| async { panic!("the hook is called") as Result<PeerInfo, Rejection> };
    let server = adapter.start_with(SignalingHub::builder().admission(admission)).await;
    assert_eq!(server.open_rejected(OpenRequest::new("")).await, Rejected::Closed(4741));
    assert_eq!(server.open_rejected(OpenRequest::new("%ff")).await, Rejected::Closed(4745));
}

async fn peer_that_disconnects_during_admission_is_removed(adapter: Adapter) {
    let (called, mut calls) = tokio::sync::mpsc::channel(1);
    let timeout = Duration::from_millis(50);
    let builder = SignalingHub::builder().max_peers(1).admission_timeout(timeout);
    let hub = adapter.build(builder.admission(move |request: JoinRequest| {
        let called = called.clone();
        async move {
            if request.key().as_str() == "wait" {
                called.send(()).await.expect("the test receives calls");
                std::future::pending::<()>().await;
            }
            Ok(PeerInfo::new())
        }
    }));
    let server = adapter.mount(hub.clone()).await;
    tokio::select! {
        _ = server.open_rejected(OpenRequest::new("wait")) => panic!("the pending hook was answered"),
        called = calls.recv() => called.expect("the hook is called"),
    }
    // The slot is released when the server notices the disconnect, or when the admission times out.
    if adapter.has_paused_clock() {
        tokio::time::advance(2 * timeout).await;
    }
    while !joins(&*server, OpenRequest::new("K")).await {}
}

/// Returns the value of a cookie.
fn cookie<'a>(request: &'a JoinRequest, name: &str) -> Option<&'a str> {
    let line = request.parts()?.headers.get("cookie")?.to_str().ok()?;
    line.split("; ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

async fn admission_can_check_cookie(adapter: Adapter) {
    let builder = SignalingHub::builder().admission(|request: JoinRequest| async move {
        match cookie(&request, "session") {
            Some("alice's") => Ok(PeerInfo::new().identity("alice")),
            _ => Err(Rejection::http(StatusCode::UNAUTHORIZED, "log in first")),
        }
    });
    let server = adapter.start_with(builder).await;
    assert!(joins(&*server, OpenRequest::new("K").header("cookie", "a=b; session=alice's")).await);
    for wrong in ["session=bob's", "session2=alice's", ""] {
        let request = OpenRequest::new("K").header("cookie", wrong);
        assert_eq!(server.open_rejected(request).await, adapter.rejection(401, 1008), "{wrong}");
    }
}

async fn admission_can_check_token_in_query(adapter: Adapter) {
    let builder = SignalingHub::builder().admission(|request: JoinRequest| async move {
        let query = request.parts().and_then(|parts| parts.uri.query()).unwrap_or_default();
        if query.split('&').any(|pair| pair == "token=secret") {
            Ok(PeerInfo::new())
        } else {
            Err(Rejection::close(BANNED, "token required"))
        }
    });
    let server = adapter.start_with(builder).await;
    assert!(joins(&*server, OpenRequest::new("K?token=secret")).await);
    assert!(joins(&*server, OpenRequest::new("?key=K&token=secret")).await);
    assert_eq!(server.open_rejected(OpenRequest::new("K?token=guess")).await, Rejected::Closed(4001));
}

async fn admission_can_strip_token_from_key(adapter: Adapter) {
    let builder = SignalingHub::builder().admission(|request: JoinRequest| async move {
        match request.key().as_str().split_once('/') {
            Some(("alice" | "bob", key)) => {
                Ok(PeerInfo::new().key(GroupKey::new(key).map_err(|error| Rejection::from(&error))?))
            }
            _ => Err(Rejection::close(BANNED, "token required before the key")),
        }
    });
    let server = adapter.start_with(builder).await;
    let [mut alice, mut bob] = [server.open("alice/K").await, server.open("bob/K").await];
    assert!(alice.connect(1, &[]).await);
    assert!(!bob.connect(2, &[]).await);
    assert_eq!(server.open_rejected(OpenRequest::new("eve/K")).await, Rejected::Closed(4001));
    assert_eq!(server.open_rejected(OpenRequest::new("alice/")).await, Rejected::Closed(4741));
}

async fn admission_can_check_subprotocol(adapter: Adapter) {
    // An app that upgrades the connection itself must select a subprotocol itself.
    if matches!(adapter, Adapter::HyperUpgradedByApp | Adapter::AxumUpgradedByApp | Adapter::WarpUpgradedByApp) {
        return;
    }
    let builder = SignalingHub::builder().admission(|request: JoinRequest| async move {
        let offered = request.parts().and_then(|parts| parts.headers.get("sec-websocket-protocol"));
        let offered = offered.and_then(|offered| offered.to_str().ok()).unwrap_or_default();
        if offered.split(", ").any(|protocol| protocol == "token.secret") {
            Ok(PeerInfo::new())
        } else {
            Err(Rejection::http(StatusCode::UNAUTHORIZED, "token required"))
        }
    });
    let server = adapter.start_with(builder).await;
    let request = |protocols: &str| OpenRequest::new("K").header("sec-websocket-protocol", protocols);
    assert!(joins(&*server, request("sigver, token.secret")).await);
    assert_eq!(server.open_rejected(request("token.guess")).await, adapter.rejection(401, 1008));
}

async fn signed_key_admits_until_it_expires(adapter: Adapter) {
    let keys = SignedKeys::new([7; 32]).expect("the secret has 32 bytes");
    let room = GroupKey::new("room").expect("the key is valid");
    let sign = |expires| keys.sign(&room, expires).expect("the signed key is short enough");
    let now = SystemTime::now();
    let [first, second] = [60, 61].map(|seconds| sign(now + Duration::from_secs(seconds)));
    let expired = sign(now - Duration::from_secs(1));
    let server = adapter.start_with(SignalingHub::builder().admission(keys.clone())).await;
    let [mut alice, mut bob] = [server.open(&first).await, server.open(&second).await];
    assert!(alice.connect(1, &[]).await);
    assert!(!bob.connect(2, &[]).await, "both keys are signed for one group");
    for (bad, code) in [(&*expired, 4740), ("room", 1008), (&first.replace("room", "other"), 1008)] {
        assert_eq!(server.open_rejected(OpenRequest::new(bad)).await, Rejected::Closed(code), "{bad}");
    }
}

async fn disallowed_origin_gets_403(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().allowed_origins(["https://app.example", "https://*.app.example"]));
    let server = adapter.mount(hub.clone()).await;
    let request = |origin: &str| OpenRequest::new("K").header("origin", origin);
    for allowed in ["https://app.example", "https://a.app.example"] {
        assert!(joins(&*server, request(allowed)).await, "{allowed}");
    }
    for other in ["https://app.example.evil.example", "null", "http://app.example", "caf\u{e9}"] {
        assert_eq!(server.open_rejected(request(other)).await, adapter.rejection(403, 1008), "{other}");
    }
    hub.shutdown().await;
    assert_eq!(hub.stats().rejections.get(Cause::AllowedOrigins), 4);
}

async fn missing_origin_gets_403_unless_allowed(adapter: Adapter) {
    let builder = || SignalingHub::builder().allowed_origins(["https://app.example"]);
    let server = adapter.start_with(builder()).await;
    assert_eq!(server.open_rejected(OpenRequest::new("K")).await, adapter.rejection(403, 1008));
    let server = adapter.start_with(builder().allow_missing_origin(true)).await;
    assert!(joins(&*server, OpenRequest::new("K")).await);
    let other = OpenRequest::new("K").header("origin", "https://evil.example");
    assert_eq!(server.open_rejected(other).await, adapter.rejection(403, 1008));
}

async fn several_origins_get_403(adapter: Adapter) {
    const ALLOWED: &str = "https://app.example";
    let restricted = SignalingHub::builder().allowed_origins([ALLOWED]).allow_missing_origin(true);
    for builder in [restricted, SignalingHub::builder()] {
        let hub = adapter.build(builder);
        let server = adapter.mount(hub.clone()).await;
        assert!(joins(&*server, OpenRequest::new("K").header("origin", ALLOWED)).await);
        for [first, second] in [[ALLOWED, "https://evil.example"], ["https://evil.example", ALLOWED], [ALLOWED; 2]] {
            let request = OpenRequest::new("K").header("origin", first).header("origin", second);
            assert_eq!(server.open_rejected(request).await, adapter.rejection(403, 1008), "{first} {second}");
        }
        hub.shutdown().await;
        assert_eq!(hub.stats().rejections.get(Cause::AllowedOrigins), 3);
    }
}
