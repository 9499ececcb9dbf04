//! The log lines that an operator sees at the default level.

#[path = "../common/log.rs"]
mod log;

use log::Log;
use sigver::SignalingHub;

use crate::server::{Adapter, OpenRequest, Rejected};

crate::on_every_adapter_with_one_hub! {
    limit_that_rejects_peers_is_logged_once_a_minute
    limit_that_closes_peers_is_logged_once_a_minute
    forwarded_header_of_untrusted_proxy_is_logged_once
}

async fn limit_that_rejects_peers_is_logged_once_a_minute(adapter: Adapter) {
    let log = Log::capture();
    let server = adapter.start_with(SignalingHub::builder().max_peers(3)).await;
    // Twice as many connections may be open, so that each rejected one gets a close code.
    let _peers = [server.open("K").await, server.open("K").await, server.open("K").await];
    for _ in 0..3 {
        assert_eq!(server.open_rejected(OpenRequest::new("secret")).await, Rejected::Closed(1013));
    }
    let lines = log.take();
    let [line] = &*lines else { panic!("expected one line, got {lines:?}") };
    assert!(line.contains(" cause=max_peers rejected=1 closed=0 client_ip=127.0.0.1 group="), "{line}");
    assert!(line.ends_with(" code=1013 reason=\"peer limit reached (3)\"") && !line.contains("secret"), "{line}");
}

async fn limit_that_closes_peers_is_logged_once_a_minute(adapter: Adapter) {
    let log = Log::capture();
    let server = adapter.start_with(SignalingHub::builder().max_message_bytes(100)).await;
    for _ in 0..3 {
        let mut peer = server.open("secret").await;
        assert!(peer.connect(1, &[1]).await);
        peer.send_content(0, vec![0; 101]).await;
        assert_eq!(peer.recv_close().await.code, 1009);
    }
    let lines = log.take();
    let [line] = &*lines else { panic!("expected one line, got {lines:?}") };
    assert!(line.contains(" cause=max_message_bytes rejected=0 closed=1 client_ip=127.0.0.1 group="), "{line}");
    assert!(line.contains(" peer=0 code=1009 reason=\"message exceeds 100 bytes\""), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

async fn forwarded_header_of_untrusted_proxy_is_logged_once(adapter: Adapter) {
    let log = Log::capture();
    let server = adapter.start_with(SignalingHub::builder()).await;
    let _peer = server.open("K").await;
    assert_eq!(log.take(), [""; 0]);
    for header in ["x-forwarded-for", "forwarded"] {
        let request = OpenRequest::new("K").header(header, "for=192.0.2.7");
        drop(server.try_open(request).await.expect("the peer is admitted"));
    }
    // The memory adapter checks a request in the peer's task.
    tokio::task::yield_now().await;
    let lines = log.take();
    let [line] = &*lines else { panic!("expected one line, got {lines:?}") };
    assert!(line.contains("`trusted_proxies`") && line.ends_with(" ip=127.0.0.1"), "{line}");
}
