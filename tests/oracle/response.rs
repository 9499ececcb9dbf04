//! A client reads the response of any server and the frames after it. It ends with an error as soon as the connection
//! does, and what it keeps is bounded.

use sigver::client::{Client, Connector, JoinError, WebSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Stands for the value that accepts the handshake. No input could contain it, because the key is random.
const ACCEPT: &[u8] = b"{accept}";

/// 4 KiB of bytes that are not UTF-8, each of which becomes a character of three bytes.
const MAX_BODY_BYTES: usize = 3 * 4096;

pub(crate) fn check(bytes: &[u8]) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime starts");
    runtime.block_on(async {
        let start = Instant::now();
        let (client_end, server_end) = duplex(4096);
        let connector = Connector::new("ws://example.org").expect("the URL is valid");
        // Both at once, because the response may be larger than the pipe.
        let client = async { read(connector.handshake(client_end, "K").await, bytes).await };
        tokio::join!(client, respond(server_end, bytes));
        assert_eq!(start.elapsed().as_nanos(), 0, "the client does not wait after the end of the connection");
    });
}

async fn read(joined: Result<Client<WebSocket<DuplexStream>>, JoinError>, bytes: &[u8]) {
    match joined {
        Ok(mut client) => {
            assert!(bytes.windows(ACCEPT.len()).any(|window| window == ACCEPT), "the response accepts no handshake");
            let mut events = 0;
            while client.recv().await.is_ok() {
                events += 1;
            }
            // A frame has at least two bytes.
            assert!(2 * events <= bytes.len(), "{events} events in {} bytes", bytes.len());
            assert!(client.recv().await.is_err(), "the client is finished");
        }
        Err(JoinError::Rejected { status, body, .. }) => {
            assert_ne!(status, 101);
            assert!(body.len() <= MAX_BODY_BYTES, "a body of {} bytes", body.len());
        }
        Err(JoinError::InvalidResponse(_) | JoinError::ConnectionLost(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Reads the request, sends the bytes and closes the connection.
async fn respond(mut server: DuplexStream, bytes: &[u8]) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(server.read_u8().await.expect("the client sends a request"));
    }
    let request = String::from_utf8(request).expect("the request is ASCII");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("the request has a key");
    let accept = derive_accept_key(key.as_bytes());
    let mut response = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(ACCEPT.len()).position(|window| window == ACCEPT) {
        response.extend_from_slice(&rest[..at]);
        response.extend_from_slice(accept.as_bytes());
        rest = &rest[at + ACCEPT.len()..];
    }
    response.extend_from_slice(rest);
    // The client may close the connection before it has read everything.
    let _: std::io::Result<()> = server.write_all(&response).await;
}
