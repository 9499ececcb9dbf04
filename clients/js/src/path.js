/**
 * How packets reach a peer.
 *
 * @module
 */

import { MAX_PATH_CHECKS } from "./limits.js";

/**
 * Directly, or `relayed` by a TURN server. `undefined` until it is known.
 *
 * @typedef {"direct" | "relayed" | undefined} Path
 */

/** Follows the path of one connection. */
export class PathWatch {
  /** @type {Path} */ path;

  #rtc;
  #onchange;
  #checks = 0;

  /** @param {RTCPeerConnection} rtc @param {() => void} onchange */
  constructor(rtc, onchange) {
    this.#rtc = rtc;
    this.#onchange = onchange;
  }

  /** Call it when the connection is open. */
  start() {
    const transport = this.#rtc.sctp?.transport?.iceTransport;
    // Firefox does not report changes: check at every ping.
    const reports = transport && "onselectedcandidatepairchange" in transport;
    const changed = () => {
      this.#checks = reports ? MAX_PATH_CHECKS : Infinity;
      this.#update();
    };
    if (reports) transport.onselectedcandidatepairchange = changed;
    changed();
  }

  /** Call it at every ping. */
  check() {
    if (this.#checks-- > 0) this.#update();
  }

  async #update() {
    const path = await this.#rtc.getStats().then(readPath).catch(() => undefined);
    if (path === undefined || path === this.path) return;
    this.path = path;
    this.#onchange();
  }
}

/** @param {RTCStatsReport} report @returns {Path} */
function readPath(report) {
  const stats = [...report.values()];
  const selectedId = stats.find((it) => it.selectedCandidatePairId)?.selectedCandidatePairId;
  // Firefox marks the pair instead.
  const pair = stats.find((it) => it.type === "candidate-pair" && (it.id === selectedId || it.selected === true));
  const types = [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => report.get(id)?.candidateType);
  return types.includes("relay") ? "relayed" : types.includes(undefined) ? undefined : "direct";
}
