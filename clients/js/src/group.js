/// <reference lib="esnext.disposable" preserve="true" />

/**
 * The group, as pages see it.
 *
 * @module
 */

import {
  GroupTarget,
  PeerErrorEvent,
  PeerEvent,
  PeerLeaveEvent,
  PeerMessageEvent,
  PeerStreamEvent,
  StateEvent,
} from "./events.js";
import { toBytes } from "./framing.js";
import { Joining } from "./joining.js";
import { PING_INTERVAL } from "./limits.js";
import { LocalStreams } from "./local_streams.js";
import { Mesh } from "./mesh.js";
import { toMetadata } from "./metadata.js";
import { toIds } from "./peer.js";
import { RtcSettings } from "./rtc_settings.js";

/** @import { Reason } from "./events.js" */
/** @import { Key } from "./joining.js" */
/** @import { Options, SendOptions } from "./options.js" */
/** @import { Peer, Recipients } from "./peer.js" */
/** @import { Close } from "./close_codes.js" */

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
 * - a `TypeError` if the key is not a string, is empty, longer than 512 bytes, "." or "..", or if the URL or
 *   another option is invalid (`new Group` throws it),
 * - the error of the browser, if it rejects `iceServers` or `rtcConfiguration` (`new Group` throws it),
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
export class Group extends GroupTarget {
  /** Resolves and rejects like `joinGroup`. @type {Promise<void>} */
  joined;

  #target;
  #settings;
  /** @type {Map<number, Peer>} */ #peers = new Map();
  #streams = new LocalStreams();
  /** Aborted when the group is left, which ends every wait. */
  #ended = new AbortController();
  /** Aborted when this peer stops to be a member, for good or while its page is in the back/forward cache. */
  #stopped = new AbortController();
  #mesh;
  #joining;
  /** @type {() => void} */ #resolveJoined = () => {};
  /** @type {(error: unknown) => void} */ #rejectJoined = () => {};
  /** Resolves when the group is left completely. @type {Promise<void> | undefined} */ #left;

  /**
   * Starts to join. Listeners that are added right after the constructor miss no event of a neighbour.
   *
   * @param {string | URL} url @param {Key} key @param {Options} [options]
   * @throws {TypeError} if the key, the URL or an option is invalid
   * @throws {DOMException} if the browser rejects `iceServers` or `rtcConfiguration`
   */
  constructor(url, key, { favored, metadata, signal, ...options } = {}) {
    super();
    this.#target = { url, key, favored };
    this.#settings = new RtcSettings(options);
    // Reports an invalid configuration here, not when the first peer connects.
    this.#settings.check();
    this.joined = new Promise((resolve, reject) => {
      this.#resolveJoined = resolve;
      this.#rejectJoined = reject;
    });
    // A page that only listens to `statechange` must not cause an unhandled rejection.
    this.joined.catch(() => {});
    [this.#mesh, this.#joining] = this.#create();

    this.#joining.check();
    if (metadata !== undefined) this.setMetadata(metadata);

    if (signal?.aborted) this.#finish("", signal.reason);
    if (!this.#settings.isSupported) this.#finish("", new DOMException("WebRTC is not available", "NotSupportedError"));
    if (this.#left) return;
    const ended = { signal: this.#ended.signal };
    signal?.addEventListener("abort", () => this.#finish("", signal.reason), ended);
    globalThis.addEventListener?.("pagehide", (event) => this.#onPageHide(event.persisted), ended);
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && this.#resume(), ended);
    globalThis.addEventListener?.("online", () => this.retry(), ended);
    this.#start();
  }

  /** Returns what a membership consists of. @returns {[Mesh, Joining]} */
  #create() {
    const settings = this.#settings;
    const mesh = new Mesh(settings, this.#peers, {
      opened: () => joining.peerOpened(),
      closed: () => joining.peerClosed(),
      met: (peer, connection) => {
        this.#streams.update(connection);
        this.dispatchEvent(new PeerEvent("peerjoin", peer));
      },
      metadataChanged: (peer) => this.dispatchEvent(new PeerEvent("peerchange", peer)),
      left: (peer, reason) => this.dispatchEvent(new PeerLeaveEvent(peer, reason)),
      failed: (id, reason) => joining.peerFailed(id, reason),
      unreachable: (id, reason) => this.dispatchEvent(new PeerErrorEvent(id, reason)),
      message: (...message) => this.dispatchEvent(new PeerMessageEvent(...message)),
      stream: (peer, stream) => this.dispatchEvent(new PeerStreamEvent(peer, stream)),
      changed: () => this.dispatchEvent(new Event("meshchange")),
    });
    const joining = new Joining(mesh, this.#target, {
      log: settings.log,
      connecting: (url) => settings.askHub(url),
      statechange: ({ state, reason, close, nextAttempt }) => {
        settings.log(`${state} ${reason}`);
        this.dispatchEvent(new StateEvent(state, reason, close, nextAttempt));
      },
      joined: () => this.#resolveJoined(),
      failed: (...failure) => this.#finish(...failure),
    });
    return [mesh, joining];
  }

  #start() {
    const stopped = this.#stopped.signal;
    const joining = this.#joining;
    const timer = setInterval(() => {
      this.#mesh.tick();
      joining.tick();
    }, PING_INTERVAL);
    stopped.addEventListener("abort", () => clearInterval(timer));
    const run = this.#settings.prepare().then(() => joining.run(stopped));
    run.catch((error) => stopped.aborted || this.#finish("", error));
  }

  /** @param {boolean} persisted whether the page may be shown again, from the browser's back/forward cache */
  #onPageHide(persisted) {
    if (!persisted) return this.#finish("", leftError(), undefined, true);
    // Browsers cache only pages without connections. The page does not notice how long it was there.
    const peers = [...this.#peers.values()];
    this.#mesh.close(true); // sends rejects over the socket
    this.#stopped.abort();
    for (const peer of peers) this.dispatchEvent(new PeerLeaveEvent(peer, "lost"));
    this.#joining.setStopped();
  }

  /** Joins again, with another id: the other peers were told that the old one left. */
  #resume() {
    if (!this.#stopped.signal.aborted) return;
    this.#stopped = new AbortController();
    [this.#mesh, this.#joining] = this.#create();
    this.#start();
  }

  /**
   * This peer's id. It changes only if another peer in the group already has it (a chance of 1 in 2^31), and when the
   * page returns from the browser's back/forward cache.
   */
  get id() {
    return this.#mesh.id;
  }

  /** The SHA-256 fingerprint of this peer's certificate, in upper-case hex; `undefined` until it is known. */
  get fingerprint() {
    return this.#settings.fingerprint;
  }

  get state() {
    return this.#joining.status.state;
  }

  get reason() {
    return this.#joining.status.reason;
  }

  /** Of the hub's close, as in the last `statechange`. */
  get code() {
    return this.#joining.status.close?.code;
  }

  get closeReason() {
    return this.#joining.status.close?.reason ?? "";
  }

  /**
   * When the group tries to reach the hub again, in milliseconds on the clock of `Date`. It is `undefined` unless the
   * group waits for this time.
   */
  get nextAttempt() {
    return this.#joining.status.nextAttempt;
  }

  /** Ends the wait for `nextAttempt`. Has no effect without one. */
  retry() {
    this.#joining.retry();
  }

  /**
   * The connected peers by id, in the order of their `peerjoin` events. Always the same map, which is always current.
   *
   * @returns {ReadonlyMap<number, Peer>}
   */
  get peers() {
    return this.#peers;
  }

  /**
   * Changes the `metadata` of this peer. `null` is the value for none: `undefined` cannot be sent. The other peers
   * receive it in a `peerchange` event. Changes within one second are combined.
   *
   * @param {unknown} value
   * @throws {TypeError} if it is not a JSON value, or has more than 4096 bytes as JSON or 64 nested levels
   */
  setMetadata(value) {
    this.#settings.metadata = toMetadata(value);
    this.#mesh.announceMetadata();
  }

  /**
   * Sends data to peers, or to all of them. Messages from one peer to another arrive in order, unless their channel is
   * unordered or another one. A long message is sent in pieces and waits while the channel's buffer is full. Await the
   * promise between large messages to limit memory use.
   *
   * Resolves with the number of peers whose channel accepted the whole message (0 without peers). A message that is
   * sent just before a peer leaves may be lost. Rejects with
   * - a `QuotaExceededError` if the messages that wait for each of the peers would exceed `maxQueuedBytes`. If this is
   *   so for some of the peers only, these are not counted.
   * - the reason of `signal` if it aborts before a part of the message has been sent. After that it has no effect.
   *
   * @param {string | ArrayBuffer | ArrayBufferView} data is copied
   * @param {SendOptions} [options]
   * @returns {Promise<number>}
   * @throws {TypeError} for other types of data or options, for more than 64 MiB, and for more than 16384 bytes on a
   *   channel that is unordered or not reliable
   */
  send(data, options = {}) {
    // An id in the place of the options must not make a private message a public one.
    if (typeof options !== "object") throw new TypeError(`options is of type ${typeof options}; must be an object`);
    const bytes = toBytes(data);
    this.#settings.channels.checkMessage(options.channel, bytes.length);
    const { channel, signal } = options;
    return this.#mesh.send(bytes, typeof data === "string", { ids: toIds(options), channel, signal });
  }

  /**
   * Sends a stream to peers, or to all. Peers that join later, or connect again, get it as well. A further call for the
   * same stream adds peers.
   *
   * @param {MediaStream} stream @param {{ to?: Recipients }} [options]
   * @throws {TypeError} if `to` has another type
   */
  addStream(stream, options = {}) {
    const ids = toIds(options);
    if (this.#left) return;
    this.#streams.add(stream, ids);
    this.#sendStreams();
  }

  /** Stops sending a stream. Does not stop its tracks. @param {MediaStream} stream */
  removeStream(stream) {
    this.#streams.remove(stream);
    this.#sendStreams();
  }

  #sendStreams() {
    for (const connection of this.#mesh.connections) this.#streams.update(connection);
  }

  /**
   * Sends another track in the place of one of an added stream, to all its peers, without a new negotiation: another
   * camera, for example. The stream itself does not change. Does not stop the old track.
   *
   * Rejects with a `TypeError` if the old track is not sent, or the new one is sent already or of another kind, or with
   * the error of the browser if the new one needs a new negotiation.
   *
   * @param {MediaStreamTrack} oldTrack @param {MediaStreamTrack} newTrack
   * @returns {Promise<void>}
   */
  replaceTrack(oldTrack, newTrack) {
    return this.#streams.replace(oldTrack, newTrack, this.#mesh.connections);
  }

  /**
   * Leaves the group. Emits no `peerleave`. Resolves when the messages that were accepted before have been sent to the
   * network and the connections are closed, after 2 s at most. Further calls return the same promise.
   *
   * When the page is closed, the group leaves by itself, without sending the messages that still wait. When the browser
   * shows the page again from its back/forward cache, the group joins again with another `id`.
   *
   * @returns {Promise<void>}
   */
  leave() {
    this.#finish("", leftError());
    return /** @type {Promise<void>} */ (this.#left);
  }

  [Symbol.asyncDispose]() {
    return this.leave();
  }

  /**
   * @param {Reason} reason @param {unknown} error rejects `joined` @param {Close} [close]
   * @param {boolean} [now] whether the page is about to be closed
   */
  #finish(reason, error, close, now) {
    if (this.#left) return;
    this.#ended.abort();
    this.#left = this.#mesh.close(now); // sends rejects over the socket
    this.#stopped.abort();
    this.#joining.setLeft(reason, close);
    this.#rejectJoined(error);
  }
}

function leftError() {
  return new DOMException("The group was left", "AbortError");
}
