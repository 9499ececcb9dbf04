//! Group keys in URLs: where the key is read from, and which keys are valid.

use crate::server::Adapter;

crate::on_every_adapter! {
    empty_key_closes_with_4741_after_handshake
    key_over_512_bytes_closes_with_4741
    invalid_encoding_of_key_closes_with_4745
    differently_encoded_keys_name_one_group
    key_can_contain_slashes
    key_can_be_in_query
    favored_applies_with_any_value
}

async fn empty_key_closes_with_4741_after_handshake(adapter: Adapter) {
    let server = adapter.start().await;
    // axum passes `/signal/` to no nested router: see `sigver::axum::router`, and tests/axum.rs for the URLs that work.
    let slash: &[_] = if adapter == Adapter::Axum { &[] } else { &[""] };
    for tail in slash.iter().chain(&["?favored", "?", "?key="]) {
        assert_eq!(server.open(tail).await.recv_close().await, 4741, "{tail}");
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
        assert_eq!(server.open(&key).await.recv_close().await, 4741);
    }
}

async fn invalid_encoding_of_key_closes_with_4745(adapter: Adapter) {
    let server = adapter.start().await;
    for tail in ["%zz", "%", "a%4", "%ff", "?key=%zz", "?key=%ff"] {
        assert_eq!(server.open(tail).await.recv_close().await, 4745, "{tail}");
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
