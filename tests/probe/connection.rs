//! Failures of DNS, TCP and the WebSocket handshake.

use tokio::net::{TcpListener, TcpSocket};

use crate::fails;
use crate::servers::responding_with;

#[tokio::test]
async fn probe_reports_unknown_host() {
    let words = ["no.such.host.invalid has no usable address", "spelling"];
    let output = fails(&["ws://no.such.host.invalid"], "dns", &words).await;
    assert!(!output.contains("tcp"), "dependent checks were skipped: {output}");
}

#[tokio::test]
async fn probe_reports_connection_refused() {
    // The port is bound but not listening, so no other process can use it.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    fails(&[&format!("ws://{address}")], "tcp", &["connection refused", "Check that the server is running"]).await;
}

#[tokio::test]
async fn probe_reports_handshake_timeouts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    for (scheme, check, words) in [
        ("ws", "websocket", ["WebSocket handshake timed out after 1.0 s", "use wss://"]),
        ("wss", "tls", ["TLS handshake timed out after 1.0 s", "use ws://"]),
    ] {
        fails(&[&format!("{scheme}://{address}"), "--timeout", "1"], check, &words).await;
    }
}

#[tokio::test]
async fn probe_reports_the_meaning_of_a_status() {
    for (status, words) in [
        ("200 OK", &["HTTP 200 OK", "a page, not a hub"][..]),
        ("301 Moved Permanently\r\nLocation: wss://there/", &["redirects to \"wss://there/\""]),
        ("400 Bad Request", &["HTTP 400", "Sec-WebSocket", "use wss://"]),
        ("401 Unauthorized", &["HTTP 401", "credentials"]),
        ("403 Forbidden", &["HTTP 403", "--origin"]),
        ("404 Not Found", &["HTTP 404", "this path has no hub"]),
        ("426 Upgrade Required", &["HTTP 426", "drops the header", "proxy_set_header Upgrade $http_upgrade"]),
        ("429 Too Many Requests", &["HTTP 429", "rate limit exceeded"]),
        ("502 Bad Gateway", &["HTTP 502", "no response from its server"]),
        ("503 Service Unavailable", &["HTTP 503", "no response from its server"]),
        ("504 Gateway Timeout", &["HTTP 504", "no response from its server"]),
        ("500 Internal Server Error", &["HTTP 500", "Its log"]),
        ("418 I'm a teapot", &["HTTP 418", "expected HTTP 101"]),
    ] {
        let response = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwords");
        let address = responding_with(response).await;
        fails(&[&format!("ws://{address}/")], "websocket", words).await;
    }
}

#[tokio::test]
async fn probe_reports_an_invalid_handshake_response() {
    for (response, words) in [
        ("", &["closed the connection during the WebSocket handshake"][..]),
        ("220 smtp.example.org ESMTP\r\n\r\n", &["the response is not HTTP"]),
        ("HTTP/1.0 200 OK\r\n\r\n", &["HTTP/1.0", "proxy_http_version 1.1"]),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", &["HTTP 101 without a valid WebSocket handshake", "headers"]),
    ] {
        let address = responding_with(response.to_owned()).await;
        fails(&[&format!("ws://{address}/")], "websocket", words).await;
    }
}
