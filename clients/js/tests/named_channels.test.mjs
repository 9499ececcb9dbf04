/** Tests the channels that an app adds by name. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import * as fakes from "./fakes.mjs";
import { install, run } from "./simulation.mjs";

const POSE = { pose: { ordered: false, maxRetransmits: 0 } };
const ALL = { ...POSE, log: {}, recent: { maxPacketLifeTime: 100 } };

/** @type {ReturnType<typeof install>} */ let network;
beforeEach(() => void (network = install()));

/** Connects one group for each option `channels`. Returns them by ascending id. */
async function mesh(...channels) {
  const groups = [];
  for (const it of channels) {
    const group = new Group("wss://hub", "room", { iceServers: [], channels: it });
    group.options = it ?? {};
    group.received = [];
    group.addEventListener("message", ({ data, channel }) => group.received.push([channel, data]));
    groups.push(group);
    const isMeshed = () => groups.every(({ peers }) => peers.size === groups.length - 1);
    assert(await run(20_000, isMeshed));
  }
  await run(1_000);
  return groups.sort((a, b) => a.id - b.id);
}

const sizeOf = ({ received }) => received.map(([channel, data]) => [channel, data.length ?? data.byteLength]);

test("messages of each channel arrive on both sides with its name, and without one with the data channel", async () => {
  const groups = await mesh(ALL, ALL);
  for (const [index, from] of groups.entries()) {
    for (const channel of [undefined, "pose", "log", "recent"]) {
      assert.equal(await from.send(`${channel}`, { channel }), 1);
    }
    await run(500);
    const { received } = groups[1 - index];
    assert.deepEqual(new Set(received.map(String)), new Set([",undefined", "pose,pose", "log,log", "recent,recent"]));
  }
});

test("message that is sent as soon as the peer joins arrives, on both sides", async () => {
  const groups = [];
  for (let index = 0; index < 2; index++) {
    const group = new Group("wss://hub", "room", { iceServers: [], channels: { log: {} } });
    group.addEventListener("peerjoin", ({ peer }) => group.send(`first of ${index}`, { to: peer, channel: "log" }));
    group.received = [];
    group.addEventListener("message", ({ data }) => group.received.push(data));
    groups.push(group);
  }
  assert(await run(20_000, () => groups.every(({ received }) => received.length === 1)));
  assert.deepEqual(groups.map(({ received }) => received), [["first of 1"], ["first of 0"]]);
});

test("peers have the channels that both name, and those without one are not counted", async () => {
  const groups = await mesh({ ...POSE, log: {} }, { log: {}, chat: {} }, undefined);
  const counts = (channel) => {
    const senders = groups.filter(({ options }) => channel === undefined || channel in options);
    return Promise.all(senders.map((it) => it.send("x", { channel })));
  };
  assert.deepEqual(await counts("log"), [1, 1]);
  assert.deepEqual(await counts("pose"), [0]);
  assert.deepEqual(await counts("chat"), [0]);
  assert.deepEqual(await counts(undefined), [2, 2, 2]);
  await run(1_000);
  assert(groups.every(({ peers }) => peers.size === 2));
});

test("long message is sent in pieces on a reliable, ordered channel", async () => {
  const [a, b] = await mesh({ log: {} }, { log: { ordered: true } });
  assert.equal(await a.send(new Uint8Array(100_000), { channel: "log" }), 1);
  assert.equal(await b.send("x".repeat(16_385), { channel: "log" }), 1);
  await run(1_000);
  assert.deepEqual([sizeOf(a), sizeOf(b)], [[["log", 16_385]], [["log", 100_000]]]);
});

test("message of more than 16384 bytes throws TypeError on other channels, and a shorter one is sent", async () => {
  for (const [name, options] of Object.entries({
    unordered: { ordered: false },
    unreliable: { maxRetransmits: 3 },
    brief: { maxPacketLifeTime: 0 },
  })) {
    network = install();
    const [a, b] = await mesh({ [name]: options }, { [name]: options });
    assert.throws(() => a.send(new Uint8Array(16_385), { channel: name }), TypeError);
    assert.equal(await a.send(new Uint8Array(16_384), { channel: name }), 1);
    await run(500);
    assert.deepEqual(sizeOf(b), [[name, 16_384]]);
  }
});

test("options of the peer with the lower id apply, and longer messages of the other one are not counted", async () => {
  const whole = { x: { maxRetransmits: 0 } };
  const seen = new Set();
  for (let seed = 1; seed <= 10; seed++) {
    network = install(seed);
    const groups = await mesh(whole, { x: {} });
    const isWhole = groups[0].options === whole;
    const [other] = groups.filter(({ options }) => options !== whole);
    const sent = await other.send(new Uint8Array(20_000), { channel: "x" });
    assert.equal(sent, isWhole ? 0 : 1);
    await run(500);
    assert.deepEqual(groups.flatMap(sizeOf), isWhole ? [] : [["x", 20_000]]);
    assert.deepEqual(groups.map(({ peers }) => peers.size), [1, 1]);
    seen.add(isWhole);
  }
  assert.equal(seen.size, 2);
});

test("unknown channel throws TypeError and sends nothing", async () => {
  const [a, b] = await mesh(POSE, POSE);
  for (const channel of ["Pose", "", "control", "data", "__proto__", null, 5]) {
    assert.throws(() => a.send("x", { channel }), TypeError);
  }
  await run(500);
  assert.deepEqual(b.received, []);
});

test("channels survive an interruption", async () => {
  const [a, b] = await mesh(ALL, ALL, ALL);
  network.cut(a, b);
  await run(4_000);
  a.send("waits", { channel: "log" });
  a.send("is lost", { channel: "pose" });
  await run(10_000);
  b.send("later", { channel: "pose" });
  await run(500);
  assert.deepEqual(b.received, [["log", "waits"]]);
  assert.deepEqual(a.received, [["pose", "later"]]);
});

for (const [name, channels] of Object.entries({
  "a name that is empty": { "": {} },
  "a name of 65 characters": { ["x".repeat(65)]: {} },
  "half of a surrogate pair in a name": { "\ud800": {} },
  "17 names": Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`channel ${index}`, {}])),
  "no options": { x: undefined },
  "options that are not an object": { x: true },
  "a list of names": ["x"],
  "ordered that is not a boolean": { x: { ordered: 1 } },
  "maxRetransmits below 0": { x: { maxRetransmits: -1 } },
  "maxRetransmits above 65535": { x: { maxRetransmits: 65_536 } },
  "maxRetransmits that is not whole": { x: { maxRetransmits: 0.5 } },
  "maxRetransmits null": { x: { maxRetransmits: null } },
  "maxPacketLifeTime that is a string": { x: { maxPacketLifeTime: "5" } },
  "both limits": { x: { maxRetransmits: 0, maxPacketLifeTime: 0 } },
})) {
  test(`option channels with ${name} throws TypeError`, () => {
    assert.throws(() => new Group("wss://hub", "room", { channels }), TypeError);
  });
}

test("16 channels with names of 64 characters are accepted", async () => {
  const channels = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`${index}`.padEnd(64, "ü"), {}]));
  const [a] = await mesh(channels, channels);
  for (const channel of Object.keys(channels)) assert.equal(await a.send("x", { channel }), 1);
});

// ---- Hostile peers --------------------------------------------------------------------------------------------------

const LOW = 2 ** 31; // below the id that a group draws, so that this peer creates the channels
const HIGH = 2 ** 32 - 1;

/** Joins a group in which one peer is connected, whose channels the test creates. Without `hello`, it sends none. */
async function joinWith(id, hello = { v: 1, channels: ["pose", "log"] }) {
  fakes.install();
  const group = new Group("wss://hub/signal", "room", { iceServers: [], channels: { ...POSE, log: {} } });
  group.received = [];
  group.addEventListener("message", ({ data, channel }) => group.received.push([channel, data]));
  await fakes.settle();
  const connection = await fakes.joinWith(id, (it) => (it.hello = hello));
  const accept = (label, options) => {
    const channel = { label, readyState: "open", bufferedAmount: 0, ordered: true, send() {}, ...options };
    connection.ondatachannel({ channel });
    return channel;
  };
  return { group, connection, accept };
}

const piece = (flags, length) => ({ data: new Uint8Array(1 + length).fill(97).fill(flags, 0, 1).buffer });

test("hello lists the names of the app, and has no list without any", async () => {
  const { connection } = await joinWith(LOW);
  assert.deepEqual(connection.sentControl[0].hello.channels, ["pose", "log"]);
  fakes.install();
  new Group("wss://hub/signal", "room", { iceServers: [] });
  await fakes.settle();
  const other = await fakes.joinWith(LOW);
  assert.deepEqual(Object.keys(other.sentControl[0].hello), ["v"]);
});

test("peer with the lower id creates the common channels, and the other one none", async () => {
  const { connection } = await joinWith(HIGH, { v: 1, channels: ["chat", "pose"] });
  assert.deepEqual(connection.channels.map(({ label }) => label), ["control", "data", "pose"]);
  const other = await joinWith(LOW);
  assert.deepEqual(other.connection.channels.map(({ label }) => label), ["control", "data"]);
});

test("channel with a used or unknown label, or from the higher id, closes the connection", async () => {
  for (const [id, labels, isClosed] of [
    [LOW, ["pose", "log"], false],
    [LOW, ["pose", "pose"], true],
    [LOW, ["Pose"], true],
    [LOW, [""], true],
    [LOW, ["data"], true],
    [HIGH, ["pose"], true],
  ]) {
    const { connection, accept } = await joinWith(id);
    for (const label of labels) accept(label);
    assert.equal(connection.closed, isClosed, `${labels}`);
  }
});

test("channel may precede hello, and its messages wait for it", async () => {
  const { group, connection, accept } = await joinWith(LOW, null);
  const channel = accept("pose", { ordered: false, maxRetransmits: 0 });
  channel.onmessage(piece(3, 2));
  assert.deepEqual(group.received, []);
  await connection.control({ hello: { v: 1, channels: ["pose"] } });
  assert.deepEqual(group.received, [["pose", "aa"]]);
});

test("piece that is not the last closes a connection on a channel that is unordered or not reliable only", async () => {
  for (const [options, isClosed] of [
    [{}, false],
    [{ maxRetransmits: null, maxPacketLifeTime: null }, false],
    [{ ordered: false }, true],
    [{ maxRetransmits: 0 }, true],
    [{ maxPacketLifeTime: 0 }, true],
  ]) {
    const { connection, accept } = await joinWith(LOW);
    const channel = accept("log", options);
    channel.onmessage(piece(0, 16_384));
    assert.equal(connection.closed, isClosed);
    if (isClosed) continue;
    channel.onmessage(piece(2, 5));
    channel.onmessage(piece(0, 5));
    assert(connection.closed);
  }
});

test("pieces of two channels do not mix", async () => {
  const { group, accept } = await joinWith(LOW);
  const [log, pose] = [accept("log"), accept("pose")];
  log.onmessage(piece(0, 16_384));
  pose.onmessage(piece(3, 2));
  log.onmessage(piece(3, 1));
  assert.deepEqual(sizeOf(group), [["pose", 2], ["log", 16_385]]);
});

test("messages for a channel that the other peer does not create are limited, and end with it", async () => {
  fakes.install();
  const options = { iceServers: [], channels: { log: {} }, maxQueuedBytes: 1_000 };
  const group = new Group("wss://hub/signal", "room", options);
  await fakes.settle();
  const connection = await fakes.joinWith(LOW, (it) => (it.hello = { v: 1, channels: ["log"] }));
  const first = group.send("x".repeat(800), { channel: "log" });
  await assert.rejects(group.send("x".repeat(300), { channel: "log" }), { name: "QuotaExceededError" });
  await assert.rejects(group.send("x".repeat(300)), { name: "QuotaExceededError" });
  connection.channels[0].onclose();
  assert.equal(await first, 0);
});

test("closed named channel loses the connection", async () => {
  const { connection, accept } = await joinWith(LOW);
  accept("log").onclose();
  assert(connection.closed);
});
