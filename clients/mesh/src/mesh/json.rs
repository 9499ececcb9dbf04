//! JSON from other peers, read as JavaScript reads it.

use serde_json::Value;

/// Parses one JSON object. Returns `None` for other texts.
///
/// JavaScript allows strings with half a surrogate pair, for example a name that was cut within an emoji. JSON has them
/// as `\ud83d`. Rust has no such strings, so they become U+FFFD.
pub(crate) fn parse_object(text: &str) -> Option<Value> {
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => serde_json::from_str(&replace_lone_surrogates(text)?).ok()?,
    };
    matches!(value, Value::Object(_)).then_some(value)
}

/// A number that is an integer from 0 to 2^32 - 1. JavaScript does not tell `7.0` from `7`.
pub(crate) fn as_u32(value: &Value) -> Option<u32> {
    if let Some(integer) = value.as_u64() {
        return u32::try_from(integer).ok();
    }
    let number = value.as_f64()?;
    let is_u32 = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the line above")]
    is_u32.then_some(number as u32)
}

/// Replaces escapes of lone surrogates by `\ufffd`. Returns `None` if there is none.
fn replace_lone_surrogates(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let unit = |at: usize| -> Option<u16> {
        let escape = bytes.get(at..at + 6)?;
        let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let is_high = |at| unit(at).is_some_and(|unit| (0xd800..0xdc00).contains(&unit));
    let is_low = |at| unit(at).is_some_and(|unit| (0xdc00..0xe000).contains(&unit));
    let mut replaced = String::with_capacity(text.len());
    let (mut copied, mut at, mut found) = (0, 0, false);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
        } else if is_high(at) && is_low(at + 6) {
            at += 12;
        } else if is_high(at) || is_low(at) {
            replaced.push_str(&text[copied..at]);
            replaced.push_str("\\ufffd");
            at += 6;
            copied = at;
            found = true;
        } else {
            at += 2; // another escape; its second character may be a backslash
        }
    }
    replaced.push_str(text.get(copied..)?);
    found.then_some(replaced)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        for (text, name) in [
            (r#"{"n":"\ud83d"}"#, "\u{fffd}"),
            (r#"{"n":"\udc00x"}"#, "\u{fffd}x"),
            (r#"{"n":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (r#"{"n":"\\\ud83d"}"#, "\\\u{fffd}"),
            (r#"{"n":"é\ud83dé"}"#, "é\u{fffd}é"),
        ] {
            assert_eq!(parse_object(text), Some(json!({ "n": name })), "{text}");
        }
        assert_eq!(parse_object(r#"{"n":"\\ud83d"}"#), Some(json!({ "n": "\\ud83d" })));
        assert_eq!(parse_object(r#"{"n":"\ud83d"#), None);
    }

    #[test]
    fn only_objects_are_read() {
        for text in ["[]", "null", "7", "\"x\"", "{", "", "{}x"] {
            assert_eq!(parse_object(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_ids_if_they_are_uint32() {
        for (value, id) in [
            (json!(0), Some(0)),
            (json!(7.0), Some(7)),
            (json!(4_294_967_295_u32), Some(u32::MAX)),
            (json!(4_294_967_296_u64), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!("7"), None),
            (json!(null), None),
        ] {
            assert_eq!(as_u32(&value), id, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_parsed(text in r#"(\\|u|d8|dc|[0-9a-f]{4}|"|\{|\}|é|.){0,40}"#) {
            parse_object(&text);
        }
    }
}
