//! The UDP sockets of a group: one for each local address, shared by all connections.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use socket2::{Domain, Protocol, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::error::{JoinError, OptionsError};

/// Errors of one socket in one turn.
const MAX_ERRORS: usize = 16;
/// Datagrams that wait while the operating system's buffer is full. Further ones are dropped, as a network does.
const MAX_QUEUED: usize = 1_024;

/// A peer sends its whole congestion window at once. Linux has 208 KiB by default, and limits this to 416 KiB.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Sockets {
    sockets: Vec<Socket>,
    /// The socket that is read first, so that all get their turn.
    next: usize,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    /// What other peers see.
    address: SocketAddr,
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Sockets {
    /// Binds the addresses. Without any, those of the network interfaces.
    pub(crate) fn bind(addresses: &[(SocketAddr, Option<IpAddr>)]) -> Result<Self, JoinError> {
        let mut sockets = Vec::new();
        let mut failure = None;
        let interfaces = if addresses.is_empty() { interface_addresses()? } else { Vec::new() };
        for &(address, advertised) in addresses.iter().chain(&interfaces) {
            if !is_usable(address.ip()) || advertised.is_some_and(|ip| !is_usable(ip)) {
                return Err(OptionsError::Address { address }.into());
            }
            match bind(address) {
                Ok((socket, local)) => {
                    let address = SocketAddr::new(advertised.unwrap_or(local.ip()), local.port());
                    sockets.push(Socket { socket, address, queue: VecDeque::new() });
                }
                Err(source) => failure = Some(JoinError::Bind { address, source }),
            }
        }
        match failure {
            // An interface may disappear, or have an address that is not valid yet.
            Some(JoinError::Bind { address, source }) if addresses.is_empty() && !sockets.is_empty() => {
                tracing::debug!(%address, error = %source, "cannot bind a UDP socket to the address of an interface");
            }
            Some(failure) => return Err(failure),
            None => {}
        }
        Ok(Self { sockets, next: 0 })
    }

    /// The addresses that other peers see.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|socket| socket.address).collect()
    }

    /// Receives one datagram. Returns its length, its source, and the address at which it arrived.
    pub(crate) fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<(usize, SocketAddr, SocketAddr)> {
        let count = self.sockets.len();
        for index in (0..count).map(|offset| (self.next + offset) % count) {
            let socket = &self.sockets[index];
            let mut buffer = ReadBuf::new(buffer);
            let mut errors = 0;
            while let Poll::Ready(received) = socket.socket.poll_recv_from(context, &mut buffer) {
                if let Ok(source) = received {
                    self.next = (index + 1) % count;
                    return Poll::Ready((buffer.filled().len(), source, socket.address));
                }
                // An error reports that an earlier datagram was not delivered. The next call reads on.
                errors += 1;
                if errors == MAX_ERRORS {
                    context.waker().wake_by_ref();
                    break;
                }
            }
        }
        Poll::Pending
    }

    /// Sends a datagram from the socket with this address, or queues it.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        let Some(socket) = self.sockets.iter_mut().find(|socket| socket.address == from) else { return };
        if socket.queue.is_empty() {
            match socket.socket.try_send_to(&data, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A host or network cannot be reached. ICE tries other candidates.
                Ok(_) | Err(_) => return,
            }
        }
        if socket.queue.len() < MAX_QUEUED {
            socket.queue.push_back((to, data));
        }
    }

    /// Sends queued datagrams. Returns `Ready` when all queues are empty.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for Socket { socket, queue, .. } in &mut self.sockets {
            while let Some((to, data)) = queue.front() {
                // As in `send`, errors are those of an unreachable destination.
                let _: io::Result<usize> = ready!(socket.poll_send_to(context, data, *to));
                queue.pop_front();
            }
        }
        Poll::Ready(())
    }
}

fn bind(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for (set, name) in
        [(socket.set_recv_buffer_size(BUFFER_BYTES), "receive"), (socket.set_send_buffer_size(BUFFER_BYTES), "send")]
    {
        if let Err(error) = set {
            tracing::debug!(%error, name, "cannot enlarge the buffer of a UDP socket");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}

/// Whether the address can be a candidate.
fn is_usable(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

/// The addresses of the network interfaces, without loopback and link-local ones if there are others.
fn interface_addresses() -> Result<Vec<(SocketAddr, Option<IpAddr>)>, JoinError> {
    let interfaces = if_addrs::get_if_addrs().map_err(JoinError::Interfaces)?;
    let is_link_local = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let all: Vec<_> = interfaces.iter().map(if_addrs::Interface::ip).filter(|&ip| is_usable(ip)).collect();
    let mut addresses: Vec<_> = all.iter().copied().filter(|&ip| !ip.is_loopback() && !is_link_local(ip)).collect();
    if addresses.is_empty() {
        // IPv6 on loopback adds nothing, and is often disabled.
        addresses = all.into_iter().filter(|ip| ip.is_loopback() && *ip != Ipv6Addr::LOCALHOST).collect();
    }
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(JoinError::Interfaces(io::Error::new(
            io::ErrorKind::NotFound,
            "no network interface has an address",
        )));
    }
    Ok(addresses.into_iter().map(|ip| (SocketAddr::new(ip, 0), None)).collect())
}
