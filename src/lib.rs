//! WebRTC signaling for existing Rust servers: mount it in axum, warp or hyper, or over a transport of your own.
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(not(feature = "axum"), doc = "```ignore")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use axum::Router;
//! use sigver::SignalingHub;
//!
//! let hub = SignalingHub::builder().allowed_origins(["https://app.example"]).build()?;
//! // ws://HOST/signal/KEY
//! let app = Router::new().nest_service("/signal", sigver::axum::router(hub.clone()));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! let shutdown = async move {
//!     tokio::signal::ctrl_c().await.expect("the process can listen for Ctrl-C");
//!     hub.drain(Duration::from_secs(10)).await;
//! };
//! let service = app.into_make_service_with_connect_info::<SocketAddr>();
//! axum::serve(listener, service).with_graceful_shutdown(shutdown).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Two browsers need a server to relay their signals (offers, answers and ICE candidates) before they have a direct
//! connection. Peers that open a WebSocket with the same key form a *group*. A peer sends `connect` with an id of its
//! choice and the ids of the members that it is directly connected to. The first peer that sends `connect` becomes a
//! *member*. The hub binds each later peer, a *joiner*, to one member by a *link*. The two exchange signals over the
//! link until they have a direct connection. Then the joiner sends `connect` again and becomes a member. It exchanges
//! signals with the other members over its direct connections, without the hub. [`protocol`] has the rules.
//!
//! sigver speaks the wire protocol of npm's `sigver` 20.1.0, so the published client Netflux works unmodified.
//!
//! # Parts
//!
//! - [`SignalingHub`] runs connections: groups by key, one future per peer, timers and bounded queues. It is a cheap
//!   handle and owns no listener, runtime or task. [`HubBuilder`] has the settings.
//! - [`Admission`] decides which peers may join: it receives a [`JoinRequest`] and returns a [`PeerInfo`] or a
//!   [`Rejection`]. [`Permit`] is an admitted join that is not served yet. [`Cause`] names the limit or check that
//!   rejected a join or closed a peer.
//! - [`HubStats`], [`GroupSnapshot`], [`PeerSnapshot`] and [`HubEvent`] show what the hub does.
//! - [`Transport`] is what the hub needs from a connection: a stream and a sink of [`Frame`]s.
//! - [`protocol`] implements the rules without I/O: a group is a function from events to actions.
//! - `sigver::cluster` connects the hubs of several servers: peers with the same key meet, whichever server they are
//!   connected to.
//! - `sigver::axum`, `sigver::warp` and `sigver::hyper` mount the hub, each behind the feature of that name.
//! - [`client`] is the client's side of the protocol, for native peers: over ws:// and wss://, or over any transport.
//! - [`memory`] connects test clients to a hub in the same process.
//! - `sigver::guide`, in the documentation with all features, explains how to run a hub in production.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | none (default) | the hub, [`client`], [`protocol`] and [`memory`], without an HTTP crate |
//! | `axum` | `sigver::axum`: `router` and `handler`, and `upgrade_with` for a handler that you wrote |
//! | `warp` | `sigver::warp`: `filter`, and `handshake` to choose the key |
//! | `hyper` | `sigver::hyper`: `service`, for hyper and tower, `upgrade` for a service that you wrote, and `ConnectionLimiter` |
//! | `client` | `client::join` and `client::Connector`: native clients over ws:// and wss:// |
//! | `http2` | WebSockets over HTTP/2 (RFC 8441), if the app's server announces them |
//! | `admin` | `sigver::hyper::admin`, `sigver::axum::admin_router` and `sigver::warp::admin`: health checks, status, admin page |
//! | `metrics` | metrics for the `metrics` facade |
//! | `serde` | `serde::Serialize` for [`HubStats`], snapshots, [`HubEvent`] and `ClusterStats` |
//! | `signed-keys` | `SignedKeys`: expiring keys, signed with HMAC-SHA256 |
//! | `turn` | `HubBuilder::ice_servers`: STUN and TURN servers for the clients, with credentials that expire |
//! | `cluster` | `HubBuilder::build_cluster` and `sigver::cluster`: groups that span servers |
//! | `redis` | `cluster::RedisBackplane`: Redis or Valkey as the engine of a cluster |
//! | `full` | all of the above |
//! | `cli` | the standalone server `sigver` |
//!
//! `axum`, `warp`, `http2`, `admin` and `turn` enable `hyper`. The adapters are for axum 0.8, warp 0.4 and hyper 1. Metrics
//! reach a recorder for `metrics` 0.24; one for another version receives nothing.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
pub mod client;
#[cfg(feature = "cluster")]
pub mod cluster;
mod hub;
pub mod protocol;
mod transport;

/// Guide to running a hub in production.
///
/// 1. [`mounting`]: frameworks, keys, your own upgrade
/// 2. [`access_control`]: origins, users, cookies, tokens
/// 3. [`signed_keys`]: invite links that expire
/// 4. [`sessions`]: logout, bans, expiry, peers per user
/// 5. [`testing`]: tests of an app, in memory and over a socket
/// 6. [`limits`]: every limit with its default
/// 7. [`deployment`]: proxies, TLS, slow handshakes, file descriptors
/// 8. [`ice_servers`]: STUN and TURN servers for the clients, with credentials that expire
/// 9. [`shutdown`]: drain without a reconnect storm
/// 10. [`observability`]: counts, events, logs, metrics, admin page
/// 11. [`standalone`]: the server `sigver` and its probe
/// 12. [`clustering`]: several servers as one hub
/// 13. [`compatibility`]: npm's `sigver`, Netflux, close codes
///
/// [`mounting`]: guide::mounting
/// [`access_control`]: guide::access_control
/// [`signed_keys`]: guide::signed_keys
/// [`sessions`]: guide::sessions
/// [`testing`]: guide::testing
/// [`limits`]: guide::limits
/// [`deployment`]: guide::deployment
/// [`ice_servers`]: guide::ice_servers
/// [`shutdown`]: guide::shutdown
/// [`observability`]: guide::observability
/// [`standalone`]: guide::standalone
/// [`clustering`]: guide::clustering
/// [`compatibility`]: guide::compatibility
#[cfg(all(doc, feature = "full"))]
pub mod guide {
    // The chapters link to these names.
    use crate as sigver;
    use crate::*;

    #[doc = include_str!("guide/mounting.md")]
    pub mod mounting {}
    #[doc = include_str!("guide/access_control.md")]
    pub mod access_control {}
    #[doc = include_str!("guide/signed_keys.md")]
    pub mod signed_keys {}
    #[doc = include_str!("guide/sessions.md")]
    pub mod sessions {}
    #[doc = include_str!("guide/testing.md")]
    pub mod testing {}
    #[doc = include_str!("guide/limits.md")]
    pub mod limits {}
    #[doc = include_str!("guide/deployment.md")]
    pub mod deployment {}
    #[doc = include_str!("guide/ice_servers.md")]
    pub mod ice_servers {}
    #[doc = include_str!("guide/shutdown.md")]
    pub mod shutdown {}
    #[doc = include_str!("guide/observability.md")]
    pub mod observability {}
    #[doc = include_str!("guide/standalone.md")]
    pub mod standalone {}
    #[doc = include_str!("guide/clustering.md")]
    pub mod clustering {}
    #[doc = include_str!("guide/compatibility.md")]
    pub mod compatibility {}
}

/// For implementations of [`Admission`]: the same as `async_trait::async_trait`.
pub use async_trait::async_trait;

#[cfg(feature = "axum")]
pub use adapter::axum;
#[cfg(feature = "hyper")]
pub use adapter::hyper;
pub use adapter::memory;
#[cfg(feature = "warp")]
pub use adapter::warp;
#[cfg(feature = "hyper")]
pub use hub::ClientIpHeader;
#[cfg(feature = "signed-keys")]
pub use hub::SignedKeys;
pub use hub::{Admission, JoinRequest, PeerData, PeerInfo, Permit, Rejection};
pub use hub::{AtLimit, ConfigError, HubBuilder, SignalingHub};
pub use hub::{Cause, CauseCounts, HubStats};
#[cfg(feature = "cluster")]
pub use hub::{ClusterConfig, ClusterDriver, ClusterStats};
pub use hub::{DisconnectReason, GroupSnapshot, HubEvent, PeerSnapshot};
#[cfg(feature = "turn")]
pub use hub::{IceConfiguration, IceServer, IceServers};
pub use protocol::{CloseCode, GroupKey};
pub use transport::{CloseFrame, Frame, Transport, TransportError};

/// Compiles the snippets of the README.
#[cfg(all(doctest, feature = "full"))]
#[doc = include_str!("../README.md")]
struct Readme;
