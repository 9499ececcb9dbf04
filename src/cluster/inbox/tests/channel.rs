//! One direction of a pair over a channel that loses, delays and repeats batches, and keeps their order otherwise.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(100);

/// Enough ticks for the last SYNC that follows a record, and not for more.
const MAX_TICKS: usize = 80;

/// What happens to the batch of a tick, if there is one.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Delivered,
    Lost,
    /// It is delivered again after this number of ticks.
    Repeated(usize),
}

#[derive(Clone, Copy, Debug)]
struct Tick {
    /// The number of records to push.
    pushed: u64,
    fate: Fate,
    /// The number of ticks for which the batch is in flight.
    flight: usize,
}

fn tick() -> impl Strategy<Value = Tick> {
    let fate = prop_oneof![
        3 => Just(Fate::Delivered),
        2 => Just(Fate::Lost),
        1 => (0..20_usize).prop_map(Fate::Repeated),
    ];
    let pushed = prop_oneof![3 => Just(0), 2 => 1..5_u64];
    let flight = prop_oneof![4 => Just(0), 1 => 1..15_usize];
    (pushed, fate, flight).prop_map(|(pushed, fate, flight)| Tick { pushed, fate, flight })
}

/// Both ends, with what was lost.
struct Channel {
    outbound: Outbound,
    inbox: Inbox,
    received: Vec<u64>,
    missed: u64,
    /// The number of records that were discarded or lost.
    lost: u64,
    /// When the gap must be reported at the latest, unless a batch is in flight then.
    report_by: Duration,
}

impl Channel {
    fn push(&mut self, count: u64, now: Duration) {
        for _ in 0..count {
            let number = self.outbound.next;
            if let Err(full) = self.outbound.push(&record(number)) {
                self.lose(full.discarded, now);
            }
        }
    }

    fn lose(&mut self, count: u64, now: Duration) {
        self.lost += count;
        self.report_by = now + SYNC_INTERVAL;
    }

    fn deliver(&mut self, bytes: Bytes) {
        let Received { missed, records } = self.inbox.receive(decode(bytes));
        self.missed += missed;
        assert!(missed == 0 || self.inbox.reset_at().is_some(), "a gap causes a RESET");
        self.received.extend(records.map(|record| number(&record)));
    }

    fn run(ticks: &[Tick], max_bytes: usize) -> Self {
        let mut channel = Self {
            outbound: Outbound::new(ME, max_bytes),
            inbox: Inbox::default(),
            received: Vec::new(),
            missed: 0,
            lost: 0,
            report_by: Duration::ZERO,
        };
        let quiet = Tick { pushed: 0, fate: Fate::Delivered, flight: 0 };
        let mut confirmed_at = None;
        let mut repeated: Vec<(usize, Bytes)> = Vec::new();
        for at in 0..ticks.len() + 30 {
            let now = at as u32 * TICK;
            let Tick { pushed, fate, flight } = *ticks.get(at).unwrap_or(&quiet);
            if confirmed_at == Some(at) {
                channel.outbound.sent();
                confirmed_at = None;
                // A SYNC that was due during the flight is sent now.
                channel.report_by = channel.report_by.max(now);
            }
            channel.push(pushed, now);
            if let Some(bytes) = channel.outbound.next_batch(now) {
                confirmed_at = Some(at + 1 + flight);
                match fate {
                    Fate::Lost => {
                        let batch = decode(bytes);
                        channel.lose(batch.end() - batch.first(), now);
                    }
                    Fate::Delivered => channel.deliver(bytes),
                    Fate::Repeated(after) => {
                        channel.deliver(bytes.clone());
                        repeated.push((at + after, bytes));
                    }
                }
            }
            while let Some(index) = repeated.iter().position(|(due, _)| *due <= at) {
                let (_, bytes) = repeated.remove(index);
                channel.deliver(bytes);
            }
            let reported = channel.missed == channel.lost;
            assert!(reported || confirmed_at.is_some() || now < channel.report_by, "tick {at}: {} lost", channel.lost);
        }
        channel
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_arrives_once_in_order_or_a_gap_is_reported_within_the_sync_interval(
        ticks in vec(tick(), 0..MAX_TICKS),
        max_bytes in 100..600_usize,
    ) {
        let channel = Channel::run(&ticks, max_bytes);
        prop_assert!(channel.received.is_sorted_by(|earlier, later| earlier < later), "{:?}", channel.received);
        prop_assert_eq!(channel.missed, channel.lost);
        prop_assert_eq!(channel.received.len() as u64 + channel.missed, channel.outbound.next);
    }

    #[test]
    fn nothing_is_missed_if_no_batch_is_lost(ticks in vec(tick(), 0..MAX_TICKS)) {
        let delivered = |tick: Tick| match tick.fate {
            Fate::Lost => Tick { fate: Fate::Delivered, ..tick },
            _ => tick,
        };
        let ticks: Vec<_> = ticks.into_iter().map(delivered).collect();
        let channel = Channel::run(&ticks, 1 << 20);
        prop_assert_eq!(channel.received, (0..channel.outbound.next).collect::<Vec<_>>());
        prop_assert_eq!((channel.missed, channel.inbox.reset_at()), (0, None));
    }
}
