//! The channels of a connection.

use std::sync::Arc;

use str0m::channel::{ChannelConfig, ChannelData, ChannelId, Reliability};

use super::{Engine, HIGH_WATER_BYTES, Named, Output};

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Accepted,
    /// The channel is not open yet, or its buffer is full.
    Later,
    /// The message does not fit into one piece of an unordered or unreliable channel, or the other side has closed the
    /// channel, or the connection has failed.
    Never,
}

impl Engine {
    /// Creates a named channel.
    pub(crate) fn create_channel(&mut self, name: &str) {
        let Some((name, options)) = self.config.channels.iter().find(|(known, _)| &**known == name).cloned() else {
            return;
        };
        let config = ChannelConfig { label: name.to_string(), ..options.config() };
        if let Some(id) = self.call(|rtc| rtc.direct_api().create_data_channel(config)) {
            self.creating.insert(id, name);
            self.drain();
        }
    }

    /// Sends a text on the control channel.
    pub(crate) fn write_control(&mut self, text: &str) {
        let Some(id) = self.control else { return };
        match self.write(id, false, text.as_bytes()) {
            Some(true) => {}
            Some(false) => self.fail(&"the buffer of the control channel is full"),
            None => {}
        }
    }

    /// Sends a piece on the data channel or on a named channel. `fits`: it is the whole message.
    pub(crate) fn write_data(&mut self, channel: Option<&Arc<str>>, piece: &[u8], fits: bool) -> Written {
        let (id, single) = match channel {
            None => (self.data, false),
            Some(name) => match self.named.get(name) {
                Some(named) if named.closed => return Written::Never,
                Some(named) => (Some(named.id), named.single),
                None => (None, false),
            },
        };
        if self.failed || (single && !fits) {
            return Written::Never;
        }
        let Some(id) = id else { return Written::Later };
        let buffered = self.call(|rtc| rtc.channel(id).map(|mut channel| channel.buffered_amount()));
        match buffered.flatten() {
            Some(bytes) if bytes <= HIGH_WATER_BYTES => {}
            _ => return Written::Later,
        }
        match self.write(id, true, piece) {
            Some(true) => Written::Accepted,
            Some(false) => Written::Later,
            None => Written::Never,
        }
    }

    /// Returns whether the buffer had room, or `None` if the channel is closed.
    fn write(&mut self, id: ChannelId, binary: bool, data: &[u8]) -> Option<bool> {
        let written = self.call(|rtc| rtc.channel(id).map(|mut channel| channel.write(binary, data)));
        let written = match written.flatten()? {
            Ok(written) => Some(written),
            Err(error) => {
                self.fail(&error);
                None
            }
        };
        self.drain();
        written
    }

    /// Whether the other side has received everything.
    pub(crate) fn is_flushed(&mut self) -> bool {
        let named = self.named.values().map(|named| named.id);
        let ids: Vec<_> = self.control.into_iter().chain(self.data).chain(named).collect();
        ids.into_iter().all(|id| {
            let buffered = self.call(|rtc| rtc.channel(id).map(|mut channel| channel.buffered_amount()));
            buffered.flatten().is_none_or(|bytes| bytes == 0)
        })
    }

    pub(super) fn on_open(&mut self, id: ChannelId, label: String) {
        if Some(id) == self.control || Some(id) == self.data {
            self.open.push(id);
            if self.open.len() == 2 {
                self.outputs.push_back(Output::Opened);
                self.outputs.extend(std::mem::take(&mut self.early));
            }
            return;
        }
        let config = self.call(|rtc| rtc.channel(id).and_then(|channel| channel.config().cloned())).flatten();
        let single = config.is_none_or(|it| !it.ordered || it.reliability != Reliability::Reliable);
        let own = self.creating.remove(&id);
        let name = own.clone().unwrap_or_else(|| label.as_str().into());
        let exists = self.named.contains_key(&name);
        if own.is_none() {
            // The mesh closes the connection if the name is wrong.
            let name = if exists { String::new() } else { label };
            self.report(Output::ChannelCreated { name });
        }
        if !exists {
            self.named.insert(name, Named { id, single, closed: false });
        }
    }

    pub(super) fn on_data(&mut self, ChannelData { id, binary, data }: ChannelData) {
        if Some(id) == self.control {
            return self.report(Output::Control { binary, data });
        }
        let (channel, single) = if Some(id) == self.data {
            (None, false)
        } else {
            match self.named.iter().find(|(_, named)| named.id == id) {
                Some((name, named)) => (Some(name.clone()), named.single),
                None => return,
            }
        };
        self.report(Output::Data { channel, single, binary, data });
    }

    /// What arrives before both channels are open is reported afterwards.
    fn report(&mut self, output: Output) {
        if self.open.len() < 2 {
            self.early.push(output);
        } else {
            self.outputs.push_back(output);
        }
    }
}

pub(super) fn negotiated(label: &str, id: u16) -> ChannelConfig {
    ChannelConfig { label: label.to_owned(), negotiated: Some(id), ..ChannelConfig::default() }
}
