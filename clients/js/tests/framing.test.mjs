/** Tests that the package limits what it keeps of messages, and disconnects a peer that exceeds it. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, install, joinWith, sdpOf, settle } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
const FULL = 16 * 1024;
const TEXT = 1;
const LAST = 2;

/** Joins a group in which the peer X is connected. */
async function joinWithX() {
  const group = new Group("wss://hub/signal", "room", { iceServers: [] });
  const messages = [];
  group.addEventListener("message", ({ data }) => messages.push(data));
  await settle();
  const connection = await joinWith(X);
  const [control, data] = connection.channels;
  const piece = (flags, length) => {
    const bytes = new Uint8Array(1 + length).fill(97);
    bytes[0] = flags;
    data.onmessage({ data: bytes.buffer });
  };
  return { group, connection, messages, control: (text) => control.onmessage({ data: text }), piece };
}

beforeEach(install);

test("pieces that are full, and a last one that is not, form a message", async () => {
  const { connection, messages, piece } = await joinWithX();
  for (const [flags, length] of [
    [TEXT, FULL],
    [TEXT, FULL],
    [TEXT | LAST, 3],
    [TEXT, FULL],
    [TEXT | LAST, FULL],
    [LAST, 0],
  ]) {
    piece(flags, length);
  }
  assert.deepEqual(
    messages.map((data) => data.length ?? data.byteLength),
    [2 * FULL + 3, 2 * FULL, 0],
  );
  assert(!connection.closed);
});

for (const [name, flags, length] of [
  ["empty piece that is not the last", 0, 0],
  ["piece of one byte less than a full one that is not the last", TEXT, FULL - 1],
  ["piece that is more than full", 0, FULL + 1],
  ["last piece that is more than full", LAST, FULL + 1],
]) {
  test(`${name} closes the connection`, async () => {
    const { group, connection, messages, piece } = await joinWithX();
    piece(TEXT, FULL);
    piece(flags, length);
    assert(connection.closed);
    assert.equal(group.peers.size, 0);
    piece(LAST, 0);
    assert.deepEqual(messages, []);
  });
}

test("message of more than 64 MiB closes the connection", async () => {
  const { connection, piece } = await joinWithX();
  for (let bytes = 0; bytes < 64 * 1024 * 1024; bytes += FULL) piece(0, FULL);
  assert(!connection.closed);
  piece(LAST, 1);
  assert(connection.closed);
});

test("control message of more than 64 KiB, or of bytes, closes the connection", async () => {
  for (const [message, isClosed] of [
    [" ".repeat(64 * 1024 - 2) + "{}", false],
    [" ".repeat(64 * 1024 - 1) + "{}", true],
    [`{"é":"${"é".repeat(32 * 1024 - 5)}"}`, false], // 64 KiB in UTF-8
    [`{"é":"${"é".repeat(32 * 1024 - 4)}"}`, true],
    [new ArrayBuffer(2), true],
    ["not JSON", false],
  ]) {
    install();
    const { connection, control } = await joinWithX();
    control(message);
    assert.equal(connection.closed, isClosed);
  }
});

test("peer that was disconnected for this is not met again through a neighbour", async () => {
  const { connection, piece, group } = await joinWithX();
  await FakeSocket.last.closeWith(1006);
  while (FakeSocket.last.readyState === 3) await advance(100);
  const neighbour = await joinWith(X + 1);
  assert.equal(group.peers.size, 2);
  piece(0, 0);
  assert(connection.closed);
  const count = FakeConnection.peers.length;
  neighbour.channels[0].onmessage({ data: JSON.stringify({ near: [[X, 5]] }) });
  await advance(10_000);
  assert.equal(FakeConnection.peers.length, count);
});

test("at most 100 candidates wait for their description", async (context) => {
  const added = context.mock.method(FakeConnection.prototype, "addIceCandidate");
  new Group("wss://hub/signal", "room", { iceServers: [] });
  await settle();
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: false });
  const { from: to, negotiationId } = FakeSocket.last.signals.at(-1);
  const signal = { from: X, to, negotiationId };
  for (let sent = 0; sent < 1_000; sent++) {
    await FakeSocket.last.signal({ ...signal, candidate: { candidate: `candidate:${sent}` } });
  }
  assert.equal(added.mock.callCount(), 0);
  await FakeSocket.last.signal({ ...signal, description: { type: "answer", sdp: sdpOf("AA") } });
  assert.equal(added.mock.callCount(), 100);
  await FakeSocket.last.signal({ ...signal, candidate: { candidate: "candidate:later" } });
  assert.equal(added.mock.callCount(), 101);
});
