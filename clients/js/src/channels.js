/**
 * The data channels of one connection.
 *
 * @module
 */

import { ControlChannel } from "./control_channel.js";
import { DataChannel } from "./data_channel.js";
import { EarlyMessages } from "./early_messages.js";
import { FLUSH_PINGS, LEAVE_TIMEOUT } from "./limits.js";

/** @import { NamedChannels } from "./named_channels.js" */
/** @import { Control, Hello } from "./untrusted.js" */

/** @import { Result } from "./data_channel.js" */

/**
 * @typedef {object} ChannelsEvents
 * @property {() => void} opened Some channel is open.
 * @property {() => boolean} isPolite whether the other peer creates the named channels
 * @property {() => void} heard Something arrived.
 * @property {(hello: Hello) => void} hello Called once, before `control` and `message`. `v` is 0 without a `hello`.
 * @property {(message: Control) => void} control
 * @property {(data: string | ArrayBuffer, channel?: string) => void} message with the name of its channel
 * @property {(reason?: "invalid") => void} failed `invalid`: the other peer broke the protocol
 */

/**
 * Two channels, so that a long message delays neither pings nor relayed signals, and the named ones of the app, as far
 * as both sides have them. Messages on other channels than the control channel wait until the `hello` of the other peer
 * has arrived.
 */
export class Channels {
  control;

  #rtc;
  #events;
  #options;
  /** @type {RTCDataChannel[]} */ #channels;
  /** By name; that of the group itself has none. @type {Map<string | undefined, DataChannel>} */ #data = new Map();
  /** What arrived before both channels were open: Firefox opens one after the other. */
  #beforeOpen;
  /** What arrived before `hello`. */ #beforeHello;
  #isClosed = false;

  /** @param {RTCPeerConnection} rtc @param {NamedChannels} options @param {ChannelsEvents} events */
  constructor(rtc, options, events) {
    this.#rtc = rtc;
    this.#options = options;
    this.#events = events;
    this.#beforeOpen = new EarlyMessages(() => events.failed("invalid"));
    this.#beforeHello = new EarlyMessages(() => events.failed("invalid"));
    // Both sides create these, so no negotiation is needed.
    const control = rtc.createDataChannel("control", { negotiated: true, id: 0 });
    const data = rtc.createDataChannel("data", { negotiated: true, id: 1 });
    this.#channels = [control, data];
    this.control = new ControlChannel(control, {
      hello: (hello) => this.#onHello(hello),
      message: events.control,
      failed: events.failed,
    });
    this.#listen(control, events.opened, (data) => this.control.receive(data));
    this.#attach(data, events.opened);
    rtc.ondatachannel = ({ channel }) => this.#accept(channel);
  }

  /** @param {RTCDataChannel} channel @param {() => void} onopen @param {(data: unknown) => void} onmessage */
  #listen(channel, onopen, onmessage) {
    channel.binaryType = "arraybuffer";
    channel.onopen = onopen;
    channel.onclose = () => this.#events.failed();
    channel.onmessage = ({ data }) => {
      this.#events.heard();
      if (!this.#isClosed) this.#beforeOpen.receive(data, () => onmessage(data));
    };
  }

  /** @param {RTCDataChannel} channel @param {() => void} [onopen] @param {string} [name] */
  #attach(channel, onopen, name) {
    const data = this.#prepare(name);
    this.#listen(channel, onopen ?? (() => data.opened()), (piece) => {
      this.#beforeHello.receive(piece, () => data.receive(piece));
    });
    data.attach(channel);
  }

  /** Returns a channel that may have no RTCDataChannel yet. @param {string} [name] */
  #prepare(name) {
    const { message, failed } = this.#events;
    const data = this.#data.get(name) ?? new DataChannel({ message: (it) => message(it, name), failed });
    this.#data.set(name, data);
    return data;
  }

  /** The other peer created a named channel. @param {RTCDataChannel} channel */
  #accept(channel) {
    const { label } = channel;
    const isValid = this.#options.get(label) && this.#events.isPolite() && !this.#data.get(label)?.isAttached;
    if (isValid) this.#attach(channel, undefined, label);
    else this.#events.failed("invalid");
  }

  get areOpen() {
    return this.#channels.every(({ readyState }) => readyState === "open");
  }

  /** Handles what arrived before the connection was open. */
  handleEarly() {
    this.#beforeOpen.release();
  }

  /** @param {Hello} hello */
  #onHello(hello) {
    for (const name of hello.channels) {
      const options = this.#options.get(name);
      if (!options) continue;
      if (this.#events.isPolite()) this.#prepare(name);
      else this.#attach(this.#rtc.createDataChannel(name, options), undefined, name);
    }
    this.#events.hello(hello);
    this.#beforeHello.release();
  }

  /** Whether both sides have this channel. @param {string} [name] */
  has(name) {
    return this.#data.has(name);
  }

  /** Whether one more message may wait. @param {Uint8Array} bytes @param {number} maxQueuedBytes */
  hasRoom({ length }, maxQueuedBytes) {
    let queuedBytes = 0;
    for (const data of this.#data.values()) queuedBytes += data.queuedBytes;
    return queuedBytes === 0 || queuedBytes + length <= maxQueuedBytes;
  }

  /**
   * See `DataChannel.send`. There must be a channel with this name.
   *
   * @param {Uint8Array} bytes @param {boolean} isText @param {{ signal?: AbortSignal, channel?: string }} options
   * @returns {Promise<Result>}
   */
  async send(bytes, isText, { signal, channel }) {
    return this.#data.get(channel)?.send(bytes, isText, signal) ?? "failed";
  }

  /**
   * Resolves when all messages have probably arrived, or the connection is closed. Drained channels have sent them to
   * the network, but a later message of another channel overtakes one whose packet is lost. Each answered ping makes
   * SCTP report the loss once more, and after three reports it sends the packet again.
   */
  async flush() {
    const channels = [...this.#data.values()];
    const isRecent = channels.some((it) => it.queuedBytes > 0 || performance.now() - it.sentAt < LEAVE_TIMEOUT);
    if (!isRecent) return;
    await Promise.all(channels.map((data) => data.drained()));
    for (let count = 0; count < FLUSH_PINGS && !this.#isClosed; count++) await this.control.roundTrip();
  }

  /** Ends all waits. The channels themselves close with their connection. */
  close() {
    this.#isClosed = true;
    this.control.close();
    for (const data of this.#data.values()) data.close();
    this.#beforeOpen.discard();
    this.#beforeHello.discard();
  }
}
