//! Servers and proxies to probe, with and without faults.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use sigver::{Frame, JoinRequest, SignalingHub, memory};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server as handshake;

use crate::process::{start, utf8, write};

/// Returns a hub with short heartbeat intervals. They are long enough for a probe on a busy machine.
pub(crate) fn fast_hub() -> SignalingHub {
    SignalingHub::builder().heartbeat_interval(Duration::from_millis(500)).build().expect("valid settings")
}

/// Passes every connection to `serve`.
pub(crate) async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address
}

/// Serves HTTP.
pub(crate) async fn http<S>(service: S) -> SocketAddr
where
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    listen(move |socket| {
        let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()).with_upgrades();
        // The probe may close the connection at any time.
        async { _ = served.await }
    })
    .await
}

/// Returns an empty response.
pub(crate) fn empty_response(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Responds to every request with these bytes.
pub(crate) async fn responding_with(response: String) -> SocketAddr {
    listen(move |mut socket| {
        let response = response.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.expect("a request"));
            }
            socket.write_all(response.as_bytes()).await.expect("the probe reads");
        }
    })
    .await
}

/// Changes a frame on its way, or drops it.
pub(crate) type Change = fn(Frame) -> Option<Frame>;

/// Serves one peer of the hub through a proxy that changes frames in each direction.
pub(crate) async fn frame_proxy(socket: TcpStream, hub: SignalingHub, to_peer: Change, to_hub: Change) {
    let mut request = JoinRequest::new("");
    #[expect(clippy::result_large_err, reason = "tungstenite defines the type")]
    let read = |upgrade: &handshake::Request, response: handshake::Response| {
        request = JoinRequest::from_url(&upgrade.uri().path()[1..], None);
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(socket, read).await else { return };
    let mut peer = sigver::hyper::transport(socket);
    let (hub_end, mut peer_end) = memory::pair(16);
    tokio::spawn(async move { hub.serve(hub_end, request).await });
    loop {
        let sent = tokio::select! {
            Some(Ok(frame)) = peer.next() => match to_hub(frame) {
                Some(frame) => peer_end.send(frame).await.is_ok(),
                None => true,
            },
            frame = peer_end.next() => match frame {
                Some(Ok(frame)) => match to_peer(frame) {
                    Some(frame) => peer.send(frame).await.is_ok(),
                    None => true,
                },
                _ => false,
            },
        };
        if !sent {
            return;
        }
    }
}

/// Forwards bytes in both directions. Closes the connection when `closes` returns true for bytes of the hub, or after
/// the hub was silent for `idle_timeout`.
pub(crate) async fn byte_proxy(
    mut peer: TcpStream,
    hub: SocketAddr,
    idle_timeout: Duration,
    mut closes: impl FnMut(&[u8]) -> bool,
) {
    let mut hub = TcpStream::connect(hub).await.expect("the hub listens");
    let (mut from_peer, mut from_hub) = ([0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            read = peer.read(&mut from_peer) => match read {
                Ok(read @ 1..) => hub.write_all(&from_peer[..read]).await.expect("the hub reads"),
                _ => return,
            },
            read = timeout(idle_timeout, hub.read(&mut from_hub)) => match read {
                Ok(Ok(read @ 1..)) if !closes(&from_hub[..read]) => {
                    // The probe may close the connection at any time.
                    _ = peer.write_all(&from_hub[..read]).await;
                }
                _ => return,
            },
        }
    }
}

/// Starts a TLS server with a self-signed certificate. Returns the certificate's file too.
pub(crate) async fn start_tls(folder: &Path, params: CertificateParams) -> (Child, String, PathBuf) {
    let pair = KeyPair::generate().expect("a key");
    let cert = write(folder, "cert.pem", &params.self_signed(&pair).expect("a certificate").pem());
    let key = write(folder, "key.pem", &pair.serialize_pem());
    let (process, address) = start(&["-k", utf8(&key), "-c", utf8(&cert)]).await;
    (process, address, cert)
}

pub(crate) fn certificate_for(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a valid name")
}
