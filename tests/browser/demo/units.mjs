/** Tests the texts and the names of the demo page: `node --test demo/units.mjs`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cleanName,
  drawnName,
  forgetName,
  forgetNames,
  initialsOf,
  metadataOf,
  nameOf,
  readName,
} from "../../../examples/web/names.js";
import {
  connectionText,
  countText,
  hintText,
  isAlone,
  leaveText,
  notice,
  placeholderText,
  retryText,
  stateText,
} from "../../../examples/web/texts.js";

const [A, B] = [2 ** 31 + 5, 2 ** 31 + 99];
const view = (state, reason = "", rest = {}) => ({ state, reason, peers: 0, ...rest });

const unreachable = (reason, ...names) => names.map((name) => ({ name, reason }));

test("each state has its texts", () => {
  for (const [it, state, count, text, isRetried] of [
    [view("connecting"), "Connecting", "", ""],
    [view("joining"), "Joining", "", ""],
    [view("joined"), "Waiting for others", "Just you", ""],
    [view("joined", "", { peers: 2 }), "Connected", "3 peers", ""],
    [view("left"), "Not connected", "", ""],
    [
      view("reconnecting", "unreachable", { code: 1006 }),
      "Server offline",
      "Just you",
      "The signaling server is offline.",
      true,
    ],
    [
      view("reconnecting", "unreachable", { code: 1006, peers: 1 }),
      "Server offline",
      "2 peers",
      "The signaling server is offline. Existing connections keep working; new peers can join once it's back.",
      true,
    ],
    [
      view("reconnecting", "unreachable", { code: 1013, closeReason: "too many joins" }),
      "Reconnecting",
      "Just you",
      "The server closed the connection (1013: too many joins).",
      true,
    ],
    [view("connecting", "unreachable"), "Connecting", "", "Can't reach the signaling server.", true],
    [view("connecting", "hub-timeout"), "Connecting", "", "The signaling server isn't responding.", true],
    [view("connecting", "key-failed"), "Connecting", "", "Can't get a key for this group.", true],
    [
      view("reconnecting", "expired", { code: 4740 }),
      "Reconnecting",
      "Just you",
      "Your access has expired. Requesting a fresh key…",
    ],
    [
      view("joining", "evicted", { code: 4744 }),
      "Joining",
      "",
      "Another peer couldn't reach this tab and took over the group. Rejoining…",
    ],
    [view("joining", "full"), "Joining", "", "This group is full.", true],
    [view("joining", "peer-timeout"), "Joining", "", "A peer in this group isn't responding. Trying the next one…"],
    [
      view("joined", "ice-failed"),
      "Can't connect to others",
      "Not connected to others",
      "Couldn't connect directly to the other peer. " +
        "A firewall or NAT may be blocking it; a TURN server would fix this.",
    ],
    [
      view("left", "rejected", { code: 4741, closeReason: "invalid key", error: new Error("rejected") }),
      "Not connected",
      "",
      "The server rejected this group (4741: invalid key). Ask for a new link, or start a new group.",
    ],
    [
      view("left", "rejected", { code: 4003, error: new Error("rejected") }),
      "Not connected",
      "",
      "The server rejected this group (4003). Ask for a new link, or start a new group.",
    ],
    [
      view("left", "", { error: new TypeError("key is 513 bytes; must be 1 to 512") }),
      "Not connected",
      "",
      "Joining failed: key is 513 bytes; must be 1 to 512",
    ],
    [
      view("left", "", { error: { name: "NotSupportedError", message: "" } }),
      "Not connected",
      "",
      "This browser does not support WebRTC, or WebRTC is disabled. Peers cannot connect without it.",
    ],
    [
      view("joined", "", { peers: 1, unreachable: unreachable("ice-failed", "Ann") }),
      "Connected",
      "2 peers",
      "Can't connect to Ann, although other peers can. A TURN server would fix this.",
    ],
    [
      view("joined", "", {
        peers: 1,
        unreachable: [
          ...unreachable("full", "Joe"),
          ...unreachable("ice-failed", "Ann", "Bob", "Eve", "Mallory", "Trent"),
        ],
      }),
      "Connected",
      "2 peers",
      "Can't connect to Ann, Bob, Eve and 2 more, although other peers can. A TURN server would fix this.",
    ],
    [
      view("joined", "", { peers: 1, unreachable: unreachable("full", "Ann", "Bob") }),
      "Connected",
      "2 peers",
      "Can't connect to Ann, Bob: no room for another peer.",
    ],
    [
      view("joined", "", { peers: 1, unreachable: unreachable("peer-timeout", "Ann") }),
      "Connected",
      "2 peers",
      "Can't connect to Ann, although other peers can.",
    ],
  ]) {
    const name = JSON.stringify(it);
    assert.equal(stateText(it), state, name);
    assert.equal(countText(it), count, name);
    assert.deepEqual(notice(it), isRetried ? { text, isRetried } : { text }, name);
  }
});

test("a group is called empty only while it is known to be empty", () => {
  const unknown = ["connecting", "joining", "reconnecting", "left"].map((state) => view(state));
  for (const it of [...unknown, view("joined", "ice-failed"), view("joined", "", { peers: 1 })]) {
    assert.equal(isAlone(it), false, JSON.stringify(it));
    assert.notEqual(placeholderText(it), "No other peers yet");
  }
  assert(isAlone(view("joined")));
  assert.equal(placeholderText(view("joined")), "No other peers yet");
  assert.equal(hintText(view("joined")), "You're the first one here. Share the link, or open it in a second tab.");
  assert.match(hintText(view("joined", "", { hadPeers: true })), /^Everyone else has left\. Share the link/);
});

test("a peer is said to have left only if it has", () => {
  assert.equal(leaveText("Ann", "left"), "Ann left");
  assert.equal(leaveText("Ann", "lost"), "Connection to Ann lost");
  assert.equal(leaveText("Ann", "invalid"), "Ann sent invalid data and was disconnected");
});

test("the wait before the next attempt is counted in seconds", () => {
  assert.equal(retryText(18_000, 10_000), "Retrying in 8 s");
  assert.equal(retryText(10_001, 10_000), "Retrying in 1 s");
  assert.equal(retryText(10_000, 10_000), "Retrying…");
  assert.equal(retryText(9_000, 10_000), "Retrying…");
  assert.equal(retryText(undefined, 10_000), "Retrying…");
});

test("a connection is described by its path and its round-trip time, as far as they are known", () => {
  assert.equal(connectionText({ path: "direct", roundTripTime: 4.6 }), "direct, 5 ms");
  assert.equal(connectionText({ path: "relayed", roundTripTime: 0.4 }), "relayed through a TURN server, <1 ms");
  assert.equal(connectionText({ path: undefined, roundTripTime: undefined }), "");
});

test("names of peers are text of at most 32 characters in one line and one direction", () => {
  assert.equal(cleanName("  Ann \n\t  B. "), "Ann B.");
  assert.equal(cleanName("evil\u202Etxt.exe\u0000\u200B"), "evil txt.exe");
  assert.equal(cleanName("a\u0301\u0302\u0303\u0304\u0305\u0306"), "á\u0302\u0303");
  assert.equal([...cleanName("😀".repeat(100))].length, 32);
  assert.equal(cleanName("x".repeat(10_000_000)).length, 32);
  for (const it of [undefined, null, 5, {}, [], "", " \n", "\u202E"]) assert.equal(cleanName(it), "");
});

test("metadata without a valid name leaves a peer its drawn name", () => {
  for (const metadata of [undefined, null, "Ann", 7, [], {}, { name: 7 }, { name: "\n" }]) {
    readName(A, metadata);
    assert.equal(nameOf(A), drawnName(A));
  }
  readName(A, metadataOf("Ann"));
  assert.equal(nameOf(A), "Ann");
  readName(A, metadataOf(""));
  assert.equal(nameOf(A), drawnName(A));
});

test("two peers with one name are told apart", () => {
  readName(A, { name: "Ann" });
  readName(B, { name: "ann" });
  assert.equal(nameOf(A), `Ann (${drawnName(A)})`);
  assert.equal(nameOf(B), `ann (${drawnName(B)})`);
  forgetName(B);
  assert.equal(nameOf(A), "Ann");
  assert.equal(nameOf(B), drawnName(B));
  forgetNames();
  assert.equal(nameOf(A), drawnName(A));
});

test("a peer that takes the drawn name of another one is told apart", () => {
  readName(A, { name: drawnName(B) });
  assert.equal(nameOf(A), `${drawnName(B)} (${drawnName(A)})`);
  readName(A, { name: "YOU" });
  assert.equal(nameOf(A), `YOU (${drawnName(A)})`);
  forgetNames();
});

test("initials are of the first two words", () => {
  assert.equal(initialsOf(A), drawnName(A).replace(/[^A-Z]/g, ""));
  readName(A, { name: "ann bee cee" });
  assert.equal(initialsOf(A), "AB");
  readName(A, { name: "😀" });
  assert.equal(initialsOf(A), "😀");
  forgetNames();
});
