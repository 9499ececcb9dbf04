/**
 * Offers, answers and ICE candidates of one connection.
 *
 * @module
 */

import { FIRST_MEDIA_DELAY, MAX_EARLY_CANDIDATES } from "./limits.js";
import { sleep } from "./timing.js";
import { readFingerprint, readVersion, restartsIce } from "./untrusted.js";

/** @import { Route } from "./signaling.js" */

/**
 * @typedef {{ description?: RTCSessionDescriptionInit, candidate?: RTCIceCandidateInit }} Body What a signal contains.
 *
 * @typedef {object} NegotiationEvents
 * @property {(body: Body) => void} signal sends an offer or a candidate to the other peer
 * @property {(body: Body, route: Route | undefined) => void} answer sends an answer, over the route of the offer
 * @property {() => boolean} mayOffer whether this side may make an offer now
 * @property {() => boolean} isPolite whether this side yields when both make an offer at once
 * @property {(reason?: "invalid", route?: Route) => void} failed `invalid`: the other peer broke the protocol.
 *   The route is that of the description that failed; none for the control channel and for an own offer.
 */

/**
 * Follows "perfect negotiation" of the WebRTC specification: either side may offer at any time, and the impolite side
 * wins. The first offer and answer use the route, all later ones (media) the control channel.
 */
export class Negotiation {
  /** Of the other peer's certificate. Proven when the connection is open. It never changes. @type {string} */
  fingerprint = "";

  /** Descriptions wait for it: local ones use the ICE servers. @type {Promise<unknown>} */
  ready;

  #rtc;
  #events;
  #makingOffer = false;
  /** Whether an offer of the other side has no answer yet. */
  #answering = false;
  /** Whether an own offer was not made because of such an offer, which may still fail. */
  #hasYielded = false;
  /** Whether an offer that restarts ICE has no answer yet. */
  #restarting = false;
  /** How many descriptions arrived and are not handled yet, one after another. */
  #receiving = 0;
  #handled = Promise.resolve();
  /** Of the other side's last description that was set. */
  #remoteVersion = 0;
  /** Candidates that arrived before their description. @type {RTCIceCandidateInit[]} */ #earlyCandidates = [];

  /**
   * @param {RTCPeerConnection} rtc
   * @param {Promise<unknown>} ready
   * @param {NegotiationEvents} events
   */
  constructor(rtc, ready, events) {
    this.#rtc = rtc;
    this.ready = ready;
    this.#events = events;
    rtc.onnegotiationneeded = () => this.#offer();
    rtc.onicecandidate = ({ candidate }) => {
      const init = candidate?.toJSON();
      // Firefox reports the end of the candidates as an empty one, too.
      if (init?.candidate) events.signal({ candidate: init });
    };
  }

  async #offer() {
    // An offer that is being made has the latest changes, or the browser asks again.
    if (this.#makingOffer || !this.#events.mayOffer()) return;
    try {
      this.#makingOffer = true;
      await this.ready;
      if (this.#isFirstMedia && this.#events.isPolite()) await sleep(FIRST_MEDIA_DELAY);
      // The browser would make the answer instead. It asks again for an offer when the answer is set.
      this.#hasYielded = this.#answering;
      if (this.#answering) return;
      await this.#rtc.setLocalDescription();
      this.#events.signal(this.#description);
    } catch {
      this.#restarting = false;
      this.#events.failed();
    } finally {
      this.#makingOffer = false;
    }
  }

  /**
   * Before media are negotiated, the sides can number header extensions differently. Chromium then rejects the offer of
   * the other side if an own one crosses it, so the polite side waits for that offer.
   */
  get #isFirstMedia() {
    const transceivers = this.#rtc.getTransceivers();
    return transceivers.length > 0 && !transceivers.some(({ currentDirection }) => currentDirection);
  }

  get #description() {
    return { description: this.#rtc.localDescription?.toJSON() };
  }

  /** Makes an offer that restarts ICE, also if an earlier offer has no answer yet. Call it again if nothing changes. */
  restart() {
    // A description that is being set would turn this offer into an answer.
    if (this.#makingOffer || this.#answering) return;
    // The answer to the first offer would not match another one. The description has the candidates by now.
    if (this.#restarting) return this.repeatOffer();
    this.#restarting = true;
    this.#rtc.restartIce();
    if (this.#rtc.signalingState !== "stable") this.#offer();
  }

  /** Whether an offer of the other side is ignored in favor of an own one. */
  get ignoresOffers() {
    const collides = this.#makingOffer || this.#rtc.signalingState === "have-local-offer";
    return collides && !this.#events.isPolite();
  }

  /** Sends an offer again that may not have arrived. */
  repeatOffer() {
    if (this.#rtc.signalingState === "have-local-offer") this.#events.signal(this.#description);
  }

  /** @param {Body} body untrusted @param {Route} [route] back to its sender; none for the control channel */
  receive({ description, candidate }, route) {
    if (description) {
      this.#receiving++;
      this.#handled = this.#handled
        .then(() => this.#handle(description, route))
        .catch(async () => {
          // The answer to an offer that was set cannot be made.
          const { signalingState } = this.#rtc;
          if (signalingState === "have-remote-offer") await this.#rtc.setRemoteDescription({ type: "rollback" });
          this.#events.failed(undefined, route);
        })
        .catch(() => this.#events.failed())
        .then(() => {
          this.#answering = false;
          if (this.#hasYielded) this.#offer();
        });
    } else if (candidate) {
      if (this.#rtc.remoteDescription && !this.#receiving) this.#addCandidate(candidate);
      else if (this.#earlyCandidates.length < MAX_EARLY_CANDIDATES) this.#earlyCandidates.push(candidate);
    }
  }

  /** Whether a later description was set. @param {RTCSessionDescriptionInit} description */
  isOutdated(description) {
    return readVersion(description) < this.#remoteVersion;
  }

  /** @param {RTCIceCandidateInit} candidate */
  #addCandidate(candidate) {
    // A candidate of an ignored offer, or one that the browser rejects, does not prevent a connection by others.
    this.#rtc.addIceCandidate(candidate).catch(() => {});
  }

  /** @param {RTCSessionDescriptionInit} description @param {Route} [route] */
  async #handle(description, route) {
    try {
      // The browser verifies the certificate when it connects. Nobody can change it afterwards.
      const fingerprint = readFingerprint(description);
      const isValid = fingerprint && fingerprint === (this.fingerprint ||= fingerprint);
      if (!isValid) return this.#events.failed("invalid", route);
      await this.ready;
      if (!(await this.#setRemoteDescription(description))) return;
    } finally {
      // They may belong to a description that arrived later.
      if (--this.#receiving === 0) for (const it of this.#earlyCandidates.splice(0)) this.#addCandidate(it);
    }
    if (this.#answering) {
      await this.#rtc.setLocalDescription();
      this.#hasYielded = false;
      this.#events.answer(this.#description, route);
    }
    // Not of one that the browser rejects: a neighbour may have relayed anything.
    this.#remoteVersion = readVersion(description);
  }

  /** Returns whether it was set, and not ignored. @param {RTCSessionDescriptionInit} description */
  async #setRemoteDescription(description) {
    const rtc = this.#rtc;
    const isOffer = description.type === "offer";
    // After a restart through a neighbour, the control channel delivers what was sent before.
    if (this.isOutdated(description)) return false;
    const isStable = rtc.signalingState === "stable";
    const collides = isOffer && (this.#makingOffer || !isStable);
    if (collides && !this.#events.isPolite()) return false;
    if (!isOffer && isStable) return false; // the answer to an offer that was repeated
    this.#answering = isOffer;
    // Firefox rejects an offer that restarts ICE after the rollback of an own offer that does not.
    if (collides && restartsIce(description, rtc.remoteDescription)) await rtc.createOffer({ iceRestart: true });
    await rtc.setRemoteDescription(description);
    this.#restarting = false;
    return true;
  }
}
