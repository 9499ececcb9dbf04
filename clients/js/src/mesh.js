/**
 * The full mesh: this peer's connections to all others.
 *
 * @module
 */

import { Departures } from "./departures.js";
import { Discovery } from "./discovery.js";
import { Identities } from "./identities.js";
import { MAX_DISCOVERING, MAX_KNOWN_IDS, OFFER_DELAY, UNREACHABLE_AFTER, VERSION } from "./limits.js";
import { Peer } from "./peer.js";
import { PendingPeers } from "./pending_peers.js";

/** @import { Connection } from "./connection.js" */
/** @import { LeaveReason } from "./events.js" */
/** @import { RtcSettings } from "./rtc_settings.js" */
/** @import { Route } from "./signaling.js" */
/** @import { CloseReason, Control, Signal } from "./untrusted.js" */

/**
 * @typedef {object} MeshEvents Callbacks of a `Mesh`. After `close`, none is called.
 * @property {() => void} opened A peer became a neighbour. It is not met yet.
 * @property {() => void} closed A peer is no longer a neighbour, whether it was met or not.
 * @property {(peer: Peer, connection: Connection) => void} met
 * @property {(peer: Peer) => void} metadataChanged
 * @property {(peer: Peer, reason: LeaveReason) => void} left A peer that was met is no longer a neighbour.
 * @property {(id: number, reason: CloseReason) => void} failed An attempt to connect failed; 0 if the id is not known.
 * @property {(id: number, reason: CloseReason) => void} unreachable It failed again with a peer that others see.
 * @property {(peer: Peer, data: string | ArrayBuffer, channel?: string) => void} message
 * @property {(peer: Peer, stream: MediaStream) => void} stream
 * @property {() => void} changed A neighbour's round-trip time, path or list of neighbours changed.
 */

/**
 * Connects to every peer that a neighbour names, through this neighbour, and relays the signals of neighbours. The hub
 * is a route to it like others: `offer` and `receive` handle signals of any route.
 */
export class Mesh {
  #identities = new Identities();
  /** The open connections, by id. @type {Map<number, Connection>} */ #neighbours = new Map();
  #pending;
  #discovery = new Discovery(
    (id) => (this.id < id ? 0 : OFFER_DELAY),
    () => this.#discover(),
  );
  #departures = new Departures();
  /** Ids that were reported as unreachable. @type {Set<number>} */ #unreachable = new Set();
  #settings;
  #events;
  #isClosed = false;

  /**
   * @param {RtcSettings} settings
   * @param {Map<number, Peer>} peers of the group: the neighbours that are met, in the order in which they were
   * @param {MeshEvents} events
   */
  constructor(settings, peers, events) {
    this.peers = peers;
    this.#settings = settings;
    this.#events = events;
    this.#pending = new PendingPeers(this.#identities, this.#neighbours, settings, {
      hello: () => ({ v: VERSION, ...settings.hello }),
      opened: (connection) => this.#onOpened(connection),
      met: (connection) => this.#isClosed || this.#onMet(connection),
      closed: (connection, reason, wasOpen) => this.#onClosed(connection, reason, wasOpen),
      relay: ({ id }, previous) => this.#relayTo(id, previous?.relay),
      near: () => [...this.#neighbours.values()].map(({ id, roundTripTime }) => [id, roundTripTime ?? null]),
      control: (connection, message) => this.#onControl(connection, message),
      message: ({ id }, data, channel) => this.#withPeer(id, (peer) => events.message(peer, data, channel)),
      stream: ({ id }, stream) => this.#withPeer(id, (peer) => events.stream(peer, stream)),
      pathChanged: () => this.#isClosed || events.changed(),
    });
  }

  /** This peer's id. It changes only if another peer in the group already has it (a chance of 1 in 2^31). */
  get id() {
    return this.#identities.id;
  }

  /** Draws another id. Does nothing if this peer has neighbours, which know it by its id. */
  renewId() {
    if (this.#neighbours.size === 0) this.#identities.renew();
  }

  get neighbourIds() {
    return [...this.#neighbours.keys()];
  }

  /** @param {number} id @param {(peer: Peer) => void} call unless the peer is gone */
  #withPeer(id, call) {
    const peer = this.peers.get(id);
    if (peer) call(peer);
  }

  /**
   * Closes all connections. The neighbours learn that this peer is leaving. Resolves within 2 s.
   *
   * @param {boolean} [now] whether to do all at once, without sending the messages that wait
   */
  async close(now = false) {
    this.#isClosed = true;
    this.#discovery.clear();
    this.#pending.closeAll();
    const closed = [...this.#neighbours.values()].map((it) => it.leave(now));
    this.#neighbours.clear();
    this.peers.clear();
    await Promise.all(closed);
  }

  /** The metadata in the settings has changed. */
  announceMetadata() {
    for (const neighbour of this.#neighbours.values()) neighbour.announceMetadata();
  }

  /** The connections to the peers that are met. */
  get connections() {
    return [...this.#neighbours.values()].filter(({ version }) => version !== undefined);
  }

  /**
   * Sends a message to peers, or to all. Resolves with the number of peers whose channel accepted the whole message.
   * Rejects if it fits into no queue, or if it is aborted before a part of it has been sent.
   *
   * @param {Uint8Array} bytes @param {boolean} isText
   * @param {{ ids?: Set<number>, channel?: string, signal?: AbortSignal }} options
   */
  async send(bytes, isText, { ids, channel, signal }) {
    signal?.throwIfAborted();
    const recipients = this.connections.filter((it) => (!ids || ids.has(it.id)) && it.channels.has(channel));
    const { maxQueuedBytes } = this.#settings;
    const ready = recipients.filter((it) => it.channels.hasRoom(bytes, maxQueuedBytes));
    if (recipients.length && !ready.length) {
      throw new DOMException(`More than ${maxQueuedBytes} bytes wait to be sent`, "QuotaExceededError");
    }
    const results = await Promise.all(ready.map((it) => it.channels.send(bytes, isText, { channel, signal })));
    const count = results.filter((it) => it === "sent").length;
    if (count === 0 && results.includes("cancelled")) signal?.throwIfAborted();
    return count;
  }

  // ---- Peers that are connecting ------------------------------------------------------------------------------------

  /** Makes an offer to a peer whose id is not known yet. @param {Route} route */
  offer(route) {
    return this.#pending.offer(0, route);
  }

  /**
   * Handles a signal. Returns the connection that handled it.
   *
   * @param {Signal} signal @param {Route} route back to its sender
   */
  receive(signal, route) {
    return this.#pending.receive(signal, route);
  }

  /** Aborts when no attempt to connect is under way. */
  get idle() {
    return this.#pending.idle;
  }

  /**
   * Updates the ids that these neighbours name, and connects to the ids that are due.
   *
   * @param {Iterable<Connection>} [neighbours]
   */
  #discover(neighbours = this.#neighbours.values()) {
    if (this.#isClosed) return;
    const isUnmet = (/** @type {number} */ id) =>
      id !== this.id && !this.#neighbours.has(id) && !this.#departures.hasLeft(id);
    for (const { id, neighbours: named } of neighbours) {
      this.#discovery.update(id, named.map(({ id }) => id).filter(isUnmet));
    }
    const places = this.#settings.maxPeers - this.#neighbours.size - this.#pending.size;
    let free = Math.min(MAX_DISCOVERING - this.#pending.discovering, places);
    for (const id of this.#discovery.due) {
      if (free <= 0) break;
      if (this.#pending.get(id)) continue;
      const route = this.#relayTo(id);
      if (!route) continue;
      this.#discovery.begin(id);
      this.#pending.offer(id, route);
      free--;
    }
  }

  /**
   * Returns a route through a random neighbour that names the other peer, and through the previous one only if there is
   * no other. Returns `undefined` if there is none.
   *
   * @param {number} id @param {number} [previous]
   */
  #relayTo(id, previous) {
    const relays = [...this.#neighbours.values()].filter(
      (it) => !it.isInterrupted && it.neighbours.some((other) => other.id === id),
    );
    const others = relays.filter((it) => it.id !== previous);
    const relay = others[Math.floor(Math.random() * others.length)] ?? relays[0];
    return relay && this.#routeThrough(relay.id);
  }

  /** @param {number} relay @returns {Route} */
  #routeThrough(relay) {
    const send = (/** @type {Signal} */ signal) => this.#neighbours.get(relay)?.sendControl({ relay: signal });
    return { send, end: (signal) => signal && send(signal), relay };
  }

  // ---- Neighbours ---------------------------------------------------------------------------------------------------

  /** @param {Connection} connection */
  #onOpened(connection) {
    const { id } = connection;
    this.#neighbours.get(id)?.close("replaced");
    this.#discovery.delete(id);
    this.#departures.delete(id);
    this.#unreachable.delete(id);
    this.#neighbours.set(id, connection);
    this.#identities.learn(id, connection.fingerprint);
    this.#announceNeighbours();
    this.#discover();
    this.#events.opened();
  }

  /** @param {Connection} connection */
  #onMet(connection) {
    const peer = new Peer(connection);
    this.peers.set(peer.id, peer);
    this.#events.met(peer, connection);
  }

  /** @param {Connection} connection @param {CloseReason} reason @param {boolean} wasOpen */
  #onClosed({ id, initiator }, reason, wasOpen) {
    if (this.#isClosed) return;
    if (!wasOpen) {
      this.#events.failed(id, reason);
      const isConnecting = reason === "glare" || reason === "present";
      if (!isConnecting && this.#discovery.failed(id) >= UNREACHABLE_AFTER) this.#reportUnreachable(id, reason);
      if (initiator) this.#discovery.retry(id);
      return this.#discover();
    }
    this.#neighbours.delete(id);
    this.#discovery.deleteNeighbour(id);
    const hasLeft = reason === "left" || reason === "invalid";
    if (hasLeft) this.#discovery.delete(id);
    if (hasLeft || reason === "lost") this.#departures.add(id, !hasLeft);
    this.#announceNeighbours();
    this.#withPeer(id, (peer) => {
      this.peers.delete(id);
      this.#events.left(peer, hasLeft ? reason : "lost");
    });
    this.#events.closed();
  }

  /** @param {number} id @param {CloseReason} reason */
  #reportUnreachable(id, reason) {
    if (this.#unreachable.has(id)) return;
    if (this.#unreachable.size >= MAX_KNOWN_IDS) this.#unreachable.clear();
    this.#unreachable.add(id);
    this.#events.unreachable(id, reason);
  }

  /** @param {Connection} sender @param {Control} message */
  #onControl(sender, { bye, near, relay, metadata }) {
    if (relay && sender.limits.signals.take()) this.#relay(relay, sender);
    if (this.#isClosed) return;
    if (bye) return sender.close("left");
    if (near && sender.limits.near.take()) {
      sender.neighbours = near;
      this.#discover([sender]);
      this.#events.changed();
    }
    // A peer of version 0 has no metadata.
    if (metadata !== undefined && sender.version && JSON.stringify(metadata) !== JSON.stringify(sender.metadata)) {
      sender.metadata = metadata;
      this.#withPeer(sender.id, this.#events.metadataChanged);
    }
  }

  /**
   * Handles a signal that a neighbour relayed, or relays it. A peer that is leaving has no neighbours for it any more.
   *
   * @param {Signal} signal @param {Connection} sender
   */
  #relay(signal, sender) {
    const { from, to, negotiationId, reject } = signal;
    if (to === this.id && !this.#isClosed) {
      this.receive(signal, this.#routeThrough(sender.id));
    } else if (from === sender.id) {
      const recipient = this.#neighbours.get(to);
      const gone = { from: to, to: from, negotiationId, reject: "gone" };
      if (recipient) recipient.sendControl({ relay: signal });
      else if (reject === undefined) sender.sendControl({ relay: gone });
    }
  }

  #announceNeighbours() {
    for (const neighbour of this.#neighbours.values()) neighbour.announceNeighbours();
  }

  /** Call it at every interval of the pings. */
  tick() {
    this.#departures.expire();
    for (const neighbour of [...this.#neighbours.values()]) neighbour.ping();
    this.#announceNeighbours();
  }

  // ---- Halves of a split group --------------------------------------------------------------------------------------

  /**
   * Lost ids that may belong to another half of the group. A lost neighbour may be dead, or a broken network may have
   * split the group. The hub does not merge the halves, because the peers of both are members. The peer with the lowest
   * id of a half searches for its half; the list is empty for all others.
   */
  get lostIds() {
    if (this.#neighbours.size === 0 || Math.min(...this.#neighbours.keys()) < this.id) return [];
    const seen = new Set([...this.#neighbours.values()].flatMap((it) => it.neighbours.map(({ id }) => id)));
    return this.#departures.lost.filter((id) => !seen.has(id));
  }

  /** Stops the search for these lost ids. @param {number[]} ids */
  forget(ids) {
    for (const id of ids) this.#departures.delete(id);
  }
}
