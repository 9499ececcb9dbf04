/**
 * What the app of this peer tells the other peers about it.
 *
 * @module
 */

import { MAX_METADATA_BYTES } from "./limits.js";

/**
 * Returns a copy of a JSON value.
 *
 * @param {unknown} value
 * @returns {any}
 * @throws {TypeError} if it has no form in JSON, or one of more than 4096 bytes
 */
export function toMetadata(value) {
  const json = JSON.stringify(value);
  if (json === undefined) {
    throw new TypeError(`metadata is of type ${typeof value}; must be a JSON value, null for none`);
  }
  const bytes = new TextEncoder().encode(json).length;
  if (bytes <= MAX_METADATA_BYTES) return JSON.parse(json);
  throw new TypeError(`metadata is ${bytes} bytes of JSON; must be at most ${MAX_METADATA_BYTES}`);
}
