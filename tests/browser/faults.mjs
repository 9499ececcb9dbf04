/**
 * Tests sigver-client and the demo page in Chromium or Firefox against hostile peers and failing networks.
 *
 *     node faults.mjs --server "PATH/sigver" [--browser firefox] [--only WORDS]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { BROWSER_OPTION, launch } from "./browsers.mjs";
import { PERMISSIONS, SOON, until } from "./chromium.mjs";
import { withoutIce } from "./demo/tabs.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: { ...BROWSER_OPTION, server: { type: "string" }, only: { type: "string", default: "" } },
});
if (!args.server) throw new Error("--server is missing; must be the command of a sigver server");

const LATER = 45_000; // for conditions that need a timeout of sigver-client
const MUCH_LATER = 90_000; // for conditions that need such a timeout and then a back-off
const ICE_FAILED = "Couldn't connect directly to the other peer.";

const target = await signalingOnly(args.server);
const browser = await launch(args.browser);
const pageErrors = [];

/** Opens the demo page, which joins the group, in its own context. */
async function openPage(url, key = "", before = () => {}) {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const page = await context.newPage();
  page.on("pageerror", (error) => pageErrors.push(error));
  await page.addInitScript(instrument);
  await page.addInitScript(before);
  await page.goto(`${url}#${key}`);
  return page;
}

/** Records the sockets of a page, and the states of its group. */
function instrument() {
  const { WebSocket: Socket } = globalThis;
  globalThis.sockets = [];
  globalThis.WebSocket = class extends Socket {
    constructor(url) {
      super(url);
      sockets.push(this);
    }
  };
  globalThis.states = [];
  const { dispatchEvent } = EventTarget.prototype;
  EventTarget.prototype.dispatchEvent = function (event) {
    const { state, reason, code } = event;
    if (event.type === "statechange" && state) states.push({ state, reason, code });
    return dispatchEvent.call(this, event);
  };
}

/** Opens a tab that joins the group and records its events. */
async function open(key, options = {}) {
  const page = await openPage(target.page);
  await page.evaluate(
    async ([signaling, key, options]) => {
      const { Group } = await import("./sigver-client/index.js");
      group.leave(); // of the demo page
      globalThis.events = [];
      globalThis.received = [];
      globalThis.mine = new Group(signaling, key, { iceServers: [], ...options });
      for (const type of ["peerjoin", "peerleave"]) {
        mine.addEventListener(type, ({ peerId }) => events.push([type, peerId]));
      }
      mine.addEventListener("message", ({ peerId, data }) => received.push([peerId, data]));
    },
    [target.signaling, key, options],
  );
  return page;
}

/** Opens a tab whose peer this test controls. It is bound to a member, and sends nothing yet. */
async function openHostile(key, id) {
  const page = await openPage(target.page);
  await page.evaluate(
    async ([signaling, key, id]) => {
      const { RawPeer } = await import("./raw_peer.js");
      group.leave();
      globalThis.peer = new RawPeer(signaling, key, id);
    },
    [target.signaling, key, id],
  );
  await until(page, () => peer.isMember === false);
  return page;
}

/** Opens a hostile tab that is connected to the member. */
async function openNeighbour(key, id) {
  const page = await openHostile(key, id);
  await page.evaluate(() => void (globalThis.connection = peer.offerToMember()));
  await until(page, () => connection.isOpen || connection.reject);
  return page;
}

const idOf = (tab) => tab.evaluate(() => mine.id);
const meshed = (tabs, neighbours = tabs.length - 1) =>
  Promise.all(
    tabs.map((tab) => until(tab, (count) => mine.peers.size === count && mine.state === "joined", neighbours)),
  );

/** Opens a favored tab, to which the hub binds joiners, and other tabs that are connected to it. */
async function openGroup(key, count) {
  const tabs = [await open(key, { favored: true })];
  await meshed(tabs);
  for (; tabs.length < count; await meshed(tabs)) tabs.push(await open(key));
  return tabs;
}

/** Checks that a member is still connected to the true peer, and has been without a break. */
async function stillConnected(member, peer) {
  const id = await idOf(peer);
  assert.deepEqual(await member.evaluate((id) => events.filter(([, it]) => it === id), id), [["peerjoin", id]]);
  assert.equal(await peer.evaluate((to) => mine.send("it is me", { to }), await idOf(member)), 1);
  await until(member, (id) => received.some(([from, data]) => from === id && data === "it is me"), id);
}

const scenarios = {
  async "each peer has one fingerprint, which all others see"(key) {
    const tabs = await openGroup(key, 3);
    const seen = await Promise.all(
      tabs.map((tab) => tab.evaluate(() => [...mine.peers].map(([id, { fingerprint }]) => `${id} ${fingerprint}`))),
    );
    assert.equal(seen.flat().length, 6);
    assert.equal(new Set(seen.flat()).size, 3, "the same for all others");
    assert.equal(new Set(seen.flat().map((it) => it.split(" ")[1])).size, 3, "different for each peer");
    for (const it of seen.flat()) assert.match(it, /^\d+ ([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  },

  async "impostor cannot take over the id of a connected peer through the hub"(key) {
    const [member, victim] = await openGroup(key, 2);
    const impostor = await openHostile(key, 7);
    await impostor.evaluate((from) => void (globalThis.attempt = peer.offerToMember({ from })), await idOf(victim));
    await until(impostor, () => attempt.reject || attempt.isOpen);
    assert.equal(await impostor.evaluate(() => attempt.reject), "same-id");
    await stillConnected(member, victim);
  },

  async "neighbour cannot take over the id of a connected peer through a relay"(key) {
    const [member, victim] = await openGroup(key, 2);
    const impostor = await openNeighbour(key, 7);
    const [from, to] = [await idOf(victim), await idOf(member)];
    await impostor.evaluate(
      (ids) => void (globalThis.attempt = peer.offerThrough(connection, ids)),
      { from, to },
    );
    await until(impostor, () => attempt.reject || attempt.isOpen);
    assert.equal(await impostor.evaluate(() => attempt.reject), "same-id");
    await stillConnected(member, victim);
  },

  async "neighbour with a copied fingerprint cannot take over the id of a connected peer"(key) {
    const [member, victim] = await openGroup(key, 2);
    const impostor = await openNeighbour(key, 7);
    const [from, to] = [await idOf(victim), await idOf(member)];
    const fingerprint = await member.evaluate((id) => mine.peers.get(id).fingerprint, from);
    const start = Date.now();
    await until(member, (start) => Date.now() - start > 6_000, start); // a younger connection is not replaced
    await impostor.evaluate(
      ({ fingerprint, ...ids }) => {
        const edit = (sdp) => sdp.replace(/(a=fingerprint:sha-256 )\S+/g, `$1${fingerprint}`);
        globalThis.attempt = peer.offerThrough(connection, { ...ids, edit });
      },
      { from, to, fingerprint },
    );
    await until(impostor, () => attempt.reject || attempt.isOpen, undefined, LATER);
    assert.equal(await impostor.evaluate(() => attempt.reject), "ice-failed");
    await stillConnected(member, victim);
  },

  async "endless pieces close the connection of their sender"(key) {
    const [member, other] = await openGroup(key, 2);
    const hostile = await openNeighbour(key, 7);
    await until(member, () => mine.peers.size === 2);
    await hostile.evaluate(() => {
      const piece = new Uint8Array(1); // neither text nor last, and empty
      const flood = setInterval(() => {
        if (connection.data.readyState !== "open") return clearInterval(flood);
        for (let count = 0; count < 100; count++) connection.data.send(piece);
      });
    });
    await until(hostile, () => connection.isClosed);
    await until(member, () => events.some(([type, id]) => type === "peerleave" && id === 7));
    await stillConnected(member, other);
  },

  async "control message of more than 64 KiB closes the connection of its sender"(key) {
    const [member, other] = await openGroup(key, 2);
    const hostile = await openNeighbour(key, 7);
    await until(member, () => mine.peers.size === 2);
    await hostile.evaluate(() => connection.control.send(" ".repeat(64 * 1024 + 1)));
    await until(hostile, () => connection.isClosed);
    await stillConnected(member, other);
  },

  async "neighbour that names invented peers costs a few attempts, and keeps no peer out"(key) {
    const [member] = await openGroup(key, 1);
    const hostile = await openNeighbour(key, 7);
    await hostile.evaluate(() => {
      globalThis.lists = 0;
      globalThis.offered = new Set();
      const since = performance.now();
      let id = 2 ** 32;
      connection.onrelay = ({ from, to, negotiationId, description }) => {
        // After 30 s, the first ids no longer have the places of this neighbour.
        if (description?.type === "offer" && performance.now() - since < 30_000) offered.add(to);
        connection.sendControl({ relay: { from: to, to: from, negotiationId, reject: "gone" } });
      };
      setInterval(() => {
        // The member attempts only ids that are still named: the first list stays until it does.
        if (connection.relayed.length === 0) id = 2 ** 32;
        connection.sendControl({ near: Array.from({ length: 8 }, () => [--id, 1]) });
        lists++;
      }, 50);
    });
    await until(hostile, () => connection.relayed.length > 0);
    const peer = await open(key);
    await meshed([peer], 1);
    await until(hostile, () => lists >= 200, undefined, LATER);
    const named = await hostile.evaluate(() => {
      offered.delete(peer.id); // the new peer looks for it
      return offered.size;
    });
    assert(named <= 8, `the member attempted ${named} invented peers`);
  },

  async "neighbour that makes offers in the names of invented peers keeps no joiner out"(key) {
    const [member] = await openGroup(key, 1);
    const hostile = await openNeighbour(key, 7);
    await hostile.evaluate(async (to) => {
      const { sdp } = connection.rtc.localDescription;
      for (let id = 1; id <= 100; id++) {
        const description = { type: "offer", sdp };
        connection.sendControl({ relay: { from: 2 ** 31 + id, to, negotiationId: id, members: [], description } });
      }
    }, await idOf(member));
    await until(hostile, () => connection.relayed.some(({ reject }) => reject === "busy"));
    const joiner = await openNeighbour(key, 8);
    assert.equal(await joiner.evaluate(() => connection.reject), undefined);
  },

  async "failed ICE is shown until a peer is connected, and the two peers evict each other once at most"(key) {
    const first = await openPage(target.page, key, withoutIce);
    await until(first, () => group.state === "joined");
    await until(first, () => document.querySelector("#state").textContent === "Waiting for others");
    const second = await openPage(target.page, key, withoutIce);
    // The second evicts the first, which returns as a joiner and fails again.
    await until(second, () => group.state === "joined", undefined, LATER);
    for (const tab of [first, second]) {
      await until(tab, (text) => document.querySelector("#notice").textContent.startsWith(text), ICE_FAILED, LATER);
      assert.equal(await tab.isVisible("#hint"), false);
      assert.equal(await tab.textContent("#count"), "Not connected to others");
    }
    await until(second, () => document.querySelector("#state").textContent === "Can't connect to others");
    // It waits, and tries again with another socket.
    await until(first, () => sockets.length >= 3, undefined, MUCH_LATER);
    assert.deepEqual(await second.evaluate(() => states.filter(({ code }) => code)), [], "it is not evicted");
    assert.equal(await second.evaluate(() => `${group.state} ${group.reason}`), "joined ice-failed");
    assert.deepEqual(
      await first.evaluate(() => states.filter(({ code, state }) => code || state === "reconnecting")),
      // The second event is the end of the wait for the next socket.
      Array(2).fill({ state: "joining", reason: "ice-failed", code: 4744 }),
    );
    const third = await openPage(target.page, key);
    for (const tab of [first, second]) {
      await until(tab, () => group.state === "joined" && group.peers.size === 1, undefined, MUCH_LATER);
      assert.equal(await tab.evaluate(() => group.reason), "");
      await until(tab, () => document.querySelector("#state").textContent === "Connected");
    }
    await until(third, () => group.peers.size === 2);
  },
};

let passed = false;
try {
  const after = () => closeTabs(browser);
  passed = await runScenarios(scenarios, { only: args.only, pageErrors, after });
} finally {
  await browser.close();
  target.files.stop();
  await target.server.stop();
}
process.exitCode = passed ? 0 : 1;
