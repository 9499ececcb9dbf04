/**
 * The data channels of one connection.
 *
 * @module
 */

import { ControlChannel } from "./control_channel.js";
import { DataChannel } from "./data_channel.js";
import { MAX_MESSAGE_BYTES, MIN_QUEUED_BYTES } from "./limits.js";

/** @import { Control, Hello } from "./untrusted.js" */

/**
 * @typedef {object} ChannelsEvents
 * @property {() => void} opened Some channel is open.
 * @property {() => boolean} heard Something arrived. Returns whether it must be handled.
 * @property {(hello: Hello) => void} hello Called once, before `control` and `message`. `v` is 0 without a `hello`.
 * @property {(message: Control) => void} control
 * @property {(data: string | ArrayBuffer) => void} message
 * @property {(reason?: "invalid") => void} failed `invalid`: the other peer broke the protocol
 */

/**
 * Two channels, so that a long message delays neither pings nor relayed signals. Messages on other channels than the
 * control channel wait until the `hello` of the other peer has arrived.
 */
export class Channels {
  control;

  #rtc;
  #events;
  #data;
  /** @type {RTCDataChannel[]} */ #channels = [];
  /** What arrived before `hello`, unless it has arrived. @type {(() => void)[] | undefined} */ #waiting = [];
  #waitingBytes = 0;

  /** @param {RTCPeerConnection} rtc @param {ChannelsEvents} events */
  constructor(rtc, events) {
    this.#rtc = rtc;
    this.#events = events;
    const { control: onControl, message, failed } = events;
    const control = this.#create("control", 0, (data) => this.control.receive(data));
    this.control = new ControlChannel(control, { hello: (it) => this.#onHello(it), message: onControl, failed });
    const data = this.#create("data", 1, (data) => this.#afterHello(data, () => this.#data.receive(data)));
    this.#data = new DataChannel(data, { message, failed });
  }

  /**
   * Both sides create the same channels, so no negotiation is needed.
   *
   * @param {string} label @param {number} id @param {(data: unknown) => void} onmessage
   */
  #create(label, id, onmessage) {
    const channel = this.#rtc.createDataChannel(label, { negotiated: true, id });
    channel.binaryType = "arraybuffer";
    channel.onopen = this.#events.opened;
    channel.onclose = () => this.#events.failed();
    channel.onmessage = ({ data }) => this.#events.heard() && onmessage(data);
    this.#channels.push(channel);
    return channel;
  }

  get areOpen() {
    return this.#channels.every(({ readyState }) => readyState === "open");
  }

  /** @param {Hello} hello */
  #onHello(hello) {
    this.#events.hello(hello);
    // Each may close the connection, which ends the loop.
    while (this.#waiting?.length) this.#waiting.shift()?.();
    this.#waiting = undefined;
  }

  /** @param {any} data of a channel @param {() => void} handle */
  #afterHello(data, handle) {
    if (!this.#waiting) return handle();
    this.#waitingBytes += Math.max(data.byteLength ?? data.length, MIN_QUEUED_BYTES);
    if (this.#waitingBytes > MAX_MESSAGE_BYTES) this.#events.failed("invalid");
    else this.#waiting.push(handle);
  }

  /** Whether one more message may wait. @param {Uint8Array} bytes @param {number} maxQueuedBytes */
  hasRoom({ length }, maxQueuedBytes) {
    const { queuedBytes } = this.#data;
    return queuedBytes === 0 || queuedBytes + length <= maxQueuedBytes;
  }

  /** See `DataChannel.send`. @param {Uint8Array} bytes @param {boolean} isText @param {AbortSignal} [signal] */
  send(bytes, isText, signal) {
    return this.#data.send(bytes, isText, signal);
  }

  /** Resolves when all messages have been sent to the network, or the connection is closed. */
  drained() {
    return this.#data.drained();
  }

  /** Ends all waits. The channels themselves close with their connection. */
  close() {
    this.control.close();
    this.#data.close();
    this.#waiting = undefined;
  }
}
