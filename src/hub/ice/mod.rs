//! ICE servers for the clients of a hub, behind the feature `turn`.
//!
//! [`servers`] contains the setting, whose URLs [`url`] checks. A [`request`] passes the checks of a join. The outcome
//! is a [`configuration`], with a [`credential`] for each TURN server.

pub(super) mod configuration;
mod credential;
mod request;
pub(super) mod servers;
mod url;
