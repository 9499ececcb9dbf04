/**
 * A Yjs provider over a group: the peers of the group edit one document together, without a server that stores it.
 *
 *     import { Group } from "sigver-client";
 *     import { YjsProvider } from "sigver-client/yjs";
 *     import * as Y from "yjs";
 *
 *     const doc = new Y.Doc();
 *     const group = new Group("wss://example.org/signal", "tea-room", { channels: { yjs: {} } });
 *     const provider = new YjsProvider(group, doc);
 *     provider.awareness.setLocalStateField("user", { name: "Ada" });
 *
 * A message is one byte with its kind, then a state vector, an update of the document, or an update of the awareness
 * (see `MessageKind`).
 *
 * @module
 */

import { applyAwarenessUpdate, Awareness, removeAwarenessStates } from "y-protocols/awareness";
import { applyUpdate, encodeStateAsUpdate, encodeStateVector } from "yjs";
import { PIECE_BYTES } from "../src/limits.js";
import { MessageKind } from "./message_kind.js";
import { Outbox } from "./outbox.js";

/** @import { Group, Peer, PeerMessageEvent } from "../src/index.js" */
/** @import { Doc } from "yjs" */

/**
 * @typedef {object} YjsOptions
 * @property {Awareness} [awareness] Default: a new one. The provider destroys only its own.
 * @property {string} [channel] The name of the group's channel, for an app with several documents: `yjs` by default. It
 *   must be ordered and reliable.
 *
 * @typedef {{ added: number[], updated: number[], removed: number[] }} AwarenessChanges
 */

/**
 * Keeps a document and its awareness the same at all peers of a group that have a provider on the same channel.
 *
 * Two peers that meet exchange what the other one does not have. After that, each change is sent when it happens. For a
 * peer that reads slowly, the changes are merged into one. A peer passes changes on to peers that their sender is not
 * connected to, so all stay the same while any path connects them.
 *
 * A change from another peer has this `Peer` as the `origin` of its transaction. A message that is not valid is reported
 * (`reportError`) and has no other effect. Every peer of the group can change the whole document.
 */
export class YjsProvider {
  /**
   * Resolves when the content of some other peer has arrived, so it stays pending while this peer is alone: show the
   * document before. Rejects with an `AbortError` if the provider is destroyed first.
   *
   * @type {Promise<void>}
   */
  synced;
  awareness;
  doc;

  #group;
  #channel;
  #ownsAwareness;
  /** @type {Map<Peer, Outbox>} */ #outboxes = new Map();
  /** The clients whose awareness each peer has sent. @type {Map<Peer, Set<number>>} */ #clients = new Map();
  /** @type {() => void} */ #resolveSynced = () => {};
  /** @type {(error: unknown) => void} */ #rejectSynced = () => {};
  #ended = new AbortController();

  /**
   * @param {Group} group @param {Doc} doc @param {YjsOptions} [options]
   * @throws {TypeError} if the channel is not one of the group, or is unordered or not reliable
   */
  constructor(group, doc, { awareness, channel = "yjs" } = {}) {
    // Reports a channel that the group does not have.
    group.send("", { to: [], channel });
    try {
      // Only channels that are ordered and reliable accept a message of more than one piece.
      group.send(new Uint8Array(PIECE_BYTES + 1), { to: [], channel });
    } catch {
      throw new TypeError(`channel ${channel} may lose or reorder messages; must be ordered and reliable`);
    }
    this.#group = group;
    this.#channel = channel;
    this.#ownsAwareness = !awareness;
    this.doc = doc;
    this.awareness = awareness ?? new Awareness(doc);
    this.synced = new Promise((resolve, reject) => {
      this.#resolveSynced = resolve;
      this.#rejectSynced = reject;
    });
    // An app that does not use it must not cause an unhandled rejection.
    this.synced.catch(() => {});

    const untilEnd = /** @type {AddEventListenerOptions} */ ({ signal: this.#ended.signal });
    group.addEventListener("peerjoin", ({ peer }) => this.#onPeerJoin(peer), untilEnd);
    group.addEventListener("peerleave", ({ peer }) => this.#onPeerLeave(peer), untilEnd);
    group.addEventListener("message", (event) => event.channel === channel && this.#onMessage(event), untilEnd);
    doc.on("update", this.#onDocUpdate);
    doc.on("destroy", this.#onDestroy);
    this.awareness.on("update", this.#onAwarenessUpdate);
    for (const peer of group.peers.values()) this.#onPeerJoin(peer);
  }

  /**
   * Ends the exchange, and removes the awareness of the other peers. The other peers remove that of this one. The group
   * and the document stay. Further calls have no effect.
   */
  destroy() {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#rejectSynced(new DOMException("The provider was destroyed", "AbortError"));
    this.doc.off("update", this.#onDocUpdate);
    this.doc.off("destroy", this.#onDestroy);
    // Still sent to the peers.
    this.awareness.setLocalState(null);
    this.awareness.off("update", this.#onAwarenessUpdate);
    removeAwarenessStates(this.awareness, [...this.#remoteClients()], this);
    if (this.#ownsAwareness) this.awareness.destroy();
    this.#outboxes.clear();
    this.#clients.clear();
  }

  #onDestroy = () => this.destroy();

  /** @param {Peer} peer */
  #onPeerJoin(peer) {
    const outbox = new Outbox(this.#group, this.#channel, peer, this.awareness);
    this.#outboxes.set(peer, outbox);
    this.#clients.set(peer, new Set());
    outbox.addStateVector(MessageKind.QUERY, encodeStateVector(this.doc));
  }

  /** @param {Peer} peer */
  #onPeerLeave(peer) {
    const clients = this.#clients.get(peer) ?? new Set();
    this.#clients.delete(peer);
    const others = this.#remoteClients();
    const gone = [...clients].filter((id) => !others.has(id));
    // As if the peer had removed them itself: peers that were not connected to it must learn it from this one.
    removeAwarenessStates(this.awareness, gone, peer);
    // Otherwise, only newer states would be accepted when they return.
    for (const id of gone) this.awareness.meta.delete(id);
    this.#outboxes.delete(peer);
  }

  #remoteClients() {
    return new Set([...this.#clients.values()].flatMap((clients) => [...clients]));
  }

  /** @param {PeerMessageEvent} event untrusted data */
  #onMessage({ peer, data }) {
    const outbox = this.#outboxes.get(peer);
    if (!outbox || typeof data === "string" || data.byteLength === 0) return;
    try {
      this.#receive(new Uint8Array(data)[0], new Uint8Array(data, 1), peer, outbox);
    } catch (error) {
      // If the message is valid, a listener of the app has thrown it.
      reportError(error);
    }
  }

  /** @param {number | undefined} kind @param {Uint8Array} payload @param {Peer} peer @param {Outbox} outbox */
  #receive(kind, payload, peer, outbox) {
    if (kind === MessageKind.QUERY || kind === MessageKind.STATE_VECTOR) {
      outbox.addUpdate(encodeStateAsUpdate(this.doc, payload));
      if (kind === MessageKind.STATE_VECTOR) return;
      outbox.addStateVector(MessageKind.STATE_VECTOR, encodeStateVector(this.doc));
      // Renewed for peers that were told that this one had left: they accept only newer states.
      const state = this.awareness.getLocalState();
      if (state) this.awareness.setLocalState(state);
      outbox.addClients(this.awareness.getStates().keys());
    } else if (kind === MessageKind.UPDATE) {
      applyUpdate(this.doc, payload, peer);
      this.#resolveSynced();
    } else if (kind === MessageKind.AWARENESS) {
      applyAwarenessUpdate(this.awareness, payload, peer);
    }
  }

  /** @param {Uint8Array} update @param {unknown} origin */
  #onDocUpdate = (update, origin) => {
    for (const outbox of this.#recipients(origin)) outbox.addUpdate(update);
  };

  /** @param {AwarenessChanges} changes @param {unknown} origin */
  #onAwarenessUpdate = ({ added, updated, removed }, origin) => {
    const changed = [...added, ...updated, ...removed];
    const clients = this.#clients.get(/** @type {Peer} */ (origin));
    for (const id of clients ? changed : []) clients?.add(id);
    for (const id of clients ? removed : []) clients?.delete(id);
    for (const outbox of this.#recipients(origin)) outbox.addClients(changed);
  };

  /**
   * Returns the outboxes of the peers that do not get a change from its sender itself.
   *
   * @param {unknown} origin a peer, or anything else for a change of this peer's app
   */
  *#recipients(origin) {
    // All peers notice themselves that a client sends nothing more.
    if (origin === "timeout") return;
    const sender = this.#outboxes.has(/** @type {Peer} */ (origin)) ? /** @type {Peer} */ (origin) : undefined;
    const informed = new Set(sender?.neighbours.map(({ id }) => id));
    for (const [peer, outbox] of this.#outboxes) {
      if (peer !== sender && !informed.has(peer.id)) yield outbox;
    }
  }
}
