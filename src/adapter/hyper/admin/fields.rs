//! The fields that the app adds to the status.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Fields in the order in which the app added them. Their values are determined when they are serialized.
#[derive(Clone, Default)]
pub(super) struct Fields(Arc<[Field]>);

type Field = (&'static str, Arc<dyn Fn() -> Value + Send + Sync>);

impl Fields {
    pub(super) fn with(&self, name: &'static str, value: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        let field: Field = (name, Arc::new(value));
        Self(self.0.iter().cloned().chain([field]).collect())
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value())))
    }
}
