//! The classes of faults, and random schedules of them.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use fastrand::Rng;
use sigver::cluster::{Faults, Outage};

/// A kind of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Delays,
    LostRequests,
    LostReplies,
    LateDuplicates,
    ShortOutages,
    LongOutage,
    Rollbacks,
    Wipes,
    LostBatches,
    Crashes,
    Pause,
    Cut,
    Mix,
}

/// One fault, of the engine or of a node.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The random faults of a node's connection.
    Connection(usize, Faults),
    Outage(Outage),
    Restore,
    Cut(usize, Outage),
    Heal(usize),
    Snapshot,
    Rollback,
    TurnClockBack(Duration),
    Wipe,
    /// Keeps this number of batches in the inbox of a node.
    TrimInbox(usize, usize),
    WipeInbox(usize),
    Crash(usize),
    /// The node's connections pause, too, if the second field is set.
    Pause(usize, bool),
    Resume(usize),
}

/// Faults in the order of their times.
pub(crate) struct Schedule {
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// When all faults end.
    pub(crate) end: Duration,
}

impl Class {
    /// Returns whether nodes may lose members in the list, so that a peer can be closed with 4744 without an eviction.
    pub(crate) fn loses_members(self) -> bool {
        match self {
            Self::Rollbacks | Self::Wipes | Self::LongOutage | Self::Pause | Self::Cut | Self::Mix => true,
            Self::Delays | Self::LostRequests | Self::LostReplies | Self::LateDuplicates => false,
            Self::ShortOutages | Self::LostBatches | Self::Crashes => false,
        }
    }

    /// Returns whether links between two nodes last until a peer disconnects: no record is lost for good, and no node
    /// looks dead.
    pub(crate) fn keeps_links(self) -> bool {
        match self {
            Self::Delays | Self::LostRequests | Self::LostReplies | Self::LateDuplicates => true,
            Self::ShortOutages | Self::LongOutage => true,
            Self::Rollbacks | Self::Wipes | Self::LostBatches | Self::Crashes => false,
            Self::Pause | Self::Cut | Self::Mix => false,
        }
    }

    /// Returns whether a node's connections can pause, so that it closes a peer late.
    pub(crate) fn pauses_connections(self) -> bool {
        matches!(self, Self::Pause | Self::Mix)
    }

    /// Returns the time between two audits. After a wipe, no node needs to wait for its next one.
    pub(crate) fn audit_interval(self) -> Duration {
        Duration::from_secs(if self == Self::Wipes { 15 * 60 } else { 20 })
    }

    /// Returns the time without a beat after which a node is dead. If only calls are lost, that is longer than the faults
    /// last: otherwise five lost beats in a row would end the links of a node.
    pub(crate) fn node_timeout(self) -> Duration {
        let loses_calls = matches!(self, Self::LostRequests | Self::LostReplies);
        Duration::from_secs(if loses_calls { 30 } else { 10 })
    }

    /// Returns whether the list can show an entry again that its node has removed: the engine went back in time, or a
    /// step was late.
    pub(crate) fn returns_entries(self) -> bool {
        match self {
            Self::Delays | Self::Rollbacks | Self::Mix => true,
            // Steps that an outage holds back are late.
            Self::ShortOutages | Self::LongOutage | Self::Cut => true,
            Self::LostRequests | Self::LostReplies | Self::LateDuplicates | Self::LostBatches => false,
            Self::Wipes | Self::Crashes | Self::Pause => false,
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Self::LongOutage | Self::Pause | Self::Cut | Self::Mix => 36,
            _ => 15,
        }
    }
}

impl Schedule {
    pub(crate) fn new(class: Class, nodes: usize, random: &mut Rng) -> Self {
        let mut schedule = Self { faults: Vec::new(), end: Duration::from_secs(class.seconds()) };
        schedule.add(class, nodes, random);
        // Stable, so a fault that was added first also happens first.
        schedule.faults.sort_by_key(|(at, _)| *at);
        schedule
    }

    fn add(&mut self, class: Class, nodes: usize, random: &mut Rng) {
        let node = random.usize(0..nodes);
        match class {
            Class::Delays => {
                let max = [20, 150, 400, 1500][random.usize(0..4)];
                self.connections(nodes, random, |faults, _| {
                    faults.request_delay(millis(0)..=millis(max)).reply_delay(millis(0)..=millis(max / 2))
                });
            }
            Class::LostRequests => {
                self.connections(nodes, random, |faults, random| faults.lost_requests(random.f64() * 0.4));
            }
            Class::LostReplies => {
                self.connections(nodes, random, |faults, random| faults.lost_replies(random.f64() * 0.4));
            }
            Class::LateDuplicates => {
                self.connections(nodes, random, |faults, _| faults.late_duplicates(0.4, millis(0)..=millis(4000)));
            }
            Class::ShortOutages => self.outages(random.usize(1..4), 500..8000, random),
            Class::LongOutage => self.outages(1, 16_000..28_000, random),
            Class::Rollbacks => {
                self.connections(nodes, random, |faults, _| faults);
                for _ in 0..random.usize(1..4) {
                    let at = self.time(random);
                    self.faults.push((at, Fault::Snapshot));
                    let at = at + millis(random.u64(1..6000));
                    self.faults.push((at, Fault::Rollback));
                    if random.u8(0..4) == 0 {
                        self.faults.push((at, Fault::TurnClockBack(millis(random.u64(1..5000)))));
                    }
                }
            }
            Class::Wipes => {
                self.connections(nodes, random, |faults, _| faults);
                for _ in 0..random.usize(1..4) {
                    self.faults.push((self.time(random), Fault::Wipe));
                }
            }
            Class::LostBatches => {
                self.connections(nodes, random, |faults, _| faults.reply_delay(millis(0)..=millis(200)));
                for _ in 0..random.usize(5..25) {
                    let node = random.usize(0..nodes);
                    let kept = random.usize(0..3);
                    let fault = if random.bool() { Fault::WipeInbox(node) } else { Fault::TrimInbox(node, kept) };
                    self.faults.push((self.time(random), fault));
                }
            }
            Class::Crashes => {
                self.connections(nodes, random, |faults, _| faults);
                for _ in 0..random.usize(1..3) {
                    self.faults.push((self.time(random), Fault::Crash(random.usize(0..nodes))));
                }
            }
            Class::Pause => {
                self.connections(nodes, random, |faults, _| faults);
                let (start, length) = (self.time(random) / 4, random.u64(3000..27_000));
                let connections = random.bool();
                self.between(start, length, Fault::Pause(node, connections), Fault::Resume(node));
            }
            Class::Cut => {
                self.connections(nodes, random, |faults, _| faults);
                let (start, length) = (self.time(random) / 4, random.u64(3000..27_000));
                self.between(start, length, Fault::Cut(node, outage(random)), Fault::Heal(node));
            }
            Class::Mix => {
                let classes = [
                    Class::ShortOutages,
                    Class::LongOutage,
                    Class::Rollbacks,
                    Class::Wipes,
                    Class::LostBatches,
                    Class::Crashes,
                    Class::Pause,
                    Class::Cut,
                ];
                for _ in 0..random.usize(1..5) {
                    self.add(classes[random.usize(0..classes.len())], nodes, random);
                }
                // Replaces the faults of the connections that the classes have added.
                self.faults.retain(|(_, fault)| !matches!(fault, Fault::Connection(..)));
                self.connections(nodes, random, |faults, random| {
                    let max = random.u64(1..400);
                    faults
                        .lost_requests(random.f64() * 0.1)
                        .lost_replies(random.f64() * 0.1)
                        .late_duplicates(0.1, millis(0)..=millis(3000))
                        .request_delay(millis(0)..=millis(max))
                        .reply_delay(millis(0)..=millis(max / 2))
                });
            }
        }
    }

    /// Sets the faults of all connections from the start, with short delays unless `set` changes them.
    fn connections(&mut self, nodes: usize, random: &mut Rng, set: impl Fn(Faults, &mut Rng) -> Faults) {
        for node in 0..nodes {
            let short: RangeInclusive<_> = millis(0)..=millis(20);
            let faults = Faults::new(random.u64(..)).request_delay(short.clone()).reply_delay(short);
            self.faults.push((Duration::ZERO, Fault::Connection(node, set(faults, random))));
        }
    }

    fn outages(&mut self, count: usize, length: Range<u64>, random: &mut Rng) {
        let part = self.end.as_millis() as u64 / count as u64;
        for nth in 0..count as u64 {
            let length = random.u64(length.clone());
            let start = nth * part + random.u64(0..part.saturating_sub(length).max(1));
            self.between(millis(start), length, Fault::Outage(outage(random)), Fault::Restore);
        }
    }

    fn between(&mut self, start: Duration, length: u64, first: Fault, second: Fault) {
        self.faults.push((start, first));
        self.faults.push((start + millis(length), second));
    }

    fn time(&self, random: &mut Rng) -> Duration {
        millis(random.u64(1000..self.end.as_millis() as u64))
    }
}

fn outage(random: &mut Rng) -> Outage {
    if random.bool() { Outage::Lose } else { Outage::Hang }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
