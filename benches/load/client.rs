//! A WebSocket client with a minimal frame codec, so that the load costs little compared with the server.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sigver::protocol::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::sources::{Buffers, Sources};

/// A server to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Path without a trailing slash.
    pub(crate) mount: String,
    pub(crate) protocol: Protocol,
    /// The addresses that connections come from.
    pub(crate) sources: Sources,
}

/// The protocol that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Sigver,
    /// Relays WebSocket messages between the two connections of one path.
    WebSocket,
    /// Echoes bytes.
    Tcp,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Self {
        let rest = url.strip_prefix("ws://").expect("the URL is ws://HOST:PORT/PATH");
        let (host, mount) = rest.split_once('/').unwrap_or((rest, ""));
        let mut addresses = host.to_socket_addrs().expect("the host resolves");
        let mount = if mount.is_empty() { String::new() } else { format!("/{}", mount.trim_end_matches('/')) };
        Self {
            address: addresses.next().expect("the host has an address"),
            mount,
            protocol: Protocol::Sigver,
            sources: Sources::WELL_BEHAVED,
        }
    }

    /// Returns the URL that [`Target::parse`] accepts.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}{}", self.address, self.mount)
    }

    /// Opens a TCP connection.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        self.connect_with(Buffers::default()).await
    }

    /// Opens a TCP connection with these buffers.
    pub(crate) async fn connect_with(&self, buffers: Buffers) -> io::Result<TcpStream> {
        self.sources.connect(self.address, buffers).await
    }

    /// Returns the handshake request for `MOUNT/KEY`.
    pub(crate) fn request(&self, key: &str) -> String {
        format!(
            "GET {}/{key} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.mount, self.address
        )
    }
}

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// By a close frame with this code.
    Closed(u16),
    /// Without a close code.
    ConnectionLost,
    /// By this HTTP status instead of a handshake.
    Rejected(u16),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(code) => write!(f, "{code}"),
            Self::ConnectionLost => f.write_str("connection lost"),
            Self::Rejected(status) => write!(f, "HTTP {status}"),
        }
    }
}

/// One peer's connection.
///
/// The methods `expect_*` panic if the server ends the connection.
pub(crate) struct Socket {
    stream: TcpStream,
    read: BytesMut,
}

impl Socket {
    /// Opens `MOUNT/KEY`.
    pub(crate) async fn open(target: &Target, key: &str) -> Self {
        let stream = target.connect().await;
        let stream = stream.expect("the server listens, and file descriptors are available");
        Self::open_over(stream, target, key).await.unwrap_or_else(|end| panic!("expected a handshake, but: {end}"))
    }

    /// Opens `MOUNT/KEY` over a TCP connection.
    pub(crate) async fn open_over(stream: TcpStream, target: &Target, key: &str) -> Result<Self, End> {
        stream.set_nodelay(true).expect("the socket accepts TCP_NODELAY");
        let mut socket = Self { stream, read: BytesMut::with_capacity(4096) };
        if target.protocol == Protocol::Tcp {
            socket.expect_send(b"x").await;
            socket.fill().await?;
            return Ok(socket);
        }
        socket.send(target.request(key).as_bytes()).await?;
        loop {
            if let Some(end) = socket.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&socket.read[..end]).into_owned();
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
                socket.read.advance(end + 4);
                return if status == 101 { Ok(socket) } else { Err(End::Rejected(status)) };
            }
            socket.fill().await?;
        }
    }

    /// Sends `connect` and returns the answer.
    pub(crate) async fn expect_connect(&mut self, id: u32, members: &[u32]) -> bool {
        self.connect(id, members).await.unwrap_or_else(|end| panic!("expected an answer, but: {end}"))
    }

    /// Sends `connect` and returns the answer.
    pub(crate) async fn connect(&mut self, id: u32, members: &[u32]) -> Result<bool, End> {
        self.send(&frame(&Message::connect(id, members).encode())).await?;
        loop {
            match Message::decode(self.recv().await?) {
                Ok(Message::Connected(member)) => return Ok(member),
                // A member's joiners may send before the answer to its next `connect`.
                Ok(Message::Heartbeat | Message::Content { .. }) => {}
                other => panic!("expected an answer, but received {other:?}"),
            }
        }
    }

    pub(crate) async fn expect_send(&mut self, bytes: &[u8]) {
        self.send(bytes).await.expect("the server reads");
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.stream.write_all(bytes).await.map_err(|_| End::ConnectionLost)
    }

    /// Returns the next message.
    pub(crate) async fn expect_recv(&mut self) -> Bytes {
        self.recv().await.unwrap_or_else(|end| panic!("expected a message, but: {end}"))
    }

    /// Returns the next message. Cancel safe.
    pub(crate) async fn recv(&mut self) -> Result<Bytes, End> {
        loop {
            if let Some(received) = self.parse() {
                return received;
            }
            self.fill().await?;
        }
    }

    /// Returns the next message if this process has already read it.
    pub(crate) fn expect_buffered(&mut self) -> Option<Bytes> {
        self.parse().map(|received| received.unwrap_or_else(|end| panic!("expected a message, but: {end}")))
    }

    /// Parses the next message or close frame if this process has already read it. Discards pongs: the server sends
    /// them to peers that flood it with pings.
    pub(crate) fn parse(&mut self) -> Option<Result<Bytes, End>> {
        loop {
            let (length, header) = match *self.read.get(1)? {
                126 => (usize::from(u16::from_be_bytes([*self.read.get(2)?, *self.read.get(3)?])), 4),
                127 => unimplemented!("the load sends no messages of this length"),
                short => (usize::from(short), 2),
            };
            if self.read.len() < header + length {
                return None;
            }
            let opcode = self.read[0];
            self.read.advance(header);
            let payload = self.read.split_to(length).freeze();
            match opcode {
                0x82 => return Some(Ok(payload)),
                0x88 if length >= 2 => return Some(Err(End::Closed(u16::from_be_bytes([payload[0], payload[1]])))),
                0x88 => return Some(Err(End::ConnectionLost)),
                0x8a => {}
                other => panic!("the server sent a frame with the unknown opcode {other:#x}"),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), End> {
        self.read.reserve(4096);
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => Err(End::ConnectionLost),
            Ok(_) => Ok(()),
        }
    }

    /// Discards messages until the server ends the connection.
    pub(crate) async fn recv_end(&mut self) -> End {
        loop {
            if let Err(end) = self.recv().await {
                return end;
            }
        }
    }

    /// Reads at most this number of bytes that have arrived. Does not wait.
    pub(crate) fn read_up_to(&mut self, bytes: usize) -> Result<(), End> {
        self.read.reserve(bytes);
        match self.stream.try_read_buf(&mut (&mut self.read).limit(bytes)) {
            Ok(1..) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Ok(0) | Err(_) => Err(End::ConnectionLost),
        }
    }

    /// Resets the TCP connection, without a close frame.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("the socket accepts SO_LINGER");
    }
}

/// Returns a message as a client's frame. Its mask is zero, so the payload stays unchanged.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u8::try_from(message.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(message.len()).expect("the message has at most 65 535 bytes").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(message);
    frame
}
