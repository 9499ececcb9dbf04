//! Who is alive.

use std::time::Duration;

use sigver::SignalingHub;
use sigver::memory::Heard;
use sigver::protocol::Message;
use tokio::time::Instant;

use crate::door::{Kind, Peer};

crate::over_every_mount! {
    a_silent_peer_gets_two_heartbeats_and_then_4742
    content_is_no_heartbeat
    a_peer_that_sends_heartbeats_stays
}

crate::over! {
    [memory: Memory, stand_alone: StandAlone, tls: StandAloneTls]
    heartbeats_come_every_five_seconds
}

/// In memory the default: there it costs nothing to wait. Over TCP the same in a hurry.
fn hub(kind: Kind) -> SignalingHub {
    let every = if kind == Kind::Memory { Duration::from_secs(5) } else { Duration::from_millis(150) };
    SignalingHub::builder().heartbeat_interval(every).build().expect("a heartbeat of at most 5 s")
}

/// What comes until the close, and its code.
async fn until_closed(peer: &mut Peer) -> (usize, u16) {
    let mut heartbeats = 0;
    loop {
        match peer.recv_any().await {
            Heard::Message(Message::Heartbeat) => heartbeats += 1,
            Heard::Message(Message::Connected(_)) => {}
            Heard::Closed(Some(frame)) => return (heartbeats, frame.code),
            other => panic!("expected heartbeats and a close, but heard {other:?}"),
        }
    }
}

async fn a_silent_peer_gets_two_heartbeats_and_then_4742(kind: Kind) {
    let door = kind.mount(hub(kind)).await;
    assert_eq!(until_closed(&mut door.open("K").await).await, (2, 4742));
}

async fn content_is_no_heartbeat(kind: Kind) {
    let door = kind.mount(hub(kind)).await;
    let mut peer = door.open("K").await;
    for heartbeats in 0.. {
        match peer.recv_any().await {
            Heard::Message(Message::Heartbeat) => {
                peer.send_content(0, "alive").await;
                peer.send_connect(1, &[]).await;
                assert!(matches!(peer.recv_any().await, Heard::Message(Message::Connected(true))));
            }
            Heard::Closed(Some(frame)) => {
                assert_eq!((heartbeats, frame.code), (2, 4742));
                break;
            }
            other => panic!("expected a heartbeat or a close, but heard {other:?}"),
        }
    }
}

async fn a_peer_that_sends_heartbeats_stays(kind: Kind) {
    let door = kind.mount(hub(kind)).await;
    let mut peer = door.open("K").await;
    assert!(peer.connect(1, &[]).await);
    for _ in 0..10 {
        assert!(matches!(peer.recv_any().await, Heard::Message(Message::Heartbeat)));
        peer.send_heartbeat().await;
    }
    assert_eq!(until_closed(&mut peer).await, (2, 4742));
}

async fn heartbeats_come_every_five_seconds(kind: Kind) {
    let door = kind.open().await;
    let mut peer = door.open("K").await;
    let opened = Instant::now();
    let mut times = Vec::new();
    while let Heard::Message(Message::Heartbeat) = peer.recv_any().await {
        times.push(opened.elapsed());
    }
    times.push(opened.elapsed());
    {
        let expected = [5, 10, 15].map(Duration::from_secs);
        // They are aligned to 50 ms. Over TCP the machine may be busy.
        let late = Duration::from_millis(if kind == Kind::Memory { 50 } else { 2000 });
        let near = |time: Duration, due: Duration| time.abs_diff(due) <= late;
        assert!(times.iter().zip(expected).all(|(&time, due)| near(time, due)), "{times:?}");
    }
    assert_eq!(times.len(), 3, "two heartbeats and the close");
}
