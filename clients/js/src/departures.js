/**
 * Neighbours that are no longer connected, for a minute.
 *
 * @module
 */

import { LOST_AFTER, REMEMBER_FOR } from "./limits.js";

/** The ids of former neighbours that left, or that were lost without `bye`. */
export class Departures {
  /** @type {Map<number, { wasLost: boolean, since: number }>} */ #ids = new Map();

  /** @param {number} id @param {boolean} wasLost without `bye`, and without breaking the protocol */
  add(id, wasLost) {
    this.#ids.set(id, { wasLost, since: performance.now() });
  }

  /** @param {number} id */
  delete(id) {
    this.#ids.delete(id);
  }

  /** Whether this peer does not look for the id, even if a list contains it. @param {number} id */
  hasLeft(id) {
    return this.#ids.get(id)?.wasLost === false;
  }

  /** The ids that were lost so long ago that the hub has noticed it if the peer is dead. */
  get lost() {
    const before = performance.now() - LOST_AFTER;
    return [...this.#ids].filter(([, { wasLost, since }]) => wasLost && since < before).map(([id]) => id);
  }

  /** Forgets the ids that departed more than a minute ago. */
  expire() {
    const before = performance.now() - REMEMBER_FOR;
    for (const [id, { since }] of this.#ids) if (since < before) this.#ids.delete(id);
  }
}
