//! `sigver probe` as its operator sees it.

#![cfg(all(feature = "cli", unix))]

mod common;

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::ORIGIN;
use hyper::server::conn::http1;
use hyper::service::{HttpService, Service as _, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use sigver::memory::{self, Heard};
use sigver::protocol::Message;
use sigver::{CloseFrame, Frame, JoinRequest, SignalingHub};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server as handshake;

/// A heartbeat as the hub sends it: one binary frame.
const HEARTBEAT: [u8; 4] = [0x82, 2, 0x08, 1];

fn sigver(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigver"));
    command.args(args).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Probes, and returns the exit code and what it says: a line for each check, and the verdict.
async fn probe(args: &[&str]) -> (i32, String) {
    let mut command = sigver(&["probe"]);
    let output = timeout(Duration::from_secs(100), command.args(args).output()).await.expect("it ends");
    let output = output.expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it exits"), String::from_utf8(said).expect("text"))
}

/// All checks pass, but for those that `skipped` names.
async fn passes(args: &[&str], skipped: &[&str]) -> String {
    let (code, said) = probe(args).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.lines().last().is_some_and(|verdict| verdict.starts_with("all is well: ")), "{said}");
    let found: Vec<_> = said.lines().filter_map(|line| Some(line.split_once(" skipped  ")?.0.trim())).collect();
    assert_eq!(found, skipped, "{said}");
    said
}

/// The check fails, with these words.
async fn fails(args: &[&str], check: &str, words: &[&str]) -> String {
    let (code, said) = probe(args).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.lines().last().is_some_and(|verdict| verdict.starts_with("NOT well: ")), "{said}");
    let line = said.lines().find(|line| line.split_once(" FAILED ").is_some_and(|(what, _)| what.trim() == check));
    let line = line.unwrap_or_else(|| panic!("{check} did not fail: {said}"));
    for word in words {
        assert!(line.contains(word), "{line:?} does not say {word:?}");
    }
    said
}

/// Gives every connection to `serve`.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
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
async fn http<S>(service: S) -> SocketAddr
where
    S: HttpService<hyper::body::Incoming, ResBody = Full<Bytes>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    listen(move |socket| {
        let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone()).with_upgrades();
        // A probe that hangs up is no error here.
        async { _ = served.await }
    })
    .await
}

/// Answers every request with these bytes.
async fn answering(answer: String) -> SocketAddr {
    listen(move |mut socket| {
        let answer = answer.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.expect("a request"));
            }
            socket.write_all(answer.as_bytes()).await.expect("the probe reads");
        }
    })
    .await
}

/// A hub whose heartbeats cost little time, and that does not miss those of a probe on a busy machine.
fn quick() -> SignalingHub {
    SignalingHub::builder().heartbeat_interval(Duration::from_millis(500)).build().expect("sound")
}

/// What is left of a frame on its way.
type Change = fn(Frame) -> Option<Frame>;

/// One peer of the hub, with something in between that may change or drop what goes to it and to the hub.
async fn bridge(socket: TcpStream, hub: SignalingHub, to_peer: Change, to_hub: Change) {
    let mut opening = JoinRequest::new("");
    #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
    let read = |request: &handshake::Request, response: handshake::Response| {
        opening = JoinRequest::from_url(&request.uri().path()[1..], None);
        Ok(response)
    };
    let Ok(socket) = tokio_tungstenite::accept_hdr_async(socket, read).await else { return };
    let mut peer = sigver::hyper::transport(socket);
    let (there, mut here) = memory::pair(16);
    tokio::spawn(async move { hub.serve(there, opening).await });
    loop {
        let sent = tokio::select! {
            Some(Ok(frame)) = peer.next() => match to_hub(frame) {
                Some(frame) => here.send(frame).await.is_ok(),
                None => true,
            },
            frame = here.next() => match frame {
                Some(Ok(frame)) => match to_peer(frame) {
                    Some(frame) => peer.send_frame(frame).await.is_ok(),
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

/// Carries bytes both ways until `cut` says so of what the hub sent, or until nothing came from it for so long.
async fn proxy(mut peer: TcpStream, hub: SocketAddr, quiet: Duration, mut cut: impl FnMut(&[u8]) -> bool) {
    let mut hub = TcpStream::connect(hub).await.expect("the hub listens");
    let (mut from_peer, mut from_hub) = ([0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            read = peer.read(&mut from_peer) => match read {
                Ok(1..) => hub.write_all(&from_peer[..read.expect("it was read")]).await.expect("the hub reads"),
                _ => return,
            },
            read = timeout(quiet, hub.read(&mut from_hub)) => match read {
                Ok(Ok(read @ 1..)) if !cut(&from_hub[..read]) => {
                    // A probe that is done is no error here.
                    _ = peer.write_all(&from_hub[..read]).await;
                }
                _ => return,
            },
        }
    }
}

/// Starts a server, and returns where it listens.
async fn start(args: &[&str]) -> (Child, String) {
    let mut process = sigver(&["-h", "127.0.0.1", "-p", "0"]).args(args).spawn().expect("it starts");
    let output = process.stdout.take().expect("its output is piped");
    let line = BufReader::new(output).lines().next_line().await.expect("it can be read").expect("it says a line");
    (process, line.strip_prefix("Signaling server is listening on ").expect("it says where").to_owned())
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a folder with a plain name")
}

/// A TLS server with a certificate of its own making, and the file with that.
async fn encrypted(folder: &Path, params: CertificateParams) -> (Child, String, PathBuf) {
    let pair = KeyPair::generate().expect("a key");
    let cert = write(folder, "cert.pem", &params.self_signed(&pair).expect("a certificate").pem());
    let key = write(folder, "key.pem", &pair.serialize_pem());
    let (process, address) = start(&["-k", text(&key), "-c", text(&cert)]).await;
    (process, address, cert)
}

fn for_host(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a name")
}

#[tokio::test]
async fn a_plain_server_passes() {
    let (_process, address) = start(&[]).await;
    let said = passes(&[&format!("ws://{address}")], &["tls", "idle"]).await;
    assert!(said.contains("a fresh key is appended"), "{said}");
    assert!(said.contains("3 heartbeats answered, open for 1"), "{said}");
}

#[tokio::test]
async fn a_tls_server_passes_with_its_ca() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address, cert) = encrypted(folder.path(), for_host("127.0.0.1")).await;
    let said = passes(&[&format!("wss://{address}/"), "--ca", text(&cert)], &["idle"]).await;
    assert!(said.contains("TLS 1.3"), "{said}");
}

#[tokio::test]
async fn the_key_goes_where_the_url_says() {
    let hub = quick();
    let address = http(service_fn(move |request| {
        let hub = hub.clone();
        async move { Ok(sigver::hyper::upgrade(request, &hub).await) }
    }))
    .await;
    let said = passes(&[&format!("ws://{address}/signal?key={{key}}")], &["tls", "idle"]).await;
    assert!(said.contains("{key} is a fresh key"), "{said}");
    fails(&[&format!("ws://{address}/signal")], "admission", &["closed with 4741", "ERR_KEY", "{key}"]).await;
}

#[tokio::test]
async fn a_route_that_has_no_url_without_a_key_is_no_fault() {
    let service = sigver::hyper::service(quick()).at("/signal");
    let route = service_fn(move |request: Request<_>| {
        if request.uri().path() != "/signal/" {
            return service.call(request);
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        Box::pin(ready(Ok(response)))
    });
    passes(&[&format!("ws://{}/signal/", http(route).await)], &["tls", "idle", "empty key"]).await;
}

#[tokio::test]
async fn a_key_of_the_urls_own_is_used_and_a_group_in_use_is_left_alone() {
    let hub = quick();
    let address = http(sigver::hyper::service(hub)).await;
    let url = format!("ws://{address}/mine");
    let said = passes(&[&url], &["tls", "idle", "empty key"]).await;
    assert!(said.contains("the key is the URL's own"), "{said}");

    let mut member = common::open(address, "/mine").await;
    assert!(member.connect(1, &[]).await);
    let staying = async {
        loop {
            match member.recv_any().await {
                Heard::Message(Message::Heartbeat) => member.send_heartbeat().await,
                other => panic!("it heard {other:?}"),
            }
        }
    };
    let refused = async {
        fails(&[&url], "admission", &["somebody is in this key's group already", "end the path with a slash"]).await
    };
    tokio::select! {
        never = staying => never,
        _ = refused => {}
    }
}

#[tokio::test]
async fn idle_sockets_are_watched_for_as_long_as_is_asked() {
    let url = format!("ws://{}", http(sigver::hyper::service(quick())).await);
    let said = passes(&[&url, "--idle", "1"], &["tls"]).await;
    assert!(said.contains("nothing but heartbeats for 1."), "{said}");
}

#[tokio::test]
async fn an_origin_is_sent_if_asked() {
    let service = sigver::hyper::service(quick());
    let address = http(service_fn(move |request: Request<_>| {
        if request.headers().get(ORIGIN).is_some_and(|origin| origin == "https://example.org") {
            return service.call(request);
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::FORBIDDEN;
        Box::pin(ready(Ok(response)))
    }))
    .await;
    let url = format!("ws://{address}");
    passes(&[&url, "--origin", "https://example.org"], &["tls", "idle"]).await;
    fails(&[&url], "websocket", &["HTTP 403", "--origin ORIGIN"]).await;
    fails(&[&url, "--origin", "https://other"], "websocket", &["HTTP 403", "\"https://other\""]).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_said() {
    let said = fails(&["ws://no.such.host.invalid"], "name", &["no.such.host.invalid has no address", "spelt"]).await;
    assert!(!said.contains("connect"), "nothing more was tried: {said}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_said() {
    // Bound and not listening: nobody else gets the port.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    fails(&[&format!("ws://{address}")], "connect", &["refuses the connection", "is the server up"]).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    for (scheme, check, words) in [
        ("ws", "websocket", ["no answer to the WebSocket handshake within 1.0 s", "wss:// would be right"]),
        ("wss", "tls", ["no answer to the TLS handshake within 1.0 s", "ws:// would be right"]),
    ] {
        fails(&[&format!("{scheme}://{address}"), "--timeout", "1"], check, &words).await;
    }
}

#[tokio::test]
async fn a_status_other_than_101_is_explained() {
    for (status, words) in [
        ("200 OK", &["HTTP 200 OK", "an ordinary page"][..]),
        ("301 Moved Permanently\r\nLocation: wss://there/", &["redirects to \"wss://there/\""]),
        ("400 Bad Request", &["HTTP 400", "Sec-WebSocket", "wss:// would be right"]),
        ("401 Unauthorized", &["HTTP 401", "credentials"]),
        ("403 Forbidden", &["HTTP 403", "--origin"]),
        ("404 Not Found", &["HTTP 404", "there is no hub at this path"]),
        ("426 Upgrade Required", &["HTTP 426", "drops it", "proxy_set_header Upgrade $http_upgrade"]),
        ("502 Bad Gateway", &["HTTP 502", "no server behind it"]),
        ("503 Service Unavailable", &["HTTP 503", "no server behind it"]),
        ("504 Gateway Timeout", &["HTTP 504", "no server behind it"]),
        ("500 Internal Server Error", &["HTTP 500", "its log"]),
        ("418 I'm a teapot", &["HTTP 418", "HTTP 101 would be right"]),
    ] {
        let address =
            answering(format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwords")).await;
        fails(&[&format!("ws://{address}/")], "websocket", words).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_no_websockets_is_explained() {
    for (answer, words) in [
        ("", &["hung up in the WebSocket handshake"][..]),
        ("220 smtp.example.org ESMTP\r\n\r\n", &["no HTTP"]),
        ("HTTP/1.0 200 OK\r\n\r\n", &["HTTP/1.0", "proxy_http_version 1.1"]),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", &["HTTP 101, but not that of a WebSocket", "headers"]),
    ] {
        let address = answering(answer.to_owned()).await;
        fails(&[&format!("ws://{address}/")], "websocket", words).await;
    }
}

#[tokio::test]
async fn a_close_is_explained_by_its_code() {
    for (code, words) in [
        (1001, "going away"),
        (1008, "refused by policy"),
        (1013, "overloaded"),
        (4741, "ERR_KEY"),
        (4742, "ERR_HEARTBEAT"),
        (4743, "ERR_MESSAGE"),
        (4744, "ERR_BLOCKING_MEMBER"),
        (4745, "ERR_URL"),
        (4000, "none of the protocol's codes"),
    ] {
        let address = listen(move |socket| async move {
            let Ok(socket) = tokio_tungstenite::accept_async(socket).await else { return };
            let mut peer = sigver::hyper::transport(socket);
            let close = Frame::Close(Some(CloseFrame::new(code, "the reason")));
            peer.send(close).await.expect("the probe reads");
            // Until the probe has read it.
            while let Some(Ok(_)) = peer.next().await {}
        })
        .await;
        let close = format!("closed with {code} (\"the reason\")");
        fails(&[&format!("ws://{address}/")], "admission", &[&close, words]).await;
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address, _) = encrypted(folder.path(), for_host("127.0.0.1")).await;
    fails(&[&format!("wss://{address}/")], "tls", &["--ca FILE", "UnknownIssuer"]).await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut params = for_host("127.0.0.1");
    params.not_after = date_time_ymd(2020, 1, 1);
    let (_process, address, cert) = encrypted(folder.path(), params).await;
    fails(&[&format!("wss://{address}/"), "--ca", text(&cert)], "tls", &["it has expired", "renew it"]).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_process, address, cert) = encrypted(folder.path(), for_host("example.org")).await;
    let words = ["for another name", "only valid for", "example.org"];
    fails(&[&format!("wss://{address}/"), "--ca", text(&cert)], "tls", &words).await;
}

#[tokio::test]
async fn a_scheme_that_does_not_fit_the_port_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_tls, tls, _) = encrypted(folder.path(), for_host("127.0.0.1")).await;
    let (_plain, plain) = start(&[]).await;
    fails(&[&format!("ws://{tls}")], "websocket", &["wss:// would be right"]).await;
    fails(&[&format!("wss://{plain}")], "tls", &["ws:// would be right"]).await;
}

#[tokio::test]
async fn a_file_that_is_no_ca_is_refused() {
    let (code, said) = probe(&["wss://127.0.0.1/", "--ca", "no such file"]).await;
    assert_eq!(code, 1);
    assert!(said.starts_with("sigver: cannot read --ca no such file"), "{said}");
}

#[tokio::test]
async fn a_hub_without_heartbeats_is_said() {
    let hub = SignalingHub::new();
    let drop_heartbeats = |frame| if frame == Frame::Binary(Message::HEARTBEAT) { None } else { Some(frame) };
    let address = listen(move |socket| bridge(socket, hub.clone(), drop_heartbeats, Some)).await;
    fails(&[&format!("ws://{address}/")], "heartbeat", &["no heartbeat within 6.0 s", "buffering"]).await;
}

#[tokio::test]
async fn heartbeats_that_do_not_reach_the_hub_are_said() {
    let hub = quick();
    let drop_heartbeats = |frame| if frame == Frame::Binary(Message::HEARTBEAT) { None } else { Some(frame) };
    let address = listen(move |socket| bridge(socket, hub.clone(), Some, drop_heartbeats)).await;
    fails(&[&format!("ws://{address}/")], "staying", &["closed with 4742", "did not hear the heartbeats"]).await;
}

#[tokio::test]
async fn messages_that_are_changed_on_the_way_are_said() {
    let hub = quick();
    let change = |frame| match frame {
        Frame::Binary(bytes) if bytes.len() > 1000 => {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().expect("many") ^= 1;
            Some(Frame::Binary(bytes.into()))
        }
        frame => Some(frame),
    };
    let address = listen(move |socket| bridge(socket, hub.clone(), change, Some)).await;
    fails(&[&format!("ws://{address}/")], "relay", &["2000 bytes did not arrive as they were sent"]).await;
}

#[tokio::test]
async fn a_limit_that_is_too_low_for_an_offer_is_said() {
    let hub = SignalingHub::builder().max_message_bytes(1000).build().expect("sound");
    let address = http(sigver::hyper::service(hub)).await;
    fails(&[&format!("ws://{address}/")], "relay", &["closed with 1009", "under 2 KB"]).await;
}

#[tokio::test]
async fn what_a_hub_refuses_is_looked_at_too() {
    let [let_pass, swallow, change]: [Change; 3] = [
        |frame| if matches!(frame, Frame::Text(_)) { None } else { Some(frame) },
        |frame| if matches!(frame, Frame::Close(_)) { None } else { Some(frame) },
        |frame| match frame {
            Frame::Close(_) => Some(Frame::Close(Some(CloseFrame::new(1000, "")))),
            frame => Some(frame),
        },
    ];
    for (to_peer, to_hub, words) in [
        (Some as Change, let_pass, ["the server let it pass for 3.0 s", "4743 would be right"]),
        (swallow, Some as Change, ["without a close frame", "4743 would be right"]),
        (change, Some as Change, ["closed with 1000", "4743 would be right"]),
    ] {
        let hub = quick();
        let address = listen(move |socket| bridge(socket, hub.clone(), to_peer, to_hub)).await;
        // Longer than the hub waits for the answer to a close.
        let said = fails(&[&format!("ws://{address}/"), "--timeout", "3"], "text message", &words).await;
        assert!(said.contains("leaving       ok"), "the group was checked all the same: {said}");
    }
}

#[tokio::test]
async fn a_server_that_takes_every_key_for_one_is_said() {
    let hub = SignalingHub::new();
    let mut member = memory::join(&hub, "K");
    assert!(member.connect(1, &[]).await);
    let service = service_fn(move |request| {
        let answer = sigver::hyper::upgrade_with(request, &hub, "K");
        async { Ok(answer.await) }
    });
    let url = format!("ws://{}/", http(service).await);
    let words = ["a fresh group was not admitted", "Is the path right?"];
    let said = fails(&[&url, "--timeout", "3"], "admission", &words).await;
    let refused = "empty key     FAILED   the server let it pass for 3.0 s, where a close with 4741 would be right";
    assert!(said.contains(refused), "{said}");
}

#[tokio::test]
async fn peers_of_a_key_that_end_at_different_servers_are_said() {
    let hubs = [quick(), quick()];
    let turn = AtomicUsize::new(0);
    let address = listen(move |socket| {
        let hub = hubs[turn.fetch_add(1, Ordering::Relaxed) % 2].clone();
        bridge(socket, hub, Some, Some)
    })
    .await;
    fails(&[&format!("ws://{address}/")], "binding", &["different servers", "load balancer"]).await;
}

#[tokio::test]
async fn a_server_of_another_protocol_is_said() {
    let echo = listen(|socket| async {
        let Ok(mut peer) = tokio_tungstenite::accept_async(socket).await else { return };
        while let Some(Ok(message)) = peer.next().await {
            // A probe that hangs up is no error here.
            _ = peer.send(message).await;
        }
    });
    let chat = listen(|socket| async {
        let Ok(mut peer) = tokio_tungstenite::accept_async(socket).await else { return };
        peer.send("hello".into()).await.expect("the probe reads");
        while let Some(Ok(_)) = peer.next().await {}
    });
    for address in [echo.await, chat.await] {
        fails(&[&format!("ws://{address}/"), "--timeout", "1"], "admission", &["it is no sigver hub"]).await;
    }
}

#[tokio::test]
async fn a_proxy_that_cuts_quiet_sockets_is_said() {
    let (_process, hub) = start(&[]).await;
    let hub = hub.parse().expect("an address");
    let address = listen(move |socket| proxy(socket, hub, Duration::from_secs(2), |_| false)).await;
    let words = ["cut without a close", "cuts quiet sockets", "proxy_read_timeout"];
    fails(&[&format!("ws://{address}/")], "heartbeat", &words).await;
}

#[tokio::test]
async fn a_proxy_that_ends_long_lived_sockets_is_said() {
    let hub = SignalingHub::builder().heartbeat_interval(Duration::from_secs(1)).build().expect("sound");
    let hub = http(sigver::hyper::service(hub)).await;
    let address = listen(move |socket| {
        let mut heartbeats = 0;
        proxy(socket, hub, Duration::MAX, move |bytes| {
            heartbeats += usize::from(bytes.ends_with(&HEARTBEAT));
            heartbeats == 7
        })
    })
    .await;
    let words = ["cut without a close", "bore as much before", "how long any socket may live"];
    fails(&[&format!("ws://{address}/"), "--idle", "60"], "idle", &words).await;
}

#[tokio::test]
async fn a_proxy_that_carries_the_handshake_only_is_said() {
    let hub = http(sigver::hyper::service(quick())).await;
    let address = listen(move |socket| {
        let mut reads = 0;
        proxy(socket, hub, Duration::MAX, move |_| {
            reads += 1;
            reads == 2
        })
    })
    .await;
    let words = ["cut without a close", "carries the handshake but no messages"];
    fails(&[&format!("ws://{address}/")], "admission", &words).await;
}

#[tokio::test]
async fn what_is_no_url_is_refused() {
    for (args, word) in [
        (&["http://localhost"][..], "begins with ws:// or wss://"),
        (&["ws://localhost", "--timeout", "0"], "--timeout"),
        (&[], "<URL>"),
    ] {
        let (code, said) = probe(args).await;
        assert_eq!(code, 2);
        assert!(said.contains(word), "{said:?} does not say {word:?}");
    }
    let (code, said) = probe(&["--help"]).await;
    assert_eq!(code, 0);
    for word in ["--timeout <SECONDS>", "--idle <SECONDS>", "--origin <ORIGIN>", "--ca <FILE>"] {
        assert!(said.contains(word), "{said} does not say {word:?}");
    }
}

#[tokio::test]
async fn the_options_of_a_server_are_no_concern_of_a_probe() {
    let output = sigver(&["-p", "0", "probe", "ws://localhost"]).output().await.expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let url = format!("ws://{}", http(sigver::hyper::service(quick())).await);
    let mut command = sigver(&["probe", &url]);
    let output = command.env("SIGVER_HOST", "0.0.0.0").env("SIGVER_KEY", "no such file").output().await;
    assert_eq!(output.expect("it starts").status.code(), Some(0));
}
