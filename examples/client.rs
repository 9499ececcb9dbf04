//! Two native peers that exchange an offer and an answer through a running server.
//!
//! Run it with: `cargo run --features axum,client --example client [wss://HOST/PATH]`
//!
//! The URL is the one at which the server mounts the hub. Without a URL, the example starts a server on axum itself.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use sigver::SignalingHub;
use sigver::client::{Client, Connector, Event, Remote, Retry, WebSocket};
use sigver::protocol::MemberId;
use tokio::net::TcpListener;
use tokio::time::sleep;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The delays between attempts to join, in milliseconds. A client that runs for a long time never gives up.
const RETRY_DELAYS: [u64; 4] = [250, 500, 1000, 2000];

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => start_server().await?,
    };
    // `header` sends a credential, `ca` trusts a private CA, `timeout` limits the time of each attempt.
    let connector = Connector::new(&url)?;
    // Random, so that nobody else is in the group. A key that protects a group needs a cryptographic generator.
    let key = format!("example-{:032x}", fastrand::u128(..));

    let mut alice = join(&connector, &key).await?;
    let alice_id = random_id();
    assert!(alice.connect(alice_id, &[]).await?, "the first peer is a member");
    let alice = tokio::spawn(answer_one_offer(alice));

    let mut bob = join(&connector, &key).await?;
    let bob_id = random_id();
    assert!(!bob.connect(bob_id, &[]).await?, "the second peer is bound to a member and must signal with it");
    bob.send_content(Remote::Member, "offer").await?;
    let answer = loop {
        match bob.recv().await? {
            Event::Content { data, .. } => break data,
            Event::Ended { .. } => return Err("the other peer has disconnected".into()),
            // Further kinds of events may be added.
            _ => {}
        }
    };
    assert_eq!(answer, "answer to the offer");
    // With a WebRTC library, the two would now have a data channel. Bob names Alice, because he is connected to her.
    assert!(bob.connect(bob_id, &[alice_id]).await?, "a peer that names a member becomes a member");
    bob.close().await;
    alice.await??;
    println!("Two peers have exchanged an offer and an answer through {url}");
    Ok(())
}

/// Joins the group. Tries again as long as that can help.
async fn join(connector: &Connector, key: &str) -> Result<Client<WebSocket>, Error> {
    for delay in RETRY_DELAYS {
        match connector.join(key).await {
            Ok(client) => return Ok(client),
            Err(error) if error.retry() == Retry::Never => return Err(error.into()),
            Err(error) => eprintln!("{error}; trying again"),
        }
        // Random, so that the clients of a restarted server do not all return at once.
        sleep(Duration::from_millis(fastrand::u64(delay / 2..delay))).await;
    }
    Ok(connector.join(key).await?)
}

/// Answers the offer of a joiner, and waits until the joiner has disconnected.
///
/// The client answers the hub's heartbeats while it is in `recv`. An app that also does other things calls `recv` in
/// the `select!` of a loop.
async fn answer_one_offer(mut member: Client<WebSocket>) -> Result<(), Error> {
    loop {
        match member.recv().await? {
            Event::Content { from, data, .. } => {
                let answer = [b"answer to the ", &data[..]].concat();
                member.send_content(from, answer).await?;
            }
            Event::Ended { .. } => break,
            _ => {}
        }
    }
    member.close().await;
    Ok(())
}

/// Returns a random id of at least 2^31: smaller numbers are the ids of links.
fn random_id() -> MemberId {
    MemberId(fastrand::u32(1 << 31..))
}

/// Starts a server on a free port and returns its URL. `examples/axum.rs` is a complete one.
async fn start_server() -> Result<String, Error> {
    let app = Router::new().nest_service("/signal", sigver::axum::router(SignalingHub::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/signal", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    Ok(url)
}
