//! The three kinds of ids, as distinct types.

use std::fmt;
use std::num::NonZeroU32;

/// One connection of one client. The hub assigns it; it is never sent over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[expect(clippy::exhaustive_structs, reason = "a number, and never anything else")]
pub struct PeerId(pub u64);

/// The id under which a peer is a member of its group: any 32 bits. The peer chooses it; it need not be unique.
///
/// Choose a random id of at least 2^31. Then it differs from every [`LinkId`], and almost certainly from other members'
/// ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[expect(clippy::exhaustive_structs, reason = "a number, and never anything else")]
pub struct MemberId(pub u32);

/// The id of a link between a joiner and a member: 1 to 2^31 - 1. Netflux tells member ids from link ids by the highest
/// bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LinkId(NonZeroU32);

impl LinkId {
    /// Creates a link id. `None` if `value` is 0 or has its highest bit set.
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(id) if value >> 31 == 0 => Some(Self(id)),
            _ => None,
        }
    }

    /// Returns the number that is sent over the wire.
    pub const fn value(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_id_has_31_bits_and_is_not_0() {
        assert_eq!(LinkId::new(0), None);
        assert_eq!(LinkId::new(1 << 31), None);
        assert_eq!(LinkId::new(u32::MAX), None);
        for value in [1, (1 << 31) - 1] {
            assert_eq!(LinkId::new(value).map(LinkId::value), Some(value));
        }
    }

    #[test]
    fn debug_shows_the_number_of_a_link_id() {
        assert_eq!(format!("{:?}", LinkId::new(7)), "Some(LinkId(7))");
    }
}
