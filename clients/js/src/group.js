/**
 * The group, as pages see it.
 *
 * @module
 */

import { PeerEvent, PeerLeaveEvent, PeerMessageEvent, PeerStreamEvent, StateEvent } from "./events.js";
import { toBytes } from "./framing.js";
import { Joining } from "./joining.js";
import { PING_INTERVAL } from "./limits.js";
import { Mesh } from "./mesh.js";
import { toMetadata } from "./metadata.js";
import { RtcSettings } from "./rtc_settings.js";

/** @import { GroupEvents, Reason } from "./events.js" */
/** @import { Key } from "./joining.js" */
/** @import { Peer } from "./peer.js" */
/** @import { Close } from "./close_codes.js" */
/** @import { IceServers } from "./untrusted.js" */

/**
 * @typedef {object} Options
 * @property {RTCIceServer[] | (() => IceServers | Promise<IceServers>)} [iceServers] STUN and TURN servers: a list, or
 *   a function that is called for each connection. A result with a `ttl` is kept for this time. If the function fails,
 *   or takes more than 3 s, the connection is attempted without ICE servers. Default: the servers of the hub. With
 *   `[]`, which is enough within one network, the hub is not asked.
 * @property {RTCConfiguration} [rtcConfiguration] Other settings for `new RTCPeerConnection`. Without `certificates`,
 *   the group generates one for itself.
 * @property {unknown} [metadata] What the other peers learn about this one before their `peerjoin` event, in
 *   `peer.metadata`: a JSON value of at most 4096 bytes as JSON, for example a name.
 * @property {AbortSignal} [signal] Cancels joining, or leaves the group if it is already joined.
 * @property {boolean} [favored] Asks the hub to prefer this peer when it selects a member for a joiner.
 */

/**
 * Joins the group of all peers with this key.
 *
 * Resolves when this peer is a member: immediately for the first peer, otherwise after the first neighbour connects.
 * While the hub is unreachable, the connection is retried until it succeeds or `options.signal` aborts.
 *
 * Listeners that are added to the result miss the first neighbour's `peerjoin`, and the messages and streams that it
 * has already sent. To receive these, or to show the progress of joining, use `new Group`, add the listeners, and await
 * `joined`.
 *
 * Rejects with
 * - the reason of `options.signal`,
 * - a `NotSupportedError` if WebRTC is not available,
 * - a `TypeError` if the key is not a string, is empty, longer than 512 bytes, "." or "..", or if the URL or the
 *   metadata is invalid,
 * - a `RejectedError` if the hub rejects the key or this peer.
 *
 * @param {string | URL} url The hub's mount: `ws:`, `wss:`, `http:`, `https:` or relative to the page. The key is
 *   appended to its path, before its query.
 * @param {Key} key
 * @param {Options} [options]
 * @returns {Promise<Group>}
 */
export async function joinGroup(url, key, options) {
  const group = new Group(url, key, options);
  await group.joined;
  return group;
}

/** This peer's membership in one group. */
export class Group extends EventTarget {
  /** Resolves and rejects like `joinGroup`. @type {Promise<void>} */
  joined;

  /** Aborted when the group is left, which ends every wait. */
  #ended = new AbortController();
  #mesh;
  #joining;
  /** @type {(error: unknown) => void} */ #rejectJoined = () => {};

  /**
   * Starts to join. Listeners that are added right after the constructor miss no event of a neighbour.
   *
   * @param {string | URL} url @param {Key} key @param {Options} [options]
   */
  constructor(url, key, { iceServers, rtcConfiguration, favored, metadata, signal } = {}) {
    super();
    const settings = new RtcSettings(rtcConfiguration, iceServers);
    const ended = this.#ended.signal;
    /** @type {() => void} */ let resolveJoined = () => {};
    this.joined = new Promise((resolve, reject) => {
      resolveJoined = resolve;
      this.#rejectJoined = reject;
    });
    // A page that only listens to `statechange` must not cause an unhandled rejection.
    this.joined.catch(() => {});

    const mesh = new Mesh(settings, {
      opened: () => joining.peerOpened(),
      closed: () => joining.peerClosed(),
      met: (peer) => this.dispatchEvent(new PeerEvent("peerjoin", peer)),
      metadataChanged: (peer) => this.dispatchEvent(new PeerEvent("peerchange", peer)),
      left: (peer, reason) => this.dispatchEvent(new PeerLeaveEvent(peer, reason)),
      failed: (id, reason) => joining.peerFailed(id, reason),
      message: (peer, data) => this.dispatchEvent(new PeerMessageEvent(peer, data)),
      stream: (peer, stream) => this.dispatchEvent(new PeerStreamEvent(peer, stream)),
      changed: () => this.dispatchEvent(new Event("meshchange")),
    });
    const joining = new Joining(
      mesh,
      { url, key, favored },
      {
        connecting: (url) => settings.askHub(url),
        statechange: (state, reason, close) => this.dispatchEvent(new StateEvent(state, reason, close)),
        joined: () => resolveJoined(),
        rejected: (error, close) => this.#finish("rejected", error, close),
      },
      ended,
    );
    this.#mesh = mesh;
    this.#joining = joining;

    try {
      signal?.throwIfAborted();
      // Reports an invalid configuration here, not when the first peer connects.
      settings.check();
      if (metadata !== undefined) mesh.setMetadata(toMetadata(metadata));
      joining.check();
    } catch (error) {
      this.#finish("", error);
      return;
    }
    signal?.addEventListener("abort", () => this.#finish("", signal.reason), { signal: ended });
    // `leave` sends `bye`, so neighbours notice a closed page before the ping timeout.
    globalThis.addEventListener?.("pagehide", () => this.leave(), { signal: ended });
    globalThis.addEventListener?.("online", () => joining.retryNow(), { signal: ended });
    const timer = setInterval(() => {
      mesh.tick();
      joining.tick();
    }, PING_INTERVAL);
    ended.addEventListener("abort", () => clearInterval(timer));
    const run = settings.prepare().then(() => joining.run());
    run.catch((error) => this.#finish("", error));
  }

  /** This peer's id. It changes only if another peer in the group already has it (a chance of 1 in 2^31). */
  get id() {
    return this.#mesh.id;
  }

  get state() {
    return this.#joining.state;
  }

  get reason() {
    return this.#joining.reason;
  }

  /**
   * The connected peers by id, in the order of their `peerjoin` events. Always the same map, which is always current.
   *
   * @returns {ReadonlyMap<number, Peer>}
   */
  get peers() {
    return this.#mesh.peers;
  }

  /**
   * Changes the `metadata` of this peer. The other peers receive it in a `peerchange` event. Changes within one second
   * are combined.
   *
   * @param {unknown} value
   * @throws {TypeError} if it is not a JSON value, or has more than 4096 bytes as JSON
   */
  setMetadata(value) {
    this.#mesh.setMetadata(toMetadata(value));
  }

  /**
   * Sends data to one neighbour, or to all of them. Messages from one peer to another arrive in order. A long message
   * is sent in pieces and waits while the channel's buffer is full. Await the promise between large messages to limit
   * memory use.
   *
   * Resolves with the number of peers whose channel accepted the whole message (0 without neighbours). Never rejects.
   * A message that is sent just before a peer leaves may be lost.
   *
   * @param {string | ArrayBuffer | ArrayBufferView} data is copied
   * @param {number} [peerId]
   * @returns {Promise<number>}
   * @throws {TypeError} for other types of data, and for more than 64 MiB
   */
  send(data, peerId) {
    return this.#mesh.send(toBytes(data), typeof data === "string", peerId);
  }

  /** Sends a stream to all neighbours, including later ones. @param {MediaStream} stream */
  addStream(stream) {
    this.#mesh.addStream(stream);
  }

  /** Stops sending a stream. Does not stop its tracks. @param {MediaStream} stream */
  removeStream(stream) {
    this.#mesh.removeStream(stream);
  }

  /** Leaves the group and closes all connections. Emits no `peerleave`. Further calls have no effect. */
  leave() {
    this.#finish("", new DOMException("The group was left", "AbortError"));
  }

  /** @param {Reason} reason @param {unknown} error rejects `joined` @param {Close} [close] */
  #finish(reason, error, close) {
    if (this.state === "left") return;
    this.#ended.abort();
    this.#mesh.close();
    this.#joining.setLeft(reason, close);
    this.#rejectJoined(error);
  }

  /**
   * @template {keyof GroupEvents} T
   * @param {T} type
   * @param {((event: GroupEvents[T]) => void) | EventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @override
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {EventListener} */ (listener), options);
  }

  /**
   * @template {keyof GroupEvents} T
   * @param {T} type
   * @param {((event: GroupEvents[T]) => void) | EventListenerObject | null} listener
   * @param {boolean | EventListenerOptions} [options]
   * @override
   */
  removeEventListener(type, listener, options) {
    super.removeEventListener(type, /** @type {EventListener} */ (listener), options);
  }
}
