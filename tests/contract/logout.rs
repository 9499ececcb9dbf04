//! Logout of one of several sessions of a user, with a peer of each session in every step of a join.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sigver::memory::{self, ChannelTransport};
use sigver::{CloseCode, JoinRequest, PeerInfo, PeerSnapshot, Permit, Rejection, SignalingHub};
use tokio::sync::watch;

/// A peer in memory.
type Peer = memory::TestClient<ChannelTransport>;

const LOGGED_OUT: CloseCode = CloseCode::app(4001);

/// The session of a peer. The app gives it to the peer as data.
struct Session(String);

/// A hook that has read the store waits for this.
#[derive(Clone)]
struct Gate(watch::Receiver<bool>);

/// The app: the sessions of alice that are valid, and a hub whose clients open `SESSION/KEY`.
struct App {
    sessions: Arc<Mutex<HashSet<String>>>,
    hub: SignalingHub,
    gate: watch::Sender<bool>,
}

const STEPS: [&str; 3] = ["joined", "admitted, without a WebSocket", "in a hook that has read the store"];

/// A peer in each step.
struct Peers {
    joined: Peer,
    permit: Permit,
    pending: BoxFuture<'static, Result<Permit, Rejection>>,
}

impl App {
    /// Starts an app whose peers have the identity that `identity` returns for their session.
    fn start(identity: fn(&str) -> &str) -> Self {
        let sessions = Arc::new(Mutex::new(HashSet::from(["phone", "laptop"].map(str::to_owned))));
        let store = sessions.clone();
        let admission = move |request: JoinRequest| {
            let session = request.key().as_str().split('/').next().unwrap_or_default().to_owned();
            let is_valid = store.lock().expect("no panic").contains(&session);
            async move {
                if let Some(Gate(mut gate)) = request.extension::<Gate>().cloned() {
                    gate.wait_for(|is_open| *is_open).await.expect("the app exists");
                }
                if is_valid {
                    Ok(PeerInfo::new().identity(identity(&session)).data(Session(session)))
                } else {
                    Err(Rejection::close(LOGGED_OUT, "log in first"))
                }
            }
        };
        let hub = SignalingHub::builder().admission(admission).build().expect("valid settings");
        Self { sessions, hub, gate: watch::Sender::new(false) }
    }

    async fn open(&self, session: &str) -> Peers {
        let mut joined = memory::join(&self.hub, &*format!("{session}/joined"));
        assert!(joined.connect(1, &[]).await);
        let permit = self.hub.admit(&*format!("{session}/permit")).await.expect("the session is valid");
        let request = JoinRequest::new(format!("{session}/pending")).with_extension(Gate(self.gate.subscribe()));
        let hub = self.hub.clone();
        let mut pending = async move { hub.admit(request).await }.boxed();
        assert!((&mut pending).now_or_never().is_none(), "the hook waits");
        Peers { joined, permit, pending }
    }

    /// Lets all hooks return and all peers join.
    async fn finish(&self, Peers { joined, permit, pending }: Peers) -> [Peer; 3] {
        self.gate.send_replace(true);
        let pending = pending.await.expect("the session was valid");
        let [permit, pending] = [permit, pending].map(|permit| {
            let (there, here) = memory::pair(16);
            tokio::spawn(permit.serve(there));
            memory::TestClient::new(here)
        });
        [joined, permit, pending]
    }

    fn invalidate(&self, session: &str) {
        assert!(self.sessions.lock().expect("no panic").remove(session));
    }

    async fn assert_can_join_again(&self, session: &str) {
        assert!(memory::join(&self.hub, &*format!("{session}/again")).connect(1, &[]).await);
    }

    async fn assert_is_logged_out(&self, session: &str) {
        let mut peer = memory::join(&self.hub, &*format!("{session}/again"));
        assert_eq!(peer.recv_close().await.code, LOGGED_OUT.as_u16());
    }
}

async fn assert_closed(peers: [Peer; 3], code: CloseCode) {
    for (mut peer, step) in peers.into_iter().zip(STEPS) {
        assert_eq!(peer.recv_close().await.code, code.as_u16(), "{step}");
    }
}

async fn assert_stay(peers: [Peer; 3]) {
    for (mut peer, step) in peers.into_iter().zip(STEPS) {
        assert!(peer.connect(1, &[]).await, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn close_of_an_identity_per_session_reaches_exactly_the_peers_of_the_session() {
    let app = App::start(|session| session);
    let (phone, laptop) = (app.open("phone").await, app.open("laptop").await);
    app.invalidate("phone");
    assert_eq!(app.hub.close_identity("phone", LOGGED_OUT, "logged out"), 2, "those whose hook has returned");
    assert_closed(app.finish(phone).await, LOGGED_OUT).await;
    assert_stay(app.finish(laptop).await).await;
    app.assert_is_logged_out("phone").await;
    app.assert_can_join_again("laptop").await;
}

#[tokio::test(start_paused = true)]
async fn close_of_the_users_identity_with_1013_lets_only_valid_sessions_join_again() {
    let app = App::start(|_| "alice");
    let (phone, laptop) = (app.open("phone").await, app.open("laptop").await);
    app.invalidate("phone");
    assert_eq!(app.hub.close_identity("alice", CloseCode::TryAgainLater, "a session has ended"), 4);
    assert_closed(app.finish(phone).await, CloseCode::TryAgainLater).await;
    assert_closed(app.finish(laptop).await, CloseCode::TryAgainLater).await;
    app.assert_is_logged_out("phone").await;
    app.assert_can_join_again("laptop").await;
}

#[tokio::test(start_paused = true)]
async fn close_peers_where_reaches_only_peers_that_have_joined() {
    let app = App::start(|_| "alice");
    let phone = app.open("phone").await;
    app.invalidate("phone");
    let is_phone = |peer: &PeerSnapshot| peer.data::<Session>().is_some_and(|Session(name)| name == "phone");
    assert_eq!(app.hub.close_peers_where(is_phone, LOGGED_OUT), 1);
    let [mut joined, mut permit, mut pending] = app.finish(phone).await;
    assert_eq!(joined.recv_close().await.code, LOGGED_OUT.as_u16());
    assert!(permit.connect(1, &[]).await && pending.connect(1, &[]).await, "they were missed");
    assert_eq!(app.hub.close_peers_where(is_phone, LOGGED_OUT), 2);
}
