/** Tests the parts of the package that need no browser. */

import assert from "node:assert/strict";
import { test } from "node:test";
import protobuf from "protobufjs";
import { Group, groupUrl, joinGroup } from "../src/index.js";
import { decode, encode } from "../src/wire.js";

// The schema of the hub's messages, for an independent protobuf library.
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Message {
    oneof type { bool heartbeat = 1; Content content = 2; GroupData connect = 3; bool connected = 4; }
  }
  message Content { uint32 senderId = 1; uint32 recipientId = 2; bool lastData = 3; bytes data = 4; }
  message GroupData { uint32 id = 1; repeated uint32 members = 2; }
`);
const Message = root.lookupType("Message");
const bytes = (...values) => Uint8Array.from(values);

const MESSAGES = {
  heartbeat: { heartbeat: true },
  "heartbeat false": { heartbeat: false },
  connected: { connected: true },
  "connected false": { connected: false },
  "connect without members": { connect: { id: 2 ** 32 - 1, members: [] } },
  "connect with members": {
    connect: { id: 2 ** 31, members: [0, 1, 127, 128, 300, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1] },
  },
  "connect with id 0": { connect: { id: 0, members: [0] } },
  content: { content: { senderId: 0, recipientId: 2 ** 31 - 1, lastData: false, data: bytes(1, 2, 3) } },
  "content from a link": {
    content: { senderId: 77, recipientId: 0, lastData: true, data: bytes(...Array(300).keys()) },
  },
  "content without data": { content: { senderId: 0, recipientId: 0, lastData: false, data: bytes() } },
};

for (const [name, message] of Object.entries(MESSAGES)) {
  test(`${name} round-trips, and is compatible with protobufjs`, () => {
    assert.deepEqual(decode(encode(message)), message);
    const decoded = Message.toObject(Message.decode(encode(message)), { defaults: true, oneofs: false });
    for (const [field, value] of Object.entries(message)) assert.deepEqual(plain(decoded[field]), plain(value));
    assert.deepEqual(decode(Uint8Array.from(Message.encode(Message.create(message)).finish())), message);
  });
}

/** Converts Buffer and Uint8Array to arrays, so that equal bytes compare as equal. */
function plain(value) {
  return JSON.parse(
    JSON.stringify(value, (_, inner) =>
      inner?.type === "Buffer" ? inner.data : ArrayBuffer.isView(inner) ? [...inner] : inner,
    ),
  );
}

test("packed, unpacked and mixed members are decoded", () => {
  assert.deepEqual(decode(bytes(26, 6, 16, 5, 18, 2, 6, 7)), { connect: { id: 0, members: [5, 6, 7] } });
});

test("unknown fields of all wire types are skipped", () => {
  const unknown = [0x78, 1, 0x7a, 2, 9, 9, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7d, 1, 2, 3, 4];
  assert.deepEqual(decode(bytes(...unknown, 8, 1, ...unknown)), { heartbeat: true });
  assert.equal(decode(bytes(...unknown)), undefined);
});

test("varints are truncated to 32 bits", () => {
  assert.deepEqual(decode(bytes(26, 6, 8, 0x81, 0x80, 0x80, 0x80, 0x10)), { connect: { id: 1, members: [] } });
  const minusOne = [...Array(9).fill(0xff), 1];
  assert.deepEqual(decode(bytes(26, 11, 8, ...minusOne)), { connect: { id: 2 ** 32 - 1, members: [] } });
});

test("invalid bytes decode to undefined without an exception", () => {
  for (const bad of [
    [],
    [8],
    [0, 1],
    [18, 5, 1],
    [11],
    [10, 1, 1],
    [18, 2, 8],
    [16, 1],
    [8, ...Array(10).fill(0xff), 1],
  ]) {
    const message = decode(bytes(...bad));
    assert(message === undefined || "heartbeat" in message, `${bad}`);
  }
  for (let round = 0; round < 20_000; round++) {
    decode(Uint8Array.from({ length: round % 40 }, () => Math.random() * 256));
  }
});

test("decoded data does not alias the input buffer", () => {
  const wire = encode(MESSAGES.content);
  const { content } = decode(wire);
  wire.fill(0);
  assert.deepEqual(content.data, bytes(1, 2, 3));
});

test("key is one path segment after the mount and before the query", () => {
  assert.equal(groupUrl("ws://host:1", "key"), "ws://host:1/key");
  assert.equal(groupUrl("wss://host/signal/", "a/b c?#ü"), "wss://host/signal/a%2Fb%20c%3F%23%C3%BC");
  assert.equal(groupUrl("https://host/signal?token=x#y", "key"), "wss://host/signal/key?token=x");
  assert.equal(groupUrl(new URL("http://host/"), "key", true), "ws://host/key?favored");
  assert.equal(groupUrl("ws://host/?token=x", "key", true), "ws://host/key?token=x&favored");
  assert.equal(groupUrl("ws://host", "%2e"), "ws://host/%252e");
  assert.equal(groupUrl("ws://host", "\uD83D\uDE00"), "ws://host/%F0%9F%98%80");
});

test("key that is empty, longer than 512 bytes, a dot segment or not Unicode throws TypeError", () => {
  for (const key of ["", ".", "..", "ü".repeat(257), "a\uD83D", "\uDE00b"]) assert.throws(() => groupUrl("ws://host", key), TypeError);
  assert.equal(groupUrl("ws://host", "ü".repeat(256)), `ws://host/${"%C3%BC".repeat(256)}`);
});

test("URL that is neither ws:, wss:, http: nor https: throws TypeError", () => {
  for (const url of ["ftp://host", "file:///signal", "blob:https://host/1", "data:,"]) {
    assert.throws(() => groupUrl(url, "key"), { name: "TypeError", message: /must be ws:, wss:, http: or https:/ });
  }
});

test("new Group throws TypeError for an invalid key, URL or option, and joinGroup rejects with it", async () => {
  for (const [url, key, options] of [
    ["ws://host", ""],
    ["ws://host", "x".repeat(513)],
    ["ws://host", ".."],
    ["ws://host", 5],
    ["ws://host"],
    ["http://", "key"],
    ["http://", () => "key"],
    ["/relative", "key"],
    ["ftp://host", "key"],
    [undefined, "key"],
    ["ws://host", "key", { maxPeers: 0 }],
    ["ws://host", "key", { metadata: () => {} }],
    ["ws://host", "key", { channels: { "": {} } }],
    ["ws://host", "", { signal: AbortSignal.abort() }],
  ]) {
    assert.throws(() => new Group(url, key, options), TypeError);
    await assert.rejects(joinGroup(url, key, options), TypeError);
  }
});

test("join without WebRTC rejects with NotSupportedError, and no rejection is unhandled", async () => {
  const unhandled = [];
  process.on("unhandledRejection", (error) => unhandled.push(error));
  const group = new Group("ws://host", "key");
  assert.equal(group.state, "left");
  assert(group.id >= 2 ** 31 && group.id < 2 ** 32);
  await assert.rejects(joinGroup("ws://host", "key"), { name: "NotSupportedError" });
  await new Promise(setImmediate);
  assert.deepEqual(unhandled, []);
});
