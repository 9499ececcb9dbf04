/**
 * Tests the members of sigver-client's `Group` in Chromium or Firefox: what only a browser can show.
 *
 *     node group.mjs --server "PATH/sigver" [--browser firefox] [--only WORDS]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { BROWSER_OPTION, launch } from "./browsers.mjs";
import { PERMISSIONS, until } from "./chromium.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: { ...BROWSER_OPTION, server: { type: "string" }, only: { type: "string", default: "" } },
});
if (!args.server) throw new Error("--server is missing; must be the command of a sigver server");

const target = await signalingOnly(args.server);
const browser = await launch(args.browser, { cache: true });
const pageErrors = [];

/** Opens a tab that joins the group and records its events. */
async function open(key, options = {}) {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const page = await context.newPage();
  page.on("pageerror", (error) => pageErrors.push(error));
  await page.goto(new URL("/raw_peer.js", target.page).href); // a page without a group of its own
  await page.evaluate(
    async ([signaling, key, options]) => {
      const { Group } = await import("/sigver-client/index.js");
      globalThis.events = [];
      globalThis.mine = new Group(signaling, key, { iceServers: [], ...options });
      for (const type of ["peerjoin", "peerchange", "peerleave", "message"]) {
        mine.addEventListener(type, ({ peerId, peer, reason, data }) => {
          events.push({ type, peerId, metadata: peer.metadata, reason, size: data?.byteLength ?? data?.length });
        });
      }
      mine.addEventListener("stream", ({ stream }) => {
        const video = Object.assign(document.createElement("video"), { muted: true, srcObject: stream });
        globalThis.video = video;
        video.play();
      });
    },
    [target.signaling, key, options],
  );
  return page;
}

const idOf = (tab) => tab.evaluate(() => mine.id);
const meshed = (...tabs) =>
  Promise.all(
    tabs.map((tab) => until(tab, (count) => mine.peers.size === count && mine.state === "joined", tabs.length - 1)),
  );

/** Opens tabs that are connected with each other. */
async function openGroup(key, ...options) {
  const tabs = [];
  for (const each of options) {
    tabs.push(await open(key, each));
    await meshed(...tabs);
  }
  return tabs;
}

const eventsOf = (tab, type) => tab.evaluate((type) => events.filter((it) => it.type === type), type);

const scenarios = {
  async "metadata is known in peerjoin, and its changes arrive"(key) {
    const [first, second] = await openGroup(key, { metadata: { name: "Ada" } }, { metadata: { name: "Bo" } });
    assert.deepEqual((await eventsOf(first, "peerjoin"))[0].metadata, { name: "Bo" });
    assert.deepEqual((await eventsOf(second, "peerjoin"))[0].metadata, { name: "Ada" });
    await first.evaluate(() => mine.setMetadata("changed"));
    await until(second, () => events.some(({ type, metadata }) => type === "peerchange" && metadata === "changed"));
  },

  async "own fingerprint is the one that others see, and the peer's connection has statistics"(key) {
    const [first, second] = await openGroup(key, {}, {});
    const seen = await second.evaluate((id) => mine.peers.get(id).fingerprint, await idOf(first));
    await until(first, () => mine.fingerprint);
    assert.equal(await first.evaluate(() => mine.fingerprint), seen);
    assert.match(seen, /^([\dA-F]{2}:){31}[\dA-F]{2}$/);
    await until(second, () => [...mine.peers.values()].every((it) => it.connection.connectionState === "connected"));
  },

  async "full group rejects a further peer, which joins when there is room"(key) {
    const [first, second] = await openGroup(key, { maxPeers: 1, favored: true }, { maxPeers: 1 });
    const third = await open(key, { maxPeers: 1 });
    await until(third, () => mine.state === "joining" && mine.reason === "full");
    assert.deepEqual(await first.evaluate(() => [mine.state, mine.peers.size]), ["joined", 1]);
    const left = await idOf(second);
    await second.evaluate(() => mine.leave());
    await until(first, (id) => !mine.peers.has(id), left); // the third may have joined already
    await third.evaluate(() => mine.retry());
    await meshed(first, third);
  },

  async "messages that are sent right before leave arrive completely, and their peer has left"(key) {
    const [first, second] = await openGroup(key, {}, {});
    const sent = await second.evaluate(async () => {
      const { setTimeout: later } = globalThis;
      // The time to send the messages is enough on any machine.
      globalThis.setTimeout = (call, ms, ...rest) => later(call, ms === 1_800 ? 15_000 : ms, ...rest);
      const counts = [1_500_000, 3, 300_000].map((size) => mine.send(new Uint8Array(size)));
      await mine.leave();
      return Promise.all(counts);
    });
    assert.deepEqual(sent, [1, 1, 1]);
    await until(first, () => mine.peers.size === 0);
    const sizes = (await eventsOf(first, "message")).map(({ size }) => size);
    assert.deepEqual(sizes, [1_500_000, 3, 300_000]);
    assert.deepEqual((await eventsOf(first, "peerleave")).map(({ reason }) => reason), ["left"]);
  },

  async "queue of a slow peer is limited, and waiting messages can be cancelled"(key) {
    const [first, second] = await openGroup(key, { maxQueuedBytes: 10_000_000 }, {});
    const outcome = await first.evaluate(async () => {
      const name = (promise) => promise.catch(({ name }) => name);
      const abort = new AbortController();
      const sent = mine.send(new Uint8Array(9_000_000));
      const cancelled = mine.send(new Uint8Array(1_000_000), { signal: abort.signal });
      const full = await name(mine.send(new Uint8Array(1_000_000)));
      abort.abort();
      const next = mine.send(new Uint8Array(1_000_000));
      return [full, await name(cancelled), await sent, await next];
    });
    assert.deepEqual(outcome, ["QuotaExceededError", "AbortError", 1, 1]);
    await until(second, () => events.filter(({ type }) => type === "message").length === 2);
  },

  async "stream for one peer is replaced and removed, and no other peer gets it"(key) {
    const [first, second, third] = await openGroup(key, {}, {}, {});
    await first.evaluate(async (to) => {
      const draw = (width) => {
        const canvas = Object.assign(document.createElement("canvas"), { width, height: 100 });
        setInterval(() => canvas.getContext("2d").fillRect(0, 0, Math.random() * width, 100), 50);
        return canvas.captureStream();
      };
      globalThis.stream = draw(200);
      globalThis.other = draw(100);
      mine.addStream(stream, { to });
    }, await idOf(second));
    await until(second, () => globalThis.video?.videoWidth === 200);
    assert.equal(await second.evaluate(() => [...mine.peers.values()].flatMap(({ streams }) => streams).length), 1);
    await first.evaluate(() => mine.replaceTrack(stream.getTracks()[0], other.getTracks()[0]));
    await until(second, () => video.videoWidth === 100);
    await first.evaluate(() => mine.removeStream(stream));
    await until(second, () => [...mine.peers.values()].every(({ streams }) => streams.length === 0));
    assert.equal(await third.evaluate(() => globalThis.video), undefined);
  },

  async "page that returns from the back/forward cache joins again with another id"(key) {
    const [first, second] = await openGroup(key, { metadata: "first" }, { metadata: "second" });
    const id = await idOf(second);
    await second.goto(new URL("/sigver-client/wire.js", target.page).href);
    await until(first, () => mine.peers.size === 0);
    assert.deepEqual((await eventsOf(first, "peerleave")).map(({ reason }) => reason), ["left"]);
    await second.goBack({ waitUntil: "commit" });
    if (args.browser !== "chromium") {
      await until(second, () => location.pathname === "/raw_peer.js" && document.readyState === "complete");
      const isCached = await second.evaluate(() => globalThis.mine !== undefined);
      if (!isCached) return console.log(`SKIPPED in ${args.browser}: the page was not in the cache`);
    }
    await until(second, () => globalThis.mine?.peers.size === 1 && mine.state === "joined");
    await meshed(first, second);
    assert.notEqual(await idOf(second), id);
    assert.deepEqual(await eventsOf(second, "peerleave"), [
      { type: "peerleave", peerId: await idOf(first), metadata: "first", reason: "lost", size: undefined },
    ]);
    assert.equal((await eventsOf(first, "peerjoin")).at(-1).metadata, "second");
    assert.equal(await second.evaluate(() => mine.send("back again")), 1);
    await until(first, () => events.some(({ type, size }) => type === "message" && size === 10));
  },

  async "tab that is closed has left"(key) {
    const [first] = await openGroup(key, {});
    // The browser may kill the process of a tab before `bye` is on the network.
    for (let attempt = 1; ; attempt++) {
      const second = await open(key);
      await meshed(first, second);
      await second.close({ runBeforeUnload: false });
      await until(first, () => mine.peers.size === 0);
      const { reason } = (await eventsOf(first, "peerleave")).at(-1);
      if (reason === "left") break;
      assert(attempt < 3, `${attempt} tabs were ${reason}`);
    }
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
