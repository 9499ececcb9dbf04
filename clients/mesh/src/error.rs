//! Errors.

use std::io;
use std::net::SocketAddr;

use crate::event::Close;

/// Why a group could not be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The URL of the hub is invalid.
    #[error("URL of the hub is {url:?}; must be an absolute ws, wss, http or https URL")]
    Url {
        /// The URL.
        url: String,
    },
    /// The key is invalid: it must have 1 to 512 bytes, and must not be `.` or `..`, which URLs resolve. All other
    /// characters are valid: special ones are escaped in the URL. Also if the key function returned it.
    #[error("key has {bytes} bytes; must have 1 to 512, and must not be \".\" or \"..\"")]
    Key {
        /// Its length in UTF-8.
        bytes: usize,
    },
    /// A setting is invalid.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// No UDP socket could be bound to an address.
    #[error("cannot bind a UDP socket to {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The addresses of the network interfaces cannot be read, or there is none.
    #[error("cannot read the addresses of the network interfaces")]
    Interfaces(#[source] io::Error),
    /// The hub rejected the key or this peer. The HTTP statuses 401 and 403 have the code 1008. [`Close::code`] lists
    /// the codes.
    #[error("the hub rejected this peer ({0})")]
    Rejected(Close),
}

/// Why a setting is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionsError {
    /// The metadata is too long.
    #[error("metadata is {bytes} bytes of JSON; must be at most 4096")]
    Metadata {
        /// Its length as JSON.
        bytes: usize,
    },
    /// The metadata is nested too deeply.
    #[error("metadata is nested more than 64 levels deep; must be at most 64")]
    MetadataDepth,
    /// There may be too many peers.
    #[error("max_peers is {max_peers}; must be at most 1000")]
    MaxPeers {
        /// The number.
        max_peers: usize,
    },
    /// There are too many named channels.
    #[error("there are {count} named channels; must be at most 16")]
    TooManyChannels {
        /// Their number.
        count: usize,
    },
    /// The name of a channel is invalid.
    #[error("channel name {name:?} is repeated or invalid; must be unique and of 1 to 64 UTF-16 code units")]
    Channel {
        /// The name.
        name: String,
    },
    /// A header is invalid.
    #[error("header {name:?} is invalid; must be an HTTP header name and a visible ASCII value")]
    Header {
        /// Its name.
        name: String,
    },
    /// The certificates are invalid.
    #[error("certificate authorities are invalid; must be certificates in PEM")]
    CertificateAuthorities,
    /// An address is invalid.
    #[error("address {address} is invalid; must be an address of this machine, not a wildcard or multicast address")]
    Address {
        /// The address.
        address: SocketAddr,
    },
}

/// Why a message was not sent to any peer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The group was left.
    #[error("the group was left")]
    Left,
    /// The message is too long.
    #[error("message has {bytes} bytes; must have at most {max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// 64 MiB, or 16 384 on a channel that is unordered or not reliable.
        max: usize,
    },
    /// The group has no channel with this name.
    #[error("channel {name:?} does not exist; must be one of `Options::channel`")]
    UnknownChannel {
        /// The name.
        name: String,
    },
}
