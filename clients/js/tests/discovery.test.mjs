/** Tests that a neighbour that names peers that do not exist costs the package little, and keeps no other peer out. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, install, joinWith, sdpOf, settle } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
const Y = X + 1;
/** Ids above the one that a group draws, so that it makes the offers at once. */
const invented = (index) => 2 ** 32 - 1 - index;
const range = (count, from = 0) => Array.from({ length: count }, (_, index) => from + index);

/** Joins a group in which the peers X and Y are connected. */
async function joinWithXY() {
  const group = new Group("wss://hub/signal", "room", { iceServers: [], maxPeers: 1_000 });
  await settle();
  const x = await joinWith(X);
  await FakeSocket.last.closeWith(1006);
  while (FakeSocket.last.readyState === 3) await advance(100);
  const y = await joinWith(Y, undefined, "BB");
  await advance(5_000);
  return { group, x, y, control, attempts: () => FakeConnection.peers.length - 2 };
}

/** Passes a message of an open connection. */
async function control(connection, message) {
  connection.channels[0].onmessage({ data: JSON.stringify(message) });
  await settle();
}

const near = (connection, ids) => control(connection, { near: ids.map((id) => [id, 1]) });
const controlOf = (connection) => connection.channels[0].sent.map((text) => JSON.parse(text));
const relayedTo = (connection) => controlOf(connection).flatMap(({ relay }) => relay ?? []);
const offersTo = (connection) => relayedTo(connection).filter(({ description }) => description?.type === "offer");
const pending = () => FakeConnection.peers.filter((it) => !it.closed && it.channels[0].readyState === "connecting");

/** Answers all attempts, at once and until the end of the test, with `gone`. */
function answerGone(connection) {
  const [channel] = connection.channels;
  const { send } = channel;
  channel.send = (data) => {
    send(data);
    const { relay } = JSON.parse(data);
    if (relay?.description?.type !== "offer") return;
    const { from: to, to: from, negotiationId } = relay;
    const reject = { from, to, negotiationId, reject: "gone" };
    setImmediate(() => channel.onmessage({ data: JSON.stringify({ relay: reject }) }));
  };
}

/** Lets the group receive an offer over the hub. Returns why it was rejected, if it was. */
async function joiner(id) {
  const count = FakeSocket.last.signals.length;
  const offer = { from: id, to: 0, negotiationId: id, members: [], description: { type: "offer", sdp: sdpOf("CC") } };
  const data = new TextEncoder().encode(JSON.stringify(offer));
  await FakeSocket.last.receive({ content: { senderId: id - X, recipientId: 0, lastData: false, data } });
  return FakeSocket.last.signals.slice(count).find(({ reject }) => reject)?.reject;
}

beforeEach(install);

test("neighbour that names 1000 ids costs at most 8 attempts at once", async () => {
  const { x } = await joinWithXY();
  for (let second = 0; second < 60; second++) {
    await near(x, range(1_000).map(invented));
    assert(pending().length <= 8);
    await advance(1_000);
  }
  const ids = new Set(offersTo(x).map(({ to }) => to));
  assert(ids.size >= 8 && ids.size <= 24, `${ids.size} ids`);
});

test("neighbour that names other ids every second costs 8 ids in 30 s", async () => {
  const { x } = await joinWithXY();
  answerGone(x);
  for (let second = 0; second < 60; second++) {
    await near(x, range(8, second * 8).map(invented));
    await advance(1_000);
  }
  const ids = new Set(offersTo(x).map(({ to }) => to));
  assert(ids.size >= 8 && ids.size <= 24, `${ids.size} ids`);
});

test("neighbour that repeats an id, or names it now and then, costs attempts with a growing back-off", async () => {
  for (const interval of [1, 2]) {
    install();
    const { x } = await joinWithXY();
    answerGone(x);
    for (let second = 0; second < 60; second++) {
      await near(x, second % interval === 0 ? range(8).map(invented) : []);
      await advance(1_000);
    }
    // An id that has lost its place while it is not named is forgotten with its back-off, after 30 s.
    assert(offersTo(x).length >= 16 && offersTo(x).length <= 8 * 15, `${offersTo(x).length} attempts`);
  }
});

test("all peers get their turn, however many others cannot be reached", async () => {
  const { x } = await joinWithXY();
  for (let second = 0; second < 120; second++) {
    await near(x, range(24).map(invented));
    await advance(1_000);
  }
  assert.equal(new Set(offersTo(x).map(({ to }) => to)).size, 24);
});

test("peers that connect make place for the next ones at once", async () => {
  const { group, x } = await joinWithXY();
  await near(x, range(30).map(invented));
  for (let round = 0; round < 5; round++) {
    await advance(100);
    const offers = offersTo(x);
    for (const [index, connection] of FakeConnection.peers.slice(2).entries()) {
      if (connection.closed || connection.channels[0].readyState === "open") continue;
      const { from: to, to: from, negotiationId } = offers[index];
      const byte = (16 + index).toString(16).toUpperCase();
      await control(x, { relay: { from, to, negotiationId, description: { type: "answer", sdp: sdpOf(byte) } } });
      await connection.open();
    }
  }
  assert.equal(group.peers.size, 32);
});

test("ids that an honest neighbour names are attempted while another one names invented ids", async () => {
  const { x, y } = await joinWithXY();
  await near(x, range(1_000).map(invented));
  await advance(1_000);
  await near(y, [invented(2_000)]);
  await advance(6_000);
  assert.deepEqual(
    offersTo(y).map(({ to }) => to),
    [invented(2_000)],
  );
});

test("id that no neighbour repeats is forgotten", async () => {
  const { x, y } = await joinWithXY();
  answerGone(x);
  await near(x, [invented(0)]);
  await advance(100);
  assert.equal(offersTo(x).length, 1);
  await near(x, []);
  await near(y, []);
  await advance(120_000);
  assert.equal(offersTo(x).length, 1);
});

test("lists of neighbours are read once per second", async () => {
  const { group, x } = await joinWithXY();
  let changes = 0;
  group.addEventListener("meshchange", () => changes++);
  for (let count = 0; count < 1_000; count++) await near(x, [invented(count)]);
  assert(changes <= 3, `${changes} at once`);
  for (let tenth = 0; tenth < 100; tenth++) {
    await near(x, [invented(tenth)]);
    await advance(100);
  }
  assert(changes >= 10 && changes <= 13, `${changes} in 10 s`);
});

test("own list of neighbours is sent on change, but at most twice at once and once per second on average", async () => {
  const { x } = await joinWithXY();
  const lists = () => controlOf(x).flatMap(({ near }) => (near ? [near.map(([id]) => id)] : []));
  assert.deepEqual(lists().at(-1), [X, Y]);
  await advance(1_100);
  const before = lists().length;
  for (let count = 0; count < 20; count++) {
    const id = X + 100 + count;
    await joiner(id);
    await FakeConnection.peers.at(-1).open();
    await advance(100);
  }
  const sent = lists().slice(before);
  assert(sent.length >= 2 && sent.length <= 4, `${sent.length} lists in 2 s`);
  await advance(1_000);
  assert.equal(lists().at(-1).length, 22);
});

test("offers in the names of invented peers are limited for each neighbour, and keep no joiner out", async () => {
  const { group, x } = await joinWithXY();
  const to = group.id;
  let negotiationId = 0;
  const offer = async () => {
    const description = { type: "offer", sdp: sdpOf("DD") };
    negotiationId++;
    await control(x, { relay: { from: X + 1_000 + negotiationId, to, negotiationId, members: [], description } });
  };
  for (let count = 0; count < 100; count++) await offer();
  assert.equal(pending().length, 16);
  assert.equal(relayedTo(x).at(-1).reject, "busy");
  for (const index of range(16)) assert.equal(await joiner(X + 100 + index), undefined);
  assert.equal(pending().length, 32);
});

test("offers that a neighbour makes and withdraws are limited", async () => {
  const { group, x } = await joinWithXY();
  const before = FakeConnection.peers.length;
  for (let count = 0; count < 600; count++) {
    const signal = { from: X + 1_000 + count, to: group.id, negotiationId: 1 + count, members: [] };
    await control(x, { relay: { ...signal, description: { type: "offer", sdp: sdpOf("DD") } } });
    await control(x, { relay: { ...signal, reject: "gone" } });
    await advance(100);
  }
  const count = FakeConnection.peers.length - before;
  assert(count > 100 && count <= 32 + 4 * 60, `${count} connections in 60 s`);
});

test("joiners are not rejected as busy while fewer than 16 of them are pending, whatever neighbours do", async () => {
  const { group, x, y } = await joinWithXY();
  await near(x, range(8).map(invented));
  await near(y, range(8, 8).map(invented));
  for (const [index, connection] of [x, y].entries()) {
    for (let count = 0; count < 32; count++) {
      const from = X + 1_000 + 100 * index + count;
      const description = { type: "offer", sdp: sdpOf("DD") };
      await control(connection, { relay: { from, to: group.id, negotiationId: from, members: [], description } });
    }
  }
  await advance(100);
  assert.equal(pending().length, 8 + 2 * 16);
  for (const index of range(16)) assert.equal(await joiner(X + 100 + index), undefined);
  for (const index of range(16)) assert.equal(await joiner(X + 200 + index), undefined);
  assert.equal(await joiner(X + 300), "busy");
});

test("16 joiners have slots of their own while four neighbours use up all others", async () => {
  const { group, x, y } = await joinWithXY();
  const neighbours = [x, y];
  for (const index of range(3)) {
    await joiner(X + 10 + index);
    neighbours.push(FakeConnection.peers.at(-1));
    await neighbours.at(-1).open();
  }
  for (const [index, connection] of neighbours.entries()) {
    for (let count = 0; count < 16; count++) {
      const from = X + 1_000 + 100 * index + count;
      const description = { type: "offer", sdp: sdpOf("DD") };
      await control(connection, { relay: { from, to: group.id, negotiationId: from, members: [], description } });
    }
  }
  assert.equal(pending().length, 64);
  for (const index of range(16)) assert.equal(await joiner(X + 100 + index), undefined);
  assert.equal(await joiner(X + 300), "busy");
});

test("id that a neighbour names for the first time goes before ids that failed", async () => {
  const { x, y } = await joinWithXY();
  await joiner(X + 10);
  const z = FakeConnection.peers.at(-1);
  await z.open();
  await near(x, range(8).map(invented));
  await near(y, range(8, 8).map(invented));
  await advance(9_000);
  assert.equal(offersTo(y).length, 8, "after the first 8 got no answer for 5 s");
  await near(z, [invented(100)]);
  await advance(2_000);
  assert.equal(offersTo(x).length, 8 + 7, "the first 8 are due again");
  assert.equal(offersTo(z).length, 1);
});

test("joiner that is rejected as busy waits before it connects again, which could evict the member", async () => {
  new Group("wss://hub/signal", "room", { iceServers: [] });
  await settle();
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: false });
  const { from: to, negotiationId } = FakeSocket.last.signals.at(-1);
  const connects = () => FakeSocket.last.sent.filter(({ connect }) => connect).length;
  await FakeSocket.last.signal({ from: X, to, negotiationId, reject: "busy" });
  await advance(200);
  assert.equal(connects(), 1);
  await advance(400);
  assert.equal(connects(), 2);
});

test("100 signals per second are relayed for one neighbour", async () => {
  const { x, y } = await joinWithXY();
  const relay = () => control(x, { relay: { from: X, to: Y, negotiationId: 9, candidate: { candidate: "" } } });
  for (let count = 0; count < 1_000; count++) await relay();
  assert.equal(relayedTo(y).length, 200);
  for (let tenth = 0; tenth < 100; tenth++) {
    for (let count = 0; count < 20; count++) await relay();
    await advance(100);
  }
  assert(Math.abs(relayedTo(y).length - 1_200) <= 10, `${relayedTo(y).length} signals`);
  await control(y, { relay: { from: Y, to: X, negotiationId: 9, candidate: { candidate: "" } } });
  assert.equal(relayedTo(x).length, 1, "the other neighbour has its own limit");
});
