//! The address of a server.

use std::fmt;
use std::net::IpAddr;

/// A host name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Parses `host`, `host:port`, `[ip]` or `[ip]:port`. Returns `None` if it is invalid.
    pub(super) fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, port) = rest.split_once(']')?;
                ip.parse::<IpAddr>().ok()?;
                (ip, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let is_valid = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        if host.is_empty() || !host.chars().all(is_valid) {
            return None;
        }
        let port = port.map_or(Some(default_port), |port| port.parse().ok().filter(|&port| port != 0))?;
        Some(Self { host: host.to_owned(), port })
    }

    /// Parses the `host:port` of a redirection, whose IP addresses have no brackets. Without a host, it is the host of
    /// the server that redirects.
    pub(super) fn parse_redirection(text: &str, from: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { &from.host } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    pub(super) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    #[test]
    fn port_is_optional_and_ip_v6_has_brackets() {
        for (text, expected) in [
            ("a.example", address("a.example", 6379)),
            ("a.example:7000", address("a.example", 7000)),
            ("[::1]", address("::1", 6379)),
            ("[::1]:7000", address("::1", 7000)),
        ] {
            assert_eq!(Address::parse(text, 6379), Some(expected), "{text}");
        }
        for text in ["", ":1", "a:", "a:0", "a:65536", "a:b", "::1", "[::1", "[::1]7000", "[a]:1", "a b", "u@h", "a,b"]
        {
            assert_eq!(Address::parse(text, 6379), None, "{text}");
        }
    }

    #[test]
    fn redirection_without_a_host_names_the_same_host() {
        let from = address("10.0.0.1", 1);
        for (text, expected) in [
            ("10.0.0.2:7000", Some(address("10.0.0.2", 7000))),
            (":7000", Some(address("10.0.0.1", 7000))),
            ("fe80::1:7000", Some(address("fe80::1", 7000))),
            ("nowhere", None),
        ] {
            assert_eq!(Address::parse_redirection(text, &from), expected, "{text}");
        }
    }

    #[test]
    fn loopback_is_recognized_in_each_form() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(address(host, 1).is_loopback(), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1", "128.0.0.1", "::2", "0.0.0.0"] {
            assert!(!address(host, 1).is_loopback(), "{host}");
        }
    }

    #[test]
    fn ip_v6_is_displayed_in_brackets() {
        assert_eq!(address("::1", 1).to_string(), "[::1]:1");
        assert_eq!(address("a", 1).to_string(), "a:1");
    }
}
