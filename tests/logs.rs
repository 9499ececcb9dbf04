//! The log lines that an operator sees at the default level.

#[path = "common/log.rs"]
mod log;

use std::time::{Duration, SystemTime};

use log::Log;
use sigver::memory;
use sigver::{Cause, CloseCode, JoinRequest, PeerInfo, Rejection, SignalingHub};
use tokio::time::advance;
use tracing::Level;

const MINUTE: Duration = Duration::from_secs(60);

fn request() -> JoinRequest {
    JoinRequest::new("the-key").with_client_ip([192, 0, 2, 7].into())
}

/// Joins a hub that must reject the peer.
async fn join_rejected(hub: &SignalingHub) {
    hub.admit(request()).await.expect_err("the hub is full");
}

fn full_hub() -> SignalingHub {
    SignalingHub::builder().max_peers(1).build().expect("valid settings")
}

#[tokio::test(start_paused = true)]
async fn first_rejection_is_logged_at_once_and_later_ones_once_a_minute_with_their_count() {
    let log = Log::capture();
    let hub = full_hub();
    let _permit = hub.admit(request()).await.expect("the first peer");
    join_rejected(&hub).await;
    let line = "WARN peers rejected or closed; one of them is shown cause=max_peers rejected=1 closed=0 \
                client_ip=192.0.2.7 group=";
    let lines = log.take();
    assert!(matches!(&*lines, [first] if first.starts_with(line)), "{lines:?}");
    assert!(lines[0].ends_with(" code=1013 reason=\"peer limit reached (1)\""), "{lines:?}");

    for _ in 0..50 {
        join_rejected(&hub).await;
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(log.take(), [""; 0], "the minute has not passed");
    advance(Duration::from_secs(10)).await;
    join_rejected(&hub).await;
    let lines = log.take();
    assert!(matches!(&*lines, [line] if line.contains(" rejected=51 ")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn internal_error_of_the_app_is_logged_with_its_sources() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the sessions")]
    struct AppError(#[source] std::io::Error);
    let log = Log::capture();
    let admission = |_: JoinRequest| async {
        Err::<PeerInfo, _>(Rejection::internal(AppError(std::io::Error::other("db.internal is unreachable"))))
    };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    let close = memory::join(&hub, "K").recv_close().await;
    assert_eq!((close.code, &*close.reason), (1011, "internal error"));
    let lines = log.take();
    let [error, rejection] = &lines[..] else { panic!("expected two lines, got {lines:?}") };
    assert_eq!(error, "ERROR admission failed error=\"cannot read the sessions: db.internal is unreachable\"");
    assert!(rejection.ends_with(" code=1011 reason=\"internal error\""), "{rejection}");
}

#[cfg(feature = "hyper")]
#[tokio::test(start_paused = true)]
async fn join_of_a_test_with_an_extension_and_without_a_client_ip_logs_no_warning() {
    let log = Log::capture();
    let hub = SignalingHub::new();
    let request = JoinRequest::new("K").with_extension(7_u8).with_header("cookie", "a=b");
    assert!(memory::join(&hub, request).connect(1, &[]).await);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn reason_that_the_app_composed_is_not_logged_at_any_level() {
    let log = Log::capture_at(Level::TRACE);
    let reject = |request: JoinRequest| async move {
        Err::<PeerInfo, _>(Rejection::close(CloseCode::app(4001), format!("no group {}", request.key().as_str())))
    };
    let hub = SignalingHub::builder().admission(reject).build().expect("valid settings");
    let mut peer = memory::join(&hub, "secret-key");
    assert_eq!(peer.recv_close().await.code, 4001);
    hub.shutdown().await; // waits for the end of the close handshake
    let lines = log.take();
    assert!(lines.iter().any(|line| line.contains("DEBUG rejected cause=admission")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("connection of a rejected peer closed")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("secret-key")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn reason_of_close_identity_is_not_logged_at_any_level() {
    let log = Log::capture_at(Level::TRACE);
    let admission = |_| async { Ok(PeerInfo::new().identity("alice")) };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    let mut peer = memory::join(&hub, "K");
    assert!(peer.connect(1, &[]).await);
    hub.close_identity("alice", CloseCode::app(4001), format!("{} has ended", "secret-key"));
    assert_eq!(peer.recv_close().await.code, 4001);
    hub.shutdown().await; // waits for the end of the close handshake
    let lines = log.take();
    assert!(lines.iter().any(|line| line.contains("peer left reason=closed by hub with 4001")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("secret-key")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn expiry_of_a_peer_is_not_logged_as_a_limit_but_a_rejection_is() {
    let log = Log::capture();
    let admission = |request: JoinRequest| async move {
        let second = Duration::from_secs(1);
        let is_early = request.key().as_str() == "K";
        let now = SystemTime::now();
        Ok(PeerInfo::new().expires_at(if is_early { now + second } else { now - second }))
    };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    assert_eq!(memory::join(&hub, "K").recv_close().await.code, 4740);
    assert_eq!(log.take(), [""; 0]);
    join_rejected(&hub).await;
    let lines = log.take();
    let end = " code=4740 reason=\"access had expired before the peer was admitted\"";
    assert!(matches!(&*lines, [line] if line.contains("cause=expires_at") && line.ends_with(end)), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn each_limit_has_a_line_of_its_own() {
    let log = Log::capture();
    let hub = SignalingHub::builder().max_peers(1).joins_per_second_per_ip(1).build().expect("valid settings");
    let _permit = hub.admit(request()).await.expect("the first peer");
    join_rejected(&hub).await;
    advance(Duration::from_secs(1)).await;
    join_rejected(&hub).await;
    let lines = log.take();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("cause=joins_per_second_per_ip") && lines[1].contains("cause=max_peers"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn closed_peer_is_logged_with_its_id_and_key_hash() {
    let log = Log::capture();
    let hub = SignalingHub::builder().max_message_bytes(10).build().expect("valid settings");
    let mut peer = memory::join(&hub, request());
    assert!(peer.connect(1, &[]).await);
    let (id, hash) = (hub.peers("the-key")[0].id, hub.groups()[0].key_hash);
    peer.send_content(0, "more than ten bytes").await;
    assert_eq!(peer.recv_close().await.code, 1009);
    let expected = format!(
        "WARN peers rejected or closed; one of them is shown cause=max_message_bytes rejected=0 closed=1 \
         client_ip=192.0.2.7 group={hash:016x} peer={} code=1009 reason=\"message exceeds 10 bytes\"",
        id.0
    );
    assert_eq!(log.take(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn rejections_after_a_log_line_are_logged_with_the_first_heartbeat_one_minute_later() {
    let log = Log::capture();
    let hub = full_hub();
    let mut peer = memory::join(&hub, "other");
    assert!(peer.connect(1, &[]).await);
    for _ in 0..7 {
        join_rejected(&hub).await;
    }
    assert_eq!(log.take().len(), 1);
    for elapsed in (5..=60).step_by(5) {
        assert_eq!(log.take(), [""; 0], "after {elapsed} s");
        peer.recv_any().await.expect("a heartbeat");
        peer.send_heartbeat().await;
    }
    tokio::task::yield_now().await;
    let lines = log.take();
    assert!(matches!(&*lines, [line] if line.contains(" rejected=6 ")), "{lines:?}");
    // Nothing is left to write.
    for _ in 0..20 {
        peer.recv_any().await.expect("a heartbeat");
        peer.send_heartbeat().await;
    }
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn counts_of_two_limits_are_written_when_the_minute_of_each_has_passed() {
    const ALLOWED: &str = "https://app.example";
    let log = Log::capture();
    let hub = SignalingHub::builder().max_peers(1).allowed_origins([ALLOWED]).build().expect("valid settings");
    let mut peer = memory::join(&hub, request().with_origin(ALLOWED));
    assert!(peer.connect(1, &[]).await);
    let mut lines = Vec::new();
    for seconds in (0..120).step_by(5) {
        match seconds {
            0 | 5 => drop(hub.admit(request().with_origin(ALLOWED)).await.expect_err("the hub is full")),
            30 | 35 => drop(hub.admit(request()).await.expect_err("no origin")),
            _ => {}
        }
        peer.recv_any().await.expect("a heartbeat");
        peer.send_heartbeat().await;
        lines.extend(log.take().into_iter().map(|line| {
            let cause = line.split(' ').find_map(|field| field.strip_prefix("cause=")).expect("a cause").to_owned();
            (seconds, cause)
        }));
    }
    // Each step ends with the heartbeat 5 s after its start.
    let expected = [(0, "max_peers"), (30, "allowed_origins"), (55, "max_peers"), (85, "allowed_origins")];
    assert_eq!(lines, expected.map(|(seconds, cause)| (seconds, cause.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn drain_writes_the_remaining_counts_and_logs_no_line_of_its_own() {
    let log = Log::capture();
    let hub = full_hub();
    let mut peer = memory::join(&hub, "other");
    assert!(peer.connect(1, &[]).await);
    for _ in 0..3 {
        join_rejected(&hub).await;
    }
    assert_eq!(log.take().len(), 1);
    let closed = async { assert_eq!(peer.recv_close().await.code, 1001) };
    tokio::join!(hub.drain(Duration::from_secs(2)), closed);
    join_rejected(&hub).await;
    let lines = log.take();
    assert!(matches!(&*lines, [line] if line.contains("cause=max_peers rejected=2 ")), "{lines:?}");
    assert_eq!(hub.stats().rejections.get(Cause::Draining), 1);
}

#[tokio::test(start_paused = true)]
async fn peer_closed_without_a_cause_is_not_logged() {
    let log = Log::capture();
    let hub = SignalingHub::new();
    let mut peer = memory::join(&hub, "K");
    assert!(peer.connect(1, &[]).await);
    hub.close_group("K", CloseCode::app(4001));
    assert_eq!(peer.recv_close().await.code, 4001);
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn lines_contain_neither_key_nor_text_that_the_app_composed() {
    let log = Log::capture();
    let admission = |request: JoinRequest| async move {
        Err::<PeerInfo, _>(Rejection::close(CloseCode::app(4001), format!("{} is secret", request.key().as_str())))
    };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    join_rejected(&hub).await;
    let lines = log.take();
    assert!(matches!(&*lines, [line] if line.ends_with(" code=4001")), "{lines:?}");

    let admission = |_| async { Err::<PeerInfo, _>(Rejection::close(CloseCode::app(4001), "log in first")) };
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    join_rejected(&hub).await;
    let lines = log.take();
    assert!(matches!(&*lines, [line] if line.ends_with(" code=4001 reason=\"log in first\"")), "{lines:?}");
    assert!(!lines[0].contains("the-key"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn pending_admission_over_its_timeout_is_logged_once() {
    let log = Log::capture();
    let admission = |_| std::future::pending::<Result<PeerInfo, Rejection>>();
    let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
    tokio::join!(join_rejected(&hub), join_rejected(&hub));
    let lines = log.take();
    let end = " code=1013 reason=\"admission timed out, try again later\"";
    assert!(matches!(&*lines, [line] if line.contains("cause=admission") && line.ends_with(end)), "{lines:?}");
    advance(MINUTE).await;
    join_rejected(&hub).await;
    let lines = log.take();
    assert!(matches!(&*lines, [line] if line.contains(" rejected=2 ")), "{lines:?}");
}

#[cfg(feature = "hyper")]
mod setup {
    use sigver::ClientIpHeader;

    use super::*;

    fn parts(header: Option<&str>) -> http::request::Parts {
        let mut request = http::Request::get("/");
        if let Some(name) = header {
            request = request.header(name, "for=203.0.113.9");
        }
        request.body(()).expect("a valid request").into_parts().0
    }

    async fn join(hub: &SignalingHub, client_ip: Option<[u8; 4]>, header: Option<&str>) {
        let request = JoinRequest::new("the-key").with_parts(parts(header));
        let request = client_ip.into_iter().fold(request, |request, ip| request.with_client_ip(ip.into()));
        drop(hub.admit(request).await.expect("no limit is reached"));
    }

    #[tokio::test(start_paused = true)]
    async fn first_peer_behind_an_untrusted_proxy_is_logged_once() {
        let none = SignalingHub::new;
        let other = || {
            let builder = SignalingHub::builder().trusted_proxies(ClientIpHeader::XForwardedFor, ["10.0.0.0/8"]);
            builder.build().expect("valid settings")
        };
        for header in ["forwarded", "x-forwarded-for"] {
            for hub in [none(), other()] {
                let log = Log::capture();
                join(&hub, Some([192, 0, 2, 7]), None).await;
                assert_eq!(log.take(), [""; 0]);
                for _ in 0..3 {
                    join(&hub, Some([192, 0, 2, 7]), Some(header)).await;
                    advance(2 * MINUTE).await;
                }
                let lines = log.take();
                let is_expected = |line: &str| line.contains("`trusted_proxies`") && line.ends_with(" ip=192.0.2.7");
                assert!(matches!(&*lines, [line] if is_expected(line)), "{lines:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn peer_behind_a_trusted_proxy_is_not_logged() {
        let log = Log::capture();
        let builder = SignalingHub::builder().trusted_proxies(ClientIpHeader::XForwardedFor, ["10.0.0.0/8"]);
        let hub = builder.build().expect("valid settings");
        join(&hub, Some([10, 0, 0, 1]), Some("x-forwarded-for")).await;
        assert_eq!(log.take(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn first_http_peer_without_client_ip_is_logged_once() {
        let log = Log::capture();
        let hub = SignalingHub::new();
        // A peer that did not come through HTTP has no client IP to configure.
        drop(hub.admit("the-key").await.expect("no limit is reached"));
        assert_eq!(log.take(), [""; 0]);
        for _ in 0..3 {
            join(&hub, None, None).await;
            advance(2 * MINUTE).await;
        }
        let lines = log.take();
        assert!(matches!(&*lines, [line] if line.starts_with("WARN client IP unknown")), "{lines:?}");
    }
}
