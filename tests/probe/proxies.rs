//! Faults of a proxy between the probe and the hub.

use std::time::Duration;

use sigver::protocol::Message;
use sigver::{Frame, SignalingHub};

use crate::fails;
use crate::process::start;
use crate::servers::{byte_proxy, fast_hub, frame_proxy, http, listen};

/// A heartbeat of the hub on the wire: one binary WebSocket frame.
const HEARTBEAT: [u8; 4] = [0x82, 2, 0x08, 1];

fn drop_heartbeats(frame: Frame) -> Option<Frame> {
    if frame == Frame::Binary(Message::HEARTBEAT) { None } else { Some(frame) }
}

#[tokio::test]
async fn probe_reports_missing_heartbeats_of_the_hub() {
    let hub = SignalingHub::new();
    let address = listen(move |socket| frame_proxy(socket, hub.clone(), drop_heartbeats, Some)).await;
    fails(&[&format!("ws://{address}/")], "heartbeat", &["no heartbeat within 6.0 s", "buffers"]).await;
}

#[tokio::test]
async fn probe_reports_heartbeats_that_do_not_reach_the_hub() {
    let hub = fast_hub();
    let address = listen(move |socket| frame_proxy(socket, hub.clone(), Some, drop_heartbeats)).await;
    let words = ["closed with 4742", "did not receive the heartbeats"];
    fails(&[&format!("ws://{address}/")], "keepalive", &words).await;
}

#[tokio::test]
async fn probe_reports_altered_messages() {
    let hub = fast_hub();
    let alter = |frame| match frame {
        Frame::Binary(bytes) if bytes.len() > 1000 => {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().expect("more than 1000 bytes") ^= 1;
            Some(Frame::Binary(bytes.into()))
        }
        frame => Some(frame),
    };
    let address = listen(move |socket| frame_proxy(socket, hub.clone(), alter, Some)).await;
    fails(&[&format!("ws://{address}/")], "relay", &["a message of 2000 bytes arrived altered"]).await;
}

#[tokio::test]
async fn probe_reports_proxy_that_closes_idle_connections() {
    let (_process, hub) = start(&[]).await;
    let hub = hub.parse().expect("an address");
    let address = listen(move |socket| byte_proxy(socket, hub, Duration::from_secs(2), |_| false)).await;
    let words = ["connection lost without a close frame", "closes idle connections", "proxy_read_timeout"];
    fails(&[&format!("ws://{address}/")], "heartbeat", &words).await;
}

#[tokio::test]
async fn probe_reports_proxy_that_limits_the_time_of_a_connection() {
    let hub = SignalingHub::builder().heartbeat_interval(Duration::from_secs(1)).build().expect("valid settings");
    let hub = http(sigver::hyper::service(hub)).await;
    let address = listen(move |socket| {
        let mut heartbeats = 0;
        byte_proxy(socket, hub, Duration::MAX, move |bytes| {
            heartbeats += usize::from(bytes.ends_with(&HEARTBEAT));
            heartbeats == 7
        })
    })
    .await;
    let words = [
        "connection lost without a close frame",
        "survived an equally long silence",
        "limits the total time of a connection",
    ];
    fails(&[&format!("ws://{address}/"), "--idle", "60"], "idle", &words).await;
}

#[tokio::test]
async fn probe_reports_proxy_that_forwards_the_handshake_only() {
    let hub = http(sigver::hyper::service(fast_hub())).await;
    let address = listen(move |socket| {
        let mut reads = 0;
        byte_proxy(socket, hub, Duration::MAX, move |_| {
            reads += 1;
            reads == 2
        })
    })
    .await;
    let words = ["connection lost without a close frame", "forwards the handshake but no messages"];
    fails(&[&format!("ws://{address}/")], "first peer", &words).await;
}
