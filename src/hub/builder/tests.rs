//! Tests of the values that `build` accepts.

use super::*;
use crate::hub::admission::hook::PeerInfo;
use crate::hub::limits::config::AtLimit;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Sets the maximum size of a message, and whatever must be at least as large.
fn with_max_message_bytes(bytes: usize) -> HubBuilder {
    let rate = bytes as u32;
    let rates = HubBuilder::default().bytes_per_second(rate).bytes_per_second_per_ip(rate);
    rates.max_outbox_bytes(bytes + 1024).max_total_outbox_bytes(4 * (bytes + 1024)).max_message_bytes(bytes)
}

#[test]
fn build_rejects_invalid_values_and_names_the_setting() {
    let new = HubBuilder::default;
    let zero = Duration::ZERO;
    for (builder, field) in [
        (new().heartbeat_interval(Duration::from_millis(5001)), "heartbeat_interval"),
        (new().heartbeat_interval(zero), "heartbeat_interval"),
        (new().max_missed_heartbeats(0), "max_missed_heartbeats"),
        (new().first_connect_timeout(zero), "first_connect_timeout"),
        (new().first_connect_timeout(Duration::MAX), "first_connect_timeout"),
        (new().outbox_timeout(zero), "outbox_timeout"),
        (new().close_timeout(zero), "close_timeout"),
        (new().upgrade_timeout(zero), "upgrade_timeout"),
        (new().max_message_bytes(0), "max_message_bytes"),
        (new().max_members_per_connect(0), "max_members_per_connect"),
        (new().max_outbox_messages(0), "max_outbox_messages"),
        (new().max_outbox_bytes(64 * 1024 + 1023), "max_outbox_bytes"),
        (new().max_message_bytes(usize::MAX), "max_message_bytes"),
        (with_max_message_bytes((64 << 20) + 1), "max_message_bytes"),
        (new().max_total_outbox_bytes((1 << 20) - 1), "max_total_outbox_bytes"),
        (new().outbox_timeout(YEAR + Duration::from_nanos(1)), "outbox_timeout"),
        (new().eviction_min_age(YEAR + Duration::from_nanos(1)), "eviction_min_age"),
        (new().max_peers(0), "max_peers"),
        (new().max_peers_per_group(0), "max_peers_per_group"),
        (new().max_peers_per_ip(0), "max_peers_per_ip"),
        (new().max_peers_per_identity(0, AtLimit::RejectNew), "max_peers_per_identity"),
        (new().max_groups(0), "max_groups"),
        (new().joins_per_second_per_ip(0), "joins_per_second_per_ip"),
        (new().messages_per_second(0), "messages_per_second"),
        (new().bytes_per_second(64 * 1024 - 1), "bytes_per_second"),
        (new().connects_per_second(0), "connects_per_second"),
        (new().messages_per_second_per_ip(19_999), "messages_per_second_per_ip"),
        (new().messages_per_second(100_001), "messages_per_second_per_ip"),
        (new().messages_per_second(16).messages_per_second_per_ip(16), "messages_per_second_per_ip"),
        (new().bytes_per_second_per_ip((2 << 20) - 1), "bytes_per_second_per_ip"),
        (new().connects_per_second(8), "connects_per_second"),
        (new().max_members_per_connect(64_000), "connects_per_second"),
        (new().admission_timeout(zero), "admission_timeout"),
        (new().allowed_origins(["https://app.example", "app.example"]), "allowed_origins"),
        (new().allowed_origins([""; 0]), "allowed_origins"),
        (new().allow_missing_origin(true), "allow_missing_origin"),
        (new().eviction_min_age(Duration::MAX), "eviction_min_age"),
        (new().event_capacity(0), "event_capacity"),
        (new().event_capacity(65_537), "event_capacity"),
        (new().name(""), "name"),
        (new().name("x".repeat(65)), "name"),
        (new().name("lobby\n"), "name"),
        (new().read_buffer_bytes(511), "read_buffer_bytes"),
        (new().read_buffer_bytes((128 << 10) + 1), "read_buffer_bytes"),
    ] {
        let error = builder.build().expect_err(field);
        assert_eq!(error.field(), field);
        assert!(error.to_string().starts_with(field), "{error}");
    }
    assert!(new().build().is_ok());
    let per_ip = new().messages_per_second(17).messages_per_second_per_ip(17);
    assert!(per_ip.build().is_ok(), "a message counts as 17 at most: 1, 8 for 64 KiB and 8 for 512 ids");
    assert!(new().connects_per_second(9).build().is_ok(), "one connect of 512 ids takes 9 tokens");
}

#[test]
fn build_accepts_the_bounds_of_each_range() {
    let new = HubBuilder::default;
    for builder in [
        new().heartbeat_interval(Duration::from_secs(5)),
        new().first_connect_timeout(YEAR),
        new().outbox_timeout(YEAR),
        new().close_timeout(YEAR),
        new().upgrade_timeout(YEAR),
        new().admission_timeout(YEAR),
        new().eviction_min_age(YEAR),
        with_max_message_bytes(64 << 20),
        new().max_outbox_bytes(64 * 1024 + 1024),
        new().max_total_outbox_bytes(1 << 20),
        new().bytes_per_second(64 * 1024),
        new().messages_per_second_per_ip(20_000),
        new().bytes_per_second_per_ip(2 << 20),
        new().allowed_origins(["https://app.example"]),
        new().allowed_origins([""; 0]).allow_missing_origin(true),
        new().read_buffer_bytes(512),
        new().read_buffer_bytes(128 << 10),
        new().event_capacity(1),
        new().name("l"),
        new().name("x".repeat(64)),
        new().name("the lobby: \u{e9}"),
        new().event_capacity(65_536),
        new().max_peers_per_identity(1, AtLimit::ReplaceOldest),
        new().max_peers_per_identity(usize::MAX, AtLimit::RejectNew),
    ] {
        let shown = format!("{builder:?}");
        assert!(builder.build().is_ok(), "{shown}");
    }
}

#[test]
fn debug_of_a_builder_shows_whether_it_has_an_admission_hook() {
    let admission = |_| async { Ok(PeerInfo::new()) };
    for (builder, shown) in [
        (HubBuilder::default(), "admission: None"),
        (HubBuilder::default().admission(admission), "admission: Some(Admission)"),
    ] {
        assert!(format!("{builder:?}").contains(shown), "{shown}");
    }
}
