//! One mesh whose peers and hub are the test.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::sdp;
use crate::event::Event;
use crate::mesh::{Action, Config, ConnectionId, Description, HubAction, Kind, Mesh, Reply};

/// A mesh that is the only member of its group, and what it did.
pub(crate) struct Lone {
    pub(crate) mesh: Mesh,
    pub(crate) now: Instant,
    pub(crate) accepted: Vec<ConnectionId>,
    pub(crate) begun: Vec<ConnectionId>,
    pub(crate) closed: Vec<ConnectionId>,
    pub(crate) candidates: usize,
    /// If set, the engine can use no description. The value: whether the own offer can still be answered.
    pub(crate) unusable: Option<bool>,
    /// Offers that restart ICE.
    pub(crate) restarts: usize,
    pub(crate) created: Vec<String>,
    pub(crate) events: Vec<Event>,
    /// Signals to joiners, with the link.
    pub(crate) signals: Vec<Value>,
    pub(crate) ended_links: usize,
    /// Control messages, with their connection.
    pub(crate) control: Vec<(ConnectionId, Value)>,
    #[cfg(test)]
    pub(super) next_link: u32,
}

impl Lone {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::now();
        let mut lone = Self {
            mesh: Mesh::new(config, 1, now),
            now,
            accepted: Vec::new(),
            begun: Vec::new(),
            closed: Vec::new(),
            candidates: 0,
            unusable: None,
            restarts: 0,
            created: Vec::new(),
            events: Vec::new(),
            signals: Vec::new(),
            ended_links: 0,
            control: Vec::new(),
            #[cfg(test)]
            next_link: 1,
        };
        lone.mesh.hub_opened(now);
        lone.mesh.hub_connected(true, now);
        lone.settle();
        lone
    }

    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.mesh.poll_action() {
            match action {
                Action::Connect { connection, offer } => {
                    if offer {
                        self.begun.push(connection);
                        let offer = Description { kind: Kind::Offer, sdp: sdp(1) };
                        self.mesh.local_description(connection, offer, Reply::Route, self.now);
                    }
                }
                Action::Accept { connection, description, reply } => {
                    self.accepted.push(connection);
                    if let Some(has_offer) = self.unusable {
                        self.mesh.description_unusable(connection, reply, has_offer, self.now);
                    } else if description.kind == Kind::Offer {
                        let answer = Description { kind: Kind::Answer, sdp: sdp(1) };
                        self.mesh.local_description(connection, answer, reply, self.now);
                    }
                }
                Action::AddCandidate { .. } => self.candidates += 1,
                Action::SendControl { connection, text } => {
                    self.control.push((connection, serde_json::from_str(&text).expect("JSON")));
                }
                Action::Joined { create, .. } => self.created.extend(create),
                Action::Close { connection } => self.closed.push(connection),
                Action::Event(event) => self.events.push(event),
                Action::Hub(HubAction::Content { data, last, .. }) => {
                    self.ended_links += usize::from(last);
                    if !data.is_empty() {
                        self.signals.push(serde_json::from_slice(&data).expect("JSON"));
                    }
                }
                Action::RestartIce { connection, reply } => {
                    self.restarts += 1;
                    let sdp = format!("{}a=restart:{}\r\n", sdp(1), self.restarts);
                    self.mesh.local_description(connection, Description { kind: Kind::Offer, sdp }, reply, self.now);
                }
                Action::Hub(_) => {}
            }
        }
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.mesh.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.mesh.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }
}
