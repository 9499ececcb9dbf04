/**
 * One neighbour, as pages see it.
 *
 * @module
 */

/** @import { Connection } from "./connection.js" */

/**
 * Peers, or their ids.
 *
 * @typedef {number | Peer | (number | Peer)[]} Recipients
 */

/**
 * Returns the ids of the recipients, or `undefined` for all peers. An explicit `undefined`, for example of a peer that
 * is gone, must not make a private message a public one.
 *
 * @param {{ to?: Recipients }} options @returns {Set<number> | undefined} @throws {TypeError}
 */
export function toIds(options) {
  if (!("to" in options)) return undefined;
  const ids = [options.to].flat().map((it) => {
    if (typeof it === "number") return it;
    if (it instanceof Peer) return it.id;
    throw new TypeError(`to is of type ${typeof it}; must be a peer, the id of one, or an array of these`);
  });
  return new Set(ids);
}

/**
 * A peer that this one is connected to. Its properties are always current. When the peer is gone, they stay as they
 * were. A peer that connects again is another `Peer`.
 */
export class Peer {
  #connection;

  /** @param {Connection} connection that is open */
  constructor(connection) {
    this.#connection = connection;
  }

  get id() {
    return this.#connection.id;
  }

  /** The version of the protocol that the two peers use. 0: the other peer has no metadata and no named channels. */
  get version() {
    return /** @type {number} */ (this.#connection.version);
  }

  /** What the peer's app set as `metadata`: any JSON value, or `undefined`. It is untrusted input. @returns {any} */
  get metadata() {
    return this.#connection.metadata;
  }

  /**
   * The SHA-256 fingerprint of the peer's certificate, in upper-case hex. The peer has proven that it has the
   * certificate's private key.
   */
  get fingerprint() {
    return this.#connection.fingerprint;
  }

  /** For statistics, and for settings of senders and receivers. Do not close it, and set no handlers. */
  get connection() {
    return this.#connection.rtc;
  }

  /** The streams that the peer sends, in the order of their events. @returns {MediaStream[]} */
  get streams() {
    return this.#connection.media.received;
  }

  /** In milliseconds, smoothed; `undefined` until it is measured. */
  get roundTripTime() {
    return this.#connection.roundTripTime;
  }

  /** Direct, or relayed by a TURN server. */
  get path() {
    return this.#connection.path;
  }

  /** The peer's own neighbours, as it announced them. */
  get neighbours() {
    return this.#connection.neighbours;
  }
}
