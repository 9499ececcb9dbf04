/** Scenarios in which tabs join a mesh and leave it. */

import assert from "node:assert/strict";
import { crash } from "../browsers.mjs";
import { until } from "../chromium.mjs";
import { chats, close, idOf, LATER, meshed, moveTo, MUCH_LATER, open, openInTurn, openMany } from "./tabs.mjs";

/** Records when this tab and one other are a group. The halves merge by themselves after a time. */
function recordHalf(ids) {
  const others = ids.filter((id) => id !== group.id).join();
  const idsOf = (peers) => peers.map(({ id }) => id).join();
  const record = () => {
    const isHalf = idsOf(peers()) === others && idsOf(peers()[0].neighbours) === String(group.id);
    globalThis.wasHalf ||= isHalf;
  };
  for (const type of ["meshchange", "peerleave"]) group.addEventListener(type, record);
}

export const meshScenarios = {
  // `bye` removes the tab immediately. On a loaded machine the closing tab may not send it; then the ping timeout does.
  async "closed tab is removed from the mesh"(key) {
    const tabs = await openInTurn(key, 3);
    await close([tabs[0]]);
    await meshed(tabs.slice(1), LATER);
    await chats(tabs[1], [tabs[2]], "two peers remain");
    await until(tabs[1], () => document.querySelectorAll("#nodes > [data-peer]").length === 2);
  },

  async "killed tab is removed from the mesh"(key) {
    const tabs = await openInTurn(key, 3);
    await crash(tabs[0]);
    await meshed(tabs.slice(1), LATER);
    await chats(tabs[1], [tabs[2]], "two peers remain");
  },

  async "new tab joins through the remaining tabs"(key) {
    const tabs = await openInTurn(key, 3);
    await close([tabs[0]]);
    const second = [tabs[1], tabs[2], await open(key)];
    await meshed(second, LATER);
    await close([second[0]]);
    const third = [second[1], second[2], await open(key)];
    await meshed(third, LATER);
    await chats(third[2], [third[0], third[1]], "from the newest");
  },

  async "five tabs that join within one second form a mesh"(key) {
    const tabs = await openMany("warm-up-" + key, 5); // loads the page first, so that the joins are simultaneous
    await meshed(tabs, LATER);
    await Promise.all(tabs.map((tab) => moveTo(tab, key)));
    await meshed(tabs, LATER);
    await chats(tabs[0], tabs.slice(1), "five peers");
  },

  async "two tabs that join an empty group simultaneously form a mesh"(key) {
    const tabs = await openMany("warm-up-" + key, 2);
    await meshed(tabs);
    for (let round = 0; round < 5; round++) {
      const start = Date.now() + 200;
      await Promise.all(tabs.map((tab) => moveTo(tab, `${key}-${round}`, start)));
      await meshed(tabs, LATER);
    }
  },

  async "simultaneous offers of both peers lead to one connection"(key) {
    const tabs = await openMany(key, 5, { before: () => (globalThis.noOfferDelay = true) });
    await meshed(tabs, LATER);
    await chats(tabs[4], tabs.slice(0, 4), "one connection each");
  },

  async "halves of a split group merge"(key) {
    const tabs = await openInTurn(key, 4);
    const ufrags = await Promise.all(
      tabs.map((tab) =>
        tab.evaluate(() => {
          globalThis.noRelay = true;
          // In Firefox, a closed connection throws instead of returning its descriptions.
          globalThis.openConnections = () => connections.filter((it) => it.signalingState !== "closed");
          const ufrag = (description) => /a=ice-ufrag:(\S+)/.exec(description?.sdp)?.[1];
          return openConnections().map((it) => [ufrag(it.localDescription), ufrag(it.remoteDescription)]);
        }),
      ),
    );
    const halves = [
      [0, 1],
      [2, 3],
    ];
    const ids = await Promise.all(tabs.map(idOf));
    for (const half of halves) {
      for (const index of half) await tabs[index].evaluate(recordHalf, half.map((it) => ids[it]));
    }
    const localUfrags = (half) => half.flatMap((index) => ufrags[index].map(([local]) => local));
    for (const [mine, others] of [halves, [...halves].reverse()]) {
      for (const index of mine) {
        await tabs[index].evaluate((others) => {
          for (const it of openConnections()) {
            if (others.includes(/a=ice-ufrag:(\S+)/.exec(it.remoteDescription?.sdp)?.[1])) it.close();
          }
        }, localUfrags(others));
      }
    }
    for (const tab of tabs) await until(tab, () => globalThis.wasHalf, undefined, LATER);
    for (const tab of tabs) await tab.evaluate(() => (globalThis.noRelay = false));
    await meshed(tabs, MUCH_LATER);
  },
};
