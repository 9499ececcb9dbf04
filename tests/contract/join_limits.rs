//! Limits that reject a join: peers, peers and joins per client IP, groups, and peers per group.

use sigver::client::ClientError;
use sigver::{Cause, ClientIpHeader, SignalingHub};

use crate::admission::joins;
use crate::server::{Adapter, OpenRequest, Rejected, build};

crate::on_every_configurable_adapter! {
    join_over_max_peers_closes_with_1013
    join_over_max_peers_per_ip_closes_with_1013
    join_over_joins_per_second_per_ip_closes_with_1013
    client_ip_header_of_untrusted_proxy_is_ignored
    join_over_max_groups_closes_with_1013
    join_over_max_peers_per_group_closes_with_1013
}

/// A client IP other than that of the tests.
const CLIENT: &str = "192.0.2.7";
const OTHER_CLIENT: &str = "192.0.2.8";

async fn join_over_max_peers_closes_with_1013(adapter: Adapter) {
    let hub = build(SignalingHub::builder().max_peers(2));
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
    let hub = build(builder.trusted_proxies(ClientIpHeader::XForwardedFor, ["127.0.0.1"]));
    let server = adapter.mount(hub.clone()).await;
    let request = |key: &str, ip: &str| OpenRequest::new(key).forwarded_for(ip);
    let open = async |ip| server.try_open(request("K", ip)).await.expect("the peer is admitted");
    let [first, _second] = [open(CLIENT).await, open(CLIENT).await];
    assert_eq!(server.open_rejected(request("K", CLIENT)).await, Rejected::Closed(1013));
    assert_eq!(hub.stats().rejections.get(Cause::MaxPeersPerIp), 1);
    assert!(joins(&*server, request("L", OTHER_CLIENT)).await, "another client IP has its own limit");
    let [_third, _fourth] = [open("2001:db8::1").await, open("2001:db8::2").await];
    assert_eq!(server.open_rejected(request("K", "2001:db8::3:0:0:1")).await, Rejected::Closed(1013), "the same /64");
    first.close().await;
    while !joins(&*server, request("M", CLIENT)).await {}
}

async fn join_over_joins_per_second_per_ip_closes_with_1013(adapter: Adapter) {
    // Over TCP the clock runs and the bucket refills, so the test joins until one join is rejected.
    let builder = SignalingHub::builder().joins_per_second_per_ip(3);
    let hub = build(builder.trusted_proxies(ClientIpHeader::Forwarded, ["127.0.0.1"]));
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
    let builder = SignalingHub::builder().max_peers_per_ip(1);
    let hub = build(builder.trusted_proxies(ClientIpHeader::XForwardedFor, ["192.0.2.0/24"]));
    let server = adapter.mount(hub).await;
    let _first = server.open("K").await;
    for claimed in [CLIENT, "::1", "garbage"] {
        let request = OpenRequest::new("K").forwarded_for(claimed);
        assert_eq!(server.open_rejected(request).await, Rejected::Closed(1013), "{claimed}");
    }
}

async fn join_over_max_groups_closes_with_1013(adapter: Adapter) {
    let hub = build(SignalingHub::builder().max_groups(2));
    let server = adapter.mount(hub.clone()).await;
    let [first, _second] = [server.open("K").await, server.open("L").await];
    assert_eq!(server.open_rejected(OpenRequest::new("M")).await, Rejected::Closed(1013));
    assert!(joins(&*server, OpenRequest::new("L")).await, "the group exists");
    assert_eq!(hub.stats().rejections.get(Cause::MaxGroups), 1);
    first.close().await;
    while !joins(&*server, OpenRequest::new("M")).await {}
}

async fn join_over_max_peers_per_group_closes_with_1013(adapter: Adapter) {
    let hub = build(SignalingHub::builder().max_peers_per_group(2));
    let server = adapter.mount(hub.clone()).await;
    let [mut first, mut second] = [server.open("K").await, server.open("K").await];
    assert!(first.connect(1, &[]).await);
    assert!(!second.connect(2, &[]).await);
    assert_eq!(server.open("K").await.recv_close().await, 1013);
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
