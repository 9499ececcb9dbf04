//! The faults of the connection between a node and the engine.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

/// The random faults of one node's connection to the engine. No fault is active by default.
///
/// The same seed and the same calls give the same faults. Each request is delayed on its own, so requests of one node
/// can overtake each other, as they do on several connections.
#[derive(Clone, Debug)]
#[must_use]
pub struct Faults {
    pub(super) seed: u64,
    request_delay: RangeInclusive<Duration>,
    reply_delay: RangeInclusive<Duration>,
    lost_requests: f64,
    lost_replies: f64,
    late_duplicates: (f64, RangeInclusive<Duration>),
    timeout: Duration,
}

/// How calls fail while the engine is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// Requests and replies are lost. Callers receive an error after the timeout.
    Lose,
    /// Requests and replies wait until the outage ends. Callers wait too, without a timeout. Requests whose callers
    /// stopped waiting are applied as well.
    Hang,
}

/// A fault of a single step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepFault {
    /// The engine never receives the step.
    LoseRequest,
    /// The engine applies the step, but the caller receives no reply.
    LoseReply,
    /// The engine receives the step after this time, even if the caller received an error before.
    DelayRequest(Duration),
    /// The caller receives the reply after this time.
    DelayReply(Duration),
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Faults {
    /// Creates settings without faults, for the random numbers of this seed.
    pub fn new(seed: u64) -> Self {
        let none = Duration::ZERO..=Duration::ZERO;
        Self {
            seed,
            request_delay: none.clone(),
            reply_delay: none.clone(),
            lost_requests: 0.0,
            lost_replies: 0.0,
            late_duplicates: (0.0, none),
            timeout: Duration::from_millis(500),
        }
    }

    /// Sets how long each request takes to reach the engine.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn request_delay(mut self, range: RangeInclusive<Duration>) -> Self {
        self.request_delay = not_empty(range);
        self
    }

    /// Sets how long each reply takes to reach its caller.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn reply_delay(mut self, range: RangeInclusive<Duration>) -> Self {
        self.reply_delay = not_empty(range);
        self
    }

    /// Sets the probability, 0 to 1, that the engine does not receive a request.
    pub fn lost_requests(mut self, probability: f64) -> Self {
        self.lost_requests = probability;
        self
    }

    /// Sets the probability, 0 to 1, that the engine applies a request, but the caller does not receive the reply.
    pub fn lost_replies(mut self, probability: f64) -> Self {
        self.lost_replies = probability;
        self
    }

    /// Sets the probability, 0 to 1, that the engine receives a sent batch a second time, this long after the first. It
    /// receives the second one even if the first is lost.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn late_duplicates(mut self, probability: f64, delay: RangeInclusive<Duration>) -> Self {
        self.late_duplicates = (probability, not_empty(delay));
        self
    }

    /// Sets the time after which a caller without a reply receives an error: 500 ms by default. A call whose delays add
    /// up to more fails, and the engine applies it nevertheless.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

fn not_empty(range: RangeInclusive<Duration>) -> RangeInclusive<Duration> {
    assert!(!range.is_empty(), "delay is {range:?}; the start must be at most the end");
    range
}

/// The faults of one node's connection, with their state.
#[derive(Debug)]
pub(super) struct Connection {
    faults: Faults,
    rng: Rng,
    next_steps: VecDeque<StepFault>,
    pub(super) cut: Option<Outage>,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) request_delay: Duration,
    pub(super) reply_delay: Duration,
    pub(super) request_lost: bool,
    pub(super) reply_lost: bool,
    /// How long after the request its duplicate arrives.
    pub(super) duplicate_after: Option<Duration>,
    pub(super) timeout: Duration,
}

impl Connection {
    pub(super) fn new(faults: Faults) -> Self {
        Self { rng: Rng::with_seed(faults.seed), faults, next_steps: VecDeque::new(), cut: None }
    }

    /// Creates the connection of another node: with the same faults, and random numbers drawn from those of this one.
    pub(super) fn fork(&mut self) -> Self {
        Self::new(Faults { seed: self.rng.u64(..), ..self.faults.clone() })
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.rng = Rng::with_seed(faults.seed);
        self.faults = faults;
    }

    /// Adds a fault for a later step: the next one that has none yet.
    pub(super) fn add_step_fault(&mut self, fault: StepFault) {
        self.next_steps.push_back(fault);
    }

    /// Decides what happens to the next call. Draws random numbers for inactive faults too, so that an added fault does
    /// not change the others.
    pub(super) fn plan(&mut self) -> Plan {
        let Faults { request_delay, reply_delay, lost_requests, lost_replies, late_duplicates, timeout, .. } =
            &self.faults;
        let rng = &mut self.rng;
        let plan = Plan {
            request_delay: random_delay(rng, request_delay),
            reply_delay: random_delay(rng, reply_delay),
            request_lost: rng.f64() < *lost_requests,
            reply_lost: rng.f64() < *lost_replies,
            duplicate_after: None,
            timeout: *timeout,
        };
        let (is_duplicated, after) = (rng.f64() < late_duplicates.0, random_delay(rng, &late_duplicates.1));
        Plan { duplicate_after: is_duplicated.then_some(after), ..plan }
    }

    /// Decides what happens to the next step, with the fault that was added for it.
    pub(super) fn plan_step(&mut self) -> Plan {
        let mut plan = self.plan();
        match self.next_steps.pop_front() {
            Some(StepFault::LoseRequest) => plan.request_lost = true,
            Some(StepFault::LoseReply) => plan.reply_lost = true,
            Some(StepFault::DelayRequest(delay)) => plan.request_delay = delay,
            Some(StepFault::DelayReply(delay)) => plan.reply_delay = delay,
            None => {}
        }
        plan
    }
}

impl Plan {
    /// Returns whether the caller receives an error, whatever else happens.
    pub(super) fn fails(&self) -> bool {
        self.request_lost || self.reply_lost || self.request_delay.saturating_add(self.reply_delay) > self.timeout
    }
}

/// Draws from the range in microseconds: a `u64` of them lasts for 584 000 years.
fn random_delay(rng: &mut Rng, range: &RangeInclusive<Duration>) -> Duration {
    Duration::from_micros(rng.u64(range.start().as_micros() as u64..=range.end().as_micros() as u64))
}
