/** Tests that an interrupted connection survives by a restart of ICE, and that it is lost if that does not help. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { install, run, streamOf } from "./simulation.mjs";

/** @type {ReturnType<typeof install>} */ let network;
beforeEach(() => void (network = install()));

const peersOf = (group) => [...group.peers.values()].map(({ id }) => id);
const meshed = (...groups) => groups.every((it) => peersOf(it).length === groups.length - 1);

/** Joins a group that records its events. */
function join(options = {}) {
  const group = new Group("wss://hub", "room", { iceServers: [], ...options });
  group.events = [];
  group.received = [];
  for (const type of ["peerjoin", "peerleave"]) {
    group.addEventListener(type, ({ peerId }) => group.events.push(`${type} ${peerId}`));
  }
  group.addEventListener("message", ({ peerId, data }) => group.received.push([peerId, data]));
  return group;
}

/** Returns connected groups, by ascending id. */
async function mesh(size, options) {
  const groups = [];
  while (groups.length < size) {
    groups.push(join(options));
    assert(await run(20_000, () => meshed(...groups)), "the groups connect");
  }
  await run(3_000); // every list of neighbours is complete
  for (const group of groups) group.events.length = 0;
  return groups.sort((a, b) => a.id - b.id);
}

const restarts = (a, b) => network.between(a, b).reduce((sum, it) => sum + it.restarts, 0);
const states = (a, b) => network.between(a, b).map((it) => it.iceConnectionState);
const isConnected = (a, b) => states(a, b).join() === "connected,connected";
const isInterrupted = (a, b) => states(a, b).every((it) => it !== "connected");

test("connection survives an interrupted path, with its messages and its media", async () => {
  const [a, b, c] = await mesh(3);
  const connections = network.between(a, b);
  a.addStream(streamOf("camera"));
  await run(1_000);
  network.cut(a, b);
  a.send("before it is noticed", { to: b.id });
  assert(await run(2_000, () => isInterrupted(a, b)));
  b.send("after it is noticed", { to: a.id });
  assert(await run(10_000, () => isConnected(a, b)));
  await run(30_000);
  assert.deepEqual(network.between(a, b), connections);
  assert.equal(restarts(a, b), 1);
  assert.deepEqual(b.received, [[a.id, "before it is noticed"]]);
  assert.deepEqual(a.received, [[b.id, "after it is noticed"]]);
  b.addStream(streamOf("screen"));
  a.addStream(streamOf("microphone"));
  await run(2_000);
  assert.deepEqual(new Set(connections.flatMap((it) => it.received)), new Set(["camera", "screen", "microphone"]));
  assert.equal(restarts(a, b), 1);
  for (const group of [a, b, c]) assert.deepEqual(group.events, []);
});

test("peer with the lower id restarts ICE after 3 s, and the other one after 4.5 s", async () => {
  for (const deaf of [false, true]) {
    network = install();
    const [a, b] = await mesh(3);
    network.cut(a, b);
    assert(await run(2_000, () => isInterrupted(a, b)));
    const [lower, higher] = network.between(a, b).sort((x) => (x.fingerprint === fingerprintOf(b, a) ? -1 : 1));
    if (deaf) lower.restartIce = () => {};
    await run(2_900);
    assert.equal(lower.restarts + higher.restarts, 0);
    await run(200);
    if (!deaf) assert.deepEqual([lower.restarts, higher.restarts], [1, 0]);
    await run(1_200);
    assert.equal(higher.restarts, 0);
    await run(300);
    assert.equal(higher.restarts, deaf ? 1 : 0);
    assert(await run(1_000, () => isConnected(a, b)));
  }
});

function fingerprintOf(group, neighbour) {
  return [...group.peers.values()].find(({ id }) => id === neighbour.id).fingerprint;
}

test("interruption of less than 3 s restarts nothing", async () => {
  const [a, b] = await mesh(3);
  network.cut(a, b);
  await run(3_900); // ICE notices it after 1 s
  network.restore();
  await run(10_000);
  assert.equal(restarts(a, b), 0);
  assert(isConnected(a, b));
});

test("restart is repeated through another neighbour for 15 s, and then the connection is lost", async () => {
  const [a, b, c, d] = await mesh(4);
  const relays = { [c.id]: 0, [d.id]: 0 };
  for (const [relay] of Object.entries(relays)) {
    const other = [c, d].find(({ id }) => id === Number(relay));
    for (const connection of network.between(a, other)) {
      const channel = connection.channel(0);
      const { send } = channel;
      channel.send = (data) => {
        const { description } = JSON.parse(data).relay ?? {};
        if (description?.type === "offer") relays[relay]++;
        send.call(channel, data);
      };
    }
  }
  network.cut(a, b, { forGood: true });
  assert(await run(2_000, () => isInterrupted(a, b)));
  await run(17_500); // 3 s and almost 15 s
  for (const group of [a, b]) assert.deepEqual(group.events, [], "neither pings nor failed ICE close it");
  assert.deepEqual(Object.values(relays).map((it) => it > 1), [true, true]);
  assert(restarts(a, b) >= 5 && restarts(a, b) <= 8, `${restarts(a, b)} restarts`);
  await run(2_000);
  assert.deepEqual(a.events, [`peerleave ${b.id}`]);
  assert.deepEqual(b.events, [`peerleave ${a.id}`]);
  network.restore();
  assert(await run(60_000, () => meshed(a, b, c, d)), "they meet again");
});

test("interruption that the browser reports shortly before the pings are lost is repaired", async () => {
  for (const times of [[4_500], [7_500], [9_900], [4_500, 9_900], [9_900, 4_500]]) {
    network = install();
    const [a, b, c] = await mesh(3);
    let count = 0;
    network.noticeTime = () => times[count++ % times.length];
    const connections = network.between(a, b);
    network.cut(a, b);
    await run(20_000);
    for (const group of [a, b, c]) assert.deepEqual(group.events, [], `${times} ms`);
    assert.deepEqual(network.between(a, b), connections);
    assert(isConnected(a, b));
  }
});

test("interruption that the browser reports as late as Firefox is repaired before the pings are lost", async () => {
  for (let phase = 0; phase < 2_000; phase += 250) {
    network = install();
    const [a, b, c] = await mesh(3);
    await run(phase); // since the last ping
    network.noticeTime = () => 10_700;
    const connections = network.between(a, b);
    network.cut(a, b);
    await run(20_000);
    for (const group of [a, b, c]) assert.deepEqual(group.events, [], `${phase} ms`);
    assert.deepEqual(network.between(a, b), connections);
    assert(isConnected(a, b));
  }
});

test("without a common neighbour, ICE recovers by itself, or the pings are lost", async () => {
  for (const time of [8_000, 20_000]) {
    network = install();
    const [a, b] = await mesh(2);
    network.cut(a, b);
    await run(time);
    network.restore();
    const isLost = time === 20_000;
    assert.equal(a.events[0], isLost ? `peerleave ${b.id}` : undefined);
    assert(await run(60_000, () => meshed(a, b) && isConnected(a, b)));
    await run(20_000);
    assert(meshed(a, b));
    assert.equal(restarts(a, b), 0);
  }
});

test("peer whose paths are all interrupted makes no offer that cannot arrive", async () => {
  const [a, b, c] = await mesh(3);
  const connections = [...network.between(a, b), ...network.between(a, c)];
  const ofA = connections.filter(({ fingerprint }) => fingerprint === fingerprintOf(b, a));
  assert.equal(ofA.length, 2);
  network.cut(a, b);
  network.cut(a, c);
  await run(9_000);
  for (const { restarts } of ofA) assert.equal(restarts, 0);
  network.restore();
  await run(10_000);
  for (const group of [a, b, c]) assert.deepEqual(group.events, []);
  assert(isConnected(a, b) && isConnected(a, c));
});

test("offer whose answer is lost while the path recovers by itself blocks no later change of the media", async () => {
  for (const from of ["lower", "higher"]) {
    network = install();
    const [a, b, c] = await mesh(3);
    // The offers of the restart arrive, and the answers do not.
    for (const connection of network.between(b, c)) {
      const channel = connection.channel(0);
      const { send } = channel;
      channel.send = (data) => JSON.parse(data).relay || send.call(channel, data);
    }
    network.cut(a, b);
    assert(await run(2_000, () => isInterrupted(a, b)));
    await run(3_500);
    assert(restarts(a, b) >= 1);
    network.restore();
    assert(await run(2_000, () => isConnected(a, b)));
    await run(2_000);
    (from === "lower" ? a : b).addStream(streamOf("camera"));
    await run(2_000);
    assert.deepEqual(network.between(a, b).flatMap((it) => it.received), ["camera"]);
    assert.deepEqual(network.between(a, b).map((it) => it.signalingState), ["stable", "stable"]);
    for (const group of [a, b, c]) assert.deepEqual(group.events, []);
  }
});

test("offer that the control channel delivers after a restart is not older than it", async () => {
  for (const [time, rejectsRestart] of [0, 500, 2_900, 3_000].flatMap((it) => [[it, false], [it, true]])) {
    network = install();
    const [a, b, c] = await mesh(3);
    for (const connection of network.between(a, b)) connection.rejectsRestart = rejectsRestart;
    network.cut(a, b);
    await run(time);
    a.addStream(streamOf("camera"));
    b.addStream(streamOf("screen"));
    await run(20_000);
    assert(isConnected(a, b));
    assert.deepEqual(network.between(a, b).flatMap((it) => it.received).sort(), ["camera", "screen"]);
    for (const group of [a, b, c]) assert.deepEqual(group.events, []);
  }
});

test("ICE servers of a restart are not older than their ttl", async () => {
  let count = 0;
  const iceServers = () => ({ iceServers: [{ urls: `turn:${++count}` }], ttl: 60 });
  const [a, b] = await mesh(3, { iceServers });
  await run(60_000);
  const before = network.between(a, b).map((it) => it.configuration.iceServers[0].urls);
  network.cut(a, b);
  await run(10_000);
  assert(isConnected(a, b));
  const after = network.between(a, b).map((it) => it.configuration.iceServers[0].urls);
  for (const [index, urls] of after.entries()) assert.notEqual(urls, before[index]);
});

test("restart with ICE servers that cannot be fetched uses the previous ones", async () => {
  let works = true;
  const iceServers = () => (works ? { iceServers: [{ urls: "turn:first" }], ttl: 10 } : Promise.reject());
  const [a, b] = await mesh(3, { iceServers });
  await run(60_000);
  works = false;
  network.cut(a, b);
  await run(10_000);
  assert(isConnected(a, b));
  for (const it of network.between(a, b)) assert.deepEqual(it.configuration.iceServers, [{ urls: "turn:first" }]);
});
