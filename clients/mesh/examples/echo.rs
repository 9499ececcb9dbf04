//! Joins a group and answers every text message. Works with the demo page, whose key is the fragment of its URL.
//!
//! ```text
//! cargo run --example echo -- ws://127.0.0.1:8000/signal KEY
//! ```
//!
//! `RUST_LOG` selects what it logs; `info` by default.

use std::collections::HashMap;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;

use serde_json::json;
use sigver_mesh::{Event, Group, Options, Payload, PeerId};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Answers that wait for one peer. Further ones are dropped.
const MAX_QUEUED: usize = 16;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env()?;
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let mut arguments = std::env::args().skip(1);
    let (url, key) = arguments.next().zip(arguments.next()).ok_or("usage: echo URL KEY")?;

    let options = Options::default().metadata(json!({ "name": "echo" }));
    let group = Arc::new(Group::join(&url, key, options).await?);
    tracing::info!(id = %group.id(), "joined");
    let mut queues = HashMap::new();
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    loop {
        let event = tokio::select! {
            event = group.recv() => event,
            _ = &mut interrupted => {
                group.leave().await;
                return Ok(());
            }
        };
        // This loop never waits for a peer: one that does not read would delay the answers to all others.
        match event {
            Some(Event::Message { from, data: Payload::Text(text), .. }) => {
                let queue: Option<&mpsc::Sender<String>> = queues.get(&from);
                if queue.is_none_or(|queue| queue.try_send(text).is_err()) {
                    tracing::warn!(peer = %from, "the peer does not read its answers; this one is dropped");
                }
            }
            Some(event) => {
                tracing::info!(?event);
                match event {
                    Event::PeerJoin { peer, .. } => _ = queues.insert(peer, start_answering(group.clone(), peer)),
                    Event::PeerLeave { peer, .. } => _ = queues.remove(&peer), // ends its task
                    _ => {}
                }
            }
            None => return Ok(()),
        }
    }
}

/// Starts the task that answers one peer. Returns the queue of its messages.
fn start_answering(group: Arc<Group>, peer: PeerId) -> mpsc::Sender<String> {
    let (queue, mut messages) = mpsc::channel::<String>(MAX_QUEUED);
    tokio::spawn(async move {
        while let Some(text) = messages.recv().await {
            if let Err(error) = group.send(Some(peer), format!("echo: {text}")).await {
                tracing::warn!(%peer, %error, "a message was not answered");
            }
        }
    });
    queue
}
