/**
 * Offers, answers and ICE candidates of one connection.
 *
 * @module
 */

import { MAX_EARLY_CANDIDATES } from "./limits.js";
import { readFingerprint, readVersion } from "./untrusted.js";

/**
 * @typedef {{ description?: RTCSessionDescriptionInit, candidate?: RTCIceCandidateInit }} Body What a signal contains.
 *
 * @typedef {object} NegotiationEvents
 * @property {(body: Body) => void} signal sends to the other peer
 * @property {() => boolean} mayOffer whether this side may make an offer now
 * @property {() => boolean} isPolite whether this side yields when both make an offer at once
 * @property {(reason?: "invalid") => void} failed `invalid`: the other peer broke the protocol
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
  #answering = false;
  /** Of the other side's last description. */
  #remoteVersion = 0;
  #settingAnswer = false;
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
    rtc.onicecandidate = ({ candidate }) => candidate && events.signal({ candidate: candidate.toJSON() });
  }

  async #offer() {
    if (!this.#events.mayOffer()) return;
    try {
      this.#makingOffer = true;
      await this.ready;
      await this.#describe();
    } catch {
      this.#events.failed();
    } finally {
      this.#makingOffer = false;
    }
  }

  async #describe() {
    await this.#rtc.setLocalDescription();
    this.#sendDescription();
  }

  #sendDescription() {
    this.#events.signal({ description: this.#rtc.localDescription?.toJSON() });
  }

  /** Makes an offer with other ICE candidates, also if an earlier offer has no answer yet. */
  restart() {
    // A description on its way would turn this offer into an answer. The caller repeats the restart.
    if (this.#makingOffer || this.#answering) return;
    this.#rtc.restartIce();
    if (this.#rtc.signalingState !== "stable") this.#offer();
  }

  /** Sends an offer again that may not have arrived. */
  repeatOffer() {
    if (this.#rtc.signalingState === "have-local-offer") this.#sendDescription();
  }

  /** @param {Body} body untrusted */
  receive({ description, candidate }) {
    if (description) {
      this.#receiveDescription(description).catch(() => this.#events.failed());
    } else if (candidate) {
      if (this.#rtc.remoteDescription) this.#addCandidate(candidate);
      else if (this.#earlyCandidates.length < MAX_EARLY_CANDIDATES) this.#earlyCandidates.push(candidate);
    }
  }

  /** @param {RTCIceCandidateInit} candidate */
  #addCandidate(candidate) {
    // A candidate of an ignored offer, or one that the browser rejects, does not prevent a connection by others.
    this.#rtc.addIceCandidate(candidate).catch(() => {});
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #receiveDescription(description) {
    const rtc = this.#rtc;
    // The browser verifies the certificate when it connects. Nobody can change it afterwards.
    const fingerprint = readFingerprint(description);
    if (!fingerprint || fingerprint !== (this.fingerprint ||= fingerprint)) return this.#events.failed("invalid");
    await this.ready;
    // After a restart through a neighbour, the control channel delivers what was sent before.
    const version = readVersion(description);
    if (version < this.#remoteVersion) return;
    const stable = rtc.signalingState === "stable" || this.#settingAnswer;
    const collides = description.type === "offer" && (this.#makingOffer || !stable);
    if (collides && !this.#events.isPolite()) return;
    if (description.type === "answer" && stable) return; // to an offer that was repeated
    this.#remoteVersion = version;
    this.#settingAnswer = description.type === "answer";
    this.#answering = !this.#settingAnswer;
    try {
      await rtc.setRemoteDescription(description);
      this.#settingAnswer = false;
      for (const candidate of this.#earlyCandidates.splice(0)) this.#addCandidate(candidate);
      if (this.#answering) await this.#describe();
    } finally {
      this.#settingAnswer = this.#answering = false;
    }
  }
}
