/** Tests which peers messages and streams are sent to, and how many messages wait. */

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, install, joinAlone, joiner, settle, streamOf } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
const FULL = 2 * 1024 * 1024; // in the buffer of a channel, so that the next message waits

/** Joins a group, and connects it to the peers X, X + 1, ... */
async function joinWith(count, options) {
  const group = new Group("wss://hub/signal", "room", { iceServers: [], ...options });
  await settle();
  await joinAlone();
  const connections = [];
  for (let index = 0; index < count; index++) connections.push(await joiner(X + index, `A${index}`));
  return { group, connections };
}

const dataOf = ({ channels }) => channels[1];
/** The messages that were sent in one piece. */
const sentTo = (connection) => dataOf(connection).sent.map((piece) => new TextDecoder().decode(piece.subarray(1)));
const fill = (connection) => (dataOf(connection).bufferedAmount = FULL);

async function drain(connection) {
  dataOf(connection).bufferedAmount = 0;
  dataOf(connection).onbufferedamountlow();
  await settle();
}

beforeEach(install);

test("message goes to all peers, or to the peers that are named by id or as a peer", async () => {
  const { group, connections } = await joinWith(3);
  const [first, second] = [...group.peers.values()];
  assert.equal(await group.send("all"), 3);
  assert.equal(await group.send("id", { to: X + 2 }), 1);
  assert.equal(await group.send("peer", { to: first }), 1);
  assert.equal(await group.send("both", { to: [X, second, X] }), 2);
  assert.equal(await group.send("nobody", { to: [] }), 0);
  assert.equal(await group.send("unknown", { to: 5 }), 0);
  assert.deepEqual(connections.map(sentTo), [["all", "peer", "both"], ["all", "both"], ["all", "id"]]);
});

test("message does not go to a peer whose hello has not arrived", async () => {
  const { group, connections } = await joinWith(1);
  const silent = await joiner(X + 1, "BB", (connection) => (connection.hello = undefined));
  assert.equal(await group.send("all"), 1);
  assert.equal(await group.send("it", { to: X + 1 }), 0);
  await silent.control({ hello: { v: 1 } });
  assert.equal(await group.send("all"), 2);
  assert.deepEqual([connections[0], silent].map(sentTo), [["all", "all"], ["all"]]);
});

test("an id in the place of the options throws TypeError and sends nothing", async () => {
  const { group, connections } = await joinWith(1);
  assert.throws(() => group.send("private", X), TypeError);
  assert.deepEqual(sentTo(connections[0]), []);
});

for (const [name, to] of Object.entries({
  "a string": String(X),
  "an array of strings": [X, String(X)],
  "a set": new Set([X]),
  "an iterator": [X].values(),
  "an object that is not a peer": { id: X },
  "an array in an array": [[X]],
  "an array with a gap": [undefined],
  null: null,
  undefined,
})) {
  test(`recipients that are ${name} throw TypeError, and nothing is sent`, async () => {
    const { group, connections } = await joinWith(1);
    const expected = { name: "TypeError", message: /^to is of type \w+; must be a peer, the id of one, or an array/ };
    assert.throws(() => group.send("private", { to }), expected);
    assert.throws(() => group.addStream(streamOf("video"), { to }), expected);
    await settle();
    assert.deepEqual(sentTo(connections[0]), []);
    assert.deepEqual(connections[0].sentTracks, []);
    assert.throws(() => (group.leave(), group.addStream(streamOf("video"), { to })), expected);
  });
}

test("a peer that is gone is a valid recipient, which is not counted", async () => {
  const { group, connections } = await joinWith(2);
  const gone = group.peers.get(X);
  connections[0].channels[0].onclose();
  assert.equal(await group.send("one", { to: [gone, X + 1] }), 1);
});

test("message waits while the buffer is full, and its promise resolves when it is sent", async () => {
  const { group, connections } = await joinWith(1);
  fill(connections[0]);
  let sent;
  group.send("waits").then((count) => (sent = count));
  await settle();
  assert.deepEqual([sent, sentTo(connections[0])], [undefined, []]);
  await drain(connections[0]);
  assert.deepEqual([sent, sentTo(connections[0])], [1, ["waits"]]);
});

test("message that waits for a peer that is lost is not counted", async () => {
  const { group, connections } = await joinWith(2);
  fill(connections[0]);
  const sent = group.send("lost");
  connections[0].channels[0].onclose();
  assert.equal(await sent, 1);
});

test("send rejects with QuotaExceededError while all queues are full, and accepts messages again afterwards", async () => {
  const { group, connections } = await joinWith(2, { maxQueuedBytes: 1_000 });
  for (const connection of connections) fill(connection);
  const sent = [400, 400, 200].map((length) => group.send("x".repeat(length)));
  await assert.rejects(group.send("x"), { name: "QuotaExceededError" });
  await assert.rejects(group.send("x", { to: X }), { name: "QuotaExceededError" });
  assert.equal(await group.send("x", { to: 5 }), 0, "no peer has a full queue");
  await drain(connections[0]);
  assert.equal(await group.send("one has room"), 1);
  await drain(connections[1]);
  assert.deepEqual(await Promise.all(sent), [2, 2, 2]);
  assert.equal(await group.send("both have room"), 2);
});

test("short messages count 128 bytes, and one that is longer than the limit is accepted by an empty queue", async () => {
  const { group, connections } = await joinWith(1, { maxQueuedBytes: 1_000 });
  fill(connections[0]);
  for (let count = 0; count < 8; count++) group.send("");
  await assert.rejects(group.send(""), { name: "QuotaExceededError" });
  await drain(connections[0]);
  fill(connections[0]);
  const long = group.send("x".repeat(5_000));
  await assert.rejects(group.send("x"), { name: "QuotaExceededError" });
  await drain(connections[0]);
  assert.equal(await long, 1);
});

test("the default limit is 128 MiB", async () => {
  const { group, connections } = await joinWith(1);
  fill(connections[0]);
  const half = new Uint8Array(64 * 1024 * 1024);
  const sent = [group.send(half), group.send(half)];
  await assert.rejects(group.send("x"), { name: "QuotaExceededError" });
  connections[0].channels[0].onclose();
  assert.deepEqual(await Promise.all(sent), [0, 0]);
});

test("limits that are not whole numbers in their range throw TypeError", () => {
  for (const options of [
    { maxPeers: 0 },
    { maxPeers: 1_001 },
    { maxPeers: 1.5 },
    { maxPeers: "8" },
    { maxQueuedBytes: 0 },
    { maxQueuedBytes: -1 },
    { maxQueuedBytes: Infinity },
  ]) {
    assert.throws(() => new Group("wss://hub", "room", { iceServers: [], ...options }), TypeError);
  }
});

test("aborted message that waits is not sent, and makes room", async () => {
  const { group, connections } = await joinWith(1, { maxQueuedBytes: 1_000 });
  const abort = new AbortController();
  fill(connections[0]);
  const sent = group.send("x".repeat(1_000), { signal: abort.signal });
  const reason = new Error("changed my mind");
  abort.abort(reason);
  await assert.rejects(sent, reason);
  const next = group.send("next");
  await drain(connections[0]);
  assert.equal(await next, 1);
  assert.deepEqual(sentTo(connections[0]), ["next"]);
});

test("abort has no effect on a message of which a part has been sent", async () => {
  const { group, connections } = await joinWith(1);
  const abort = new AbortController();
  const { send } = dataOf(connections[0]);
  dataOf(connections[0]).send = (piece) => {
    send(piece);
    if (dataOf(connections[0]).sent.length === 1) fill(connections[0]);
  };
  const sent = group.send(new Uint8Array(40_000), { signal: abort.signal });
  abort.abort();
  await drain(connections[0]);
  assert.equal(await sent, 1);
  assert.equal(dataOf(connections[0]).sent.length, 3);
});

test("abort cancels a message for the peers to which nothing of it was sent, and the others are counted", async () => {
  const { group, connections } = await joinWith(2);
  const abort = new AbortController();
  fill(connections[0]);
  const sent = group.send("half", { signal: abort.signal });
  abort.abort();
  assert.equal(await sent, 1);
  await drain(connections[0]);
  assert.deepEqual(connections.map(sentTo), [[], ["half"]]);
});

test("message with an aborted signal rejects, and no signal keeps listeners", async () => {
  const { group, connections } = await joinWith(2);
  await assert.rejects(group.send("x", { signal: AbortSignal.abort() }), { name: "AbortError" });
  const { signal } = new AbortController();
  for (let count = 0; count < 10; count++) await group.send("x", { signal });
  fill(connections[0]);
  const waits = group.send("x", { signal });
  assert.equal(getEventListeners(signal, "abort").length, 1);
  connections[0].channels[0].onclose();
  await waits;
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("stream goes to all peers, also to later ones, until it is removed", async () => {
  const { group, connections } = await joinWith(1);
  const stream = streamOf("audio", "video");
  group.addStream(stream);
  connections.push(await joiner(X + 1, "BB"));
  for (const connection of connections) assert.deepEqual(connection.sentTracks, stream.getTracks());
  group.removeStream(stream);
  connections.push(await joiner(X + 2, "CC"));
  for (const connection of connections) assert.deepEqual(connection.sentTracks, []);
});

test("first media have one audio and one video section, whatever is sent, so that crossing offers number extensions alike", async () => {
  for (const name of ["audio", "video"]) {
    const { group, connections } = await joinWith(1);
    group.addStream(streamOf(name));
    group.addStream(streamOf("video", "video 2"));
    const sections = connections[0].getTransceivers();
    assert.deepEqual(sections.slice(0, 2).map(({ kind }) => kind), ["audio", "video"]);
    assert.equal(sections[name === "audio" ? 0 : 1].direction, "sendrecv");
    assert.equal(sections.length, name === "audio" ? 3 : 4);
  }
});

test("stream without tracks adds no media, and media of the other side no further sections", async () => {
  const { group, connections } = await joinWith(1);
  group.addStream(streamOf());
  assert.deepEqual(connections[0].getTransceivers(), []);
  const theirs = connections[0].addTransceiver("video", { direction: "recvonly" });
  group.addStream(streamOf("video"));
  assert.deepEqual(connections[0].getTransceivers(), [theirs]);
  assert.equal(theirs.direction, "sendrecv");
});

test("media that are added and removed without end have few sections", async () => {
  const { group, connections } = await joinWith(1);
  const [connection] = connections;
  for (let round = 0; round < 50; round++) {
    const stream = streamOf("audio", "video");
    group.addStream(stream);
    assert.deepEqual(connection.sentTracks, stream.getTracks());
    if (round % 3) await connection.negotiate();
    group.removeStream(stream);
    if (round % 2) await connection.negotiate();
    assert(connection.getTransceivers().length <= 8);
  }
});

test("section that the other side sends in, or may begin to send in, is not stopped", async () => {
  const { group, connections } = await joinWith(1);
  const [connection] = connections;
  const streams = Array.from({ length: 3 }, () => streamOf("video"));
  for (const stream of streams.slice(0, 2)) group.addStream(stream);
  await connection.negotiate();
  for (const stream of streams.slice(0, 2)) group.removeStream(stream);
  await connection.negotiate();
  const [audio, first, second] = connection.getTransceivers();
  first.currentDirection = "recvonly";
  group.addStream(streams[2]);
  assert(second.isStopping, "nobody sends in it");
  assert(!first.isStopping && !audio.isStopping);
});

test("section whose track was removed before it was negotiated is used again", async () => {
  const { group, connections } = await joinWith(1);
  const [connection] = connections;
  group.addStream(streamOf("audio"));
  await connection.negotiate();
  const camera = streamOf("video 1");
  group.addStream(camera);
  group.removeStream(camera);
  group.addStream(streamOf("audio 2"));
  assert(connection.transceivers.every(({ isStopping }) => !isStopping));
  const screen = streamOf("video 2");
  group.addStream(screen);
  assert(connection.sentTracks.includes(screen.getTracks()[0]));
  assert.equal(connection.transceivers.filter(({ kind }) => kind === "video").length, 1);
});

test("track whose section the other side stopped is sent again, but a removed one is not", async () => {
  const { group, connections } = await joinWith(1);
  const [connection] = connections;
  const [camera, screen] = [streamOf("video 1"), streamOf("video 2")];
  group.addStream(camera);
  group.addStream(screen);
  const [replacement] = streamOf("video 3").getTracks();
  await group.replaceTrack(camera.getTracks()[0], replacement);
  for (const it of connection.getTransceivers()) it.isStopped = true;
  group.removeStream(screen); // of a sender that has stopped
  connection.signalingState = "have-remote-offer";
  connection.onsignalingstatechange();
  assert.deepEqual(connection.sentTracks, []);
  for (let times = 0; times < 2; times++) await connection.negotiate();
  assert.deepEqual(connection.sentTracks, [replacement]);
});

test("track of several streams is sent as long as one of them is", async () => {
  const { group, connections } = await joinWith(2);
  const [camera, share] = [streamOf("audio", "video 1"), streamOf("video 2")];
  const [microphone] = camera.getTracks();
  const both = { getTracks: () => [microphone, ...share.getTracks()] };
  group.addStream(camera, { to: X });
  group.addStream(both);
  const sentTo = (index) => new Set(connections[index].sentTracks);
  assert.deepEqual(sentTo(0), new Set([...camera.getTracks(), ...share.getTracks()]));
  assert.deepEqual(sentTo(1), new Set(both.getTracks()));
  group.removeStream(camera);
  for (const index of [0, 1]) assert.deepEqual(sentTo(index), new Set(both.getTracks()));
  for (const { transceivers } of connections) {
    const { stream } = transceivers.find(({ sender }) => sender.track === microphone);
    assert.equal(stream, both, "it moves to the other stream");
  }
  group.removeStream(both);
  for (const index of [0, 1]) assert.deepEqual(sentTo(index), new Set());
});

test("track that is replaced and removed at the same time is not sent", async () => {
  const { group, connections } = await joinWith(1);
  const [camera, other] = [streamOf("video 1"), streamOf("video 2")];
  group.addStream(camera);
  const replaced = group.replaceTrack(...camera.getTracks(), ...other.getTracks());
  group.removeStream(camera);
  await replaced;
  assert.deepEqual(connections[0].sentTracks, []);
  group.addStream(other);
  assert.deepEqual(connections[0].sentTracks, other.getTracks());
});

test("last one of several replacements at once is sent", async () => {
  const { group, connections } = await joinWith(1);
  const camera = streamOf("video 1");
  const [[first], [second], [third]] = [camera, streamOf("video 2"), streamOf("video 3")].map((it) => it.getTracks());
  group.addStream(camera);
  await Promise.all([group.replaceTrack(first, second), group.replaceTrack(second, third)]);
  assert.deepEqual(connections[0].sentTracks, [third]);
  await Promise.all([group.replaceTrack(third, first), group.replaceTrack(first, third)]);
  assert.deepEqual(connections[0].sentTracks, [third]);
});

test("section that another track uses while a removed one replaces its own keeps the other one", async () => {
  const { group, connections } = await joinWith(1);
  const [camera, other, third] = ["video 1", "video 2", "video 3"].map((name) => streamOf(name));
  group.addStream(camera);
  const replaced = group.replaceTrack(...camera.getTracks(), ...other.getTracks());
  group.removeStream(camera);
  group.addStream(third);
  await replaced;
  assert.deepEqual(connections[0].sentTracks, third.getTracks());
});

test("track that is being replaced, or could not be replaced, can be sent in another stream", async () => {
  for (const fails of [false, true]) {
    install();
    const { group, connections } = await joinWith(1);
    const [camera, screen] = [streamOf("video 1"), streamOf("video 2")];
    group.addStream(camera);
    const { sender } = connections[0].getTransceivers().find((it) => it.sender.track);
    if (fails) {
      sender.replaceTrack = async () => {
        throw new DOMException("it needs a new negotiation", "InvalidModificationError");
      };
    }
    const replaced = group.replaceTrack(...camera.getTracks(), ...screen.getTracks());
    const second = { getTracks: () => camera.getTracks() };
    if (!fails) group.addStream(second);
    await (fails ? assert.rejects(replaced, { name: "InvalidModificationError" }) : replaced);
    if (fails) group.addStream(second);
    const senders = connections[0].getTransceivers().filter((it) => it.sender.track);
    assert.equal(senders.find(({ stream }) => stream === second).sender.track, camera.getTracks()[0]);
    assert.equal(senders.length, 2);
  }
});

test("replacement of a track ends if the connection closes meanwhile, and rejects after 10 s if it hangs", async () => {
  for (const isClosed of [true, false]) {
    install();
    const { group, connections } = await joinWith(1);
    const camera = streamOf("video 1");
    group.addStream(camera);
    const [transceiver] = connections[0].getTransceivers().filter(({ sender }) => sender.track);
    transceiver.sender.replaceTrack = () => new Promise(() => {}); // as in Firefox
    const replaced = group.replaceTrack(...camera.getTracks(), ...streamOf("video 2").getTracks());
    replaced.catch(() => {});
    if (isClosed) for (const it of connections[0].getTransceivers()) it.isStopped = true;
    await advance(10_100);
    if (isClosed) await replaced;
    else await assert.rejects(replaced, { name: "TimeoutError" });
  }
});

test("track is sent again at most 3 times to a peer that rejects each section", async () => {
  const { group, connections } = await joinWith(1);
  const [connection] = connections;
  const camera = streamOf("video");
  group.addStream(camera);
  for (let times = 0; times < 10; times++) await connection.negotiate({ rejects: true });
  assert.equal(connection.transceivers.filter(({ kind }) => kind === "video").length, 4);
  await group.replaceTrack(...camera.getTracks(), ...streamOf("video 2").getTracks());
  group.removeStream(camera);
});

test("stream without live tracks is not one of the peer's streams, and is reported again when it has some", async () => {
  const { group, connections } = await joinWith(1);
  let events = 0;
  group.addEventListener("stream", () => events++);
  const tracks = [];
  const stream = Object.assign(new EventTarget(), { id: "stream", getTracks: () => tracks });
  const [peer] = group.peers.values();
  const add = (readyState) => {
    const track = { readyState };
    tracks.push(track);
    connections[0].ontrack({ track, streams: [stream] });
    return track;
  };
  add("ended"); // of a section that this side has stopped
  assert.deepEqual(peer.streams, []);
  const track = add("live");
  assert.deepEqual(peer.streams, [stream]);
  tracks.splice(tracks.indexOf(track), 1);
  stream.dispatchEvent(new Event("removetrack"));
  assert.deepEqual(peer.streams, []);
  add("live");
  assert.deepEqual(peer.streams, [stream]);
  assert.equal(events, 2);
});

test("stream for some peers goes to no other one, also not later", async () => {
  const { group, connections } = await joinWith(3);
  const stream = streamOf("video");
  group.addStream(stream, { to: X });
  group.addStream(stream, { to: [group.peers.get(X + 1), X + 3] });
  for (let index = 3; index < 5; index++) connections.push(await joiner(X + index, `B${index}`));
  const counts = () => connections.map(({ sentTracks }) => sentTracks.length);
  assert.deepEqual(counts(), [1, 1, 0, 1, 0]);
  group.addStream(stream);
  connections.push(await joiner(X + 5, "CC"));
  assert.deepEqual(counts(), [1, 1, 1, 1, 1, 1]);
  group.addStream(stream, { to: X });
  connections.push(await joiner(X + 6, "CD"));
  assert.deepEqual(counts(), Array(7).fill(1));
});

test("stream for one peer goes to it again when it returns", async () => {
  const { group, connections } = await joinWith(1);
  group.addStream(streamOf("video"), { to: X });
  connections[0].channels[0].onclose();
  await advance(1_000);
  assert.deepEqual((await joiner(X, "A0")).sentTracks.length, 1);
});

test("replaced track is sent to all peers, also to later ones, and removed with its stream", async () => {
  const { group, connections } = await joinWith(2);
  const stream = streamOf("audio", "video 1");
  const [microphone, camera] = stream.getTracks();
  const [screen] = streamOf("video 2").getTracks();
  group.addStream(stream);
  await group.replaceTrack(camera, screen);
  connections.push(await joiner(X + 2, "BB"));
  for (const connection of connections) assert.deepEqual(connection.sentTracks, [microphone, screen]);
  await assert.rejects(group.replaceTrack(camera, screen), TypeError);
  await assert.rejects(group.replaceTrack(screen, microphone), TypeError);
  const other = streamOf("video 3");
  group.addStream(other);
  const error = { name: "TypeError", message: "new track is sent; must not be a track of an added stream" };
  await assert.rejects(group.replaceTrack(screen, other.getTracks()[0]), error);
  group.removeStream(other);
  group.removeStream(stream);
  for (const connection of connections) assert.deepEqual(connection.sentTracks, []);
});
