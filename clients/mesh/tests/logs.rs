//! The log lines about the hub that an operator sees at the default level.

mod common;
#[allow(dead_code, reason = "the tests of the main crate use all of it")]
#[path = "../../../tests/common/log.rs"]
mod log;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use common::{SOON, until};
use log::Log;
use sigver::SignalingHub;
use sigver_mesh::{Event, Group, Options, State};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::Level;

/// The lines about the hub since the last call. The hub in this process logs, too.
fn hub_lines(log: &Log) -> Vec<String> {
    log.take().into_iter().filter(|line| line.contains("the hub is ")).collect()
}

#[tokio::test]
async fn first_failure_of_a_row_is_logged_with_its_cause_and_then_the_end_of_the_row() {
    let log = Log::capture_at(Level::INFO);
    let hub = SignalingHub::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let fail_twice = from_fn(move |request: Request, next: Next| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        async move { if call < 2 { StatusCode::NOT_FOUND.into_response() } else { next.run(request).await } }
    });
    let app = axum::Router::new().nest_service("/signal", sigver::axum::router(hub.clone())).layer(fail_twice);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("ws://{}/signal", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async { axum::serve(listener, app).await.expect("the server runs") });

    let options = Options::default().address("127.0.0.1:0".parse().expect("an address"));
    let group = timeout(SOON, Group::join(&url, "tea room", options)).await.expect("soon").expect("joins");
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let lines = hub_lines(&log);
    assert!(
        matches!(&*lines, [failure, end] if failure.starts_with("WARN the hub is unreachable")
        && failure.contains("HTTP 404") && end == "INFO the hub is reachable again"),
        "{lines:?}"
    );

    hub.shutdown().await;
    let away = |event: &Event| matches!(event, Event::StateChange { state: State::Reconnecting, .. }).then_some(());
    until(&group, away).await;
    let lines = hub_lines(&log);
    assert!(matches!(&*lines, [failure] if failure.contains("the hub closed the connection")), "{lines:?}");
    server.abort();
}
