/** Tests of the rules of `clients/MESH.md` for the signals of one attempt, and for the route that they take. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, install, joinAlone, joiner, sdpOf, settle } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
const LINK = 5;

async function join() {
  const group = new Group("wss://hub/signal", "room", { iceServers: [] });
  await settle();
  return group;
}

/** Passes content of the hub. Without a signal, it is empty. */
async function content(senderId, recipientId, signal) {
  const data = signal ? new TextEncoder().encode(JSON.stringify(signal)) : new Uint8Array();
  await FakeSocket.last.receive({ content: { senderId, recipientId, lastData: false, data } });
}

const offerOf = (from, to, negotiationId) => {
  return { from, to, negotiationId, members: [], description: { type: "offer", sdp: sdpOf("CC") } };
};
const contents = () => FakeSocket.last.sent.flatMap((message) => message.content ?? []);
const relayed = (connection) => connection.sentControl.flatMap(({ relay }) => relay ?? []);

beforeEach(install);

test("reject through a neighbour is not answered", async () => {
  const group = await join();
  await joinAlone();
  const neighbour = await joiner(X, "AA");
  await neighbour.control({ relay: offerOf(X + 1, group.id, 1) });
  const attempt = FakeConnection.peers.at(-1);
  const sent = relayed(neighbour).length;
  await neighbour.control({ relay: { from: X + 1, to: group.id, negotiationId: 1, reject: "left" } });
  assert(attempt.closed);
  assert.equal(relayed(neighbour).length, sent);
});

test("reject over the hub is returned once, as the last data of the link", async () => {
  const group = await join();
  await joinAlone();
  await content(LINK, 0, offerOf(X, 0, 1));
  const reject = { from: X, to: group.id, negotiationId: 1, reject: "left" };
  for (let count = 0; count < 2; count++) await content(LINK, 0, reject);
  const last = contents().filter(({ lastData }) => lastData);
  assert.equal(last.length, 1);
  assert.deepEqual(FakeSocket.last.signals.at(-1), { from: group.id, to: X, negotiationId: 1, reject: "left" });
});

test("offer and answer of an attempt do not say that they restart ICE", async () => {
  const group = await join();
  await joinAlone();
  const neighbour = await joiner(X, "AA");
  await neighbour.control({ near: [[2 ** 32 - 1, 1]] }); // above the id of the group, which makes an offer
  await advance(100);
  await neighbour.control({ relay: offerOf(X + 1, group.id, 1) });
  const described = relayed(neighbour).filter(({ description }) => description);
  assert.deepEqual(described.map(({ description }) => description.type).sort(), ["answer", "offer"]);
  for (const signal of described) assert(!("restart" in signal));
});

test("relay answers a signal for an unknown peer with gone, unless it is a reject", async () => {
  await join();
  await joinAlone();
  const neighbour = await joiner(X, "AA");
  const signal = { from: X, to: X + 1, negotiationId: 1 };
  for (const reject of ["left", "unknown", ""]) await neighbour.control({ relay: { ...signal, reject } });
  assert.deepEqual(relayed(neighbour), []);
  await neighbour.control({ relay: { ...signal, candidate: { candidate: "" } } });
  assert.deepEqual(relayed(neighbour), [{ from: X + 1, to: X, negotiationId: 1, reject: "gone" }]);
});

test("end of an earlier link does not end the attempt with the next member", async () => {
  const group = await join();
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: false });
  await advance(6_000); // the first member does not answer
  await FakeSocket.last.receive({ connected: false });
  const { negotiationId } = FakeSocket.last.signals.at(-1);
  const description = { type: "answer", sdp: sdpOf("AA") };
  await content(0, LINK + 1, { from: X, to: group.id, negotiationId, description });
  const attempt = FakeConnection.peers.at(-1);
  await content(0, LINK);
  await advance(3_500);
  assert(!attempt.closed);
  await content(0, LINK + 1);
  await advance(3_500);
  assert(attempt.closed);
});

test("end of the route does not extend the 15 s of an attempt", async () => {
  await join();
  await joinAlone();
  await content(LINK, 0, offerOf(X, 0, 1));
  const attempt = FakeConnection.peers.at(-1);
  await advance(14_000);
  await content(LINK, 0);
  assert(!attempt.closed);
  await advance(1_200);
  assert(attempt.closed);
});

test("signal that is too long as it would be relayed is not passed on", async () => {
  await join();
  await joinAlone();
  const [neighbour, other] = [await joiner(X, "AA"), await joiner(X + 1, "AB")];
  const pass = (numbers) => {
    const text = `{"relay":{"from":${X},"to":${X + 1},"negotiationId":1,"reject":"left","n":[${numbers}]}}`;
    assert(text.length <= 65_536);
    neighbour.channels[0].onmessage({ data: text });
  };
  pass(Array(10_000).fill("1e20").join(",")); // JSON.stringify writes 21 digits
  assert.equal(relayed(other).length, 0);
  pass("1e20");
  assert.equal(relayed(other).length, 1);
  assert(!neighbour.closed && !other.closed);
});

test("second failed attempt with members of the hub is repeated after 250 to 500 ms", async () => {
  await join();
  await FakeSocket.last.open();
  const connects = () => FakeSocket.last.sent.filter(({ connect }) => connect).length;
  for (const [count, atLeast, atMost] of [
    [1, 0, 100],
    [2, 200, 600],
    [3, 400, 1_100],
  ]) {
    assert.equal(connects(), count);
    await FakeSocket.last.receive({ connected: false });
    await content(0, 0); // the member is gone
    let waited = 0;
    for (; connects() === count; waited += 50) await advance(50);
    assert(waited >= atLeast && waited <= atMost, `${waited} ms after ${count} failures`);
  }
});
