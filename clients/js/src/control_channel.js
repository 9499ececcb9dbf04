/**
 * Control messages over one RTCDataChannel: JSON objects.
 *
 * @module
 */

import { MAX_CONTROL_LENGTH } from "./limits.js";
import { readJson } from "./untrusted.js";

/**
 * @typedef {object} ControlChannelEvents
 * @property {(message: any) => void} message An object, otherwise untrusted. Pings and their answers are not reported.
 * @property {(reason?: "invalid") => void} failed `invalid`: the other peer broke the protocol
 */

/** Sends and receives control messages, and measures the round-trip time. */
export class ControlChannel {
  /** In milliseconds, smoothed. @type {number | undefined} */
  roundTripTime;

  #channel;
  #events;

  /** @param {RTCDataChannel} channel @param {ControlChannelEvents} events */
  constructor(channel, events) {
    this.#channel = channel;
    this.#events = events;
  }

  /** Does nothing unless the channel is open. @param {object} message */
  send(message) {
    if (this.#channel.readyState !== "open") return;
    try {
      this.#channel.send(JSON.stringify(message));
    } catch {
      // The buffer of this channel only overflows if the other side no longer reads.
      this.#events.failed();
    }
  }

  ping() {
    this.send({ ping: performance.now() });
  }

  /** @param {unknown} text untrusted */
  receive(text) {
    if (typeof text !== "string" || text.length > MAX_CONTROL_LENGTH) return this.#events.failed("invalid");
    const message = readJson(text);
    if (!message) return;
    if (typeof message.ping === "number") this.send({ pong: message.ping });
    else if (typeof message.pong === "number") this.#updateRoundTripTime(performance.now() - message.pong);
    else this.#events.message(message);
  }

  /** @param {number} sample */
  #updateRoundTripTime(sample) {
    if (!(sample >= 0)) return;
    const average = this.roundTripTime ?? sample;
    this.roundTripTime = average + (sample - average) / 4;
  }
}
