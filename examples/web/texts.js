/** What the page says about the state of the group. */

/**
 * What the texts depend on.
 *
 * @typedef {object} View
 * @property {string} state of the group
 * @property {string} reason of the group
 * @property {number} peers that are connected
 * @property {boolean} [hadPeers] whether some peer has been connected since the group was joined
 * @property {number} [code] with which the server closed the connection, if that is why the group is in its state
 * @property {string} [closeReason] the text that the server gave for it
 * @property {{ name: string, message: string }} [error] with which joining failed
 * @property {{ name: string, reason: string }[]} [unreachable] peers that only other peers are connected to, and why
 */

/** Codes with which the server shuts down, the connection is lost, or the server does not answer. */
const OFFLINE_CODES = [1001, 1005, 1006, 1012, 3000];
const MAX_NAMES = 3;

/** @param {View} view */
export function stateText({ state, reason, peers, code = 0 }) {
  if (state === "connecting") return "Connecting";
  if (state === "joining") return "Joining";
  if (state === "reconnecting") return OFFLINE_CODES.includes(code) ? "Server offline" : "Reconnecting";
  if (state === "left") return "Not connected";
  if (peers > 0) return "Connected";
  return reason === "ice-failed" ? "Can't connect to others" : "Waiting for others";
}

/** Says only what is known: before the group is joined, its peers are unknown. @param {View} view */
export function countText({ state, reason, peers }) {
  if (peers > 0) return `${peers + 1} peers`;
  if (reason === "ice-failed") return "Not connected to others";
  return state === "joined" || state === "reconnecting" ? "Just you" : "";
}

/** Whether this peer is alone in the group, as far as is known. @param {View} view */
export function isAlone({ state, reason, peers }) {
  return state === "joined" && peers === 0 && reason !== "ice-failed";
}

/** @param {View} view */
export function hintText({ hadPeers }) {
  const now = hadPeers ? "Everyone else has left." : "You're the first one here.";
  return `${now} Share the link, or open it in a second tab.`;
}

/** @param {View} view */
export function placeholderText(view) {
  if (view.peers > 0) return "Message to all";
  if (view.state === "left") return "Not connected";
  return isAlone(view) ? "No other peers yet" : "No peer connected";
}

/**
 * Returns a problem and what the user can do about it, or "". If `isRetried`, the page retries by itself, and
 * `retryText` follows.
 *
 * @param {View} view
 * @returns {{ text: string, isRetried?: boolean }}
 */
export function notice({ state, reason, peers, code, closeReason, error, unreachable = [] }) {
  const close = closeReason ? `${code}: ${closeReason}` : `${code}`;
  if (error?.name === "NotSupportedError") {
    return { text: "This browser does not support WebRTC, or WebRTC is disabled. Peers cannot connect without it." };
  }
  if (reason === "rejected") {
    return { text: `The server rejected this group (${close}). Ask for a new link, or start a new group.` };
  }
  if (error) return { text: `Joining failed: ${error.message}` };
  if (reason === "expired") return { text: "Your access has expired. Requesting a fresh key…" };
  if (reason === "key-failed") return { text: "Can't get a key for this group.", isRetried: true };
  if (reason === "evicted") {
    return { text: "Another peer couldn't reach this tab and took over the group. Rejoining…" };
  }
  if (reason === "ice-failed") {
    const cause = "A firewall or NAT may be blocking it; a TURN server would fix this.";
    return { text: `Couldn't connect directly to the other peer. ${cause}` };
  }
  if (code && !OFFLINE_CODES.includes(code)) {
    return { text: `The server closed the connection (${close}).`, isRetried: true };
  }
  if (state === "reconnecting") {
    const consequence = peers > 0 ? " Existing connections keep working; new peers can join once it's back." : "";
    return { text: `The signaling server is offline.${consequence}`, isRetried: true };
  }
  if (reason === "unreachable") return { text: "Can't reach the signaling server.", isRetried: true };
  if (reason === "hub-timeout") return { text: "The signaling server isn't responding.", isRetried: true };
  if (reason === "full") return { text: "This group is full.", isRetried: true };
  if (reason === "peer-timeout") return { text: "A peer in this group isn't responding. Trying the next one…" };
  return { text: unreachableText(unreachable) };
}

/** @param {{ name: string, reason: string }[]} unreachable */
function unreachableText(unreachable) {
  const by = (...reasons) => unreachable.filter(({ reason }) => reasons.includes(reason)).map(({ name }) => name);
  const blocked = by("ice-failed");
  if (blocked.length > 0) {
    return `Can't connect to ${listOf(blocked)}, although other peers can. A TURN server would fix this.`;
  }
  const full = by("full");
  if (full.length > 0) return `Can't connect to ${listOf(full)}: no room for another peer.`;
  if (unreachable.length === 0) return "";
  return `Can't connect to ${listOf(unreachable.map(({ name }) => name))}, although other peers can.`;
}

/** An event of the chat. @param {string} name @param {string} reason of `peerleave` */
export function leaveText(name, reason) {
  if (reason === "lost") return `Connection to ${name} lost`;
  return reason === "invalid" ? `${name} sent invalid data and was disconnected` : `${name} left`;
}

/** @param {number | undefined} nextAttempt when the next attempt begins, in milliseconds @param {number} now */
export function retryText(nextAttempt, now) {
  const seconds = Math.ceil(((nextAttempt ?? now) - now) / 1_000);
  return seconds > 0 ? `Retrying in ${seconds} s` : "Retrying…";
}

/** How this peer is connected with another one. */
export function connectionText({ path, roundTripTime }) {
  const way = { direct: "direct", relayed: "relayed through a TURN server" }[path];
  return [way, roundTripTimeText(roundTripTime)].filter(Boolean).join(", ");
}

/** @param {number | undefined} ms */
export function roundTripTimeText(ms) {
  if (ms === undefined) return "";
  return ms < 1 ? "<1 ms" : `${Math.round(ms)} ms`;
}

/** @param {"Camera" | "Microphone"} device @param {{ name: string, message: string }} error */
export function deviceErrorText(device, { name, message }) {
  if (name === "NotAllowedError") return `${device} access was blocked; allow it in the site settings.`;
  if (name === "InsecureError") return `${device} unavailable: serve this page over HTTPS or from localhost.`;
  if (name === "NotFoundError") return `${device} unavailable: no device was found.`;
  if (name === "NotReadableError") return `${device} unavailable: another program may be using it.`;
  return `${device} unavailable: ${message}`;
}

/** @param {string[]} names */
function listOf(names) {
  const more = names.length - MAX_NAMES;
  return names.slice(0, MAX_NAMES).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
