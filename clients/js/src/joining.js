/**
 * The loop that keeps this peer a member of the hub's group.
 *
 * @module
 */

import { meaningOf } from "./close_codes.js";
import { RejectedError } from "./events.js";
import {
  KEY_TIMEOUT,
  MAX_ANSWERING,
  RECONNECT_MAX,
  RECONNECT_MIN,
  RETRY_MAX,
  RETRY_MIN,
  STABLE_AFTER,
} from "./limits.js";
import { Membership } from "./membership.js";
import { groupUrl } from "./signaling.js";
import { backOff, jitter, Notify, sleep, withTimeout } from "./timing.js";

/** @import { Reason, State } from "./events.js" */
/** @import { Mesh } from "./mesh.js" */
/** @import { Close } from "./close_codes.js" */
/** @import { CloseReason } from "./untrusted.js" */

/**
 * The key of the group, or a function that returns it. The function is called before every socket, so that keys can
 * expire. If it fails, or does not answer within 10 s, it is called again later. If the hub closes the connection with
 * 4740 (access has expired), the function is asked once for a fresh key. The group is left if the function fails then,
 * or if the fresh key is rejected too. The connections to peers stay open meanwhile.
 *
 * @typedef {string | (() => string | Promise<string>)} Key
 */

/**
 * @typedef {object} Target The group to join.
 * @property {string | URL} url the hub's mount
 * @property {Key} key
 * @property {boolean} [favored]
 */

/**
 * @typedef {object} JoiningEvents
 * @property {(url: string) => void} connecting A socket with this URL is about to open.
 * @property {(state: State, reason: Reason, close?: Close) => void} statechange
 * @property {() => void} joined This peer is a member, for the first time or again.
 * @property {(error: RejectedError, close: Close) => void} rejected The group must be left.
 */

/** Opens one socket after another, with a back-off, and knows the state of the group. */
export class Joining {
  /** @type {State} */ #state = "connecting";
  /** @type {Reason} */ #reason = "";
  /** The close code of the last change of the state. @type {number | undefined} */ #code;
  #wasJoined = false;

  #mesh;
  #target;
  #events;
  #ended;
  /** Over the current socket. @type {Membership | undefined} */ #membership;
  /** Ends the wait before the next socket. */ #retry = new Notify();
  /** Whether ICE failed, and no peer has been connected since. */ #iceFailed = false;
  /** How often it failed with each id since then. @type {Map<number, number>} */ #iceFailures = new Map();

  /**
   * @param {Mesh} mesh @param {Target} target @param {JoiningEvents} events
   * @param {AbortSignal} ended aborts when the group is left, which closes the socket and ends every wait
   */
  constructor(mesh, target, events, ended) {
    this.#mesh = mesh;
    this.#target = target;
    this.#events = events;
    this.#ended = ended;
    ended.addEventListener("abort", () => this.#membership?.close());
  }

  get state() {
    return this.#state;
  }

  get reason() {
    return this.#reason;
  }

  /** Throws if the URL or a constant key is invalid. */
  check() {
    const { url, key } = this.#target;
    groupUrl(url, typeof key === "function" ? "key" : key);
  }

  /** Keeps a socket to the hub open until the group is left. Rejects if the key of the function is invalid. */
  async run() {
    /** Set from a close with 4740 until the hub accepts a fresh key. @type {Close | undefined} */ let expired;
    for (let failures = 0; ; failures++) {
      const url = await this.#nextUrl(expired);
      if (this.#ended.aborted) return;
      if (url === undefined) {
        await this.#sleep(backOff(RECONNECT_MIN, RECONNECT_MAX, failures));
        continue;
      }
      const since = performance.now();
      const { close, isAccepted, isBlocked } = await this.#runMembership(url);
      if (this.#ended.aborted) return;
      if (isAccepted) expired = undefined;
      const meaning = meaningOf(close.code);
      const canRenew = meaning === "expired" && typeof this.#target.key === "function" && !expired;
      if (meaning === "rejected" || (meaning === "expired" && !canRenew)) return this.#reject(close);
      if (canRenew) expired = close;
      if (isBlocked) {
        failures = 0;
        await this.#sleep(jitter(RETRY_MAX));
        continue;
      }
      if (performance.now() - since > STABLE_AFTER) failures = 0;
      // An evicted peer had no neighbours: the group now belongs to the joiner that evicted it. It returns as a joiner.
      const isEvicted = meaning === "evicted";
      if (isEvicted) this.#setJoining("joining", meaning, close);
      else this.#setAway(meaning, close);
      const soon = (canRenew || isEvicted) && failures === 0;
      await this.#sleep(soon ? jitter(RETRY_MIN) : backOff(RECONNECT_MIN, RECONNECT_MAX, failures));
    }
  }

  /** Waits for `ms`, at most until `retryNow` is called. @param {number} ms */
  #sleep(ms) {
    return sleep(ms, this.#ended, this.#retry.notified());
  }

  /** Ends the wait before the next socket. */
  retryNow() {
    this.#retry.notifyAll();
  }

  /**
   * Returns the URL of the next socket, with a key from the app. Returns `undefined` if the app has none at the moment.
   *
   * @param {Close | undefined} expired the close that makes a failure final
   */
  async #nextUrl(expired) {
    const { url, key, favored } = this.#target;
    if (typeof key === "string") return groupUrl(url, key, favored);
    let fresh;
    try {
      fresh = await withTimeout(KEY_TIMEOUT, async () => key());
    } catch (cause) {
      if (expired) this.#reject(expired, { cause });
      else this.#setAway("key-failed");
      return undefined;
    }
    return groupUrl(url, fresh, favored);
  }

  /** @param {string} url */
  #runMembership(url) {
    const events = {
      opened: () => this.#wasJoined || this.#setJoining("joining", ""),
      joining: (/** @type {Reason} */ reason) => this.#setJoining("joining", reason),
      joined: () => {
        this.#wasJoined = true;
        this.#setJoining("joined", "");
        this.#events.joined();
      },
      iceFailures: (/** @type {number} */ id) => this.#iceFailures.get(id) ?? 0,
    };
    this.#membership = new Membership(url, this.#mesh, events, this.#ended);
    // At the same time as the socket opens. Joining does not wait for it, connection attempts do.
    this.#events.connecting(url);
    return this.#membership.run();
  }

  // ---- Events of the mesh -------------------------------------------------------------------------------------------

  /** A peer became a neighbour. */
  peerOpened() {
    this.#iceFailed = false;
    this.#iceFailures.clear();
    if (this.#reason === "ice-failed") this.#setState(this.#state, "");
  }

  /** A peer is no longer a neighbour. */
  peerClosed() {
    this.#membership?.connectAgain();
  }

  /** An attempt to connect failed. @param {number} id 0 if it is not known @param {CloseReason} reason */
  peerFailed(id, reason) {
    // A peer with neighbours reports nothing: its neighbours see the other peer.
    if (reason !== "ice-failed" || this.#mesh.neighbourIds.length > 0) return;
    if (this.#iceFailures.size >= MAX_ANSWERING) this.#iceFailures.clear();
    this.#iceFailures.set(id, (this.#iceFailures.get(id) ?? 0) + 1);
    this.#iceFailed = true;
    if (this.#state === "joining" || this.#state === "joined") this.#setState(this.#state, "ice-failed");
  }

  /** Call it from time to time: peers that were lost long enough ago may be in another half of the group. */
  tick() {
    if (this.#state === "joined" && this.#mesh.lostIds.length) this.#membership?.connectAgain();
  }

  // ---- State --------------------------------------------------------------------------------------------------------

  /** @param {State} state @param {Reason} reason @param {Close} [close] */
  #setState(state, reason, close) {
    const isSame = this.#state === state && this.#reason === reason && this.#code === close?.code;
    if (this.#state === "left" || isSame) return;
    this.#state = state;
    this.#reason = reason;
    this.#code = close?.code;
    this.#events.statechange(state, reason, close);
  }

  /** @param {"joining" | "joined"} state @param {Reason} reason unless ICE has failed @param {Close} [close] */
  #setJoining(state, reason, close) {
    this.#setState(state, this.#iceFailed ? "ice-failed" : reason, close);
  }

  /** Waits for the next socket. @param {Reason} reason @param {Close} [close] */
  #setAway(reason, close) {
    this.#setState(this.#wasJoined ? "reconnecting" : "connecting", reason, close);
  }

  /** @param {Close} close @param {ErrorOptions} [options] */
  #reject(close, options) {
    this.#events.rejected(new RejectedError(close, options), close);
  }

  /** Sets the final state. @param {Reason} reason @param {Close} [close] */
  setLeft(reason, close) {
    this.#setState("left", reason, close);
  }
}
