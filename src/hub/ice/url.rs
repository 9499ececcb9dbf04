//! The URLs of ICE servers (RFC 7064 and RFC 7065).

/// The kind of an ICE server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Stun,
    Turn,
}

impl Kind {
    /// Checks a URL. The error is the rule that it violates.
    ///
    /// A browser rejects the whole list of servers if one URL is invalid.
    pub(super) fn check(self, url: &str) -> Result<(), &'static str> {
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        // Browsers ignore the case of a scheme, but other clients may not.
        match (self, scheme) {
            (Self::Stun, "stun" | "stuns") | (Self::Turn, "turn" | "turns") => {}
            (Self::Stun, "turn" | "turns") => return Err("must be a stun: or stuns: URL"),
            (Self::Turn, "stun" | "stuns") => return Err("must be a turn: or turns: URL"),
            _ => return Err("must be a stun:, stuns:, turn: or turns: URL, such as turn:turn.example:3478"),
        }
        let authority = match (self, rest.split_once('?')) {
            (Self::Turn, Some((authority, "transport=udp" | "transport=tcp"))) => authority,
            (Self::Turn, Some(_)) => return Err("must have no query except ?transport=udp or ?transport=tcp"),
            (Self::Stun, Some(_)) => return Err("must have no query"),
            (_, None) => rest,
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if port.is_some_and(|port| port.starts_with('+') || !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err("must have a port from 1 to 65535, or none");
        }
        let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name = |host: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !host.is_empty() && host.chars().all(is_part)
        };
        match ipv6 {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => Ok(()),
            None if is_name(host) => Ok(()),
            _ => Err("must have a host name (punycode) or an IP address, without a path, a user or //"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_port_and_transport_are_accepted() {
        for url in ["stun:stun.example", "stuns:stun.example:5349", "stun:192.0.2.1:1", "stun:[2001:db8::1]:65535"] {
            assert_eq!(Kind::Stun.check(url), Ok(()), "{url}");
            assert!(Kind::Turn.check(url).is_err(), "{url}");
        }
        for url in [
            "turn:turn.example",
            "turns:turn.example:443?transport=tcp",
            "turn:192.0.2.1?transport=udp",
            "turn:[::1]?transport=udp",
            "turn:_a-b.xn--caf-dma.example:3478",
        ] {
            assert_eq!(Kind::Turn.check(url), Ok(()), "{url}");
            assert!(Kind::Stun.check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for rest in [
            "",
            ":",
            ":3478",
            "//turn.example",
            "user@turn.example",
            "turn.example/",
            "turn.example:",
            "turn.example:0",
            "turn.example:+1",
            "turn.example:65536",
            "turn.example:port",
            "turn.example:1:2",
            "turn.example#fragment",
            "turn example",
            "café.example",
            "[::1",
            "[turn.example]",
            "[]",
            "2001:db8::1",
            "turn.example?",
            "turn.example?transport=sctp",
            "turn.example?transport=udp&x=1",
        ] {
            for (kind, scheme) in [(Kind::Stun, "stun"), (Kind::Turn, "turns")] {
                assert!(kind.check(&format!("{scheme}:{rest}")).is_err(), "{scheme}:{rest}");
            }
        }
        for url in ["", "turn", "turn.example", "https://turn.example", "TURN:turn.example", " turn:turn.example"] {
            assert!(Kind::Stun.check(url).is_err() && Kind::Turn.check(url).is_err(), "{url}");
        }
        assert!(Kind::Stun.check("stun:stun.example?transport=udp").is_err(), "RFC 7064 has no transport");
    }
}
