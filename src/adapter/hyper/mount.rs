//! The path at which a service is mounted.

use std::fmt;
use std::sync::Arc;

/// A path without a trailing slash. Empty for the root.
#[derive(Clone, Debug, Default)]
pub(super) struct Mount(Arc<str>);

impl Mount {
    pub(super) fn new(path: &str) -> Self {
        match path.trim_matches('/') {
            "" => Self::default(),
            path => Self(format!("/{path}").into()),
        }
    }

    /// Returns the part of a path below the mount, without its leading slash. `None` if the path is not below it.
    pub(super) fn tail<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(&*self.0)? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
