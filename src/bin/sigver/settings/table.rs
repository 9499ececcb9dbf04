//! The macro that generates the struct of settings from its table.

/// Defines `Settings` from one line for each setting. Each limit sets the method of `HubBuilder` with its name.
macro_rules! settings {
    (
        server { $($(#[$attribute:meta])+ $name:ident: $kind:ty $(= $default:expr)?;)+ }
        limits { $($(#[doc = $help:literal])+ $limit:ident: $limit_kind:ty = $limit_default:expr;)+ }
    ) => {
        /// The settings of one source, or of several. A setting without a value is `None`.
        #[derive(Clone, Debug, Default, clap::Args, serde::Serialize)]
        pub(crate) struct Settings {
            $(
                $(#[$attribute])+
                pub(crate) $name: Option<$kind>,
            )+
            $(
                $(#[doc = $help])+
                #[arg(long, value_name = <$limit_kind as units::Unit>::NAME, help_heading = LIMITS)]
                pub(crate) $limit: Option<$limit_kind>,
            )+
        }

        impl Settings {
            /// The names of all settings.
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name),)+ $(stringify!($limit),)+];

            /// Returns the default values.
            pub(crate) fn defaults() -> Self {
                Self { $($($name: Some($default),)?)+ $($limit: Some($limit_default),)+ ..Self::default() }
            }

            /// Returns these settings, with values from `fallback` where there are none.
            pub(crate) fn or(self, fallback: Self) -> Self {
                Self {
                    $($name: self.$name.or(fallback.$name),)+
                    $($limit: self.$limit.or(fallback.$limit),)+
                }
            }

            /// Passes the limits to the hub.
            pub(crate) fn apply_limits(&self, builder: sigver::HubBuilder) -> sigver::HubBuilder {
                $(let builder = match self.$limit {
                    Some(limit) => builder.$limit(limit.into()),
                    None => builder,
                };)+
                builder
            }

            /// Reads the value of one setting of a file.
            fn read_value<'de, M: serde::de::MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
                match name {
                    $(stringify!($name) => self.$name = Some(map.next_value()?),)+
                    $(stringify!($limit) => self.$limit = Some(map.next_value()?),)+
                    _ => unreachable!("the name of a setting is checked before its value is read"),
                }
                Ok(())
            }
        }
    };
}

pub(super) use settings;
