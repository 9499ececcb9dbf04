//! Joins of a hub, and what the hub gets to know of them.

use std::sync::{Arc, Mutex};

use sigver::client::{Client, Event, JoinError, Remote, Retry};
use sigver::protocol::MemberId;
use sigver::{JoinRequest, PeerInfo, SignalingHub, Transport};
use tokio::io::duplex;

use crate::servers::{Server, connector, listen, serve, tcp, tls};

const ALICE: MemberId = MemberId(0xa11c_e000);
const BOB: MemberId = MemberId(0xb0b0_0000);

/// Exchanges an offer and an answer.
async fn exchange<T: Transport + Unpin>(mut alice: Client<T>, mut bob: Client<T>) {
    assert!(alice.connect(ALICE, &[]).await.expect("an answer"));
    assert!(!bob.connect(BOB, &[]).await.expect("an answer"));
    bob.send_content(Remote::Member, "offer").await.expect("sent");
    let Ok(Event::Content { from, data, .. }) = alice.recv().await else { panic!("expected an offer") };
    assert_eq!(data, "offer");
    alice.send_content(from, "answer").await.expect("sent");
    let Ok(Event::Content { from, data, .. }) = bob.recv().await else { panic!("expected an answer") };
    assert_eq!((from, &data[..]), (Remote::Member, &b"answer"[..]));
    bob.close().await;
    assert!(matches!(alice.recv().await, Ok(Event::Ended { .. })));
}

#[tokio::test]
async fn peers_exchange_messages_over_tcp_and_tls() {
    let hub = SignalingHub::new();
    for Server { connector, .. } in [tcp(&hub).await, tls(&hub).await] {
        // Spawned, so the future must be `Send`.
        let alice = tokio::spawn({
            let connector = connector.clone();
            async move { connector.join("K").await }
        });
        let alice = alice.await.expect("no panic").expect("joined");
        exchange(alice, connector.join("K").await.expect("joined")).await;
    }
}

#[tokio::test]
async fn peers_exchange_messages_over_byte_streams() {
    let hub = SignalingHub::new();
    let connector = connector("wss://example.org/signal");
    let join = async || {
        let (client_end, server_end) = duplex(64);
        tokio::spawn(serve(server_end, hub.clone()));
        connector.handshake(client_end, "K").await.expect("joined")
    };
    exchange(join().await, join().await).await;
}

#[tokio::test]
async fn join_function_needs_a_url_and_a_key_only() {
    let hub = SignalingHub::new();
    let url = tcp(&hub).await.url;
    let mut client = sigver::client::join(&url, "a key").await.expect("joined");
    assert!(client.connect(ALICE, &[]).await.expect("an answer"));
    assert_eq!(hub.peers("a key").len(), 1);
}

#[tokio::test]
async fn hub_gets_the_key_and_the_headers_of_the_connector() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    let hub = SignalingHub::builder().admission(move |request: JoinRequest| {
        seen.lock().expect("no panic").push(request);
        async { Ok(PeerInfo::new()) }
    });
    let hub = hub.build().expect("valid settings");
    let server = tcp(&hub).await;
    let connector = connector(&format!("{}/?token=x", server.url)).favored(true);
    let connector = connector.header("Authorization", "Bearer a:b").and_then(|it| it.header("x-hop", "1"));
    let connector = connector.and_then(|it| it.header("X-Hop", "2")).and_then(|it| it.header("Host", "hub.example"));
    let connector = connector.and_then(|it| it.subprotocol("first")).and_then(|it| it.subprotocol("second"));
    let connector = connector.expect("valid headers");
    for key in ["key", "a/b c?#ü%2F", "...", &"ü".repeat(256)] {
        drop(connector.join(key).await.expect("joined"));
        let request = requests.lock().expect("no panic").pop().expect("one request");
        assert_eq!((request.key().as_str(), request.is_favored()), (key, true));
        assert_eq!(request.header("authorization"), Some("Bearer a:b"));
        assert_eq!(request.header("host"), Some("hub.example"));
        assert_eq!(request.query("token").as_deref(), Some("x"));
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["first", "second"]);
        let hops = request.parts().expect("an HTTP request").headers.get_all("x-hop");
        assert_eq!(hops.iter().collect::<Vec<_>>(), ["1", "2"]);
    }
}

#[tokio::test]
async fn url_is_used_as_it_is_without_a_key() {
    let hub = SignalingHub::new();
    let server = tcp(&hub).await;
    let connector = connector(&format!("{}?key=caf%C3%A9", server.url));
    let mut client = connector.join_url().await.expect("joined");
    assert!(client.connect(ALICE, &[]).await.expect("an answer"));
    assert_eq!(hub.peers("café").len(), 1);
    let (client_end, server_end) = duplex(1024);
    tokio::spawn(serve(server_end, hub.clone()));
    let mut client = connector.handshake_url(client_end).await.expect("joined");
    assert!(!client.connect(BOB, &[]).await.expect("an answer"), "the group has a member");
}

#[tokio::test]
async fn all_addresses_of_the_host_are_tried() {
    // The server listens on one of the two addresses that `localhost` has on most machines.
    let server = tcp(&SignalingHub::new()).await;
    let connector = connector(&server.url.replace("127.0.0.1", "localhost"));
    assert!(connector.join("K").await.is_ok());
}

#[tokio::test]
async fn host_without_an_address_and_closed_port_are_reported() {
    let error = connector("wss://no.such.host.invalid").join("K").await.expect_err("no address");
    assert_eq!(error.to_string(), "no.such.host.invalid has no usable address");
    assert_eq!(error.retry(), Retry::Later);

    // The port is bound but not listening, so no other process can use it.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    let error = connector(&format!("ws://{address}")).join("K").await.expect_err("a closed port");
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");
    assert_eq!(error.retry(), Retry::Later);
    assert!(matches!(error, JoinError::Tcp(failed) if failed.len() == 1));
}

#[tokio::test]
async fn invalid_keys_are_rejected_before_a_connection() {
    let address = listen(|_| async { panic!("no connection is expected") }).await;
    let connector = connector(&format!("ws://{address}"));
    for key in ["", ".", "..", &"x".repeat(513)] {
        let error = connector.join(key).await.expect_err(key);
        assert!(matches!(error, JoinError::Key(_) | JoinError::DotSegment), "{error:?}");
        assert_eq!(error.retry(), Retry::Never);
    }
}

#[tokio::test]
async fn largest_message_of_the_hub_is_received_unless_the_connector_limits_it() {
    const BYTES: usize = 1 << 20;
    let hub = SignalingHub::builder().max_message_bytes(BYTES).max_outbox_bytes(2 * BYTES).build();
    let server = tcp(&hub.expect("valid settings")).await;
    let limited = server.connector.clone().max_message_bytes(BYTES / 2);
    for (connector, is_received) in [(&server.connector, true), (&limited, false)] {
        let key = format!("{is_received}");
        let mut alice = connector.join(&key).await.expect("joined");
        let mut bob = connector.join(&key).await.expect("joined");
        assert!(alice.connect(ALICE, &[]).await.expect("an answer"));
        assert!(!bob.connect(BOB, &[]).await.expect("an answer"));
        // The message also has its ids.
        let data = vec![b'x'; BYTES - 16];
        bob.send_content(Remote::Member, data.clone()).await.expect("sent");
        match alice.recv().await {
            Ok(Event::Content { data: received, .. }) => assert!(is_received && received == data),
            Err(sigver::client::ClientError::ConnectionLost(Some(error))) => {
                assert!(!is_received && matches!(error, sigver::TransportError::MessageTooBig(_)), "{error:?}");
            }
            other => panic!("expected a message or its size, got {other:?}"),
        }
    }
}
