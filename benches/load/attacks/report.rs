//! How the connections of an attack ended.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::client::End;

/// The report that the process of an attack prints as one line of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) attackers: Tally,
    /// The members that an attack floods. They behave well.
    pub(crate) flooded: Tally,
}

/// The connections of one kind of peers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) started: usize,
    /// The number of connections that the server ended, by how it ended them.
    pub(crate) ended: BTreeMap<String, usize>,
}

impl Tally {
    pub(super) fn count_end(&mut self, end: End) {
        *self.ended.entry(end.to_string()).or_default() += 1;
    }

    /// Returns the number of connections that the server ended.
    pub(crate) fn ended(&self) -> usize {
        self.ended.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.ended(), self.started)?;
        for (end, count) in &self.ended {
            write!(f, ", {end}: {count}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).expect("a report is valid JSON"))
    }
}
