/**
 * Messages as pieces, each with one byte of flags in front.
 *
 * @module
 */

import { MAX_MESSAGE_BYTES, PIECE_BYTES } from "./limits.js";

// The flags of a piece. All pieces of a text have the first one.
const TEXT = 1;
const LAST = 2;

/** @param {string | ArrayBuffer | ArrayBufferView} data @returns {Uint8Array<ArrayBuffer>} a copy */
export function toBytes(data) {
  const bytes = copy(data);
  if (bytes.length <= MAX_MESSAGE_BYTES) return bytes;
  throw new TypeError(`message is ${bytes.length} bytes; must be at most ${MAX_MESSAGE_BYTES}`);
}

/** @param {string | ArrayBuffer | ArrayBufferView} data */
function copy(data) {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  throw new TypeError(`message is of type ${typeof data}; must be a string, an ArrayBuffer or a view of one`);
}

/**
 * Returns the pieces of one message: at least one.
 *
 * @param {Uint8Array} bytes @param {boolean} isText
 */
export function* split(bytes, isText) {
  for (let start = 0, end = 0; ; start = end) {
    end = Math.min(start + PIECE_BYTES, bytes.length);
    const piece = new Uint8Array(1 + end - start);
    piece[0] = (isText ? TEXT : 0) | (end === bytes.length ? LAST : 0);
    piece.set(bytes.subarray(start, end), 1);
    yield piece;
    if (end === bytes.length) return;
  }
}

/** Joins the pieces of one channel to messages. */
export class Assembler {
  #isWhole;
  /** @type {Uint8Array[]} */ #pieces = [];
  #length = 0;

  /** @param {boolean} [isWhole] whether each message must be one piece */
  constructor(isWhole = false) {
    this.#isWhole = isWhole;
  }

  /**
   * Adds a piece. Returns the message if it is the last one, `null` if the piece breaks the rules, and otherwise
   * `undefined`.
   *
   * @param {Uint8Array} piece with its flags, untrusted
   */
  add(piece) {
    const flags = piece[0] ?? 0;
    const isLast = (flags & LAST) !== 0;
    const length = piece.length - 1;
    this.#length += length;
    // Without this rule, a message could have any number of empty pieces.
    const isFull = isLast ? length <= PIECE_BYTES : length === PIECE_BYTES && !this.#isWhole;
    if (!isFull || this.#length > MAX_MESSAGE_BYTES) return null;
    this.#pieces.push(piece.subarray(1));
    if (!isLast) return undefined;
    const bytes = concat(this.#pieces, this.#length);
    this.#pieces = [];
    this.#length = 0;
    // By default, the decoder removes a byte order mark, which is part of the text here.
    return flags & TEXT ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) : bytes.buffer;
  }
}

/** @param {Uint8Array[]} pieces @param {number} length */
function concat(pieces, length) {
  const whole = new Uint8Array(length);
  let position = 0;
  for (const piece of pieces) {
    whole.set(piece, position);
    position += piece.length;
  }
  return whole;
}
