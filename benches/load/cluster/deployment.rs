//! The servers that a load runs against: one without a cluster, or the nodes of a cluster with their engine.

use std::time::Duration;

use tokio::process::Child;

use super::engine::Engine;
use crate::client::{Socket, Target};
use crate::process::Server;
use crate::server::{Kind, Settings};

/// More than a peer of the fastest load sends, so that the loads do not measure this limit.
const BYTES_PER_SECOND: u32 = 8 << 20;

pub(super) struct Deployment {
    engine: Option<Engine>,
    servers: Vec<Server>,
}

/// The CPU time of an operation.
#[derive(Clone, Copy)]
pub(super) struct Cpu {
    /// Of all servers together.
    pub(super) servers: Duration,
    /// `None` without a cluster.
    pub(super) engine: Option<Duration>,
}

impl Deployment {
    /// Starts a server whose hub is not a node of a cluster.
    pub(super) async fn without_cluster() -> Self {
        Self { engine: None, servers: vec![server(None).await] }
    }

    /// Starts an engine and the nodes of a cluster on it.
    pub(super) async fn cluster(nodes: usize) -> Self {
        let engine = Engine::start(&[]).await;
        let mut servers = Vec::new();
        for _ in 0..nodes {
            servers.push(server(Some(&engine)).await);
        }
        Self { engine: Some(engine), servers }
    }

    /// Returns the target of a server. Numbers above that of the last server continue with the first one.
    pub(super) fn target(&self, nth: usize) -> &Target {
        &self.servers[nth % self.servers.len()].target
    }

    /// Returns the processes whose CPU times [`Deployment::cpu`] expects.
    pub(super) fn processes(&self) -> Vec<&Child> {
        let engine = self.engine.iter().map(Engine::process);
        self.servers.iter().map(Server::process).chain(engine).collect()
    }

    /// Returns the CPU times of [`Deployment::processes`] as those of the servers and of the engine.
    pub(super) fn cpu(&self, times: &[Duration]) -> Cpu {
        let (servers, engine) = times.split_at(self.servers.len());
        Cpu { servers: servers.iter().sum(), engine: engine.first().copied() }
    }

    /// Kills the first server without a warning.
    pub(super) async fn kill_first(&mut self) {
        self.servers.remove(0).kill().await;
    }
}

/// Starts a server, and waits until it answers a `connect`: a node is then connected to the engine.
async fn server(engine: Option<&Engine>) -> Server {
    let cluster_url = engine.map(|engine| engine.url());
    let settings = Settings { bytes_per_second: Some(BYTES_PER_SECOND), cluster_url, ..Settings::default() };
    let server = Server::start(Kind::Axum, &settings).await;
    let mut peer = Socket::open(&server.target, &format!("start-{}", fastrand::u64(..))).await;
    assert!(peer.expect_connect(1, &[]).await, "the first peer becomes a member");
    server
}
