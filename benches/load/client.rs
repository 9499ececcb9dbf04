//! A WebSocket client that costs next to nothing, so that what is measured is the server.

use std::net::{SocketAddr, ToSocketAddrs as _};

use bytes::{Buf as _, Bytes, BytesMut};
use sigver::protocol::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Without a slash at its end.
    pub(crate) mount: String,
    pub(crate) speaks: Speaks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Sigver,
    /// It relays between the two sockets of a path.
    WebSocket,
    /// It sends back what comes.
    Tcp,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Self {
        let rest = url.strip_prefix("ws://").expect("a URL like ws://HOST:PORT/PATH");
        let (host, mount) = rest.split_once('/').unwrap_or((rest, ""));
        let mut addresses = host.to_socket_addrs().expect("HOST:PORT");
        let mount = if mount.is_empty() { String::new() } else { format!("/{}", mount.trim_end_matches('/')) };
        Self { address: addresses.next().expect("an address"), mount, speaks: Speaks::Sigver }
    }
}

/// One peer's socket.
pub(crate) struct Socket {
    stream: TcpStream,
    read: BytesMut,
}

impl Socket {
    /// Opens `MOUNT/KEY`.
    pub(crate) async fn open(target: &Target, key: &str) -> Self {
        let stream = TcpStream::connect(target.address).await.expect("the server listens, and there are files enough");
        stream.set_nodelay(true).expect("an option of TCP");
        let mut socket = Self { stream, read: BytesMut::with_capacity(4096) };
        if target.speaks == Speaks::Tcp {
            socket.write(b"x").await;
            socket.fill().await;
            return socket;
        }
        let request = format!(
            "GET {}/{key} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            target.mount, target.address
        );
        socket.write(request.as_bytes()).await;
        loop {
            if let Some(end) = socket.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                assert!(socket.read.starts_with(b"HTTP/1.1 101 "), "{:?}", socket.read);
                socket.read.advance(end + 4);
                return socket;
            }
            socket.fill().await;
        }
    }

    /// Asks `connect`, and returns the answer.
    pub(crate) async fn ask(&mut self, id: u32, members: &[u32]) -> bool {
        self.write(&frame(&Message::connect(id, members).encode())).await;
        loop {
            match Message::decode(self.next().await) {
                Ok(Message::Connected(admitted)) => return admitted,
                Ok(Message::Heartbeat) => {}
                other => panic!("expected an answer, but got {other:?}"),
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Bytes {
        loop {
            if let Some(message) = self.buffered() {
                return message;
            }
            self.fill().await;
        }
    }

    /// A message that has come already.
    pub(crate) fn buffered(&mut self) -> Option<Bytes> {
        let (length, header) = match *self.read.get(1)? {
            126 => (usize::from(u16::from_be_bytes([*self.read.get(2)?, *self.read.get(3)?])), 4),
            127 => unimplemented!("the load sends no such long messages"),
            short => (usize::from(short), 2),
        };
        if self.read.len() < header + length {
            return None;
        }
        assert_eq!(self.read[0], 0x82, "the server sent something else than a binary message");
        self.read.advance(header);
        Some(self.read.split_to(length).freeze())
    }

    async fn fill(&mut self) {
        self.read.reserve(4096);
        let read = self.stream.read_buf(&mut self.read).await.expect("the server writes");
        assert_ne!(read, 0, "the server hung up");
    }
}

/// A message as a client's frame. It is masked with zeroes, which leaves it as it is.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u8::try_from(message.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(message.len()).expect("a message of at most 65 535 bytes").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(message);
    frame
}
