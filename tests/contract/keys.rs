//! Group keys in URLs: where the key is read from, and which keys are valid.

use sigver::{JoinRequest, PeerInfo, SignalingHub};

use crate::server::{Adapter, OpenRequest};

crate::on_every_adapter! {
    empty_key_closes_with_4741_after_handshake
    key_over_512_bytes_closes_with_4741
    invalid_encoding_of_key_closes_with_4745
    differently_encoded_keys_name_one_group
    key_can_contain_slashes
    key_can_be_in_query
    favored_applies_with_any_value
}

crate::on_every_configurable_adapter! {
    admission_can_keep_tenants_apart
}

async fn empty_key_closes_with_4741_after_handshake(adapter: Adapter) {
    let server = adapter.start().await;
    // axum passes `/signal/` to no nested router: see `sigver::axum::router`. tests/axum/routes.rs has the URLs that work.
    let slash: &[_] = if adapter == Adapter::Axum { &[] } else { &[""] };
    for tail in slash.iter().chain(&["?favored", "?", "?key="]) {
        assert_eq!(server.open(tail).await.recv_close().await.code, 4741, "{tail}");
    }
}

async fn key_over_512_bytes_closes_with_4741(adapter: Adapter) {
    let server = adapter.start().await;
    let mut first = server.open(&"x".repeat(512)).await;
    assert!(first.connect(1, &[]).await);
    for tail in ["%78".repeat(512), format!("?key={}", "x".repeat(512))] {
        assert!(!server.open(&tail).await.connect(2, &[]).await, "the keys are equal");
    }
    for key in ["x".repeat(513), "%78".repeat(513), format!("?key={}", "x".repeat(513))] {
        assert_eq!(server.open(&key).await.recv_close().await.code, 4741);
    }
}

async fn invalid_encoding_of_key_closes_with_4745(adapter: Adapter) {
    let server = adapter.start().await;
    for tail in ["%zz", "%", "a%4", "%ff", "?key=%zz", "?key=%ff"] {
        assert_eq!(server.open(tail).await.recv_close().await.code, 4745, "{tail}");
    }
}

async fn differently_encoded_keys_name_one_group(adapter: Adapter) {
    let server = adapter.start().await;
    let mut first = server.open("caf%C3%A9+1").await;
    assert!(first.connect(1, &[]).await);
    for tail in ["caf%c3%a9+1", "%63af%C3%A9%2b1", "?key=caf%C3%A9%2B1"] {
        assert!(!server.open(tail).await.connect(2, &[]).await, "{tail}");
    }
    // The hub decodes a key only once.
    assert!(server.open("caf%25C3%25A9+1").await.connect(2, &[]).await);
}

async fn key_can_contain_slashes(adapter: Adapter) {
    let server = adapter.start().await;
    let mut first = server.open("a/b//c").await;
    assert!(first.connect(1, &[]).await);
    assert!(!server.open("a%2Fb/%2Fc").await.connect(2, &[]).await);
    for other in ["a", "a/b", "/a/b//c", "a/b//c/"] {
        assert!(server.open(other).await.connect(2, &[]).await, "{other}");
    }
}

async fn key_can_be_in_query(adapter: Adapter) {
    let server = adapter.start().await;
    let mut first = server.open("K%20L").await;
    assert!(first.connect(1, &[]).await);
    for tail in ["?key=K+L", "?key=K%20L", "?favored&key=K+L&x=1"] {
        assert!(!server.open(tail).await.connect(2, &[]).await, "{tail}");
    }
    assert!(server.open("M?key=K+L").await.connect(2, &[]).await, "the path takes precedence");
}

async fn favored_applies_with_any_value(adapter: Adapter) {
    let server = adapter.start().await;
    for (key, query) in [("a", "favored"), ("b", "favored="), ("c", "favored=0"), ("d", "x=1&favored&y")] {
        let [mut regular, mut joiner] = [server.open(key).await, server.open(key).await];
        let mut favored = server.open(&format!("{key}?{query}")).await;
        assert!(regular.connect(1, &[]).await);
        assert!(favored.connect(2, &[1]).await);
        assert!(!joiner.connect(3, &[]).await);
        joiner.send_content(0, "offer").await;
        assert_eq!(favored.recv_content().await.1, "offer");
    }
}

async fn admission_can_keep_tenants_apart(adapter: Adapter) {
    let builder = SignalingHub::builder().admission(|request: JoinRequest| async move {
        let tenant = request.parts().and_then(|parts| parts.headers.get("x-tenant")?.to_str().ok());
        Ok(PeerInfo::new().key(request.key().within(tenant.unwrap_or_default())?))
    });
    let server = adapter.start_with(builder).await;
    let open = async |key, tenant: &str| server.try_open(OpenRequest::new(key).header("x-tenant", tenant)).await;
    let mut first = open("b/c", "a").await.expect("a valid key");
    assert!(first.connect(1, &[]).await);
    let mut second = open("b%2Fc", "a").await.expect("a valid key");
    assert!(!second.connect(2, &[]).await, "the same tenant");
    for (key, tenant) in [("b/c", "b"), ("c", "a/b"), ("c", "a%2Fb"), ("a/b/c", "a")] {
        let mut other = open(key, tenant).await.expect("a valid key");
        assert!(other.connect(2, &[]).await, "{key} of {tenant}");
    }
    assert_eq!(open("b/c", "").await.expect("a key is checked after the handshake").recv_close().await.code, 4741);
}
