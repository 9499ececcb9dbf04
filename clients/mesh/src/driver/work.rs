//! The synchronous part of the task: carries out the mesh's actions and passes on what the engine reports.

use std::time::Instant;

use super::engine::{Engine, Output};
use super::{BYE_TIMEOUT, Driver, Leaving};
use crate::error::JoinError;
use crate::event::{Close, Event, Reason, State};
use crate::hub::{HubEvent, HubSocket};
use crate::id::PeerId;
use crate::mesh::{Action, ConnectionId, HubAction, Mesh, Reply};

impl Driver {
    /// Works until there is nothing left to do without input.
    pub(super) fn work(&mut self) {
        let now = Instant::now();
        loop {
            self.carry_out_all(now);
            for id in self.outgoing.connections() {
                if let Some(engine) = self.engines.get_mut(&id) {
                    self.outgoing.write(id, engine, now);
                }
            }
            let ids: Vec<_> = self.engines.keys().copied().collect();
            let mut is_idle = true;
            for id in ids {
                while let Some(output) = self.engines.get_mut(&id).and_then(Engine::poll_output) {
                    is_idle = false;
                    self.on_output(id, output, now);
                }
            }
            if is_idle {
                break;
            }
        }
        let is_full = self.shared.inbox.is_full();
        self.shared.mesh().pause(is_full);
    }

    fn carry_out_all(&mut self, now: Instant) {
        while let Some(action) = self.take_action() {
            self.carry_out(action, now);
        }
    }

    fn take_action(&self) -> Option<Action> {
        self.shared.mesh().poll_action()
    }

    fn carry_out(&mut self, action: Action, now: Instant) {
        match action {
            Action::Connect { connection, offer } => {
                let mut engine = Engine::new(self.config.clone(), now);
                let description = if offer { engine.offer() } else { None };
                self.engines.insert(connection, engine);
                let mut mesh = self.shared.mesh();
                match description {
                    Some(description) => mesh.local_description(connection, description, Reply::Route, now),
                    None if offer => mesh.failed(connection, now),
                    None => {}
                }
            }
            Action::Accept { connection, description, reply } => {
                let Some(engine) = self.engines.get_mut(&connection) else { return };
                let accepted = engine.accept(&description);
                let has_offer = engine.has_offer();
                let mut mesh = self.shared.mesh();
                match accepted {
                    Ok(Some(answer)) => mesh.local_description(connection, answer, reply, now),
                    Ok(None) => {}
                    Err(_) => mesh.description_unusable(connection, reply, has_offer, now),
                }
            }
            Action::RestartIce { connection, reply } => {
                let Some(engine) = self.engines.get_mut(&connection) else { return };
                if let Some(offer) = engine.restart_ice() {
                    self.shared.mesh().local_description(connection, offer, reply, now);
                }
            }
            Action::AddCandidate { connection, candidate } => {
                self.with(connection, |engine| engine.add_candidate(&candidate));
            }
            Action::SendControl { connection, text } => {
                self.with(connection, |engine| engine.write_control(&text));
            }
            Action::Joined { connection, create } => self.with(connection, |engine| {
                for name in create {
                    engine.create_channel(&name);
                }
            }),
            Action::Close { connection } => {
                self.outgoing.remove(connection);
                self.sources.retain(|_, id| *id != connection);
                if let Some(mut engine) = self.engines.remove(&connection) {
                    engine.close();
                    self.transmit(&mut engine);
                }
            }
            Action::Hub(action) => self.on_hub_action(action, now),
            Action::Event(event) => self.on_event(event, now),
        }
    }

    fn with(&mut self, connection: ConnectionId, call: impl FnOnce(&mut Engine)) {
        if let Some(engine) = self.engines.get_mut(&connection) {
            call(engine);
        }
    }

    /// Sends the last datagrams of a connection.
    pub(super) fn transmit(&mut self, engine: &mut Engine) {
        while let Some(output) = engine.poll_output() {
            if let Output::Transmit(transmit) = output {
                self.sockets.send(transmit.source, transmit.destination, transmit.contents.into());
            }
        }
    }

    fn on_output(&mut self, id: ConnectionId, output: Output, now: Instant) {
        let output = match output {
            Output::Transmit(transmit) => {
                return self.sockets.send(transmit.source, transmit.destination, transmit.contents.into());
            }
            // The app has left: nothing is for it any longer.
            _ if matches!(self.leaving, Leaving::Bye(_)) => return,
            output => output,
        };
        report(&mut self.shared.mesh(), id, output, now);
        // The mesh learns whether a description is usable before the next message arrives.
        self.carry_out_all(now);
    }

    fn on_hub_action(&mut self, action: HubAction, now: Instant) {
        match action {
            HubAction::Open => self.hub = Some(HubSocket::open(self.hub_config.clone())),
            HubAction::Close => {
                if let Some(hub) = self.hub.take() {
                    self.closing_hub = Some(Box::pin(hub.close()));
                }
            }
            HubAction::Connect { .. } | HubAction::Content { .. } => {
                if let Some(hub) = &self.hub
                    && hub.send(action).is_err()
                {
                    self.hub = None;
                    self.shared.mesh().hub_closed(None, true, now);
                }
            }
        }
    }

    pub(super) fn on_hub(&mut self, event: HubEvent, now: Instant) {
        let mut mesh = self.shared.mesh();
        match event {
            HubEvent::Opened => {
                self.outage.opened();
                mesh.hub_opened(now);
            }
            HubEvent::Connected { member } => {
                self.outage.end();
                mesh.hub_connected(member, now);
            }
            HubEvent::Content { from, link, data } => mesh.hub_content(from, link, &data, now),
            HubEvent::Ended { from, link } => mesh.hub_ended(from, link, now),
            HubEvent::KeyFailed => {
                self.hub = None;
                mesh.key_failed(now);
            }
            HubEvent::InvalidKey(error) => {
                self.hub = None;
                mesh.key_invalid(now);
                drop(mesh);
                self.end_join(Err(error));
            }
            HubEvent::Closed { close, timed_out, cause } => {
                self.hub = None;
                self.outage.closed(cause);
                mesh.hub_closed(close, timed_out, now);
            }
        }
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match &event {
            Event::Message { from, .. } if self.overflowing.contains(from) => return,
            Event::PeerLeave { peer, .. } => {
                self.overflowing.remove(peer);
            }
            Event::StateChange { state, reason, close } => {
                tracing::debug!(?state, ?reason, "the state of the group has changed");
                if matches!(reason, Reason::Unreachable | Reason::HubTimeout) {
                    self.outage.begin();
                }
                self.on_state(*state, *reason, close.clone(), now);
            }
            _ => {}
        }
        let sender = if let Event::Message { from, .. } = &event { Some(*from) } else { None };
        if self.shared.inbox.push(event).is_err()
            && let Some(PeerId(peer)) = sender
        {
            self.overflowing.insert(PeerId(peer));
            let mut mesh = self.shared.mesh();
            if let Some(connection) = mesh.connection_to(peer) {
                mesh.overflowed(connection, now);
            }
        }
    }

    fn on_state(&mut self, state: State, reason: Reason, close: Option<Close>, now: Instant) {
        let outcome = match state {
            State::Joined => Ok(()),
            State::Left => {
                self.leaving = Leaving::Bye(now + BYE_TIMEOUT);
                let close = close.unwrap_or_else(|| Close::new(Close::LOST, ""));
                match reason {
                    Reason::Rejected => Err(JoinError::Rejected(close)),
                    _ => return self.joined = None,
                }
            }
            _ => return,
        };
        self.end_join(outcome);
    }

    fn end_join(&mut self, outcome: Result<(), JoinError>) {
        if let Some(joined) = self.joined.take() {
            // The app may have dropped the future, which drops the handle: the task leaves.
            let _: Result<(), Result<(), JoinError>> = joined.send(outcome);
        }
    }
}

/// Passes what the engine reports to the mesh.
fn report(mesh: &mut Mesh, id: ConnectionId, output: Output, now: Instant) {
    match output {
        Output::Opened => mesh.opened(id, now),
        Output::Control { binary, data } => mesh.control_message(id, binary, &data, now),
        Output::Data { channel, single, binary: true, data } => {
            mesh.data_message(id, channel.as_ref(), single, &data, now);
        }
        Output::Data { .. } => mesh.ignored_message(id, now),
        Output::ChannelCreated { name } => {
            if !mesh.accepts_channel(id, &name) {
                mesh.invalid(id, now);
            }
        }
        Output::IceState { connected } => mesh.ice_state(id, connected, now),
        Output::Failed => mesh.failed(id, now),
        Output::Transmit(_) => {}
    }
}
