/**
 * Ids of peers, and which certificates they belong to.
 *
 * @module
 */

import { MAX_KNOWN_IDS } from "./limits.js";

/** The hub's link ids are below 2^31. Member ids start there, so the two never collide. */
const FIRST_MEMBER_ID = 2 ** 31;

/** This peer's id, and the ids of others: the first peer that connects with an id owns it ("trust on first use"). */
export class Identities {
  /** This peer's id. */
  id = drawMemberId();

  /** Fingerprints of the peers that were connected. @type {Map<number, string>} */ #fingerprints = new Map();

  /** Draws another id, because a peer in the group already has this one. */
  renew() {
    this.id = drawMemberId();
  }

  /**
   * Returns whether the peer with this certificate may have this id.
   *
   * @param {number} id
   * @param {string | undefined} fingerprint `undefined` if a description has no single one
   * @param {string | undefined} connected fingerprint of the connected peer that has this id
   */
  owns(id, fingerprint, connected) {
    const known = connected ?? this.#fingerprints.get(id);
    return id !== this.id && (known === undefined || known === fingerprint);
  }

  /** Binds an id. Forgets the one that connected the longest time ago if there are too many. @param {number} id */
  learn(id, /** @type {string} */ fingerprint) {
    this.#fingerprints.delete(id);
    this.#fingerprints.set(id, fingerprint);
    const [oldest] = this.#fingerprints.keys();
    if (oldest !== undefined && this.#fingerprints.size > MAX_KNOWN_IDS) this.#fingerprints.delete(oldest);
  }
}

function drawMemberId() {
  return FIRST_MEMBER_ID + (drawUint32() >>> 1);
}

export function drawUint32() {
  return /** @type {number} */ (crypto.getRandomValues(new Uint32Array(1))[0]);
}
