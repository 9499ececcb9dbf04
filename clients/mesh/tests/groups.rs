//! Native peers that meet over a hub in this process and UDP on the loopback interface.

mod common;

use std::time::{Duration, Instant};

use common::{Hub, SOON, leave_reason, message, peer_join, until};
use serde_json::json;
use sigver_mesh::{ChannelOptions, Event, Group, JoinError, LeaveReason, Options, PeerId, Reason, SendError, State};
use tokio::time::timeout;

/// Waits until a group has exactly these peers.
async fn meshed(groups: &[&Group]) {
    let wait = async {
        loop {
            let is_complete = groups.iter().all(|group| {
                let mut others: Vec<_> = groups.iter().map(|it| it.id()).filter(|&id| id != group.id()).collect();
                others.sort_unstable();
                group.peers().iter().map(|peer| peer.id).eq(others)
            });
            if is_complete {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await; // polls a condition
        }
    };
    timeout(SOON, wait).await.expect("the peers form a mesh soon");
}

#[tokio::test]
async fn two_peers_exchange_messages() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    assert_eq!(peer_join(&alice).await, bob.id());
    assert_eq!(peer_join(&bob).await, alice.id());
    assert_eq!(alice.send(None, "hello").await, Ok(1));
    assert_eq!(message(&bob).await, "hello".into());
    for length in [0, 1, 16_383, 16_384, 16_385, 300_000, 3_000_000] {
        assert_eq!(bob.send(Some(alice.id()), vec![7; length]).await, Ok(1));
        assert_eq!(message(&alice).await, vec![7; length].into());
    }
    assert_eq!(bob.send(Some(PeerId(1)), "nobody").await, Ok(0));
    assert_eq!(alice.peers()[0].fingerprint, bob.fingerprint());
    assert!(alice.id().0 >= 1 << 31);
    assert_eq!(format!("{alice:?}"), format!("Group {{ id: {}, state: Joined, peers: 1, .. }}", alice.id()));
}

#[tokio::test]
async fn peers_meet_through_a_neighbour_while_the_hub_is_away() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    let carol = hub.peer().await;
    // Carol is connected with one of them. The hub is not needed for the other one.
    hub.stop().await;
    meshed(&[&alice, &bob, &carol]).await;
    assert_eq!(carol.send(None, "to both").await, Ok(2));
    assert_eq!(message(&alice).await, "to both".into());
    assert_eq!(message(&bob).await, "to both".into());
}

#[tokio::test]
async fn six_peers_that_join_at_once_form_a_mesh() {
    let hub = Hub::start().await;
    let groups = futures::future::join_all((0..6).map(|_| hub.peer())).await;
    meshed(&groups.iter().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn group_survives_a_restart_of_the_hub() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    meshed(&[&alice, &bob]).await;
    let address = hub.stop().await;
    let away = |event: &Event| matches!(event, Event::StateChange { state: State::Reconnecting, .. }).then_some(());
    until(&alice, away).await;
    until(&bob, away).await;
    assert_eq!(alice.send(None, "without a hub").await, Ok(1));
    assert_eq!(message(&bob).await, "without a hub".into());
    let hub = Hub::start_at(address).await;
    let joined = |event: &Event| match event {
        Event::StateChange { state: State::Joined, .. } => Some(()),
        Event::PeerLeave { .. } => panic!("the connection stays open"),
        _ => None,
    };
    until(&alice, joined).await;
    until(&bob, joined).await;
    let carol = hub.peer().await;
    meshed(&[&alice, &bob, &carol]).await;
}

#[test]
fn killed_peer_is_noticed_by_its_pings() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (killed, alive) = (runtime().expect("a runtime"), runtime().expect("a runtime"));
    let (hub, alice) = alive.block_on(async {
        let hub = Hub::start().await;
        let alice = hub.peer().await;
        (hub, alice)
    });
    let bob = killed.block_on(hub.peer());
    alive.block_on(meshed(&[&alice, &bob]));
    let id = bob.id();
    killed.shutdown_background(); // its tasks are dropped: no `bye`, no close of the connection
    drop(bob);
    alive.block_on(async {
        let pending = alice.send(Some(id), vec![0; 1_000_000]);
        assert_eq!(leave_reason(&alice, id).await, LeaveReason::Lost);
        assert_eq!(pending.await, Ok(0));
    });
}

#[tokio::test]
async fn last_message_arrives_before_bye() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    meshed(&[&alice, &bob]).await;
    let id = bob.id();
    assert_eq!(bob.send(None, vec![1; 2_000_000]).await, Ok(1));
    bob.leave().await;
    assert_eq!(message(&alice).await.len(), 2_000_000);
    assert_eq!(leave_reason(&alice, id).await, LeaveReason::Left);
    assert_eq!(bob.state(), State::Left);
    assert_eq!(bob.send(None, "late").await, Err(SendError::Left));
    bob.leave().await;
    let mut last = None;
    while let Some(event) = bob.recv().await {
        assert!(!matches!(event, Event::PeerLeave { .. }), "{event:?}");
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::StateChange { state: State::Left, reason: Reason::None, .. })), "{last:?}");
}

#[tokio::test]
async fn dropped_handle_leaves_the_group() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    meshed(&[&alice, &bob]).await;
    let id = bob.id();
    drop(bob);
    assert_eq!(leave_reason(&alice, id).await, LeaveReason::Left);
}

#[tokio::test]
async fn metadata_is_part_of_the_join_and_can_change() {
    let hub = Hub::start().await;
    let alice = hub.join(Options::default().metadata(json!({ "name": "Ada" }))).await.expect("joins");
    let bob = hub.peer().await;
    let metadata = until(&bob, |event| match event {
        Event::PeerJoin { metadata, .. } => metadata.clone(),
        _ => None,
    });
    assert_eq!(metadata.await, json!({ "name": "Ada" }));
    alice.set_metadata(json!("changed")).await.expect("short");
    let metadata = until(&bob, |event| match event {
        Event::PeerMetadata { peer, metadata, .. } => Some((*peer, metadata.clone())),
        _ => None,
    });
    assert_eq!(metadata.await, (alice.id(), json!("changed")));
    assert_eq!(bob.peers()[0].metadata, Some(json!("changed")));
    assert!(alice.set_metadata(json!("x".repeat(4_095))).await.is_err());
}

#[tokio::test]
async fn named_channels_reach_the_peers_that_have_them() {
    let hub = Hub::start().await;
    let pose = ChannelOptions::default().ordered(false).max_retransmits(0);
    let with_pose = || Options::default().channel("pose", pose).channel("log", ChannelOptions::default());
    let alice = hub.join(with_pose()).await.expect("joins");
    let bob = hub.join(with_pose()).await.expect("joins");
    let carol = hub.peer().await;
    meshed(&[&alice, &bob, &carol]).await;
    for (channel, length) in [("pose", 16_384), ("log", 100_000)] {
        assert_eq!(alice.send_on(channel, None, vec![1; length]).await, Ok(1));
        let received = until(&bob, |event| match event {
            Event::Message { from, channel, data, .. } => Some((*from, channel.clone(), data.len())),
            _ => None,
        });
        assert_eq!(received.await, (alice.id(), Some(channel.into()), length));
    }
    let too_long = SendError::TooLong { bytes: 16_385, max: 16_384 };
    assert_eq!(alice.send_on("pose", None, vec![1; 16_385]).await, Err(too_long));
    assert!(matches!(carol.send_on("pose", None, "x").await, Err(SendError::UnknownChannel { .. })));
}

#[tokio::test]
async fn app_that_does_not_receive_loses_the_sender_but_no_message_before() {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.peer().await, hub.peer().await);
    meshed(&[&alice, &bob]).await;
    // Each unread message counts 128 bytes more than it has.
    let message_bytes = 1_000_000;
    let id = bob.id();
    let sent = async {
        let mut count = 0;
        while bob.send(Some(alice.id()), vec![9; message_bytes]).await == Ok(1) {
            count += 1;
        }
        count
    };
    let sent = timeout(6 * SOON, sent).await.expect("the connection closes");
    assert!(sent >= 64, "{sent} messages");
    let mut received = 0;
    loop {
        match timeout(SOON, alice.recv()).await.expect("events are waiting") {
            Some(Event::Message { data, .. }) => {
                assert_eq!(data.len(), message_bytes);
                received += 1;
            }
            Some(Event::PeerLeave { peer, reason, .. }) => {
                assert_eq!((peer, reason), (id, LeaveReason::Overflow));
                break;
            }
            Some(_) => {}
            None => panic!("the group was not left"),
        }
    }
    assert!((67..=70).contains(&received), "{received} messages");
    assert_eq!(leave_reason(&bob, alice.id()).await, LeaveReason::Lost);
}

#[tokio::test]
async fn invalid_arguments_are_reported() {
    let join = |url: &'static str, key: &'static str, options| Group::join(url, key, options);
    assert!(matches!(join("signal", "key", Options::default()).await, Err(JoinError::Url { .. })));
    assert!(matches!(join("ws://x", "", Options::default()).await, Err(JoinError::Key { bytes: 0 })));
    for options in [
        Options::default().metadata(json!("x".repeat(4_095))),
        Options::default().channel("", ChannelOptions::default()),
        Options::default().channel("a", ChannelOptions::default()).channel("a", ChannelOptions::default()),
        (0..17).fold(Options::default(), |it, name| it.channel(name.to_string(), ChannelOptions::default())),
        Options::default().header("a b", "c"),
        Options::default().certificate_authorities("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"),
        Options::default().address("0.0.0.0:0".parse().expect("an address")),
    ] {
        assert!(matches!(join("ws://x", "key", options).await, Err(JoinError::Options(_))));
    }
    let elsewhere = Options::default().address("192.0.2.1:0".parse().expect("an address"));
    assert!(matches!(join("ws://x", "key", elsewhere).await, Err(JoinError::Bind { .. })));
}

#[tokio::test]
async fn join_waits_for_the_hub_and_can_be_cancelled() {
    let hub = Hub::start().await;
    let (url, address) = (hub.url(), hub.stop().await);
    let join = || Group::join(&url, "tea room", Options::default().address("127.0.0.1:0".parse().expect("valid")));
    assert!(timeout(Duration::from_millis(300), join()).await.is_err(), "the hub is away");
    let (group, _hub) = tokio::join!(timeout(SOON, join()), Hub::start_at(address));
    assert_eq!(group.expect("soon").expect("joins").state(), State::Joined);
}

#[tokio::test]
async fn leaving_takes_at_most_four_seconds_if_the_other_side_is_dead() {
    let hub = Hub::start().await;
    let alice = hub.peer().await;
    let killed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let killed = killed.expect("a runtime");
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let url = hub.url();
    killed.spawn(async move {
        let options = Options::default().address("127.0.0.1:0".parse().expect("an address"));
        let group = Group::join(&url, "tea room", options).await.expect("joins");
        let _ = sender.send(group.id());
        std::future::pending::<()>().await;
    });
    let id = receiver.await.expect("joined");
    until(&alice, |event| matches!(event, Event::PeerJoin { peer, .. } if *peer == id).then_some(())).await;
    killed.shutdown_background();
    let start = Instant::now();
    let send = alice.send(None, vec![0; 3_000_000]);
    let ((), sent) = tokio::join!(alice.leave(), send);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(matches!(sent, Ok(0) | Err(SendError::Left)), "{sent:?}");
}

#[tokio::test]
async fn rejection_of_the_hub_is_an_error_with_its_code_and_reason() {
    use sigver::{CloseCode, JoinRequest, PeerInfo, Rejection, SignalingHub};
    async fn admit(request: JoinRequest) -> Result<PeerInfo, Rejection> {
        match request.header("x-token").map(|token| token.as_bytes().to_vec()).as_deref() {
            Some(b"valid") => Ok(PeerInfo::new()),
            Some(b"expired") => Err(Rejection::close(CloseCode::app(4001), "token expired")),
            _ => Err(Rejection::http(axum::http::StatusCode::FORBIDDEN, "no token")),
        }
    }
    let hub = SignalingHub::builder().admission(admit).build().expect("valid");
    let hub = Hub::serve(tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port"), hub);
    let rejected = |error| match error {
        Err(JoinError::Rejected(close)) => (close.code, close.reason),
        other => panic!("{other:?}"),
    };
    let with = |token| Options::default().header("x-token", token);
    assert_eq!(rejected(hub.join(with("expired")).await), (4001, "token expired".to_owned()));
    let (code, reason) = rejected(hub.join(Options::default()).await);
    assert_eq!(code, 1008);
    assert!(reason.contains("403") && reason.contains("no token"), "{reason}");
    assert_eq!(hub.join(with("valid")).await.expect("joins").state(), State::Joined);
}

#[tokio::test]
async fn member_that_the_hub_rejects_gets_the_close_as_its_last_event() {
    let hub = Hub::start().await;
    let alice = hub.peer().await;
    let first = alice.recv().await;
    assert!(matches!(first, Some(Event::StateChange { state: State::Joined, reason: Reason::None, .. })), "{first:?}");
    assert_eq!(hub.close_all(4001), 1);
    let change = timeout(SOON, alice.recv()).await.expect("soon");
    let Some(Event::StateChange { state, reason, close: Some(close), .. }) = change else { panic!("{change:?}") };
    assert_eq!((state, reason, close.code), (State::Left, Reason::Rejected, 4001));
    assert_eq!(timeout(SOON, alice.recv()).await, Ok(None));
    assert_eq!(alice.send(None, "late").await, Err(SendError::Left));
}
