//! Bare relays between the two connections of one path: the cost of a framework's WebSockets without a protocol.
//!
//! They are fast and simple: one task per connection, one bounded queue per direction, all queued messages written
//! before one flush, and read buffers of 4 KiB where the framework can set them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::WebSocketUpgrade;
use axum::extract::ws;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_tungstenite::tungstenite::Message;
use hyper_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::interval;
use warp::Filter as _;

const READ_BUFFER: usize = 4096;
const QUEUE: usize = 256;

/// Queue ends for the second connection of a path.
type Waiting<M> = Arc<Mutex<HashMap<String, (Sender<M>, Receiver<M>)>>>;

/// Returns a queue to the other connection of the path, and one from it.
fn pair<M>(waiting: &Waiting<M>, path: &str) -> (Sender<M>, Receiver<M>) {
    let mut waiting = waiting.lock().expect("nothing panics under this lock");
    waiting.remove(path).unwrap_or_else(|| {
        let (to_second, from_first) = mpsc::channel(QUEUE);
        let (to_first, from_second) = mpsc::channel(QUEUE);
        waiting.insert(path.to_owned(), (to_first, from_first));
        (to_second, from_second)
    })
}

/// Relays until either connection ends.
async fn relay<M, S, E>(mut socket: S, (to, mut from): (Sender<M>, Receiver<M>), is_data: fn(&M) -> bool)
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    let mut batch = Vec::with_capacity(QUEUE);
    loop {
        tokio::select! {
            read = socket.next() => match read {
                Some(Ok(message)) if is_data(&message) => {
                    if to.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            count = from.recv_many(&mut batch, QUEUE) => {
                if count == 0 {
                    return;
                }
                for message in batch.drain(..) {
                    if socket.feed(message).await.is_err() {
                        return;
                    }
                }
                if socket.flush().await.is_err() {
                    return;
                }
            }
        }
    }
}

pub(crate) fn axum() -> axum::Router {
    let waiting = Waiting::default();
    axum::Router::new().fallback(async move |upgrade: WebSocketUpgrade, uri: hyper::Uri| {
        let ends = pair(&waiting, uri.path());
        let is_data = |message: &ws::Message| matches!(message, ws::Message::Binary(_));
        upgrade.read_buffer_size(READ_BUFFER).on_upgrade(move |socket| relay(socket, ends, is_data))
    })
}

/// Sends heartbeats from one timer per connection, which starts when the connection opens.
pub(crate) fn heartbeats() -> axum::Router {
    axum::Router::new().fallback(async |upgrade: WebSocketUpgrade| {
        upgrade.read_buffer_size(READ_BUFFER).on_upgrade(async |mut socket| {
            let mut heartbeats = interval(Duration::from_secs(5));
            heartbeats.tick().await;
            loop {
                tokio::select! {
                    read = socket.next() => if !matches!(read, Some(Ok(_))) { return },
                    _ = heartbeats.tick() => {
                        let heartbeat = ws::Message::Binary(sigver::protocol::Message::HEARTBEAT);
                        if socket.send(heartbeat).await.is_err() {
                            return;
                        }
                    }
                }
            }
        })
    })
}

pub(crate) fn warp() -> impl warp::Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    let waiting = Waiting::default();
    warp::path::full().and(warp::ws()).map(move |path: warp::path::FullPath, upgrade: warp::ws::Ws| {
        let ends = pair(&waiting, path.as_str());
        upgrade.on_upgrade(move |socket| relay(socket, ends, warp::ws::Message::is_binary))
    })
}

type Answer = Response<Full<Bytes>>;

pub(crate) fn hyper()
-> impl hyper::service::Service<Request<Incoming>, Response = Answer, Error = Infallible, Future: Send> + Clone {
    let waiting = Waiting::default();
    service_fn(move |request: Request<Incoming>| {
        let ends = pair(&waiting, request.uri().path());
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (response, upgrade) =
            hyper_tungstenite::upgrade(request, Some(config)).expect("the load sends only WebSocket handshakes");
        tokio::spawn(async move {
            if let Ok(socket) = upgrade.await {
                relay(socket, ends, Message::is_binary).await;
            }
        });
        std::future::ready(Ok(response))
    })
}
