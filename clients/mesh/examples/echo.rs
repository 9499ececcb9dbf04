//! Joins a group and answers every text message. Works with the demo page, whose key is the fragment of its URL.
//!
//! ```text
//! cargo run --example echo -- ws://127.0.0.1:8000/signal KEY
//! ```

use std::error::Error;

use serde_json::json;
use sigver_mesh::{Event, Group, Options, Payload};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let mut arguments = std::env::args().skip(1);
    let (url, key) = arguments.next().zip(arguments.next()).ok_or("usage: echo URL KEY")?;

    let options = Options::default().metadata(json!({ "name": "echo" }));
    let group = Group::join(&url, key, options).await?;
    tracing::info!(id = %group.id(), "joined");
    loop {
        tokio::select! {
            event = group.recv() => match event {
                Some(Event::Message { from, data: Payload::Text(text), .. }) => {
                    group.send(Some(from), format!("echo: {text}")).await?;
                }
                Some(event) => tracing::info!(?event),
                None => return Ok(()),
            },
            _ = tokio::signal::ctrl_c() => {
                group.leave().await;
                return Ok(());
            }
        }
    }
}
