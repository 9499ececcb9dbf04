/**
 * The connection to one other peer.
 *
 * @module
 */

import { Channels } from "./channels.js";
import { Interruption } from "./interruption.js";
import {
  ANSWER_TIMEOUT,
  CONNECT_TIMEOUT,
  CONNECT_TIMEOUT_AFTER_END,
  FLUSH_TIME,
  LEAVE_TIMEOUT,
  MAX_MISSED_PINGS,
  VERSION,
} from "./limits.js";
import { Media } from "./media.js";
import { Negotiation } from "./negotiation.js";
import { PathWatch } from "./path.js";
import { RateLimit, sleep, Throttle, withTimeout } from "./timing.js";
import { readFingerprint, readReject } from "./untrusted.js";

/** @import { Body } from "./negotiation.js" */
/** @import { RtcSettings } from "./rtc_settings.js" */
/** @import { Route } from "./signaling.js" */
/** @import { CloseReason, Control, Hello, NearPeer, Signal } from "./untrusted.js" */

/**
 * @typedef {object} Attempt One attempt of two peers to connect.
 * @property {number} id of the other peer; 0 if it is not known yet
 * @property {number} negotiationId
 * @property {boolean} initiator whether this side makes the offer
 * @property {Route} route
 */

/**
 * @typedef {object} ConnectionEvents Callbacks of all connections of a group, which pass themselves.
 * @property {(connection: Connection, body: Body, route: Route) => void} signal sends over a route, as long as the
 *   control channel does not work
 * @property {(connection: Connection) => boolean} isPolite whether this peer yields when both change the media at once
 * @property {(connection: Connection) => CloseReason | undefined} rejects why a connection must not open
 * @property {() => { metadata?: unknown, channels?: string[] }} hello what this side tells the other one first
 * @property {(connection: Connection) => void} opened
 * @property {(connection: Connection) => void} met The other peer is known: its `hello` arrived, or it sends none.
 * @property {(connection: Connection, reason: CloseReason, wasOpen: boolean) => void} closed
 * @property {(connection: Connection, previous?: Route) => Route | undefined} relay to the other peer through a common
 *   neighbour, which is another one than that of the previous route if possible
 * @property {() => (number | null)[][]} near the ids and round-trip times of this side's neighbours
 * @property {(connection: Connection, message: Control) => void} control
 * @property {(connection: Connection, data: string | ArrayBuffer, channel?: string) => void} message
 * @property {(connection: Connection, stream: MediaStream) => void} stream
 * @property {() => void} pathChanged
 */

/** One RTCPeerConnection: first pending, then open, then closed. */
export class Connection {
  /** Of the other peer. 0 until the first signal of the member that this peer is bound to. @type {number} */
  id;
  /** Resolves when the other peer is met, or with the reason why it failed. @type {Promise<CloseReason | undefined>} */
  settled;
  /** Of the protocol; `undefined` until the peer is met. @type {number | undefined} */
  version;
  /** Of the other peer's app. @type {any} */
  metadata;
  /** As the peer announced them. @type {NearPeer[]} */
  neighbours = [];
  /** Whether the other peer named neighbours with its description. */
  hasNeighbours = false;
  /** Whether the other peer ended the attempt. */
  isRejected = false;
  rtc;
  channels;
  media;
  /** What this neighbour may send. Bursts are for groups that form at once. */
  limits = { near: new RateLimit(1, 3), signals: new RateLimit(100, 200), offers: new RateLimit(4, 32) };

  /** @type {"pending" | "open" | "closed"} */ #state = "pending";
  /** @type {(reason?: CloseReason) => void} */ #settle = () => {};
  #openedAt = 0;
  #events;
  #negotiation;
  #pathWatch;
  #interruption;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #deadline;
  /** When the attempt has failed; not known before the ICE servers are. */ #openBy = Infinity;
  #answered = false;
  #missedPings = 0;
  #nearThrottle;
  #metadataThrottle;

  /** @param {Attempt} attempt @param {RtcSettings} settings @param {ConnectionEvents} events */
  constructor({ id, negotiationId, initiator, route }, settings, events) {
    this.id = id;
    this.negotiationId = negotiationId;
    this.initiator = initiator;
    this.route = route;
    this.#events = events;
    this.settled = new Promise((resolve) => (this.#settle = resolve));

    const rtc = new RTCPeerConnection(settings.configuration);
    this.rtc = rtc;
    rtc.onconnectionstatechange = () => rtc.connectionState === "failed" && this.#onIceState();
    rtc.oniceconnectionstatechange = () => this.#state === "open" && this.#onIceState();
    const isPolite = () => events.isPolite(this);
    this.#negotiation = new Negotiation(rtc, this.#prepare(settings), {
      signal: (body) => this.#signal(body, this.#interruption.route),
      // The interruption may be over by now. The other peer expects the answer where it sent the offer.
      answer: (body, route) => this.#signal(body, route),
      mayOffer: () => initiator || this.#state !== "pending",
      isPolite,
      failed: (reason, route) => {
        // A neighbour may relay anything, and a restart is repeated.
        const isHarmless = route ?? (!reason && this.#interruption.route);
        if (this.#state !== "open" || !isHarmless) this.#fail(reason);
      },
    });
    this.#interruption = new Interruption(rtc, {
      isPolite,
      route: (previous) => events.relay(this, previous),
      begun: () => (this.#negotiation.ready = this.#setIceServers(settings)),
      restart: () => this.#negotiation.restart(),
      recovered: () => {
        this.#missedPings = 0;
        this.#negotiation.repeatOffer();
      },
      lost: () => this.#fail(),
    });
    this.media = new Media(rtc, (stream) => events.stream(this, stream));
    this.#pathWatch = new PathWatch(rtc, () => this.#state === "open" && events.pathChanged());

    this.channels = new Channels(rtc, settings.channels, {
      isPolite,
      opened: () => this.#open(),
      heard: () => this.#heard(),
      hello: (hello) => this.#onHello(hello),
      control: (message) => this.#onControl(message),
      message: (data, channel) => events.message(this, data, channel),
      failed: (reason) => this.#fail(reason),
    });
    // Two at once, because a peer may join right after a regular list.
    this.#nearThrottle = new Throttle(new RateLimit(1, 2), () => this.sendControl({ near: events.near() }));
    this.#metadataThrottle = new Throttle(new RateLimit(1, 1), () => {
      this.sendControl({ metadata: events.hello().metadata });
    });
  }

  /** Of the other peer's certificate. Proven when the connection is open. It never changes. */
  get fingerprint() {
    return this.#negotiation.fingerprint;
  }

  /** In milliseconds, smoothed. */
  get roundTripTime() {
    return this.channels.control.roundTripTime;
  }

  get path() {
    return this.#pathWatch.path;
  }

  /** Milliseconds since the connection opened. */
  get age() {
    return performance.now() - this.#openedAt;
  }

  // ---- Pending, open, closed ----------------------------------------------------------------------------------------

  /** Sets the ICE servers, and then a deadline. @param {RtcSettings} settings */
  async #prepare(settings) {
    // Not before later offers: another configuration would make a change of the media restart ICE. TURN servers keep
    // the allocations of an open connection after its credentials have expired.
    await this.#setIceServers(settings);
    if (this.#state !== "pending") return;
    this.#openBy = performance.now() + CONNECT_TIMEOUT;
    // The route may have ended already, which sets a shorter one.
    this.#deadline ??= setTimeout(
      () => {
        if (!this.#answered) return this.close("peer-timeout");
        this.#deadline = setTimeout(() => this.close("ice-failed"), this.#openBy - performance.now());
      },
      this.initiator ? ANSWER_TIMEOUT : CONNECT_TIMEOUT,
    );
  }

  /** @param {RtcSettings} settings */
  async #setIceServers(settings) {
    const iceServers = await settings.iceServers();
    // The previous ones may still work if the request failed.
    if (this.#state === "closed" || !iceServers?.length) return;
    this.rtc.setConfiguration({ ...settings.configuration, iceServers });
  }

  #open() {
    if (this.#state !== "pending" || !this.channels.areOpen) return;
    if (this.id === 0) return this.close("ice-failed");
    const reject = this.#events.rejects(this);
    if (reject) return this.close(reject);
    this.#state = "open";
    this.#openedAt = performance.now();
    clearTimeout(this.#deadline);
    this.#pathWatch.start();
    this.channels.control.open(this.#events.hello());
    this.#events.opened(this);
    this.channels.handleEarly();
  }

  /** @param {Hello} hello of the other peer */
  #onHello({ v, metadata }) {
    this.version = Math.min(v, VERSION);
    this.metadata = metadata;
    this.#events.met(this);
    this.#settle();
  }

  /** ICE has failed, or its state changed while the connection is open. */
  #onIceState() {
    // A peer of version 0 closes its end. Without ICE as the cause, nothing repairs the connection.
    const canRestart = this.version && (this.rtc.connectionState !== "failed" || !this.#interruption.isConnected);
    if (this.#state === "open" && canRestart) this.#interruption.update();
    else if (this.rtc.connectionState === "failed") this.#fail();
  }

  /** @param {"invalid"} [reason] */
  #fail(reason) {
    this.close(reason ?? (this.#state === "open" ? "lost" : "ice-failed"));
  }

  /** @param {CloseReason} reason */
  close(reason) {
    if (this.#state === "closed") return;
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    clearTimeout(this.#deadline);
    this.#nearThrottle.cancel();
    this.#metadataThrottle.cancel();
    this.#interruption.end();
    this.rtc.close();
    this.channels.close();
    this.#events.closed(this, reason, wasOpen);
    this.#settle(reason);
  }

  // ---- Signals ------------------------------------------------------------------------------------------------------

  /** @param {Body} body @param {Route | undefined} route of an open connection; none for the control channel */
  #signal(body, route) {
    if (this.#state === "pending") route = this.route;
    if (route) this.#events.signal(this, body, route);
    else this.sendControl(body);
  }

  /**
   * Handles a signal that arrived over a route. The other peer of an open connection uses the control channel, except
   * for late candidates, and a neighbour for descriptions while the path is interrupted.
   *
   * @param {Signal} signal @param {Route} route
   */
  receive({ reject, members, description, candidate }, route) {
    this.#answered = true;
    this.hasNeighbours ||= members !== undefined && members.length > 0;
    if (this.#state !== "pending") {
      reject = undefined;
      if (!route.relay || !this.#acceptsRestart(description)) description = undefined;
      else if (description?.type === "offer") this.#interruption.accept(route, this.#negotiation.ignoresOffers);
    }
    this.isRejected = reject !== undefined;
    if (reject !== undefined) this.close(readReject(reject));
    else this.#negotiation.receive({ description, candidate }, route);
  }

  /** @param {RTCSessionDescriptionInit | undefined} description */
  #acceptsRestart(description) {
    const mayBe = this.version && (this.isInterrupted || this.#missedPings > 0);
    const isKnown = description?.type === "offer" || description?.type === "answer";
    const isSame = isKnown && readFingerprint(description) === this.fingerprint;
    return mayBe && isSame && !this.#negotiation.isOutdated(description);
  }

  /** Whether packets may not arrive at the moment. */
  get isInterrupted() {
    return !this.#interruption.isConnected;
  }

  /** Handles the end of the route: the other side either opened the connection or gave up. */
  routeEnded() {
    if (this.#state !== "pending") return;
    clearTimeout(this.#deadline);
    if (!this.#answered) return this.close("ended");
    const left = Math.min(CONNECT_TIMEOUT_AFTER_END, this.#openBy - performance.now());
    this.#deadline = setTimeout(() => this.close("ended"), left);
  }

  // ---- Messages -----------------------------------------------------------------------------------------------------

  /** Counts pings instead of measuring time: after a tab was suspended, elapsed time does not mean a lost neighbour. */
  ping() {
    // Firefox notices an interruption after 4 to 10.7 s, possibly shortly before the pings are lost.
    const isLost = this.#missedPings++ >= MAX_MISSED_PINGS && !(this.version && this.#interruption.hurry());
    if (isLost) return this.close("lost");
    this.#pathWatch.check();
    this.channels.control.ping();
  }

  #heard() {
    this.#open(); // a message may arrive before the channel's open event
    this.#missedPings = 0;
    if (this.#interruption.route) this.#interruption.update();
  }

  /** @param {object} message */
  sendControl(message) {
    this.channels.control.send(message);
  }

  /** Sends the list of neighbours, on average once per second at most. */
  announceNeighbours() {
    this.#nearThrottle.request();
  }

  /** Sends the metadata of this side, once per second at most. */
  announceMetadata() {
    this.#metadataThrottle.request();
  }

  /** @param {Control} message */
  #onControl(message) {
    if (message.description || message.candidate) this.#negotiation.receive(message);
    else this.#events.control(this, message);
  }

  /**
   * Tells the other peer that this one leaves the group, and closes the connection. Messages that were accepted before
   * are sent, unless this takes longer than 2 s in total.
   *
   * @param {boolean} now whether to do all at once instead, because the page is about to be frozen
   */
  async leave(now) {
    if (!now) await withTimeout(LEAVE_TIMEOUT - FLUSH_TIME, () => this.channels.flush()).catch(() => {});
    this.sendControl({ bye: true });
    if (!now) await sleep(FLUSH_TIME);
    this.close("left");
  }
}
