//! The URL of a group at the hub.

use std::fmt::Write as _;

use crate::error::JoinError;

const MAX_KEY_BYTES: usize = 512;

/// Returns the URL of the WebSocket: the key is one segment of the path, after the base and before the query.
pub(crate) fn group_url(base: &str, key: &str, favored: bool) -> Result<String, JoinError> {
    if !(1..=MAX_KEY_BYTES).contains(&key.len()) || key == "." || key == ".." {
        return Err(JoinError::Key { bytes: key.len() });
    }
    let invalid = || JoinError::Url { url: base.to_owned() };
    let (scheme, rest) = base.trim().split_once("://").ok_or_else(invalid)?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(invalid()),
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut url = format!("{scheme}://{path}/");
    for byte in key.bytes() {
        // As `encodeURIComponent`.
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").expect("a String has room");
        }
    }
    let query = query.filter(|query| !query.is_empty());
    let parts: Vec<_> = query.into_iter().chain(favored.then_some("favored")).collect();
    if !parts.is_empty() {
        url = format!("{url}?{}", parts.join("&"));
    }
    sigver::client::Connector::new(&url).map(|_| url).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::tests::vectors::vectors;

    #[test]
    fn urls_are_those_of_the_vectors() {
        for entry in vectors("url") {
            let text = |key: &str| entry[key].as_str().unwrap_or_default();
            let url = group_url(text("base"), text("key"), entry["favored"] == true);
            assert_eq!(url.is_err(), entry["error"] == true, "{entry}: {url:?}");
            if let Ok(url) = url {
                assert_eq!(url, text("url"));
            }
        }
    }

    #[test]
    fn key_has_at_most_512_bytes() {
        assert!(group_url("ws://x", &"ü".repeat(256), false).is_ok());
        assert!(matches!(group_url("ws://x", &"ü".repeat(257), false), Err(JoinError::Key { bytes: 514 })));
        assert!(matches!(group_url("ws:///x", "key", false), Err(JoinError::Url { .. })));
    }
}
