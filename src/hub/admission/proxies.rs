//! Where a peer comes from when there are proxies in between.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use ipnet::IpNet;

use super::request::JoinRequest;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The header by which proxies say whom they speak for.
///
/// Choose the one that the proxies themselves write: the other one comes from the peer as it is, who may say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientIpHeader {
    /// `X-Forwarded-For`, what most proxies write.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(in crate::hub) struct TrustedProxies {
    trusted: Vec<IpNet>,
    header: Option<ClientIpHeader>,
}

impl TrustedProxies {
    pub(in crate::hub) fn new(header: ClientIpHeader) -> Self {
        Self { trusted: Vec::new(), header: Some(header) }
    }

    /// Adds an address or a network, or says what must be.
    pub(in crate::hub) fn trust(&mut self, text: &str) -> Result<(), &'static str> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network: IpNet = network.map_err(|_| "must be an IP address or a CIDR network, such as 10.0.0.0/8")?;
        if matches!(network.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
            return Err("must be a plain IPv4 address, without ::ffff:");
        }
        if network.prefix_len() == 0 {
            return Err("must be a network of your proxies; this one trusts every client");
        }
        self.trusted.push(network);
        Ok(())
    }

    /// The first address, seen from here, that is none of a trusted proxy.
    pub(in crate::hub) fn client_ip(&self, request: &JoinRequest) -> Option<IpAddr> {
        let mut client = request.client_ip()?.to_canonical();
        let (Some(header), Some(head)) = (self.header, request.parts()) else { return Some(client) };
        let mut claims = claims(&head.headers, header);
        while self.trusts(client) {
            match claims.pop() {
                Some(Some(before)) => client = before.to_canonical(),
                // There is nobody before this one, or nobody who can be named.
                Some(None) | None => break,
            }
        }
        Some(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Whom each proxy says that it speaks for, the farthest first. `None` for what is no address: `unknown`, `_hidden`.
fn claims(headers: &HeaderMap, header: ClientIpHeader) -> Vec<Option<IpAddr>> {
    let name = match header {
        ClientIpHeader::XForwardedFor => X_FORWARDED_FOR,
        ClientIpHeader::Forwarded => FORWARDED,
    };
    // A proxy may write behind what the peer wrote, which need not be text.
    let lines = headers.get_all(name).iter().rev().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let mut claims = Vec::new();
    for line in lines {
        match header {
            ClientIpHeader::XForwardedFor => claims.extend(line.rsplit(',').map(address)),
            ClientIpHeader::Forwarded => claims.extend(split(&line, ',').map(forwarded_for)),
        }
    }
    claims.reverse();
    claims
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = split(element, ';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

/// Splits outside of quotes, and begins at the end, which a trusted proxy wrote: what is before that may leave a quote
/// open.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut at) = (false, text.len());
    text.rsplit(move |c: char| {
        at -= c.len_utf8();
        let escapes = || text[..at].bytes().rev().take_while(|&byte| byte == b'\\').count();
        quoted ^= c == '"' && escapes() % 2 == 0;
        c == separator && !quoted
    })
}

/// An address, with or without a port, one of IPv6 in brackets then.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who the client is, for a connection from `peer`, with 10.0.0.0/8 and fd00::/8 trusted.
    fn client(header: ClientIpHeader, peer: &str, lines: &[(&str, &str)]) -> String {
        let mut proxies = TrustedProxies::new(header);
        ["10.0.0.0/8", "fd00::/8", "192.0.2.200"].iter().for_each(|text| proxies.trust(text).expect(text));
        let mut request = http::Request::builder();
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let request = JoinRequest::from("K").with_client_ip(address(peer).expect("an address")).with_parts(head);
        proxies.client_ip(&request).expect("it has an address").to_string()
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_right_and_only_past_trusted_proxies() {
        let client = |peer, value| client(ClientIpHeader::XForwardedFor, peer, &[("x-forwarded-for", value)]);
        assert_eq!(client("10.0.0.1", "192.0.2.7"), "192.0.2.7");
        assert_eq!(client("10.0.0.1", "1.1.1.1, 192.0.2.7"), "192.0.2.7", "what a client wrote itself");
        assert_eq!(client("10.0.0.1", "192.0.2.7, 10.2.3.4, 192.0.2.200"), "192.0.2.7");
        assert_eq!(client("192.0.2.9", "1.1.1.1"), "192.0.2.9", "who is no proxy says nothing");
        assert_eq!(client("10.0.0.1", "10.0.0.2, 10.0.0.3"), "10.0.0.2", "trusted all the way");
        assert_eq!(client("10.0.0.1", "192.0.2.7:1234"), "192.0.2.7");
        assert_eq!(client("::ffff:10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
        for silent in ["", "unknown", "1.1.1.1, garbage", ",", "300.1.1.1"] {
            assert_eq!(client("10.0.0.1", silent), "10.0.0.1", "{silent}");
        }
    }

    #[test]
    fn more_lines_are_one_list() {
        let lines = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(ClientIpHeader::XForwardedFor, "10.0.0.1", &lines), "192.0.2.7");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        let client = |value| client(ClientIpHeader::Forwarded, "fd00::1", &[("forwarded", value)]);
        assert_eq!(client("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60");
        assert_eq!(client("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
        assert_eq!(client("for=1.1.1.1, for=192.0.2.43, for=10.9.9.9;host=\"a,b;for=2.2.2.2\""), "192.0.2.43");
        for hidden in ["for=unknown", "for=_hidden", "proto=https", "for", "\"for=1.1.1.1"] {
            assert_eq!(client(hidden), "fd00::1", "{hidden}");
        }
    }

    #[test]
    fn what_a_peer_wrote_does_not_hide_what_a_proxy_wrote_behind_it() {
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
        let value = http::HeaderValue::from_bytes(b"\xe9, 192.0.2.7").expect("a header's value");
        let (head, ()) =
            http::Request::builder().header("x-forwarded-for", value).body(()).expect("sound").into_parts();
        let request = JoinRequest::from("K").with_client_ip([10, 0, 0, 1].into()).with_parts(head);
        assert_eq!(proxies.client_ip(&request), Some([192, 0, 2, 7].into()));
    }

    #[test]
    fn only_the_chosen_header_is_read() {
        let lines = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "2.2.2.2")];
        assert_eq!(client(ClientIpHeader::XForwardedFor, "10.0.0.1", &lines), "2.2.2.2");
        assert_eq!(client(ClientIpHeader::Forwarded, "10.0.0.1", &lines), "1.1.1.1");
    }

    #[test]
    fn what_is_no_network_is_an_error() {
        for wrong in ["", "proxy.example", "10.0.0.0/33", "0.0.0.0/0", "::/0", "::ffff:10.0.0.1"] {
            assert!(TrustedProxies::new(ClientIpHeader::Forwarded).trust(wrong).is_err(), "{wrong}");
        }
    }
}
