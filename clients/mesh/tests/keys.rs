//! Keys that a function of the app returns.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Hub, SOON, peer_join, until};
use sigver_mesh::{Event, Group, JoinError, Key, Options, Reason, SendError, State};
use tokio::time::timeout;

/// A key function that returns these results, one after another, and the number of its calls.
fn function<const N: usize>(results: [Result<&'static str, &'static str>; N]) -> (Key, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let key = Key::from_fn(move || {
        let result = results[counted.fetch_add(1, Ordering::Relaxed)];
        async move { result.map(str::to_owned).map_err(Into::into) }
    });
    (key, calls)
}

fn options() -> Options {
    Options::default().address("127.0.0.1:0".parse().expect("an address"))
}

#[tokio::test]
async fn key_function_is_called_before_each_socket_and_asked_again_after_a_failure() {
    let hub = Hub::start().await;
    let (key, calls) = function([Err("the vault is closed"), Ok("tea room")]);
    let group = timeout(SOON, Group::join(&hub.url(), key, options())).await.expect("soon").expect("joins");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let other = hub.peer().await;
    assert_eq!(peer_join(&group).await, other.id());
}

#[tokio::test]
async fn invalid_key_of_the_key_function_ends_the_join() {
    let hub = Hub::start().await;
    let (key, calls) = function([Ok("")]);
    let result = timeout(SOON, Group::join(&hub.url(), key, options())).await.expect("soon");
    assert!(matches!(result, Err(JoinError::Key { bytes: 0 })), "{result:?}");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn invalid_key_of_the_key_function_ends_the_group() {
    let hub = Hub::start().await;
    let (key, calls) = function([Ok("tea room"), Ok("..")]);
    let group = timeout(SOON, Group::join(&hub.url(), key, options())).await.expect("soon").expect("joins");
    hub.stop().await;
    let left = until(&group, |event| match event {
        Event::StateChange { state: State::Left, reason, close, .. } => Some((*reason, close.clone())),
        _ => None,
    });
    assert_eq!(left.await, (Reason::KeyFailed, None));
    assert_eq!(timeout(SOON, group.recv()).await, Ok(None));
    assert_eq!(group.send(None, "late").await, Err(SendError::Left));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
