//! A key has 1 to 512 bytes, and is what was escaped.

use sigver::protocol::{GroupKey, KeyError, MAX_KEY_BYTES};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match GroupKey::from_escaped(text) {
        Ok(key) => {
            assert_eq!(unescaped(text).as_deref(), Some(key.as_str().as_bytes()));
            assert_is_a_key(key);
        }
        Err(KeyError::Empty) => assert_eq!(text, ""),
        Err(KeyError::TooLong { len, .. }) => assert!((MAX_KEY_BYTES + 1..=text.len()).contains(&len), "{len}"),
        Err(KeyError::BadEscape { at, .. }) => {
            assert!(unescaped(&text[..at]).is_some(), "the first one is named");
            assert_eq!(&text[at..=at], "%");
            assert!(byte(&text[at + 1..]).is_none(), "a good escape");
        }
        Err(KeyError::NotUtf8) => {
            let decoded = unescaped(text).expect("each escape is good");
            assert!(String::from_utf8(decoded).is_err(), "it is UTF-8");
        }
        Err(other) => panic!("{other} is no reason"),
    }
    match GroupKey::new(text) {
        Ok(key) => {
            assert_eq!(key.as_str(), text);
            assert_is_a_key(key);
        }
        Err(KeyError::Empty) => assert_eq!(text, ""),
        Err(error) => assert!(text.len() > MAX_KEY_BYTES, "{error}"),
    }
}

fn assert_is_a_key(key: GroupKey) {
    let text = key.as_str();
    assert!((1..=MAX_KEY_BYTES).contains(&text.len()), "{} bytes", text.len());
    for spelling in [escaped(text), text.replace('%', "%25")] {
        assert_eq!(GroupKey::from_escaped(&spelling).as_ref(), Ok(&key), "{spelling}");
    }
}

/// Every byte as an escape, which is right everywhere in a URL.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The bytes that a text stands for, unless one of its escapes is bad.
pub(super) fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(byte(piece)?);
        bytes.extend(&piece.as_bytes()[2..]);
    }
    Some(bytes)
}

/// The byte that two digits at the front stand for.
fn byte(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| !digits.contains('+'))?;
    u8::from_str_radix(digits, 16).ok()
}
