/**
 * Whole messages over one RTCDataChannel.
 *
 * @module
 */

import { Assembler, split } from "./framing.js";
import { HIGH_WATER_BYTES, LOW_WATER_BYTES } from "./limits.js";
import { Notify } from "./timing.js";

/**
 * @typedef {object} DataChannelEvents
 * @property {(data: string | ArrayBuffer) => void} message
 * @property {(reason: "invalid") => void} failed The other peer broke the rules of the pieces.
 */

/** Sends messages one after another, while the buffer of the channel has room, and joins received pieces. */
export class DataChannel {
  #channel;
  #events;
  #isClosed = false;
  /** Notified when the channel's buffer is low again, and when it is closed. */
  #sendable = new Notify();
  /** Settles when the previous message is sent. @type {Promise<unknown>} */ #sent = Promise.resolve();
  #received = new Assembler();

  /** @param {RTCDataChannel} channel @param {DataChannelEvents} events */
  constructor(channel, events) {
    this.#channel = channel;
    this.#events = events;
    channel.bufferedAmountLowThreshold = LOW_WATER_BYTES;
    channel.onbufferedamountlow = () => this.#sendable.notifyAll();
  }

  /** @param {Uint8Array} bytes @param {boolean} isText @returns {Promise<boolean>} whether the channel accepted all */
  send(bytes, isText) {
    const sent = this.#sent.then(() => this.#transmit(bytes, isText)).catch(() => false);
    this.#sent = sent;
    return sent;
  }

  /** @param {Uint8Array} bytes @param {boolean} isText */
  async #transmit(bytes, isText) {
    for (const piece of split(bytes, isText)) {
      while (!this.#isClosed && this.#channel.bufferedAmount > HIGH_WATER_BYTES) await this.#sendable.notified();
      if (this.#isClosed) return false;
      this.#channel.send(piece);
    }
    return true;
  }

  /** @param {unknown} data untrusted */
  receive(data) {
    if (!(data instanceof ArrayBuffer) || data.byteLength === 0) return;
    const message = this.#received.add(new Uint8Array(data));
    if (message === null) this.#events.failed("invalid");
    else if (message !== undefined) this.#events.message(message);
  }

  /** Ends the wait for the buffer. The channel itself closes with its connection. */
  close() {
    this.#isClosed = true;
    this.#sendable.notifyAll();
  }
}
