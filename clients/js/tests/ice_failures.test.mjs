/** Tests that failed ICE is shown until a peer is connected, and that two such peers do not evict each other. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, install, joinAlone, nextSocket, sdpOf, settle } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
const DEADLINE = 15_000;

async function join() {
  const group = new Group("ws://hub", "room", { iceServers: [] });
  const states = [];
  group.addEventListener("statechange", ({ state, reason, code }) =>
    states.push([state, reason, code].filter(Boolean).join(" ")),
  );
  await settle();
  await FakeSocket.last.open();
  return { group, states };
}

const connects = () => FakeSocket.last.sent.filter(({ connect }) => connect).length;

/** Lets the hub bind the group to the member X, which answers. Then ICE fails, or the test opens the connection. */
async function bind({ id = X, members = [], fails = true } = {}) {
  await FakeSocket.last.receive({ connected: false });
  const { from: to, negotiationId } = FakeSocket.last.signals.findLast(({ description }) => description);
  const description = { type: "answer", sdp: sdpOf("AA") };
  await FakeSocket.last.signal({ from: id, to, negotiationId, members, description });
  if (fails) await advance(DEADLINE);
  return FakeConnection.peers.at(-1);
}

/** Lets a joiner with the id X make an offer over the hub. */
async function joiner({ link = 1, lastSignal = undefined } = {}) {
  const send = (signal, lastData) => {
    const data = signal ? new TextEncoder().encode(JSON.stringify(signal)) : new Uint8Array();
    return FakeSocket.last.receive({ content: { senderId: link, recipientId: 0, lastData, data } });
  };
  const signal = { from: X, to: 0, negotiationId: link };
  await send({ ...signal, members: [], description: { type: "offer", sdp: sdpOf("AA") } }, false);
  if (lastSignal) await send(lastSignal.reject ? { ...signal, ...lastSignal } : undefined, true);
  return FakeConnection.peers.at(-1);
}

beforeEach(install);

test("end of the candidates is not sent, which Firefox reports as an empty candidate", async () => {
  await join();
  const connection = await bind({ fails: false });
  const candidates = () => FakeSocket.last.signals.flatMap(({ candidate }) => candidate ?? []);
  for (const candidate of ["candidate:1", ""]) {
    connection.onicecandidate({ candidate: { toJSON: () => ({ candidate, sdpMLineIndex: 0 }) } });
  }
  connection.onicecandidate({ candidate: null });
  assert.deepEqual(candidates(), [{ candidate: "candidate:1", sdpMLineIndex: 0 }]);
});

test("reason stays while this peer is a member without neighbours, until some peer is connected", async () => {
  const { group, states } = await join();
  await bind();
  assert.deepEqual([group.state, group.reason], ["joining", "ice-failed"]);
  assert.equal(connects(), 2);
  await FakeSocket.last.receive({ connected: true });
  assert.deepEqual([group.state, group.reason], ["joined", "ice-failed"]);
  await group.joined;
  await advance(60_000);
  assert.deepEqual([group.state, group.reason], ["joined", "ice-failed"]);
  await (await joiner()).open();
  assert.deepEqual([group.state, group.reason], ["joined", ""]);
  assert.deepEqual(states, ["joining", "joining ice-failed", "joined ice-failed", "joined"]);
});

test("member shows that ICE failed with a joiner, and its eviction does not look like a lost server", async () => {
  const { group, states } = await join();
  await joinAlone();
  await joiner();
  await advance(DEADLINE);
  assert.deepEqual([group.state, group.reason], ["joined", "ice-failed"]);
  await FakeSocket.last.closeWith(4744);
  assert.equal(states.at(-1), "joining ice-failed 4744");
  await nextSocket();
  await FakeSocket.last.open();
  await (await bind({ fails: false })).open();
  await FakeSocket.last.receive({ connected: true });
  const evicted = "joining ice-failed 4744";
  assert.deepEqual(states.slice(3), [evicted, evicted, "joining ice-failed", "joining", "joined"]);
});

test("eviction of a peer whose ICE has not failed has the reason evicted", async () => {
  const { states } = await join();
  await joinAlone();
  await FakeSocket.last.closeWith(4744);
  assert.equal(states.at(-1), "joining evicted 4744");
});

for (const lastSignal of [{ reject: "peer-timeout" }, { reject: "left" }, {}]) {
  test(`joiner that gives up with ${lastSignal.reject ?? "the end of its signals"} does not count as failed ICE`, async () => {
    const { group, states } = await join();
    await joinAlone();
    const connection = await joiner({ lastSignal });
    await advance(60_000);
    assert(connection.closed);
    assert.deepEqual(states, ["joining", "joined"]);
    assert.equal(group.reason, "");
  });
}

test("only member is not evicted after the second failure with its id", async () => {
  const { group, states } = await join();
  await joinAlone();
  await joiner();
  await advance(DEADLINE);
  await FakeSocket.last.closeWith(4744);
  const end = Date.now() + 300_000;
  let sockets = 0;
  for (; Date.now() < end; sockets++) {
    const closed = Date.now();
    await nextSocket();
    assert(sockets === 0 || Date.now() - closed >= 15_000, `next socket after ${Date.now() - closed} ms`);
    await FakeSocket.last.open();
    await bind();
    assert.equal(FakeSocket.last.readyState, 3);
    assert.equal(connects(), 1);
    assert.deepEqual([group.state, group.reason], ["joining", "ice-failed"]);
  }
  assert(sockets >= 5 && sockets <= 10, `${sockets} attempts in 5 min`);
  assert(states.slice(states.indexOf("joining ice-failed 4744")).every((it) => it.startsWith("joining ice-failed")));
});

test("first close after giving up because of failed ICE is a first failure", async () => {
  for (const [code, min, max] of [[4744, 250, 500], [1006, 500, 1_000]]) {
    install();
    const { group } = await join();
    await bind();
    await bind();
    assert.equal(FakeSocket.last.readyState, 3, "the group gives up");
    await nextSocket();
    await FakeSocket.last.open();
    await FakeSocket.last.closeWith(code);
    const wait = group.nextAttempt - Date.now();
    assert(wait >= min && wait <= max, `${wait} ms after ${code}`);
  }
});

test("member that has neighbours is not the only one: the next one is tried at once", async () => {
  const { group } = await join();
  await joinAlone();
  await joiner();
  await advance(DEADLINE);
  await FakeSocket.last.closeWith(4744);
  await nextSocket();
  await FakeSocket.last.open();
  await bind({ members: [X + 1] });
  assert.equal(connects(), 2);
  await (await bind({ id: X + 1, fails: false })).open();
  assert.deepEqual([group.reason, group.peers.size], ["", 1]);
});

test("first failure with a member is retried at once, with the next one", async () => {
  await join();
  await bind();
  assert.equal(connects(), 2);
  await bind({ id: X + 1 });
  await advance(5_000);
  assert.equal(connects(), 3);
});

test("a connection to any peer starts the count of failures anew", async () => {
  await join();
  await bind();
  await (await bind({ id: X + 1, fails: false })).open();
  FakeConnection.peers.at(-1).channels[0].onclose();
  await FakeSocket.last.receive({ connected: true });
  await advance(1_000);
  await bind();
  assert.equal(FakeSocket.last.readyState, 1);
});

test("answers of a member name its neighbours", async () => {
  await join();
  await joinAlone();
  await (await joiner()).open();
  const offer = { from: X + 1, to: 0, negotiationId: 2, members: [], description: { type: "offer", sdp: sdpOf("BB") } };
  const data = new TextEncoder().encode(JSON.stringify(offer));
  await FakeSocket.last.receive({ content: { senderId: 2, recipientId: 0, lastData: false, data } });
  const answers = FakeSocket.last.signals.filter(({ description }) => description);
  assert.deepEqual(
    answers.map(({ members }) => members),
    [[], [X]],
  );
});

test("unreachable hub is shown even if ICE has failed before", async () => {
  const { group } = await join();
  await bind();
  await FakeSocket.last.receive({ connected: true });
  await FakeSocket.last.closeWith(1006);
  assert.deepEqual([group.state, group.reason], ["reconnecting", "unreachable"]);
  await nextSocket();
  await joinAlone();
  assert.deepEqual([group.state, group.reason], ["joined", "ice-failed"]);
});
