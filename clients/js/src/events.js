/**
 * What a group reports: its state, its events, and the error of a rejected peer.
 *
 * @module
 */

/** @import { Close } from "./close_codes.js" */
/** @import { CloseReason } from "./untrusted.js" */
/** @import { Peer } from "./peer.js" */

/**
 * - `connecting`: the hub is not connected yet
 * - `joining`: this peer is connecting to a member, or waits before it tries again
 * - `joined`: this peer is a member of the group
 * - `reconnecting`: the hub is disconnected; the mesh keeps working, but no peer can join through this one
 * - `left`: final
 *
 * @typedef {"connecting" | "joining" | "joined" | "reconnecting" | "left"} State
 */

/**
 * Why the group is in its state. Pages translate it into a text.
 * - `""`: no problem
 * - `unreachable`: the hub cannot be reached, or it closed the connection
 * - `hub-timeout`: the hub can be reached, but does not answer
 * - `key-failed`: the `key` function failed, or did not answer within 10 s; it is called again later. With the state
 *   `left`: it returned an invalid key
 * - `expired`: the access of this peer has expired (4740); the `key` function is asked for a fresh key
 * - `evicted`: this peer was the only member, and a joiner could not connect to it (4744); it joins again
 * - `peer-timeout`: a member does not answer; the next one is tried
 * - `ice-failed`: the other peer answered, but no direct connection was established (a firewall or NAT; a TURN server
 *   helps). It stays the reason of `joining` and `joined` until some peer is connected.
 * - `full`: the member has as many neighbours as its app wants; it is tried again later
 * - `rejected`: the hub rejected the key or this peer, or closed it for good; final
 *
 * @typedef {"" | "unreachable" | "hub-timeout" | "key-failed" | "expired" | "evicted" | "peer-timeout" | "ice-failed"
 *   | "full" | "rejected"} Reason
 */

/**
 * @typedef {object} GroupEvents
 * @property {PeerEvent} peerjoin This peer is connected, and its metadata is known. It is the peer's first event.
 * @property {PeerEvent} peerchange The peer's metadata changed.
 * @property {PeerLeaveEvent} peerleave The peer is no longer connected. It is the peer's last event.
 * @property {PeerErrorEvent} peererror Other peers are connected to a peer, but two attempts to connect to it failed.
 *   Further attempts follow. The event is not repeated, unless the peer was connected meanwhile.
 * @property {PeerMessageEvent} message A string arrives as a string, all other data as an `ArrayBuffer`.
 * @property {PeerStreamEvent} stream A peer added a media stream. The stream's own `removetrack` event reports its end.
 * @property {StateEvent} statechange The state, its reason or the time of the next attempt changed.
 * @property {Event} meshchange A neighbour's round-trip time, path or list of neighbours changed.
 */

/** An `EventTarget` that knows the types of the events. */
export class GroupTarget extends EventTarget {
  /**
   * @template {keyof GroupEvents} T
   * @param {T} type
   * @param {((event: GroupEvents[T]) => void) | EventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @override
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {EventListener} */ (listener), options);
  }

  /**
   * @template {keyof GroupEvents} T
   * @param {T} type
   * @param {((event: GroupEvents[T]) => void) | EventListenerObject | null} listener
   * @param {boolean | EventListenerOptions} [options]
   * @override
   */
  removeEventListener(type, listener, options) {
    super.removeEventListener(type, /** @type {EventListener} */ (listener), options);
  }
}

/**
 * Why a peer is no longer connected.
 * - `left`: it left the group, or its page was closed
 * - `lost`: the connection broke, and the two peers try to connect again; or this page was put into the browser's
 *   back/forward cache, which ends all connections
 * - `invalid`: it broke the rules of the protocol
 *
 * @typedef {"left" | "lost" | "invalid"} LeaveReason
 */

export class PeerEvent extends Event {
  /** @param {string} type @param {Peer} peer */
  constructor(type, peer) {
    super(type);
    this.peerId = peer.id;
    this.peer = peer;
  }
}

export class PeerLeaveEvent extends PeerEvent {
  /** @param {Peer} peer @param {LeaveReason} reason */
  constructor(peer, reason) {
    super("peerleave", peer);
    this.reason = reason;
  }
}

export class PeerErrorEvent extends Event {
  /** @param {number} peerId @param {CloseReason} reason */
  constructor(peerId, reason) {
    super("peererror");
    this.peerId = peerId;
    /** Of the last attempt: mostly `ice-failed` (a firewall or NAT), `peer-timeout` or `full`. */
    this.reason = reason;
  }
}

export class PeerMessageEvent extends PeerEvent {
  /** @param {Peer} peer @param {string | ArrayBuffer} data @param {string} [channel] */
  constructor(peer, data, channel) {
    super("message", peer);
    this.data = data;
    /** The name of the message's channel, unless it is the one that every group has. */
    this.channel = channel;
  }
}

export class PeerStreamEvent extends PeerEvent {
  /** @param {Peer} peer @param {MediaStream} stream */
  constructor(peer, stream) {
    super("stream", peer);
    this.stream = stream;
  }
}

export class StateEvent extends Event {
  /** @param {State} state @param {Reason} reason @param {Close} [close] @param {number} [nextAttempt] */
  constructor(state, reason, close, nextAttempt) {
    super("statechange");
    this.state = state;
    this.reason = reason;
    /** When the hub is tried again, in milliseconds on the clock of `Date`; `undefined` if the group does not wait. */
    this.nextAttempt = nextAttempt;
    /** The code with which the connection to the hub closed, if that is why the state changed. 1006: it was lost. */
    this.code = close?.code;
    /** The text that the hub gave for it. Show it as text, never as HTML. */
    this.closeReason = close?.reason ?? "";
  }
}

/** The hub rejected the key or this peer. Its `name` is `NotAllowedError`. */
export class RejectedError extends Error {
  /** @override */
  name = "NotAllowedError";

  /** @param {Close} close @param {ErrorOptions} [options] */
  constructor({ code, reason }, options) {
    super(`The signaling server rejected this peer (${code}${reason && `: ${reason}`})`, options);
    this.code = code;
    this.closeReason = reason;
  }
}
