//! A key has 1 to 512 bytes, and is the percent-decoded text.

use sigver::protocol::{GroupKey, KeyError, MAX_KEY_BYTES};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match GroupKey::from_percent_encoded(text) {
        Ok(key) => {
            assert_eq!(decode(text).as_deref(), Some(key.as_str().as_bytes()));
            assert_valid(key);
        }
        Err(KeyError::Empty) => assert_eq!(text, ""),
        Err(KeyError::TooLong { len, .. }) => assert!((MAX_KEY_BYTES + 1..=text.len()).contains(&len), "{len}"),
        Err(KeyError::BadEscape { at, .. }) => {
            assert!(decode(&text[..at]).is_some(), "the first invalid escape is reported");
            assert_eq!(&text[at..=at], "%");
            assert!(byte(&text[at + 1..]).is_none(), "the escape is valid");
        }
        Err(KeyError::NotUtf8) => {
            let decoded = decode(text).expect("each escape is valid");
            assert!(String::from_utf8(decoded).is_err(), "the decoded bytes are UTF-8");
        }
        Err(other) => panic!("{other} is not a known error"),
    }
    match GroupKey::new(text) {
        Ok(key) => {
            assert_eq!(key.as_str(), text);
            assert_valid(key);
        }
        Err(KeyError::Empty) => assert_eq!(text, ""),
        Err(error) => assert!(text.len() > MAX_KEY_BYTES, "{error}"),
    }
}

fn assert_valid(key: GroupKey) {
    let text = key.as_str();
    assert!((1..=MAX_KEY_BYTES).contains(&text.len()), "{} bytes", text.len());
    for spelling in [encode(text), text.replace('%', "%25")] {
        assert_eq!(GroupKey::from_percent_encoded(&spelling).as_ref(), Ok(&key), "{spelling}");
    }
}

/// Percent-encodes every byte, which is valid everywhere in a URL.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Percent-decodes a text. `None` if an escape is invalid.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(byte(piece)?);
        bytes.extend(&piece.as_bytes()[2..]);
    }
    Some(bytes)
}

/// Reads two hexadecimal digits at the start of a text.
fn byte(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| !digits.contains('+'))?;
    u8::from_str_radix(digits, 16).ok()
}
