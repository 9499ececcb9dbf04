//! What is wrong with a setting.

/// A setting that makes no sense.
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

    /// The setting's name: that of its method of [`HubBuilder`](super::HubBuilder), or `secret` for one of signed keys.
    pub fn field(&self) -> &'static str {
        self.field
    }
}
