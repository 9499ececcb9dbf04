//! A parameter of the path, percent-decoded.

use std::fmt;
use std::str::FromStr;

use crate::protocol::{GroupKey, KeyError};

/// A percent-decoded segment of the path, for `warp::path!` and `warp::path::param`. warp itself does not decode them, so
/// `acme%20inc` and `acme inc` would be two tenants.
///
/// It must have 1 to 512 bytes of UTF-8 when it is decoded. A path with another segment does not match.
///
/// ```
/// use sigver::warp::PathParam;
///
/// let tenant: PathParam = "acme%20inc".parse()?;
/// assert_eq!(tenant.as_str(), "acme inc");
/// # Ok::<(), sigver::protocol::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathParam(String);

impl PathParam {
    /// Returns the decoded text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PathParam {
    type Err = KeyError;

    fn from_str(segment: &str) -> Result<Self, KeyError> {
        // The rules for keys apply, because an app composes keys of it.
        GroupKey::from_percent_encoded(segment).map(|decoded| Self(decoded.as_str().to_owned()))
    }
}

impl AsRef<str> for PathParam {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PathParam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
