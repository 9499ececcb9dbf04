/** Tests where the package gets ICE servers from, and that neither slow nor invalid answers stop a peer. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import {
  advance,
  FakeConnection,
  FakeRequest,
  FakeSocket,
  install,
  joinAlone,
  joinWith,
  nextSocket,
  sdpOf,
  settle,
} from "./fakes.mjs";

const TURN = [{ urls: ["turn:turn.example.org"], username: "1700003600:alice", credential: "c2VjcmV0" }];
const ANSWER = { iceServers: TURN, ttl: 3600 };
const FIRST = 2 ** 31; // ids below the one that a group draws, so that its offers never win

/** Joins a group, and counts the errors that an app would see. */
async function join(options, key = "room") {
  const group = new Group("wss://hub/signal?token=x", key, options);
  group.joined.catch((error) => assert.fail(error));
  await settle();
  return group;
}

/** Lets a peer with this id send an offer to a member. Returns the new connection. */
async function offerFrom(id) {
  const offer = { from: id, to: 0, negotiationId: id, members: [], description: { type: "offer", sdp: sdpOf("AA") } };
  const data = new TextEncoder().encode(JSON.stringify(offer));
  await FakeSocket.last.receive({ content: { senderId: id - FIRST + 1, recipientId: 0, lastData: false, data } });
  return FakeConnection.peers.at(-1);
}

const serversOf = (connection) => connection.configuration.iceServers;

/** Returns a function that counts its calls. */
function counting(result) {
  const call = () => (call.count++, result());
  call.count = 0;
  return call;
}

beforeEach(install);

test("hub is asked with the URL of the socket, before the socket is open", async () => {
  await join({ favored: true });
  assert.equal(FakeSocket.last.readyState, 0);
  assert.equal(FakeSocket.last.url, "wss://hub/signal/room?token=x&favored");
  assert.equal(FakeRequest.last.url, "https://hub/signal/room?token=x&favored");
  assert.deepEqual(FakeRequest.last.options.headers, { Accept: "application/json" });
  // The default mode, same-origin. A browser would hide an answer for all origins from a request with cookies.
  assert.equal(FakeRequest.last.options.credentials, undefined);
  assert.equal(FakeRequest.all.length, 1);
});

test("connection uses the hub's servers, whether it makes the offer or the answer", async () => {
  const configuration = { bundlePolicy: "max-bundle" };
  await join({ rtcConfiguration: configuration });
  await FakeRequest.last.answer(ANSWER);
  const offerer = await joinWith(FIRST);
  const { certificates } = offerer.configuration;
  assert.deepEqual(offerer.configuration, { ...configuration, certificates, iceServers: TURN });
  const answerer = await offerFrom(FIRST + 1);
  assert.deepEqual(answerer.configuration, { ...configuration, certificates, iceServers: TURN });
  assert.equal(answerer.localDescription.type, "answer");
  assert.equal(FakeRequest.all.length, 1);
});

test("slow answer delays the offer, but not the join of the group", async () => {
  await join();
  await FakeSocket.last.open();
  assert(FakeSocket.last.sent.some(({ connect }) => connect));
  await FakeSocket.last.receive({ connected: false });
  await advance(2_500);
  assert.deepEqual(FakeSocket.last.signals, []);
  await FakeRequest.last.answer(ANSWER);
  assert.equal(FakeSocket.last.signals.length, 1);
  assert.deepEqual(serversOf(FakeConnection.peers.at(-1)), TURN);
});

test("first peer of a group joins without an answer", async () => {
  const group = await join();
  await joinAlone();
  assert.equal(group.state, "joined");
});

test("offer waits for 3 s at most, and its time to be answered starts then", async () => {
  await join();
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: false });
  await advance(2_900);
  assert.equal(FakeSocket.last.signals.length, 0);
  await advance(200);
  assert.equal(FakeSocket.last.signals.length, 1);
  assert(FakeRequest.last.options.signal.aborted);
  assert.deepEqual(serversOf(FakeConnection.peers.at(-1)), []);
  await advance(4_700);
  assert(!FakeConnection.peers.at(-1).closed);
  await advance(500);
  assert(FakeConnection.peers[0].closed);
});

test("answer to an offer waits for 3 s at most", async () => {
  await join();
  await joinAlone();
  const connection = await offerFrom(FIRST);
  assert.equal(connection.localDescription, undefined);
  await advance(3_100);
  assert.equal(connection.localDescription.type, "answer");
});

test("candidates that arrive while the answer waits are kept", async () => {
  await join();
  await joinAlone();
  const connection = await offerFrom(FIRST);
  const added = [];
  connection.addIceCandidate = async (candidate) => added.push(candidate);
  const signal = { from: FIRST, to: 0, negotiationId: FIRST, candidate: { candidate: "candidate:1" } };
  const data = new TextEncoder().encode(JSON.stringify(signal));
  await FakeSocket.last.receive({ content: { senderId: 1, recipientId: 0, lastData: false, data } });
  assert.deepEqual(added, []);
  await FakeRequest.last.answer(ANSWER);
  assert.deepEqual(added, [signal.candidate]);
});

test("connection that ends while it waits is closed once and sets no timer", async () => {
  const group = await join();
  await joinAlone();
  const connection = await offerFrom(FIRST);
  group.leave();
  assert(connection.closed);
  await FakeRequest.last.answer(ANSWER);
  await advance(20_000);
  assert.equal(connection.localDescription, undefined);
});

test("connection whose route ends while it waits stays open", async () => {
  await join();
  await joinAlone();
  const connection = await offerFrom(FIRST);
  await FakeSocket.last.receive({ content: { senderId: 1, recipientId: 0, lastData: true, data: new Uint8Array() } });
  await FakeRequest.last.answer(ANSWER);
  await connection.open();
  await advance(20_000);
  assert(!connection.closed);
});

test("connections that wait at the same time share one request", async () => {
  await join();
  await joinAlone();
  const connections = [await offerFrom(FIRST), await offerFrom(FIRST + 1), await offerFrom(FIRST + 2)];
  assert.equal(FakeRequest.all.length, 1);
  await FakeRequest.last.answer(ANSWER);
  for (const connection of connections) assert.deepEqual(serversOf(connection), TURN);
});

test("lost request is not repeated before the next socket", async () => {
  for (const loses of [() => FakeRequest.last.fail(), () => advance(3_100)]) {
    install();
    await join();
    await joinAlone();
    await loses();
    assert.deepEqual(serversOf(await offerFrom(FIRST)), []);
    await advance(60_000);
    await offerFrom(FIRST + 1);
    assert.equal(FakeRequest.all.length, 1);
    await FakeSocket.last.closeWith(1006);
    await nextSocket();
    assert.equal(FakeRequest.all.length, 2);
  }
});

test("426 is remembered", async () => {
  await join();
  await FakeRequest.last.answer("a WebSocket is required", 426);
  await joinAlone();
  await FakeSocket.last.closeWith(1001);
  await nextSocket();
  await joinAlone();
  const connection = await offerFrom(FIRST);
  assert.equal(connection.localDescription.type, "answer");
  await advance(60_000);
  await offerFrom(FIRST + 1);
  assert.equal(FakeRequest.all.length, 1);
});

for (const status of [400, 401, 403, 404, 429, 500, 503]) {
  test(`${status} gives no servers this time`, async () => {
    await join();
    await FakeRequest.last.answer("rejected", status);
    await joinAlone();
    assert.deepEqual(serversOf(await offerFrom(FIRST)), []);
    assert.equal(FakeRequest.all.length, 1);
    await advance(31_000);
    await offerFrom(FIRST + 1);
    assert.equal(FakeRequest.all.length, 2);
  });
}

test("hub is asked again before the ttl ends, when a connection needs servers", async () => {
  await join();
  await FakeRequest.last.answer({ iceServers: TURN, ttl: 60 });
  await joinAlone();
  await advance(53_000);
  await offerFrom(FIRST);
  assert.equal(FakeRequest.all.length, 1);
  await advance(2_000);
  assert.equal(FakeRequest.all.length, 1);
  const connection = await offerFrom(FIRST + 1);
  assert.equal(FakeRequest.all.length, 2);
  assert.equal(connection.localDescription, undefined);
  const fresh = [{ ...TURN[0], username: "1700007200:alice" }];
  await FakeRequest.last.answer({ iceServers: fresh, ttl: 60 });
  assert.deepEqual(serversOf(connection), fresh);
});

test("valid servers are kept for the next socket", async () => {
  await join();
  await FakeRequest.last.answer(ANSWER);
  await joinAlone();
  await FakeSocket.last.closeWith(1001);
  await nextSocket();
  assert.equal(FakeRequest.all.length, 1);
});

test("ttl of 0 does not lead to a request for each connection", async () => {
  await join();
  await FakeRequest.last.answer({ iceServers: TURN, ttl: 0 });
  await joinAlone();
  for (let id = FIRST; id < FIRST + 20; id++) assert.deepEqual(serversOf(await offerFrom(id)), TURN);
  assert.equal(FakeRequest.all.length, 1);
  await advance(11_000);
  await offerFrom(FIRST + 20);
  assert.equal(FakeRequest.all.length, 2);
});

const many = { urls: Array.from({ length: 65 }, () => "stun:stun.example.org") };
for (const invalid of [
  "<!doctype html>",
  "",
  "null",
  "5",
  "[]",
  "{}",
  { iceServers: "turn:turn.example.org", ttl: 60 },
  { iceServers: [null], ttl: 60 },
  { iceServers: [many], ttl: 60 },
  { iceServers: many.urls.map((urls) => ({ urls })), ttl: 60 },
  { iceServers: [{ urls: "https://turn.example.org" }], ttl: 60 },
  { iceServers: TURN },
  { iceServers: TURN, ttl: "60" },
  { iceServers: TURN, ttl: null },
  { iceServers: TURN, ttl: -1 },
]) {
  test(`invalid answer ${JSON.stringify(invalid).slice(0, 60)} gives no servers`, async () => {
    await join();
    await FakeRequest.last.answer(invalid);
    await joinWith(FIRST);
    assert.deepEqual(serversOf(FakeConnection.peers[0]), []);
    assert.equal(FakeRequest.all.length, 1);
  });
}

test("request uses the fresh key of its socket", async () => {
  const keys = ["old", "fresh"];
  await join({}, () => keys.shift());
  await FakeRequest.last.fail();
  await joinAlone();
  await FakeSocket.last.closeWith(4740);
  await nextSocket();
  assert.equal(FakeRequest.last.url, "https://hub/signal/fresh?token=x");
});

test("list of the app that a browser would reject throws the browser's error, before any connection", () => {
  for (const iceServers of ["turn:turn.example.org", [{ urls: "https://turn.example.org" }]]) {
    for (const options of [{ iceServers }, { rtcConfiguration: { iceServers } }]) {
      install();
      assert.throws(() => new Group("wss://hub/signal", "room", options), { name: "SyntaxError" });
      assert.equal(FakeSocket.all.length, 0);
    }
  }
});

test("servers of the app are used, and the hub is not asked", async () => {
  for (const iceServers of [[], TURN]) {
    for (const options of [{ iceServers }, { rtcConfiguration: { iceServers } }]) {
      install();
      await join(options);
      await joinWith(FIRST);
      assert.deepEqual(serversOf(FakeConnection.peers[0]), iceServers);
      assert.equal(FakeRequest.all.length, 0);
    }
  }
});

test("function of the app is called for each connection, and the hub is not asked", async () => {
  for (const result of [() => TURN, async () => TURN]) {
    install();
    const iceServers = counting(result);
    await join({ iceServers });
    assert.equal(iceServers.count, 0);
    await joinWith(FIRST);
    assert.equal(iceServers.count, 1);
    assert.deepEqual(serversOf(await offerFrom(FIRST + 1)), TURN);
    assert.equal(iceServers.count, 2);
    assert.equal(FakeRequest.all.length, 0);
  }
});

test("result of the app's function is kept for its ttl", async () => {
  const iceServers = counting(() => ({ iceServers: TURN, ttl: 60 }));
  await join({ iceServers });
  await joinAlone();
  for (let id = FIRST; id < FIRST + 5; id++) assert.deepEqual(serversOf(await offerFrom(id)), TURN);
  assert.equal(iceServers.count, 1);
  await advance(60_000);
  await offerFrom(FIRST + 5);
  assert.equal(iceServers.count, 2);
});

test("function of the app that fails or hangs gives no servers, and is called for the next connection", async () => {
  const fail = () => {
    throw new Error("no servers");
  };
  const hang = () => new Promise(() => {});
  for (const broken of [fail, async () => fail(), hang, () => undefined, () => [{ urls: "nonsense" }]]) {
    install();
    const results = [broken, () => TURN];
    const iceServers = counting(() => results[Math.min(iceServers.count, 2) - 1]());
    await join({ iceServers });
    await joinAlone();
    const connection = await offerFrom(FIRST);
    if (broken === hang) await advance(3_100);
    assert.equal(connection.localDescription.type, "answer");
    assert.deepEqual(serversOf(connection), []);
    assert.deepEqual(serversOf(await offerFrom(FIRST + 1)), TURN);
  }
});
