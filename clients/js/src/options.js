/**
 * The options of a group and of its messages.
 *
 * @module
 */

/** @import { ChannelOptions } from "./named_channels.js" */
/** @import { Recipients } from "./peer.js" */
/** @import { IceServers } from "./untrusted.js" */

/**
 * @typedef {object} Options
 * @property {RTCIceServer[] | (() => IceServers | Promise<IceServers>)} [iceServers] STUN and TURN servers: a list, or
 *   a function that is called for each connection. A result with a `ttl` is kept for this time. If the function fails,
 *   or takes more than 3 s, the connection is attempted without ICE servers. Default: the servers of the hub. With
 *   `[]`, which is enough within one network, the hub is not asked.
 * @property {RTCConfiguration} [rtcConfiguration] Other settings for `new RTCPeerConnection`. Without `certificates`,
 *   the group generates one for itself. The `bundlePolicy` is `max-bundle` unless it is set here.
 * @property {unknown} [metadata] What the other peers learn about this one before their `peerjoin` event, in
 *   `peer.metadata`: a JSON value of at most 4096 bytes and 64 nested levels, for example a name.
 * @property {Record<string, ChannelOptions>} [channels] At most 16 further channels, by their names of 1 to 64
 *   characters: `{ pose: { ordered: false, maxRetransmits: 0 } }`. Two peers have the channels that both name.
 * @property {AbortSignal} [signal] Cancels joining, or leaves the group if it is already joined.
 * @property {number} [maxPeers] How many peers this one connects to: 1 to 1000, 64 by default. Use the same for all
 *   peers. Further ones wait in the state `joining` with the reason `full`. A peer that the hub asks to connect to a
 *   member does so in any case, so it may have one more.
 * @property {number} [maxQueuedBytes] How many bytes of messages may wait to be sent to one peer: 128 MiB by default. A
 *   message counts at least 128 bytes. One that is longer than the limit is accepted if no other waits.
 * @property {boolean | ((line: string) => void)} [debug] Reports what the group does, in lines for developers: `true`
 *   for `console.debug`, or a function. The lines have no fixed form. They contain ids of peers, but no keys.
 * @property {boolean} [favored] Asks the hub to prefer this peer when it selects a member for a joiner.
 */

/**
 * @typedef {object} SendOptions
 * @property {Recipients} [to] Peers or their ids. Without this key, all peers; `undefined` is a `TypeError`. Peers that
 *   are not connected are not counted.
 * @property {string} [channel] A name of the option `channels`. Peers without such a channel are not counted.
 * @property {AbortSignal} [signal] Cancels the message, unless a part of it has been sent.
 */

export {};
