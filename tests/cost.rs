//! Bounds on allocations, copies, flushes and sizes, which do not depend on the machine's speed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use allocation_counter::measure;
use futures::{Sink, SinkExt as _, Stream};
use sigver::protocol::Message;
#[cfg(feature = "cluster")]
use sigver::{ClusterConfig, cluster::MemoryBackplane};
use sigver::{Frame, SignalingHub, TransportError, memory};
use tokio::time::sleep;
use tokio_test::task;

/// The hub's end of a transport that allocates nothing itself.
#[derive(Clone, Default)]
struct Socket {
    incoming: Arc<Mutex<VecDeque<Frame>>>,
    /// What the hub has written.
    written: Arc<Mutex<Written>>,
}

#[derive(Default)]
struct Written {
    frames: usize,
    flushes: usize,
    last: Option<Frame>,
}

impl Socket {
    fn send(&self, message: Message, times: usize) {
        let frame = Frame::Binary(message.encode());
        self.incoming.lock().expect("nothing panicked").extend(std::iter::repeat_n(frame, times));
    }

    /// Returns the numbers of frames and flushes.
    fn written(&self) -> (usize, usize) {
        let written = self.written.lock().expect("nothing panicked");
        (written.frames, written.flushes)
    }

    fn last_message(&self) -> Message {
        match &self.written.lock().expect("nothing panicked").last {
            Some(Frame::Binary(bytes)) => Message::decode(bytes.clone()).expect("a valid message"),
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

impl Stream for Socket {
    type Item = Result<Frame, TransportError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // No wake-up: each test polls the hub's task after it sends.
        match self.incoming.lock().expect("nothing panicked").pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Pending,
        }
    }
}

impl Sink<Frame> for Socket {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, frame: Frame) -> Result<(), Self::Error> {
        let mut written = self.written.lock().expect("nothing panicked");
        written.frames += 1;
        written.last = Some(frame);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.written.lock().expect("nothing panicked").flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn relay_costs_one_allocation_and_one_copy_and_a_batch_costs_one_flush() {
    assert_cost_of_relay(&SignalingHub::new()).await;
}

#[cfg(feature = "cluster")]
#[tokio::test(start_paused = true)]
async fn relay_between_two_peers_on_one_node_of_a_cluster_costs_the_same() {
    let cluster = ClusterConfig::new(MemoryBackplane::new());
    let (hub, driver) = SignalingHub::builder().build_cluster(cluster).expect("valid settings");
    tokio::spawn(driver);
    assert_cost_of_relay(&hub).await;
}

async fn assert_cost_of_relay(hub: &SignalingHub) {
    const BATCH: usize = 50;
    const PAYLOAD: usize = 200;
    /// As long as the offers and candidates of a call.
    const LONG_BATCH: [usize; 2] = [16, 1000];
    let [joiner, member] = [Socket::default(), Socket::default()];
    let mut member_task = task::spawn(hub.serve(member.clone(), "K"));
    let mut joiner_task = task::spawn(hub.serve(joiner.clone(), "K"));
    member.send(Message::connect(1, &[]), 1);
    while member.written() == (0, 0) {
        assert!(member_task.poll().is_pending());
        sleep(Duration::from_millis(1)).await; // the driver of a node runs
    }
    joiner.send(Message::connect(2, &[]), 1);
    while joiner.written() == (0, 0) {
        assert!(joiner_task.poll().is_pending());
        sleep(Duration::from_millis(1)).await;
    }
    let mut relay = |[count, bytes]: [usize; 2]| {
        joiner.send(Message::content(0, vec![7; bytes]), count);
        let (frames, flushes) = member.written();
        let cost = measure(|| {
            assert!(joiner_task.poll().is_pending());
            assert!(member_task.poll().is_pending());
        });
        assert_eq!(member.written(), (frames + count, flushes + 1));
        cost
    };
    relay([BATCH, PAYLOAD]); // grows the queues
    let cost = relay([BATCH, PAYLOAD]);
    // Each outgoing frame is one allocation of the payload and a header of a few bytes.
    assert!(cost.count_total <= BATCH as u64 + 8, "{cost:?}");
    assert!(cost.bytes_total <= (BATCH * (PAYLOAD + 16) + 8000) as u64, "{cost:?}");
    relay(LONG_BATCH);
}

#[tokio::test(start_paused = true)]
async fn join_costs_the_same_in_groups_of_any_size() {
    let join = async |peers: u32| {
        let hub = SignalingHub::new();
        let mut members: Vec<_> = Vec::new();
        for id in 0..peers {
            let mut member = memory::join(&hub, "K");
            assert!(member.connect(id, &[0]).await);
            members.push(member);
        }
        // The first result is not compared: it may include a table that doubles its capacity.
        [false, false, true].map(|member| {
            let socket = Socket::default();
            let named: &[u32] = if member { &[0] } else { &[] };
            socket.send(Message::connect(1 << 30, named), 1);
            let cost = measure(|| {
                let mut peer = task::spawn(hub.serve(socket.clone(), "K"));
                assert!(peer.poll().is_pending());
            });
            assert_eq!(socket.last_message(), Message::Connected(member));
            cost.count_total
        })
    };
    let (few, many) = (join(10).await, join(5_000).await);
    for (few, many) in few.into_iter().zip(many).skip(1) {
        assert!(many <= few + 4, "{few} allocations in a group of 10, {many} in a group of 5000");
        assert!(few <= 14, "{few} allocations");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_peer_keeps_at_most_1400_bytes_and_its_transport_once() {
    let hub = SignalingHub::new();
    let socket = Socket::default();
    let future = size_of_val(&hub.serve(socket.clone(), "K"));
    assert!(future <= 464, "{future} bytes");
    // A larger transport does not enlarge the future.
    assert_eq!(size_of_val(&hub.serve(socket.clone().buffer(1), "K")), future);

    const PEERS: u32 = 1000;
    socket.send(Message::connect(0, &[0]), 1);
    let mut first = task::spawn(hub.serve(socket.clone(), "K"));
    assert!(first.poll().is_pending());
    let mut peers = Vec::with_capacity(PEERS as usize);
    let cost = measure(|| {
        for id in 1..=PEERS {
            socket.send(Message::connect(id, &[0]), 1);
            let mut peer = task::spawn(hub.serve(socket.clone(), "K"));
            assert!(peer.poll().is_pending());
            peers.push(peer);
        }
    });
    assert_eq!(hub.stats().peers, peers.len() + 1);
    // The future, the guard, the outbox, and the peer's share of the tables. 20 to 39 bytes of it are the index by id,
    // whose tables double: 1000 peers are near the worst case.
    assert!(cost.bytes_current / i64::from(PEERS) <= 1400, "{cost:?}");
}
