/** Tests what the package does when the hub closes its connection, and how it asks for keys. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group, joinGroup } from "../src/index.js";
import { advance, FakeSocket, install, joinAlone, joinWith, nextSocket, settle } from "./fakes.mjs";

const LONG = 35_000; // more than the longest back-off
const FINAL = [1002, 1008, 1009, 4000, 4739, 4741, 4743, 4745, 4746, 4999];
const TEMPORARY = [1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014, 4742, 4744];
const OFFLINE = { iceServers: [] }; // these tests are not about the hub's ICE servers

/** Joins a group, and records its events and its outcome. */
function join(key = "room") {
  const group = new Group("ws://hub/signal", key, OFFLINE);
  const events = [];
  group.addEventListener("statechange", ({ state, reason, code, closeReason }) =>
    events.push({ state, reason, code, closeReason }),
  );
  const outcome = { error: undefined };
  group.joined.catch((error) => (outcome.error = error));
  return { group, events, outcome };
}

/** Returns a `key` function that counts its calls, and answers with the values in turn; functions are called. */
function keys(...values) {
  const next = () => {
    const value = values[Math.min(next.calls++, values.length - 1)];
    return typeof value === "function" ? value() : value;
  };
  next.calls = 0;
  return next;
}

const hang = () => new Promise(() => {});
const fail = () => {
  throw new Error("log in first");
};

beforeEach(install);

for (const code of FINAL) {
  test(`${code} before joining is final and rejects with its code and reason`, async () => {
    const { group, events, outcome } = join();
    await settle();
    await FakeSocket.last.open();
    await FakeSocket.last.closeWith(code, "not for you");
    assert.equal(group.state, "left");
    assert.deepEqual(events.at(-1), { state: "left", reason: "rejected", code, closeReason: "not for you" });
    assert.equal(outcome.error.name, "NotAllowedError");
    assert.deepEqual([outcome.error.code, outcome.error.closeReason], [code, "not for you"]);
    assert.match(outcome.error.message, new RegExp(`${code}: not for you`));
    await advance(LONG);
    assert.equal(FakeSocket.all.length, 1);
  });

  test(`${code} after joining is final and closes the mesh`, async () => {
    const { group, events } = join();
    await settle();
    const connection = await joinWith(2 ** 31);
    await FakeSocket.last.closeWith(code, "banned");
    assert.deepEqual(events.at(-1), { state: "left", reason: "rejected", code, closeReason: "banned" });
    await advance(LONG);
    assert.equal(FakeSocket.all.length, 1);
    assert(connection.closed);
    assert.equal(group.peers.size, 0);
  });
}

for (const code of TEMPORARY) {
  test(`${code} is retried before and after joining, and the mesh stays`, async () => {
    const { group, events } = join();
    await settle();
    const isEvicted = code === 4744; // it joins again, as a joiner
    await FakeSocket.last.closeWith(code, "later");
    assert.equal(group.state, isEvicted ? "joining" : "connecting");
    assert.deepEqual([events.at(-1).code, events.at(-1).closeReason], [code, "later"]);
    await nextSocket();
    const connection = await joinWith(2 ** 31);
    await FakeSocket.last.closeWith(code, "again");
    assert.equal(group.state, isEvicted ? "joining" : "reconnecting");
    await nextSocket();
    assert(!connection.closed);
    assert.equal(group.peers.size, 1);
  });
}

test("state without a close has neither code nor close reason", async () => {
  const { events } = join();
  await settle();
  await FakeSocket.last.closeWith(1013, "peer limit reached");
  await nextSocket();
  await joinAlone();
  assert.deepEqual(events.at(-1), { state: "joined", reason: "", code: undefined, closeReason: "" });
});

test("each wait for the next attempt is an event with its time, and so is its end", async () => {
  const { group, events } = join();
  const times = [];
  group.addEventListener("statechange", ({ nextAttempt }) => {
    assert.equal(group.nextAttempt, nextAttempt);
    times.push(nextAttempt);
  });
  await settle();
  assert.equal(group.nextAttempt, undefined);
  for (let count = 0; count < 3; count++) {
    await FakeSocket.last.closeWith(1006);
    const sockets = FakeSocket.all.length;
    assert(group.nextAttempt >= Date.now() + 500 && group.nextAttempt <= Date.now() + 4_000);
    await advance(Math.ceil(group.nextAttempt - Date.now()));
    assert.equal(FakeSocket.all.length, sockets + 1);
    assert.equal(group.nextAttempt, undefined);
  }
  assert.equal(times.length, 6);
  assert(events.every(({ state, reason, code }) => state === "connecting" && reason === "unreachable" && code === 1006));
});

test("retry ends the wait before the next attempt, and has no effect without one", async () => {
  const { group } = join();
  await settle();
  await FakeSocket.last.closeWith(1006);
  group.retry();
  await settle();
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(group.nextAttempt, undefined);
  group.retry();
  await joinAlone();
  group.retry();
  await advance(LONG);
  assert.equal(FakeSocket.all.length, 2);
});

test("retry in the event of the wait ends it", async () => {
  const { group } = join();
  group.addEventListener("statechange", ({ nextAttempt }) => nextAttempt && group.retry());
  await settle();
  await FakeSocket.last.closeWith(1006);
  assert.equal(FakeSocket.all.length, 2);
});

test("wait for a key has the time of the next attempt, and no group that was left has one", async () => {
  const key = keys(fail);
  const { group } = join(key);
  await settle();
  assert.equal(group.reason, "key-failed");
  assert(group.nextAttempt > Date.now());
  group.leave();
  assert.equal(group.nextAttempt, undefined);
  await advance(LONG);
  assert.equal(key.calls, 1);
});

test("events of the waits have the close code of the last socket", async () => {
  const { events } = join();
  await settle();
  for (const code of [1006, 1006, 1013, 1013]) {
    await FakeSocket.last.closeWith(code);
    await nextSocket();
  }
  // Each attempt begins and ends the wait for the next one.
  const codes = events.map(({ code }) => code);
  assert.deepEqual(codes, [1006, 1006, 1006, 1006, 1013, 1013, 1013, 1013]);
});

test("key function is called before every socket", async () => {
  const key = keys("a", async () => "b", "c");
  join(key);
  await settle();
  await FakeSocket.last.closeWith(1006);
  await nextSocket();
  await joinAlone();
  await FakeSocket.last.closeWith(1001);
  await nextSocket();
  assert.deepEqual(
    FakeSocket.all.map(({ url }) => url),
    ["ws://hub/signal/a", "ws://hub/signal/b", "ws://hub/signal/c"],
  );
  assert.equal(key.calls, 3);
});

test("4740 asks for a fresh key and joins with it, and the mesh stays", async () => {
  const key = keys("old", async () => "fresh", "third");
  const { group, events } = join(key);
  await settle();
  const connection = await joinWith(2 ** 31);
  await FakeSocket.last.closeWith(4740, "access has expired");
  assert.deepEqual(events.at(-1), {
    state: "reconnecting",
    reason: "expired",
    code: 4740,
    closeReason: "access has expired",
  });
  await advance(1_000);
  assert.equal(FakeSocket.last.url, "ws://hub/signal/fresh");
  await joinAlone();
  assert.equal(group.state, "joined");
  // The next expiry asks again.
  await FakeSocket.last.closeWith(4740);
  await nextSocket();
  assert.equal(FakeSocket.last.url, "ws://hub/signal/third");
  assert.equal(key.calls, 3);
  assert(!connection.closed);
  assert.equal(group.peers.size, 1);
});

test("4740 for the fresh key is final", async () => {
  for (const joins of [false, true]) {
    install();
    const key = keys("old", "fresh");
    const { group, events, outcome } = join(key);
    await settle();
    if (joins) await joinAlone();
    else await FakeSocket.last.open();
    await FakeSocket.last.closeWith(4740);
    await nextSocket();
    await FakeSocket.last.open();
    await FakeSocket.last.closeWith(4740, "expired again");
    assert.equal(group.state, "left");
    assert.deepEqual(events.at(-1), { state: "left", reason: "rejected", code: 4740, closeReason: "expired again" });
    await advance(LONG);
    assert.equal(key.calls, 2);
    if (!joins) assert.equal(outcome.error.code, 4740);
  }
});

test("4740 is final if the key function fails or does not answer", async () => {
  for (const broken of [fail, async () => fail(), hang]) {
    install();
    const key = keys("old", broken);
    const { group, events, outcome } = join(key);
    await settle();
    await FakeSocket.last.open();
    await FakeSocket.last.closeWith(4740, "access has expired");
    await advance(LONG);
    assert.equal(group.state, "left");
    assert.deepEqual(events.at(-1), {
      state: "left",
      reason: "rejected",
      code: 4740,
      closeReason: "access has expired",
    });
    assert.equal(outcome.error.code, 4740);
    assert.match(outcome.error.cause.message, broken === hang ? /10000 ms/ : /log in first/);
    assert.equal(key.calls, 2);
    assert.equal(FakeSocket.all.length, 1);
  }
});

test("a lost connection does not use up the fresh key of a 4740", async () => {
  const key = keys("old", "fresh", "fresher");
  const { group } = join(key);
  await settle();
  await joinAlone();
  await FakeSocket.last.closeWith(4740);
  await nextSocket();
  await FakeSocket.last.closeWith(1006);
  await nextSocket();
  await joinAlone();
  assert.equal(FakeSocket.last.url, "ws://hub/signal/fresher");
  assert.equal(group.state, "joined");
});

test("4740 is final for a key that is a string", async () => {
  const { group, outcome } = join();
  await settle();
  await FakeSocket.last.open();
  await FakeSocket.last.closeWith(4740, "access has expired");
  assert.equal(group.state, "left");
  assert.equal(outcome.error.code, 4740);
});

test("keys that expire at once do not make a fast loop", async () => {
  const key = keys("short");
  join(key);
  await settle();
  for (let turn = 0; turn < 300; turn++) {
    if (FakeSocket.last.readyState === 0) {
      await joinAlone();
      await FakeSocket.last.closeWith(4740);
    }
    await advance(100);
  }
  assert(key.calls < 10, `${key.calls} keys in 30 s`);
});

test("key function that fails or does not answer is called again later", async () => {
  for (const broken of [fail, async () => fail(), hang]) {
    install();
    const key = keys(broken, "room", broken, "room");
    const { group, events, outcome } = join(key);
    await nextSocket();
    assert(events.some(({ state, reason }) => state === "connecting" && reason === "key-failed"));
    const connection = await joinWith(2 ** 31);
    await FakeSocket.last.closeWith(1001);
    await nextSocket();
    assert(events.some(({ state, reason }) => state === "reconnecting" && reason === "key-failed"));
    await joinAlone();
    assert.equal(group.state, "joined");
    assert.equal(outcome.error, undefined);
    assert(!connection.closed);
  }
});

test("invalid key of a function rejects with TypeError, and the group is left with key-failed", async () => {
  for (const invalid of ["", "x".repeat(513), "..", undefined, null, 5, {}]) {
    install();
    const { group, events, outcome } = join(async () => invalid);
    await settle();
    assert(outcome.error instanceof TypeError);
    assert.deepEqual(events.map(({ state, reason }) => [state, reason]), [["left", "key-failed"]]);
    await advance(LONG);
    assert.equal(FakeSocket.all.length, 0);
  }
});

test("code and closeReason of the group are those of the last statechange", async () => {
  const { group, events } = join("room");
  const view = ({ state, reason, code, closeReason }) => ({ state, reason, code, closeReason });
  const check = (code, closeReason) => {
    assert.deepEqual([group.code, group.closeReason], [code, closeReason]);
    if (events.length) assert.deepEqual(view(group), events.at(-1));
  };
  check(undefined, "");
  await settle();
  await joinAlone();
  await FakeSocket.last.closeWith(1001, "shutdown");
  check(1001, "shutdown");
  await nextSocket();
  await joinAlone();
  check(undefined, "");
  await FakeSocket.last.closeWith(4300, "banned");
  check(4300, "banned");
});

test("invalid URL rejects at once, without a call of the key function", async () => {
  const key = keys("room");
  await assert.rejects(joinGroup("http://", key, OFFLINE), TypeError);
  assert.equal(key.calls, 0);
});

test("group that is left while it waits for a key opens no socket", async () => {
  let answer;
  const { group } = join(() => new Promise((resolve) => (answer = resolve)));
  await settle();
  group.leave();
  answer("room");
  await advance(LONG);
  assert.equal(FakeSocket.all.length, 0);
  assert.equal(group.state, "left");
});
