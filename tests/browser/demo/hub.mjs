/** Scenarios in which the signaling server restarts, relays signals, loses a peer or evicts it. */

import assert from "node:assert/strict";
import { suspend } from "../browsers.mjs";
import { until } from "../chromium.mjs";
import {
  chats,
  LATER,
  meshed,
  MUCH_LATER,
  notice,
  open,
  openInTurn,
  openMany,
  signalingUrl,
  target,
} from "./tabs.mjs";

export const hubScenarios = {
  async "server relays only the first connection of each peer, and its links end"(key) {
    const tabs = await openInTurn(key, 3);
    for (const tab of tabs) {
      await tab.evaluate(async () => {
        const { decode } = await import("./sigver-client/wire.js");
        globalThis.contents = (direction) => {
          const contents = frames[direction].map((data) => decode(new Uint8Array(data))?.content).filter(Boolean);
          return contents.map(({ data, ...rest }) => ({ ...rest, data: new TextDecoder().decode(data) }));
        };
      });
    }
    const relayed = () => Promise.all(tabs.slice(1).map((tab) => tab.evaluate(() => contents("received"))));
    // The first connection of each tab is complete when the member has ended its direction of the link, too.
    for (const tab of tabs.slice(1)) await until(tab, () => contents("received").at(-1)?.data === "");
    const before = await relayed();
    tabs.push(await open(key));
    await meshed(tabs);
    tabs.pop();
    assert.deepEqual(await relayed(), before, "the fourth connected through the first, not through the server");
    for (const tab of tabs) await until(tab, () => contents("sent").at(-1)?.lastData === true);
  },

  async "mesh survives while the server stops, and a new peer joins after the restart"(key) {
    const tabs = await openInTurn(key, 3);
    await target.server.stop();
    for (const tab of tabs) await until(tab, () => group.state === "reconnecting");
    await notice(tabs[0], "Existing connections keep working");
    await chats(tabs[0], tabs.slice(1), "server is offline");
    await target.server.start();
    await meshed(tabs, LATER);
    tabs.push(await open(key));
    await meshed(tabs);
    await chats(tabs[3], tabs.slice(0, 3), "from the new peer");
  },

  async "tab opened while the server is offline joins after the restart"(key) {
    await target.server.stop();
    const tabs = [await open(key)];
    await notice(tabs[0], "Can't reach the signaling server");
    await target.server.start();
    await meshed(tabs, LATER);
  },

  async "old mesh merges with peers that joined first after the server restarts"(key) {
    const old = await openInTurn(key, 3);
    for (const tab of old) await tab.evaluate(() => (globalThis.blockSockets = true));
    await target.server.stop();
    for (const tab of old) await until(tab, () => group.state === "reconnecting");
    await target.server.start();
    const joinedFirst = await openInTurn(key, 2);
    for (const tab of old) await tab.evaluate(() => (globalThis.blockSockets = false));
    await meshed([...old, ...joinedFirst], MUCH_LATER);
  },

  async "peer that loses its socket becomes a member again"(key) {
    const tabs = await openInTurn(key, 2);
    await tabs[0].evaluate(() => sockets.at(-1).close());
    await until(tabs[0], () => sockets.length > 1 && group.state === "joined");
    await meshed(tabs);
  },

  async "unresponsive only member is evicted"(key) {
    const [helper] = await openMany("helper-" + key, 1);
    await helper.evaluate(
      async ([base, key]) => {
        const { groupUrl } = await import("./sigver-client/index.js");
        const { encode } = await import("./sigver-client/wire.js");
        const socket = new WebSocket(groupUrl(base, key));
        await new Promise((resolve) => (socket.onopen = resolve));
        socket.send(encode({ connect: { id: 7, members: [] } }));
        await new Promise((resolve) => (socket.onmessage = resolve));
        setInterval(() => socket.send(encode({ heartbeat: true })), 4_000);
        socket.onclose = ({ code }) => (globalThis.closedWith = code);
      },
      [signalingUrl(), key],
    );
    const tabs = [await open(key)];
    await meshed(tabs, LATER);
    await until(helper, () => globalThis.closedWith === 4744);
  },

  async "evicted tab that was suspended joins again"(key) {
    const [suspended] = await openInTurn(key, 1);
    const before = await suspended.evaluate(() => states.length);
    const suspension = await suspend(suspended);
    const joiner = await open(key);
    await until(joiner, () => group.state === "joined", undefined, LATER);
    assert.deepEqual(await joiner.evaluate(() => peers()), []);
    await suspension.resume();
    await meshed([suspended, joiner], MUCH_LATER);
    const after = await suspended.evaluate((before) => states.slice(before), before);
    // On a slow machine, the silence closes its socket before it reads that it was evicted.
    const isExpected = ({ state, reason }) => reason === "evicted" || state === "reconnecting";
    assert(after.some(isExpected), JSON.stringify(after));
  },
};
