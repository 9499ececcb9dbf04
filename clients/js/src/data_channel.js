/**
 * Whole messages over one RTCDataChannel.
 *
 * @module
 */

import { Assembler, split } from "./framing.js";
import { HIGH_WATER_BYTES, LOW_WATER_BYTES, MIN_QUEUED_BYTES, PIECE_BYTES } from "./limits.js";
import { isWhole } from "./named_channels.js";

/**
 * @typedef {object} DataChannelEvents
 * @property {(data: string | ArrayBuffer) => void} message
 * @property {(reason?: "invalid") => void} failed `invalid`: the other peer broke the rules of the pieces
 */

/**
 * @typedef {object} Outgoing A message that is not sent completely.
 * @property {Iterator<Uint8Array<ArrayBuffer>>} pieces the rest of it
 * @property {number} size
 * @property {boolean} isStarted
 * @property {(result: Result) => void} end
 *
 * @typedef {"sent" | "cancelled" | "failed"} Result
 */

/** Sends messages one after another, while the buffer of the channel has room, and joins received pieces. */
export class DataChannel {
  /** Of the messages that are not sent completely. */
  queuedBytes = 0;
  /** When the last piece was sent. */
  sentAt = -Infinity;

  /** @type {RTCDataChannel | undefined} */ #channel;
  #events;
  /** @type {Set<Outgoing>} */ #queue = new Set();
  #onDrained = () => {};
  #isWhole = false;
  #received = new Assembler();

  /** @param {DataChannelEvents} events */
  constructor(events) {
    this.#events = events;
  }

  /** Messages wait until there is a channel, and until it is open. */
  get isAttached() {
    return this.#channel !== undefined;
  }

  /** @param {RTCDataChannel} channel */
  attach(channel) {
    this.#channel = channel;
    this.#isWhole = isWhole(channel);
    this.#received = new Assembler(this.#isWhole);
    channel.bufferedAmountLowThreshold = LOW_WATER_BYTES;
    channel.onbufferedamountlow = () => this.opened();
    this.opened();
  }

  /** The channel is open, or its buffer has room. */
  opened() {
    if (this.#channel?.readyState === "open") this.#pump(this.#channel);
  }

  /**
   * @param {Uint8Array} bytes @param {boolean} isText
   * @param {AbortSignal} [signal] removes the message from the queue, unless a part of it has been sent
   * @returns {Promise<Result>} `sent`: the channel accepted all
   */
  send(bytes, isText, signal) {
    return new Promise((resolve) => {
      const cancel = () => message.isStarted || this.#end(message, "cancelled");
      /** @type {Outgoing} */ const message = {
        pieces: split(bytes, isText),
        size: Math.max(bytes.length, MIN_QUEUED_BYTES),
        isStarted: false,
        end: (result) => {
          signal?.removeEventListener("abort", cancel);
          resolve(result);
        },
      };
      signal?.addEventListener("abort", cancel);
      this.#queue.add(message);
      this.queuedBytes += message.size;
      this.opened();
    });
  }

  /** @param {RTCDataChannel} channel */
  #pump(channel) {
    for (const message of this.#queue) {
      // The other peer, which created the channel, has other options than this one.
      if (this.#isWhole && message.size > PIECE_BYTES) {
        this.#end(message, "failed");
        continue;
      }
      for (;;) {
        if (channel.bufferedAmount > HIGH_WATER_BYTES) return;
        const { value: piece } = message.pieces.next();
        if (!piece) break;
        message.isStarted = true;
        try {
          channel.send(piece);
          this.sentAt = performance.now();
        } catch {
          return this.#events.failed(); // the channel is closing
        }
      }
      this.#end(message, "sent");
    }
    if (!channel.bufferedAmount) this.#onDrained();
  }

  /** @param {Outgoing} message @param {Result} result */
  #end(message, result) {
    this.#queue.delete(message);
    this.queuedBytes -= message.size;
    message.end(result);
  }

  /** Resolves when all messages have been sent to the network, or the channel is closed. @returns {Promise<void>} */
  drained() {
    return new Promise((resolve) => {
      this.#onDrained = resolve;
      if (!this.#channel) return resolve();
      this.#channel.bufferedAmountLowThreshold = 0;
      this.opened();
    });
  }

  /** @param {unknown} data untrusted */
  receive(data) {
    if (!(data instanceof ArrayBuffer) || data.byteLength === 0) return;
    const message = this.#received.add(new Uint8Array(data));
    if (message === null) this.#events.failed("invalid");
    else if (message !== undefined) this.#events.message(message);
  }

  /** Discards the messages that are not sent completely. The channel itself closes with its connection. */
  close() {
    for (const message of this.#queue) this.#end(message, "failed");
    this.#onDrained();
  }
}
