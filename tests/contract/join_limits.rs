//! Limits that reject a join: peers, peers and joins per client IP, groups, peers per group, and connections.

use std::time::Duration;

use sigver::client::ClientError;
use sigver::{Cause, ClientIpHeader, Frame, HubBuilder, SignalingHub};

use crate::admission::joins;
use crate::server::{Adapter, OpenRequest, Peer, Rejected, TestServer};

crate::on_every_adapter_with_one_hub! {
    join_over_max_peers_closes_with_1013
    join_over_max_peers_per_ip_closes_with_1013
    join_over_joins_per_second_per_ip_closes_with_1013
    client_ip_header_of_untrusted_proxy_is_ignored
    join_over_max_groups_closes_with_1013
    join_over_max_peers_per_group_closes_with_1013
    connection_over_twice_max_peers_gets_503_or_is_dropped
    connection_over_twice_max_peers_per_ip_gets_429_or_is_dropped
    connection_in_close_handshake_counts_as_connection
}

/// A client IP other than that of the tests.
const CLIENT: &str = "192.0.2.7";
const OTHER_CLIENT: &str = "192.0.2.8";

async fn join_over_max_peers_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().max_peers(2));
    let server = adapter.mount(hub.clone()).await;
    let [first, _second] = [server.open("K").await, server.open("L").await];
    assert_eq!(server.open_rejected(OpenRequest::new("M")).await, Rejected::Closed(1013));
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeers), 1);
    first.close().await;
    // The hub releases the slot when it notices the disconnect.
    while !joins(&*server, OpenRequest::new("M")).await {}
}

async fn join_over_max_peers_per_ip_closes_with_1013(adapter: Adapter) {
    let builder = SignalingHub::builder().max_peers_per_ip(2);
    let hub = adapter.build(builder.trusted_proxies(ClientIpHeader::XForwardedFor, ["127.0.0.1"]));
    let server = adapter.mount(hub.clone()).await;
    let request = |key: &str, ip: &str| OpenRequest::new(key).forwarded_for(ip);
    let open = async |ip| server.try_open(request("K", ip)).await.expect("the peer is admitted");
    let [first, _second] = [open(CLIENT).await, open(CLIENT).await];
    assert_eq!(server.open_rejected(request("K", CLIENT)).await, Rejected::Closed(1013));
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeersPerIp), 1);
    assert!(joins(&*server, request("L", OTHER_CLIENT)).await, "another client IP has its own limit");
    let [_third, _fourth] = [open("2001:db8::1").await, open("2001:db8::2").await];
    assert_eq!(server.open_rejected(request("K", "2001:db8::3:0:0:1")).await, Rejected::Closed(1013), "the same /64");
    assert_eq!(server.open_rejected(request("K", "64:ff9b::192.0.2.7")).await, Rejected::Closed(1013), "NAT64");
    let mut network = Vec::new();
    for n in 0..8 {
        let request = request("K", &format!("2001:db8:1:{n}::1"));
        network.push(server.try_open(request).await.expect("the peer is admitted"));
    }
    let ninth = request("K", "2001:db8:1:8::1");
    assert_eq!(server.open_rejected(ninth).await, Rejected::Closed(1013), "four times the limit for a /48");
    first.close().await;
    while !joins(&*server, request("M", CLIENT)).await {}
}

async fn join_over_joins_per_second_per_ip_closes_with_1013(adapter: Adapter) {
    // Over TCP the clock runs and the bucket refills, so the test joins until one join is rejected.
    let builder = SignalingHub::builder().joins_per_second_per_ip(3);
    let hub = adapter.build(builder.trusted_proxies(ClientIpHeader::Forwarded, ["127.0.0.1"]));
    let server = adapter.mount(hub.clone()).await;
    let from = |ip: &str| OpenRequest::new("K").header("forwarded", format!("for={ip}"));
    let mut joined = 0;
    while joins(&*server, from(CLIENT)).await {
        joined += 1;
        assert!(joined < 1000, "no join is rejected");
    }
    assert!(joined >= 3, "{joined}");
    assert_eq!(hub.stats().rejections.get(Cause::JoinsPerSecondPerIp), 1);
    assert!(joins(&*server, from(OTHER_CLIENT)).await, "another client IP has its own limit");
}

async fn client_ip_header_of_untrusted_proxy_is_ignored(adapter: Adapter) {
    let builder = SignalingHub::builder().max_peers_per_ip(3);
    let builder = builder.trusted_proxies(ClientIpHeader::XForwardedFor, ["192.0.2.0/24"]);
    let server = adapter.start_with(builder).await;
    // Twice as many connections may be open, so that each rejected one gets a close code.
    let _peers = [server.open("K").await, server.open("K").await, server.open("K").await];
    for claimed in [CLIENT, "::1", "garbage"] {
        let request = OpenRequest::new("K").forwarded_for(claimed);
        assert_eq!(server.open_rejected(request).await, Rejected::Closed(1013), "{claimed}");
    }
}

async fn join_over_max_groups_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().max_groups(2));
    let server = adapter.mount(hub.clone()).await;
    let [first, _second] = [server.open("K").await, server.open("L").await];
    assert_eq!(server.open_rejected(OpenRequest::new("M")).await, Rejected::Closed(1013));
    assert!(joins(&*server, OpenRequest::new("L")).await, "the group exists");
    assert_eq!(hub.stats().rejections.get(Cause::MaxGroups), 1);
    first.close().await;
    while !joins(&*server, OpenRequest::new("M")).await {}
}

async fn join_over_max_peers_per_group_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().max_peers_per_group(2));
    let server = adapter.mount(hub.clone()).await;
    let [mut first, mut second] = [server.open("K").await, server.open("K").await];
    assert!(first.connect(1, &[]).await);
    assert!(!second.connect(2, &[]).await);
    assert_eq!(server.open("K").await.recv_close().await.code, 1013);
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeersPerGroup), 1);
    assert!(server.open("another").await.connect(1, &[]).await);
    first.close().await;
    // The hub rejects joins until it notices the disconnect.
    loop {
        let mut next = server.open("K").await;
        next.send_connect(3, &[]).await;
        match next.recv().await {
            Ok(_) => break,
            Err(ClientError::Closed(Some(frame))) => assert_eq!(frame.code, 1013),
            other => panic!("expected an answer or a close, but received {other:?}"),
        }
    }
}

/// A hub for two peers, whose close handshakes do not end unless the peer answers.
fn two_peers() -> HubBuilder {
    SignalingHub::builder().max_peers(2).close_timeout(Duration::from_secs(3600))
}

/// Opens a connection and waits until the hub has rejected it. The peer does not answer the close frame.
async fn open_unanswered(server: &dyn TestServer, hub: &SignalingHub, request: OpenRequest) -> Peer {
    let rejections = hub.stats().rejections.total();
    let peer = server.try_open(request).await.expect("the hub accepts the handshake");
    while hub.stats().rejections.total() == rejections {
        tokio::task::yield_now().await;
    }
    peer
}

/// Returns whether the hub ends a connection without a close handshake: with this status, or by dropping it if the
/// handshake is complete.
async fn is_dropped(adapter: Adapter, server: &dyn TestServer, request: OpenRequest, status: u16) -> bool {
    match (adapter.rejection(status, 0), server.try_open(request).await) {
        (Rejected::Http(expected), Err(status)) => status == expected,
        (Rejected::Closed(_), Ok(mut peer)) => {
            matches!(peer.recv().await, Err(ClientError::ConnectionLost(_) | ClientError::Closed(None)))
        }
        _ => false,
    }
}

/// Waits until this number of connections is open. Further joins are rejected.
async fn assert_connections(hub: &SignalingHub, expected: usize) {
    while hub.drain(Duration::ZERO).await != expected {
        tokio::task::yield_now().await;
    }
}

async fn connection_over_twice_max_peers_gets_503_or_is_dropped(adapter: Adapter) {
    let hub = adapter.build(two_peers());
    let server = adapter.mount(hub.clone()).await;
    let [mut first, mut second] = [server.open("K").await, server.open("L").await];
    assert!(first.connect(1, &[]).await && second.connect(1, &[]).await);
    let mut third = open_unanswered(&*server, &hub, OpenRequest::new("M")).await;
    let _fourth = open_unanswered(&*server, &hub, OpenRequest::new("M")).await;
    for _ in 0..20 {
        assert!(is_dropped(adapter, &*server, OpenRequest::new("M"), 503).await);
    }
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeers), 22);
    // A rejected peer that answers the close frame makes room for another one.
    assert_eq!(third.recv_close().await.code, 1013);
    third.close().await;
    while is_dropped(adapter, &*server, OpenRequest::new("M"), 503).await {}
    assert_connections(&hub, 3).await;
}

async fn connection_over_twice_max_peers_per_ip_gets_429_or_is_dropped(adapter: Adapter) {
    let builder = two_peers().max_peers(100).max_peers_per_ip(2);
    let hub = adapter.build(builder.trusted_proxies(ClientIpHeader::XForwardedFor, ["127.0.0.1"]));
    let server = adapter.mount(hub.clone()).await;
    let request = || OpenRequest::new("K").forwarded_for(CLIENT);
    let mut joined = Vec::new();
    for id in 0..2 {
        let mut peer = server.try_open(request()).await.expect("the peer is admitted");
        assert!(peer.connect(id, &[0]).await);
        joined.push(peer);
    }
    let mut rejected = Vec::new();
    for _ in 0..2 {
        rejected.push(open_unanswered(&*server, &hub, request()).await);
    }
    for _ in 0..20 {
        assert!(is_dropped(adapter, &*server, request(), 429).await);
    }
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeersPerIp), 22);
    assert!(joins(&*server, OpenRequest::new("K").forwarded_for(OTHER_CLIENT)).await, "another client IP");
    assert_connections(&hub, 4).await;
}

async fn connection_in_close_handshake_counts_as_connection(adapter: Adapter) {
    let hub = adapter.build(two_peers());
    let server = adapter.mount(hub.clone()).await;
    let mut closing = Vec::new();
    for _ in 0..4 {
        let mut peer = server.open("K").await;
        assert!(peer.connect(1, &[]).await, "a closed peer is no longer a member");
        peer.send_frame(Frame::Text("not a message".into())).await;
        while hub.stats().peers > 0 {
            tokio::task::yield_now().await;
        }
        closing.push(peer);
    }
    assert!(is_dropped(adapter, &*server, OpenRequest::new("K"), 503).await);
    assert_connections(&hub, 4).await;
}
