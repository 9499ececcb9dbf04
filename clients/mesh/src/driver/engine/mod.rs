//! One connection of the WebRTC engine: str0m's `Rtc` with the channels of the mesh. Without I/O.

mod channels;
mod descriptions;
#[cfg(any(test, feature = "__fuzzing"))]
mod fuzz;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpPendingOffer;
use str0m::channel::ChannelId;
use str0m::config::DtlsCert;
use str0m::net::{DatagramRecv, Protocol, Receive, Transmit};
use str0m::{Candidate, Event, Input, Rtc};

pub(crate) use channels::Written;
#[cfg(feature = "__fuzzing")]
pub(crate) use fuzz::fuzz_engine;

use crate::options::ChannelOptions;

/// Writing to a channel waits while more than this is buffered. A long message therefore delays later ones, and
/// messages of the control channel, by at most this many bytes.
const HIGH_WATER_BYTES: usize = 256 * 1024;
/// What the control channel may buffer in addition. It only overflows if the other side no longer reads.
const CONTROL_BYTES: usize = 1024 * 1024;
/// How often the other side is asked for a sign of life. Browsers ask every 2.5 s.
const MAX_STUN_INTERVAL: Duration = Duration::from_millis(2_000);
/// A connection on which nothing arrives for this long is disconnected, as in browsers. str0m waits at least 15 s.
const SILENCE: Duration = Duration::from_secs(5);

/// What all connections of a group share.
#[derive(Debug)]
pub(crate) struct EngineConfig {
    pub(crate) certificate: DtlsCert,
    /// The addresses that are sent to the other peers, as candidates.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) channels: Vec<(Arc<str>, ChannelOptions)>,
}

/// What the engine reports.
#[derive(Debug)]
pub(crate) enum Output {
    Transmit(Transmit),
    /// Both channels are open.
    Opened,
    Control {
        binary: bool,
        data: Vec<u8>,
    },
    /// `single`: each message of this channel is one piece.
    Data {
        channel: Option<Arc<str>>,
        single: bool,
        binary: bool,
        data: Vec<u8>,
    },
    /// The other peer has created a channel with this name.
    ChannelCreated {
        name: String,
    },
    IceState {
        connected: bool,
    },
    /// The connection has ended.
    Failed,
}

pub(crate) struct Engine {
    rtc: Rtc,
    config: Arc<EngineConfig>,
    control: Option<ChannelId>,
    data: Option<ChannelId>,
    open: Vec<ChannelId>,
    named: HashMap<Arc<str>, Named>,
    /// The named channels that this peer creates, until they are open.
    creating: HashMap<ChannelId, Arc<str>>,
    pending_offer: Option<SdpPendingOffer>,
    /// Of the last own description.
    version: u64,
    /// What arrived before both channels were open.
    early: Vec<Output>,
    outputs: VecDeque<Output>,
    timeout: Instant,
    /// As the engine sees it.
    ice_connected: bool,
    last_received: Instant,
    /// What was reported last.
    reported_connected: bool,
    failed: bool,
}

#[derive(Debug)]
struct Named {
    id: ChannelId,
    /// Each message is one piece.
    single: bool,
    closed: bool,
}

impl Engine {
    pub(crate) fn new(config: Arc<EngineConfig>, now: Instant) -> Self {
        let channels = 1 + config.channels.len();
        let mut builder = Rtc::builder()
            .set_dtls_cert(config.certificate.clone())
            .set_sctp_max_buffered_amount(channels * (HIGH_WATER_BYTES + 64 * 1024) + CONTROL_BYTES);
        builder.set_max_stun_rto(MAX_STUN_INTERVAL);
        let mut engine = Self {
            rtc: builder.build(now),
            config,
            control: None,
            data: None,
            open: Vec::new(),
            named: HashMap::new(),
            creating: HashMap::new(),
            pending_offer: None,
            version: 0,
            early: Vec::new(),
            outputs: VecDeque::new(),
            timeout: now,
            ice_connected: false,
            last_received: now,
            reported_connected: true,
            failed: false,
        };
        for address in engine.config.addresses.clone() {
            let candidate = Candidate::host(address, Protocol::Udp);
            // Addresses are checked when the sockets are bound.
            if let Ok(candidate) = candidate {
                engine.call(|rtc| rtc.add_local_candidate(candidate).is_some());
            }
        }
        engine.handle_timeout(now);
        engine
    }

    /// Adds a candidate of the other peer. Names (`.local`) are ignored: such a browser reaches this peer at its own
    /// candidates, and its address is learnt from its packets.
    pub(crate) fn add_candidate(&mut self, candidate: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate)
            && candidate.proto() == Protocol::Udp
        {
            self.call(|rtc| rtc.add_remote_candidate(candidate));
            self.drain();
        }
    }

    /// Whether a datagram belongs to this connection.
    pub(crate) fn accepts(&self, source: SocketAddr, destination: SocketAddr, data: &[u8], now: Instant) -> bool {
        let Ok(contents) = DatagramRecv::try_from(data) else { return false };
        let input = Input::Receive(now, Receive { proto: Protocol::Udp, source, destination, contents });
        !self.failed && catch_unwind(AssertUnwindSafe(|| self.rtc.accepts(&input))).unwrap_or(false)
    }

    pub(crate) fn receive(&mut self, source: SocketAddr, destination: SocketAddr, data: &[u8], now: Instant) {
        let Ok(contents) = DatagramRecv::try_from(data) else { return };
        let input = Input::Receive(now, Receive { proto: Protocol::Udp, source, destination, contents });
        // Anyone can send a datagram from the other peer's address, so an invalid one does not end the connection.
        if let Some(Err(error)) = self.call(|rtc| rtc.handle_input(input)) {
            tracing::debug!(%error, "invalid datagram");
        }
        self.last_received = now;
        self.drain();
        self.check_ice(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(Err(error)) = self.call(|rtc| rtc.handle_input(Input::Timeout(now))) {
            self.fail(&error);
        }
        self.drain();
        self.check_ice(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let is_watched = self.open.len() == 2 && self.reported_connected;
        let silence = is_watched.then(|| self.last_received + SILENCE);
        (!self.failed).then(|| silence.map_or(self.timeout, |at| at.min(self.timeout)))
    }

    /// Reports a change of the state of ICE.
    fn check_ice(&mut self, now: Instant) {
        let connected = self.ice_connected && now.saturating_duration_since(self.last_received) < SILENCE;
        // The state of a pending connection is not reported: it has a deadline.
        if self.open.len() == 2 && !self.failed && connected != self.reported_connected {
            self.reported_connected = connected;
            self.outputs.push_back(Output::IceState { connected });
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Closes the connection, so that the other side notices.
    pub(crate) fn close(&mut self) {
        if let Some(Err(error)) = self.call(Rtc::close) {
            tracing::debug!(%error, "the connection cannot be closed in an orderly way");
        }
        self.drain();
        self.failed = true;
    }

    /// Takes everything that the engine has to report. Must follow each change.
    fn drain(&mut self) {
        loop {
            match self.call(Rtc::poll_output) {
                None => return,
                Some(Ok(str0m::Output::Timeout(at))) => {
                    self.timeout = at;
                    if !self.rtc.is_alive() {
                        self.fail(&"closed");
                    }
                    return;
                }
                Some(Ok(str0m::Output::Transmit(transmit))) => self.outputs.push_back(Output::Transmit(transmit)),
                Some(Ok(str0m::Output::Event(event))) => self.on_event(event),
                Some(Err(error)) => return self.fail(&error),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::IceConnectionStateChange(state) => self.ice_connected = state.is_connected(),
            Event::ChannelOpen(id, label) => self.on_open(id, label),
            Event::ChannelData(data) => self.on_data(data),
            Event::ChannelClose(id) if Some(id) == self.control || Some(id) == self.data => {
                self.fail(&"the other peer closed a channel");
            }
            Event::ChannelClose(id) => {
                for named in self.named.values_mut().filter(|named| named.id == id) {
                    named.closed = true;
                }
            }
            Event::Closed => self.fail(&"the other peer closed the connection"),
            _ => {}
        }
    }

    fn fail(&mut self, error: &dyn std::fmt::Display) {
        if !self.failed {
            tracing::debug!(%error, "a connection has ended");
            self.failed = true;
            self.outputs.push_back(Output::Failed);
        }
    }

    /// Calls the engine. A panic in it, for example after hostile input, ends this connection only.
    fn call<T>(&mut self, call: impl FnOnce(&mut Rtc) -> T) -> Option<T> {
        if self.failed {
            return None;
        }
        let result = catch_unwind(AssertUnwindSafe(|| call(&mut self.rtc)));
        if result.is_err() {
            self.fail(&"the WebRTC engine panicked");
        }
        result.ok()
    }
}
