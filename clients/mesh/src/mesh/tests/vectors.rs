//! The test vectors of `clients/MESH.md`: every block that concerns the mesh.

use std::time::Duration;

use serde_json::{Value, json};

use crate::mesh::action::CloseReason;
use crate::mesh::control::{Control, TooLong};
use crate::mesh::fingerprint;
use crate::mesh::framing::{Assembler, Pieces};
use crate::mesh::offer::{Attempt, Offer};
use crate::mesh::signal::Signal;
use crate::payload::Payload;

/// The entries of the block with this name.
pub(crate) fn vectors(name: &str) -> Vec<Value> {
    let page = include_str!("../../../../MESH.md");
    let start = format!("```json vectors={name}\n");
    let (_, block) = page.split_once(&start).unwrap_or_else(|| panic!("MESH.md has no vectors {name}"));
    let (block, _) = block.split_once("```").expect("the block ends");
    let entries: Vec<Value> = serde_json::from_str(block).expect("a JSON array");
    assert!(!entries.is_empty());
    entries
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_else(|| panic!("{entry} has no text {key}"))
}

#[test]
fn signals_are_read_as_in_the_vectors() {
    for entry in vectors("signal") {
        let signal = Signal::parse(text(&entry, "text").as_bytes());
        assert_eq!(Some(signal.is_some()), entry["valid"].as_bool(), "{entry}");
    }
}

#[test]
fn fingerprints_are_read_as_in_the_vectors() {
    let upper = (0..32).map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let other = vec!["AA"; 32].join(":");
    let fill = |text: &str| text.replace("{FP}", &upper).replace("{fp}", &upper.to_lowercase()).replace("{GP}", &other);
    for entry in vectors("fingerprint") {
        let expected = entry["fingerprint"].as_str().map(fill);
        assert_eq!(fingerprint::read(&fill(text(&entry, "sdp"))), expected, "{entry}");
    }
}

#[test]
fn control_messages_are_read_as_in_the_vectors() {
    for entry in vectors("control") {
        let message = match entry["repeat"].as_str() {
            Some(repeat) => {
                let times = entry["times"].as_u64().and_then(|times| usize::try_from(times).ok()).expect("times");
                format!("{{\"x\":\"{}\"}}", repeat.repeat(times))
            }
            None => text(&entry, "text").to_owned(),
        };
        let (effect, value) = match Control::parse(&message) {
            Err(TooLong) => ("invalid", Value::Null),
            Ok(None) => ("ignored", Value::Null),
            Ok(Some(control)) => effect(control),
        };
        assert_eq!(effect, text(&entry, "effect"), "{entry}");
        if let Some(expected) = entry.get("value") {
            assert_eq!(&value, expected, "{entry}");
        }
    }
}

fn effect(control: Control) -> (&'static str, Value) {
    match control {
        Control::Hello(hello) => {
            let mut value = json!({ "v": hello.version, "channels": hello.channels });
            if let Some(metadata) = hello.metadata {
                value["metadata"] = metadata;
            }
            ("hello", value)
        }
        Control::Metadata(value) => ("metadata", value),
        Control::Near(near) => ("near", json!(near)),
        Control::Ping(value) => ("ping", json!(value)),
        Control::Pong(value) => ("pong", json!(value)),
        Control::Relay(..) => ("relay", Value::Null),
        Control::Description(_) => ("description", Value::Null),
        Control::Candidate(_) => ("candidate", Value::Null),
        Control::Bye => ("bye", Value::Null),
    }
}

#[test]
fn messages_are_split_and_put_together_as_in_the_vectors() {
    for entry in vectors("pieces") {
        let pieces: Vec<Vec<u8>> = entry["pieces"].as_array().expect("pieces").iter().map(piece).collect();
        let mut assembler = Assembler::new(entry["single"] == true);
        let received: Result<Vec<_>, _> = pieces.iter().map(|piece| assembler.push(piece)).collect();
        let Ok(received) = received else {
            assert_eq!(entry["invalid"], true, "{entry}");
            continue;
        };
        let payload = match (&entry["text"], &entry["bytes"], &entry["zeros"]) {
            (Value::String(text), _, _) => Payload::from(text.as_str()),
            (_, Value::String(bytes), _) => hex(bytes).into(),
            (_, _, zeros) => zeros_of(zeros).into(),
        };
        assert_ne!(entry["invalid"], true, "{entry}");
        if entry["decodeOnly"] != true {
            assert_eq!(Pieces::starting_at(&payload, 0).collect::<Vec<_>>(), pieces, "{entry}");
        }
        assert_eq!(received.into_iter().flatten().collect::<Vec<_>>(), [payload], "{entry}");
    }
}

#[test]
fn rejects_are_read_as_in_the_vectors() {
    for entry in vectors("reject") {
        assert_eq!(CloseReason::from_reject(text(&entry, "reject")).as_str(), text(&entry, "reason"), "{entry}");
    }
}

fn piece(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => hex(text),
        _ => [vec![u8::try_from(value[0].as_u64().expect("flags")).expect("a byte")], zeros_of(&value[1])].concat(),
    }
}

fn zeros_of(value: &Value) -> Vec<u8> {
    vec![0; value.as_u64().and_then(|count| usize::try_from(count).ok()).expect("a number")]
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn offers_are_decided_as_in_the_vectors() {
    let id = |value: &Value| crate::mesh::json::as_u32(value).expect("an id");
    for entry in vectors("offer") {
        let members: Vec<_> = entry["members"].as_array().into_iter().flatten().map(id).collect();
        let offer = Offer {
            id: id(&entry["id"]),
            from: id(&entry["from"]),
            members: &members,
            owns_id: entry["owned"] != "other",
            open: entry["open"].as_u64().map(Duration::from_secs),
            pending: match entry["pending"].as_str() {
                Some("own") => Some(Attempt::Own),
                Some("theirs") => Some(Attempt::Theirs),
                _ => None,
            },
            full: entry["full"] == true,
        };
        // A rival attempt leaves its slot.
        let has_slot = entry["free"] != false || offer.pending.is_some();
        assert_eq!(offer.rejection(|| has_slot).map(|it| it.as_str()), entry["reject"].as_str(), "{entry}");
    }
}
