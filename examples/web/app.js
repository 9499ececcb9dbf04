/** The demo page: joins the group of the link, and shows in the views what happens there. */

import { Group } from "./sigver-client/index.js";
import { Chat } from "./chat.js";
import { $ } from "./dom.js";
import { Invite } from "./invite.js";
import { Media } from "./media.js";
import { MeshView } from "./mesh_view.js";
import {
  cleanName,
  drawnName,
  forgetName,
  forgetNames,
  metadataOf,
  nameOf,
  readName,
  storedName,
  storeName,
} from "./names.js";
import { updatePeerList } from "./peer_list.js";
import { Status } from "./status.js";
import { leaveText } from "./texts.js";

// The signaling server lists the STUN and TURN servers, if it has any. To use others, set them here:
// [{ urls: "stun:stun.example.org" }, { urls: "turn:turn.example.org", username: "...", credential: "..." }]
const iceServers = undefined;

const signalingUrl = new URLSearchParams(location.search).get("signal") ?? new URL("/signal", location.href);
const UPDATE_INTERVAL = 100; // an update takes up to 60 ms in a group of 64 peers
const MAX_UNMET = 16; // a peer can name others that do not exist

/** @type {Group} */
let group;
/** Close code and reason, if the server's close is why the group is in its state. */
let close = {};
/** @type {Error | undefined} */
let joinError;
let hadPeers = false;
/** The name that the user typed, or "". */
let myName = storedName();
let myId = 0;
/** Why this peer could not connect to a peer that other peers are connected to, by id. @type {Map<number, string>} */
const failures = new Map();

const chat = new Chat((text) => {
  for (const { id } of peersOf(group)) mesh.pulse(group.id, id);
  return group.send(text);
});
const media = new Media({
  addStream: (stream) => group.addStream(stream),
  removeStream: (stream) => group?.removeStream(stream),
});
const mesh = new MeshView();
const invite = new Invite();
const status = new Status(() => group.retry());

/** The neighbours. */
const peersOf = (group) => [...group.peers.values()];

/** Joins the group whose key is the fragment, or a new group if there is none. */
function join() {
  group?.leave();
  if (location.hash.length < 2) history.replaceState(null, "", `#${newKey()}`);
  const key = fragment();
  // A function, so that `joined` rejects if the key in the link is invalid.
  const joining = new Group(signalingUrl, () => key, { iceServers, metadata: metadataOf(myName) });
  group = joining;
  globalThis.group = group; // for the console
  close = {};
  joinError = undefined;
  hadPeers = false;
  failures.clear();
  forgetNames();
  chat.clear();
  media.reset();
  invite.reset();

  const on = (type, listener) => joining.addEventListener(type, (event) => group === joining && listener(event));
  on("statechange", ({ state, code, closeReason }) => {
    close = { code, closeReason };
    if (state === "left") media.reset();
    render();
  });
  on("meshchange", render);
  on("peerchange", ({ peerId, peer }) => {
    const before = nameOf(peerId);
    rename(peerId, peer.metadata);
    if (nameOf(peerId) !== before) chat.note(`${before} is now ${nameOf(peerId)}`);
  });
  on("peerjoin", ({ peerId, peer }) => {
    hadPeers = true;
    rename(peerId, peer.metadata);
    chat.note(`${nameOf(peerId)} joined`);
    render();
  });
  on("peerleave", ({ peerId, reason }) => {
    chat.note(leaveText(nameOf(peerId), reason));
    forgetName(peerId);
    media.remove(peerId);
    render();
  });
  on("peererror", ({ peerId, reason }) => {
    failures.set(peerId, reason);
    render();
  });
  on("message", ({ peerId, data }) => {
    if (typeof data !== "string") return;
    chat.receive(peerId, data);
    mesh.pulse(peerId, group.id);
  });
  on("stream", ({ peerId, stream }) => media.show(peerId, stream));
  joining.joined.catch((error) => {
    if (group === joining && error.name !== "AbortError") joinError = error;
    render();
  });
  render();
}

/** Shows the name that a peer chose. @param {number} id @param {unknown} metadata from the peer */
function rename(id, metadata) {
  readName(id, metadata);
  media.rename(id);
  render();
}

let rendering = 0;
let updatedAt = 0;

/** Updates the views soon. Uses a timer, because a hidden tab gets no animation frames but has a title. */
function render() {
  rendering ||= setTimeout(() => {
    rendering = 0;
    updatedAt = performance.now();
    update();
  }, updatedAt + UPDATE_INTERVAL - performance.now());
}

function update() {
  const peers = peersOf(group);
  if (myId !== group.id) forgetName(myId); // it can change
  myId = group.id;
  readName(myId, metadataOf(myName));
  const unmet = unmetOf(peers);
  for (const id of failures.keys()) if (!unmet.includes(id)) failures.delete(id);
  const view = {
    state: group.state,
    reason: group.reason,
    peers: peers.length,
    hadPeers,
    ...close,
    error: joinError,
    unreachable: [...failures].map(([id, reason]) => ({ name: nameOf(id), reason })),
  };
  status.update(view, group.nextAttempt);
  invite.update(view);
  chat.update(view);
  media.update(view, myId);
  mesh.update({ me: myId, peers, unmet });
  updatePeerList(peers, unmet);
  $("name").placeholder = drawnName(myId);
}

/** Returns the ids of peers that only other peers are connected to, and of those the ones that failed first. */
function unmetOf(peers) {
  const unmet = new Set(peers.flatMap(({ neighbours }) => neighbours.map(({ id }) => id)));
  for (const id of [group.id, ...peers.map(({ id }) => id)]) unmet.delete(id);
  return [...unmet].sort((a, b) => Number(failures.has(b)) - Number(failures.has(a))).slice(0, MAX_UNMET);
}

/** The key in the link. */
function fragment() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1); // typed by the user, not percent-encoded
  }
}

/** Returns 60 random bits. The key must be hard to guess: knowing it is enough to join. */
function newKey() {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789";
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => letters[byte % 32]).join("");
}

$("rename").onsubmit = (event) => {
  event.preventDefault();
  $("text").focus(); // which ends the change
};
$("name").onchange = () => {
  myName = cleanName($("name").value);
  $("name").value = myName;
  storeName(myName);
  group.setMetadata(metadataOf(myName));
  update();
};
$("name").value = myName;
invite.onmanual = update;
$("new-group").onclick = () => (location.hash = newKey());
addEventListener("hashchange", join);

join();
