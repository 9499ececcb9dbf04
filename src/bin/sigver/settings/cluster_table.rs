//! The table `cluster` of the file, which has the settings whose names begin with `cluster_`.

/// The name of the table.
pub(super) const TABLE: &str = "cluster";

const PREFIX: &str = "cluster_";

/// Returns whether the setting with this name is in the table.
pub(super) fn is_in_table(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Returns the name of a setting where the file has it: in the table, without the prefix.
pub(super) fn name_in_table(name: &'static str) -> &'static str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}
