/**
 * Interruptions of an open connection.
 *
 * @module
 */

import { RESTART_DELAY, RESTART_DELAY_OF_HIGHER_ID, RESTART_INTERVAL, RESTART_TIMEOUT } from "./limits.js";

/** @import { Route } from "./signaling.js" */

/**
 * @typedef {object} InterruptionEvents
 * @property {() => boolean} isPolite whether the other peer restarts first
 * @property {(previous: Route | undefined) => Route | undefined} route through a common neighbour, if there is one
 * @property {() => void} begun ICE is about to be restarted, by either side
 * @property {() => void} restart makes an offer with a restart of ICE
 * @property {() => void} recovered ICE is connected again after a restart
 * @property {() => void} lost
 */

/**
 * Restarts ICE when a path is interrupted, for example because a network changed. The control channel is interrupted,
 * too, so a common neighbour relays the signals.
 */
export class Interruption {
  /** Of signals while ICE is restarted by either side. @type {Route | undefined} */ route;

  #rtc;
  #events;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #deadline = 0;

  /** @param {RTCPeerConnection} rtc @param {InterruptionEvents} events */
  constructor(rtc, events) {
    this.#rtc = rtc;
    this.#events = events;
  }

  get isConnected() {
    const state = this.#rtc.iceConnectionState;
    return state === "connected" || state === "completed";
  }

  /** Call it when the state of ICE changed, and when a message arrived. */
  update() {
    if (this.isConnected) {
      const wasRestarted = this.route;
      this.end();
      if (wasRestarted) this.#events.recovered();
    } else if (!this.route) {
      const delay = this.#events.isPolite() ? RESTART_DELAY_OF_HIGHER_ID : RESTART_DELAY;
      if (this.#rtc.iceConnectionState === "failed") this.#restart();
      else this.#timer ??= setTimeout(() => this.#restart(), delay);
    }
  }

  /** Does not wait longer, because the pings are lost. Returns whether ICE is being restarted. */
  hurry() {
    if (!this.route && !this.isConnected) this.#restart();
    return this.route !== undefined;
  }

  #restart() {
    const next = this.#events.route(this.route);
    if (next) {
      this.#begin(next, RESTART_INTERVAL);
      return this.#events.restart();
    }
    // Without a common neighbour, ICE may recover by itself until it fails or the pings are lost.
    if (!this.route && this.#rtc.iceConnectionState === "failed") this.#events.lost();
    else this.#wait(RESTART_INTERVAL);
  }

  /** The other peer restarts. @param {Route} route back to it @param {boolean} isIgnored in favor of an own offer */
  accept(route, isIgnored) {
    this.#begin(route, isIgnored ? RESTART_INTERVAL : RESTART_DELAY_OF_HIGHER_ID);
    // The own offer must not wait in the interrupted control channel.
    if (isIgnored) this.#events.restart();
  }

  /** @param {Route} route @param {number} delay before an own offer */
  #begin(route, delay) {
    if (!this.route) {
      this.#deadline = performance.now() + RESTART_TIMEOUT;
      this.#events.begun();
    }
    this.route = route;
    this.#wait(delay);
  }

  /** @param {number} delay before the next offer */
  #wait(delay) {
    clearTimeout(this.#timer);
    const left = this.route ? this.#deadline - performance.now() : Infinity;
    this.#timer = setTimeout(() => (left <= delay ? this.#events.lost() : this.#restart()), Math.min(left, delay));
  }

  end() {
    clearTimeout(this.#timer);
    this.#timer = this.route = undefined;
  }
}
