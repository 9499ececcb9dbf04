//! Hubs without a network: one, or the nodes of a cluster.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper::Request;
use sigver::cluster::{Faults, MemoryBackplane};
use sigver::memory::TestClient;
use sigver::{ClusterConfig, HubBuilder, JoinRequest, SignalingHub};

use super::{ByteStream, OpenRequest, Peer, TestServer};

/// How long a request to the engine of a cluster takes, and how long the reply takes.
const DELAY: Duration = Duration::from_millis(3);

/// Builds the hubs of a cluster with these settings.
pub(super) fn cluster(builder: HubBuilder, nodes: usize) -> Vec<SignalingHub> {
    let engine = MemoryBackplane::with_faults(Faults::new(0).request_delay(DELAY..=DELAY).reply_delay(DELAY..=DELAY));
    let node = || {
        let config = ClusterConfig::new(engine.connect());
        let (hub, driver) = builder.clone().build_cluster(config).expect("the settings are valid");
        tokio::spawn(driver);
        hub
    };
    std::iter::repeat_with(node).take(nodes).collect()
}

/// Hubs without a network. Each peer joins the next hub in turn.
pub(super) struct MemoryServer {
    hubs: Vec<SignalingHub>,
    joins: AtomicUsize,
}

impl MemoryServer {
    pub(super) fn new(hubs: Vec<SignalingHub>) -> Self {
        Self { hubs, joins: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl TestServer for MemoryServer {
    async fn try_open(&self, request: OpenRequest) -> Result<Peer, u16> {
        let (key, query) =
            request.tail.split_once('?').map_or((&*request.tail, None), |(key, query)| (key, Some(query)));
        let join = JoinRequest::from_url(key, query);
        // The head omits the key: some tests use keys that no URI can contain.
        let mut head = Request::get(format!("ws://localhost/?{}", query.unwrap_or_default()));
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        let head = head.body(()).expect("the request is valid").into_parts().0;
        let join = join.with_client_ip([127, 0, 0, 1].into()).with_parts(head);
        let (there, here) = sigver::memory::pair(16);
        let hub = self.hubs[self.joins.fetch_add(1, Ordering::Relaxed) % self.hubs.len()].clone();
        tokio::spawn(async move { hub.serve(there, join).await });
        Ok(TestClient::new(Box::pin(here)))
    }

    async fn open_stream(&self) -> Box<dyn ByteStream> {
        unreachable!("the memory adapter has no byte stream")
    }

    fn mount_path(&self) -> &'static str {
        ""
    }
}
