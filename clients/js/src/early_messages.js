/**
 * Messages that arrive before they can be handled.
 *
 * @module
 */

import { MAX_MESSAGE_BYTES, MIN_QUEUED_BYTES } from "./limits.js";

/** Messages wait here, in order, until `release`. Later ones are handled at once. */
export class EarlyMessages {
  /** `undefined` after `release` and `discard`. @type {(() => void)[] | undefined} */ #waiting = [];
  #bytes = 0;
  #overflowed;

  /** @param {() => void} overflowed more than 64 MiB would wait */
  constructor(overflowed) {
    this.#overflowed = overflowed;
  }

  /** @param {any} data of a channel @param {() => void} handle */
  receive(data, handle) {
    if (!this.#waiting) return handle();
    this.#bytes += Math.max(data.byteLength ?? data.length, MIN_QUEUED_BYTES);
    if (this.#bytes > MAX_MESSAGE_BYTES) this.#overflowed();
    else this.#waiting.push(handle);
  }

  release() {
    // Each may close the connection, which discards the rest.
    while (this.#waiting?.length) this.#waiting.shift()?.();
    this.#waiting = undefined;
  }

  discard() {
    this.#waiting = undefined;
  }
}
