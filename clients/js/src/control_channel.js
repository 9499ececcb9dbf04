/**
 * Control messages over one RTCDataChannel: JSON objects.
 *
 * @module
 */

import { HELLO_TIMEOUT } from "./limits.js";
import { isTooLong, readControl } from "./untrusted.js";

/** @import { Control, Hello } from "./untrusted.js" */

/**
 * @typedef {object} ControlChannelEvents
 * @property {(hello: Hello) => void} hello Called once, before `message`. `v` is 0 if the other peer sends no `hello`.
 * @property {(message: Control) => void} message Pings, their answers and ignored messages are not reported.
 * @property {(reason?: "invalid") => void} failed `invalid`: the other peer broke the protocol
 */

/** Sends and receives control messages, and measures the round-trip time. */
export class ControlChannel {
  /** In milliseconds, smoothed. @type {number | undefined} */
  roundTripTime;

  #channel;
  #events;
  #hasHello = false;
  #onAnswer = () => {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #helloTimeout;

  /** @param {RTCDataChannel} channel @param {ControlChannelEvents} events */
  constructor(channel, events) {
    this.#channel = channel;
    this.#events = events;
  }

  /** Call it when the connection is open. @param {object} hello the first message */
  open(hello) {
    this.send({ hello });
    this.#helloTimeout = setTimeout(() => this.#onHello(), HELLO_TIMEOUT);
  }

  close() {
    clearTimeout(this.#helloTimeout);
    this.#hasHello = true;
    this.#onAnswer();
  }

  /** Does nothing unless the channel is open. @param {object} message */
  send(message) {
    if (this.#channel.readyState !== "open") return;
    const text = JSON.stringify(message);
    // The other side would close the connection. A relayed signal can be longer than it was: 1e20 has 21 digits.
    if (isTooLong(text)) return;
    try {
      this.#channel.send(text);
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
    const message = readControl(text);
    if (!message) return this.#events.failed("invalid");
    const { hello, ping, pong } = message;
    // Only as the first message: later ones are ignored.
    this.#onHello(hello);
    if (ping !== undefined) this.send({ pong: ping });
    else if (pong !== undefined) this.#onPong(pong);
    else if (!hello) this.#events.message(message);
  }

  /** @param {Hello} [hello] */
  #onHello(hello = { v: 0, channels: [] }) {
    if (this.#hasHello) return;
    this.close();
    this.#events.hello(hello);
  }

  /** Resolves when a ping is answered, or when the channel is closed meanwhile. */
  roundTrip() {
    return new Promise((/** @type {(value?: undefined) => void} */ resolve) => {
      this.#onAnswer = resolve;
      this.ping();
    });
  }

  /** @param {number} sentAt untrusted */
  #onPong(sentAt) {
    this.#onAnswer();
    const sample = performance.now() - sentAt;
    if (!(sample >= 0)) return;
    const average = this.roundTripTime ?? sample;
    this.roundTripTime = average + (sample - average) / 4;
  }
}
