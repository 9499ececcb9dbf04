/**
 * This peer's membership in the hub's group, over one socket.
 *
 * @module
 */

import { ANSWER_TIMEOUT, CONNECT_DELAY, MAX_ICE_FAILURES, RETRY_MAX, RETRY_MIN } from "./limits.js";
import { Signaling } from "./signaling.js";
import { aborted, backOff, jitter, Notify, sleep } from "./timing.js";
import { readSignal } from "./untrusted.js";

/** @import { Connection } from "./connection.js" */
/** @import { Mesh } from "./mesh.js" */
/** @import { Close } from "./close_codes.js" */
/** @import { CloseReason } from "./untrusted.js" */
/** @import { Content } from "./wire.js" */

/**
 * @typedef {object} MembershipEvents
 * @property {() => void} opened The socket is open.
 * @property {(reason: "" | Failure) => void} joining with the reason of the last failure
 * @property {() => void} joined
 * @property {(id: number) => number} iceFailures Returns how often ICE failed with this peer.
 */

/** @typedef {"peer-timeout" | "ice-failed" | "full"} Failure Why a member was not connected, as the page sees it. */

/**
 * @typedef {object} Outcome How a membership ended.
 * @property {Close} close
 * @property {boolean} isAccepted whether the hub had admitted this peer
 * @property {Failure | undefined} givenUp why this peer closed the socket: another `connect` could evict the member,
 *   because ICE fails with the only one, or because the member has enough neighbours
 */

/**
 * Makes this peer a member over one socket, and keeps it one. Sends `connect` with the ids of all neighbours until the
 * hub answers `true`, and again after a neighbour left. If none of the hub's members is a neighbour by then, the hub
 * answers `false` and binds this peer to one of them. This merges halves of a group that formed separately.
 */
export class Membership {
  #signaling;
  #mesh;
  #events;
  /** The pending peer that the hub bound this peer to. @type {Connection | undefined} */ #boundMember;
  /** Its link; 0 until its first signal. */ #boundLink = 0;
  /** Joiners that the hub bound to this peer, by link. @type {Map<number, Connection>} */ #links = new Map();
  /** Notified when `connect` must be sent again. */ #connectDue = new Notify();

  /** @param {string} url @param {Mesh} mesh @param {MembershipEvents} events */
  constructor(url, mesh, events) {
    this.#signaling = new Signaling(url, (content) => this.#onContent(content));
    this.#mesh = mesh;
    this.#events = events;
  }

  /** Runs until the socket is closed. @returns {Promise<Outcome>} */
  async run() {
    const signaling = this.#signaling;
    const givenUp = (await signaling.opened) ? await this.#stayMember() : undefined;
    signaling.close();
    const close = /** @type {Close} */ (signaling.outcome);
    return { close, isAccepted: signaling.isAccepted, givenUp };
  }

  close() {
    this.#signaling.close();
  }

  /** Asks the hub again whether this peer is a member. */
  connectAgain() {
    this.#connectDue.notify();
  }

  /** @returns {Promise<Failure | undefined>} why it gave up */
  async #stayMember() {
    let failedAttempts = 0;
    /** @type {"" | Failure} */ let lastReason = "";
    this.#events.opened();
    while (this.#signaling.isOpen) {
      const connectDue = this.#connectDue.signal;
      const isMember = await this.#connect(this.#mesh.neighbourIds);
      if (isMember === undefined) return undefined;
      if (isMember) {
        failedAttempts = 0;
        lastReason = "";
        this.#events.joined();
        await aborted([connectDue, this.#signaling.closed]);
        await this.#sleep(jitter(CONNECT_DELAY));
        await this.#healSplit();
        continue;
      }
      this.#events.joining(lastReason);
      const { member, closeReason } = await this.#connectToBoundMember();
      if (closeReason === undefined) continue;
      if (closeReason === "peer-timeout" || closeReason === "ice-failed" || closeReason === "full") {
        lastReason = closeReason;
        this.#events.joining(lastReason);
      }
      // Another `connect` would evict the member if it is the only one, and it would evict this peer in turn.
      const failures = this.#events.iceFailures(member.id);
      const isBlocked = closeReason === "ice-failed" && !member.hasNeighbours && failures >= MAX_ICE_FAILURES;
      if (isBlocked || closeReason === "full") return closeReason;
      // Another `connect` evicts the only member if this peer has tried it. Wait first for attempts that the member or
      // a neighbour began.
      const isAlive = closeReason === "glare" || closeReason === "present" || closeReason === "busy";
      if (isAlive) await this.#sleep(jitter(RETRY_MIN));
      await this.#sleep(ANSWER_TIMEOUT, this.#mesh.idle);
      // The first failure is retried immediately, with the next member; further failures back off.
      if (failedAttempts) await this.#sleep(backOff(RETRY_MIN, RETRY_MAX, failedAttempts - 1));
      failedAttempts++;
    }
    return undefined;
  }

  /** Returns whether this peer is a member; `undefined` if the socket closed. @param {number[]} members */
  #connect(members) {
    return this.#signaling.connect(this.#mesh.id, members);
  }

  /** Waits for `ms`, at most until the socket closes. @param {number} ms @param {AbortSignal[]} others */
  #sleep(ms, ...others) {
    return sleep(ms, this.#signaling.closed, ...others);
  }

  /**
   * Makes an offer to the member that the hub bound this peer to.
   *
   * @returns {Promise<{ member: Connection, closeReason: CloseReason | undefined }>} `closeReason` is set if it failed
   */
  async #connectToBoundMember() {
    const member = this.#mesh.offer(this.#signaling.route(0));
    this.#boundMember = member;
    this.#boundLink = 0;
    const closeReason = await aborted([this.#signaling.closed], member.settled);
    this.#boundMember = undefined;
    if (closeReason === "same-id") this.#mesh.renewId();
    return { member, closeReason };
  }

  /** @param {Content} content */
  #onContent({ senderId, recipientId, data }) {
    const fromMember = senderId === 0;
    if (data.length === 0) {
      // An earlier link may end, too.
      const isBound = this.#boundLink === 0 || this.#boundLink === recipientId;
      if (!fromMember) this.#links.get(senderId)?.routeEnded();
      else if (isBound) this.#boundMember?.routeEnded();
      this.#links.delete(senderId);
      return;
    }
    const signal = readSignal(data);
    // The reference server also passes a bound peer's signals for other recipients to the member that it is bound to.
    if (!signal || (signal.to !== 0 && signal.to !== this.#mesh.id)) return;
    if (fromMember && signal.negotiationId !== this.#boundMember?.negotiationId) return;
    if (fromMember) this.#boundLink = recipientId;
    const joiner = this.#mesh.receive(signal, this.#signaling.route(senderId));
    if (!joiner || fromMember || this.#links.get(senderId) === joiner) return;
    this.#links.set(senderId, joiner);
    joiner.settled.then(() => this.#links.get(senderId) === joiner && this.#links.delete(senderId));
  }

  /**
   * Merges the halves of a split group. A `connect` that names only lost ids asks the hub whether one of them is still
   * a member. If so, further ones that name no ids make the hub bind this peer to one member after another, until it
   * reaches a member of the other half.
   */
  async #healSplit() {
    const lost = this.#mesh.lostIds;
    this.#mesh.forget(lost);
    if (lost.length === 0 || !(await this.#connect(lost))) return;
    for (let tries = this.#mesh.neighbourIds.length + 2; tries > 0 && this.#signaling.isOpen; tries--) {
      if ((await this.#connect([])) !== false) return;
      if ((await this.#connectToBoundMember()).closeReason === undefined) return;
    }
  }
}
