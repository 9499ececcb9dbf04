//! The URL and the options of the probe.

use std::future::ready;

use hyper::header::ORIGIN;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, StatusCode};
use sigver::client::Event;

use crate::common;
use crate::process::{sigver, start};
use crate::servers::{empty_response, fast_hub, http};
use crate::{fails, passes, probe};

#[tokio::test]
async fn probe_skips_tls_for_a_plaintext_server() {
    let (_process, address) = start(&[]).await;
    let output = passes(&[&format!("ws://{address}")], &["tls", "idle"]).await;
    let checks: Vec<_> = output.lines().map(|line| line[..13.min(line.len())].trim()).collect();
    let expected = [
        "url",
        "dns",
        "tcp",
        "tls",
        "websocket",
        "first peer",
        "second peer",
        "bind",
        "relay",
        "rtt",
        "heartbeat",
        "keepalive",
        "idle",
        "leave",
        "text message",
        "empty key",
    ];
    assert_eq!(checks[..expected.len()], expected);
    assert!(output.contains("a random key is appended"), "{output}");
    assert!(output.contains("3 heartbeats answered, connected for 1"), "{output}");
}

#[tokio::test]
async fn key_replaces_the_placeholder_of_the_url() {
    let hub = fast_hub();
    let address = http(service_fn(move |request| {
        let hub = hub.clone();
        async move { Ok(sigver::hyper::upgrade(request, &hub).await) }
    }))
    .await;
    let output = passes(&[&format!("ws://{address}/signal?key={{key}}")], &["tls", "idle"]).await;
    assert!(output.contains("{key} is replaced with a random key"), "{output}");
    fails(&[&format!("ws://{address}/signal")], "first peer", &["closed with 4741", "ERR_KEY", "{key}"]).await;
}

#[tokio::test]
async fn probe_skips_the_empty_key_check_if_its_url_gets_404() {
    let service = sigver::hyper::service(fast_hub()).at("/signal");
    let route = service_fn(move |request: Request<_>| match request.uri().path() {
        "/signal/" => Box::pin(ready(Ok(empty_response(StatusCode::NOT_FOUND)))),
        _ => service.call(request),
    });
    passes(&[&format!("ws://{}/signal/", http(route).await)], &["tls", "idle", "empty key"]).await;
}

#[tokio::test]
async fn origin_and_header_with_unusual_characters_are_sent() {
    let address = http(sigver::hyper::service(fast_hub())).await;
    let args =
        ["--quick", &format!("ws://{address}/"), "--origin", "https://caf\u{e9}\u{85}.example", "--header", "a: b\tc"];
    let output = probe(&args).await.1;
    assert!(output.contains("websocket     ok "), "{output}");
}

#[tokio::test]
async fn key_of_the_url_is_used_unless_its_group_is_in_use() {
    let address = http(sigver::hyper::service(fast_hub())).await;
    let url = format!("ws://{address}/mine");
    let output = passes(&[&url], &["tls", "idle", "empty key"]).await;
    assert!(output.contains("the URL contains the key"), "{output}");

    let mut member = common::open(address, "/mine").await;
    assert!(member.connect(1, &[]).await);
    let staying = async {
        loop {
            match member.recv_any().await {
                Ok(Event::Heartbeat) => member.send_heartbeat().await,
                // The probe's peer, which was bound to this member, disconnects before the process ends.
                Ok(Event::Ended { .. }) => {}
                other => panic!("expected heartbeats and the end of a link, got {other:?}"),
            }
        }
    };
    let probed =
        async { fails(&[&url], "first peer", &["the group of this key is in use", "end the path with a slash"]).await };
    tokio::select! {
        never = staying => never,
        _ = probed => {}
    }
}

#[tokio::test]
async fn idle_option_keeps_connections_open_for_the_given_time() {
    let url = format!("ws://{}", http(sigver::hyper::service(fast_hub())).await);
    let output = passes(&[&url, "--idle", "1"], &["tls"]).await;
    assert!(output.contains("only heartbeats for 1."), "{output}");
}

#[tokio::test]
async fn origin_option_sets_the_header() {
    let service = sigver::hyper::service(fast_hub());
    let route = service_fn(move |request: Request<_>| match request.headers().get(ORIGIN) {
        Some(origin) if origin == "https://example.org" => service.call(request),
        _ => Box::pin(ready(Ok(empty_response(StatusCode::FORBIDDEN)))),
    });
    let url = format!("ws://{}", http(route).await);
    passes(&[&url, "--origin", "https://example.org"], &["tls", "idle"]).await;
    fails(&[&url], "websocket", &["HTTP 403", "--origin ORIGIN"]).await;
    fails(&[&url, "--origin", "https://other"], "websocket", &["HTTP 403", "\"https://other\""]).await;
}

#[tokio::test]
async fn invalid_url_and_options_exit_with_code_2() {
    for (args, word) in [
        (&["http://localhost"][..], "must begin with ws:// or wss://"),
        (&["ws://localhost", "--timeout", "0"], "--timeout"),
        (&[], "<URL>"),
    ] {
        let (code, output) = probe(args).await;
        assert_eq!(code, 2);
        assert!(output.contains(word), "{output:?} does not contain {word:?}");
    }
}

#[tokio::test]
async fn help_lists_all_options() {
    let (code, output) = probe(&["--help"]).await;
    assert_eq!(code, 0);
    for word in ["--timeout <SECONDS>", "--idle <SECONDS>", "--origin <ORIGIN>", "--ca <FILE>"] {
        assert!(output.contains(word), "{output} does not contain {word:?}");
    }
}

#[tokio::test]
async fn probe_rejects_options_and_ignores_variables_of_the_server() {
    let output = sigver(&["-p", "0", "probe", "ws://localhost"]).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let url = format!("ws://{}", http(sigver::hyper::service(fast_hub())).await);
    let mut command = sigver(&["probe", &url]);
    let output = command.env("SIGVER_HOST", "0.0.0.0").env("SIGVER_KEY", "no such file").output().await;
    assert_eq!(output.expect("it starts").status.code(), Some(0));
}
