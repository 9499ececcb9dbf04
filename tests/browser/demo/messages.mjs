/** Scenarios in which tabs send messages, and in which joins fail. */

import assert from "node:assert/strict";
import { until } from "../chromium.mjs";
import { chats, idOf, LATER, openInTurn } from "./tabs.mjs";

export const messageScenarios = {
  async "chat messages reach all peers, private messages one"(key) {
    const tabs = await openInTurn(key, 3);
    const [first, second, third] = tabs;
    await chats(first, [second, third], "hello from the first");
    await chats(third, [first, second], "and from the third ✓");
    const sent = await first.evaluate((id) => group.send("for the third only", { to: id }), await idOf(third));
    assert.equal(sent, 1);
    await until(third, () => received.some(({ data }) => data === "for the third only"));
    await chats(first, [second], "after that");
    assert(!(await second.evaluate(() => received.some(({ data }) => data === "for the third only"))));
    assert.equal(await first.evaluate(() => group.send("unknown peer", { to: 1 })), 0);
  },

  async "messages of all sizes arrive complete and in order"(key) {
    const tabs = await openInTurn(key, 2);
    const [sender, receiver] = tabs;
    await sender.evaluate(() => {
      const bytes = new Uint8Array(8_000_001).map((_, index) => (index * 7919) >> 3);
      globalThis.sent = Promise.all([
        group.send("x".repeat(16_384)),
        group.send(bytes),
        group.send(bytes.subarray(5, 9)),
        group.send(new ArrayBuffer(0)),
        group.send(""),
        group.send(new DataView(bytes.buffer, 1, 2)),
        group.send("😀".repeat(10_000)),
      ]);
    });
    await until(receiver, () => received.length === 7, undefined, LATER);
    assert.deepEqual(await sender.evaluate(() => sent), [1, 1, 1, 1, 1, 1, 1]);
    const got = await receiver.evaluate(() => {
      const bytes = new Uint8Array(received[1].data);
      return {
        kinds: received.map(({ data }) =>
          typeof data === "string" ? `string ${data.length}` : `${data.constructor.name} ${data.byteLength}`,
        ),
        intact: bytes.every((byte, index) => byte === (((index * 7919) >> 3) & 255)),
        emoji: received[6].data === "😀".repeat(10_000),
      };
    });
    assert.deepEqual(got.kinds, [
      "string 16384",
      "ArrayBuffer 8000001",
      "ArrayBuffer 4",
      "ArrayBuffer 0",
      "string 0",
      "ArrayBuffer 2",
      "string 20000",
    ]);
    assert(got.intact && got.emoji);
  },

  async "failed and aborted joins reject without page errors"(key) {
    const [tab] = await openInTurn(key, 1);
    const outcome = await tab.evaluate(async () => {
      const { joinGroup, Group } = await import("./sigver-client/index.js");
      const url = new URL(new URLSearchParams(location.search).get("signal") ?? "/signal", location.href);
      const name = (promise) =>
        promise.then(
          (group) => group.state,
          (error) => error.name,
        );
      const offline = "ws://127.0.0.1:9/";
      const soon = new AbortController();
      setTimeout(() => soon.abort(), 100);
      const later = new AbortController();
      const joined = await joinGroup(url, "another", { signal: later.signal });
      later.abort();
      new Group(offline, () => ""); // its rejected promise is not handled
      new Group(offline, "left immediately").leave();
      return {
        empty: await name(joinGroup(url, "")),
        long: await name(joinGroup(url, "x".repeat(513))),
        dots: await name(joinGroup(url, "..")),
        address: await name(joinGroup("http://", "key")),
        servers: await name(joinGroup(url, "key", { iceServers: [{ urls: "nonsense" }] })),
        aborted: await name(joinGroup(url, "key", { signal: AbortSignal.abort() })),
        abortedSoon: await name(joinGroup(offline, "key", { signal: soon.signal })),
        abortedLater: joined.state,
        leftAgain: (joined.leave(), joined.state),
        sent: await joined.send("after leaving"),
      };
    });
    assert.deepEqual(outcome, {
      empty: "TypeError",
      long: "TypeError",
      dots: "TypeError",
      address: "TypeError",
      servers: "SyntaxError",
      aborted: "AbortError",
      abortedSoon: "AbortError",
      abortedLater: "left",
      leftAgain: "left",
      sent: 0,
    });
    assert.equal(await tab.evaluate(() => group.state), "joined");
  },
};
