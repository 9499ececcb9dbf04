//! A custom transport: plain TCP with length-prefixed frames. The first byte of a frame is its type.
//!
//! Run it with: `cargo run --example custom_transport`

#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::{SinkExt, StreamExt as _};
use sigver::memory::TestClient;
use sigver::{CloseFrame, Frame, JoinRequest, SignalingHub, Transport, TransportError};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The pause after a failed accept. Without it, the loop would spin while the process has no free file descriptor.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let hub = SignalingHub::new();

    tokio::spawn(accept(listener, hub));

    let mut alice = TestClient::new(framed(TcpStream::connect(address).await?));
    let mut bob = TestClient::new(framed(TcpStream::connect(address).await?));
    assert!(alice.connect(1, &[]).await);
    assert!(!bob.connect(2, &[]).await);
    bob.send_content(0, "offer").await;
    assert_eq!(alice.recv_content().await.1, "offer");
    bob.send_frame(Frame::Text("not a message".into())).await;
    assert_eq!(bob.recv_close().await.code, 4743);
    Ok(())
}

async fn accept(listener: TcpListener, hub: SignalingHub) {
    loop {
        let (socket, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("accept failed: {error}");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // The hub needs the client's address for its limits per IP.
        let request = JoinRequest::new("the only group").with_client_ip(client.ip());
        let served = hub.serve(framed(socket), request);
        tokio::spawn(async move { println!("peer disconnected: {}", served.await) });
    }
}

/// Returns a transport over a byte stream. Every stream and sink of [`Frame`]s is a transport.
fn framed(socket: TcpStream) -> impl Transport<Err = TransportError> + Unpin {
    let codec = LengthDelimitedCodec::builder().max_frame_length(64 * 1024).new_codec();
    let received = Framed::new(socket, codec).map(|bytes| decode(bytes?.freeze()));
    SinkExt::<Bytes>::sink_map_err(received, TransportError::from).with(|frame| std::future::ready(encode(frame)))
}

const BINARY: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 2;

fn decode(mut bytes: Bytes) -> Result<Frame, TransportError> {
    let malformed = |why: &str| TransportError::Malformed(why.into());
    match bytes.try_get_u8() {
        Ok(BINARY) => Ok(Frame::Binary(bytes)),
        Ok(TEXT) => String::from_utf8(bytes.into()).map(Frame::Text).map_err(|_| malformed("text is not UTF-8")),
        Ok(CLOSE) => Ok(Frame::Close(
            bytes.try_get_u16().ok().map(|code| CloseFrame::new(code, String::from_utf8_lossy(&bytes))),
        )),
        _ => Err(malformed("unknown frame type")),
    }
}

fn encode(frame: Frame) -> Result<Bytes, TransportError> {
    let mut bytes = BytesMut::new();
    match frame {
        Frame::Binary(data) => {
            bytes.put_u8(BINARY);
            bytes.put(data);
        }
        Frame::Text(text) => {
            bytes.put_u8(TEXT);
            bytes.put_slice(text.as_bytes());
        }
        Frame::Close(frame) => {
            bytes.put_u8(CLOSE);
            if let Some(CloseFrame { code, reason, .. }) = frame {
                bytes.put_u16(code);
                bytes.put_slice(reason.as_bytes());
            }
        }
        // Pings and pongs. The hub sends none, and plain TCP does not need them.
        other => return Err(TransportError::Malformed(format!("{other:?} is not supported by this transport").into())),
    }
    Ok(bytes.freeze())
}
