//! Settings in the format of the file.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Settings;
use super::cluster_table::{TABLE, is_in_table, name_in_table};

/// The similarity at which a setting is suggested for an unknown name. clap uses the same for its flags.
const MIN_SIMILARITY: f64 = 0.7;

/// Reads settings as TOML. An unknown name is an error.
pub(crate) fn parse(text: &str) -> Result<Settings, toml::de::Error> {
    let mut settings = Settings::default();
    Entries { settings: &mut settings, in_table: false }.deserialize(toml::Deserializer::parse(text)?)?;
    Ok(settings)
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write_values(&mut map)?;
        map.serialize_entry(TABLE, &Table(self))?;
        map.end()
    }
}

/// The table `cluster`.
struct Table<'a>(&'a Settings);

impl Serialize for Table<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.write_cluster_values(&mut map)?;
        map.end()
    }
}

/// Reads the settings outside of the table `cluster`, or those in it.
struct Entries<'a> {
    settings: &'a mut Settings,
    in_table: bool,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { settings, in_table } = self;
        while let Some(name) = map.next_key_seed(NameVisitor { in_table })? {
            match name {
                TABLE => map.next_value_seed(Entries { settings, in_table: true })?,
                name => settings.read_value(name, &mut map)?,
            }
        }
        Ok(())
    }
}

/// Reads the name of a setting, or that of the table. As a seed it reports an unknown name at its position in the file.
struct NameVisitor {
    in_table: bool,
}

impl<'de> DeserializeSeed<'de> for NameVisitor {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameVisitor {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a setting")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<&'static str, E> {
        let Self { in_table } = self;
        if !in_table && name == TABLE {
            return Ok(TABLE);
        }
        let candidates = || Settings::NAMES.iter().filter(|known| is_in_table(known) == in_table);
        if let Some(known) = candidates().find(|known| name_in_table(known) == name) {
            return Ok(known);
        }
        // With the names in the table too: a flag is called `cluster-url`, and the setting of the file `cluster.url`.
        let path = |known: &&'static str| match is_in_table(known) {
            true => format!("{TABLE}.{}", name_in_table(known)),
            false => (*known).to_owned(),
        };
        let name = if in_table { format!("{TABLE}.{name}") } else { name.to_owned() };
        let nearest = Settings::NAMES.iter().map(path).map(|path| (strsim::jaro(&path, &name), path));
        Err(E::custom(match nearest.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((similarity, nearest)) if similarity > MIN_SIMILARITY => {
                format!("unknown setting `{name}`; did you mean `{nearest}`?")
            }
            _ => {
                let names: Vec<_> = candidates().map(path).collect();
                format!("unknown setting `{name}`; must be one of {}", names.join(", "))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of the documentation, each behind a `#`.
    const EXAMPLE: &str = include_str!("../../../../examples/deploy/sigver.toml");

    #[test]
    fn example_sets_nothing_and_has_every_setting_with_its_default() {
        let table = |settings| toml::Table::try_from(settings).expect("every setting can be written as TOML");
        let find = |table: &toml::Table, name: &'static str| match is_in_table(name) {
            true => table.get(TABLE)?.get(name_in_table(name)).cloned(),
            false => table.get(name).cloned(),
        };
        let as_it_is = table(parse(EXAMPLE).expect("the example is valid"));
        // A space follows the `#` of a comment.
        let is_setting = |text: &str| text.starts_with(|first: char| first.is_ascii_lowercase());
        let uncomment = |line: &'static str| line.strip_prefix('#').filter(|text| is_setting(text)).unwrap_or(line);
        let text: Vec<_> = EXAMPLE.lines().map(uncomment).collect();
        let example = table(parse(&text.join("\n")).expect("the settings of the example are valid"));
        let defaults = table(Settings::defaults());
        for name in Settings::NAMES {
            assert_eq!(find(&as_it_is, name), None, "{name} is not a comment");
            let value = find(&example, name).unwrap_or_else(|| panic!("{name} is missing"));
            let default = find(&defaults, name).unwrap_or_else(|| value.clone());
            assert_eq!(value, default, "{name} has another default");
        }
    }

    #[test]
    fn every_setting_is_read_from_the_file() {
        assert!(Settings::NAMES.len() > 45, "{:?}", Settings::NAMES);
        for name in Settings::NAMES {
            let table = if is_in_table(name) { "[cluster]\n" } else { "" };
            // No setting has a table as its value, so reading the value fails.
            let error = parse(&format!("{table}{} = {{}}", name_in_table(name))).err().expect(name);
            assert!(!error.to_string().contains("unknown setting"), "{error}");
        }
    }

    #[test]
    fn setting_of_a_cluster_is_read_in_its_table_only() {
        for text in ["[cluster]\nurl = \"U\"", "cluster.url = \"U\"", "cluster = { url = \"U\" }"] {
            assert_eq!(parse(text).expect(text).cluster_url.as_deref(), Some("U"), "{text}");
        }
        for (text, expected) in [
            ("cluster_url = \"U\"", "unknown setting `cluster_url`; did you mean `cluster.url`?"),
            ("[cluster]\ncluster_url = \"U\"", "unknown setting `cluster.cluster_url`; did you mean `cluster."),
            ("[cluster]\nuri = \"U\"", "unknown setting `cluster.uri`; did you mean `cluster.url`?"),
            ("[cluster]\nport = 1", "unknown setting `cluster.port`; did you mean"),
            ("[cluster.cluster]", "unknown setting `cluster.cluster`"),
            ("cluster = 1", "invalid type"),
        ] {
            let error = parse(text).err().expect(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
