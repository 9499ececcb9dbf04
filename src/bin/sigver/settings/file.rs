//! Settings as a file has them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Limits, Settings};

/// How alike a name has to be to what was written to be meant by it: what clap asks of its flags.
const ALIKE: f64 = 0.7;

/// Reads settings as TOML, all of whose names have to be known.
pub(crate) fn parse(text: &str) -> Result<Settings, toml::de::Error> {
    toml::from_str::<BTreeMap<Name, IgnoredAny>>(text)?;
    let limits: Limits = toml::from_str(text)?;
    Ok(Settings { limits, ..toml::from_str(text)? })
}

/// The name of a setting.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;

        impl Visitor<'_> for Known {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a setting")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
                let known = Settings::names();
                if known.iter().any(|known| known == name) {
                    return Ok(Name(name.to_owned()));
                }
                let likeness = |known: &String| strsim::jaro(known, name);
                let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
                Err(E::custom(match nearest {
                    Some(nearest) if likeness(nearest) > ALIKE => {
                        format!("there is no `{name}`; `{nearest}` would be one")
                    }
                    _ => format!("there is no `{name}`, but {}", known.join(", ")),
                }))
            }
        }

        deserializer.deserialize_str(Known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_place_in_the_file() {
        let known = Settings::names();
        assert!(known.len() > 30, "{known:?}");
        for name in known {
            // A type that no setting has: whoever reads the name refuses it.
            parse(&format!("{name} = {{}}")).expect_err(&name);
        }
    }
}
