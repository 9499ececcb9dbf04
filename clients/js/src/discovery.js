/**
 * Which of the peers that neighbours name to connect to.
 *
 * @module
 */

import { MAX_UNMET_IDS, PLACE_TIME, RETRY_MAX, RETRY_MIN } from "./limits.js";
import { backOff } from "./timing.js";

/**
 * The ids that neighbours name and that this peer is not connected to, and when to attempt them.
 *
 * A neighbour can name peers that do not exist, so it has a limited number of places for its ids. Only ids with a place
 * are attempted, with a back-off. An id gives its place back when it is met. Otherwise it keeps the place for 30 s,
 * even if the neighbour no longer names it. So new ids cost no more attempts than old ones, and all ids get their turn.
 */
export class Discovery {
  /** @type {Map<number, { tries: number, failures: number, isDue: boolean, timer: number, placedAt: number }>} */
  #ids = new Map();
  /** The ids that each neighbour names, and since when they have its places.
   * @type {Map<number, { named: Set<number>, places: Map<number, number> }>} */
  #neighbours = new Map();
  #firstDelay;
  #onDue;

  /** @param {(id: number) => number} firstDelay before the first attempt @param {() => void} onDue */
  constructor(firstDelay, onDue) {
    this.#firstDelay = firstDelay;
    this.#onDue = onDue;
  }

  /** Replaces the ids that a neighbour names. @param {number} neighbour @param {number[]} unmetIds */
  update(neighbour, unmetIds) {
    const now = performance.now();
    const named = new Set(unmetIds);
    const places = this.#neighbours.get(neighbour)?.places ?? new Map();
    this.#neighbours.set(neighbour, { named, places });
    for (const [id, since] of places) if (now - since >= PLACE_TIME) places.delete(id);
    const placedAt = (/** @type {number} */ id) => this.#ids.get(id)?.placedAt ?? 0;
    const waiting = [...named].filter((id) => !places.has(id)).sort((a, b) => placedAt(a) - placedAt(b));
    for (const id of waiting.slice(0, MAX_UNMET_IDS - places.size)) {
      places.set(id, now);
      const known = this.#ids.get(id);
      if (known) known.placedAt = now;
      else {
        const timer = this.#wait(id, this.#firstDelay(id));
        this.#ids.set(id, { tries: 0, failures: 0, isDue: false, timer, placedAt: now });
      }
    }
    this.#forget();
  }

  /** The ids to attempt now, if a neighbour still names them. An id yields to ids that failed less often. */
  get due() {
    const neighbours = [...this.#neighbours.values()];
    return [...this.#ids]
      .filter(([id, { isDue }]) => isDue && neighbours.some(({ places }) => places.has(id)))
      .sort(([, a], [, b]) => a.tries - b.tries)
      .map(([id]) => id);
  }

  /** An attempt begins. @param {number} id */
  begin(id) {
    const known = this.#ids.get(id);
    if (!known) return;
    known.isDue = false;
    known.tries++;
  }

  /**
   * An attempt of either side failed. Returns how often this has happened since neighbours name the id.
   *
   * @param {number} id
   */
  failed(id) {
    const known = this.#ids.get(id);
    return known ? ++known.failures : 0;
  }

  /** An own attempt failed. @param {number} id */
  retry(id) {
    const known = this.#ids.get(id);
    if (!known || known.isDue) return;
    clearTimeout(known.timer);
    known.timer = this.#wait(id, backOff(RETRY_MIN, RETRY_MAX, Math.max(known.tries - 1, 0)));
  }

  /** The id is met, or has left. @param {number} id */
  delete(id) {
    clearTimeout(this.#ids.get(id)?.timer);
    this.#ids.delete(id);
    for (const { named, places } of this.#neighbours.values()) {
      named.delete(id);
      places.delete(id);
    }
  }

  /** @param {number} neighbour */
  deleteNeighbour(neighbour) {
    this.#neighbours.delete(neighbour);
    this.#forget();
  }

  clear() {
    this.#neighbours.clear();
    this.#forget();
  }

  #forget() {
    const neighbours = [...this.#neighbours.values()];
    for (const [id, { timer }] of this.#ids) {
      if (neighbours.some(({ named, places }) => named.has(id) || places.has(id))) continue;
      clearTimeout(timer);
      this.#ids.delete(id);
    }
  }

  /** @param {number} id @param {number} ms */
  #wait(id, ms) {
    return setTimeout(() => {
      const known = this.#ids.get(id);
      if (known) known.isDue = true;
      this.#onDue();
    }, ms);
  }
}
