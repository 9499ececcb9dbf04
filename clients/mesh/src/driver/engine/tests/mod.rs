//! Two engines on a simulated network: channels, ICE restarts, and hostile datagrams.
//!
//! - `descriptions`: offers and answers

mod descriptions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Engine, EngineConfig, Output, Written};
use crate::mesh::Description;
use crate::options::ChannelOptions;

struct Pair {
    now: Instant,
    engines: [Engine; 2],
    addresses: [SocketAddr; 2],
    /// Datagrams are lost.
    blocked: bool,
    outputs: [Vec<Output>; 2],
}

impl Pair {
    /// Two engines that have exchanged descriptions.
    fn new() -> Self {
        let now = Instant::now();
        let addresses = ["192.0.2.1:1000".parse().expect("valid"), "192.0.2.2:2000".parse().expect("valid")];
        let engine = |address| Engine::new(Arc::new(config(address)), now);
        let mut pair =
            Self { now, engines: addresses.map(engine), addresses, blocked: false, outputs: [Vec::new(), Vec::new()] };
        let offer = pair.engines[0].offer().expect("an offer");
        let answer = pair.engines[1].answer(&offer);
        assert_eq!(pair.engines[0].accept(&answer).expect("usable").map(|it| it.sdp), None);
        pair
    }

    fn connected() -> Self {
        let mut pair = Self::new();
        assert!(pair.run_until(Duration::from_secs(5), |pair| {
            pair.outputs.iter().all(|outputs| outputs.iter().any(|output| matches!(output, Output::Opened)))
        }));
        pair
    }

    fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        loop {
            let mut is_idle = true;
            for from in 0..2 {
                while let Some(output) = self.engines[from].poll_output() {
                    is_idle = false;
                    match output {
                        Output::Transmit(_) if self.blocked => {}
                        Output::Transmit(it) => {
                            let to = usize::from(it.destination == self.addresses[1]);
                            if self.engines[to].accepts(it.source, it.destination, &it.contents, self.now) {
                                self.engines[to].receive(it.source, it.destination, &it.contents, self.now);
                            }
                        }
                        output => self.outputs[from].push(output),
                    }
                }
            }
            if done(self) {
                return true;
            }
            if is_idle {
                let next = self.engines.iter().filter_map(Engine::poll_timeout).min();
                let Some(next) = next.filter(|&next| next <= end) else { return false };
                // The engine may ask for the same time again.
                self.now = next.max(self.now + Duration::from_millis(1));
                for engine in &mut self.engines {
                    engine.handle_timeout(self.now);
                }
            }
        }
    }

    fn received(&self, engine: usize) -> Vec<(Option<&str>, bool, &[u8])> {
        let outputs = self.outputs[engine].iter();
        let data = outputs.filter_map(|output| match output {
            Output::Data { channel, single, data, .. } => Some((channel.as_deref(), *single, data.as_slice())),
            _ => None,
        });
        data.collect()
    }

    fn control(&self, engine: usize) -> Vec<&[u8]> {
        let outputs = self.outputs[engine].iter();
        let control = outputs.filter_map(|output| match output {
            Output::Control { data, binary: false } => Some(data.as_slice()),
            _ => None,
        });
        control.collect()
    }

    /// Whether both engines have last reported that ICE is connected, or that it is not.
    fn has_ice(&self, connected: bool) -> bool {
        let last = |outputs: &Vec<Output>| {
            outputs.iter().rev().find_map(|it| match it {
                Output::IceState { connected } => Some(*connected),
                _ => None,
            })
        };
        self.outputs.iter().all(|outputs| last(outputs) == Some(connected))
    }

    fn has_failed(&self, engine: usize) -> bool {
        self.outputs[engine].iter().any(|output| matches!(output, Output::Failed))
    }
}

impl Engine {
    fn answer(&mut self, offer: &Description) -> Description {
        self.accept(offer).expect("usable").expect("an answer")
    }

    fn close_channel(&mut self, name: &Arc<str>) {
        let id = self.named[name].id;
        self.call(|rtc| rtc.direct_api().close_data_channel(id));
        self.drain();
    }
}

fn config(address: SocketAddr) -> EngineConfig {
    let provider = str0m::crypto::from_feature_flags();
    let certificate = provider.dtls_provider.generate_certificate().expect("a certificate");
    let pose = ChannelOptions::default().ordered(false).max_retransmits(0);
    let channels = vec![("pose".into(), pose), ("log".into(), ChannelOptions::default())];
    EngineConfig { certificate, addresses: vec![address], channels }
}

#[test]
fn channels_open_and_carry_messages() {
    let mut pair = Pair::connected();
    pair.engines[0].write_control("{}");
    assert_eq!(pair.engines[1].write_data(None, &[2, 7], true), Written::Accepted);
    assert!(pair.run_until(Duration::from_secs(1), |pair| !pair.control(1).is_empty() && !pair.received(0).is_empty()));
    assert_eq!(pair.control(1), [b"{}"]);
    assert_eq!(pair.received(0), [(None, false, [2, 7].as_slice())]);
}

#[test]
fn writing_waits_while_the_buffer_is_full_and_the_control_channel_does_not() {
    let mut pair = Pair::connected();
    pair.blocked = true;
    let piece = vec![0; 16_385];
    let accepted =
        (0..100).take_while(|_| pair.engines[0].write_data(None, &piece, false) == Written::Accepted).count();
    assert!((10..30).contains(&accepted), "{accepted} pieces");
    pair.engines[0].write_control("{}");
    assert!(!pair.engines[0].is_flushed());
    pair.blocked = false;
    assert!(pair.run_until(Duration::from_secs(20), |pair| !pair.control(1).is_empty()));
    assert!(pair.run_until(Duration::from_secs(60), |pair| pair.received(1).len() == accepted));
    assert!(pair.run_until(Duration::from_secs(5), |_| false) || pair.engines[0].is_flushed());
    assert_eq!(pair.engines[0].write_data(None, &piece, false), Written::Accepted);
}

#[test]
fn control_messages_that_the_other_side_never_reads_end_the_connection() {
    let mut pair = Pair::connected();
    pair.blocked = true;
    for _ in 0..100 {
        pair.engines[0].write_control(&"x".repeat(60_000));
    }
    pair.run_until(Duration::ZERO, |_| false);
    assert!(pair.has_failed(0));
}

#[test]
fn named_channels_have_the_options_of_their_creator() {
    let mut pair = Pair::connected();
    for name in ["pose", "log"] {
        assert_eq!(pair.engines[0].write_data(Some(&name.into()), &[2], true), Written::Later);
        pair.engines[0].create_channel(name);
    }
    let created = |pair: &Pair| pair.outputs[1].iter().filter(|it| matches!(it, Output::ChannelCreated { .. })).count();
    assert!(pair.run_until(Duration::from_secs(5), |pair| created(pair) == 2));
    pair.run_until(Duration::from_millis(100), |_| false);
    for from in 0..2 {
        assert_eq!(pair.engines[from].write_data(Some(&"pose".into()), &[2, 9], true), Written::Accepted);
        assert_eq!(pair.engines[from].write_data(Some(&"pose".into()), &[0, 9], false), Written::Never);
        assert_eq!(pair.engines[from].write_data(Some(&"log".into()), &[2, 8], true), Written::Accepted);
    }
    assert!(pair.run_until(Duration::from_secs(5), |pair| pair.received(0).len() == 2 && pair.received(1).len() == 2));
    for to in 0..2 {
        let mut received = pair.received(to);
        received.sort_unstable();
        assert_eq!(received, [(Some("log"), false, [2, 8].as_slice()), (Some("pose"), true, [2, 9].as_slice())]);
    }
}

#[test]
fn message_for_a_channel_that_the_other_side_has_closed_is_not_kept() {
    let mut pair = Pair::connected();
    pair.engines[0].create_channel("log");
    let name = "log".into();
    pair.run_until(Duration::from_secs(1), |_| false);
    assert_eq!(pair.engines[1].write_data(Some(&name), &[2], true), Written::Accepted);
    pair.engines[0].close_channel(&name);
    pair.run_until(Duration::from_secs(3), |_| false);
    assert_eq!(pair.engines[1].write_data(Some(&name), &[2], true), Written::Never);
    assert!(!pair.has_failed(1));
}

#[test]
fn silence_disconnects_and_a_restart_reconnects() {
    let mut pair = Pair::connected();
    pair.blocked = true;
    let start = pair.now;
    assert!(pair.run_until(Duration::from_secs(30), |pair| pair.has_ice(false)));
    assert!(pair.now - start < Duration::from_secs(9), "{:?}", pair.now - start);
    pair.blocked = false;
    let offer = pair.engines[0].restart_ice().expect("an offer");
    let answer = pair.engines[1].answer(&offer);
    pair.engines[1].answer(&offer); // the offer is repeated
    for _ in 0..2 {
        pair.engines[0].accept(&answer).expect("usable, also when it arrives twice");
    }
    assert!(pair.run_until(Duration::from_secs(10), |pair| pair.has_ice(true)));
    assert_eq!(pair.engines[0].write_data(None, &[2, 7], true), Written::Accepted);
    assert!(pair.run_until(Duration::from_secs(10), |pair| !pair.received(1).is_empty()));
}

#[test]
fn pending_connection_does_not_keep_the_task_awake() {
    let mut pair = Pair::new();
    pair.blocked = true;
    let start = pair.now;
    pair.run_until(Duration::from_secs(20), |_| false);
    let mut wakes = 0;
    for engine in &mut pair.engines {
        let mut now = start + Duration::from_secs(20);
        while now < start + Duration::from_secs(30) {
            engine.handle_timeout(now);
            now = engine.poll_timeout().expect("it has not failed");
            wakes += 1;
        }
    }
    assert!(wakes < 100, "{wakes} wakes in 10 s");
}

#[test]
fn closing_is_noticed_by_the_other_side() {
    let mut pair = Pair::connected();
    pair.engines[0].close();
    assert!(pair.run_until(Duration::from_secs(1), |pair| pair.has_failed(1)));
}

#[test]
fn invalid_datagrams_do_not_end_a_connection() {
    let mut pair = Pair::connected();
    let [a, b] = pair.addresses;
    for first in 0..=255_u8 {
        for length in [0, 1, 19, 20, 100] {
            let mut datagram = vec![first; length + 1];
            datagram[length / 2] = 0;
            pair.engines[0].receive(b, a, &datagram, pair.now);
        }
    }
    assert_eq!(pair.engines[0].write_data(None, &[2, 7], true), Written::Accepted);
    assert!(pair.run_until(Duration::from_secs(5), |pair| !pair.received(1).is_empty()));
}
