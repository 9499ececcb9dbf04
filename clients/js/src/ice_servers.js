/**
 * The ICE servers of new connections: from the app, or from the hub.
 *
 * @module
 */

import { ICE_SERVERS_TIMEOUT } from "./limits.js";
import { withTimeout } from "./timing.js";
import { readIceServers } from "./untrusted.js";

/** @import { IceServers } from "./untrusted.js" */

/**
 * Asks for ICE servers when a connection needs them, and keeps them until shortly before they expire. Never rejects:
 * without an answer, or with an invalid one, the list is empty.
 */
export class IceServerCache {
  #request;
  #retryAfter;
  /** @type {Promise<RTCIceServer[]>} */ #servers = Promise.resolve([]);
  /** On the clock of `Date`, which counts the time that a computer sleeps. */
  #expiry = 0;
  #failed = false;

  /**
   * @param {(signal: AbortSignal) => Promise<IceServers>} request
   * @param {number} [retryAfter] how long the empty list of a failed request is kept, in milliseconds
   */
  constructor(request, retryAfter = 0) {
    this.#request = request;
    this.#retryAfter = retryAfter;
  }

  /** Resolves within 3 s. Connections that need the servers at the same time share one request. */
  get() {
    if (Date.now() >= this.#expiry) {
      this.#expiry = Infinity;
      this.#servers = this.#load();
    }
    return this.#servers;
  }

  /** Asks now if the servers have expired or the last request failed. */
  refresh() {
    if (this.#failed) this.#expiry = 0;
    this.get();
  }

  async #load() {
    this.#failed = false;
    try {
      const { iceServers, keepFor } = readIceServers(await withTimeout(ICE_SERVERS_TIMEOUT, this.#request));
      this.#expiry = Date.now() + keepFor;
      return iceServers;
    } catch {
      this.#failed = true;
      this.#expiry = Date.now() + this.#retryAfter;
      return [];
    }
  }
}

/**
 * Asks the hub for ICE servers: a GET on the URL of the socket. Browsers send cookies with it only if the hub has the
 * page's own origin. They would hide an answer for all origins (`*`) from a request with cookies.
 *
 * @param {string} url @param {AbortSignal} signal
 * @returns {Promise<IceServers>}
 */
export async function fetchIceServers(url, signal) {
  const response = await fetch(url.replace(/^ws/, "http"), { headers: { Accept: "application/json" }, signal });
  if (response.ok) {
    const { iceServers, ttl } = await response.json();
    return { iceServers, ttl };
  }
  // 426: the hub has no ICE servers. Other rejections may be temporary.
  return { iceServers: [], ttl: response.status === 426 ? Infinity : 30 };
}
