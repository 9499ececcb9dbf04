//! The settings of a connector.

use sigver::client::{Connector, JoinError, Retry};

use crate::servers::connector;

fn rule(result: Result<Connector, JoinError>) -> String {
    let error = result.expect_err("an invalid setting");
    assert_eq!(error.retry(), Retry::Never);
    error.to_string()
}

#[test]
fn headers_of_the_handshake_and_invalid_ones_are_rejected() {
    for (name, value, expected) in [
        ("", "x", "the name must be"),
        ("a b", "x", "the name must be"),
        ("a:", "x", "the name must be"),
        ("x-token", "a\r\nb: c", "no control characters"),
        ("x-token", "\0", "no control characters"),
        ("x-token", "\u{7f}", "no control characters"),
        ("Host", "a\r\nb: c", "no control characters"),
        ("Upgrade", "h2c", "every handshake"),
        ("connection", "close", "every handshake"),
        ("Content-Length", "1", "every handshake"),
        ("Transfer-Encoding", "chunked", "every handshake"),
        ("Sec-WebSocket-Key", "x", "every handshake"),
        ("sec-websocket-protocol", "x", "Connector::subprotocol"),
    ] {
        let text = rule(connector("ws://host").header(name, value));
        assert!(text.contains(expected), "{name}: {text}");
    }
    for value in ["", "Bearer a:b ~", "a\tb", "caf\u{e9}", "\u{85}"] {
        assert!(connector("ws://host").header("X-Token", value).is_ok(), "{value}");
    }
}

#[test]
fn subprotocols_are_tokens() {
    for name in ["", "a b", "a,b", "a/b", "\u{e9}", "a\r\n"] {
        assert!(rule(connector("ws://host").subprotocol(name)).contains("Sec-WebSocket-Protocol"), "{name}");
    }
    assert!(connector("ws://host").subprotocol("token.eyJh-_~").is_ok());
}

#[test]
fn ca_needs_at_least_one_certificate() {
    for (pem, expected) in [
        ("", "no certificate found"),
        ("-----BEGIN CERTIFICATE-----\n", "must be PEM"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "must be PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "must be PEM"),
    ] {
        let text = rule(connector("wss://host").ca(pem));
        assert!(text.contains(expected), "{pem:?}: {text}");
    }
}

#[test]
fn debug_output_has_no_credentials() {
    let connector = connector("wss://host/secret?secret").header("X-Token", "secret").expect("a valid header");
    let text = format!("{:?}", connector.subprotocol("secret").expect("a token"));
    assert!(text.contains("host") && text.contains("X-Token") && !text.contains("secret"), "{text}");
}
