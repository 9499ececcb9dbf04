//! Tests of the admin service, router and filter in an app. `tests/cli/admin.rs` tests them in the standalone server.

#![cfg(all(feature = "admin", feature = "axum", feature = "warp"))]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sigver::{SignalingHub, memory};
use tower::{ServiceBuilder, ServiceExt as _};
use warp::Filter;

/// An app with the admin router of this hub.
fn app(hub: &SignalingHub) -> Router {
    Router::new().nest_service("/internal/sigver", sigver::axum::admin_router::<()>(hub.clone()))
}

/// An app with this filter of warp.
fn warp_app<F, R>(filter: F) -> Router
where
    F: Filter<Extract = (R,), Error = warp::Rejection> + Clone + Send + Sync + 'static,
    R: warp::Reply + 'static,
{
    let service = warp::service(filter.map(warp::Reply::into_response).boxed());
    // warp's service needs a body that is `Sync`.
    let layers = ServiceBuilder::new().map_request(|request: Request| request.map(|_| Empty::<Bytes>::new()));
    Router::new().fallback_service(layers.service(service))
}

async fn send(app: &Router, method: Method, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    app.clone().oneshot(request).await.expect("a router never fails")
}

async fn body(response: Response) -> String {
    let bytes = response.into_body().collect().await.expect("the body is in memory").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Returns the status and the body of the response to a GET request.
async fn get(app: &Router, path: &str) -> (u16, String) {
    let response = send(app, Method::GET, path).await;
    (response.status().as_u16(), body(response).await)
}

async fn get_json(app: &Router, path: &str) -> Value {
    let (status, body) = get(app, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

#[tokio::test]
async fn all_paths_work_below_every_mount() {
    let hub = SignalingHub::new();
    let at = sigver::hyper::admin(hub.clone()).at("/internal/sigver/");
    let filter = warp::path!("internal" / "sigver" / ..).and(sigver::warp::admin(hub.clone()));
    for (app, with_slash) in [
        (app(&hub), true),
        (Router::new().nest("/internal/sigver", sigver::axum::admin_router(hub.clone())), false),
        (Router::new().nest_service("/internal/sigver", sigver::hyper::admin(hub.clone())), true),
        (Router::new().fallback_service(at), true),
        (warp_app(filter), true),
    ] {
        for (path, expected) in
            [("", "<!doctype html>"), ("/status", "{"), ("/healthz", "ok\n"), ("/readyz", "ready\n")]
        {
            let (status, body) = get(&app, &format!("/internal/sigver{path}")).await;
            assert!(status == 200 && body.starts_with(expected), "{path}: {status} {body}");
        }
        assert_eq!(get(&app, "/internal/sigver/").await.0, if with_slash { 200 } else { 404 });
        for path in ["/", "/status", "/internal", "/internal/sigverx", "/internal/sigver/nothing"] {
            assert_eq!(get(&app, path).await.0, 404, "{path}");
        }
    }
}

#[tokio::test]
async fn page_requests_only_paths_below_its_own() {
    let (_, page) = get(&app(&SignalingHub::new()), "/internal/sigver").await;
    // `base` is the path of the page, with a slash at its end.
    let requests = page.split("fetch(").skip(1).filter(|request| !request.starts_with("`${base}"));
    assert_eq!((requests.count(), page.matches("fetch(").count()), (0, 2), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "{page}");
}

#[tokio::test]
async fn status_and_groups_show_counts_and_peers_without_keys() {
    let hub = SignalingHub::builder().name("lobby").max_peers(2).build().expect("valid settings");
    let app = app(&hub);
    let [mut member, mut joiner] = [(); 2].map(|()| memory::join(&hub, "the-secret"));
    assert!(member.connect(7, &[]).await);
    assert!(!joiner.connect(8, &[]).await);
    assert_eq!(memory::join(&hub, "the-secret").recv_close().await.code, 1013);

    let status = get_json(&app, "/internal/sigver/status").await;
    let hash = status["largest_groups"][0]["hash"].as_str().expect("a hash").to_owned();
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"), "name": "lobby", "draining": false, "ready": true,
        "peers": 2, "groups": 1, "links": 1, "relayed_messages": 0,
        "rejections": [["max_peers", 1]], "closes": [],
        "largest_groups": [{ "hash": hash, "peers": 2, "members": 1, "links": 1 }],
    });
    assert_eq!(status, expected);
    assert_eq!(u64::from_str_radix(&hash, 16), Ok(hub.groups()[0].key_hash));
    let peers = get_json(&app, &format!("/internal/sigver/groups/{hash}")).await;
    assert_eq!((&peers[0]["member_id"], &peers[1]["is_bound"]), (&json!(7), &json!(true)), "{peers}");
    assert!(!format!("{status} {peers}").contains("the-secret"));
}

#[tokio::test]
async fn status_of_a_hub_without_name_and_cluster_has_neither_field() {
    let status = get_json(&app(&SignalingHub::new()), "/internal/sigver/status").await;
    assert!(status.get("name").is_none() && status.get("cluster").is_none(), "{status}");
}

#[cfg(feature = "turn")]
#[tokio::test]
async fn status_of_a_hub_with_ice_servers_counts_its_answers() {
    let servers = sigver::IceServers::new().stun(["stun:a.example"]);
    let hub = SignalingHub::builder().ice_servers(servers).build().expect("valid settings");
    let app = app(&hub);
    for expected in 0..3 {
        assert_eq!(get_json(&app, "/internal/sigver/status").await["ice_configurations"], expected);
        assert!(hub.ice_servers("K").await.is_ok());
    }
}

#[tokio::test]
async fn list_of_peers_has_at_most_500_entries() {
    let hub = SignalingHub::new();
    let mut peers: Vec<_> = (0..501).map(|_| memory::join(&hub, "K")).collect();
    assert!(peers.last_mut().expect("there are peers").connect(1, &[]).await);
    let hash = format!("{:016x}", hub.groups()[0].key_hash);
    let listed = get_json(&app(&hub), &format!("/internal/sigver/groups/{hash}")).await;
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|peer| peer["peer"].as_u64()).collect();
    assert_eq!(listed, (0..500).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn responses_are_not_cached_and_not_interpreted() {
    let app = app(&SignalingHub::new());
    for path in ["", "/status", "/healthz", "/readyz", "/nothing", "/groups/0", "/groups/"] {
        let response = send(&app, Method::GET, &format!("/internal/sigver{path}")).await;
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(response.headers().contains_key("content-security-policy"), path.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_and_other_methods_get_405() {
    let app = app(&SignalingHub::new());
    for path in ["/internal/sigver", "/internal/sigver/status", "/internal/sigver/healthz"] {
        let head = send(&app, Method::HEAD, path).await;
        assert_eq!(head.status(), StatusCode::OK, "{path}");
        assert_eq!(head.headers()["content-type"], send(&app, Method::GET, path).await.headers()["content-type"]);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT] {
            let response = send(&app, method.clone(), path).await;
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(response.headers()["allow"], "GET, HEAD");
        }
    }
}

#[tokio::test]
async fn layer_and_route_layer_of_the_app_protect_every_path() {
    let reject = from_fn(async |_: Request, _: Next| StatusCode::FORBIDDEN.into_response());
    let router = || sigver::axum::admin_router::<()>(SignalingHub::new());
    for router in [router().layer(reject.clone()), router().route_layer(reject)] {
        let app = Router::new().nest_service("/internal", router);
        for path in ["", "/", "/status", "/groups/0", "/healthz", "/readyz", "/nothing", "//", "/%73tatus"] {
            assert_eq!(get(&app, &format!("/internal{path}")).await.0, 403, "{path}");
        }
    }
}

#[tokio::test]
async fn filter_of_the_app_protects_every_path() {
    let operator = warp::header::optional("x-operator").and_then(async |name: Option<String>| match name {
        Some(_) => Ok(()),
        None => Err(warp::reject::not_found()),
    });
    let service = sigver::hyper::admin(SignalingHub::new()).with_metrics(|| "sigver_peers 3\n".to_owned());
    let admin = warp::path!("internal" / ..).and(operator.untuple_one()).and(sigver::warp::admin(service));
    let hello = warp::path!("hello").map(|| "hello");
    let app = warp_app(admin.or(hello));
    assert_eq!(get(&app, "/hello").await, (200, "hello".to_owned()));
    for (path, status) in [
        ("", 200),
        ("/", 200),
        ("/status", 200),
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/groups/0", 404),
        ("/nothing", 404),
    ] {
        let path = format!("/internal{path}");
        let (rejected, text) = get(&app, &path).await;
        assert_eq!((rejected, text.contains("Paths: ")), (404, false), "{path}");
        let request = Request::get(&path).header("x-operator", "alice").body(Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("a router never fails");
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test]
async fn filter_checks_the_host_in_the_header_and_in_the_uri() {
    let service = sigver::hyper::admin(SignalingHub::new()).allowed_hosts(["admin.example"]);
    let app = warp_app(warp::path!("internal" / ..).and(sigver::warp::admin(service)));
    for (host, status) in [("admin.example", 200), ("evil.example", 421)] {
        let over_http1 = Request::get("/internal/status").header("host", host);
        let over_http2 = Request::get(format!("http://{host}/internal/status"));
        for request in [over_http1, over_http2] {
            let request = request.body(Body::empty()).expect("a request");
            let response = app.clone().oneshot(request).await.expect("a router never fails");
            assert_eq!(response.status().as_u16(), status, "{host}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn draining_hub_is_healthy_but_not_ready() {
    let hub = SignalingHub::new();
    let app = app(&hub);
    hub.drain(Duration::from_secs(1)).await;
    assert_eq!(get(&app, "/internal/sigver/readyz").await, (503, "draining\n".to_owned()));
    assert_eq!(get(&app, "/internal/sigver/healthz").await, (200, "ok\n".to_owned()));
    let status = get_json(&app, "/internal/sigver/status").await;
    assert_eq!((&status["draining"], &status["ready"]), (&json!(true), &json!(false)));
}

#[tokio::test]
async fn metrics_and_fields_of_the_app_are_absent_unless_set() {
    let plain = sigver::hyper::admin(SignalingHub::new());
    let app = |service: sigver::hyper::AdminService| Router::new().fallback_service(service);
    let (status, paths) = get(&app(plain.clone()), "/metrics").await;
    assert_eq!((status, &*paths), (404, "Paths: /, /status, /groups/HASH, /healthz, /readyz\n"));
    let service = plain.with_metrics(|| "sigver_peers 3\n".to_owned());
    let app = app(service.with_field("sessions", || json!(7)).with_field("logins", || json!([["failed", 2]])));
    assert_eq!(get(&app, "/metrics").await, (200, "sigver_peers 3\n".to_owned()));
    let response = send(&app, Method::GET, "/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(get(&app, "/nothing").await.1.contains("/metrics"));
    let status = get_json(&app, "/status").await;
    assert_eq!((&status["sessions"], &status["logins"]), (&json!(7), &json!([["failed", 2]])), "{status}");
}
