//! The rates among the settings of a hub.

use super::HubBuilder;

/// Rates.
impl HubBuilder {
    /// Sets the maximum number of joins per second from one client IP. Default: 200. Exceeding it closes the new peer
    /// with 1013.
    ///
    /// IPs are counted as for [`HubBuilder::max_peers_per_ip`].
    pub fn joins_per_second_per_ip(mut self, rate: u32) -> Self {
        self.config.joins_per_second_per_ip = rate;
        self
    }

    /// Sets the maximum number of messages per second from one peer, pings, pongs and heartbeats included. Default:
    /// 20 000, which costs about 2 % of a core. Exceeding it closes the peer with 1013.
    ///
    /// A peer sends about 40 messages for each call that it sets up over the hub.
    pub fn messages_per_second(mut self, rate: u32) -> Self {
        self.config.messages_per_second = rate;
        self
    }

    /// Sets the maximum number of payload bytes per second from one peer. Default: 2 MiB. It must be at least
    /// [`HubBuilder::max_message_bytes`]. Exceeding it closes the peer with 1013.
    ///
    /// For one video call, a peer sends an offer or an answer of about 10 KiB and candidates of about the same size.
    /// The burst of the default therefore fits about 100 calls that start at the same moment.
    pub fn bytes_per_second(mut self, rate: u32) -> Self {
        self.config.bytes_per_second = rate;
        self
    }

    /// Sets the maximum number of `connect` messages per second from one peer. Default: 1000. Exceeding it closes the
    /// peer with 1013.
    ///
    /// A `connect` takes one token, and one more for every 64 ids that it names. The rate must be at least 1 +
    /// [`HubBuilder::max_members_per_connect`] / 64, so that a `connect` with that many ids is allowed.
    ///
    /// Netflux sends `connect` again as soon as a connection attempt with a member fails. A low rate therefore closes
    /// joiners that go from member to member.
    pub fn connects_per_second(mut self, rate: u32) -> Self {
        self.config.connects_per_second = rate;
        self
    }

    /// Sets the maximum number of messages per second from all peers of one client IP. Default: 100 000. It must be at
    /// least [`HubBuilder::messages_per_second`]. Exceeding it closes the peer that exceeds it with 1013.
    ///
    /// A message counts once, and once more for every 8192 bytes of its payload and for every 64 ids that a `connect`
    /// names. The rate must be at least 1 + [`HubBuilder::max_message_bytes`] / 8192 +
    /// [`HubBuilder::max_members_per_connect`] / 64, so that it allows every message.
    ///
    /// IPs are counted as for [`HubBuilder::max_peers_per_ip`], and messages as for
    /// [`HubBuilder::messages_per_second`].
    pub fn messages_per_second_per_ip(mut self, rate: u32) -> Self {
        self.config.messages_per_second_per_ip = rate;
        self
    }

    /// Sets the maximum number of payload bytes per second from all peers of one client IP. Default: 32 MiB. It must be
    /// at least [`HubBuilder::bytes_per_second`]. Exceeding it closes the peer that exceeds it with 1013.
    ///
    /// IPs are counted as for [`HubBuilder::max_peers_per_ip`].
    pub fn bytes_per_second_per_ip(mut self, rate: u32) -> Self {
        self.config.bytes_per_second_per_ip = rate;
        self
    }
}
