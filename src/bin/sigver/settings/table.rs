//! The macro that generates the struct of settings from its table.

/// Defines `Settings` from one line for each setting. Each limit sets the method of `HubBuilder` with its name, and each
/// limit of a cluster the method of `ClusterConfig` that follows its name.
macro_rules! settings {
    (
        server { $($(#[$attribute:meta])+ $name:ident: $kind:ty $(= $default:expr)?;)+ }
        limits { $($(#[doc = $help:literal])+ $limit:ident: $limit_kind:ty = $limit_default:expr;)+ }
        cluster { $($(#[$cluster_attribute:meta])+ $cluster:ident: $cluster_kind:ty $(= $cluster_default:expr)?;)+ }
        cluster_limits {
            $(
                $(#[doc = $cluster_help:literal])+
                $cluster_limit:ident => $method:ident: $cluster_limit_kind:ty = $cluster_limit_default:expr;
            )+
        }
    ) => {
        /// The settings of one source, or of several. A setting without a value is `None`.
        #[derive(Clone, Default, clap::Args)]
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
            $(
                $(#[$cluster_attribute])+
                pub(crate) $cluster: Option<$cluster_kind>,
            )+
            $(
                $(#[doc = $cluster_help])+
                #[arg(long, value_name = <$cluster_limit_kind as units::Unit>::NAME, help_heading = CLUSTER)]
                pub(crate) $cluster_limit: Option<$cluster_limit_kind>,
            )+
        }

        impl Settings {
            /// The names of all settings.
            pub(crate) const NAMES: &[&str] = &[
                $(stringify!($name),)+
                $(stringify!($limit),)+
                $(stringify!($cluster),)+
                $(stringify!($cluster_limit),)+
            ];

            /// Returns the default values.
            pub(crate) fn defaults() -> Self {
                Self {
                    $($($name: Some($default),)?)+
                    $($limit: Some($limit_default),)+
                    $($($cluster: Some($cluster_default),)?)+
                    $($cluster_limit: Some($cluster_limit_default),)+
                    ..Self::default()
                }
            }

            /// Returns these settings, with values from `fallback` where there are none.
            pub(crate) fn or(self, fallback: Self) -> Self {
                Self {
                    $($name: self.$name.or(fallback.$name),)+
                    $($limit: self.$limit.or(fallback.$limit),)+
                    $($cluster: self.$cluster.or(fallback.$cluster),)+
                    $($cluster_limit: self.$cluster_limit.or(fallback.$cluster_limit),)+
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

            /// Passes the limits of a cluster to its configuration.
            pub(crate) fn apply_cluster_limits(&self, config: sigver::ClusterConfig) -> sigver::ClusterConfig {
                $(let config = match self.$cluster_limit {
                    Some(limit) => config.$method(limit.into()),
                    None => config,
                };)+
                config
            }

            /// Reads the value of one setting of a file.
            fn read_value<'de, M: serde::de::MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
                match name {
                    $(stringify!($name) => self.$name = Some(map.next_value()?),)+
                    $(stringify!($limit) => self.$limit = Some(map.next_value()?),)+
                    $(stringify!($cluster) => self.$cluster = Some(map.next_value()?),)+
                    $(stringify!($cluster_limit) => self.$cluster_limit = Some(map.next_value()?),)+
                    _ => unreachable!("the name of a setting is checked before its value is read"),
                }
                Ok(())
            }

            /// Writes the settings outside of the table `cluster`.
            fn write_values<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(if let Some(value) = &self.$name {
                    map.serialize_entry(stringify!($name), value)?;
                })+
                $(if let Some(value) = &self.$limit {
                    map.serialize_entry(stringify!($limit), value)?;
                })+
                Ok(())
            }

            /// Writes the settings in the table `cluster`.
            fn write_cluster_values<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(if let Some(value) = &self.$cluster {
                    map.serialize_entry(name_in_table(stringify!($cluster)), value)?;
                })+
                $(if let Some(value) = &self.$cluster_limit {
                    map.serialize_entry(name_in_table(stringify!($cluster_limit)), value)?;
                })+
                Ok(())
            }
        }
    };
}

pub(super) use settings;
