//! Settings of a group, and the key.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use str0m::channel::{ChannelConfig, Reliability};

use crate::error::OptionsError;
use crate::mesh::{
    DEFAULT_MAX_PEERS, MAX_CHANNELS, MAX_MAX_PEERS, MAX_METADATA_BYTES, MAX_METADATA_DEPTH, is_channel_name,
};

/// Settings of a [`Group`](crate::Group). [`Options::default`] fits a peer within one network, and a server that other
/// peers reach at the addresses of its network interfaces.
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(crate) metadata: Option<Value>,
    pub(crate) max_peers: usize,
    pub(crate) favored: bool,
    /// Where to bind, and the address that other peers see.
    pub(crate) addresses: Vec<(SocketAddr, Option<IpAddr>)>,
    pub(crate) channels: Vec<(Arc<str>, ChannelOptions)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) certificate_authorities: Vec<u8>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            metadata: None,
            max_peers: DEFAULT_MAX_PEERS,
            favored: false,
            addresses: Vec::new(),
            channels: Vec::new(),
            headers: Vec::new(),
            certificate_authorities: Vec::new(),
        }
    }
}

impl Options {
    /// Sets the JSON value with which this peer describes itself to the others, for example its name: at most 4 096
    /// bytes as JSON, nested at most 64 levels deep. None by default.
    /// [`Group::set_metadata`](crate::Group::set_metadata) changes it later.
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Sets how many peers this peer connects with: at most 1 000, 64 by default. It rejects the offers of further ones.
    /// All peers of a group should have the same value.
    pub fn max_peers(mut self, max_peers: usize) -> Self {
        self.max_peers = max_peers;
        self
    }

    /// Asks the hub to prefer this peer when it selects a member for a joiner. False by default.
    pub fn favored(mut self, favored: bool) -> Self {
        self.favored = favored;
        self
    }

    /// Adds an address at which other peers reach this one: it binds a UDP socket there. Port 0 lets the operating
    /// system choose.
    ///
    /// Without this setting, it binds one socket to each address of the network interfaces, without loopback and
    /// link-local addresses. If there are only those, it binds the loopback addresses. The addresses are read once, when
    /// the group is joined.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.addresses.push((address, None));
        self
    }

    /// As [`address`](Self::address), but other peers get another IP address: the public address of a server behind a
    /// one-to-one NAT that keeps ports, as in most clouds.
    pub fn advertised_address(mut self, bind: SocketAddr, advertised: IpAddr) -> Self {
        self.addresses.push((bind, Some(advertised)));
        self
    }

    /// Adds a named channel: at most 16, with names of 1 to 64 UTF-16 code units. Messages on it reach the peers that
    /// also have a channel with this name. Of the two peers, the one with the lower id decides with its options.
    pub fn channel(mut self, name: impl Into<String>, options: ChannelOptions) -> Self {
        self.channels.push((name.into().into(), options));
        self
    }

    /// Adds a header to the HTTP request that opens the WebSocket, for example `authorization`. A hub with allowed
    /// origins usually needs `origin`: it rejects requests without one unless it allows them.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds certificates, in PEM, that may sign the hub's certificate, in addition to those of the operating system.
    pub fn certificate_authorities(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.certificate_authorities.extend_from_slice(pem.as_ref());
        self.certificate_authorities.push(b'\n');
        self
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        if let Some(metadata) = &self.metadata {
            check_metadata(metadata)?;
        }
        if self.max_peers > MAX_MAX_PEERS {
            return Err(OptionsError::MaxPeers { max_peers: self.max_peers });
        }
        if self.channels.len() > MAX_CHANNELS {
            return Err(OptionsError::TooManyChannels { count: self.channels.len() });
        }
        for (index, (name, _)) in self.channels.iter().enumerate() {
            let repeated = self.channels[..index].iter().any(|(other, _)| other == name);
            if repeated || !is_channel_name(name) {
                return Err(OptionsError::Channel { name: name.to_string() });
            }
        }
        Ok(())
    }
}

pub(crate) fn check_metadata(metadata: &Value) -> Result<(), OptionsError> {
    // First, because writing JSON is recursive.
    if is_deeper(metadata, MAX_METADATA_DEPTH) {
        return Err(OptionsError::MetadataDepth);
    }
    let bytes = metadata.to_string().len();
    if bytes > MAX_METADATA_BYTES { Err(OptionsError::Metadata { bytes }) } else { Ok(()) }
}

/// Whether the value has more than `levels` levels of arrays and objects.
fn is_deeper(value: &Value, levels: usize) -> bool {
    match (value, levels.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(values), Some(levels)) => values.iter().any(|value| is_deeper(value, levels)),
        (Value::Object(values), Some(levels)) => values.values().any(|value| is_deeper(value, levels)),
        _ => false,
    }
}

/// How a named channel delivers messages. By default in order and reliably, as the main channel.
///
/// On a channel that is unordered or not reliable, a message has at most 16 384 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct ChannelOptions {
    ordered: bool,
    reliability: Reliability,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self { ordered: true, reliability: Reliability::Reliable }
    }
}

impl ChannelOptions {
    /// Whether messages arrive in order. True by default.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// Gives up on a message after this many retransmissions. 0: each message is sent once.
    pub fn max_retransmits(mut self, retransmits: u16) -> Self {
        self.reliability = Reliability::MaxRetransmits { retransmits };
        self
    }

    /// Gives up on a message after this time: at most 65 535 ms, in steps of a millisecond.
    pub fn max_packet_life_time(mut self, time: Duration) -> Self {
        let lifetime = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
        self.reliability = Reliability::MaxPacketLifetime { lifetime };
        self
    }

    pub(crate) fn is_reliable_and_ordered(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn config(self) -> ChannelConfig {
        ChannelConfig { ordered: self.ordered, reliability: self.reliability, ..ChannelConfig::default() }
    }
}

type KeyFuture = Pin<Box<dyn Future<Output = Result<String, KeyFailure>> + Send>>;
type KeyFailure = Box<dyn std::error::Error + Send + Sync>;

/// The key of a group: a text, or a function that returns it.
#[derive(Clone)]
pub struct Key(KeyKind);

#[derive(Clone)]
enum KeyKind {
    Text(String),
    Function(Arc<dyn Fn() -> KeyFuture + Send + Sync>),
}

impl Key {
    /// Calls `function` for the key before opening each WebSocket, for keys that expire. If it fails, or does not
    /// return within 10 s, it is called again later. If it returns an invalid key, the group is left:
    /// [`Group::join`](crate::Group::join) returns [`JoinError::Key`](crate::JoinError::Key), or the last event has
    /// [`Reason::KeyFailed`](crate::Reason::KeyFailed). If the access of this peer has expired (the hub closes with 4740),
    /// it is called once for a fresh key. The connections to peers stay open meanwhile.
    ///
    /// ```
    /// use sigver_mesh::Key;
    ///
    /// let key = Key::from_fn(|| async { Ok(std::fs::read_to_string("/run/secrets/key")?) });
    /// ```
    pub fn from_fn<F, R>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        Self(KeyKind::Function(Arc::new(move || Box::pin(function()))))
    }

    /// The key, if it is a text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.0 {
            KeyKind::Text(text) => Some(text),
            KeyKind::Function(_) => None,
        }
    }

    pub(crate) async fn get(&self) -> Result<String, KeyFailure> {
        match &self.0 {
            KeyKind::Text(text) => Ok(text.clone()),
            KeyKind::Function(function) => function().await,
        }
    }
}

/// Does not show the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            KeyKind::Text(_) => "Key(text)",
            KeyKind::Function(_) => "Key(function)",
        })
    }
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        Self(KeyKind::Text(key.to_owned()))
    }
}

impl From<String> for Key {
    fn from(key: String) -> Self {
        Self(KeyKind::Text(key))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(7), |value, level| if level % 2 == 0 { json!([value]) } else { json!({ "x": value }) })
    }

    #[test]
    fn metadata_is_nested_at_most_64_levels_deep() {
        for metadata in [json!(null), json!([]), json!({}), nested(64), json!({ "a": nested(3), "b": nested(63) })] {
            assert_eq!(Options::default().metadata(metadata).check(), Ok(()));
        }
        for metadata in [nested(65), nested(1_000), json!([[1], nested(64)]), json!({ "a": 1, "b": nested(64) })] {
            assert_eq!(Options::default().metadata(metadata).check(), Err(OptionsError::MetadataDepth));
        }
    }

    #[test]
    fn metadata_has_at_most_4096_bytes() {
        assert_eq!(check_metadata(&"x".repeat(4_094).into()), Ok(()));
        assert_eq!(check_metadata(&"x".repeat(4_095).into()), Err(OptionsError::Metadata { bytes: 4_097 }));
    }

    #[test]
    fn max_peers_is_at_most_1000() {
        assert_eq!(Options::default().max_peers(1_000).check(), Ok(()));
        let error = Options::default().max_peers(1_001).check();
        assert_eq!(error, Err(OptionsError::MaxPeers { max_peers: 1_001 }));
    }
}
