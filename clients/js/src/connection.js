/**
 * The connection to one other peer.
 *
 * @module
 */

import { Channels } from "./channels.js";
import { ANSWER_TIMEOUT, CONNECT_TIMEOUT, CONNECT_TIMEOUT_AFTER_END, MAX_MISSED_PINGS, VERSION } from "./limits.js";
import { Media } from "./media.js";
import { Negotiation } from "./negotiation.js";
import { PathWatch } from "./path.js";
import { RateLimit, Throttle } from "./timing.js";
import { readReject } from "./untrusted.js";

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
 * @property {(connection: Connection, body: Body) => void} signal sends over the route while no data channel is open
 * @property {(connection: Connection) => boolean} isPolite whether this peer yields when both change the media at once
 * @property {(connection: Connection) => boolean} owns whether the other peer, with its certificate, may have its id
 * @property {() => { metadata?: unknown }} hello what this side tells the other one first
 * @property {(connection: Connection) => void} opened
 * @property {(connection: Connection) => void} met The other peer is known: its `hello` arrived, or it sends none.
 * @property {(connection: Connection, reason: CloseReason, wasOpen: boolean) => void} closed
 * @property {() => (number | null)[][]} near the ids and round-trip times of this side's neighbours
 * @property {(connection: Connection, message: Control) => void} control
 * @property {(connection: Connection, data: string | ArrayBuffer) => void} message
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
  /** What this neighbour may send. Bursts are for groups that form at once. */
  limits = { near: new RateLimit(1, 3), signals: new RateLimit(100, 200), offers: new RateLimit(4, 32) };

  /** @type {"pending" | "open" | "closed"} */ #state = "pending";
  /** @type {(reason?: CloseReason) => void} */ #settle = () => {};
  #openedAt = 0;
  #events;
  rtc;
  #negotiation;
  #media;
  #pathWatch;
  #channels;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #deadline;
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
    rtc.onconnectionstatechange = () => rtc.connectionState === "failed" && this.#fail();
    this.#negotiation = new Negotiation(rtc, this.#prepare(settings), {
      signal: (body) => this.#signal(body),
      mayOffer: () => initiator || this.#state !== "pending",
      isPolite: () => events.isPolite(this),
      failed: (reason) => this.#fail(reason),
    });
    this.#media = new Media(rtc, (stream) => events.stream(this, stream));
    this.#pathWatch = new PathWatch(rtc, () => this.#state === "open" && events.pathChanged());

    this.#channels = new Channels(rtc, {
      opened: () => this.#open(),
      heard: () => this.#heard(),
      hello: (hello) => this.#onHello(hello),
      control: (message) => this.#onControl(message),
      message: (data) => events.message(this, data),
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
    return this.#channels.control.roundTripTime;
  }

  get streams() {
    return this.#media.received;
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
    const iceServers = await settings.iceServers();
    if (this.#state !== "pending") return;
    if (iceServers) this.rtc.setConfiguration({ ...settings.configuration, iceServers });
    const deadline = performance.now() + CONNECT_TIMEOUT;
    // The route may have ended already, which sets a shorter one.
    this.#deadline ??= setTimeout(
      () => {
        if (!this.#answered) return this.close("peer-timeout");
        this.#deadline = setTimeout(() => this.close("ice-failed"), deadline - performance.now());
      },
      this.initiator ? ANSWER_TIMEOUT : CONNECT_TIMEOUT,
    );
  }

  #open() {
    if (this.#state !== "pending" || !this.#channels.areOpen) return;
    if (this.id === 0) return this.close("ice-failed");
    if (!this.#events.owns(this)) return this.close("same-id");
    this.#state = "open";
    this.#openedAt = performance.now();
    clearTimeout(this.#deadline);
    this.#pathWatch.start();
    this.#channels.control.open(this.#events.hello());
    this.#events.opened(this);
  }

  /** @param {Hello} hello of the other peer */
  #onHello({ v, metadata }) {
    this.version = Math.min(v, VERSION);
    this.metadata = metadata;
    this.#events.met(this);
    this.#settle();
  }

  /** @param {CloseReason} [reason] of an open connection */
  #fail(reason = "lost") {
    this.close(this.#state === "open" ? reason : "ice-failed");
  }

  /** @param {CloseReason} reason */
  close(reason) {
    if (this.#state === "closed") return;
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    clearTimeout(this.#deadline);
    this.#nearThrottle.cancel();
    this.#metadataThrottle.cancel();
    this.rtc.close();
    this.#channels.close();
    this.#events.closed(this, reason, wasOpen);
    this.#settle(reason);
  }

  // ---- Signals ------------------------------------------------------------------------------------------------------

  /** @param {Body} body */
  #signal(body) {
    if (this.#state === "pending") this.#events.signal(this, body);
    else this.sendControl(body);
  }

  /** Handles a signal from the route. After the connection is open, only candidates still arrive by it. */
  receive(/** @type {Signal} */ { reject, members, description, candidate }) {
    this.#answered = true;
    this.hasNeighbours ||= members !== undefined && members.length > 0;
    // Later descriptions and rejections are not from the other peer, which uses the control channel by now.
    if (this.#state !== "pending") description = reject = undefined;
    if (reject !== undefined) this.close(readReject(reject));
    else this.#negotiation.receive({ description, candidate });
  }

  /** Handles the end of the route: the other side either opened the connection or gave up. */
  routeEnded() {
    if (this.#state !== "pending") return;
    clearTimeout(this.#deadline);
    if (!this.#answered) return this.close("ended");
    this.#deadline = setTimeout(() => this.close("ended"), CONNECT_TIMEOUT_AFTER_END);
  }

  // ---- Messages and media -------------------------------------------------------------------------------------------

  /** Counts pings instead of measuring time: after a tab was suspended, elapsed time does not mean a lost neighbour. */
  ping() {
    if (this.#missedPings++ >= MAX_MISSED_PINGS) return this.close("lost");
    this.#pathWatch.check();
    this.#channels.control.ping();
  }

  /** Returns whether the connection is open, so that what arrived is handled. */
  #heard() {
    this.#open(); // a message may arrive before the channel's open event
    this.#missedPings = 0;
    return this.#state === "open";
  }

  /** @param {object} message */
  sendControl(message) {
    this.#channels.control.send(message);
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

  /** @param {Uint8Array} bytes @param {boolean} isText @returns {Promise<boolean>} whether the channel accepted all */
  send(bytes, isText) {
    return this.#channels.send(bytes, isText);
  }

  /** @param {MediaStream} stream @param {MediaStreamTrack[]} tracks */
  addTracks(stream, tracks) {
    if (this.#state === "open") this.#media.add(stream, tracks);
  }

  /** @param {MediaStreamTrack[]} tracks */
  removeTracks(tracks) {
    if (this.#state === "open") this.#media.remove(tracks);
  }
}
