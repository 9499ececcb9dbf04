/** Checks the package against every entry of the test vectors in `clients/MESH.md`. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { Assembler, split } from "../src/framing.js";
import { Identities } from "../src/identities.js";
import { PendingPeers } from "../src/pending_peers.js";
import { RtcSettings } from "../src/rtc_settings.js";
import { groupUrl } from "../src/signaling.js";
import { RateLimit } from "../src/timing.js";
import { readControl, readFingerprint, readReject, readSignal } from "../src/untrusted.js";
import { decode, encode } from "../src/wire.js";
import { fingerprintOf, install, sdpOf } from "./fakes.mjs";

const PAGE = readFileSync(new URL("../../MESH.md", import.meta.url), "utf8");
const blocks = new Map(
  [...PAGE.matchAll(/^```json vectors=(\w+)\n(.*?)^```$/gms)].map(([, name, json]) => [name, JSON.parse(json)]),
);

const utf8 = new TextEncoder();
const fromHex = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const toHex = (bytes) => Buffer.from(bytes).toString("hex");

/** The checks of each block. */
const CHECKS = {
  url({ base, key, favored, url, error }) {
    if (error) assert.throws(() => groupUrl(base, key, favored), TypeError);
    else assert.equal(groupUrl(base, key, favored), url);
  },

  hub({ hex, message, decodeOnly }) {
    const expected = message?.content
      ? { content: { ...message.content, data: utf8.encode(message.content.data) } }
      : (message ?? undefined);
    assert.deepEqual(decode(fromHex(hex)), expected);
    if (!decodeOnly) assert.equal(toHex(encode(expected)), hex);
  },

  signal({ text, valid }) {
    assert.deepEqual(readSignal(utf8.encode(text)), valid ? JSON.parse(text) : undefined);
  },

  fingerprint({ sdp, fingerprint }) {
    const FP = Array.from({ length: 32 }, (_, byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(":");
    const fill = (text) => text.replaceAll("{FP}", FP).replaceAll("{fp}", FP.toLowerCase()).replaceAll("{GP}", GP);
    const GP = fingerprintOf("AA");
    assert.equal(readFingerprint({ type: "offer", sdp: fill(sdp) }), fingerprint ? fill(fingerprint) : undefined);
  },

  control({ text, repeat, times, effect, value }) {
    const message = readControl(text ?? JSON.stringify({ x: repeat.repeat(times) }));
    if (effect === "invalid") return assert.equal(message, null);
    // The receiver handles the only key, unless its value is `undefined`.
    const [[key, read] = []] = Object.entries(message);
    assert.equal(read === undefined ? "ignored" : key, effect);
    if (value === undefined) return;
    const near = key === "near" && read.map(({ id, roundTripTime }) => [id, roundTripTime ?? null]);
    assert.deepEqual(JSON.parse(JSON.stringify(near || read)), value);
  },

  pieces({ text, bytes, zeros, pieces, invalid, single, decodeOnly }) {
    const all = pieces.map((piece) =>
      typeof piece === "string" ? fromHex(piece) : Uint8Array.from([piece[0], ...Array(piece[1]).fill(0)]),
    );
    const assembler = new Assembler(single);
    const results = all.map((piece) => assembler.add(piece));
    if (invalid) return assert.equal(results.at(-1), null);
    const whole = text === undefined ? (bytes === undefined ? new Uint8Array(zeros) : fromHex(bytes)) : utf8.encode(text);
    if (!decodeOnly) assert.deepEqual([...split(whole, text !== undefined)], all);
    assert.deepEqual(results.at(-1), text ?? whole.buffer);
    assert(results.slice(0, -1).every((it) => it === undefined));
  },

  reject({ reject, reason }) {
    assert.equal(readReject(reject), reason);
  },

  offer({ id, from, owned, open, pending, members = [], full, free, reject }) {
    const identities = new Identities();
    identities.id = id;
    if (owned) identities.learn(from, fingerprintOf(owned === "same" ? "AA" : "BB"));
    const other = { id: 5, age: 60_000, limits: { offers: new RateLimit(4, 32) } };
    const neighbours = new Map([[5, other]]);
    const fingerprint = fingerprintOf(owned === "other" ? "BB" : "AA");
    if (open !== undefined) neighbours.set(from, { id: from, age: open * 1_000, fingerprint });
    const settings = new RtcSettings({ iceServers: [], maxPeers: full ? neighbours.size : 100 });
    const none = () => {};
    const events = { hello: () => ({}), opened: none, met: none, closed: none, control: none, message: none };
    const peers = new PendingPeers(identities, neighbours, settings, events);

    const signals = [];
    const route = { send: none, end: (signal) => signals.push(signal), relay: other.id };
    const receive = (from, negotiationId, members) => {
      const signal = { from, to: id, negotiationId, members, description: { type: "offer", sdp: sdpOf("AA") } };
      return peers.receive(signal, route);
    };
    if (pending === "own") peers.offer(from, route);
    if (pending === "theirs") receive(from, 1, []);
    if (free === false) for (let count = 0; count < 20; count++) receive(1_000 + count, 1_000 + count, []);
    const connection = receive(from, 2, members);
    assert.equal(connection === undefined, reject !== null);
    const { reject: sent = null } = signals.find((signal) => signal?.negotiationId === 2) ?? {};
    assert.equal(sent, reject);
  },
};

beforeEach(install);

test("every block of the page has a check, and every check a block", () => {
  assert.deepEqual([...blocks.keys()].sort(), Object.keys(CHECKS).sort());
  assert.equal(PAGE.match(/vectors=/g).length, blocks.size);
});

for (const [name, entries] of blocks) {
  test(`${name}: ${entries.length} vectors`, () => {
    assert(entries.length > 5);
    for (const entry of entries) {
      try {
        CHECKS[name](entry);
      } catch (cause) {
        throw new Error(`vector ${JSON.stringify(entry)}: ${cause.message}`, { cause });
      }
    }
  });
}
