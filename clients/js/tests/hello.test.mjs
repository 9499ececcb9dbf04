/** Tests that a peer is known, with its metadata, before the app hears of it, and that changes of metadata arrive. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group, joinGroup } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, fingerprintOf, install, joinWith, settle } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
const OFFLINE = { iceServers: [] };
const MIB = 1024 * 1024;

/** Joins a group, and records its events. */
async function join(options) {
  const group = new Group("wss://hub/signal", "room", { ...OFFLINE, ...options });
  const events = [];
  for (const type of ["peerjoin", "peerchange", "peerleave", "message"]) {
    group.addEventListener(type, ({ peerId, peer, data, reason }) => {
      assert.equal(peer.id, peerId);
      assert.equal(group.peers.get(peerId), type === "peerleave" ? undefined : peer);
      events.push([type, data ?? reason ?? peer.metadata]);
    });
  }
  await settle();
  return { group, events };
}

/** Joins a group in which the peer X opens its connection, and does nothing else. */
async function joinWithSilent(options) {
  const joined = await join(options);
  const connection = await joinWith(X, (connection) => (connection.hello = undefined));
  return { ...joined, connection };
}

function sendPiece(connection, text) {
  connection.channels[1].onmessage({ data: new TextEncoder().encode(`\x03${text}`).buffer });
}

beforeEach(install);

test("hello with version and metadata is the first control message", async () => {
  await join({ metadata: { name: "Ada" } });
  const connection = await joinWith(X);
  assert.deepEqual(connection.sentControl[0], { hello: { v: 1, metadata: { name: "Ada" } } });
  assert.equal(connection.sentControl.filter(({ hello }) => hello).length, 1);
});

test("hello without metadata has no such key", async () => {
  await join();
  assert.deepEqual((await joinWith(X)).sentControl[0], { hello: { v: 1 } });
});

test("peerjoin waits for hello, and its peer has the metadata", async () => {
  const { group, events, connection } = await joinWithSilent();
  await advance(4_900);
  assert.deepEqual(events, []);
  assert.equal(group.peers.size, 0);
  await connection.control({ hello: { v: 1, metadata: { name: "Bo" } } });
  assert.deepEqual(events, [["peerjoin", { name: "Bo" }]]);
  const peer = group.peers.get(X);
  assert.equal(peer.version, 1);
  assert.equal(peer.fingerprint, fingerprintOf("AA"));
  assert.equal(peer.connection, connection);
});

/** Joins a group in which the control channel of the peer X opens, and not yet the other one. */
async function joinHalfOpen() {
  const joined = await join();
  const connection = await joinWith(X, (connection) => {
    connection.open = async () => {
      connection.iceConnectionState = connection.connectionState = "connected";
      connection.channels[0].readyState = "open";
      connection.channels[0].onopen();
    };
  });
  const openSecond = async () => {
    connection.channels[1].readyState = "open";
    connection.channels[1].onopen();
    await settle();
  };
  return { ...joined, connection, openSecond };
}

test("control messages that arrive before the second channel is open are handled when it is, in order", async () => {
  const { group, events, connection, openSecond } = await joinHalfOpen();
  await connection.control({ hello: { v: 1, metadata: "first" } });
  await connection.control({ metadata: "second" });
  assert.deepEqual(events, []);
  await openSecond();
  assert.deepEqual(events, [
    ["peerjoin", "first"],
    ["peerchange", "second"],
  ]);
  assert.equal(group.peers.get(X).version, 1);
  assert.deepEqual(connection.sentControl[0], { hello: { v: 1 } });
});

test("invalid message that arrives before the second channel is open closes the connection when it is", async () => {
  const { group, events, connection, openSecond } = await joinHalfOpen();
  connection.channels[0].onmessage({ data: new ArrayBuffer(1) });
  await connection.control({ hello: { v: 1 } });
  await openSecond();
  assert(connection.closed);
  assert.deepEqual(events, []);
  assert.equal(group.peers.size, 0);
});

test("control messages that wait for the second channel are limited", async () => {
  const { events, connection, openSecond } = await joinHalfOpen();
  let count = 0;
  for (; !connection.closed; count++) {
    assert(count <= 600_000, `${count} messages wait`);
    connection.channels[0].onmessage({ data: "{}" });
  }
  assert(count > 300_000, `closed after ${count} messages`);
  await openSecond();
  assert.deepEqual(events, []);
});

test("joined resolves after peerjoin of the first neighbour", async () => {
  const order = [];
  const { group } = await join();
  group.addEventListener("peerjoin", () => order.push("peerjoin"));
  group.joined.then(() => order.push(`joined with ${group.peers.size}`));
  const connection = await joinWith(X, (connection) => (connection.hello = undefined));
  await connection.control({ hello: { v: 1 } });
  await FakeSocket.last.receive({ connected: true });
  assert.deepEqual(order, ["peerjoin", "joined with 1"]);
});

test("peer that sends no control message for 5 s has version 0", async () => {
  const { group, events } = await joinWithSilent();
  await advance(5_000);
  assert.deepEqual(events, [["peerjoin", undefined]]);
  assert.equal(group.peers.get(X).version, 0);
});

for (const [name, message] of Object.entries({
  "a ping": { ping: 1 },
  "a list": { near: [] },
  "an unknown message": { further: true },
  "an invalid hello": { hello: { v: 0 } },
  metadata: { metadata: "late" },
})) {
  test(`peer whose first control message is ${name} has version 0, and its later hello is ignored`, async () => {
    const { group, events, connection } = await joinWithSilent();
    await connection.control(message);
    assert.deepEqual(events, [["peerjoin", undefined]]);
    await connection.control({ hello: { v: 1, metadata: "late" } });
    await connection.control({ metadata: "late" });
    assert.equal(events.length, 1);
    assert.deepEqual([group.peers.get(X).version, group.peers.get(X).metadata], [0, undefined]);
  });
}

test("second hello is ignored, and a later version is used as 1", async () => {
  const { group, events, connection } = await joinWithSilent();
  await connection.control({ hello: { v: 7, metadata: "first" } });
  await connection.control({ hello: { v: 1, metadata: "second" } });
  assert.deepEqual(events, [["peerjoin", "first"]]);
  assert.equal(group.peers.get(X).version, 1);
});

test("messages before hello are events after peerjoin, in order", async () => {
  const { events, connection } = await joinWithSilent();
  sendPiece(connection, "one");
  sendPiece(connection, "two");
  assert.deepEqual(events, []);
  await connection.control({ hello: { v: 1 } });
  sendPiece(connection, "three");
  assert.deepEqual(events, [
    ["peerjoin", undefined],
    ["message", "one"],
    ["message", "two"],
    ["message", "three"],
  ]);
});

for (const [size, most] of [
  [16 * 1024 + 1, (64 * MIB) / (16 * 1024)],
  [1, 600_000],
]) {
  test(`pieces of ${size} bytes that wait for hello are limited`, async () => {
    const { group, events, connection } = await joinWithSilent();
    const data = new ArrayBuffer(size);
    let count = 0;
    for (; !connection.closed; count++) {
      assert(count <= most, `${count} pieces wait`);
      connection.channels[1].onmessage({ data });
    }
    assert(count > most / 2, `closed after ${count} pieces`);
    await settle();
    assert.deepEqual(events, []);
    assert.equal(group.peers.size, 0);
  });
}

test("peer that is gone before its hello causes no event", async () => {
  for (const end of [
    (connection) => connection.channels[0].onclose(),
    (connection) => connection.channels[0].onmessage({ data: new ArrayBuffer(1) }),
  ]) {
    install();
    const { group, events, connection } = await joinWithSilent();
    sendPiece(connection, "lost");
    await end(connection);
    await advance(6_000);
    assert.deepEqual(events, []);
    assert.equal(group.peers.size, 0);
  }
});

test("group that is left in peerjoin gets no message of that peer", async () => {
  const { group, events, connection } = await joinWithSilent();
  sendPiece(connection, "too late");
  group.addEventListener("peerjoin", () => group.leave());
  await connection.control({ hello: { v: 1 } });
  assert.deepEqual(events, [["peerjoin", undefined]]);
});

test("changed metadata is a peerchange, the same again is none", async () => {
  const { group, events } = await join();
  const connection = await joinWith(X);
  const peer = group.peers.get(X);
  for (const metadata of [{ name: "Bo" }, { name: "Bo" }, null, [1, "two"]]) await connection.control({ metadata });
  assert.deepEqual(events, [
    ["peerjoin", undefined],
    ["peerchange", { name: "Bo" }],
    ["peerchange", null],
    ["peerchange", [1, "two"]],
  ]);
  assert.deepEqual(peer.metadata, [1, "two"]);
});

test("setMetadata is sent at most once per second, the latest value wins, and later peers get it in hello", async () => {
  const { group } = await join({ metadata: 0 });
  const connection = await joinWith(X);
  const sent = () => connection.sentControl.flatMap(({ metadata }) => metadata ?? []);
  for (let value = 1; value <= 35; value++) {
    group.setMetadata(value);
    await advance(100);
  }
  assert(sent().length <= 4, `${sent()}`);
  await advance(1_000);
  assert.equal(sent().at(-1), 35);
  assert(sent().length <= 5, `${sent()}`);
  const offer = { from: X + 1, to: 0, negotiationId: 2, members: [], description: { type: "offer", sdp: "" } };
  offer.description.sdp = `a=fingerprint:sha-256 ${fingerprintOf("BB")}\r\n`;
  const data = new TextEncoder().encode(JSON.stringify(offer));
  await FakeSocket.last.receive({ content: { senderId: 2, recipientId: 0, lastData: false, data } });
  await FakeConnection.peers.at(-1).open();
  assert.deepEqual(FakeConnection.peers.at(-1).sentControl[0], { hello: { v: 1, metadata: 35 } });
});

test("metadata is copied when it is set", async () => {
  const metadata = { name: "Ada" };
  const { group } = await join({ metadata });
  metadata.name = "changed";
  const connection = await joinWith(X);
  assert.deepEqual(connection.sentControl[0].hello.metadata, { name: "Ada" });
  const list = [1];
  group.setMetadata(list);
  group.setMetadata(list); // waits
  list.push(2);
  await advance(2_000);
  assert.deepEqual(connection.sentControl.flatMap(({ metadata }) => (metadata ? [metadata] : [])), [[1], [1]]);
});

test("metadata that is not a JSON value, or is longer than 4096 bytes throws TypeError", async () => {
  const { group } = await join();
  const circular = {};
  circular.self = circular;
  for (const invalid of [undefined, () => {}, Symbol("s"), 1n, circular, "x".repeat(4_095), "ü".repeat(2_048)]) {
    assert.throws(() => group.setMetadata(invalid), TypeError);
    if (invalid === undefined) continue;
    await assert.rejects(joinGroup("wss://hub", "room", { ...OFFLINE, metadata: invalid }), TypeError);
  }
  assert.throws(() => group.setMetadata(undefined), /metadata is of type undefined; must be a JSON value, null for none/);
  for (const valid of [null, 0, "", "x".repeat(4_094), []]) group.setMetadata(valid);
});

test("metadata that is nested more than 64 levels deep throws TypeError", async () => {
  const { group } = await join();
  const nested = (levels, wrap, value = 0) => {
    for (let level = 0; level < levels; level++) value = wrap(value);
    return value;
  };
  const array = (it) => [it];
  const object = (a) => ({ a });
  const error = { name: "TypeError", message: "metadata is nested too deep; must be at most 64 levels" };
  for (const wrap of [array, object, (it) => ({ toJSON: () => [it] })]) {
    group.setMetadata(nested(64, wrap));
    group.setMetadata(nested(63, wrap, []));
    group.setMetadata(nested(63, wrap, {}));
    // The last one is deeper than the stack.
    for (const invalid of [nested(65, wrap), nested(64, wrap, []), nested(64, wrap, {}), nested(100_000, wrap)]) {
      assert.throws(() => group.setMetadata(invalid), error);
      await assert.rejects(joinGroup("wss://hub", "room", { ...OFFLINE, metadata: invalid }), error);
    }
  }
  const shared = nested(60, array);
  group.setMetadata([shared, [[[shared]]], shared, Array(100).fill([])]);
  assert.throws(() => group.setMetadata([shared, [[[[shared]]]], shared]), error);
});

test("peers is always the same map, in the order of peerjoin, and a lost peer is another one when it returns", async () => {
  const { group, events } = await join();
  const { peers } = group;
  const first = await joinWith(X + 1);
  await FakeSocket.last.closeWith(1006);
  while (FakeSocket.last.readyState === 3) await advance(100);
  await joinWith(X, undefined, "BB");
  assert.deepEqual([...peers.keys()], [X + 1, X]);
  const lost = peers.get(X + 1);
  first.channels[0].onclose();
  assert.deepEqual(events.at(-1), ["peerleave", "lost"]);
  assert.equal(lost.fingerprint, fingerprintOf("AA"));
  await FakeSocket.last.closeWith(1006);
  while (FakeSocket.last.readyState === 3) await advance(100);
  await joinWith(X + 1);
  assert.deepEqual([...peers.keys()], [X, X + 1]);
  assert.notEqual(peers.get(X + 1), lost);
  assert.equal(group.peers, peers);
});

for (const [reason, end] of Object.entries({
  left: (connection) => connection.control({ bye: true }),
  lost: (connection) => connection.channels[1].onclose(),
  invalid: (connection) => sendPiece(connection, "x".repeat(16 * 1024 + 1)),
})) {
  test(`peerleave has the reason ${reason}`, async () => {
    const { events } = await join();
    await end(await joinWith(X));
    assert.deepEqual(events.at(-1), ["peerleave", reason]);
  });
}
