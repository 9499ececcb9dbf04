//! ICE servers from the URL of the hub: the answer to a GET, its checks, and cross-origin access to it.

use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use serde_json::{Value, json};
use sigver::{
    AtLimit, Cause, CloseCode, GroupKey, HubBuilder, HubEvent, IceServers, JoinRequest, PeerInfo, Rejection,
    SignalingHub, SignedKeys,
};

use crate::http::{KEY, VERSION, header, request, request_path};
use crate::server::{Adapter, TestServer};

crate::on_every_hub_handshake! {
    without_the_setting_get_is_426_that_every_page_can_read
}

crate::on_every_mount! {
    get_returns_servers_with_credentials_that_expire
    servers_can_be_replaced_while_peers_are_connected
    only_a_get_that_accepts_json_is_answered
    admission_sees_that_it_is_no_upgrade
    preflight_of_an_allowed_origin_may_send_headers
    rejection_by_admission_has_its_status_and_reason
    invalid_key_and_drain_reject
    pages_of_allowed_origins_can_read_the_answer
    request_takes_no_slot_and_replaces_no_peer
    request_counts_against_the_join_rate
    signed_key_admits_and_bounds_the_credentials
    request_of_a_client_that_disconnects_during_admission_ends
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ACCEPT: &str = "Host: x\r\nAccept: application/json\r\n";
const ORIGIN: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";

fn hub() -> HubBuilder {
    SignalingHub::builder().ice_servers(IceServers::new().stun(["stun:a.example"]).turn(["turn:b.example"], SECRET))
}

/// Requests the ICE servers of a key with further header lines, and returns the response.
async fn get(server: &dyn TestServer, key: &str, headers: &str) -> String {
    request_path(server, &format!("/{key}"), "GET HTTP/1.1", &format!("{ACCEPT}{headers}")).await
}

fn status(response: &str) -> u16 {
    let status = response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {response:?}"))
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("a body").1
}

fn json_of(response: &str) -> Value {
    assert_eq!(status(response), 200, "{response}");
    serde_json::from_str(body(response)).expect("the body is JSON")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970").as_secs()
}

async fn without_the_setting_get_is_426_that_every_page_can_read(adapter: Adapter) {
    let server = adapter.start().await;
    for origin in ["", "Origin: https://app.example\r\n"] {
        let response = get(&*server, "K", origin).await;
        assert_eq!(status(&response), 426, "{response}");
        assert_eq!((header(&response, ORIGIN), header(&response, CREDENTIALS)), (Some("*"), None), "{response}");
        assert_eq!(header(&response, "vary"), Some("Origin"));
        assert_eq!(header(&response, "upgrade"), Some("websocket"));
    }
    let post = request(&*server, "POST", "HTTP/1.1", ACCEPT).await;
    assert_eq!((status(&post), header(&post, ORIGIN)), (426, None), "{post}");
}

async fn get_returns_servers_with_credentials_that_expire(adapter: Adapter) {
    let identity = |_: JoinRequest| async { Ok(PeerInfo::new().identity("alice")) };
    for (builder, suffix) in [(hub(), ""), (hub().admission(identity), ":alice")] {
        let hub = adapter.build(builder);
        let server = adapter.mount(hub.clone()).await;
        let before = seconds(SystemTime::now());
        let response = get(&*server, "K", "").await;
        let after = seconds(SystemTime::now());
        for (name, expected) in [
            ("content-type", Some("application/json")),
            ("cache-control", Some("no-store")),
            ("vary", Some("Origin")),
            (ORIGIN, Some("*")),
            (CREDENTIALS, None),
        ] {
            assert_eq!(header(&response, name), expected, "{response}");
        }
        let mut answer = json_of(&response);
        let username = answer["iceServers"][1]["username"].take();
        let expiry = username.as_str().and_then(|name| name.strip_suffix(suffix)).expect("EXPIRY and the identity");
        let expiry: u64 = expiry.parse().expect("EXPIRY is a number");
        assert!((before + 3600..=after + 3600).contains(&expiry), "{expiry}");
        // The credential of a known user name is in the unit tests.
        let credential = answer["iceServers"][1]["credential"].take();
        assert_eq!(credential.as_str().map(str::len), Some(28), "20 bytes in base64");
        let servers = json!([
            { "urls": ["stun:a.example"] },
            { "urls": ["turn:b.example"], "username": null, "credential": null },
        ]);
        assert_eq!(answer, json!({ "iceServers": servers, "ttl": 3600 }));
        assert_eq!((hub.stats().ice_configurations, hub.stats().peers), (1, 0));
    }
}

async fn servers_can_be_replaced_while_peers_are_connected(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder());
    let server = adapter.mount(hub.clone()).await;
    let mut peer = server.open("K").await;
    assert_eq!(status(&get(&*server, "K", "").await), 426);
    for url in ["stun:a.example", "stun:b.example"] {
        hub.set_ice_servers(IceServers::new().stun([url])).expect("valid servers");
        hub.set_ice_servers(IceServers::new()).expect_err("no servers");
        assert_eq!(json_of(&get(&*server, "K", "").await)["iceServers"], json!([{ "urls": [url] }]));
    }
    assert!(peer.connect(1, &[]).await);
}

async fn only_a_get_that_accepts_json_is_answered(adapter: Adapter) {
    let server = adapter.start_with(hub()).await;
    for accept in ["application/json", "text/html, Application/JSON; q=0.5", "*/*\r\nAccept: application/json"] {
        let response = request(&*server, "GET", "HTTP/1.1", &format!("Host: x\r\nAccept: {accept}\r\n")).await;
        assert_eq!(status(&response), 200, "{accept}: {response}");
    }
    for accept in ["*/*", "text/html,*/*;q=0.8", "application/*", "application/jsonp", "text/x; a=application/json"] {
        let response = request(&*server, "GET", "HTTP/1.1", &format!("Host: x\r\nAccept: {accept}\r\n")).await;
        assert_eq!(status(&response), 426, "{accept}: {response}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = request(&*server, method, "HTTP/1.1", ACCEPT).await;
        assert_eq!(status(&response), 426, "{method}: {response}");
    }
    // A proxy has dropped a header of a handshake.
    for headers in [KEY, VERSION, "Upgrade: websocket\r\n"] {
        let response = request(&*server, "GET", "HTTP/1.1", &format!("{ACCEPT}{headers}")).await;
        assert_eq!(status(&response), 426, "{headers}: {response}");
    }
}

async fn admission_sees_that_it_is_no_upgrade(adapter: Adapter) {
    let admission = |request: JoinRequest| async move {
        let parts = request.parts().expect("the server passes the request head");
        assert_eq!((request.client_ip(), request.key().as_str()), (Some([127, 0, 0, 1].into()), "my key"));
        let is_upgrade = parts.headers.contains_key("upgrade");
        assert_eq!(request.is_upgrade(), is_upgrade);
        Ok(PeerInfo::new().identity(if is_upgrade { "peer" } else { "client" }))
    };
    let hub = adapter.build(hub().admission(admission));
    let server = adapter.mount(hub.clone()).await;
    let answer = json_of(&get(&*server, "my%20key?favored", "").await);
    assert!(answer["iceServers"][1]["username"].as_str().is_some_and(|name| name.ends_with(":client")), "{answer}");
    assert!(server.open("my%20key").await.connect(1, &[]).await);
    assert_eq!(hub.peers("my key")[0].identity.as_deref(), Some("peer"));
}

async fn preflight_of_an_allowed_origin_may_send_headers(adapter: Adapter) {
    let preflight = |origin: &str| {
        let requested = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization";
        format!("Host: x\r\nOrigin: {origin}\r\n{requested}\r\n")
    };
    let hub = adapter.build(hub().allowed_origins(["https://app.example"]));
    let server = adapter.mount(hub.clone()).await;
    for (origin, expected) in [("https://app.example", Some("https://app.example")), ("https://evil.example", None)] {
        let response = request(&*server, "OPTIONS", "HTTP/1.1", &preflight(origin)).await;
        assert_eq!(status(&response), 204, "{response}");
        assert_eq!(header(&response, ORIGIN), expected, "{response}");
        assert_eq!(header(&response, "access-control-allow-headers"), Some("authorization"), "{response}");
        assert_eq!(header(&response, "access-control-allow-methods"), Some("GET"), "{response}");
    }
    assert_eq!((hub.stats().ice_configurations, hub.stats().rejections.total()), (0, 0));
}

async fn rejection_by_admission_has_its_status_and_reason(adapter: Adapter) {
    let admission = |request: JoinRequest| async move {
        Err::<PeerInfo, _>(match request.key().as_str() {
            "status" => Rejection::http(StatusCode::UNAUTHORIZED, "log in first").with_header(RETRY_AFTER, 30),
            "code" => Rejection::close(CloseCode::app(4001), "banned"),
            "internal" => Rejection::internal("no database"),
            "expired" => return Ok(PeerInfo::new().expires_at(SystemTime::UNIX_EPOCH)),
            _ => panic!("the hook is broken"),
        })
    };
    let hub = adapter.build(hub().admission(admission));
    let server = adapter.mount(hub.clone()).await;
    for (key, expected, reason) in [
        ("status", 401, "log in first\n"),
        ("code", 403, "banned\n"),
        ("internal", 500, "internal error\n"),
        ("expired", 403, "access had expired before the peer was admitted\n"),
        ("panic", 500, "internal error\n"),
    ] {
        let response = get(&*server, key, "Origin: https://app.example\r\n").await;
        assert_eq!((status(&response), body(&response)), (expected, reason), "{response}");
        assert_eq!(header(&response, "retry-after"), (key == "status").then_some("30"));
        let exposed = header(&response, "access-control-expose-headers");
        assert_eq!(exposed, (key == "status").then_some("retry-after"));
        assert_eq!(header(&response, ORIGIN), Some("*"), "{response}");
        assert_eq!(header(&response, "cache-control"), Some("no-store"), "{response}");
        assert_eq!(header(&response, "vary"), Some("Origin"), "{response}");
    }
    let stats = hub.stats();
    assert_eq!((stats.rejections.get(Cause::Admission), stats.rejections.get(Cause::ExpiresAt)), (4, 1));
    assert_eq!((stats.rejections.total(), stats.ice_configurations), (5, 0));
}

async fn invalid_key_and_drain_reject(adapter: Adapter) {
    let hub = adapter.build(hub());
    let mut events = hub.events();
    let server = adapter.mount(hub.clone()).await;
    for key in ["", "%ff", &"k".repeat(513)] {
        assert_eq!(status(&get(&*server, key, "").await), 400, "{key:?}");
        let event = events.next().await;
        assert!(matches!(event, Some(HubEvent::Rejected { is_upgrade: false, .. })), "{event:?}");
    }
    assert_eq!(status(&get(&*server, "?key=K", "").await), 200);
    assert_eq!(hub.stats().rejections.get(Cause::InvalidKey), 3);
    assert_eq!(hub.drain(Duration::ZERO).await, 0);
    assert_eq!(status(&get(&*server, "K", "").await), 503);
    assert_eq!(hub.stats().rejections.get(Cause::Draining), 1);
}

async fn pages_of_allowed_origins_can_read_the_answer(adapter: Adapter) {
    let admission = |request: JoinRequest| async move {
        if request.key().as_str() == "K" {
            Ok(PeerInfo::new())
        } else {
            Err(Rejection::close(CloseCode::app(4001), "banned"))
        }
    };
    let builder = hub().allowed_origins(["https://app.example", "https://*.app.example"]).admission(admission);
    let hub = adapter.build(builder);
    let server = adapter.mount(hub.clone()).await;
    for origin in ["https://app.example", "https://a.app.example"] {
        let from = format!("Origin: {origin}\r\n");
        let html = request(&*server, "GET", "HTTP/1.1", &format!("Host: x\r\n{from}")).await;
        for (response, expected) in
            [(get(&*server, "K", &from).await, 200), (get(&*server, "L", &from).await, 403), (html, 426)]
        {
            assert_eq!((status(&response), header(&response, ORIGIN)), (expected, Some(origin)), "{response}");
            assert_eq!(header(&response, CREDENTIALS), Some("true"), "{response}");
            assert_eq!(header(&response, "vary"), Some("Origin"));
        }
    }
    let rejections = hub.stats().rejections.get(Cause::AllowedOrigins);
    let two = "https://app.example\r\nOrigin: https://app.example";
    for origin in ["https://evil.example", "null", two] {
        let response = get(&*server, "K", &format!("Origin: {origin}\r\n")).await;
        assert_eq!(status(&response), 403, "{response}");
        assert_eq!((header(&response, ORIGIN), header(&response, CREDENTIALS)), (None, None), "{response}");
        assert_eq!(header(&response, "vary"), Some("Origin"));
    }
    assert_eq!(hub.stats().rejections.get(Cause::AllowedOrigins), rejections + 3);
    // A browser sends no origin with a GET to the page's own server.
    let response = get(&*server, "K", "").await;
    assert_eq!((status(&response), header(&response, ORIGIN)), (200, None), "{response}");
}

async fn request_takes_no_slot_and_replaces_no_peer(adapter: Adapter) {
    let identity = |_: JoinRequest| async { Ok(PeerInfo::new().identity("alice")) };
    for at_limit in [AtLimit::RejectNew, AtLimit::ReplaceOldest] {
        let builder = hub().max_peers(1).max_peers_per_ip(1).max_groups(1).max_peers_per_group(1);
        let hub = adapter.build(builder.max_peers_per_identity(1, at_limit).admission(identity));
        let server = adapter.mount(hub.clone()).await;
        let mut peer = server.open("K").await;
        assert!(peer.connect(1, &[]).await);
        for key in ["K", "K", "another"] {
            json_of(&get(&*server, key, "").await);
        }
        assert!(peer.connect(1, &[]).await, "the peer is still a member");
        let stats = hub.stats();
        assert_eq!((stats.peers, stats.groups, stats.ice_configurations), (1, 1, 3));
        assert_eq!((stats.rejections.total(), stats.closes.total()), (0, 0), "{stats:?}");
    }
}

async fn request_counts_against_the_join_rate(adapter: Adapter) {
    // The clock runs and the bucket refills, so the test asks until one request is rejected.
    let hub = adapter.build(hub().joins_per_second_per_ip(3));
    let server = adapter.mount(hub.clone()).await;
    let mut answered = 0;
    let rejected = loop {
        let response = get(&*server, "K", "").await;
        match status(&response) {
            200 => answered += 1,
            _ => break response,
        }
        assert!(answered < 1000, "no request is rejected");
    };
    assert!(answered >= 3, "{answered}");
    let expected = (503, "more than 3 joins per second from your IP\n");
    assert_eq!((status(&rejected), body(&rejected)), expected, "{rejected}");
    assert_eq!(hub.stats().rejections.get(Cause::JoinsPerSecondPerIp), 1);
}

async fn signed_key_admits_and_bounds_the_credentials(adapter: Adapter) {
    let keys = SignedKeys::new(SECRET).expect("a long enough secret");
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds(SystemTime::now()) + 600);
    let signed = keys.sign(&GroupKey::new("room").expect("a key"), expires).expect("a short enough key");
    let server = adapter.start_with(hub().admission(keys)).await;
    let answer = json_of(&get(&*server, &signed, "").await);
    assert_eq!(answer["iceServers"][1]["username"], seconds(expires).to_string(), "earlier than the default of 1 h");
    assert!(answer["ttl"].as_u64().is_some_and(|ttl| ttl <= 600), "{answer}");
    let response = get(&*server, "room", "").await;
    let expected = (403, "key is not signed; must be KEY~EXPIRY~MAC\n");
    assert_eq!((status(&response), body(&response)), expected);
}

async fn request_of_a_client_that_disconnects_during_admission_ends(adapter: Adapter) {
    let (called, mut calls) = tokio::sync::mpsc::channel(1);
    let builder = hub().admission_timeout(Duration::from_secs(3600));
    let hub = adapter.build(builder.admission(move |_: JoinRequest| {
        let called = called.clone();
        async move {
            called.send(()).await.expect("the test receives calls");
            std::future::pending::<Result<PeerInfo, Rejection>>().await
        }
    }));
    let server = adapter.mount(hub.clone()).await;
    tokio::select! {
        response = get(&*server, "K", "") => panic!("the hook does not answer, but {response}"),
        call = calls.recv() => call.expect("the hook is called"),
    }
    // A drain waits for the request.
    while hub.drain(Duration::ZERO).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(hub.stats().ice_configurations, 0);
}
