/**
 * What the app of this peer tells the other peers about it.
 *
 * @module
 */

import { MAX_METADATA_BYTES, MAX_METADATA_LEVELS } from "./limits.js";

/**
 * Returns a copy of a JSON value.
 *
 * @param {unknown} value
 * @returns {any}
 * @throws {TypeError} if it has no form in JSON, or one of more than 4096 bytes or 64 nested levels
 */
export function toMetadata(value) {
  const json = JSON.stringify(value, limitLevels());
  if (json === undefined) {
    throw new TypeError(`metadata is of type ${typeof value}; must be a JSON value, null for none`);
  }
  const bytes = new TextEncoder().encode(json).length;
  if (bytes <= MAX_METADATA_BYTES) return JSON.parse(json);
  throw new TypeError(`metadata is ${bytes} bytes of JSON; must be at most ${MAX_METADATA_BYTES}`);
}

/** Returns a replacer for `JSON.stringify`, which throws before a value is nested too deep for the stack. */
function limitLevels() {
  /** Of arrays and objects. @type {Map<unknown, number>} */ const levels = new Map();
  return /** @this {unknown} */ function (/** @type {string} */ _key, /** @type {unknown} */ value) {
    if (typeof value !== "object" || value === null) return value;
    const level = (levels.get(this) ?? 0) + 1; // JSON.stringify puts the whole value into an object
    if (level > MAX_METADATA_LEVELS) {
      throw new TypeError(`metadata is nested too deep; must be at most ${MAX_METADATA_LEVELS} levels`);
    }
    levels.set(value, level);
    return value;
  };
}
