//! What identifies nodes, peers and groups between nodes.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::protocol::{GroupKey, PeerId};

/// One incarnation of a node: a random number. A node draws a new one when it starts, and when it learns that the other
/// nodes declared it dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs, reason = "a backplane of an app creates it; fuzz includes this file privately")]
pub struct NodeId(pub u64);

/// One peer of a cluster. No two peers have the same token, whichever nodes they are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(clippy::exhaustive_structs, reason = "a backplane of an app creates it; fuzz includes this file privately")]
pub struct Token {
    /// The node that the peer is connected to.
    pub node: NodeId,
    /// The peer on that node.
    pub peer: PeerId,
}

/// Identifies a group in a backplane: the first 16 bytes of the SHA-256 of its key. Keys never leave a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupTag([u8; 16]);

impl GroupTag {
    /// Returns the tag of a group.
    pub fn new(key: &GroupKey) -> Self {
        let digest = Sha256::digest(key.as_str().as_bytes());
        Self(*digest.first_chunk().expect("a SHA-256 has 32 bytes"))
    }

    /// Creates a tag from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the tag.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupTag({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_the_start_of_the_sha_256_of_the_key() {
        let key = GroupKey::new("abc").expect("a valid key");
        // The test vector of FIPS 180-4 for "abc".
        assert_eq!(GroupTag::new(&key).to_string(), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(GroupTag::from_bytes(GroupTag::new(&key).to_bytes()), GroupTag::new(&key));
    }
}
