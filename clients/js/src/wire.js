/**
 * The wire format of the hub: one protobuf message in each binary WebSocket message (`proto/sigver.proto`).
 *
 * @module
 */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/**
 * What peers send each other through the hub.
 *
 * @typedef {{ senderId: number, recipientId: number, lastData: boolean, data: Uint8Array }} Content
 */

/**
 * Exactly one field is set.
 *
 * @typedef {object} Message
 * @property {boolean} [heartbeat]
 * @property {Content} [content]
 * @property {{ id: number, members: number[] }} [connect]
 * @property {boolean} [connected]
 */

/** Encodes one message as protobuf. @param {Message} message @returns {Uint8Array<ArrayBuffer>} */
export function encode({ heartbeat, content, connect, connected }) {
  /** @type {number[]} */ let out = [];
  if (heartbeat !== undefined) out = [(1 << 3) | VARINT, Number(heartbeat)];
  else if (content) {
    const { senderId, recipientId, lastData, data } = content;
    const ids = [...nonZero(1, senderId), ...nonZero(2, recipientId), ...nonZero(3, Number(lastData))];
    out = bytesField(2, [...ids, ...(data.length ? bytesField(4, data) : [])]);
  } else if (connect) {
    const { id, members } = connect;
    out = bytesField(3, [...nonZero(1, id), ...(members.length ? bytesField(2, members.flatMap(varint)) : [])]);
  } else if (connected !== undefined) out = [(4 << 3) | VARINT, Number(connected)];
  return Uint8Array.from(out);
}

/** @param {number} value an unsigned 32-bit integer */
function varint(value) {
  const out = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) out.push((value % 128) | 0x80);
  return [...out, value];
}

/** Omits a zero, as proto3 does. @param {number} number @param {number} value */
function nonZero(number, value) {
  return value ? [(number << 3) | VARINT, ...varint(value)] : [];
}

/** @param {number} number @param {ArrayLike<number> & Iterable<number>} value */
function bytesField(number, value) {
  return [(number << 3) | BYTES, ...varint(value.length), ...value];
}

/**
 * Decodes one message. Returns `undefined` if the bytes are not a valid message. Unknown fields are skipped.
 *
 * @param {Uint8Array} bytes
 * @returns {Message | undefined}
 */
export function decode(bytes) {
  /** @type {Message | undefined} */
  let message;
  try {
    for (const { number, value } of fields(bytes)) {
      if (number === 1) message = { heartbeat: value !== 0 };
      else if (number === 2) message = { content: decodeContent(asBytes(value)) };
      else if (number === 3) message = { connect: decodeConnect(asBytes(value)) };
      else if (number === 4) message = { connected: value !== 0 };
    }
  } catch {
    return undefined;
  }
  return message;
}

/** @param {Uint8Array} bytes @returns {Content} */
function decodeContent(bytes) {
  const content = { senderId: 0, recipientId: 0, lastData: false, data: new Uint8Array() };
  for (const { number, value } of fields(bytes)) {
    if (number === 1) content.senderId = asNumber(value);
    else if (number === 2) content.recipientId = asNumber(value);
    else if (number === 3) content.lastData = value !== 0;
    else if (number === 4) content.data = asBytes(value).slice();
  }
  return content;
}

/** @param {Uint8Array} bytes */
function decodeConnect(bytes) {
  const connect = { id: 0, members: /** @type {number[]} */ ([]) };
  for (const { number, value } of fields(bytes)) {
    if (number === 1) connect.id = asNumber(value);
    else if (number === 2 && typeof value === "number") connect.members.push(value);
    else if (number === 2) {
      const reader = new Reader(asBytes(value));
      while (!reader.done) connect.members.push(reader.varint());
    }
  }
  return connect;
}

/** @param {Uint8Array} bytes @returns {Generator<{ number: number, value: number | Uint8Array }>} */
function* fields(bytes) {
  const reader = new Reader(bytes);
  while (!reader.done) {
    const tag = reader.varint();
    const number = tag >>> 3;
    const type = tag & 7;
    if (number === 0) invalid();
    else if (type === VARINT) yield { number, value: reader.varint() };
    else if (type === BYTES) yield { number, value: reader.take(reader.varint()) };
    else if (type === FIXED64) reader.take(8);
    else if (type === FIXED32) reader.take(4);
    else invalid();
  }
}

class Reader {
  #position = 0;
  #bytes;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  get done() {
    return this.#position === this.#bytes.length;
  }

  /** Reads at most ten bytes and truncates the value to 32 bits, as protobuf requires. */
  varint() {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.take(1)[0] ?? 0;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    return invalid();
  }

  /** @param {number} length */
  take(length) {
    const start = this.#position;
    this.#position += length;
    return this.#position > this.#bytes.length ? invalid() : this.#bytes.subarray(start, this.#position);
  }
}

/** @param {number | Uint8Array} value */
function asBytes(value) {
  return typeof value === "number" ? invalid() : value;
}

/** @param {number | Uint8Array} value */
function asNumber(value) {
  return typeof value === "number" ? value : invalid();
}

/** `decode` catches it. @returns {never} */
function invalid() {
  throw new RangeError("message is invalid");
}
