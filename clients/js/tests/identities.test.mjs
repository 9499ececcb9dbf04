/** Tests that the package binds ids to certificates: an id belongs to the first peer that connected with it. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeConnection, FakeSocket, fingerprintOf, install, joinWith, sdpOf, settle } from "./fakes.mjs";

const FIRST = 2 ** 31; // ids below the one that a group draws, so that its offers never win
const X = FIRST + 7;
const SETTLED = 6_000; // a younger connection is not replaced

/** Joins a group in which the peer X is connected, with the fingerprint AA:AA:... */
async function joinWithX(options) {
  const group = new Group("wss://hub/signal", "room", { iceServers: [], ...options });
  const events = [];
  for (const type of ["peerjoin", "peerleave"]) {
    group.addEventListener(type, ({ peerId }) => events.push([type, peerId]));
  }
  await settle();
  const connection = await joinWith(X);
  await advance(SETTLED);
  return { group, connection, events };
}

/** Lets a joiner with the id X make an offer over the hub. Returns its connection, or why it was rejected. */
async function offerFromX(sdp, link = 1) {
  const count = FakeConnection.peers.length;
  const offer = { from: X, to: 0, negotiationId: link, members: [], description: { type: "offer", sdp } };
  const data = new TextEncoder().encode(JSON.stringify(offer));
  await FakeSocket.last.receive({ content: { senderId: link, recipientId: 0, lastData: false, data } });
  return FakeConnection.peers[count] ?? FakeSocket.last.signals.at(-1).reject;
}

/** Passes a message of an open connection. */
async function control(connection, message) {
  connection.channels[0].onmessage({ data: JSON.stringify(message) });
  await settle();
}

const assertStays = ({ group, connection, events }) => {
  assert(!connection.closed);
  assert.deepEqual(events, [["peerjoin", X]]);
  assert.deepEqual([...group.peers.values()].map(({ id, fingerprint }) => [id, fingerprint]), [[X, fingerprintOf("AA")]]);
};

beforeEach(install);

test("one certificate serves all connections of a group, and each group has its own", async () => {
  const { group } = await joinWithX();
  const second = await offerFromX(sdpOf("aa"));
  const [certificate, ...others] = second.configuration.certificates;
  assert.deepEqual(others, []);
  assert.equal(certificate, FakeConnection.peers[0].configuration.certificates[0]);
  assert.equal(certificate.algorithm.expires, 365 * 24 * 3600_000);
  group.leave();
  install();
  await joinWithX();
  assert.notEqual(certificate, FakeConnection.peers[0].configuration.certificates[0]);
});

test("certificates of the app are used, and none is generated", async (context) => {
  context.mock.method(FakeConnection, "generateCertificate", async () => assert.fail("generated"));
  await joinWithX({ rtcConfiguration: { certificates: ["of the app"] } });
  assert.deepEqual(FakeConnection.peers[0].configuration.certificates, ["of the app"]);
});

test("offer with another fingerprint is rejected as same-id", async () => {
  const before = await joinWithX();
  assert.equal(await offerFromX(sdpOf("BB")), "same-id");
  assertStays(before);
});

test("offer whose fingerprint is missing, invalid or not the only one does not replace a connection", async () => {
  const before = await joinWithX();
  const line = `a=fingerprint:sha-256 ${fingerprintOf("AA")}`;
  for (const sdp of [
    "",
    `${line}\r\na=fingerprint:sha-256 ${fingerprintOf("BB")}\r\n`,
    `${line}\r\na=fingerprint:sha-1 ${Array(20).fill("BB").join(":")}\r\n`,
    `${line}\na=FINGERPRINT:sha-256 ${fingerprintOf("BB")}\n`,
    `${line}\r a=fingerprint:sha-256 ${fingerprintOf("BB")}\r\n`,
    `${line}:AA\r\n`,
    `${line.replace("sha-256", "sha-512")}\r\n`,
  ]) {
    assert.equal(await offerFromX(sdp), "same-id", sdp);
  }
  assertStays(before);
});

test("offer without a valid fingerprint from an unknown peer opens no connection", async () => {
  const { group } = await joinWithX();
  const offer = { from: X + 1, to: 0, negotiationId: 5, members: [], description: { type: "offer", sdp: "" } };
  const data = new TextEncoder().encode(JSON.stringify(offer));
  await FakeSocket.last.receive({ content: { senderId: 5, recipientId: 0, lastData: false, data } });
  assert.equal(FakeSocket.last.signals.at(-1).reject, "invalid");
  assert(FakeConnection.peers.at(-1).closed);
  assert.equal(group.peers.size, 1);
});

test("connection stays until the offer with its fingerprint, in any case, has opened another one", async () => {
  const { group, connection, events } = await joinWithX();
  const failing = await offerFromX(sdpOf("aa"));
  failing.connectionState = "failed";
  failing.onconnectionstatechange();
  await settle();
  assertStays({ group, connection, events });
  const opening = await offerFromX(sdpOf("aa").replace("sha-256", "SHA-256"), 2);
  assert(!connection.closed);
  await opening.open();
  assert(connection.closed);
  assert.deepEqual(events.slice(1), [
    ["peerleave", X],
    ["peerjoin", X],
  ]);
  assert.deepEqual([...group.peers.values()].map(({ id, fingerprint }) => [id, fingerprint]), [[X, fingerprintOf("AA")]]);
});

test("id of a peer that was lost or has left stays its own", async () => {
  for (const end of [(it) => it.channels[0].onclose(), (it) => control(it, { bye: true })]) {
    install();
    const { group, connection } = await joinWithX();
    await end(connection);
    assert.equal(group.peers.size, 0);
    assert.equal(await offerFromX(sdpOf("BB")), "same-id");
    await (await offerFromX(sdpOf("AA"), 2)).open();
    assert.equal(group.peers.size, 1);
  }
});

test("member that answers with the id of a connected peer does not replace it", async () => {
  const before = await joinWithX();
  await FakeSocket.last.closeWith(1006);
  while (FakeSocket.last.readyState === 3) await advance(100);
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: false });
  const { from, negotiationId } = FakeSocket.last.signals.at(-1);
  await FakeSocket.last.signal({ from: X, to: from, negotiationId, description: { type: "answer", sdp: sdpOf("BB") } });
  const impostor = FakeConnection.peers.at(-1);
  await impostor.open();
  assert(impostor.closed);
  assert.equal(FakeSocket.last.signals.at(-1).reject, "same-id");
  assertStays(before);
});

test("member that answers with this peer's own id gets no connection", async () => {
  const group = new Group("wss://hub/signal", "room", { iceServers: [] });
  await settle();
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: false });
  const { from, negotiationId } = FakeSocket.last.signals.at(-1);
  const description = { type: "answer", sdp: sdpOf("BB") };
  await FakeSocket.last.signal({ from, to: from, negotiationId, description });
  assert(FakeConnection.peers.at(-1).closed);
  assert.equal(group.peers.size, 0);
});

test("description with another fingerprint closes the connection that it would change", async () => {
  for (const type of ["offer", "answer"]) {
    install();
    const { group, connection } = await joinWithX();
    const { remoteDescription } = connection;
    await control(connection, { description: { type, sdp: sdpOf("BB") } });
    assert.equal(connection.remoteDescription, remoteDescription);
    assert(connection.closed);
    assert.equal(group.peers.size, 0);
  }
});

test("description with the same fingerprint changes the media", async () => {
  const before = await joinWithX();
  await control(before.connection, { description: { type: "offer", sdp: sdpOf("AA") } });
  assert.equal(before.connection.remoteDescription.type, "offer");
  assertStays(before);
});

test("relay and hub cannot renegotiate or reject an open connection", async () => {
  const before = await joinWithX();
  const { connection } = before;
  const { remoteDescription } = connection;
  const { negotiationId, from: to } = FakeSocket.last.signals.find(({ description }) => description);
  for (const body of [
    { description: { type: "offer", sdp: sdpOf("BB") } },
    { description: { type: "offer", sdp: sdpOf("AA") } },
    { reject: "gone" },
  ]) {
    const signal = { from: X, to, negotiationId, ...body };
    await control(connection, { relay: signal });
    const data = new TextEncoder().encode(JSON.stringify(signal));
    await FakeSocket.last.receive({ content: { senderId: 3, recipientId: 0, lastData: false, data } });
    assert.equal(connection.remoteDescription, remoteDescription);
    assertStays(before);
  }
});
