//! Servers that misbehave during the WebSocket handshake. The clock is paused.

use std::time::Duration;

use sigver::client::{Event, InvalidResponse, JoinError, JoinStep, Retry};
use sigver::protocol::Message;
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::time::{Instant, sleep};

use crate::servers::{accept, connector, handshake, listen, read_request};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the error of a handshake with a server that sends this response and keeps the connection open.
async fn error(response: impl Into<Vec<u8>>) -> JoinError {
    let response = response.into();
    // The server's end stays open until the handshake has failed.
    let (handshake, _server) = handshake(|_| response).await;
    handshake.expect_err("an invalid handshake")
}

/// Returns the body of a rejection, and the time that the client has waited for it.
async fn rejected(response: impl Into<Vec<u8>>) -> (u16, String, Duration) {
    let start = Instant::now();
    match error(response).await {
        JoinError::Rejected { status, body, .. } => (status, body, start.elapsed()),
        other => panic!("expected a rejection, got {other:?}"),
    }
}

async fn invalid(response: impl Into<Vec<u8>>) -> InvalidResponse {
    let error = error(response).await;
    assert_eq!(error.retry(), Retry::Never);
    match error {
        JoinError::InvalidResponse(invalid) => invalid,
        other => panic!("expected an invalid response, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_has_the_body_of_the_response() {
    for (rest, expected) in [
        ("Content-Length: 12\r\n\r\nlog in first", "log in first"),
        ("Transfer-Encoding: chunked\r\n\r\n6\r\nlog in\r\n6\r\n first\r\n0\r\n\r\n", "log in first"),
        ("Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", "{}"),
        ("Content-Type: text/html\r\n\r\n<html>", ""),
        ("Content-Length: 0\r\n\r\n", ""),
    ] {
        let (status, body, waited) = rejected(format!("HTTP/1.1 401 Unauthorized\r\n{rest}")).await;
        assert_eq!((status, &*body, waited), (401, expected, Duration::ZERO), "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn body_that_arrives_after_the_head_is_received() {
    let (client_end, mut server_end) = duplex(1024);
    let server = async {
        read_request(&mut server_end).await;
        for part in ["HTTP/1.1 403 Forbidden\r\nContent-", "Length: 9\r\n", "\r\nno", " access"] {
            server_end.write_all(part.as_bytes()).await.expect("the client reads");
            sleep(SECOND / 4).await;
        }
    };
    let connector = connector("ws://example.org");
    let (error, ()) = tokio::join!(connector.handshake(client_end, "K"), server);
    assert!(matches!(error, Err(JoinError::Rejected { body, .. }) if body == "no access"));
}

#[tokio::test(start_paused = true)]
async fn body_without_an_end_is_waited_for_one_second_only() {
    for rest in ["\r\nwords", "Content-Length: 9\r\n\r\nwords", "Transfer-Encoding: chunked\r\n\r\n9\r\nwords"] {
        let (status, body, waited) = rejected(format!("HTTP/1.1 503 Service Unavailable\r\n{rest}")).await;
        assert_eq!((status, &*body, waited), (503, "words", SECOND), "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn huge_body_is_truncated_to_4_kib() {
    for rest in ["", "Content-Length: 900000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let chunk = if rest.starts_with('T') { "f0000\r\n" } else { "" };
        let response = format!("HTTP/1.1 500 Internal Server Error\r\n{rest}\r\n{chunk}{}", "x".repeat(900_000));
        let (status, body, waited) = rejected(response).await;
        assert_eq!((status, body, waited), (500, "x".repeat(4096), Duration::ZERO), "{rest}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirect_is_a_rejection_with_its_location() {
    let error = error("HTTP/1.1 301 Moved Permanently\r\nLocation: wss://there/\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(error.retry(), Retry::Never);
    let JoinError::Rejected { status, location, .. } = error else { panic!("got {error:?}") };
    assert_eq!((status, location.as_deref()), (301, Some("wss://there/")));
}

#[tokio::test(start_paused = true)]
async fn response_that_is_not_a_websocket_handshake_is_invalid() {
    for (response, expected) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", InvalidResponse::NotHttp),
        ("220 smtp.example.org ESMTP\r\n\r\n", InvalidResponse::NotHttp),
        ("HTTP/1.0 200 OK\r\n\r\n", InvalidResponse::Version),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", InvalidResponse::NoUpgrade),
    ] {
        assert_eq!(invalid(response).await, expected, "{response}");
    }
    // An alert of TLS, and the settings of HTTP/2.
    assert_eq!(invalid([21, 3, 1, 0, 2, 2, 10]).await, InvalidResponse::NotHttp);
    assert_eq!(invalid([0, 0, 18, 4, 0, 0, 0, 0, 0]).await, InvalidResponse::NotHttp);
}

#[tokio::test(start_paused = true)]
async fn accept_of_another_handshake_is_invalid() {
    let (handshake, _server) = handshake(|_| accept("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==").into_bytes()).await;
    assert!(matches!(handshake, Err(JoinError::InvalidResponse(InvalidResponse::WrongAccept))));
}

#[tokio::test(start_paused = true)]
async fn extension_and_subprotocol_that_were_not_offered_are_invalid() {
    for (header, expected) in [
        ("Sec-WebSocket-Extensions: permessage-deflate", InvalidResponse::UnknownExtension),
        ("Sec-WebSocket-Protocol: chat", InvalidResponse::UnknownSubprotocol),
    ] {
        let respond =
            |request: &str| accept(request).replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n")).into_bytes();
        let (handshake, _server) = handshake(respond).await;
        match handshake {
            Err(JoinError::InvalidResponse(invalid)) => assert_eq!(invalid, expected),
            other => panic!("expected {expected:?}, got {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn endless_head_is_invalid() {
    let informational = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    for response in [
        format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(500_000)),
        format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(50_000)),
        informational,
    ] {
        assert_eq!(invalid(response).await, InvalidResponse::TooLarge);
    }
}

#[tokio::test(start_paused = true)]
async fn informational_response_and_first_message_may_arrive_with_the_handshake() {
    let connected = Message::Connected(true).encode();
    let frame = [&[0x82, u8::try_from(connected.len()).expect("a short message")], &connected[..]].concat();
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let (handshake, _server) =
        handshake(|request| [early.as_bytes(), accept(request).as_bytes(), &frame[..]].concat()).await;
    let mut client = handshake.expect("a valid handshake");
    assert_eq!(client.recv().await.expect("an answer"), Event::Connected { member: true });
}

#[tokio::test(start_paused = true)]
async fn closed_connection_is_lost() {
    for response in ["", "HTT", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: web"] {
        let (client_end, mut server_end) = duplex(1024);
        let server = async move {
            read_request(&mut server_end).await;
            server_end.write_all(response.as_bytes()).await.expect("the client reads");
        };
        let connector = connector("ws://example.org");
        let (handshake, ()) = tokio::join!(connector.handshake(client_end, "K"), server);
        let error = handshake.expect_err("no handshake");
        assert!(matches!(error, JoinError::ConnectionLost(None)), "{error:?}");
        assert_eq!(error.retry(), Retry::Later);
    }
    let (client_end, server_end) = duplex(1024);
    drop(server_end);
    let error = connector("ws://example.org").handshake(client_end, "K").await.expect_err("no server");
    assert!(matches!(error, JoinError::ConnectionLost(Some(_))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn handshake_without_an_answer_times_out_after_10_s() {
    let start = Instant::now();
    let (client_end, _server_end) = duplex(1024);
    let error = connector("ws://example.org").handshake(client_end, "K").await.expect_err("no answer");
    assert!(matches!(error, JoinError::Timeout { step: JoinStep::WebSocket, .. }), "{error:?}");
    assert_eq!((error.retry(), start.elapsed()), (Retry::Later, 10 * SECOND));
    assert_eq!(error.to_string(), "timed out during the WebSocket handshake");

    // The server does not even read.
    let (client_end, _server_end) = duplex(16);
    let start = Instant::now();
    let connector = connector("ws://example.org").timeout(SECOND);
    assert!(matches!(connector.handshake(client_end, "K").await, Err(JoinError::Timeout { .. })));
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn answer_that_trickles_in_does_not_extend_the_timeout() {
    let (client_end, mut server_end) = duplex(1024);
    let server = async {
        read_request(&mut server_end).await;
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n".iter().cycle() {
            if server_end.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(SECOND).await;
        }
    };
    let (start, connector) = (Instant::now(), connector("ws://example.org"));
    let handshake = async {
        let handshake = connector.handshake(client_end, "K").await;
        (handshake, start.elapsed())
    };
    let ((handshake, elapsed), ()) = tokio::join!(handshake, server);
    assert!(matches!(handshake, Err(JoinError::Timeout { step: JoinStep::WebSocket, .. })), "{handshake:?}");
    assert_eq!(elapsed, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn status_is_reported_although_the_timeout_passes_during_the_body() {
    let connector = connector("ws://example.org").timeout(2 * SECOND);
    let (client_end, mut server_end) = duplex(1024);
    let server = async {
        read_request(&mut server_end).await;
        sleep(SECOND * 3 / 2).await;
        server_end.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\nwo").await.expect("the client reads");
    };
    let start = Instant::now();
    let (handshake, ()) = tokio::join!(connector.handshake(client_end, "K"), server);
    assert!(matches!(handshake, Err(JoinError::Rejected { status: 401, body, .. }) if body == "wo"));
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[tokio::test]
async fn join_has_one_timeout_for_all_steps() {
    // A real clock: a paused one can pass the timeout while the kernel connects.
    let address = listen(|socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let timeout = Duration::from_millis(200);
    for (scheme, expected) in [("ws", JoinStep::WebSocket), ("wss", JoinStep::Tls)] {
        let start = std::time::Instant::now();
        let error =
            connector(&format!("{scheme}://{address}")).timeout(timeout).join("K").await.expect_err("no answer");
        assert!(matches!(error, JoinError::Timeout { step, .. } if step == expected), "{error:?}");
        assert!((timeout..60 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
}
