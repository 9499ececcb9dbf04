//! Signals: messages between two peers that are connecting.

use serde_json::{Map, Value, json};

use super::json::{as_u32, parse_object};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Signal {
    pub(crate) from: u32,
    /// 0 while a joiner does not know the id of its member.
    pub(crate) to: u32,
    pub(crate) negotiation_id: u32,
    /// With a description: the ids of the sender's neighbours.
    pub(crate) members: Option<Vec<u32>>,
    /// With an offer through a neighbour: it restarts ICE of an open connection.
    pub(crate) restart: bool,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Description(Description),
    Candidate(String),
    Reject(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    pub(crate) kind: Kind,
    pub(crate) sdp: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Offer,
    Answer,
}

impl Signal {
    /// Reads a signal that arrived over the hub. Returns `None` if it must be ignored.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        Self::from_value(&parse_object(&String::from_utf8_lossy(data))?)
    }

    /// Reads a signal. Returns `None` if a key has another type than the protocol states, or if the signal has none of
    /// the three bodies. If it has several, a reject is read first, then a description.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let signal = value.as_object()?;
        let from = as_u32(signal.get("from")?).filter(|&id| id != 0)?;
        let to = as_u32(signal.get("to")?)?;
        let negotiation_id = as_u32(signal.get("negotiationId")?)?;
        let members = match signal.get("members") {
            Some(members) => Some(members.as_array()?.iter().map(as_u32).collect::<Option<_>>()?),
            None => None,
        };
        let restart = read(signal, "restart", Value::as_bool)?.unwrap_or(false);
        let reject = read(signal, "reject", |value| Some(value.as_str()?.to_owned()))?;
        let description = read(signal, "description", Description::from_value)?;
        let candidate = read(signal, "candidate", candidate_from_value)?;
        let body = reject.map(Body::Reject).or(description.map(Body::Description)).or(candidate.map(Body::Candidate))?;
        Some(Self { from, to, negotiation_id, members, restart, body })
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut signal = json!({ "from": self.from, "to": self.to, "negotiationId": self.negotiation_id });
        if let Some(members) = &self.members {
            signal["members"] = json!(members);
        }
        if self.restart {
            signal["restart"] = json!(true);
        }
        match &self.body {
            Body::Description(description) => signal["description"] = description.to_value(),
            Body::Candidate(candidate) => signal["candidate"] = json!({ "candidate": candidate, "sdpMid": "0" }),
            Body::Reject(reason) => signal["reject"] = json!(reason),
        }
        signal
    }
}

impl Description {
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let kind = match value.get("type")?.as_str()? {
            "offer" => Kind::Offer,
            "answer" => Kind::Answer,
            _ => return None,
        };
        Some(Self { kind, sdp: value.get("sdp")?.as_str()?.to_owned() })
    }

    /// The version of the line `o=`, which grows with each description of a sender.
    pub(crate) fn version(&self) -> Option<u64> {
        let origin = self.sdp.split(['\r', '\n']).find_map(|line| line.strip_prefix("o="))?;
        let field = origin.split(' ').nth(2)?;
        let digits = &field[..field.bytes().take_while(u8::is_ascii_digit).count()];
        (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
    }

    pub(crate) fn to_value(&self) -> Value {
        let kind = match self.kind {
            Kind::Offer => "offer",
            Kind::Answer => "answer",
        };
        json!({ "type": kind, "sdp": self.sdp })
    }
}

/// The `candidate` of an `RTCIceCandidateInit`.
pub(crate) fn candidate_from_value(value: &Value) -> Option<String> {
    Some(value.get("candidate")?.as_str()?.to_owned())
}

/// Returns `Some(None)` if the key is absent, and `None` if its value has another type.
#[expect(clippy::option_option, reason = "absent and invalid are different")]
fn read<T>(object: &Map<String, Value>, key: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<Option<T>> {
    match object.get(key) {
        Some(value) => read(value).map(Some),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(body: Body) -> Signal {
        let restart = matches!(body, Body::Description(_));
        Signal { from: 2, to: 3, negotiation_id: 7, members: Some(vec![4, 5]), restart, body }
    }

    #[test]
    fn signal_that_is_written_is_read_back() {
        let offer = Description { kind: Kind::Offer, sdp: "v=0\r\n".into() };
        for body in [Body::Description(offer), Body::Candidate("candidate:1".into()), Body::Reject("busy".into())] {
            let signal = signal(body);
            assert_eq!(Signal::parse(signal.to_value().to_string().as_bytes()), Some(signal));
        }
    }

    #[test]
    fn signal_without_a_body_or_with_a_reject_of_another_type_is_ignored() {
        assert_eq!(Signal::parse(br#"{"from":2,"to":3,"negotiationId":7}"#), None);
        assert_eq!(Signal::parse(br#"{"from":2,"to":3,"negotiationId":7,"reject":1}"#), None);
    }

    #[test]
    fn restart_is_a_boolean() {
        let signal = |restart: &str| {
            let text = format!(r#"{{"from":2,"to":3,"negotiationId":7,"restart":{restart},"reject":"busy"}}"#);
            Signal::parse(text.as_bytes()).map(|signal| signal.restart)
        };
        assert_eq!((signal("true"), signal("false")), (Some(true), Some(false)));
        for restart in ["null", "1", "\"true\"", "{}"] {
            assert_eq!(signal(restart), None, "{restart}");
        }
    }

    #[test]
    fn version_is_the_third_field_of_the_origin() {
        let version = |origin: &str| {
            let sdp = format!("v=0\r\n{origin}\r\ns=-\r\n");
            Description { kind: Kind::Offer, sdp }.version()
        };
        assert_eq!(version("o=- 4611731400430051336 2 IN IP4 127.0.0.1"), Some(2));
        assert_eq!(version("o=mozilla...THIS_IS_SDPARTA-99.0 77 0 IN IP4 0.0.0.0"), Some(0));
        assert_eq!(version("o=- 1 18446744073709551614 IN IP4 0.0.0.0"), Some(u64::MAX - 1));
        assert_eq!(version("o=- 1 99999999999999999999 IN IP4 0.0.0.0"), Some(u64::MAX));
        for origin in ["", "o=", "o=- 1", "o=- 1 ", "o=- 1 x", "o=- 1 -2 IN", "a=o=- 1 2"] {
            assert_eq!(version(origin), None, "{origin}");
        }
    }

    #[test]
    fn reject_is_read_before_other_bodies() {
        let text = br#"{"from":2,"to":3,"negotiationId":7,"reject":"busy","candidate":{"candidate":""}}"#;
        assert_eq!(Signal::parse(text).expect("valid").body, Body::Reject("busy".into()));
    }
}
