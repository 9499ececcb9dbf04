//! The metrics that a hub reports to the `metrics` facade.

#![cfg(feature = "metrics")]

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use sigver::client::Event;
use sigver::{CloseCode, SignalingHub, memory};
use tokio::runtime::Builder;

/// Returns what was recorded while a test ran: names with labels, and values. The value of a histogram is the number of
/// its samples, and their sum has a name of its own.
fn recorded(test: impl AsyncFnOnce()) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    metrics::with_local_recorder(&recorder, || runtime.block_on(test()));
    let named = |key: &metrics::Key| {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        format!("{}{}", key.name(), labels.collect::<String>())
    };
    let values = recorder.snapshotter().snapshot().into_vec().into_iter().flat_map(|(key, _, _, value)| {
        let name = named(key.key());
        let (value, sum) = match value {
            DebugValue::Counter(count) => (count as f64, None),
            DebugValue::Gauge(now) => (now.0, None),
            DebugValue::Histogram(all) => (all.len() as f64, Some(all.into_iter().map(|sample| sample.0).sum())),
        };
        let sum = sum.map(|sum| (format!("{name} sum"), sum));
        [Some((name, value)), sum].into_iter().flatten()
    });
    values.collect()
}

#[test]
fn peers_connects_relays_closes_and_rejections_are_reported() {
    let seen = recorded(async || {
        let hub = SignalingHub::builder().max_peers(2).build().expect("valid settings");
        let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_content(0, "offer").await;
        member.recv_content().await;
        assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
        // Two heartbeats, of which the member answers one.
        assert!(matches!(member.recv_any().await, Ok(Event::Heartbeat)));
        member.send_heartbeat().await;
        assert!(matches!(member.recv_any().await, Ok(Event::Heartbeat)));
        member.close().await;
        joiner.recv_content().await;
        hub.close_group("K", CloseCode::app(4001));
        joiner.recv_close().await;
    });
    for (name, expected) in [
        ("sigver_peers", 0.0),
        ("sigver_groups", 0.0),
        ("sigver_links", 0.0),
        ("sigver_connects_total outcome=member", 1.0),
        ("sigver_connects_total outcome=bound", 1.0),
        ("sigver_relayed_messages_total", 1.0),
        ("sigver_relayed_bytes_total", 5.0),
        ("sigver_closes_total code=4001 cause=none", 1.0),
        ("sigver_rejections_total cause=max_peers", 1.0),
        ("sigver_heartbeat_delay_seconds", 1.0),
        // Two connects and two leaves.
        ("sigver_group_event_duration_seconds", 4.0),
    ] {
        assert_eq!(seen.get(name), Some(&expected), "{name} in {seen:#?}");
    }
    assert!(seen["sigver_outbox_messages"] >= 4.0, "{seen:#?}");
    assert!(seen["sigver_group_event_duration_seconds sum"] > 0.0, "{seen:#?}");
}

#[test]
fn drain_reports_closes_of_peers_and_rejections_of_joins() {
    let seen = recorded(async || {
        let hub = SignalingHub::new();
        let mut peer = memory::join(&hub, "K");
        assert!(peer.connect(1, &[]).await);
        let closed = async { assert_eq!(peer.recv_close().await.code, 1001) };
        tokio::join!(hub.drain(Duration::from_secs(2)), closed);
        assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1001);
    });
    assert_eq!(seen.get("sigver_closes_total code=1001 cause=draining"), Some(&1.0), "{seen:#?}");
    assert_eq!(seen.get("sigver_rejections_total cause=draining"), Some(&1.0), "{seen:#?}");
}

#[test]
fn gauges_show_the_peers_groups_and_links_that_exist() {
    let seen = recorded(async || {
        let hub = SignalingHub::new();
        let _other = memory::join(&hub, "L");
        let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
    });
    assert_eq!(["peers", "groups", "links"].map(|name| seen[&format!("sigver_{name}")]), [3.0, 2.0, 1.0], "{seen:#?}");
}

#[test]
fn link_is_removed_when_both_directions_end() {
    let seen = recorded(async || {
        let hub = SignalingHub::new();
        let [mut member, mut joiner] = [memory::join(&hub, "K"), memory::join(&hub, "K")];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_last_content(0, "offer").await;
        let (link, _) = member.recv_content().await;
        member.send_last_content(link, "answer").await;
        joiner.recv_content().await;
        assert_eq!(hub.stats().links, 0);
    });
    assert_eq!(seen["sigver_links"], 0.0);
}

#[test]
fn heartbeat_delay_has_one_sample_for_each_interval() {
    let seen = recorded(async || {
        let hub = SignalingHub::new();
        let mut peer = memory::join(&hub, "K");
        assert!(peer.connect(1, &[]).await);
        for _ in 0..3 {
            for _ in 0..1000 {
                peer.send_heartbeat().await;
            }
            assert!(matches!(peer.recv_any().await, Ok(Event::Heartbeat)));
        }
        peer.send_heartbeat().await;
        // The answer shows that the hub has handled the last heartbeat.
        assert!(peer.connect(1, &[]).await);
    });
    assert_eq!(seen["sigver_heartbeat_delay_seconds"], 3.0);
}

#[test]
#[cfg(feature = "cluster")]
fn node_of_a_cluster_reports_nodes_beats_steps_and_records() {
    use std::time::SystemTime;

    use sigver::ClusterConfig;
    use sigver::cluster::MemoryBackplane;
    use tokio::time::sleep;

    let seen = recorded(async || {
        let engine = MemoryBackplane::new();
        let [a, b] = [engine.connect(), engine.connect()].map(|engine| {
            let config = ClusterConfig::new(engine).max_members_per_group(1);
            let (hub, driver) = SignalingHub::builder().build_cluster(config).expect("valid settings");
            tokio::spawn(driver);
            hub
        });
        let [mut member, mut joiner] = [memory::join(&a, "K"), memory::join(&b, "K")];
        assert!(member.connect(1, &[]).await);
        assert!(!joiner.connect(2, &[]).await);
        joiner.send_connect(3, &[1]).await;
        assert_eq!(joiner.recv_close().await.code, 1013, "the group has one member at most");
        // The counters are reported at each beat.
        sleep(Duration::from_secs(3)).await;
        engine.wipe();
        sleep(Duration::from_secs(7)).await;
    });
    for (name, expected) in [
        ("sigver_cluster_nodes", 2.0),
        ("sigver_cluster_steps_waiting", 0.0),
        ("sigver_cluster_step_duration_seconds outcome=condition_failed", 1.0),
        ("sigver_cluster_step_duration_seconds outcome=full", 1.0),
        ("sigver_cluster_step_duration_seconds outcome=unknown", 0.0),
        // The link's BIND and END.
        ("sigver_cluster_records_sent_total", 2.0),
        ("sigver_cluster_records_received_total", 2.0),
        ("sigver_cluster_gaps_total", 0.0),
        ("sigver_cluster_resets_total", 0.0),
        ("sigver_cluster_repairs_total kind=put_back", 1.0),
        ("sigver_cluster_repairs_total kind=removed", 0.0),
        ("sigver_cluster_repairs_total kind=other_lineage", 0.0),
    ] {
        assert_eq!(seen.get(name), Some(&expected), "{name} in {seen:#?}");
    }
    assert!(seen["sigver_cluster_step_duration_seconds outcome=applied"] >= 2.0, "{seen:#?}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970").as_secs_f64();
    assert!((now - seen["sigver_cluster_last_beat_timestamp_seconds"]).abs() < 10.0, "{seen:#?}");
}

#[test]
#[cfg(feature = "cluster")]
fn links_that_replies_and_records_end_are_no_longer_in_the_gauge() {
    use sigver::ClusterConfig;
    use sigver::cluster::MemoryBackplane;

    let run = |is_bound: bool, has_left: bool| {
        recorded(async || {
            let engine = MemoryBackplane::new();
            let [a, b] = ["a", "b"].map(|name| {
                let config = ClusterConfig::new(engine.connect());
                let (hub, driver) = SignalingHub::builder().name(name).build_cluster(config).expect("valid settings");
                tokio::spawn(driver);
                hub
            });
            let [mut member, mut joiner] = [memory::join(&a, "K"), memory::join(&b, "K")];
            assert!(member.connect(1, &[]).await);
            if is_bound {
                assert!(!joiner.connect(2, &[]).await);
                joiner.send_content(0, "offer").await;
                member.recv_content().await;
            }
            if has_left {
                member.close().await;
                joiner.recv_any().await.expect("the link ends");
            }
        })
    };
    for (is_bound, has_left, links) in [(false, false, 0.0), (true, false, 1.0), (true, true, 0.0)] {
        let seen = run(is_bound, has_left);
        assert_eq!((seen["sigver_links hub=a"], seen["sigver_links hub=b"]), (0.0, links), "{seen:#?}");
    }
}

#[test]
fn hub_without_a_cluster_reports_no_metric_of_a_cluster() {
    let seen = recorded(async || assert!(memory::join(&SignalingHub::new(), "K").connect(1, &[]).await));
    assert!(!seen.keys().any(|name| name.contains("cluster")), "{seen:#?}");
}

#[cfg(feature = "turn")]
#[test]
fn requests_for_ice_servers_are_reported_by_their_outcome() {
    let seen = recorded(async || {
        let hub = SignalingHub::builder().joins_per_second_per_ip(1);
        let hub = hub.ice_servers(sigver::IceServers::new().stun(["stun:a.example"])).build().expect("valid settings");
        let request = || sigver::JoinRequest::new("K").with_client_ip([192, 0, 2, 7].into());
        assert!(hub.ice_servers(request()).await.is_ok());
        assert!(hub.ice_servers(request()).await.is_err());
    });
    assert_eq!(seen["sigver_ice_configurations_total"], 1.0, "{seen:#?}");
    assert_eq!(seen["sigver_rejections_total cause=joins_per_second_per_ip"], 1.0, "{seen:#?}");
}

#[test]
fn every_metric_of_a_hub_with_a_name_has_the_label_hub() {
    let run = |name: Option<&'static str>| {
        recorded(async || {
            let mut builder = SignalingHub::builder().max_peers(1);
            if let Some(name) = name {
                builder = builder.name(name);
            }
            let hub = builder.build().expect("valid settings");
            let mut peer = memory::join(&hub, "K");
            assert!(peer.connect(1, &[]).await);
            assert_eq!(memory::join(&hub, "K").recv_close().await.code, 1013);
            hub.close_group("K", CloseCode::app(4001));
            peer.recv_close().await;
        })
    };
    let (named, unnamed) = (run(Some("lobby")), run(None));
    assert!(unnamed.len() > 10 && !unnamed.keys().any(|name| name.contains("hub=")), "{unnamed:#?}");
    let labelled = |name: &String| match name.strip_suffix(" sum") {
        Some(name) => format!("{name} hub=lobby sum"),
        None => format!("{name} hub=lobby"),
    };
    assert_eq!(named.keys().cloned().collect::<Vec<_>>(), unnamed.keys().map(labelled).collect::<Vec<_>>());
}

#[test]
#[cfg(feature = "cluster")]
fn every_metric_of_a_named_node_has_the_label_hub() {
    use sigver::ClusterConfig;
    use sigver::cluster::MemoryBackplane;

    let seen = recorded(async || {
        let config = ClusterConfig::new(MemoryBackplane::new().connect());
        let (hub, driver) = SignalingHub::builder().name("lobby").build_cluster(config).expect("valid settings");
        tokio::spawn(driver);
        assert!(memory::join(&hub, "K").connect(1, &[]).await);
    });
    let mut cluster = 0;
    for name in seen.keys() {
        assert!(name.trim_end_matches(" sum").ends_with(" hub=lobby"), "{name}");
        cluster += usize::from(name.starts_with("sigver_cluster_"));
    }
    assert!(cluster >= 10, "{seen:#?}");
}
