/** Tests the rules for input that others control, with random input. A failure prints the input that caused it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "./property_seed.mjs";
import { Assembler, split, toBytes } from "../src/framing.js";
import { groupUrl } from "../src/signaling.js";
import { backOff, jitter, RateLimit } from "../src/timing.js";
import { isSignal, readControl, readFingerprint, readReject, readSignal, readVersion } from "../src/untrusted.js";
import { decode, encode } from "../src/wire.js";
import { advance, install } from "./fakes.mjs";

const check = (property, options) => fc.assert(property, { numRuns: 500, includeErrorInReport: true, ...options });
const FULL = 16 * 1024;
const TEXT = 1;
const LAST = 2;

const uint32 = fc.nat({ max: 2 ** 32 - 1 });
const link = fc.oneof(uint32, fc.nat({ max: 300 }));
const bytes = (max) => fc.uint8Array({ maxLength: max });
const record = (fields, options) => fc.record(fields, { noNullPrototype: true, ...options });
const message = fc.oneof(
  record({ heartbeat: fc.boolean() }),
  record({ connected: fc.boolean() }),
  record({ connect: record({ id: uint32, members: fc.array(link) }) }),
  record({ content: record({ senderId: link, recipientId: link, lastData: fc.boolean(), data: bytes(400) }) }),
);

// ---- Messages of the hub --------------------------------------------------------------------------------------------

test("every message of the hub decodes to itself", () => {
  check(fc.property(message, (it) => assert.deepEqual(decode(encode(it)), it)));
});

test("no bytes make the decoder throw, and what it returns is a message", () => {
  const changed = fc
    .tuple(message, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }), fc.nat())
    .map(([it, changes, cut]) => {
      const encoded = encode(it);
      for (const [position, byte] of changes) if (encoded.length) encoded[position % encoded.length] = byte;
      return cut % 3 ? encoded : encoded.subarray(0, cut % (encoded.length + 1));
    });
  check(
    fc.property(fc.oneof(bytes(60), changed), (it) => {
      const decoded = decode(it);
      if (decoded === undefined) return;
      assert.equal(Object.keys(decoded).length, 1);
      assert.deepEqual(decode(encode(decoded)), decoded);
    }),
    { numRuns: 5_000 },
  );
});

test("every key that is accepted is the last segment of the path", () => {
  check(
    fc.property(fc.string({ unit: "grapheme" }), fc.boolean(), (key, favored) => {
      const isValid = key !== "" && key !== "." && key !== ".." && new TextEncoder().encode(key).length <= 512;
      if (!isValid) return assert.throws(() => groupUrl("wss://host/signal", key), TypeError);
      const url = new URL(groupUrl("wss://host/signal", key, favored));
      assert.equal(decodeURIComponent(url.pathname), `/signal/${key}`);
      assert.equal(url.pathname.split("/").length, 3);
    }),
  );
});

// ---- Pieces ---------------------------------------------------------------------------------------------------------

/** Data whose length is often near the limits of the pieces. */
const data = fc.oneof(
  fc.string({ unit: "binary" }),
  bytes(100),
  fc
    .tuple(fc.nat({ max: 3 }), fc.integer({ min: -2, max: 2 }), fc.nat({ max: 255 }))
    .map(([pieces, more, byte]) => new Uint8Array(Math.max(0, pieces * FULL + more)).fill(byte)),
);

test("every message is the same after it was split and joined", () => {
  check(
    fc.property(fc.array(data, { maxLength: 4 }), (all) => {
      const assembler = new Assembler();
      for (const it of all) {
        const pieces = [...split(toBytes(it), typeof it === "string")];
        const results = pieces.map((piece) => assembler.add(piece));
        const joined = results.pop();
        assert(results.every((result) => result === undefined));
        if (typeof it === "string") assert.equal(joined, it.toWellFormed?.() ?? joined);
        else assert.deepEqual(new Uint8Array(joined), it);
        for (const [index, piece] of pieces.entries()) {
          assert(piece.length === 1 + FULL || (index === pieces.length - 1 && piece.length <= FULL));
        }
      }
    }),
    { numRuns: 200 },
  );
});

test("an assembler keeps full pieces only, whatever it receives", () => {
  const length = fc.constantFrom(0, 1, FULL - 1, FULL, FULL + 1);
  check(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 255 }), length), { maxLength: 8 }), (pieces) => {
      const assembler = new Assembler();
      let kept = 0;
      for (const [flags, length] of pieces) {
        const piece = new Uint8Array(1 + length).fill(97);
        piece[0] = flags;
        const isLast = (flags & LAST) !== 0;
        const isValid = isLast ? length <= FULL : length === FULL;
        const result = assembler.add(piece);
        if (!isValid) return assert.equal(result, null);
        kept += length;
        if (!isLast) {
          assert.equal(result, undefined);
          continue;
        }
        assert.equal(typeof result === "string", (flags & TEXT) !== 0);
        assert.equal(result.length ?? result.byteLength, kept);
        kept = 0;
      }
    }),
  );
});

// ---- JSON of other peers --------------------------------------------------------------------------------------------

const json = fc.jsonValue({ maxDepth: 3 });
const orJson = (arbitrary) => fc.oneof({ weight: 3, arbitrary }, json);
const description = record({ type: orJson(fc.constantFrom("offer", "answer")), sdp: orJson(fc.string()) });
const candidate = record({ candidate: orJson(fc.string()), sdpMid: json });
const signal = record(
  {
    from: orJson(uint32),
    to: orJson(uint32),
    negotiationId: orJson(uint32),
    members: orJson(fc.array(orJson(uint32))),
    description: orJson(description),
    candidate: orJson(candidate),
    restart: orJson(fc.boolean()),
    reject: orJson(fc.string()),
  },
  { requiredKeys: [] },
);
const control = record(
  {
    hello: orJson(record({ v: orJson(fc.integer()), metadata: json, channels: orJson(fc.array(orJson(fc.string()))) })),
    metadata: json,
    near: orJson(fc.array(orJson(fc.tuple(orJson(uint32), orJson(fc.double()))))),
    ping: orJson(fc.double()),
    pong: orJson(fc.double()),
    relay: orJson(signal),
    description: orJson(description),
    candidate: orJson(candidate),
    bye: orJson(fc.constant(true)),
  },
  { requiredKeys: [] },
);

const isUint32 = (it) => Number.isInteger(it) && it >= 0 && it < 2 ** 32;

function assertSignal({ from, to, negotiationId, members, description, restart, candidate }) {
  assert(isUint32(from) && from !== 0 && isUint32(to) && isUint32(negotiationId));
  assert(members === undefined || members.every(isUint32));
  assertDescription(description);
  assert([undefined, true, false].includes(restart));
  assert(candidate === undefined || typeof candidate.candidate === "string");
}

function assertDescription(description) {
  if (description === undefined) return;
  assert(typeof description.type === "string" && typeof description.sdp === "string");
  readFingerprint(description);
  assert(readVersion(description) >= 0);
}

test("every signal that is accepted has the types of the protocol, and no other one makes the reader throw", () => {
  let accepted = 0;
  check(
    fc.property(fc.oneof(signal, json), (it) => {
      const read = readSignal(new TextEncoder().encode(JSON.stringify(it)));
      assert.equal(read !== undefined, isSignal(JSON.parse(JSON.stringify(it))));
      if (!read) return;
      accepted++;
      assertSignal(read);
    }),
    { numRuns: 3_000 },
  );
  assert(accepted > 20, `${accepted} accepted`);
  check(fc.property(bytes(50), (it) => assert.equal(readSignal(it), undefined)));
});

test("every control message is invalid, ignored, or has one key with the type of the protocol", () => {
  check(
    fc.property(fc.oneof(control, json), (it) => {
      const read = readControl(JSON.stringify(it));
      assert(Object.keys(read).length <= 1);
      const { hello, near, ping, pong, relay, description, candidate, bye } = read;
      if (hello) {
        assert(Number.isInteger(hello.v) && hello.v >= 1 && hello.channels.length <= 16);
        assert.equal(new Set(hello.channels).size, hello.channels.length);
        for (const name of hello.channels) assert(typeof name === "string" && name.length >= 1 && name.length <= 64);
      }
      for (const entry of near ?? []) {
        assert(isUint32(entry.id) && entry.id !== 0);
        assert(["number", "undefined"].includes(typeof entry.roundTripTime));
      }
      for (const number of [ping, pong]) assert(number === undefined || typeof number === "number");
      if (relay) assertSignal(relay);
      assertDescription(description);
      if (candidate) assert.equal(typeof candidate.candidate, "string");
      assert([undefined, true].includes(bye));
    }),
    { numRuns: 3_000 },
  );
  check(fc.property(fc.string(), (it) => assert(readControl(it))));
});

test("a description has a fingerprint only if all its lines agree", () => {
  const pair = fc.nat({ max: 255 }).map((byte) => byte.toString(16).padStart(2, "0"));
  const hex = fc.array(pair, { minLength: 32, maxLength: 32 }).map((pairs) => pairs.join(":"));
  const other = fc.string({ unit: "grapheme-ascii" }).filter((it) => !/fingerprint/i.test(it));
  const line = (it) => `a=fingerprint:sha-256 ${it}`;
  check(
    fc.property(hex, hex, fc.array(other), fc.boolean(), (first, second, others, twice) => {
      const sdp = [...others, line(first), line(first.toUpperCase())].join("\r\n");
      assert.equal(readFingerprint({ sdp }), first.toUpperCase());
      const changed = [sdp, twice ? line(second) : `a=fingerprint:sha-1 ${second}`].join("\n");
      assert.equal(readFingerprint({ sdp: changed }), twice && first === second ? first.toUpperCase() : undefined);
    }),
  );
  check(fc.property(fc.string(), (sdp) => assert.equal(readFingerprint({ sdp }), undefined)));
});

test("every reason of a rejection is a known one", () => {
  const known = ["present", "glare", "same-id", "busy", "full", "gone", "left", "peer-timeout", "ended", "ice-failed"];
  known.push("invalid");
  const reason = fc.oneof(fc.constantFrom(...known, "lost"), json);
  check(fc.property(reason, (it) => assert(known.includes(readReject(it)))));
});

// ---- Time -----------------------------------------------------------------------------------------------------------

test("back-off is between 50 % and 100 % of the doubled minimum, and at most the maximum", () => {
  const [min, max] = [fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1_000, max: 60_000 })];
  check(
    fc.property(min, max, fc.nat({ max: 2_000 }), (min, max, failures) => {
      const full = Math.min(max, min * 2 ** failures);
      const delay = backOff(min, max, failures);
      assert(delay >= full / 2 && delay <= full, `${delay} of ${full}`);
      assert(jitter(max) >= max / 2 && jitter(max) <= max);
    }),
  );
});

test("a rate limit passes no more than its burst and its rate, and passes again after its delay", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 200 }),
      fc.array(fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 50 })), { maxLength: 20 }),
      async (rate, burst, rounds) => {
        install();
        const limit = new RateLimit(rate, burst);
        let [passed, time] = [0, 0];
        for (const [pause, calls] of rounds) {
          await advance(pause);
          time += pause;
          for (let call = 0; call < calls; call++) if (limit.take()) passed++;
          assert(passed <= burst + (time / 1000) * rate + 1e-6, `${passed} in ${time} ms`);
        }
        while (limit.take());
        const { delay } = limit;
        assert(delay >= 0 && delay <= Math.ceil(1000 / rate));
        await advance(delay);
        assert(limit.take());
      },
    ),
    { numRuns: 30 },
  );
});
