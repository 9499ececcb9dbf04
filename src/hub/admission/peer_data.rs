//! The app's data of a peer.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The value that the app's [`Admission`](crate::Admission) gave a peer with [`PeerInfo::data`](crate::PeerInfo::data).
///
/// A clone is cheap and refers to the same value. Two are equal if they refer to the same value, or if both are empty;
/// the values are not compared. `Debug` does not show the value, which may be a secret.
#[derive(Clone, Default)]
pub struct PeerData(Option<Arc<dyn Any + Send + Sync>>);

impl PeerData {
    pub(super) fn new(value: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// Returns the value. `None` if the app gave the peer no value, or one of another type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }

    /// Returns whether the app gave the peer no value.
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl PartialEq for PeerData {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(value), Some(other)) => Arc::ptr_eq(value, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for PeerData {}

impl fmt::Debug for PeerData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "PeerData(None)" } else { "PeerData(..)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_read_as_its_own_type_only() {
        let data = PeerData::new(7_u32);
        assert_eq!((data.get::<u32>(), data.get::<i32>()), (Some(&7), None));
        assert_eq!(PeerData::default().get::<u32>(), None);
    }

    #[test]
    fn data_equals_its_clones_and_debug_hides_it() {
        let data = PeerData::new("secret");
        assert_eq!(data.clone(), data);
        assert_ne!(PeerData::new("secret"), data);
        assert_ne!(PeerData::default(), data);
        assert_eq!(PeerData::default(), PeerData::default());
        assert_eq!(format!("{data:?} {:?}", PeerData::default()), "PeerData(..) PeerData(None)");
    }
}
