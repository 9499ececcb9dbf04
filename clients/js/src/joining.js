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
 * expire. If it fails, or does not answer within 10 s, it is called again later. If it returns an invalid key, the
 * group is left with the reason `key-failed`. If the hub closes the connection with 4740 (access has expired), the
 * function is asked once for a fresh key. The group is left if the function fails then, or if the fresh key is rejected
 * too. The connections to peers stay open meanwhile.
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
 * @typedef {object} Status
 * @property {State} state
 * @property {Reason} reason
 * @property {Close} [close] of the last socket, if it is why the state changed
 * @property {number} [nextAttempt] when the next socket opens, on the clock of `Date`
 */

/**
 * @typedef {object} JoiningEvents
 * @property {(url: string) => void} connecting A socket with this URL is about to open.
 * @property {(status: Status) => void} statechange
 * @property {(line: string) => void} log
 * @property {() => void} joined This peer is a member, for the first time or again.
 * @property {(reason: Reason, error: unknown, close?: Close) => void} failed The group must be left.
 */

/** Opens one socket after another, with a back-off, and knows the state of the group. */
export class Joining {
  /** @type {Readonly<Status>} */ status = { state: "connecting", reason: "" };

  #wasJoined = false;
  #mesh;
  #target;
  #events;
  /** Aborts when the loop must end. @type {AbortSignal} */ #stopped = AbortSignal.abort();
  /** Over the current socket. @type {Membership | undefined} */ #membership;
  /** Ends the wait before the next socket. */ #retry = new Notify();
  /** Whether ICE failed, and no peer has been connected since. */ #iceFailed = false;
  /** How often it failed with each id since then. @type {Map<number, number>} */ #iceFailures = new Map();

  /** @param {Mesh} mesh @param {Target} target @param {JoiningEvents} events */
  constructor(mesh, target, events) {
    this.#mesh = mesh;
    this.#target = target;
    this.#events = events;
  }

  /** Throws if the URL or a constant key is invalid. */
  check() {
    const { url, key } = this.#target;
    groupUrl(url, typeof key === "function" ? "key" : key);
  }

  /**
   * Keeps a socket to the hub open.
   *
   * @param {AbortSignal} stopped aborts when the group is left, which closes the socket and ends every wait
   */
  async run(stopped) {
    this.#stopped = stopped;
    this.#wasJoined = false;
    /** Set from a close with 4740 until the hub accepts a fresh key. @type {Close | undefined} */ let expired;
    let failures = 0;
    while (!stopped.aborted) {
      /** Returns how long to wait after one more failure. */
      const delay = () => backOff(RECONNECT_MIN, RECONNECT_MAX, failures++);
      const url = await this.#nextUrl(expired);
      if (stopped.aborted) return;
      if (url === undefined) {
        await this.#wait(delay(), this.#away("key-failed"));
        continue;
      }
      const since = performance.now();
      const { close, isAccepted, givenUp } = await this.#runMembership(url);
      this.#events.log(`socket closed with ${close.code} ${close.reason}`);
      if (stopped.aborted) return;
      if (isAccepted) expired = undefined;
      const meaning = meaningOf(close.code);
      const canRenew = meaning === "expired" && typeof this.#target.key === "function" && !expired;
      if (meaning === "rejected" || (meaning === "expired" && !canRenew)) return this.#reject(close);
      if (canRenew) expired = close;
      if (performance.now() - since > STABLE_AFTER) failures = 0;
      if (givenUp) {
        if (givenUp !== "full") failures = 0;
        await this.#wait(givenUp === "full" ? delay() : jitter(RETRY_MAX));
        continue;
      }
      // An evicted peer had no neighbours: the group now belongs to the joiner that evicted it. It returns as a joiner.
      const isEvicted = meaning === "evicted";
      const status = isEvicted ? this.#inGroup("joining", meaning, close) : this.#away(meaning, close);
      const isSoon = (canRenew || isEvicted) && failures === 0;
      const ms = delay();
      await this.#wait(isSoon ? jitter(RETRY_MIN) : ms, status);
    }
  }

  /** Waits for `ms` before the next socket, at most until `retry` is called. @param {number} ms */
  async #wait(ms, /** @type {Partial<Status>} */ status = {}) {
    const retry = this.#retry.signal; // `retry` may be called in the event
    this.#change({ ...status, nextAttempt: Date.now() + ms });
    await sleep(ms, this.#stopped, retry);
    if (!this.#stopped.aborted) this.#change({ nextAttempt: undefined });
  }

  /** Ends the wait before the next socket. */
  retry() {
    this.#retry.notify();
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
      if (expired && !this.#stopped.aborted) this.#reject(expired, { cause });
      return undefined;
    }
    try {
      return groupUrl(url, fresh, favored);
    } catch (error) {
      this.#events.failed("key-failed", error);
      return undefined;
    }
  }

  /** @param {string} url */
  async #runMembership(url) {
    const joining = (/** @type {Reason} */ reason) => this.#change(this.#inGroup("joining", reason));
    const membership = new Membership(url, this.#mesh, {
      opened: () => this.#wasJoined || joining(""),
      joining,
      joined: () => {
        this.#wasJoined = true;
        this.#change(this.#inGroup("joined", ""));
        this.#events.joined();
      },
      iceFailures: (id) => this.#iceFailures.get(id) ?? 0,
    });
    this.#membership = membership;
    const close = () => membership.close();
    this.#stopped.addEventListener("abort", close);
    // At the same time as the socket opens. Joining does not wait for it, connection attempts do.
    this.#events.log("socket opens");
    this.#events.connecting(url);
    const outcome = await membership.run();
    this.#stopped.removeEventListener("abort", close);
    return outcome;
  }

  // ---- Events of the mesh -------------------------------------------------------------------------------------------

  /** A peer became a neighbour. */
  peerOpened() {
    this.#iceFailed = false;
    this.#iceFailures.clear();
    if (this.status.reason === "ice-failed") this.#change({ reason: "", close: undefined });
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
    const { state } = this.status;
    if (state === "joining" || state === "joined") this.#change({ reason, close: undefined });
  }

  /** Call it from time to time: peers that were lost long enough ago may be in another half of the group. */
  tick() {
    if (this.status.state === "joined" && this.#mesh.lostIds.length) this.#membership?.connectAgain();
  }

  // ---- State --------------------------------------------------------------------------------------------------------

  /** @param {Partial<Status>} change */
  #change(change) {
    const before = this.status;
    const after = { ...before, ...change };
    const isSame =
      before.state === after.state &&
      before.reason === after.reason &&
      before.close?.code === after.close?.code &&
      before.nextAttempt === after.nextAttempt;
    if (before.state === "left" || isSame) return;
    this.status = after;
    this.#events.statechange(after);
  }

  /** @param {"joining" | "joined"} state @param {Reason} reason unless ICE has failed @param {Close} [close] */
  #inGroup(state, reason, close) {
    return { state, reason: this.#iceFailed ? /** @type {const} */ ("ice-failed") : reason, close };
  }

  /** Without the hub. @param {Reason} reason @param {Close} [close] @returns {Partial<Status>} */
  #away(reason, close) {
    return { state: this.#wasJoined ? "reconnecting" : "connecting", reason, close };
  }

  /** @param {Close} close @param {ErrorOptions} [options] */
  #reject(close, options) {
    this.#events.failed("rejected", new RejectedError(close, options), close);
  }

  /** Sets the state in which a later `run` starts. */
  setStopped() {
    this.#change({ state: "connecting", reason: "", close: undefined, nextAttempt: undefined });
  }

  /** Sets the final state. @param {Reason} reason @param {Close} [close] */
  setLeft(reason, close) {
    this.#change({ state: "left", reason, close, nextAttempt: undefined });
  }
}
