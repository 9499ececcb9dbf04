//! Which group key a route gives a peer.

use axum::Router;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::middleware::map_request;
use axum::routing::any;
use sigver::{GroupKey, SignalingHub};

use crate::common::open;
use crate::serve;

#[tokio::test]
async fn key_is_the_route_parameter_key_or_in_the_query() {
    let hub = SignalingHub::new();
    let handler = || sigver::axum::handler(hub.clone());
    let app = Router::new()
        .route("/query", handler())
        .route("/tail/{*key}", handler())
        .route("/segment/{key}/ws", handler())
        .nest("/{tenant}/nested", sigver::axum::router(hub.clone()))
        .nest("/prefix/{key}", Router::new().route("/", handler()))
        .nest("/outer", Router::new().route("/inner/{*key}", handler()));
    let address = serve(app).await;
    let mut first = open(address, "/query?key=a%2Fb").await;
    assert!(first.connect(1, &[]).await);
    for path in [
        "/query?key=a/b",
        "/tail/a/b",
        "/tail/%61/b?key=ignored",
        "/segment/a%2Fb/ws",
        "/tenant/nested/a/b",
        "/tenant/nested?key=a%2fb",
        "/prefix/a%2Fb",
        "/outer/inner/a/b",
    ] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
}

#[tokio::test]
async fn nested_service_serves_every_path_below_its_mount() {
    let app = Router::new().nest_service("/signal", sigver::axum::router(SignalingHub::new())).fallback("not found");
    let address = serve(app).await;
    for path in ["/signal", "/signal/", "/signal/?favored"] {
        assert_eq!(open(address, path).await.recv_close().await.code, 4741, "{path}");
    }
    assert_eq!(open(address, "/signal/%zz").await.recv_close().await.code, 4745);
    let mut first = open(address, "/signal/a/b").await;
    assert!(first.connect(1, &[]).await);
    for path in ["/signal/?key=a/b", "/signal?key=a/b", "/signal/a%2Fb"] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
    for key in ["/a/b", "a/b/"] {
        assert!(open(address, &format!("/signal/{key}")).await.connect(1, &[]).await, "{key} is another key");
    }
}

#[tokio::test]
async fn key_is_found_in_a_rewritten_path() {
    let inner = Router::new().route("/ws/{*key}", sigver::axum::handler(SignalingHub::new()));
    let rewrite = map_request(async |mut request: Request| {
        let path = request.uri().path().replace("/old/path/", "/ws/");
        *request.uri_mut() = path.parse().expect("a path");
        request
    });
    let app = Router::new().fallback_service(inner).layer(rewrite);
    let address = serve(app).await;
    let mut first = open(address, "/old/path/a/b").await;
    assert!(first.connect(1, &[]).await);
    assert!(!open(address, "/ws/a/b").await.connect(2, &[]).await);
}

#[tokio::test]
async fn router_merged_at_the_root_serves_all_remaining_paths() {
    let app = Router::new().route("/hello", any("hello")).merge(sigver::axum::router(SignalingHub::new()));
    let address = serve(app).await;
    let mut first = open(address, "/a/b").await;
    assert!(first.connect(1, &[]).await);
    assert!(!open(address, "/?key=a/b").await.connect(2, &[]).await);
}

#[tokio::test]
async fn router_does_not_separate_tenants_and_router_with_does() {
    let [shared, separate] = [(); 2].map(|()| SignalingHub::new());
    let tenant_key = |parts: &Parts| {
        let tenant = sigver::axum::path_param(parts, "tenant")?;
        sigver::axum::key(parts)?.within(tenant)
    };
    let app = Router::new()
        .nest_service("/shared/{tenant}", sigver::axum::router(shared.clone()))
        .nest_service("/t/{tenant}", sigver::axum::router_with(separate.clone(), tenant_key))
        .nest("/nested/{tenant}", sigver::axum::router_with(separate.clone(), tenant_key));
    let address = serve(app).await;
    assert!(open(address, "/shared/t1/r").await.connect(1, &[]).await);
    assert_eq!(shared.peers("r").len(), 1, "the tenant is not part of the key");

    let mut first = open(address, "/t/t1/r/1").await;
    assert!(first.connect(1, &[]).await);
    for path in ["/t/t1/r%2F1", "/t/t1?key=r/1", "/t/t1/?key=r/1", "/t/%741/r/1", "/nested/t1/r/1"] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
    for path in ["/t/t2/r/1", "/t/t1%2Fr/1", "/t/t1/t1/r/1", "/nested/t2/r/2"] {
        let mut peer = open(address, path).await;
        assert!(peer.connect(2, &[]).await, "{path}");
    }
    for (path, code) in [("/t/t1", 4741), ("/t/t1/", 4741), ("/t/t1/%zz", 4745), ("/t/%ff/r", 4745)] {
        assert_eq!(open(address, path).await.recv_close().await.code, code, "{path}");
    }
    let reason = open(address, "/t/t1").await.recv_close().await.reason;
    assert_eq!(reason, "group key is empty; must be 1 to 512 bytes", "the routes are right");
}

#[tokio::test]
async fn tenant_of_a_rewritten_path_is_that_of_the_new_path() {
    let hub = SignalingHub::new();
    let tenant_key = |parts: &Parts| sigver::axum::key(parts)?.within(sigver::axum::path_param(parts, "tenant")?);
    let inner = Router::new().nest_service("/t/{tenant}", sigver::axum::router_with(hub.clone(), tenant_key));
    let rewrite = map_request(async |mut request: Request| {
        let uri = request.uri().to_string().replace("/old/path", "/t/acme");
        *request.uri_mut() = uri.parse().expect("a path");
        request
    });
    let address = serve(Router::new().fallback_service(inner).layer(rewrite)).await;
    let mut first = open(address, "/t/acme/K").await;
    assert!(first.connect(1, &[]).await);
    for path in ["/old/path/K", "/old/path?key=K", "/old/path/?key=K"] {
        assert!(!open(address, path).await.connect(2, &[]).await, "{path}");
    }
}

#[tokio::test]
async fn favored_in_the_url_applies_to_router_with() {
    let router = sigver::axum::router_with(SignalingHub::new(), |_| "the lobby");
    let address = serve(Router::new().nest_service("/signal", router)).await;
    let [mut regular, mut favored] = [open(address, "/signal").await, open(address, "/signal/any?favored").await];
    assert!(regular.connect(1, &[]).await);
    assert!(favored.connect(2, &[1]).await);
    let mut joiner = open(address, "/signal").await;
    assert!(!joiner.connect(3, &[]).await);
    joiner.send_content(0, "offer").await;
    assert_eq!(favored.recv_content().await.1, "offer");
}

#[tokio::test]
async fn route_without_the_parameter_key_is_the_close_reason() {
    let hub = SignalingHub::new();
    let tenant_key = |parts: &Parts| GroupKey::new(sigver::axum::path_param(parts, "tenant")?);
    let app = Router::new()
        .route("/documents/{document}", sigver::axum::handler(hub.clone()))
        .route("/query", sigver::axum::handler(hub.clone()))
        .nest_service("/rooms/{room}", sigver::axum::router_with(hub, tenant_key));
    let address = serve(app).await;
    let close = open(address, "/documents/7").await.recv_close().await;
    let expected = "group key is missing; the route must have a parameter {key} or {*key}, or the query key=KEY";
    assert_eq!((close.code, &*close.reason), (4741, expected));
    let close = open(address, "/rooms/7/K").await.recv_close().await;
    let expected = "group key is missing; the route must have a parameter {tenant} or {*tenant}";
    assert_eq!((close.code, &*close.reason), (4741, expected));
    for path in ["/query", "/query?key=", "/documents/7?key=%"] {
        let reason = open(address, path).await.recv_close().await.reason;
        assert!(!reason.contains("must have a parameter"), "{path}: {reason}");
    }
    assert!(open(address, "/documents/7?key=K").await.connect(1, &[]).await);
}
