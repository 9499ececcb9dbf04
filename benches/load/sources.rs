//! The addresses that connections come from.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpSocket, TcpStream};

/// The addresses 127.0.`network`.1 to 127.0.`network`.`count`, used in turn. A hub limits each of them on its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources {
    network: u8,
    count: u8,
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
    ///
    /// A small `receive_buffer` fills quickly if the peer does not read.
    pub(crate) async fn connect(self, address: SocketAddr, receive_buffer: Option<u32>) -> io::Result<TcpStream> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if address.is_ipv4() && address.ip().is_loopback() {
            let nth = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(self.count);
            socket.bind((Ipv4Addr::new(127, 0, self.network, nth as u8 + 1), 0).into())?;
        }
        socket.connect(address).await
    }
}
