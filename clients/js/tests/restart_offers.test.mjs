/** Tests which signals over a route are handled while a connection is open. A hostile neighbour may relay them. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, fingerprintOf, install, joinWith, settle } from "./fakes.mjs";

const LOWER = 2 ** 31 + 7; // below the id that a group draws: X is impolite
const X = LOWER;
const Y = X + 1;

beforeEach(install);

/** Joins a group in which the peers X and Y are connected. ICE of X is interrupted, or a ping to it is unanswered. */
async function joinWithXY({ X = LOWER, hello = { v: 1 }, ice = "disconnected", unanswered = false } = {}) {
  const group = new Group("wss://hub/signal", "room", { iceServers: [] });
  await settle();
  const x = await joinWith(X, (connection) => (connection.hello = hello));
  const { negotiationId } = FakeSocket.last.signals.at(-1);
  if (!hello) await advance(5_100);
  await FakeSocket.last.closeWith(1006);
  while (FakeSocket.last.readyState === 3) await advance(100);
  const y = await joinWith(Y, undefined, "BB");
  await advance(2_000);
  x.iceConnectionState = ice;
  if (unanswered) {
    x.channels[0].answers = () => false;
    await advance(2_000);
  }
  x.set = [];
  x.setRemoteDescription = async (description) => {
    if (description.sdp?.includes("broken")) throw new DOMException("broken", "OperationError");
    x.set.push(description);
    x.remoteDescription = description;
    x.signalingState = description.type === "offer" ? "have-remote-offer" : "stable";
  };
  const relay = (signal) => y.control({ relay: { from: X, to: group.id, negotiationId, ...signal } });
  return { group, x, y, relay, negotiationId };
}

const sdp = ({ version = 2, byte = "AA" } = {}) =>
  `v=0\r\no=- 7 ${version} IN IP4 127.0.0.1\r\na=fingerprint:sha-256 ${fingerprintOf(byte)}\r\n`;
const offer = (options) => ({ members: [], description: { type: "offer", sdp: sdp(options) } });
const relayed = (y) => y.sentControl.flatMap(({ relay }) => (relay?.to === X ? relay : []));

test("offer that a neighbour relays is answered through it while ICE is interrupted", async () => {
  const interrupted = ["disconnected", "failed", "checking"].map((ice) => ({ ice }));
  for (const state of [...interrupted, { ice: "connected", unanswered: true }]) {
    install();
    const { group, x, y, relay, negotiationId } = await joinWithXY(state);
    await relay(offer());
    assert.equal(x.set.length, 1);
    const [{ description, ...header }] = relayed(y);
    assert.equal(description.type, "answer");
    assert.deepEqual(header, { from: group.id, to: X, negotiationId, members: [X, Y] });
    x.onicecandidate({ candidate: { toJSON: () => ({ candidate: "candidate:1" }) } });
    assert.deepEqual(relayed(y)[1].candidate, { candidate: "candidate:1" });
    assert(!x.closed);
  }
});

for (const [name, state, signal] of [
  ["connection works", { ice: "connected" }, offer()],
  ["connection works, and its state is completed", { ice: "completed" }, offer()],
  ["other peer has version 0", { hello: null }, offer()],
  ["fingerprint is another one", {}, offer({ byte: "BB" })],
  ["description has no fingerprint", {}, { description: { type: "offer", sdp: "v=0\r\n" } }],
  ["negotiation id is another one", {}, { ...offer(), negotiationId: 1, from: Y }],
  ["signal is from another peer", {}, { ...offer(), from: X + 5 }],
  ["signal rejects", {}, { reject: "left" }],
  ["signal rejects as gone", {}, { reject: "gone" }],
  ["answer has no offer", {}, { description: { type: "answer", sdp: sdp() } }],
  ["description is of another type", {}, { description: { type: "rollback", sdp: sdp() } }],
]) {
  test(`signal that a neighbour relays has no effect on an open connection if the ${name}`, async () => {
    const { group, x, y, relay } = await joinWithXY(state);
    await relay(signal);
    assert.deepEqual(x.set ?? [], []);
    assert.deepEqual(relayed(y).filter(({ description }) => description), []);
    assert(!x.closed);
    assert.equal(group.peers.size, 2);
  });
}

test("offer that the control channel delivers during an interruption is answered over it", async () => {
  const { x, y, relay } = await joinWithXY();
  await relay(offer());
  const { length } = relayed(y);
  // X may be connected again already. Then it ignores answers that a neighbour relays.
  await x.control({ description: { type: "offer", sdp: sdp({ version: 3 }) } });
  const answers = x.sentControl.filter(({ description }) => description);
  assert.deepEqual(answers.map(({ description }) => description.type), ["answer"]);
  assert.equal(relayed(y).length, length);
  await relay(offer({ version: 4 }));
  assert.equal(relayed(y).length, length + 1);
});

test("offer that a neighbour relays is answered through it, also if the path works again by then", async () => {
  const { x, y, relay } = await joinWithXY();
  const { setLocalDescription } = x;
  let describe;
  x.setLocalDescription = async () => {
    await new Promise((resolve) => (describe = resolve));
    await setLocalDescription.call(x);
  };
  await relay(offer());
  x.iceConnectionState = "connected";
  await x.control({ ping: 1 });
  describe();
  await settle();
  assert.deepEqual(relayed(y).map(({ description }) => description?.type), ["answer"]);
  assert.deepEqual(x.sentControl.filter(({ description }) => description), []);
});

test("offer that the hub passes for an open connection is ignored, and the hub is no way for a restart", async () => {
  const { group, x, y, negotiationId } = await joinWithXY();
  await y.control({ near: [[X, 1]] });
  let restarts = 0;
  x.restartIce = () => restarts++;
  const passed = (signal) => {
    const data = new TextEncoder().encode(JSON.stringify({ from: X, to: group.id, negotiationId, ...signal }));
    return FakeSocket.last.receive({ content: { senderId: 5, recipientId: 0, lastData: false, data } });
  };
  const sent = FakeSocket.last.signals.length;
  await passed(offer());
  assert.deepEqual(x.set, []);
  x.onicecandidate({ candidate: { toJSON: () => ({ candidate: "candidate:1" }) } });
  assert.equal(FakeSocket.last.signals.length, sent);
  x.iceConnectionState = "failed";
  x.oniceconnectionstatechange();
  assert.equal(restarts, 1);
  x.signalingState = "have-local-offer";
  await passed({ members: [], description: { type: "answer", sdp: sdp() } });
  assert.deepEqual(x.set, []);
  assert(!x.closed);
});

/** Restarts ICE of X through Y. Returns the offer, which has no answer yet. */
async function restart({ x, y }) {
  await y.control({ near: [[X, 1]] });
  let version = 1;
  x.setLocalDescription = async () => {
    const description = { type: "offer", sdp: sdp({ version: ++version }) };
    x.localDescription = { toJSON: () => description };
    x.signalingState = "have-local-offer";
  };
  x.restartIce = () => void setImmediate(x.onnegotiationneeded);
  x.signalingState = "stable";
  x.iceConnectionState = "failed";
  x.oniceconnectionstatechange();
  await settle();
  return relayed(y).at(-1);
}

test("restart offer through a neighbour says that it is one, also if it is repeated", async () => {
  const { group, x, y, negotiationId } = await joinWithXY({ ice: "connected" });
  const first = await restart({ x, y });
  const { description } = first;
  assert.deepEqual(first, { from: group.id, to: X, negotiationId, members: [X, Y], restart: true, description });
  await advance(3_100);
  assert.equal(relayed(y).length, 2);
  assert.deepEqual(relayed(y)[1], first);
  x.onicecandidate({ candidate: { toJSON: () => ({ candidate: "candidate:1" }) } });
  assert.equal(relayed(y).at(-1).restart, undefined);
});

test("offer that has no answer when ICE is connected again is repeated over the control channel", async () => {
  for (const cause of ["state of ICE", "message"]) {
    install();
    const { x, y, relay } = await joinWithXY({ ice: "connected" });
    const { description } = await restart({ x, y });
    x.iceConnectionState = "connected";
    if (cause === "message") await x.control({ ping: 1 });
    else x.oniceconnectionstatechange();
    const repeated = () => x.sentControl.filter((message) => message.description);
    assert.deepEqual(repeated(), [{ description }]);
    assert.equal(relayed(y).length, 1);
    await relay({ members: [], description: { type: "answer", sdp: sdp() } });
    assert.deepEqual(x.set, [], "the neighbour's answer is late");
    await x.control({ description: { type: "answer", sdp: sdp() } });
    assert.equal(x.set.length, 1);
    await x.control({ ping: 2 });
    assert.equal(repeated().length, 1);
  }
});

test("restart offer that is rejected is repeated, because the connection is open", async () => {
  const { group, x, y, relay } = await joinWithXY({ ice: "connected" });
  const first = await restart({ x, y });
  await relay({ reject: "gone" });
  assert(!x.closed);
  assert(group.peers.has(X));
  await advance(3_100);
  assert.deepEqual(relayed(y), [first, first]);
});

test("restart offer of an unknown connection is rejected as gone, and begins no attempt", async () => {
  const { group, y, relay } = await joinWithXY();
  const count = FakeConnection.peers.length;
  for (const from of [X, X + 5]) {
    await relay({ ...offer(), from, negotiationId: 1, restart: true });
    const reject = { from: group.id, to: from, negotiationId: 1, reject: "gone" };
    assert.deepEqual(y.sentControl.at(-1), { relay: reject });
  }
  assert.equal(FakeConnection.peers.length, count);
  await relay({ ...offer({ byte: "CC" }), from: X + 5, negotiationId: 1, restart: false });
  assert.equal(FakeConnection.peers.length, count + 1);
});

test("restart offer of a known connection is answered without the key", async () => {
  const { y, relay } = await joinWithXY();
  await relay({ ...offer(), restart: true });
  assert.deepEqual(relayed(y).map(({ description, restart }) => [description.type, restart]), [["answer", undefined]]);
});

test("signal whose restart is not a boolean is invalid", async () => {
  const { x, relay } = await joinWithXY();
  for (const restart of [null, 1, "true", {}]) await relay({ ...offer(), restart });
  assert.deepEqual(x.set, []);
  for (const restart of [true, false]) await relay({ ...offer(), restart });
  assert.equal(x.set.length, 2);
});

test("offer that loses against one in the interrupted control channel is answered with a restart", async () => {
  const HIGHER = 2 ** 32 - 1;
  const { group, x, y, relay } = await joinWithXY({ X: HIGHER });
  await y.control({ near: [[HIGHER, 1]] });
  let restarts = 0;
  x.restartIce = () => restarts++;
  x.signalingState = "have-local-offer"; // for example a change of the media
  x.setLocalDescription = async () => {
    x.localDescription = { toJSON: () => ({ type: "offer", sdp: sdp() }) };
  };
  const assertOffers = (count) => {
    const sent = y.sentControl.flatMap(({ relay }) => (relay?.to === HIGHER ? relay : []));
    const types = sent.map(({ description, from }) => [description.type, from]);
    assert.deepEqual(types, Array(count).fill(["offer", group.id]));
    assert.equal(restarts, 1, "the offer is repeated");
    assert.deepEqual(x.set, []);
  };
  for (let count = 1; count <= 2; count++) {
    await relay(offer({ version: 1 + count }));
    assertOffers(count);
  }
  await advance(2_900);
  assertOffers(2);
  await advance(200);
  assertOffers(3);
});

test("relayed description that the browser rejects closes no connection, also after the interruption", async () => {
  for (const waits of [false, true]) {
    install();
    const { group, x, relay } = await joinWithXY();
    let reject = () => {};
    if (waits) x.setRemoteDescription = () => new Promise((_, rejects) => (reject = rejects));
    await relay({ description: { type: "offer", sdp: `${sdp()}broken` } });
    assert(!x.closed);
    x.iceConnectionState = "connected";
    await x.control({ ping: 1 });
    reject(new DOMException("broken", "OperationError"));
    await advance(20_000);
    assert(!x.closed);
    assert(group.peers.has(X));
    await x.control({ description: { type: "offer", sdp: `${sdp({ version: 3 })}broken` } });
    if (waits) reject(new DOMException("broken", "OperationError"));
    await settle();
    assert(x.closed, "X itself sends such a description");
  }
});

test("connection with a changed fingerprint on its control channel closes, also while it is interrupted", async () => {
  const { x, relay } = await joinWithXY();
  await relay(offer());
  await x.control({ description: { type: "offer", sdp: sdp({ byte: "BB" }) } });
  assert(x.closed);
});

test("description that is older than the last one is ignored", async () => {
  const { x, relay } = await joinWithXY();
  await relay(offer({ version: 5 }));
  await relay(offer({ version: 4 }));
  x.iceConnectionState = "connected";
  await x.control({ description: { type: "offer", sdp: sdp({ version: 3 }) } });
  assert.equal(x.set.length, 1);
  await x.control({ description: { type: "offer", sdp: sdp({ version: 5 }) } });
  await x.control({ description: { type: "offer", sdp: sdp({ version: 6 }) } });
  assert.equal(x.set.length, 3);
});

test("relayed offer whose answer the browser cannot make blocks no later offer", async () => {
  const { x, y, relay } = await joinWithXY();
  const { setLocalDescription } = x;
  x.setLocalDescription = async () => {
    throw new DOMException("role", "OperationError");
  };
  await relay(offer({ version: 9 }));
  x.setLocalDescription = setLocalDescription;
  await relay(offer({ version: 5 }));
  assert.deepEqual(x.set.map(({ type }) => type), ["offer", "rollback", "offer"]);
  assert.deepEqual(relayed(y).map(({ description }) => description?.type), ["answer"]);
  assert(!x.closed);
});

test("relayed offer that is older than the last one begins no interruption", async () => {
  const { x, y, relay } = await joinWithXY();
  await y.control({ near: [[X, 1]] });
  await relay(offer({ version: 5 }));
  x.iceConnectionState = "connected";
  x.oniceconnectionstatechange();
  x.iceConnectionState = "disconnected";
  x.oniceconnectionstatechange();
  let restarts = 0;
  x.restartIce = () => restarts++;
  await advance(3_000);
  await relay(offer({ version: 4 }));
  await advance(2_000); // an own restart is due 4.5 s after the interruption
  assert.equal(restarts, 1);
});

test("peer of version 0 whose ICE failed is lost", async () => {
  for (const [hello, isClosed] of [[null, true], [{ v: 1 }, false]]) {
    install();
    const { x, y } = await joinWithXY({ hello, ice: "connected" });
    await y.control({ near: [[X, 1]] });
    x.restartIce = () => {};
    x.iceConnectionState = x.connectionState = "failed";
    x.oniceconnectionstatechange();
    x.onconnectionstatechange();
    assert.equal(x.closed, isClosed);
  }
});

test("ICE that has failed is restarted at once", async () => {
  const { x, y } = await joinWithXY({ ice: "connected" });
  await y.control({ near: [[X, 1]] });
  let restarts = 0;
  x.restartIce = () => restarts++;
  x.signalingState = "stable";
  x.iceConnectionState = "failed";
  x.oniceconnectionstatechange();
  assert.equal(restarts, 1);
});

test("peer is lost when the next ping is due after six unanswered ones", async () => {
  const { group, x } = await joinWithXY({ ice: "connected" });
  const pings = () => x.sentControl.filter(({ ping }) => ping !== undefined).length;
  x.channels[0].answers = () => false;
  const before = pings();
  for (let waited = 0; pings() < before + 6 && waited < 15_000; waited += 100) await advance(100);
  assert(group.peers.has(X));
  await advance(1_900);
  assert(group.peers.has(X));
  await advance(200);
  assert(!group.peers.has(X));
  assert.equal(pings(), before + 6);
});

test("connection whose DTLS fails is lost", async () => {
  const { x, y } = await joinWithXY({ ice: "connected" });
  await y.control({ near: [[X, 1]] });
  x.connectionState = "failed";
  x.onconnectionstatechange();
  assert(x.closed);
});

test("failed ICE without a common neighbour loses the connection", async () => {
  const { x } = await joinWithXY({ ice: "connected" });
  x.iceConnectionState = "failed";
  x.oniceconnectionstatechange();
  assert(x.closed);
});

test("timers of an interruption end with the connection", async () => {
  const { group, x, y } = await joinWithXY({ ice: "connected" });
  await y.control({ near: [[X, 1]] });
  let restarts = 0;
  x.restartIce = () => restarts++;
  x.iceConnectionState = "disconnected";
  x.oniceconnectionstatechange();
  group.leave();
  await advance(30_000);
  assert.equal(restarts, 0);
  assert.equal(FakeConnection.peers.length, 2);
});
