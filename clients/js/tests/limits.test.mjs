/** Tests that a peer has as many neighbours as its app wants, and that it reports peers that it does not reach. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, install, joinAlone, joiner, joinWith } from "./fakes.mjs";
import { nextSocket, sdpOf, settle } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
/** Ids above the one that a group draws, so that it makes the offers at once. */
const HIGH = 2 ** 32 - 1;
const range = (count) => Array.from({ length: count }, (_, index) => index);

async function join(options) {
  const group = new Group("wss://hub/signal", "room", { iceServers: [], ...options });
  const errors = [];
  group.addEventListener("peererror", ({ peerId, reason }) => errors.push([peerId, reason]));
  await settle();
  return { group, errors };
}

const near = (connection, ...ids) => connection.control({ near: ids.map((id) => [id, 1]) });
const offers = (connection) =>
  connection.sentControl.flatMap(({ relay }) => (relay?.description?.type === "offer" ? [relay] : []));

/** Makes an offer in the name of a peer, through a neighbour. Returns the reason if it was rejected. */
async function offerThrough(connection, group, from, { negotiationId = from, members = [], byte = "EE" } = {}) {
  const description = { type: "offer", sdp: sdpOf(byte) };
  await connection.control({ relay: { from, to: group.id, negotiationId, members, description } });
  return connection.sentControl.findLast(({ relay }) => relay?.negotiationId === negotiationId)?.relay.reject;
}

/** Answers an attempt of the group through a neighbour, and opens the connection. */
async function answer(connection, { from: to, to: from, negotiationId }, byte) {
  await connection.control({ relay: { from, to, negotiationId, description: { type: "answer", sdp: sdpOf(byte) } } });
  await FakeConnection.peers.at(-1).open();
}

/** Rejects an attempt of the group through a neighbour. */
function rejectOffer(connection, { from: to, to: from, negotiationId }, reject) {
  return connection.control({ relay: { from, to, negotiationId, reject } });
}

beforeEach(install);

test("peer with maxPeers neighbours rejects further offers as full, also while they are pending", async () => {
  const { group } = await join({ maxPeers: 3 });
  await joinAlone();
  const first = await joiner(X, "AA");
  await joiner(X + 1, "AB");
  assert.equal(await offerThrough(first, group, X + 2), undefined); // answered, not open
  assert.equal(await joiner(X + 3, "AD"), "full");
  assert.equal(await offerThrough(first, group, X + 4), "full");
  assert.equal(group.peers.size, 2);
  first.channels[0].onclose();
  await joiner(X + 3, "AD");
  assert.equal(group.peers.size, 2);
});

test("full peer answers its neighbours, and peers that it already answers", async () => {
  const { group } = await join({ maxPeers: 2 });
  await joinAlone();
  const first = await joiner(X, "AA");
  await advance(6_000);
  assert.equal(await offerThrough(first, group, X + 1), undefined);
  assert.equal(await offerThrough(first, group, X + 1, { negotiationId: 99 }), undefined, "a new attempt of the same");
  assert.equal(await offerThrough(first, group, X, { negotiationId: 98, byte: "AA" }), undefined, "a neighbour");
});

test("64 peers are the default limit", async () => {
  const { group } = await join();
  await joinAlone();
  for (const index of range(64)) await joiner(X + index, (0x80 + index).toString(16));
  assert.equal(group.peers.size, 64);
  assert.equal(await joiner(X + 64, "FF"), "full");
});

test("full peer makes no offers to peers that others name, until a neighbour is gone", async () => {
  const { group } = await join({ maxPeers: 2 });
  await joinAlone();
  const first = await joiner(X, "AA");
  const second = await joiner(X + 1, "AB");
  await near(first, HIGH);
  await advance(10_000);
  assert.deepEqual(offers(first), []);
  second.channels[0].onclose();
  await near(first, HIGH);
  await advance(100);
  assert.equal(offers(first).length, 1);
  await answer(first, offers(first)[0], "AC");
  assert.deepEqual([...group.peers.keys()], [X, HIGH]);
});

test("attempt that succeeds when the peer has become full is closed as full", async () => {
  const { group } = await join({ maxPeers: 2 });
  await joinAlone();
  const first = await joiner(X, "AA");
  await near(first, HIGH);
  await advance(100);
  const [offer] = offers(first);
  const attempt = FakeConnection.peers.at(-1);
  await joiner(X + 1, "AB"); // invented peers keep no joiner out
  assert.equal(group.peers.size, 2);
  const description = { type: "answer", sdp: sdpOf("AC") };
  await first.control({ relay: { from: HIGH, to: group.id, negotiationId: offer.negotiationId, description } });
  await attempt.open();
  assert(attempt.closed);
  assert.equal(first.sentControl.findLast(({ relay }) => relay)?.relay.reject, "full");
  assert.equal(group.peers.size, 2);
});

test("full peer connects to the member that the hub binds it to, because the hub merges halves of a group", async () => {
  const { group } = await join({ maxPeers: 1 });
  await joinAlone();
  await joiner(X, "AA");
  await FakeSocket.last.closeWith(1006);
  while (FakeSocket.last.readyState === 3) await advance(100);
  await joinWith(X + 1, undefined, "AB");
  assert.deepEqual([...group.peers.keys()], [X, X + 1]);
  assert.equal(await joiner(X + 2, "AC"), "full");
});

test("joiner whose member is full shows it, and tries again with another socket, so that no member is evicted", async () => {
  const { group } = await join();
  const closed = [];
  for (let count = 0; count < 4; count++) {
    await FakeSocket.last.open();
    await FakeSocket.last.receive({ connected: false });
    const { from: to, negotiationId } = FakeSocket.last.signals.at(-1);
    await FakeSocket.last.signal({ from: X, to, negotiationId, reject: "full" });
    assert.deepEqual([group.state, group.reason], ["joining", "full"]);
    assert.equal(FakeSocket.last.sent.filter(({ connect }) => connect).length, 1);
    assert.equal(FakeSocket.last.readyState, 3);
    closed.push(group.nextAttempt - Date.now());
    await advance(Math.ceil(closed.at(-1)));
    assert.equal(FakeSocket.all.length, count + 2);
  }
  assert(closed[0] >= 500 && closed[0] <= 1_000 && closed[3] >= 4_000, `${closed}`);
  await joinWith(X);
  assert.deepEqual([group.state, group.reason], ["joined", ""]);
});

test("socket that lasted 30 s resets the back-off, also if the next member is full", async () => {
  const { group } = await join();
  for (let count = 0; count < 5; count++) {
    await FakeSocket.last.closeWith(1006);
    await nextSocket();
  }
  const neighbour = await joinWith(X);
  await advance(31_000);
  neighbour.channels[0].onclose();
  await advance(1_000);
  await FakeSocket.last.receive({ connected: false });
  const { from: to, negotiationId } = FakeSocket.last.signals.at(-1);
  await FakeSocket.last.signal({ from: X + 1, to, negotiationId, reject: "full" });
  assert.deepEqual([group.state, group.reason], ["joining", "full"]);
  const wait = group.nextAttempt - Date.now();
  assert(wait >= 500 && wait <= 1_000, `${wait}`);
});

test("peererror names a peer after the second failed attempt, and again only after it was connected", async () => {
  const { errors } = await join();
  const member = await joinWith(X);
  /** Lets the next attempts fail. */
  const fail = async (count, reason) => {
    for (let failed = 0; failed < count; failed++) {
      const before = offers(member).length;
      while (offers(member).length === before) {
        await near(member, HIGH);
        await advance(500);
      }
      await rejectOffer(member, offers(member).at(-1), reason);
    }
  };
  await fail(1, "busy");
  assert.deepEqual(errors, []);
  await fail(1, "full");
  assert.deepEqual(errors, [[HIGH, "full"]]);
  await fail(3, "peer-timeout");
  assert.equal(errors.length, 1);
  await near(member); // no peer lists it for a while
  await advance(60_000);
  await fail(2, "peer-timeout");
  assert.equal(errors.length, 1);
  while (FakeConnection.peers.at(-1).closed) {
    await near(member, HIGH);
    await advance(500);
  }
  await answer(member, offers(member).at(-1), "CC");
  FakeConnection.peers.at(-1).channels[0].onclose();
  await fail(1, "peer-timeout");
  assert.equal(errors.length, 1);
  await fail(1, "ice-failed");
  assert.deepEqual(errors[1], [HIGH, "ice-failed"]);
});

test("attempts that the other peer began count as well, crossing attempts do not", async () => {
  const { group, errors } = await join();
  const member = await joinWith(X);
  await near(member, X + 1);
  await offerThrough(member, group, X + 1, { negotiationId: 1 });
  await rejectOffer(member, { from: group.id, to: X + 1, negotiationId: 1 }, "glare");
  await offerThrough(member, group, X + 1, { negotiationId: 2 });
  await rejectOffer(member, { from: group.id, to: X + 1, negotiationId: 2 }, "ice-failed");
  assert.deepEqual(errors, []);
  await offerThrough(member, group, X + 1, { negotiationId: 3 });
  await rejectOffer(member, { from: group.id, to: X + 1, negotiationId: 3 }, "ice-failed");
  assert.deepEqual(errors, [[X + 1, "ice-failed"]]);
});
