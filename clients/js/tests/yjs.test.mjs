/** Tests the Yjs provider: groups without a network, in which each pair of peers is connected or not. */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { mock, test } from "node:test";
import fc from "fast-check";
import "./property_seed.mjs";
import * as Y from "yjs";
import { Group } from "../src/index.js";
import { MessageKind } from "../yjs/message_kind.js";
import { YjsProvider } from "../yjs/index.js";

/** The errors that were reported to the page. */
const reported = [];
globalThis.reportError = (error) => reported.push(error);

/** One peer's group, as far as a provider uses it. */
class FakeGroup extends EventTarget {
  peers = new Map();
  sent = [];
  /** Set to hold messages back, as a slow channel does. @type {Promise<void> | undefined} */ gate;
  /** How many of the next messages exceed the limit of queued bytes. */ rejections = 0;

  constructor(id, channels = ["yjs"]) {
    super();
    this.id = id;
    this.channels = channels;
  }

  async send(data, { to, channel }) {
    return this.#send(data, [to].flat(), channel);
  }

  async #send(data, [to], channel) {
    if (!to) return 0;
    if (this.rejections > 0) {
      this.rejections--;
      throw new DOMException("full", "QuotaExceededError");
    }
    await this.gate;
    const other = to.group;
    if (this.peers.get(other.id) !== to || !other.channels.includes(channel)) return 0;
    this.sent.push({ to: other.id, kind: data[0], length: data.length });
    const bytes = data.slice().buffer;
    queueMicrotask(() => other.emit("message", { peer: other.peers.get(this.id), data: bytes, channel }));
    return 1;
  }

  emit(type, properties) {
    if (properties.peer) this.dispatchEvent(Object.assign(new Event(type), properties));
  }
}

/** A group throws for unknown channels before it returns a promise. */
FakeGroup.prototype.send = new Proxy(FakeGroup.prototype.send, {
  apply(send, group, [data, options]) {
    if (!group.channels.includes(options.channel)) throw new TypeError("unknown channel");
    return Reflect.apply(send, group, [data, options]);
  },
});

const view = (owner, group) => ({
  id: group.id,
  group,
  get neighbours() {
    return [...group.peers.values()].map(({ id }) => ({ id }));
  },
});

function connect(a, b) {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ]) {
    const peer = view(one, other);
    one.peers.set(other.id, peer);
    one.emit("peerjoin", { peer });
  }
}

function disconnect(a, b) {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ]) {
    const peer = one.peers.get(other.id);
    one.peers.delete(other.id);
    one.emit("peerleave", { peer });
  }
}

async function settle() {
  for (let turn = 0; turn < 20; turn++) await setImmediate();
}

const providers = [];
test.afterEach(() => {
  for (const provider of providers.splice(0)) provider.destroy();
  assert.deepEqual(reported.splice(0), []);
});

function peer(id, { text = "", channels } = {}) {
  const group = new FakeGroup(id, channels);
  const doc = new Y.Doc();
  if (text) doc.getText().insert(0, text);
  const provider = new YjsProvider(group, doc);
  providers.push(provider);
  return { group, doc, provider, text: () => doc.getText().toString(), states: () => provider.awareness.getStates() };
}

test("peers that meet exchange what the other one does not have", async () => {
  const [a, b] = [peer(1, { text: "a" }), peer(2, { text: "b" })];
  connect(a.group, b.group);
  await Promise.all([a.provider.synced, b.provider.synced]);
  assert.equal(a.text(), b.text());
  assert.equal([...a.text()].sort().join(""), "ab");
});

test("peer whose provider is created after it joined the group gets and gives everything", async () => {
  const a = peer(1, { text: "a" });
  const group = new FakeGroup(2);
  connect(a.group, group);
  await settle(); // the query of the first peer is lost
  const doc = new Y.Doc();
  doc.getText().insert(0, "b");
  const provider = new YjsProvider(group, doc);
  providers.push(provider);
  provider.awareness.setLocalState({ name: "late" });
  await settle();
  assert.equal(doc.getText().toString(), a.text());
  assert.equal(a.text().length, 2);
  assert.deepEqual(a.states().get(doc.clientID), { name: "late" });
});

test("changes are sent once to each neighbour of a full mesh", async () => {
  const [a, b, c] = [peer(1), peer(2), peer(3)];
  connect(a.group, b.group);
  connect(a.group, c.group);
  connect(b.group, c.group);
  await settle();
  for (const { group } of [a, b, c]) group.sent.length = 0;
  a.doc.getText().insert(0, "x");
  await settle();
  assert.deepEqual([b.text(), c.text()], ["x", "x"]);
  assert.deepEqual(a.group.sent.map(({ to, kind }) => [to, kind]), [
    [2, MessageKind.UPDATE],
    [3, MessageKind.UPDATE],
  ]);
  assert.deepEqual([...b.group.sent, ...c.group.sent], []);
});

test("peer passes changes on to a peer that their sender is not connected to", async () => {
  const [a, b, c] = [peer(1), peer(2), peer(3)];
  connect(a.group, b.group);
  connect(b.group, c.group);
  await settle();
  a.doc.getText().insert(0, "x");
  a.provider.awareness.setLocalState({ name: "a" });
  await settle();
  assert.equal(c.text(), "x");
  assert.deepEqual(c.states().get(a.doc.clientID), { name: "a" });
  disconnect(a.group, b.group);
  await settle();
  assert.equal(b.states().has(a.doc.clientID), false);
  assert.equal(c.states().has(a.doc.clientID), false);
});

test("awareness of a peer that one neighbour lost stays at the others", async () => {
  const [a, b, c] = [peer(1), peer(2), peer(3)];
  connect(a.group, b.group);
  connect(a.group, c.group);
  connect(b.group, c.group);
  c.provider.awareness.setLocalState({ name: "c" });
  await settle();
  disconnect(a.group, c.group);
  await settle();
  assert.equal(a.states().has(c.doc.clientID), false);
  assert.deepEqual(b.states().get(c.doc.clientID), { name: "c" });
});

test("changes for a slow peer are merged into one message", async () => {
  const [a, b] = [peer(1), peer(2)];
  connect(a.group, b.group);
  await settle();
  a.group.sent.length = 0;
  let open;
  a.group.gate = new Promise((resolve) => (open = resolve));
  for (let nth = 0; nth < 100; nth++) a.doc.getText().insert(nth, "x");
  a.group.gate = undefined;
  open();
  await settle();
  assert.equal(b.text(), "x".repeat(100));
  assert.equal(a.group.sent.length, 2);
});

test("message that the group does not accept is sent again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [a, b] = [peer(1), peer(2)];
  connect(a.group, b.group);
  await settle();
  a.group.rejections = 2;
  a.doc.getText().insert(0, "x");
  for (let nth = 0; nth < 3; nth++) {
    await settle();
    assert.equal(b.text(), nth < 2 ? "" : "x");
    t.mock.timers.tick(500);
  }
});

test("invalid message is reported, and later ones are handled", async () => {
  const [a, b] = [peer(1), peer(2)];
  connect(a.group, b.group);
  await settle();
  const other = a.group.peers.get(2);
  for (const bytes of [[MessageKind.UPDATE, 255, 255, 255], [MessageKind.AWARENESS, 9], [MessageKind.QUERY, 200], [99, 1], []]) {
    a.group.emit("message", { peer: other, data: Uint8Array.from(bytes).buffer, channel: "yjs" });
  }
  a.group.emit("message", { peer: other, data: "text", channel: "yjs" });
  a.group.emit("message", { peer: other, data: Uint8Array.of(MessageKind.UPDATE, 255).buffer, channel: undefined });
  assert.equal(reported.splice(0).length, 3);
  b.doc.getText().insert(0, "x");
  await settle();
  assert.equal(a.text(), "x");
});

test("destroy tells the other peers, and ends the exchange", async () => {
  const [a, b] = [peer(1), peer(2)];
  connect(a.group, b.group);
  a.provider.awareness.setLocalState({ name: "a" });
  await settle();
  assert.equal(b.states().size, 2);
  a.provider.destroy();
  a.provider.destroy();
  await settle();
  assert.equal(b.states().size, 1);
  assert.equal(a.states().size, 0);
  b.doc.getText().insert(0, "x");
  a.doc.getText().insert(0, "y");
  await settle();
  assert.deepEqual([a.text(), b.text()], ["y", "x"]);
});

test("destroyed document ends its provider", async () => {
  const [a, b] = [peer(1), peer(2)];
  connect(a.group, b.group);
  await settle();
  a.doc.destroy();
  b.doc.getText().insert(0, "x");
  await settle();
  assert.equal(a.text(), "");
});

test("channel that the group does not have is a TypeError", () => {
  assert.throws(() => new YjsProvider(new FakeGroup(1, []), new Y.Doc()), TypeError);
});

test("channel that is unordered or not reliable is a TypeError that names it", () => {
  for (const options of [{ ordered: false }, { maxRetransmits: 3 }, { maxPacketLifeTime: 0 }]) {
    const group = new Group("ws://host", "room", { channels: { notes: options, yjs: {} } });
    assert.throws(() => new YjsProvider(group, new Y.Doc(), { channel: "notes" }), {
      name: "TypeError",
      message: "channel notes may lose or reorder messages; must be ordered and reliable",
    });
    new YjsProvider(group, new Y.Doc()).destroy();
  }
});

test("destroy rejects synced with AbortError, unless the content has arrived", async () => {
  const [a, b, c] = [peer(1), peer(2), peer(3)];
  connect(a.group, b.group);
  await settle();
  for (const { provider } of [a, c]) provider.destroy();
  await a.provider.synced;
  await assert.rejects(c.provider.synced, { name: "AbortError" });
});

test("documents are the same after any changes, while any path connects the peers", async () => {
  const PEERS = 4;
  const pair = fc.tuple(fc.nat(PEERS - 1), fc.nat(PEERS - 1)).filter(([a, b]) => a !== b);
  const step = fc.oneof(
    fc.record({ edit: fc.nat(PEERS - 1), at: fc.nat(20) }),
    fc.record({ remove: fc.nat(PEERS - 1), at: fc.nat(20) }),
    fc.record({ link: pair }),
    fc.record({ cut: pair }),
    fc.record({ wait: fc.nat(2) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const peers = Array.from({ length: PEERS }, (_, nth) => peer(nth + 1));
      for (const { provider } of peers) provider.awareness.setLocalState({}); // the initial state is not sent
      const linked = ([a, b]) => peers[a].group.peers.has(b + 1);
      for (const { edit, remove, at, link, cut, wait = 0 } of steps) {
        const text = peers[edit ?? remove]?.doc.getText();
        if (edit !== undefined) text.insert(Math.min(at, text.length), String(edit));
        else if (remove !== undefined && at < text.length) text.delete(at, 1);
        if (link && !linked(link)) connect(...link.map((nth) => peers[nth].group));
        if (cut && linked(cut)) disconnect(...cut.map((nth) => peers[nth].group));
        for (let turn = 0; turn < wait; turn++) await setImmediate();
      }
      for (let nth = 1; nth < PEERS; nth++) if (!linked([0, nth])) connect(peers[0].group, peers[nth].group);
      await settle();
      for (const other of peers) {
        assert.equal(other.text(), peers[0].text());
        assert.equal(other.states().size, PEERS);
      }
      for (const { provider } of peers) provider.destroy();
      await settle();
    }),
    { numRuns: 100 },
  );
});
