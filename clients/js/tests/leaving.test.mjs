/** Tests how a group is left: with its messages, with its page, and into the back/forward cache of a browser. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Group, joinGroup } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, fingerprintOf, install, joinAlone, joiner } from "./fakes.mjs";
import { joinWith, sdpOf, settle, streamOf } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
/** Receives the events of the page. @type {EventTarget} */ let page;

beforeEach(() => {
  install();
  page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
});
afterEach(() => delete globalThis.addEventListener);

/** Joins a group with the peer X, and records its events. */
async function join(options) {
  const group = new Group("wss://hub/signal", "room", { iceServers: [], ...options });
  const events = [];
  for (const type of ["peerjoin", "peerleave", "statechange"]) {
    group.addEventListener(type, ({ peerId, state, reason }) => events.push([type, peerId ?? state, reason]));
  }
  await settle();
  const connection = await joinWith(X);
  events.length = 0;
  return { group, connection, events };
}

/** Sends the page an event of its life cycle. */
async function pageEvent(type, persisted) {
  page.dispatchEvent(Object.assign(new Event(type), { persisted }));
  await settle();
}

const hasBye = (connection) => connection.sentControl.some(({ bye }) => bye);
const isDone = (promise) => Promise.race([promise.then(() => true), settle().then(() => false)]);

test("leave says bye, closes the connections, resolves, and returns the same promise each time", async () => {
  const { group, connection, events } = await join();
  const left = group.leave();
  assert.equal(group.state, "left");
  assert.equal(group.peers.size, 0);
  assert(FakeSocket.last.readyState === 3);
  await settle();
  assert(hasBye(connection));
  assert(!(await isDone(left)));
  await advance(300);
  assert(connection.closed);
  assert(await isDone(left));
  assert.equal(group.leave(), left);
  assert.equal(group[Symbol.asyncDispose](), left);
  assert.deepEqual(events, [["statechange", "left", ""]]);
  assert.equal(await group.send("too late"), 0);
});

test("leave sends the messages that wait before bye", async () => {
  const { group, connection } = await join();
  const [, data] = connection.channels;
  data.bufferedAmount = 2 * 1024 * 1024;
  const sent = group.send("last words");
  const left = group.leave();
  await advance(1_000);
  assert(!hasBye(connection));
  assert.equal(data.sent.length, 0);
  data.bufferedAmount = 11; // what the message adds
  data.onbufferedamountlow();
  assert.equal(await sent, 1);
  await settle();
  assert(!hasBye(connection), "the message is not on its way yet");
  data.bufferedAmount = 0;
  data.onbufferedamountlow();
  await advance(200);
  assert(hasBye(connection));
  // So that the message arrives, even if its packet is lost once.
  assert(connection.sentControl.filter(({ ping }) => ping).length >= 5);
  await advance(300);
  assert(await isDone(left));
});

test("leave waits for 2 s at most", async () => {
  const { group, connection } = await join();
  connection.channels[1].bufferedAmount = 2 * 1024 * 1024;
  const sent = group.send("never");
  const left = group.leave();
  await advance(2_000);
  assert(hasBye(connection) && connection.closed);
  assert(await isDone(left));
  assert.equal(await sent, 0);
});

test("leave does not wait for a connection that is closed meanwhile, and handles no message meanwhile", async () => {
  const { group, connection } = await join();
  const messages = [];
  group.addEventListener("message", ({ data }) => messages.push(data));
  connection.channels[1].bufferedAmount = 2 * 1024 * 1024;
  group.send("never");
  const left = group.leave();
  connection.channels[1].onmessage({ data: new Uint8Array([3, 97]).buffer });
  connection.channels[0].onclose();
  await advance(300);
  assert(await isDone(left));
  assert.deepEqual(messages, []);
});

test("peer that leaves answers the signals that it should relay, or handle, with gone", async () => {
  const { group, connection } = await join();
  connection.channels[1].bufferedAmount = 2 * 1024 * 1024;
  group.send("never");
  const { id } = group;
  group.leave();
  const attempts = FakeConnection.peers.length;
  const gone = [X + 1, id].map((to, negotiationId) => ({ from: to, to: X, negotiationId, reject: "gone" }));
  for (const { from: to, negotiationId } of gone) {
    const description = { type: "offer", sdp: sdpOf("AA") };
    await connection.control({ relay: { from: X, to, negotiationId, members: [], description } });
  }
  assert.deepEqual(connection.sentControl.flatMap(({ relay }) => relay ?? []), gone);
  assert.equal(FakeConnection.peers.length, attempts);
  await connection.control({ near: [[X + 1, 1]] });
  await advance(500);
  assert.equal(FakeConnection.peers.length, attempts);
});

test("group that was left sends nothing, and still throws for invalid arguments", async () => {
  const group = new Group("wss://hub", "room", { iceServers: [] });
  await settle();
  const connection = await joinWith(2 ** 31);
  group.leave();
  const { length } = connection.sentControl;
  assert.equal(await group.send("x"), 0);
  group.setMetadata("x");
  group.addStream(streamOf("video"));
  group.retry();
  await advance(3_000);
  assert.deepEqual(connection.sentTracks, []);
  assert.deepEqual(connection.sentControl.slice(length).filter(({ metadata }) => metadata), []);
  assert.throws(() => group.send(5), TypeError);
  assert.throws(() => group.setMetadata(undefined), TypeError);
  assert.equal(FakeSocket.all.length, 1);
});

test("leave resolves for a group that was aborted or never joined", async () => {
  const abort = new AbortController();
  const groups = [
    new Group("wss://hub", "room", { iceServers: [], signal: AbortSignal.abort() }),
    new Group("wss://hub", "room", { iceServers: [], signal: abort.signal }),
    new Group("wss://hub", "room", { iceServers: [] }),
  ];
  abort.abort();
  const left = groups.map((group) => group.leave());
  for (const promise of left) assert(await isDone(promise));
  await settle();
  assert.equal(FakeSocket.all.length, 0);
});

test("group can be declared with `await using`", async () => {
  const joining = joinGroup("wss://hub", "room", { iceServers: [] });
  await settle();
  await joinAlone();
  const group = await joining;
  await group[Symbol.asyncDispose]();
  assert.equal(group.state, "left");
});

test("page that is closed leaves at once, without the messages that wait", async () => {
  const { group, connection, events } = await join();
  connection.channels[1].bufferedAmount = 2 * 1024 * 1024;
  group.send("never");
  page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  assert(hasBye(connection));
  assert(connection.closed);
  assert.equal(FakeSocket.last.readyState, 3);
  assert.deepEqual(events, [["statechange", "left", ""]]);
  await pageEvent("pageshow", true);
  await advance(40_000);
  assert.equal(group.state, "left");
  assert.equal(FakeSocket.all.length, 1);
});

for (const [name, end] of [
  ["leave", (group) => void group.leave()],
  ["page that is closed", () => void pageEvent("pagehide", false)],
  ["page that may return", () => void pageEvent("pagehide", true)],
]) {
  test(`${name} rejects the attempts over the hub before the socket closes`, async () => {
    const group = new Group("wss://hub/signal", "room", { iceServers: [] });
    await settle();
    await FakeSocket.last.open();
    await FakeSocket.last.receive({ connected: false });
    const { from, negotiationId } = FakeSocket.last.signals.at(-1);
    end(group);
    assert.equal(FakeSocket.last.readyState, 3);
    assert.deepEqual(FakeSocket.last.signals.at(-1), { from, to: 0, negotiationId, reject: "left" });
    assert.equal(FakeSocket.last.sent.at(-1).content.lastData, true);
    const { length } = FakeSocket.last.sent;
    await advance(1_000);
    assert.equal(FakeSocket.last.sent.length, length);
  });
}

test("page that may return closes everything at once, so that a browser can cache it", async () => {
  const { group, connection, events } = await join();
  page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
  assert(hasBye(connection));
  assert.equal(FakeSocket.last.readyState, 3);
  assert(FakeConnection.peers.every(({ closed }) => closed));
  assert.deepEqual([group.state, group.peers.size], ["connecting", 0]);
  assert.deepEqual(events, [
    ["peerleave", X, "lost"],
    ["statechange", "connecting", ""],
  ]);
  await advance(60_000);
  assert.equal(FakeSocket.all.length, 1);
});

test("page that returns joins again with another id, its streams, its metadata and its listeners", async () => {
  const { group, events } = await join({ metadata: "me" });
  const { id, peers } = group;
  const track = { kind: "video" };
  group.addStream({ getTracks: () => [track] });
  await pageEvent("pagehide", true);
  await pageEvent("pageshow", true);
  events.length = 0;
  const connection = await joinWith(X);
  assert.notEqual(group.id, id);
  assert.deepEqual(events, [
    ["statechange", "joining", ""],
    ["peerjoin", X, undefined],
    ["statechange", "joined", ""],
  ]);
  assert.equal(group.peers, peers);
  assert.deepEqual(connection.sentTracks, [track]);
  assert.deepEqual(connection.sentControl[0], { hello: { v: 1, metadata: "me" } });
  assert.equal(await group.send("again"), 1);
  assert.equal(FakeConnection.peers[0].configuration.certificates[0], connection.configuration.certificates[0]);
  await FakeSocket.last.closeWith(1006);
  await advance(2_000);
  assert.equal(FakeSocket.all.length, 3, "one socket at a time");
});

test("group that is left while its page is cached stays left", async () => {
  const { group } = await join();
  await pageEvent("pagehide", true);
  group.leave();
  await pageEvent("pageshow", true);
  await advance(40_000);
  assert.equal(group.state, "left");
  assert.equal(FakeSocket.all.length, 1);
});

test("page that returns before it has joined the first time resolves joined later", async () => {
  const group = new Group("wss://hub", "room", { iceServers: [] });
  await settle();
  await pageEvent("pagehide", true);
  await pageEvent("pageshow", true);
  await joinAlone();
  await group.joined;
  assert.equal(group.state, "joined");
});

test("first pageshow of a page has no effect", async () => {
  const { group } = await join();
  await pageEvent("pageshow", false);
  await pageEvent("pageshow", true);
  assert.deepEqual([group.state, FakeSocket.all.length], ["joined", 1]);
});

test("own fingerprint is known, also without a neighbour", async () => {
  const group = new Group("wss://hub", "room", { iceServers: [] });
  assert.equal(group.fingerprint, undefined);
  await settle();
  assert.equal(group.fingerprint, fingerprintOf("00"));
  assert(FakeConnection.all.every(({ closed }) => closed));
});

test("debug reports lines about sockets, states, attempts and closes, without keys and descriptions", async () => {
  const lines = [];
  const group = new Group("wss://hub/signal", "the-secret", { iceServers: [], debug: (line) => lines.push(line) });
  await settle();
  await joinAlone();
  const connection = await joiner(X, "AA");
  connection.channels[0].onclose();
  await FakeSocket.last.closeWith(1013, "busy");
  group.leave();
  await settle();
  for (const part of ["socket", "1013", "joining", "joined", "reconnecting", "left", `${X}`, "lost"]) {
    assert(lines.some((line) => line.includes(part)), `${part} in ${lines}`);
  }
  assert(!lines.some((line) => /the-secret|fingerprint|wss:/.test(line)), `${lines}`);
});

test("debug can be the console, and reports nothing by default", async (context) => {
  const debug = context.mock.method(console, "debug", () => {});
  await join();
  assert.equal(debug.mock.callCount(), 0);
  install();
  await join({ debug: true });
  assert(debug.mock.callCount() > 3);
});
