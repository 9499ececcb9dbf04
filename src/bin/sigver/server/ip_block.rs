//! The IP addresses that share a limit per IP.

use std::net::{IpAddr, Ipv4Addr};

/// Addresses that share a limit, as in the hub's limits per IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum IpBlock {
    /// An IPv4 address, or an IPv6 /64 network.
    Ip(u64),
    /// An IPv6 /48 network, the largest that a customer usually gets.
    Network48(u64),
}

/// How many times the limit of one IP applies to an IPv6 /48 network.
const NETWORK_SHARE: usize = 4;
/// The first six segments of an IPv4 address behind a NAT64 gateway (RFC 6052).
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

impl IpBlock {
    /// Returns the blocks of an address, the smallest first.
    pub(super) fn of(ip: IpAddr) -> Vec<Self> {
        match canonical(ip) {
            // Cannot collide with a network: no /64 network in use begins with 32 zero bits.
            IpAddr::V4(ip) => vec![Self::Ip(u32::from(ip).into())],
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                vec![Self::Ip((bits >> 64) as u64), Self::Network48((bits >> 80) as u64)]
            }
        }
    }

    /// Returns the limit of this block, from the limit of one IP.
    pub(super) fn limit(self, per_ip: usize) -> usize {
        match self {
            Self::Ip(_) => per_ip,
            Self::Network48(_) => per_ip.saturating_mul(NETWORK_SHARE),
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
    fn ipv6_is_counted_by_64_and_48_network_and_mapped_addresses_as_ipv4() {
        let blocks = |text: &str| IpBlock::of(text.parse().expect("an address"));
        assert_eq!(blocks("2001:db8::1"), blocks("2001:db8::ffff:0:1"));
        assert_ne!(blocks("2001:db8::1")[0], blocks("2001:db8:0:1::1")[0]);
        assert_eq!(blocks("2001:db8::1")[1], blocks("2001:db8:0:ffff::1")[1]);
        assert_ne!(blocks("2001:db8::1")[1], blocks("2001:db8:1::1")[1]);
        assert_ne!(blocks("192.0.2.1"), blocks("192.0.2.2"));
        for mapped in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1"] {
            assert_eq!(blocks(mapped), blocks("192.0.2.1"));
        }
        assert_eq!(blocks("64:ff9b:1::192.0.2.1"), blocks("64:ff9b:1::"), "another prefix");
    }
}
