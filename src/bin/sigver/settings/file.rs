//! Settings in the format of the file.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::Settings;

/// The similarity at which a setting is suggested for an unknown name. clap uses the same for its flags.
const MIN_SIMILARITY: f64 = 0.7;

/// Reads settings as TOML. An unknown name is an error.
pub(crate) fn parse(text: &str) -> Result<Settings, toml::de::Error> {
    toml::Deserializer::parse(text)?.deserialize_map(SettingsVisitor)
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = Settings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Settings, M::Error> {
        let mut settings = Settings::default();
        while let Some(name) = map.next_key_seed(NameVisitor)? {
            settings.read_value(name, &mut map)?;
        }
        Ok(settings)
    }
}

/// Reads the name of a setting. As a seed it reports an unknown name at its position in the file.
struct NameVisitor;

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
        if let Some(known) = Settings::NAMES.iter().find(|known| **known == name) {
            return Ok(known);
        }
        let similarity = |known: &str| strsim::jaro(known, name);
        let nearest = Settings::NAMES.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        Err(E::custom(match nearest {
            Some(nearest) if similarity(nearest) > MIN_SIMILARITY => {
                format!("unknown setting `{name}`; did you mean `{nearest}`?")
            }
            _ => format!("unknown setting `{name}`; must be one of {}", Settings::NAMES.join(", ")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read_from_the_file() {
        assert!(Settings::NAMES.len() > 30, "{:?}", Settings::NAMES);
        for name in Settings::NAMES {
            // No setting has a table as its value, so reading the value fails.
            parse(&format!("{name} = {{}}")).expect_err(name);
        }
    }
}
