//! The IP addresses that share limits per IP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// Addresses that share limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IpBlock {
    /// An IPv4 address, or an IPv6 /64 network, the smallest that a customer gets. An IPv4 address cannot collide with
    /// a network, because no /64 network in use begins with 32 zero bits.
    Ip(u64),
    /// An IPv6 /48 network, the largest that a customer usually gets.
    Network48(u64),
}

/// The factor from the limits of one IP to those of an IPv6 /48 network. A customer with such a network has 65 536
/// networks of the size that counts as one IP.
const NETWORK_FACTOR: u32 = 4;

impl IpBlock {
    /// Returns the blocks of an address: the one that counts as an IP, and the IPv6 network around it.
    pub(crate) fn of(ip: IpAddr) -> (Self, Option<Self>) {
        match canonical(ip) {
            IpAddr::V4(ip) => (Self::Ip(u32::from(ip).into()), None),
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                (Self::Ip((bits >> 64) as u64), Some(Self::Network48((bits >> 80) as u64)))
            }
        }
    }

    /// Returns a limit of this block, from the limit of one IP.
    pub(crate) fn limit(self, per_ip: usize) -> usize {
        per_ip.saturating_mul(self.factor() as usize)
    }

    /// Returns a rate of this block, from the rate of one IP.
    pub(super) fn rate(self, per_ip: u32) -> u64 {
        u64::from(per_ip) * u64::from(self.factor())
    }

    fn factor(self) -> u32 {
        match self {
            Self::Ip(_) => 1,
            Self::Network48(_) => NETWORK_FACTOR,
        }
    }
}

/// The name of the block in close reasons.
impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip(_) => "IP",
            Self::Network48(_) => "/48 network",
        })
    }
}

/// Returns the IPv4 address that an IPv6 address embeds, or otherwise the address itself.
///
/// The IPv6 address is IPv4-mapped (::ffff:0:0/96) or was translated by NAT64 (64:ff9b::/96, RFC 6052).
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            Ipv4Addr::from(u128::from(ip) as u32).into()
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ipv6_counts_by_64_and_48_network_and_addresses_that_embed_ipv4_as_ipv4() {
        let blocks = |text| IpBlock::of(ip(text));
        assert_eq!(blocks("2001:db8::1"), blocks("2001:db8::ffff:0:1"));
        assert_ne!(blocks("2001:db8::1").0, blocks("2001:db8:0:1::1").0);
        assert_eq!(blocks("2001:db8::1").1, blocks("2001:db8:0:ffff::1").1);
        assert_ne!(blocks("2001:db8::1").1, blocks("2001:db8:1::1").1);
        for same in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1"] {
            assert_eq!(blocks(same), blocks("192.0.2.1"));
            assert_eq!(canonical(ip(same)), ip("192.0.2.1"));
        }
        assert_ne!(blocks("192.0.2.1"), blocks("192.0.2.2"));
        assert_eq!(canonical(ip("64:ff9b:1::c000:201")), ip("64:ff9b:1::c000:201"), "a local-use prefix");
    }
}
