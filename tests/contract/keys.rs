//! Where a group's key is in a URL, and which keys there are.

use crate::door::Kind;

crate::over_every_door! {
    an_empty_key_is_accepted_and_then_closed_with_4741
    a_key_has_at_most_512_bytes_else_4741
    a_url_that_cannot_be_read_is_4745
    two_spellings_of_one_key_meet
    a_key_may_contain_slashes
    the_key_may_be_in_the_query
    favored_counts_with_any_value
}

async fn an_empty_key_is_accepted_and_then_closed_with_4741(kind: Kind) {
    let door = kind.open().await;
    // axum gives `/signal/` to no nested router: see `sigver::axum::router`, and tests/axum.rs for what does get it.
    let slash: &[_] = if kind == Kind::Axum { &[] } else { &[""] };
    for tail in slash.iter().chain(&["?favored", "?", "?key="]) {
        assert_eq!(door.open(tail).await.recv_close().await, 4741, "{tail}");
    }
}

async fn a_key_has_at_most_512_bytes_else_4741(kind: Kind) {
    let door = kind.open().await;
    let mut first = door.open(&"x".repeat(512)).await;
    assert!(first.connect(1, &[]).await);
    for tail in ["%78".repeat(512), format!("?key={}", "x".repeat(512))] {
        assert!(!door.open(&tail).await.connect(2, &[]).await, "the same key");
    }
    for key in ["x".repeat(513), "%78".repeat(513), format!("?key={}", "x".repeat(513))] {
        assert_eq!(door.open(&key).await.recv_close().await, 4741);
    }
}

async fn a_url_that_cannot_be_read_is_4745(kind: Kind) {
    let door = kind.open().await;
    for tail in ["%zz", "%", "a%4", "%ff", "?key=%zz", "?key=%ff"] {
        assert_eq!(door.open(tail).await.recv_close().await, 4745, "{tail}");
    }
}

async fn two_spellings_of_one_key_meet(kind: Kind) {
    let door = kind.open().await;
    let mut first = door.open("caf%C3%A9+1").await;
    assert!(first.connect(1, &[]).await);
    for tail in ["caf%c3%a9+1", "%63af%C3%A9%2b1", "?key=caf%C3%A9%2B1"] {
        assert!(!door.open(tail).await.connect(2, &[]).await, "{tail}");
    }
    // Decoded once.
    assert!(door.open("caf%25C3%25A9+1").await.connect(2, &[]).await);
}

async fn a_key_may_contain_slashes(kind: Kind) {
    let door = kind.open().await;
    let mut first = door.open("a/b//c").await;
    assert!(first.connect(1, &[]).await);
    assert!(!door.open("a%2Fb/%2Fc").await.connect(2, &[]).await);
    let others = ["a", "a/b", "/a/b//c", "a/b//c/"];
    for other in others {
        assert!(door.open(other).await.connect(2, &[]).await, "{other}");
    }
}

async fn the_key_may_be_in_the_query(kind: Kind) {
    let door = kind.open().await;
    let mut first = door.open("K%20L").await;
    assert!(first.connect(1, &[]).await);
    for tail in ["?key=K+L", "?key=K%20L", "?favored&key=K+L&x=1"] {
        assert!(!door.open(tail).await.connect(2, &[]).await, "{tail}");
    }
    assert!(door.open("M?key=K+L").await.connect(2, &[]).await, "the path wins");
}

async fn favored_counts_with_any_value(kind: Kind) {
    let door = kind.open().await;
    for (key, query) in [("a", "favored"), ("b", "favored="), ("c", "favored=0"), ("d", "x=1&favored&y")] {
        let [mut plain, mut joiner] = [door.open(key).await, door.open(key).await];
        let mut favored = door.open(&format!("{key}?{query}")).await;
        assert!(plain.connect(1, &[]).await);
        assert!(favored.connect(2, &[1]).await);
        assert!(!joiner.connect(3, &[]).await);
        joiner.send_content(0, "offer").await;
        assert_eq!(favored.recv_content().await.1, "offer");
    }
}
