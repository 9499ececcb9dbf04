//! The client IP of a connection that passed through trusted proxies.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use super::ip_block::canonical;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The header in which proxies report the client IP.
///
/// Choose the header that your proxies set. They pass the other header on unchanged, so a client can forge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientIpHeader {
    /// `X-Forwarded-For`, which most proxies set.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies whose client IP header the hub trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustedProxies {
    trusted: Vec<IpNet>,
    header: Option<ClientIpHeader>,
}

impl TrustedProxies {
    pub(in crate::hub) fn new(header: ClientIpHeader) -> Self {
        Self { trusted: Vec::new(), header: Some(header) }
    }

    /// Adds an address or a network. The error is the rule that `text` violates.
    pub(crate) fn trust(&mut self, text: &str) -> Result<(), &'static str> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network: IpNet = network.map_err(|_| "must be an IP address or a CIDR network, such as 10.0.0.0/8")?;
        if canonical(network.addr()) != network.addr() {
            return Err("must be a plain IPv4 address, without ::ffff: or 64:ff9b::");
        }
        if network.prefix_len() == 0 {
            return Err("must be a network of your proxies; this one trusts every client");
        }
        self.trusted.push(network);
        Ok(())
    }

    /// Returns the client IP of a connection from `socket`: the first address that is not a trusted proxy, beginning
    /// with `socket` and continuing with the header from right to left.
    pub(in crate::hub) fn client_ip(&self, socket: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = canonical(socket);
        let Some(header) = self.header else { return client };
        let mut hops = forwarded_for(headers, header);
        while self.trusts(client) {
            match hops.pop() {
                Some(Some(previous)) => client = canonical(previous),
                // The proxy reported no client, or one without an address.
                Some(None) | None => break,
            }
        }
        client
    }

    /// Returns whether a connection from `socket` has a header of a proxy that is not trusted.
    pub(in crate::hub) fn ignores_header(&self, socket: IpAddr, headers: &HeaderMap) -> bool {
        let is_forwarded = headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
        is_forwarded && !self.trusts(canonical(socket))
    }

    /// Returns whether an address is a trusted proxy. It must be canonical.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Returns the client that each proxy reports, the farthest first. `None` for values such as `unknown` and `_hidden`.
fn forwarded_for(headers: &HeaderMap, header: ClientIpHeader) -> Vec<Option<IpAddr>> {
    let name = match header {
        ClientIpHeader::XForwardedFor => X_FORWARDED_FOR,
        ClientIpHeader::Forwarded => FORWARDED,
    };
    // A proxy may append to a value that the client sent, and that value can be any bytes.
    let lines = headers.get_all(name).iter().rev().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let mut hops = Vec::new();
    for line in lines {
        match header {
            ClientIpHeader::XForwardedFor => hops.extend(line.rsplit(',').map(address)),
            ClientIpHeader::Forwarded => hops.extend(split(&line, ',').map(for_parameter)),
        }
    }
    hops.reverse();
    hops
}

/// Returns the address in the `for` parameter of one element of `Forwarded`.
fn for_parameter(element: &str) -> Option<IpAddr> {
    let mut pairs = split(element, ';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

/// Splits outside of quotes, from the end: a trusted proxy wrote the end, but the client may have sent an unclosed quote
/// before it.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut at) = (false, text.len());
    text.rsplit(move |c: char| {
        at -= c.len_utf8();
        let escapes = || text[..at].bytes().rev().take_while(|&byte| byte == b'\\').count();
        quoted ^= c == '"' && escapes() % 2 == 0;
        c == separator && !quoted
    })
}

/// Parses an address with an optional port. An IPv6 address with a port is in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the client IP of a connection from `socket`, with 10.0.0.0/8, fd00::/8 and 192.0.2.200 trusted.
    fn client(header: ClientIpHeader, socket: &str, lines: &[(&str, &str)]) -> String {
        let mut proxies = TrustedProxies::new(header);
        ["10.0.0.0/8", "fd00::/8", "192.0.2.200"].iter().for_each(|text| proxies.trust(text).expect(text));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        proxies.client_ip(address(socket).expect("an address"), &headers).to_string()
    }

    #[test]
    fn x_forwarded_for_is_read_from_right_to_left_past_trusted_proxies() {
        let client = |socket, value| client(ClientIpHeader::XForwardedFor, socket, &[("x-forwarded-for", value)]);
        assert_eq!(client("10.0.0.1", "192.0.2.7"), "192.0.2.7");
        assert_eq!(client("10.0.0.1", "1.1.1.1, 192.0.2.7"), "192.0.2.7", "the client forged the first entry");
        assert_eq!(client("10.0.0.1", "192.0.2.7, 10.2.3.4, 192.0.2.200"), "192.0.2.7");
        assert_eq!(client("192.0.2.9", "1.1.1.1"), "192.0.2.9", "the header of an untrusted socket is ignored");
        assert_eq!(client("10.0.0.1", "10.0.0.2, 10.0.0.3"), "10.0.0.2", "all hops are trusted");
        assert_eq!(client("10.0.0.1", "192.0.2.7:1234"), "192.0.2.7");
        assert_eq!(client("::ffff:10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(client("64:ff9b::10.0.0.1", "64:ff9b::192.0.2.7"), "192.0.2.7");
        for unusable in ["", "unknown", "1.1.1.1, garbage", ",", "300.1.1.1"] {
            assert_eq!(client("10.0.0.1", unusable), "10.0.0.1", "{unusable}");
        }
    }

    #[test]
    fn repeated_header_lines_are_one_list() {
        let lines = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(ClientIpHeader::XForwardedFor, "10.0.0.1", &lines), "192.0.2.7");
    }

    #[test]
    fn forwarded_is_parsed_as_in_rfc_7239() {
        let client = |value| client(ClientIpHeader::Forwarded, "fd00::1", &[("forwarded", value)]);
        assert_eq!(client("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
        assert_eq!(client("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(client("for=1.1.1.1, for=192.0.2.43, for=10.9.9.9;host=\"a,b;for=2.2.2.2\""), "192.0.2.43");
        for hidden in ["for=unknown", "for=_hidden", "proto=https", "for", "\"for=1.1.1.1"] {
            assert_eq!(client(hidden), "fd00::1", "{hidden}");
        }
    }

    #[test]
    fn malformed_value_from_the_client_does_not_hide_the_entry_of_a_proxy() {
        fn forwarded(value: &str) -> String {
            client(ClientIpHeader::Forwarded, "10.0.0.1", &[("forwarded", value)])
        }
        for before in ["for=1.1.1.1;x=\"", "for=\"", "for=1.1.1.1;host=\"a\\\"", "\\\"", "\\\\\""] {
            let value = format!("{before}, for=192.0.2.7");
            assert_eq!(forwarded(&value), "192.0.2.7", "{before}");
        }
        assert_eq!(forwarded("for=192.0.2.7;host=\"a\\\", for=1.1.1.1;x=\\\"\""), "192.0.2.7");

        let mut proxies = TrustedProxies::new(ClientIpHeader::XForwardedFor);
        proxies.trust("10.0.0.1").expect("an address");
        let value = http::HeaderValue::from_bytes(b"\xe9, 192.0.2.7").expect("a header value");
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, value)]);
        assert_eq!(proxies.client_ip([10, 0, 0, 1].into(), &headers), IpAddr::from([192, 0, 2, 7]));
    }

    #[test]
    fn only_the_chosen_header_is_read() {
        let lines = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
        assert_eq!(client(ClientIpHeader::XForwardedFor, "10.0.0.1", &lines), "2.2.2.2");
        assert_eq!(client(ClientIpHeader::Forwarded, "10.0.0.1", &lines), "1.1.1.1");
    }

    #[test]
    fn header_is_ignored_only_from_an_address_outside_the_trusted_proxies() {
        let mut proxies = TrustedProxies::new(ClientIpHeader::XForwardedFor);
        proxies.trust("10.0.0.0/8").expect("a network");
        let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, http::HeaderValue::from_static("192.0.2.7"))]);
        let ignores = |socket: &str| proxies.ignores_header(address(socket).expect("an address"), &headers);
        for trusted in ["10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"] {
            assert!(!ignores(trusted), "{trusted}");
        }
        for other in ["192.0.2.9", "64:ff9b::192.0.2.9", "64:ff9b:1::10.0.0.1"] {
            assert!(ignores(other), "{other}");
        }
    }

    #[test]
    fn invalid_network_is_an_error() {
        for wrong in ["", "proxy.example", "10.0.0.0/33", "0.0.0.0/0", "::/0", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"] {
            assert!(TrustedProxies::new(ClientIpHeader::Forwarded).trust(wrong).is_err(), "{wrong}");
        }
    }
}
