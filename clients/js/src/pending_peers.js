/**
 * Peers that this one is connecting to.
 *
 * @module
 */

import { Connection } from "./connection.js";
import { drawUint32 } from "./identities.js";
import { MAX_ANSWERING, MAX_ANSWERING_PER_RELAY, MIN_JOINER_SLOTS, SETTLED_AFTER } from "./limits.js";
import { Notify } from "./timing.js";
import { readFingerprint } from "./untrusted.js";

/** @import { ConnectionEvents } from "./connection.js" */
/** @import { Identities } from "./identities.js" */
/** @import { RtcSettings } from "./rtc_settings.js" */
/** @import { Route } from "./signaling.js" */
/** @import { CloseReason, Signal } from "./untrusted.js" */

/** @typedef {Omit<ConnectionEvents, "signal" | "isPolite" | "rejects">} MeshConnectionEvents */

/**
 * The connections that are not open yet: makes offers, and answers or rejects those of others.
 *
 * Two peers can start two attempts at once. The attempt that the peer with the lower id began survives.
 */
export class PendingPeers {
  /** By negotiation id. @type {Map<number, Connection>} */ #pending = new Map();
  #idle = new Notify();
  #identities;
  #neighbours;
  #settings;
  /** @type {ConnectionEvents} */ #events;

  /**
   * @param {Identities} identities
   * @param {ReadonlyMap<number, Connection>} neighbours the open connections, by id
   * @param {RtcSettings} settings
   * @param {MeshConnectionEvents} events for all connections, also after they opened
   */
  constructor(identities, neighbours, settings, events) {
    this.#identities = identities;
    this.#neighbours = neighbours;
    this.#settings = settings;
    this.#events = {
      ...events,
      isPolite: ({ id }) => identities.id > id,
      rejects: ({ id, fingerprint, initiator, route }) => {
        if (!this.#owns(id, fingerprint)) return "same-id";
        // Peers that others named are attempted while others are answered. Only the hub's member is one too many.
        const isFull = initiator && route.relay && neighbours.size >= settings.maxPeers && !neighbours.has(id);
        return isFull ? "full" : undefined;
      },
      signal: (connection, body, route) => {
        const members = body.description && [...neighbours.keys()];
        const isOpen = !this.#pending.has(connection.negotiationId);
        const restart = isOpen && body.description?.type === "offer" ? true : undefined;
        route.send({ ...this.#header(connection), members, restart, ...body });
      },
      opened: (connection) => {
        this.#delete(connection.negotiationId);
        settings.log(`connected to ${connection.id}`);
        connection.route.end();
        events.opened(connection);
      },
      closed: (connection, reason, wasOpen) => {
        this.#delete(connection.negotiationId);
        settings.log(`${wasOpen ? "connection" : "attempt"} to ${connection.id || "a member"} closed: ${reason}`);
        // No reject for a reject, but over the hub: empty content does not name the attempt, so that the other peer
        // would take it for the end of its next one.
        const isSilent = connection.isRejected && connection.route.relay !== undefined;
        if (!wasOpen && !isSilent) connection.route.end({ ...this.#header(connection), reject: reason });
        events.closed(connection, reason, wasOpen);
      },
    };
  }

  /** @param {{ id: number, negotiationId: number }} recipient */
  #header({ id: to, negotiationId }) {
    return { from: this.#identities.id, to, negotiationId };
  }

  /** Returns the pending connection to a peer. @param {number} id */
  get(id) {
    return [...this.#pending.values()].find((it) => it.id === id);
  }

  get size() {
    return this.#pending.size;
  }

  /** How many offers to peers that neighbours named are under way. */
  get discovering() {
    return [...this.#pending.values()].filter((it) => it.initiator && it.route.relay).length;
  }

  /** Aborts when no peer is pending. */
  get idle() {
    return this.#pending.size ? this.#idle.signal : AbortSignal.abort();
  }

  /** @param {number} negotiationId */
  #delete(negotiationId) {
    if (this.#pending.delete(negotiationId) && this.#pending.size === 0) this.#idle.notify();
  }

  closeAll() {
    for (const connection of [...this.#pending.values()]) connection.close("left");
  }

  /** Makes an offer. @param {number} id 0 if it is not known yet @param {Route} route */
  offer(id, route) {
    return this.#connect(id, drawUint32(), true, route);
  }

  /** @param {number} id @param {number} negotiationId @param {boolean} initiator @param {Route} route */
  #connect(id, negotiationId, initiator, route) {
    const connection = new Connection({ id, negotiationId, initiator, route }, this.#settings, this.#events);
    this.#pending.set(negotiationId, connection);
    const way = route.relay ? `through ${route.relay}` : "through the hub";
    this.#settings.log(`${initiator ? "offer to" : "offer from"} ${id || "a member"} ${way}`);
    return connection;
  }

  /**
   * Handles a signal from a pending peer, received over a link of the hub or relayed by a neighbour.
   *
   * @param {Signal} signal @param {Route} route back to its sender
   * @returns {Connection | undefined} the connection that handled it
   */
  receive(signal, route) {
    const { from, negotiationId } = signal;
    const known =
      this.#pending.get(negotiationId) ??
      [...this.#neighbours.values()].find((it) => it.negotiationId === negotiationId);
    if (known) {
      if (known.id === 0 && signal.reject === undefined && !this.#identify(known, from)) return undefined;
      if (known.id !== from && known.id !== 0) return undefined;
      known.receive(signal, route);
      return known;
    }
    if (signal.description?.type !== "offer") return undefined;
    // A new connection would not match the one that the other peer restarts, and this side has closed.
    const reject = signal.restart ? "gone" : this.#rejectOffer(signal, route.relay);
    if (reject) {
      route.end({ ...this.#header({ id: from, negotiationId }), reject });
      return undefined;
    }
    const connection = this.#connect(from, negotiationId, false, route);
    connection.receive(signal, route);
    return connection;
  }

  /**
   * Returns why an offer is rejected, or closes the attempt that it replaces.
   *
   * @param {Signal} offer @param {number | undefined} relay
   * @returns {CloseReason | undefined}
   */
  #rejectOffer({ from, members, description }, relay) {
    const { id } = this.#identities;
    if (!this.#owns(from, readFingerprint(description))) return "same-id";
    const open = this.#neighbours.get(from);
    if (open && (members?.includes(id) || open.age < SETTLED_AFTER)) return "present";
    const rival = this.get(from);
    if (rival?.initiator && id < from) return "glare";
    const isNew = !open && (!rival || rival.initiator);
    if (isNew && this.#neighbours.size + this.#answering.length >= this.#settings.maxPeers) return "full";
    if (!(rival || this.#hasSlot(relay)) || this.#neighbours.get(relay ?? 0)?.limits.offers.take() === false) {
      return "busy";
    }
    rival?.close("glare");
    // If `open` is set, the sender has lost it, and this side has not noticed yet. It stays until the new connection
    // opens: only that proves that the offer is from the same peer, because a fingerprint can be copied.
    return undefined;
  }

  /** @param {number} id @param {string | undefined} fingerprint */
  #owns(id, fingerprint) {
    return this.#identities.owns(id, fingerprint, this.#neighbours.get(id)?.fingerprint);
  }

  get #answering() {
    return [...this.#pending.values()].filter(({ initiator }) => !initiator);
  }

  /** Returns whether one more offer can be answered. @param {number | undefined} relay through which it arrived */
  #hasSlot(relay) {
    const answering = this.#answering;
    const sameWay = answering.filter((it) => it.route.relay === relay).length;
    if (relay === undefined) return sameWay < MIN_JOINER_SLOTS || answering.length < MAX_ANSWERING;
    return sameWay < MAX_ANSWERING_PER_RELAY && answering.length < MAX_ANSWERING;
  }

  /**
   * Sets the id of the bound member, which a joiner learns from the first answer.
   *
   * @param {Connection} member @param {number} id
   * @returns {boolean} whether this attempt continues
   */
  #identify(member, id) {
    if (id === this.#identities.id) {
      member.close("same-id");
      return false;
    }
    const rival = this.get(id);
    if (rival && !rival.initiator && id < this.#identities.id) {
      member.close("glare");
      return false;
    }
    rival?.close("glare");
    member.id = id;
    return true;
  }
}
