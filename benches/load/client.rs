//! A WebSocket client that costs next to nothing, so that what is measured is the server.

use std::fmt;
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

    /// The handshake for `MOUNT/KEY`.
    pub(crate) fn request(&self, key: &str) -> String {
        format!(
            "GET {}/{key} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.mount, self.address
        )
    }
}

/// What comes from a server.
#[derive(Debug)]
pub(crate) enum Heard {
    Message(Bytes),
    Over(Over),
}

/// How a server ended a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Over {
    Closed(u16),
    /// Without a code.
    HungUp,
    /// By a status instead of a handshake.
    Refused(u16),
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(code) => write!(f, "{code}"),
            Self::HungUp => f.write_str("hung up"),
            Self::Refused(status) => write!(f, "HTTP {status}"),
        }
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
        Self::open_over(stream, target, key).await.unwrap_or_else(|over| panic!("{over} instead of a handshake"))
    }

    /// Opens `MOUNT/KEY` over a connection.
    pub(crate) async fn open_over(stream: TcpStream, target: &Target, key: &str) -> Result<Self, Over> {
        stream.set_nodelay(true).expect("an option of TCP");
        let mut socket = Self { stream, read: BytesMut::with_capacity(4096) };
        if target.speaks == Speaks::Tcp {
            socket.write(b"x").await;
            socket.fill().await?;
            return Ok(socket);
        }
        socket.send(target.request(key).as_bytes()).await?;
        loop {
            if let Some(end) = socket.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&socket.read[..end]).into_owned();
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
                socket.read.advance(end + 4);
                return if status == 101 { Ok(socket) } else { Err(Over::Refused(status)) };
            }
            socket.fill().await?;
        }
    }

    /// Asks `connect`, and returns the answer.
    pub(crate) async fn ask(&mut self, id: u32, members: &[u32]) -> bool {
        self.try_ask(id, members).await.unwrap_or_else(|over| panic!("{over} instead of an answer"))
    }

    /// Asks `connect` of a server that may end it.
    pub(crate) async fn try_ask(&mut self, id: u32, members: &[u32]) -> Result<bool, Over> {
        self.send(&frame(&Message::connect(id, members).encode())).await?;
        loop {
            match self.hear().await {
                Heard::Message(message) => match Message::decode(message) {
                    Ok(Message::Connected(admitted)) => return Ok(admitted),
                    Ok(Message::Heartbeat) => {}
                    other => panic!("expected an answer, but got {other:?}"),
                },
                Heard::Over(over) => return Err(over),
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.send(bytes).await.expect("the server reads");
    }

    /// Writes to a server that may have hung up.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.stream.write_all(bytes).await.map_err(|_| Over::HungUp)
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Bytes {
        match self.hear().await {
            Heard::Message(message) => message,
            Heard::Over(over) => panic!("expected a message, but the server ended it: {over}"),
        }
    }

    /// The next message, or the end. Nothing is lost when this is dropped.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard() {
                return heard;
            }
            if let Err(over) = self.fill().await {
                return Heard::Over(over);
            }
        }
    }

    /// A message that has come already.
    pub(crate) fn buffered(&mut self) -> Option<Bytes> {
        self.heard().map(|heard| match heard {
            Heard::Message(message) => message,
            Heard::Over(over) => panic!("expected a message, but the server ended it: {over}"),
        })
    }

    /// What has come already. Pongs answer those who flood only.
    fn heard(&mut self) -> Option<Heard> {
        loop {
            let (length, header) = match *self.read.get(1)? {
                126 => (usize::from(u16::from_be_bytes([*self.read.get(2)?, *self.read.get(3)?])), 4),
                127 => unimplemented!("the load sends no such long messages"),
                short => (usize::from(short), 2),
            };
            if self.read.len() < header + length {
                return None;
            }
            let kind = self.read[0];
            self.read.advance(header);
            let payload = self.read.split_to(length).freeze();
            match kind {
                0x82 => return Some(Heard::Message(payload)),
                0x88 if length >= 2 => {
                    return Some(Heard::Over(Over::Closed(u16::from_be_bytes([payload[0], payload[1]]))));
                }
                0x88 => return Some(Heard::Over(Over::HungUp)),
                0x8a => {}
                other => panic!("the server sent a frame of an unknown kind, {other:#x}"),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Over> {
        self.read.reserve(4096);
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => Err(Over::HungUp),
            Ok(_) => Ok(()),
        }
    }

    /// Reads on to the end.
    pub(crate) async fn end(&mut self) -> Over {
        loop {
            if let Heard::Over(over) = self.hear().await {
                return over;
            }
        }
    }

    /// Reads one byte, if one is there.
    pub(crate) fn sip(&mut self) {
        let mut byte = [0];
        // Nothing there or hung up: whoever reads next will see.
        if let Ok(1) = self.stream.try_read(&mut byte) {
            self.read.extend(byte);
        }
    }

    /// Goes without a goodbye, not even TCP's.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("an option of TCP");
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
