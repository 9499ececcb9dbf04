/**
 * One WebSocket to the hub.
 *
 * @module
 */

import { HUB_IS_SILENT } from "./close_codes.js";
import { HEARTBEAT_INTERVAL, HUB_TIMEOUT, MAX_KEY_BYTES, MAX_MISSED_HEARTBEATS } from "./limits.js";
import { aborted } from "./timing.js";
import { decode, encode } from "./wire.js";

/** @import { Close } from "./close_codes.js" */
/** @import { Signal } from "./untrusted.js" */
/** @import { Content, Message } from "./wire.js" */

/**
 * How signals reach a peer that is not a neighbour yet: through the hub or through a neighbour.
 *
 * @typedef {object} Route
 * @property {(signal: Signal) => void} send
 * @property {(signal?: Signal) => void} end Ends the route, after sending one last signal if there is one.
 * @property {number} [relay] The neighbour that relays the signals. Without it, the hub does.
 */

/**
 * Returns the URL of a group: the key is one segment of the path, after the mount and before the query.
 *
 * @param {string | URL} base @param {string} key @param {boolean} [favored]
 * @throws {TypeError} if the key or the URL is invalid
 */
export function groupUrl(base, key, favored) {
  if (typeof key !== "string") throw new TypeError(`key is of type ${typeof key}; must be a string`);
  if (/\p{Surrogate}/u.test(key)) throw new TypeError("key has a lone surrogate; must be well-formed Unicode");
  const bytes = new TextEncoder().encode(key).length;
  if (bytes < 1 || bytes > MAX_KEY_BYTES) {
    throw new TypeError(`key is ${bytes} bytes; must be 1 to ${MAX_KEY_BYTES}`);
  }
  // URL parsers resolve these path segments, even when they are percent-encoded.
  if (key === "." || key === "..") throw new TypeError(`key is "${key}"; must not be a dot segment`);
  const url = new URL(base, globalThis.location?.href);
  url.protocol = url.protocol.replace(/^http/, "ws");
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(key)}`;
  if (!/^wss?:$/.test(url.protocol)) throw new TypeError(`URL is ${url.protocol}; must be ws:, wss:, http: or https:`);
  url.hash = "";
  // The protocol uses a bare `favored`; `searchParams` would write `favored=`.
  if (favored) url.search += url.search ? "&favored" : "?favored";
  return url.href;
}

/** One WebSocket to the hub. It ends when it closes, fails to open, or the hub misses its heartbeats. */
export class Signaling {
  /** Resolves with `true` when the socket opens, or with `false` if it does not. @type {Promise<boolean>} */
  opened;
  isOpen = false;
  /** How it closed. @type {Close | undefined} */
  outcome;
  /** Whether the hub has answered a `connect`: it has admitted this peer. */
  isAccepted = false;

  #socket;
  #oncontent;
  /** @type {(opened: boolean) => void} */ #resolveOpened = () => {};
  #closed = new AbortController();
  /** Receives the answer to `connect`. @type {((isMember: boolean) => void) | undefined} */ #resolveAnswer;
  /** Closes the socket if it does not open, or if the hub does not answer `connect`. */
  #deadline;
  #heartbeat = 0;
  #missedHeartbeats = 0;
  #lastHeartbeat = 0;

  /** @param {string} url @param {(content: Content) => void} oncontent */
  constructor(url, oncontent) {
    this.#oncontent = oncontent;
    this.opened = new Promise((resolve) => (this.#resolveOpened = resolve));
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#onOpen();
    socket.onmessage = ({ data }) => this.#onMessage(data);
    socket.onclose = ({ code, reason }) => this.#end({ code, reason });
    this.#deadline = this.#startDeadline();
  }

  /** Aborts when the socket is closed. */
  get closed() {
    return this.#closed.signal;
  }

  #startDeadline() {
    return setTimeout(() => this.close(HUB_IS_SILENT), HUB_TIMEOUT);
  }

  #onOpen() {
    clearTimeout(this.#deadline);
    this.isOpen = true;
    this.#heartbeat = setInterval(() => {
      if (++this.#missedHeartbeats >= MAX_MISSED_HEARTBEATS) this.close(HUB_IS_SILENT);
      else this.#sendHeartbeat();
    }, HEARTBEAT_INTERVAL);
    this.#resolveOpened(true);
  }

  #sendHeartbeat() {
    this.#lastHeartbeat = performance.now();
    this.#send({ heartbeat: true });
  }

  /** @param {unknown} data */
  #onMessage(data) {
    const message = data instanceof ArrayBuffer ? decode(new Uint8Array(data)) : undefined;
    if (!message) return;
    if (message.heartbeat !== undefined) {
      this.#missedHeartbeats = 0;
      // Browsers throttle the timers of a hidden tab to one per minute, but not the messages that it receives.
      if (performance.now() - this.#lastHeartbeat > HEARTBEAT_INTERVAL * 1.2) this.#sendHeartbeat();
    } else if (message.connected !== undefined) {
      this.isAccepted = true;
      this.#resolveAnswer?.(message.connected);
    } else if (message.content) {
      this.#oncontent(message.content);
    }
  }

  /**
   * Sends `connect` and waits for the answer.
   *
   * @param {number} id @param {number[]} members
   * @returns {Promise<boolean | undefined>} whether this peer is a member; `undefined` if the socket closed
   */
  async connect(id, members) {
    const answer = new Promise((/** @type {(isMember: boolean) => void} */ resolve) => (this.#resolveAnswer = resolve));
    this.#deadline = this.#startDeadline();
    this.#send({ connect: { id, members } });
    const isMember = await aborted([this.closed], answer);
    clearTimeout(this.#deadline);
    return isMember;
  }

  /**
   * Returns the route over a link to a joiner, or (0) to the member that this peer is bound to.
   *
   * @param {number} recipientId
   * @returns {Route}
   */
  route(recipientId) {
    let ended = false;
    /** @param {Signal | undefined} signal @param {boolean} lastData */
    const send = (signal, lastData) => {
      if (ended) return;
      ended = lastData;
      const data = signal ? new TextEncoder().encode(JSON.stringify(signal)) : new Uint8Array();
      this.#send({ content: { senderId: 0, recipientId, lastData, data } });
    };
    return { send: (signal) => send(signal, false), end: (signal) => send(signal, true) };
  }

  /** @param {Message} message */
  #send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encode(message));
  }

  /** Does not wait for the close handshake: the hub may be unresponsive. @param {number} [code] */
  close(code = 1000) {
    this.#socket.close(code);
    this.#end({ code, reason: "" });
  }

  /** @param {Close} close */
  #end(close) {
    if (this.outcome) return;
    this.outcome = close;
    this.isOpen = false;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    clearTimeout(this.#deadline);
    clearInterval(this.#heartbeat);
    this.#resolveOpened(false);
    this.#closed.abort();
  }
}
