//! The WebSocket handshake of a client (RFC 6455 section 4.1).
//!
//! tungstenite's own handshake returns only the part of a rejection's body that arrives together with the head,
//! rejects `Connection: keep-alive, Upgrade`, and logs the request with its credentials at the level `trace`.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::deadline::Deadline;
use super::join_error::{JoinError, JoinStep};
use super::response::{Head, InvalidResponse};

/// The number of bytes of all heads that the server may send, informational responses included.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_BODY_BYTES: usize = 4096;
/// The number of bytes of a body that are read. Chunks have a size each, in front of their content.
const MAX_ENCODED_BODY_BYTES: usize = 2 * MAX_BODY_BYTES;
/// The status is known already, so the body is not worth a long wait.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a client sends.
pub(super) struct Request<'a> {
    /// The path and the query.
    pub(super) target: &'a str,
    /// The value of the header `Host`.
    pub(super) host: &'a str,
    /// Valid names and values.
    pub(super) headers: &'a [(String, String)],
    pub(super) subprotocols: &'a [String],
}

impl Request<'_> {
    fn encode(&self, key: &str) -> String {
        let Self { target, host, headers, subprotocols } = self;
        let mut text = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        if !subprotocols.is_empty() {
            text += &format!("Sec-WebSocket-Protocol: {}\r\n", subprotocols.join(", "));
        }
        for (name, value) in *headers {
            text += &format!("{name}: {value}\r\n");
        }
        text + "\r\n"
    }
}

/// Performs the handshake. Returns the bytes that arrived after the response.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &Request<'_>,
    deadline: Deadline,
) -> Result<Vec<u8>, JoinError> {
    let key = generate_key();
    let (head, rest) = deadline.limit(JoinStep::WebSocket, exchange(stream, &request.encode(&key))).await?;
    match head.check(&key, request.subprotocols) {
        Ok(true) => Ok(rest),
        Ok(false) => Err(reject(stream, &head, rest, deadline).await),
        Err(invalid) => Err(JoinError::InvalidResponse(invalid)),
    }
}

/// Sends the request and receives the head of the response, with the bytes after it.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &str,
) -> Result<(Head, Vec<u8>), JoinError> {
    let lost = |error| JoinError::ConnectionLost(Some(error));
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let (mut buffer, mut heads_bytes) = (Vec::new(), 0);
    loop {
        match Head::parse(&buffer).map_err(JoinError::InvalidResponse)? {
            Some(head) => {
                let rest = buffer.split_off(head.len);
                // The final response follows an informational one, such as 103 Early Hints.
                if head.status == 101 || head.status >= 200 {
                    return Ok((head, rest));
                }
                heads_bytes += head.len;
                buffer = rest;
            }
            None if heads_bytes + buffer.len() >= MAX_HEAD_BYTES => {
                return Err(JoinError::InvalidResponse(InvalidResponse::TooLarge));
            }
            None => {
                // Without more room, a read of a `Vec` would double its capacity.
                buffer.reserve(1024);
                if stream.read_buf(&mut buffer).await.map_err(lost)? == 0 {
                    return Err(JoinError::ConnectionLost(None));
                }
            }
        }
    }
}

/// Returns the error of a rejection, with as much of its body as arrives in time.
async fn reject(
    stream: &mut (impl AsyncRead + Unpin),
    head: &Head,
    mut bytes: Vec<u8>,
    deadline: Deadline,
) -> JoinError {
    let end = head.body_end();
    let has_body = head.has_text_body();
    let read = async {
        while has_body && bytes.len() < MAX_ENCODED_BODY_BYTES && !end.decode(&bytes).1 {
            if stream.read_buf(&mut bytes).await.map_err(|error| JoinError::ConnectionLost(Some(error)))? == 0 {
                break;
            }
        }
        Ok(())
    };
    // The rejection is more important than the rest of its body.
    let _: Result<(), JoinError> = deadline.or_after(BODY_TIMEOUT).limit(JoinStep::WebSocket, read).await;
    let mut body = if has_body { end.decode(&bytes).0 } else { Vec::new() };
    body.truncate(MAX_BODY_BYTES);
    JoinError::Rejected {
        status: head.status,
        body: String::from_utf8_lossy(&body).into_owned(),
        location: head.text("location").map(str::to_owned),
        retry_after: head.text("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs),
    }
}
