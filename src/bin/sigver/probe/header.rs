//! A header that the probe sends in addition to those of the WebSocket handshake.

use std::str::FromStr;

use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, ORIGIN, TRANSFER_ENCODING, UPGRADE};

#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(super) name: HeaderName,
    /// Without its content in `Debug`: it can be a credential.
    pub(super) value: HeaderValue,
}

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let (name, value) = text.split_once(':').ok_or(HeaderError::Form)?;
        let name: HeaderName = name.trim().parse().map_err(|_| HeaderError::Form)?;
        // The type allows other bytes, and tungstenite does not send them.
        let value = HeaderValue::from_str(value.trim()).ok().filter(|value| value.to_str().is_ok());
        let mut value = value.ok_or(HeaderError::Value)?;
        value.set_sensitive(true);
        if name == ORIGIN {
            return Err(HeaderError::Origin);
        }
        let is_of_http = [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name);
        if is_of_http || name.as_str().starts_with("sec-websocket-") {
            return Err(HeaderError::Handshake);
        }
        Ok(Self { name, value })
    }
}

/// Why a text is not a header to send.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("must be NAME: VALUE")]
    Form,
    #[error("the value must contain visible ASCII characters only")]
    Value,
    #[error("use --origin")]
    Origin,
    #[error("is part of each handshake")]
    Handshake,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed_and_those_of_the_handshake_are_rejected() {
        for (text, value) in [("X-Token: a:b", "a:b"), ("x-token:a:b ", "a:b"), ("x-token:", "")] {
            let header: Header = text.parse().expect("a header");
            assert_eq!((header.name.as_str(), header.value.to_str().expect("ASCII")), ("x-token", value), "{text}");
            assert!(value.is_empty() || !format!("{header:?}").contains(value), "the value can be a credential");
        }
        for (text, expected) in [
            ("token", HeaderError::Form),
            (": value", HeaderError::Form),
            ("a b: value", HeaderError::Form),
            ("name: a\r\nb: c", HeaderError::Value),
            ("name: \u{e9}", HeaderError::Value),
            ("Origin: https://app.example", HeaderError::Origin),
            ("Upgrade: websocket", HeaderError::Handshake),
            ("Sec-WebSocket-Key: x", HeaderError::Handshake),
            ("Content-Length: 1", HeaderError::Handshake),
        ] {
            assert_eq!(text.parse::<Header>().expect_err(text), expected, "{text}");
        }
    }
}
