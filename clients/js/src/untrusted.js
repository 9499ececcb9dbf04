/**
 * Validation of all input from other peers. Every peer that has the key can send anything, and so can the hub and the
 * neighbour that relay the signals of others.
 *
 * @module
 */

import {
  ICE_SERVERS_MAX_TTL,
  ICE_SERVERS_MIN_TTL,
  MAX_CHANNEL_NAME,
  MAX_CHANNELS,
  MAX_CONTROL_BYTES,
  MAX_ICE_URLS,
  MAX_NEIGHBOURS,
} from "./limits.js";

/**
 * One message between two peers that are connecting, sent over any route.
 *
 * @typedef {object} Signal
 * @property {number} from
 * @property {number} to 0 while a joiner does not know the id of the member that it is bound to
 * @property {number} negotiationId drawn by the peer that makes the offer; signals of other attempts are ignored
 * @property {number[]} [members] with a description: the neighbours of its sender
 * @property {RTCSessionDescriptionInit} [description]
 * @property {boolean} [restart] with an offer: it is for an open connection, and begins no attempt
 * @property {RTCIceCandidateInit} [candidate]
 * @property {string} [reject]
 */

/**
 * Why a connection closed. The reasons of `REJECTS` may also come from the other peer.
 *
 * @typedef {"left" | "lost" | "invalid" | "peer-timeout" | "ice-failed" | "glare" | "replaced" | "present" | "gone"
 *   | "same-id" | "busy" | "full" | "ended"} CloseReason
 */

/** @type {CloseReason[]} */
const REJECTS = ["present", "glare", "same-id", "busy", "full", "gone", "left", "peer-timeout", "ended", "invalid"];

/**
 * A peer as one of its neighbours announced it.
 *
 * @typedef {{ id: number, roundTripTime: number | undefined }} NearPeer
 */

/**
 * The first control message of a peer: the version of the protocol, the metadata of its app, and its named channels.
 *
 * @typedef {{ v: number, metadata?: any, channels: string[] }} Hello
 */

/**
 * One control message. Exactly one field is set.
 *
 * @typedef {object} Control
 * @property {Hello} [hello]
 * @property {any} [metadata]
 * @property {NearPeer[]} [near]
 * @property {number} [ping]
 * @property {number} [pong]
 * @property {Signal} [relay]
 * @property {RTCSessionDescriptionInit} [description]
 * @property {RTCIceCandidateInit} [candidate]
 * @property {true} [bye]
 */

/**
 * ICE servers that may be kept for `ttl` seconds, or a list for a single connection.
 *
 * @typedef {{ iceServers: RTCIceServer[], ttl: number } | RTCIceServer[]} IceServers
 */

/** Parses JSON. Returns an object, or `undefined`. @param {unknown} text @returns {any} */
export function readJson(text) {
  try {
    const value = JSON.parse(String(text));
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Uint8Array} data @returns {Signal | undefined} */
export function readSignal(data) {
  const signal = readJson(new TextDecoder().decode(data));
  return isSignal(signal) ? signal : undefined;
}

/** @param {any} value @returns {value is Signal} */
export function isSignal(value) {
  const { from, to, negotiationId, members, description, restart, candidate, reject } = value ?? {};
  return (
    isId(from) &&
    from !== 0 &&
    isId(to) &&
    isId(negotiationId) &&
    (members === undefined || (Array.isArray(members) && members.every(isId))) &&
    (description === undefined || isDescription(description)) &&
    (restart === undefined || typeof restart === "boolean") &&
    (candidate === undefined || typeof candidate?.candidate === "string") &&
    (reject === undefined || typeof reject === "string") &&
    (description ?? candidate ?? reject) !== undefined
  );
}

/** @param {any} value @returns {value is RTCSessionDescriptionInit} */
function isDescription(value) {
  return (value?.type === "offer" || value?.type === "answer") && typeof value.sdp === "string";
}

/** Whether this is a uint32. @param {unknown} value @returns {value is number} */
function isId(value) {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

/** @param {unknown} reject @returns {CloseReason} */
export function readReject(reject) {
  return REJECTS.find((it) => it === reject) ?? "ice-failed";
}

/**
 * Returns the fingerprint in a description: 32 bytes in upper-case hex, separated by colons. Returns `undefined` unless
 * all lines have the same one. Browsers accept a certificate that matches any line, so several would prove nothing.
 *
 * @param {RTCSessionDescriptionInit | undefined} description
 */
export function readFingerprint(description) {
  const lines = (description?.sdp ?? "").split(/[\r\n]+/).filter((line) => /fingerprint/i.test(line));
  const found = lines.map((line) => /^a=fingerprint:sha-256 ((?:[\da-f]{2}:){31}[\da-f]{2})$/i.exec(line)?.[1]);
  const [first, ...others] = new Set(found.map((fingerprint) => fingerprint?.toUpperCase()));
  return others.length === 0 ? first : undefined;
}

/** Returns the version of a description, which grows with each one of its sender. */
export function readVersion(/** @type {RTCSessionDescriptionInit} */ { sdp }) {
  return Number(/^o=\S+ \S+ (\d+)/m.exec(sdp ?? "")?.[1] ?? 0);
}

/** Whether a description has other ICE credentials than the one before, if there is one. */
export function restartsIce(
  /** @type {RTCSessionDescriptionInit} */ description,
  /** @type {RTCSessionDescriptionInit | null} */ previous,
) {
  return previous !== null && readUfrag(description) !== readUfrag(previous);
}

function readUfrag(/** @type {RTCSessionDescriptionInit} */ { sdp }) {
  return /^a=ice-ufrag:(.*)/m.exec(sdp ?? "")?.[1];
}

const isNumber = (/** @type {unknown} */ value) => (typeof value === "number" ? value : undefined);

/** Returns the value of each key of a control message, or `undefined` if it is ignored. */
const READ = {
  hello: readHello,
  metadata: (/** @type {unknown} */ value) => value,
  near: readNeighbours,
  ping: isNumber,
  pong: isNumber,
  relay: (/** @type {unknown} */ value) => (isSignal(value) ? value : undefined),
  description: (/** @type {any} */ value) => (isDescription(value) ? value : undefined),
  candidate: (/** @type {any} */ value) => (typeof value?.candidate === "string" ? value : undefined),
  bye: (/** @type {unknown} */ value) => value === true || undefined,
};

/** Whether it is too long for a control message. @param {string} text */
export function isTooLong(text) {
  return new TextEncoder().encode(text).length > MAX_CONTROL_BYTES;
}

/**
 * Reads a control message. Returns `null` if it breaks the rules, and an empty one if it must be ignored.
 *
 * @param {unknown} text
 * @returns {Control | null}
 */
export function readControl(text) {
  if (typeof text !== "string" || isTooLong(text)) return null;
  const message = readJson(text) ?? {};
  for (const [key, read] of Object.entries(READ)) if (key in message) return { [key]: read(message[key]) };
  return {};
}

/** @param {any} hello @returns {Hello | undefined} */
function readHello(hello) {
  const { v, metadata, channels } = hello ?? {};
  if (!isId(v) || v === 0) return undefined;
  const isName = (/** @type {any} */ it) => typeof it === "string" && it !== "" && it.length <= MAX_CHANNEL_NAME;
  const names = new Set(Array.isArray(channels) ? channels.filter(isName) : []);
  return { v, metadata, channels: [...names].slice(0, MAX_CHANNELS) };
}

/** Reads the list of a neighbour's neighbours. @param {unknown} near @returns {NearPeer[] | undefined} */
function readNeighbours(near) {
  if (!Array.isArray(near)) return undefined;
  return near
    .slice(0, MAX_NEIGHBOURS)
    .map((entry) => (Array.isArray(entry) ? entry : []))
    .filter(([id]) => isId(id) && id !== 0)
    .map(([id, roundTripTime]) => ({
      id,
      roundTripTime: typeof roundTripTime === "number" ? roundTripTime : undefined,
    }));
}

/**
 * Throws if a browser would reject the list. Also returns how many milliseconds to keep it.
 *
 * @param {any} value of the hub or the app
 */
export function readIceServers(value) {
  const isList = Array.isArray(value);
  /** @type {{ iceServers: RTCIceServer[], ttl: number }} */
  const { iceServers, ttl } = isList ? { iceServers: value, ttl: 0 } : value;
  const urls = iceServers.flatMap((server) => server.urls).length;
  if (urls > MAX_ICE_URLS || typeof ttl !== "number" || !(ttl >= 0)) throw new RangeError("invalid ICE servers");
  new RTCPeerConnection({ iceServers }).close();
  // Renewed before the last tenth, so that they are valid until a connection has used them.
  const keepFor = Math.min(Math.max(ttl * 900, ICE_SERVERS_MIN_TTL), ICE_SERVERS_MAX_TTL);
  return { iceServers, keepFor: isList ? 0 : keepFor };
}
