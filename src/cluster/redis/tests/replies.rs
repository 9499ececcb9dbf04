//! Replies that a server of the tests cannot be made to give.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Starts a server that gives one reply to each command. `PORT` in the reply is its port. Returns a backplane for it.
async fn server(reply: &str) -> RedisBackplane {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let reply = format!("{reply}\r\n").replace("PORT", &port.to_string());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let reply = reply.clone();
            tokio::spawn(async move {
                // Each command arrives in one piece, because it is small and the connection is local.
                while stream.read(&mut [0; 4096]).await.is_ok_and(|len| len > 0) {
                    if stream.write_all(reply.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let builder = RedisBackplane::builder(format!("redis://127.0.0.1:{port}"), "test");
    builder.build().expect("the settings are valid")
}

/// Makes each call whose reply is read, and returns their errors.
async fn errors(reply: &str) -> Vec<String> {
    let backplane = server(reply).await;
    let errors = [
        backplane.step(random_group(), add(1)).await.err(),
        backplane.recv(NodeId(1)).await.err(),
        backplane.beat(NodeId(1), &[]).await.err(),
    ];
    errors.into_iter().map(|error| error.expect("the reply is an error").to_string()).collect()
}

#[tokio::test]
async fn redirection_to_an_address_that_needs_tls_is_an_error() {
    for kind in ["MOVED", "ASK"] {
        for error in errors(&format!("-{kind} 5 192.0.2.1:6379")).await {
            assert_eq!(error, "192.0.2.1:6379: not connected, because the address is not loopback and TLS is off");
        }
    }
}

#[tokio::test]
async fn redirection_in_a_circle_is_an_error() {
    for reply in ["-MOVED 5 127.0.0.1:PORT", "-MOVED 5 :PORT"] {
        for error in errors(reply).await {
            assert_eq!(error, "the nodes of the Redis Cluster redirect in a circle");
        }
    }
}

#[tokio::test]
async fn redirection_without_an_address_is_an_error() {
    for error in errors("-MOVED 5").await {
        assert!(error.ends_with("MOVED 5"), "{error}");
    }
}

#[tokio::test]
async fn unexpected_reply_is_an_error() {
    for reply in [
        "+OK",
        ":1",
        "$1\r\nx",
        "*1\r\n$1\r\nx",
        "*2\r\n$1\r\nx\r\n$1\r\ny",
        "*4\r\n:0\r\n$1\r\nx\r\n$0\r\n\r\n*0",
        "*4\r\n:9\r\n$16\r\n0000000000000001\r\n$0\r\n\r\n*0",
        "*4\r\n:0\r\n$16\r\n0000000000000001\r\n$2\r\n01\r\n*0",
        "*4\r\n:0\r\n$16\r\n0000000000000001\r\n$0\r\n\r\n*2\r\n$1\r\nx\r\n$1\r\ny",
    ] {
        for error in errors(reply).await {
            assert!(error.starts_with("the engine returned something else than "), "{reply:?}: {error}");
        }
    }
}

#[tokio::test]
async fn bytes_that_are_not_of_the_protocol_are_an_error() {
    for error in errors("HTTP/1.1 400 Bad Request").await {
        assert!(error.starts_with("127.0.0.1:"), "{error}");
    }
}
