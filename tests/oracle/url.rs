//! The key of a URL is its path or else a parameter of its query; only the query can make a peer favored.

use sigver::JoinRequest;
use sigver::protocol::GroupKey;

use super::key::{decode, encode};

/// Reads the part of a URL below the mount: the rest of the path, and the query after the first `?`.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let request = JoinRequest::from_url(path, query);

    let parameters: Vec<_> = query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter_map(|(name, value)| Some((decode(name)?, value)))
        .collect();
    let favored = parameters.iter().any(|(name, _)| name == b"favored");
    let named = parameters.iter().find(|(name, _)| name == b"key").map(|(_, value)| value.replace('+', "%20"));
    let key = if path.is_empty() { named.unwrap_or_default() } else { path.to_owned() };
    assert_equal(&request, &JoinRequest::from_url(&key, None).favored(favored));
    if let Ok(key) = GroupKey::from_percent_encoded(&key) {
        assert_equal(&request, &JoinRequest::from(key).favored(favored));
    }

    if let Ok(key) = GroupKey::new(text) {
        let expected = JoinRequest::from(key);
        let encoded = encode(text);
        assert_equal(&JoinRequest::from_url(&encoded, None), &expected);
        assert_equal(&JoinRequest::from_url("", Some(&format!("x=1&key={encoded}&key=2"))), &expected);
        assert_equal(&JoinRequest::from_url(&encoded, Some("key=2&favored")), &expected.favored(true));
    }
}

/// Compares what a URL can set.
fn assert_equal(request: &JoinRequest, expected: &JoinRequest) {
    assert_eq!(request.try_key(), expected.try_key());
    assert_eq!(request.is_favored(), expected.is_favored());
}
