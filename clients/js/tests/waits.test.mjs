/** Tests that what lives as long as a group keeps no listeners of the waits that are over. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, FakeSocket, install, joinAlone, joiner, nextSocket, settle } from "./fakes.mjs";

const X = 2 ** 31 + 7; // below the id that a group draws, so that its offers never win
const FOLDER = new URL("../src/", import.meta.url);

beforeEach(install);

/** Counts the listeners of all signals that are made from now on. */
function countListeners(context) {
  let count = 0;
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  /** @type {WeakMap<AbortSignal, Set<unknown>>} */ const listeners = new WeakMap();
  const drop = (signal, listener) => {
    if (listeners.get(signal)?.delete(listener)) count--;
  };
  context.mock.method(EventTarget.prototype, "addEventListener", function (type, listener, options) {
    addEventListener.call(this, type, listener, options);
    if (!(this instanceof AbortSignal) || this.aborted) return;
    const known = listeners.get(this) ?? new Set();
    listeners.set(this, known.add(listener));
    count++;
    addEventListener.call(this, "abort", () => drop(this, listener));
    if (options?.signal) addEventListener.call(options.signal, "abort", () => drop(this, listener));
  });
  context.mock.method(EventTarget.prototype, "removeEventListener", function (type, listener, options) {
    removeEventListener.call(this, type, listener, options);
    if (this instanceof AbortSignal) drop(this, listener);
  });
  return () => count;
}

test("sockets that open and close one after another leave no listeners", async (context) => {
  const count = countListeners(context);
  const group = new Group("wss://hub", "room", { iceServers: [] });
  await settle();
  const counts = [];
  for (let round = 0; round < 30; round++) {
    await joinAlone();
    await FakeSocket.last.closeWith(1006);
    await nextSocket();
    counts.push(count());
  }
  assert(counts.at(-1) <= counts[1], `${counts}`);
  group.leave();
  await settle();
  assert(count() <= 1, `${count()} listeners after leaving`);
});

test("neighbours that come and go, and members that do not answer, leave no listeners", async (context) => {
  const count = countListeners(context);
  new Group("wss://hub", "room", { iceServers: [] });
  await settle();
  await joinAlone();
  const counts = [];
  for (let round = 0; round < 20; round++) {
    const connection = await joiner(X, "AA");
    await connection.control({ bye: true });
    await advance(600);
    await FakeSocket.last.receive({ connected: false });
    await nextConnect(); // the member does not answer
    await FakeSocket.last.receive({ connected: true });
    counts.push(count());
  }
  assert(counts.at(-1) <= counts[1], `${counts}`);
});

/** Moves the clock until the client sends its next `connect`. */
async function nextConnect() {
  const connects = () => FakeSocket.last.sent.filter(({ connect }) => connect).length;
  const before = connects();
  for (let waited = 0; connects() === before; waited += 100) {
    assert(waited < 45_000, "the client sent no further connect");
    await advance(100);
  }
}

test("promises are raced in one place only, which lives no longer than its race", () => {
  const races = readdirSync(FOLDER).flatMap((name) =>
    readFileSync(new URL(name, FOLDER), "utf8")
      .split("\n")
      .filter((line) => /Promise\.(race|any)\(/.test(line))
      .map(() => name),
  );
  assert.deepEqual(races, ["timing.js"]);
});
