//! Messages of the control channel: JSON objects with one key.

use serde_json::{Value, json};

use super::json::{as_u32, parse_object};
use super::limits::{MAX_CHANNEL_NAME, MAX_CHANNELS, MAX_CONTROL_BYTES, MAX_NEAR_ENTRIES};
use super::signal::{Description, Signal, candidate_from_value};

/// The version of the protocol that this crate implements.
pub(crate) const VERSION: u32 = 1;

#[derive(Debug, PartialEq)]
pub(crate) enum Control {
    Hello(Hello),
    Metadata(Value),
    /// The sender's neighbours with its round-trip times in milliseconds.
    Near(Vec<(u32, Option<f64>)>),
    Ping(f64),
    Pong(f64),
    /// A signal, and its JSON with the keys that this version does not know.
    Relay(Signal, Value),
    Description(Description),
    Candidate(String),
    Bye,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Hello {
    /// 0 for peers that sent no `hello`.
    pub(crate) version: u32,
    pub(crate) metadata: Option<Value>,
    pub(crate) channels: Vec<String>,
}

/// The message breaks the rules: the connection closes with `invalid`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Control {
    /// Reads a text message. Returns `Ok(None)` if it must be ignored.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, TooLong> {
        if is_too_long(text) {
            return Err(TooLong);
        }
        Ok(parse_object(text).and_then(|message| Self::from_value(&message)))
    }

    fn from_value(message: &Value) -> Option<Self> {
        // If there are several keys, the first one with a valid value is handled.
        message.as_object()?.iter().find_map(|(key, value)| match key.as_str() {
            "hello" => Hello::from_value(value).map(Self::Hello),
            "metadata" => Some(Self::Metadata(value.clone())),
            "near" => Some(Self::Near(read_near(value.as_array()?))),
            "ping" => value.as_f64().map(Self::Ping),
            "pong" => value.as_f64().map(Self::Pong),
            "relay" => Signal::from_value(value).map(|signal| Self::Relay(signal, value.clone())),
            "description" => Description::from_value(value).map(Self::Description),
            "candidate" => candidate_from_value(value).map(Self::Candidate),
            "bye" => (*value == Value::Bool(true)).then_some(Self::Bye),
            _ => None,
        })
    }
}

impl Hello {
    fn from_value(value: &Value) -> Option<Self> {
        let version = as_u32(value.get("v")?).filter(|&version| version >= 1)?;
        let mut channels = Vec::new();
        for name in value.get("channels").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = name.as_str()
                && channels.len() < MAX_CHANNELS
                && is_channel_name(name)
                && !channels.iter().any(|other| other == name)
            {
                channels.push(name.to_owned());
            }
        }
        Some(Self { version, metadata: value.get("metadata").cloned(), channels })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut hello = json!({ "v": self.version });
        if let Some(metadata) = &self.metadata {
            hello["metadata"] = metadata.clone();
        }
        if !self.channels.is_empty() {
            hello["channels"] = json!(self.channels);
        }
        json!({ "hello": hello }).to_string()
    }
}

/// Whether the text exceeds the length of a control message.
pub(crate) fn is_too_long(text: &str) -> bool {
    text.len() > MAX_CONTROL_BYTES
}

pub(crate) fn is_channel_name(name: &str) -> bool {
    (1..=MAX_CHANNEL_NAME).contains(&name.encode_utf16().count())
}

fn read_near(entries: &[Value]) -> Vec<(u32, Option<f64>)> {
    let read = |entry: &Value| {
        let entry = entry.as_array()?;
        let id = as_u32(entry.first()?).filter(|&id| id != 0)?;
        Some((id, entry.get(1).and_then(Value::as_f64)))
    };
    entries.iter().take(MAX_NEAR_ENTRIES).filter_map(read).collect()
}
