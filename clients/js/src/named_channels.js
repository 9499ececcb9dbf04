/**
 * The further data channels that an app uses, by name.
 *
 * @module
 */

import { MAX_CHANNEL_NAME, MAX_CHANNELS, PIECE_BYTES } from "./limits.js";

/**
 * How a channel delivers messages: options of `RTCPeerConnection.createDataChannel`. If two peers have different ones,
 * those of the peer with the lower id apply.
 *
 * @typedef {object} ChannelOptions
 * @property {boolean} [ordered] whether messages arrive in order; `true` by default
 * @property {number} [maxRetransmits] How often a lost message is sent again, 0 to 65535. Without this and the next
 *   option until it arrives.
 * @property {number} [maxPacketLifeTime] For how long a lost message is sent again, in milliseconds, 0 to 65535. Not
 *   together with `maxRetransmits`.
 */

/** The channels of one app. */
export class NamedChannels {
  /** @type {Map<string, ChannelOptions>} */ #options;

  /** @param {Record<string, ChannelOptions>} [channels] */
  constructor(channels) {
    this.#options = new Map(Object.entries(channels ?? {}));
  }

  get names() {
    return [...this.#options.keys()];
  }

  /** @param {string} name */
  get(name) {
    return this.#options.get(name);
  }

  /** Throws `TypeError` if a name or an option is invalid. */
  check() {
    if (this.#options.size > MAX_CHANNELS) {
      throw new TypeError(`channels has ${this.#options.size} names; must have at most ${MAX_CHANNELS}`);
    }
    for (const [name, options] of this.#options) {
      // Half of a surrogate pair would be another name for the other peer.
      if (!name || name.length > MAX_CHANNEL_NAME || /\p{Surrogate}/u.test(name)) {
        throw new TypeError(`channel ${JSON.stringify(name)} must have a name of 1 to ${MAX_CHANNEL_NAME} characters`);
      }
      const { ordered = true, maxRetransmits, maxPacketLifeTime } = Object(options);
      const isUint16 = (/** @type {number} */ value) => Number.isInteger(value) && value >= 0 && value < 2 ** 16;
      const limits = [maxRetransmits, maxPacketLifeTime].filter((it) => it !== undefined);
      if (options !== Object(options) || typeof ordered !== "boolean" || !limits.every(isUint16) || limits[1] >= 0) {
        throw new TypeError(
          `options of channel ${name} are invalid; ordered must be a boolean, and one of maxRetransmits and ` +
            "maxPacketLifeTime may be a whole number from 0 to 65535",
        );
      }
    }
  }

  /**
   * Throws `TypeError` if no message of this length can be sent on the channel.
   *
   * @param {string | undefined} name @param {number} length
   */
  checkMessage(name, length) {
    if (name === undefined) return;
    const options = this.#options.get(name);
    if (!options) throw new TypeError(`channel ${name} is not one of the group; must be in its option channels`);
    if (length <= PIECE_BYTES || !isWhole(options)) return;
    throw new TypeError(`message is ${length} bytes; must be at most ${PIECE_BYTES} on channel ${name}`);
  }
}

/**
 * Returns whether each message of a channel is one piece, because pieces may get lost or arrive in another order.
 *
 * @param {ChannelOptions | RTCDataChannel} options
 */
export function isWhole({ ordered = true, maxRetransmits, maxPacketLifeTime }) {
  return !ordered || (maxRetransmits ?? maxPacketLifeTime ?? -1) >= 0;
}
