//! The addresses that connections come from.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

/// The addresses 127.0.`network`.1 to 127.0.`network`.`count`, used in turn. A hub limits each of them on its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources {
    network: u8,
    count: u8,
}

/// How much the kernel buffers for a peer that does not read. The defaults of loopback are megabytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Buffers {
    /// Size of the receive buffer, in bytes.
    pub(crate) receive: Option<u32>,
    /// Maximum size of a segment, in bytes. The sender's buffer depends on it.
    pub(crate) segment: Option<u32>,
}

impl Buffers {
    /// Returns the buffers of a peer in another network, where segments have the size of an Ethernet frame.
    pub(crate) fn over_ethernet(receive: u32) -> Self {
        Self { receive: Some(receive), segment: Some(1460) }
    }
}

/// More addresses than a load has pairs, so that no load reaches a limit per IP.
const MANY: u8 = 250;

impl Sources {
    /// The addresses of well-behaved peers.
    pub(crate) const WELL_BEHAVED: Self = Self { network: 1, count: MANY };
    /// The addresses of attackers that limits per IP must not stop.
    pub(crate) const MANY_HOSTILE: Self = Self { network: 2, count: MANY };

    /// Returns addresses of attackers. There must be at least one.
    pub(crate) fn hostile(count: u8) -> Self {
        assert!(count > 0, "an attack needs an address");
        Self { network: 3, count }
    }

    /// Connects from the next address. A server that is not at a loopback address sees the address of this machine.
    pub(crate) async fn connect(self, address: SocketAddr, buffers: Buffers) -> io::Result<TcpStream> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = buffers.receive {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = buffers.segment {
            SockRef::from(&socket).set_tcp_mss(bytes)?;
        }
        if address.is_ipv4() && address.ip().is_loopback() {
            let nth = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(self.count);
            socket.bind((Ipv4Addr::new(127, 0, self.network, nth as u8 + 1), 0).into())?;
        }
        socket.connect(address).await
    }
}
