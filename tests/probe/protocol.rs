//! Faults of the server: closes, groups, rejections, and other protocols.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{SinkExt as _, StreamExt as _};
use hyper::service::service_fn;
use sigver::{CloseFrame, Frame, SignalingHub, memory};

use crate::fails;
use crate::servers::{Change, fast_hub, frame_proxy, http, listen};

#[tokio::test]
async fn probe_reports_the_meaning_of_a_close_code() {
    for (code, words) in [
        (1001, "shutting down"),
        (1008, "policy violation"),
        (1013, "overloaded"),
        (4741, "ERR_KEY"),
        (4742, "ERR_HEARTBEAT"),
        (4743, "ERR_MESSAGE"),
        (4744, "ERR_BLOCKING_MEMBER"),
        (4745, "ERR_URL"),
        (3000, "not a code of the protocol"),
        (4001, "a code of the app, which rejected the probe"),
    ] {
        let address = listen(move |socket| async move {
            let Ok(socket) = tokio_tungstenite::accept_async(socket).await else { return };
            let mut peer = sigver::hyper::transport(socket);
            let close = Frame::Close(Some(CloseFrame::new(code, "the reason")));
            peer.send(close).await.expect("the probe reads");
            // The connection stays open until the probe has read the close frame.
            while let Some(Ok(_)) = peer.next().await {}
        })
        .await;
        let close = format!("closed with {code} (\"the reason\")");
        fails(&[&format!("ws://{address}/")], "first peer", &[&close, words]).await;
    }
}

#[tokio::test]
async fn probe_reports_message_limit_below_the_size_of_an_offer() {
    let hub = SignalingHub::builder().max_message_bytes(1000).build().expect("valid settings");
    let address = http(sigver::hyper::service(hub)).await;
    fails(&[&format!("ws://{address}/")], "relay", &["closed with 1009", "below 2 KB"]).await;
}

#[tokio::test]
async fn probe_reports_missing_and_wrong_closes_after_a_text_message() {
    let [drop_text, drop_close, change_close]: [Change; 3] = [
        |frame| if matches!(frame, Frame::Text(_)) { None } else { Some(frame) },
        |frame| if matches!(frame, Frame::Close(_)) { None } else { Some(frame) },
        |frame| match frame {
            Frame::Close(_) => Some(Frame::Close(Some(CloseFrame::new(1000, "")))),
            frame => Some(frame),
        },
    ];
    for (to_peer, to_hub, words) in [
        (Some as Change, drop_text, ["expected close 4743, got no close within 3.0 s", "not a sigver hub"]),
        (drop_close, Some as Change, ["expected close 4743", "without a close frame"]),
        (change_close, Some as Change, ["expected close 4743", "closed with 1000"]),
    ] {
        let hub = fast_hub();
        let address = listen(move |socket| frame_proxy(socket, hub.clone(), to_peer, to_hub)).await;
        // The timeout is longer than the close handshake of the hub.
        let output = fails(&[&format!("ws://{address}/"), "--timeout", "3"], "text message", &words).await;
        assert!(output.contains("leave         ok"), "the group was checked too: {output}");
    }
}

#[tokio::test]
async fn probe_reports_a_server_that_ignores_the_key_in_the_url() {
    let hub = SignalingHub::new();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let service = service_fn(move |request| {
        let response = sigver::hyper::upgrade_with(request, &hub, "K");
        async { Ok(response.await) }
    });
    let url = format!("ws://{}/", http(service).await);
    let words = ["the first peer of a new group is bound", "Check the path"];
    let output = fails(&[&url, "--timeout", "3"], "first peer", &words).await;
    let rejection = "empty key     FAILED   expected close 4741, got no close within 3.0 s";
    assert!(output.contains(rejection), "{output}");
}

#[tokio::test]
async fn probe_reports_peers_of_one_key_on_different_servers() {
    let hubs = [fast_hub(), fast_hub()];
    let connections = AtomicUsize::new(0);
    let address = listen(move |socket| {
        let hub = hubs[connections.fetch_add(1, Ordering::Relaxed) % 2].clone();
        frame_proxy(socket, hub, Some, Some)
    })
    .await;
    fails(&[&format!("ws://{address}/")], "bind", &["different servers", "load balancer"]).await;
}

#[tokio::test]
async fn probe_reports_server_of_another_protocol() {
    let echo = listen(|socket| async {
        let Ok(mut peer) = tokio_tungstenite::accept_async(socket).await else { return };
        while let Some(Ok(message)) = peer.next().await {
            // The probe may close the connection at any time.
            _ = peer.send(message).await;
        }
    });
    let chat = listen(|socket| async {
        let Ok(mut peer) = tokio_tungstenite::accept_async(socket).await else { return };
        peer.send("hello".into()).await.expect("the probe reads");
        while let Some(Ok(_)) = peer.next().await {}
    });
    for address in [echo.await, chat.await] {
        let args = [&*format!("ws://{address}/"), "--timeout", "1"];
        fails(&args, "first peer", &["the server is not a sigver hub"]).await;
    }
}
