/**
 * What waits to be sent to one peer.
 *
 * @module
 */

import { encodeAwarenessUpdate } from "y-protocols/awareness";
import { mergeUpdates } from "yjs";
import { MessageKind } from "./message_kind.js";

/** @import { Group, Peer } from "sigver-client" */
/** @import { Awareness } from "y-protocols/awareness" */

/** Before a message is sent again that the group did not accept, because messages of the app fill the queue. */
const RETRY_AFTER = 500;

/**
 * Sends one message at a time. What is added meanwhile is merged, so a slow peer costs at most the size of the document
 * and gets the latest state.
 */
export class Outbox {
  #send;
  #awareness;
  /** The latest state vector of each kind. @type {Map<number, Uint8Array>} */ #stateVectors = new Map();
  /** @type {Uint8Array[]} */ #updates = [];
  /** Clients whose awareness changed. @type {Set<number>} */ #clients = new Set();
  #isSending = false;

  /** @param {Group} group @param {string} channel @param {Peer} peer @param {Awareness} awareness */
  constructor(group, channel, peer, awareness) {
    this.#send = (/** @type {Uint8Array} */ message) => group.send(message, { to: peer, channel });
    this.#awareness = awareness;
  }

  /** @param {number} kind @param {Uint8Array} stateVector */
  addStateVector(kind, stateVector) {
    this.#stateVectors.set(kind, stateVector);
    this.#run();
  }

  /** @param {Uint8Array} update */
  addUpdate(update) {
    this.#updates.push(update);
    this.#run();
  }

  /** @param {Iterable<number>} clients */
  addClients(clients) {
    for (const id of clients) this.#clients.add(id);
    this.#run();
  }

  async #run() {
    if (this.#isSending) return;
    this.#isSending = true;
    for (let message = this.#next(); message; message = this.#next()) await this.#sendUntilAccepted(message);
    this.#isSending = false;
  }

  /** @param {Uint8Array} message */
  async #sendUntilAccepted(message) {
    for (;;) {
      try {
        // 0 if the peer is gone, or has no such channel.
        await this.#send(message);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER));
      }
    }
  }

  #next() {
    for (const [kind, stateVector] of this.#stateVectors) {
      this.#stateVectors.delete(kind);
      return message(kind, stateVector);
    }
    if (this.#updates.length) return message(MessageKind.UPDATE, mergeUpdates(this.#updates.splice(0)));
    const clients = [...this.#clients].filter((id) => this.#awareness.meta.has(id));
    this.#clients.clear();
    return clients.length ? message(MessageKind.AWARENESS, encodeAwarenessUpdate(this.#awareness, clients)) : undefined;
  }
}

/** @param {number} kind @param {Uint8Array} payload */
function message(kind, payload) {
  const bytes = new Uint8Array(1 + payload.length);
  bytes[0] = kind;
  bytes.set(payload, 1);
  return bytes;
}
