//! An opening has its key from the path or else the query, and only the query says whether a peer is favored.

use sigver::JoinRequest;
use sigver::protocol::GroupKey;

use super::key::{escaped, unescaped};

/// Reads what a URL has behind the mount: the rest of the path, and the query behind the first `?`.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (tail, query) = text.split_once('?').map_or((text, None), |(tail, query)| (tail, Some(query)));
    let opening = JoinRequest::from_url(tail, query);

    let parameters: Vec<_> = query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter_map(|(name, value)| Some((unescaped(name)?, value)))
        .collect();
    let favored = parameters.iter().any(|(name, _)| name == b"favored");
    let asked = parameters.iter().find(|(name, _)| name == b"key").map(|(_, value)| value.replace('+', "%20"));
    let key = if tail.is_empty() { asked.unwrap_or_default() } else { tail.to_owned() };
    assert_eq!(opening, JoinRequest::from_url(&key, None).favored(favored));
    if let Ok(key) = GroupKey::from_escaped(&key) {
        assert_eq!(opening, JoinRequest::from(key).favored(favored));
    }

    if let Ok(key) = GroupKey::new(text) {
        let expected = JoinRequest::from(key);
        let escaped = escaped(text);
        assert_eq!(JoinRequest::from_url(&escaped, None), expected);
        assert_eq!(JoinRequest::from_url("", Some(&format!("x=1&key={escaped}&key=2"))), expected);
        assert_eq!(JoinRequest::from_url(&escaped, Some("key=2&favored")), expected.favored(true));
    }
}
