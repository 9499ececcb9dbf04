/**
 * The close codes of the connection to the hub.
 *
 * @module
 */

const PROTOCOL_ERROR = 1002;
const POLICY = 1008;
const TOO_BIG = 1009;
const EXPIRED = 4740;
const HEARTBEAT = 4742;
const BLOCKING_MEMBER = 4744;

/** The hub can be reached, but does not answer. Used by this client only. */
export const HUB_IS_SILENT = 3000;

/**
 * How the hub closed its connection.
 *
 * @typedef {{ code: number, reason: string }} Close
 */

/**
 * Returns what a close means for this peer. `rejected` is final: the hub would close the next connection with the same
 * code. These are its own codes for a fault of this client, and all codes of the app. Limits that pass by themselves
 * close with 1013.
 *
 * @param {number} code
 */
export function meaningOf(code) {
  if (code === EXPIRED) return "expired";
  if (code === BLOCKING_MEMBER) return "evicted";
  if (code === HUB_IS_SILENT || code === HEARTBEAT) return "hub-timeout";
  const isFinal = code >= 4000 || code === PROTOCOL_ERROR || code === POLICY || code === TOO_BIG;
  return isFinal ? "rejected" : "unreachable";
}
