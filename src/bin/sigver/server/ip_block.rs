//! The IP addresses that share a limit per IP.

use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 address, or an IPv6 /64 network, as in the hub's limits per IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct IpBlock(u64);

/// The first six segments of an IPv4 address behind a NAT64 gateway (RFC 6052).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

impl From<IpAddr> for IpBlock {
    fn from(ip: IpAddr) -> Self {
        match canonical(ip) {
            // Cannot collide with a network: no /64 network in use begins with 32 zero bits.
            IpAddr::V4(ip) => Self(u32::from(ip).into()),
            IpAddr::V6(ip) => Self((u128::from(ip) >> 64) as u64),
        }
    }
}

/// Returns the IPv4 address that an IPv6 address embeds, or otherwise the address itself.
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if ip.segments()[..6] == NAT64 => Ipv4Addr::from(u128::from(ip) as u32).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_counted_by_64_network_and_mapped_addresses_as_ipv4() {
        let block = |text: &str| IpBlock::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(block("2001:db8::1"), block("2001:db8::ffff:0:1"));
        assert_ne!(block("2001:db8::1"), block("2001:db8:0:1::1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        for mapped in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1"] {
            assert_eq!(block(mapped), block("192.0.2.1"));
        }
        assert_eq!(block("64:ff9b:1::192.0.2.1"), block("64:ff9b:1::"), "another prefix");
    }
}
