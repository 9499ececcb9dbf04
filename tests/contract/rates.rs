//! Rates of messages, bytes and connects: those of one peer, and those of all peers of one client IP.

use sigver::client::{ClientError, Event};
use sigver::{Cause, ClientIpHeader, HubBuilder, SignalingHub};

use crate::server::{Adapter, OpenRequest, Peer, TestServer};

crate::on_every_adapter_with_one_hub! {
    message_over_messages_per_second_closes_with_1013
    message_over_bytes_per_second_closes_with_1013
    connect_over_connects_per_second_closes_with_1013
    message_over_messages_per_second_per_ip_closes_with_1013
    connect_messages_with_many_ids_over_messages_per_second_per_ip_close_with_1013
    message_over_bytes_per_second_per_ip_closes_with_1013
}

async fn message_over_messages_per_second_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().messages_per_second(100));
    let server = adapter.mount(hub.clone()).await;
    let [mut fast, mut regular] = [server.open("K").await, server.open("L").await];
    for _ in 0..1000 {
        fast.send_heartbeat().await;
    }
    assert_eq!(fast.recv_close().await.code, 1013);
    assert!(regular.connect(1, &[]).await);
    assert_eq!(hub.stats().closes.get(Cause::MessagesPerSecond), 1);
}

async fn message_over_bytes_per_second_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(SignalingHub::builder().bytes_per_second(100_000));
    let server = adapter.mount(hub.clone()).await;
    let mut fast = server.open("K").await;
    for _ in 0..20 {
        fast.send_content(0, vec![0; 30_000]).await;
    }
    assert_eq!(fast.recv_close().await.code, 1013);
    assert_eq!(hub.stats().closes.get(Cause::BytesPerSecond), 1);
}

async fn connect_over_connects_per_second_closes_with_1013(adapter: Adapter) {
    // A node of a cluster reads at most 20 per second, so a higher limit has no effect there.
    let hub = adapter.build(SignalingHub::builder().connects_per_second(10));
    let server = adapter.mount(hub.clone()).await;
    let mut peer = server.open("K").await;
    let mut answers = 0;
    loop {
        peer.send_connect(1, &[]).await;
        match peer.recv().await {
            Ok(Event::Connected { member: true }) => answers += 1,
            Err(ClientError::Closed(Some(frame))) => {
                assert_eq!(frame.code, 1013);
                break;
            }
            other => panic!("expected an answer or a close, but received {other:?}"),
        }
        assert!(answers < 5000, "the hub does not close the peer");
    }
    assert!(answers >= 10, "{answers}");
    assert_eq!(hub.stats().closes.get(Cause::ConnectsPerSecond), 1);
}

async fn message_over_messages_per_second_per_ip_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(behind_proxy().messages_per_second(100).messages_per_second_per_ip(100));
    let server = adapter.mount(hub.clone()).await;
    let [mut peers, mut others] = open_from_two_ips(&*server).await;
    // Each peer sends less than it may send alone.
    for peer in &mut peers {
        for _ in 0..60 {
            peer.send_heartbeat().await;
        }
    }
    assert_eq!(peers.last_mut().expect("there are peers").recv_close().await.code, 1013);
    assert!(others[0].connect(1, &[]).await, "another client IP has its own limit");
    let closes = hub.stats().closes;
    assert_eq!(closes.get(Cause::MessagesPerSecondPerIp), closes.total());
}

async fn connect_messages_with_many_ids_over_messages_per_second_per_ip_close_with_1013(adapter: Adapter) {
    let hub = adapter.build(behind_proxy().messages_per_second(100).messages_per_second_per_ip(100));
    let server = adapter.mount(hub.clone()).await;
    let [mut peers, mut others] = open_from_two_ips(&*server).await;
    let ids: Vec<_> = (0..512).collect();
    // 100 messages, which count as 900.
    for peer in &mut peers {
        for _ in 0..5 {
            peer.send_connect(1, &ids).await;
        }
    }
    let last = peers.last_mut().expect("there are peers");
    let end = loop {
        if let Err(error) = last.recv().await {
            break error;
        }
    };
    assert!(matches!(&end, ClientError::Closed(Some(frame)) if frame.code == 1013), "{end:?}");
    others[0].send_connect(1, &[]).await;
    assert!(others[0].recv().await.is_ok(), "another client IP has its own limit");
    let closes = hub.stats().closes;
    assert_eq!(closes.get(Cause::MessagesPerSecondPerIp), closes.total());
}

async fn message_over_bytes_per_second_per_ip_closes_with_1013(adapter: Adapter) {
    let hub = adapter.build(behind_proxy().bytes_per_second(100_000).bytes_per_second_per_ip(100_000));
    let server = adapter.mount(hub.clone()).await;
    let [mut peers, mut others] = open_from_two_ips(&*server).await;
    for peer in &mut peers {
        for _ in 0..2 {
            peer.send_content(0, vec![0; 30_000]).await;
        }
    }
    assert_eq!(peers.last_mut().expect("there are peers").recv_close().await.code, 1013);
    assert!(others[0].connect(1, &[]).await, "another client IP has its own limit");
    let closes = hub.stats().closes;
    assert_eq!(closes.get(Cause::BytesPerSecondPerIp), closes.total());
}

fn behind_proxy() -> HubBuilder {
    SignalingHub::builder().trusted_proxies(ClientIpHeader::XForwardedFor, ["127.0.0.1"])
}

/// Opens 20 peers from one client IP, and one from another.
async fn open_from_two_ips(server: &dyn TestServer) -> [Vec<Peer>; 2] {
    let open = async |ip: &str| {
        let request = OpenRequest::new("K").forwarded_for(ip);
        server.try_open(request).await.expect("the peer is admitted")
    };
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(open("192.0.2.7").await);
    }
    [peers, vec![open("192.0.2.8").await]]
}
