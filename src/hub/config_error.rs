//! Why there is no hub.

/// A limit that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}; it has to be {rule}")]
pub struct ConfigError {
    field: &'static str,
    value: String,
    rule: &'static str,
}

impl ConfigError {
    pub(super) fn new(field: &'static str, value: String, rule: &'static str) -> Self {
        Self { field, value, rule }
    }

    /// The limit's name, which is that of its method of [`HubBuilder`].
    pub fn field(&self) -> &'static str {
        self.field
    }
}
