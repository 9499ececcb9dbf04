//! A hub in this process, which can be stopped and started again, and peers on the loopback interface.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use sigver::{CloseCode, SignalingHub};
use sigver_mesh::{Event, Group, JoinError, LeaveReason, Options, Payload, PeerId};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest that a test waits for one event, on a machine under load.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A hub with a server.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    hub: SignalingHub,
    server: JoinHandle<()>,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(address).expect("the port is free");
        Self::serve(socket.listen(64).expect("the socket listens"), SignalingHub::new())
    }

    pub(crate) fn serve(listener: TcpListener, hub: SignalingHub) -> Self {
        let address = listener.local_addr().expect("an address");
        let app = axum::Router::new().nest_service("/signal", sigver::axum::router(hub.clone()));
        let server = tokio::spawn(async { axum::serve(listener, app).await.expect("the server runs") });
        Self { address, hub, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/signal", self.address)
    }

    /// Closes all WebSockets and the port. Returns the address.
    pub(crate) async fn stop(self) -> SocketAddr {
        self.hub.shutdown().await;
        self.server.abort();
        let _: Result<(), tokio::task::JoinError> = self.server.await; // cancelled
        self.address
    }

    /// Closes all peers with a code of the app. Returns their number.
    pub(crate) fn close_all(&self, code: u16) -> usize {
        self.hub.close_groups_where(|_| true, CloseCode::app(code))
    }

    pub(crate) async fn join(&self, options: Options) -> Result<Group, JoinError> {
        let address = "127.0.0.1:0".parse().expect("an address");
        timeout(SOON, Group::join(&self.url(), "tea room", options.address(address))).await.expect("joins soon")
    }

    pub(crate) async fn peer(&self) -> Group {
        self.join(Options::default()).await.expect("joins")
    }
}

/// Receives events until one matches.
pub(crate) async fn until<T>(group: &Group, mut matches: impl FnMut(&Event) -> Option<T>) -> T {
    let wait = async {
        loop {
            let event = group.recv().await.expect("the group was not left");
            if let Some(found) = matches(&event) {
                return found;
            }
        }
    };
    timeout(SOON, wait).await.expect("the event comes soon")
}

pub(crate) async fn peer_join(group: &Group) -> PeerId {
    until(group, |event| match event {
        Event::PeerJoin { peer, .. } => Some(*peer),
        _ => None,
    })
    .await
}

pub(crate) async fn message(group: &Group) -> Payload {
    until(group, |event| match event {
        Event::Message { data, .. } => Some(data.clone()),
        _ => None,
    })
    .await
}

/// Waits until a peer has left.
pub(crate) async fn leave_reason(group: &Group, id: PeerId) -> LeaveReason {
    until(group, |event| match event {
        Event::PeerLeave { peer, reason, .. } if *peer == id => Some(*reason),
        _ => None,
    })
    .await
}
