/**
 * Tests groups of Chromium and Firefox.
 *
 *     node mixed.mjs --server "PATH/sigver" [--only WORDS]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { crash, launch } from "./browsers.mjs";
import { PERMISSIONS, until } from "./chromium.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: { server: { type: "string" }, only: { type: "string", default: "" } },
});
if (!args.server) throw new Error("--server is missing; must be the command of a sigver server");

const LATER = 30_000; // for conditions that need six pings
const CHANNELS = { log: {} };

const target = await signalingOnly(args.server);
const browsers = { chromium: await launch("chromium"), firefox: await launch("firefox") };
const pageErrors = [];

/** Opens a tab that joins the group and records its events. */
async function open(browser, key) {
  const context = await browsers[browser].newContext({ permissions: PERMISSIONS });
  const page = await context.newPage();
  page.on("pageerror", (error) => pageErrors.push(error));
  await page.goto(new URL("/raw_peer.js", target.page).href); // a page without a group of its own
  await page.evaluate(
    async ([signaling, key, options]) => {
      const { Group } = await import("/sigver-client/index.js");
      globalThis.events = [];
      globalThis.mine = new Group(signaling, key, { iceServers: [], ...options });
      for (const type of ["peerjoin", "peerchange", "peerleave", "message"]) {
        mine.addEventListener(type, ({ peer, reason, data, channel }) => {
          const { metadata, version } = peer;
          events.push({ type, metadata, version, reason, channel, data: data?.byteLength ?? data });
        });
      }
      mine.addEventListener("stream", ({ stream }) => {
        globalThis.video = Object.assign(document.createElement("video"), { muted: true, srcObject: stream });
        video.play().catch(() => {}); // it was replaced by the next stream
      });
    },
    [target.signaling, key, { channels: CHANNELS, metadata: browser }],
  );
  return page;
}

const meshed = (...tabs) =>
  Promise.all(
    tabs.map((tab) => until(tab, (count) => mine.peers.size === count && mine.state === "joined", tabs.length - 1)),
  );

/** Opens one tab of each browser, in this order. The second one makes the offer. */
async function openGroup(key, ...names) {
  const tabs = [];
  for (const name of names) {
    tabs.push(await open(name, key));
    await meshed(...tabs);
  }
  return tabs;
}

/** Waits for an event with these properties. */
const happens = (tab, event, timeout) =>
  until(
    tab,
    (event) => events.some((it) => Object.entries(event).every(([name, value]) => it[name] === value)),
    event,
    timeout,
  );
const send = (tab, data, options) => tab.evaluate(([data, options]) => mine.send(data, options), [data, options]);

/** Checks that two tabs know each other and reach each other, in all ways that a group has. */
async function exchange(tabs, names) {
  for (const [from, to, name] of [
    [tabs[0], tabs[1], names[0]],
    [tabs[1], tabs[0], names[1]],
  ]) {
    await happens(to, { type: "peerjoin", metadata: name, version: 1 });
    const fingerprintOf = (id) => mine.peers.get(id).fingerprint;
    const seen = await to.evaluate(fingerprintOf, await from.evaluate(() => mine.id));
    await until(from, () => mine.fingerprint);
    assert.equal(await from.evaluate(() => mine.fingerprint), seen);
    assert.match(seen, /^([\dA-F]{2}:){31}[\dA-F]{2}$/);
    await send(from, `hello from ${name} ✓`);
    await happens(to, { type: "message", metadata: name, data: `hello from ${name} ✓` });
    assert.equal(await from.evaluate(() => mine.send(new Uint8Array(300_000))), 1);
    await happens(to, { type: "message", metadata: name, data: 300_000 });
    await send(from, "named", { channel: "log" });
    await happens(to, { type: "message", metadata: name, channel: "log", data: "named" });
    await until(to, () => {
      const [{ path, roundTripTime }] = mine.peers.values();
      return path === "direct" && roundTripTime >= 0;
    });
    await from.evaluate(() => mine.setMetadata(`${mine.id}`));
    await happens(to, { type: "peerchange", metadata: await from.evaluate(() => `${mine.id}`) });
  }
}

/** Checks that each tab sees the video of the other one, which both add at once. */
async function exchangeVideo(tabs) {
  const add = async () => {
    globalThis.stream = await navigator.mediaDevices.getUserMedia({ video: true });
    mine.addStream(stream);
  };
  await Promise.all(tabs.map((tab) => tab.evaluate(add)));
  for (const tab of tabs) {
    await until(tab, () => globalThis.video && [...mine.peers.values()][0].streams[0] === video.srcObject);
    await until(tab, () => video.videoWidth > 0);
    const time = await tab.evaluate(() => video.currentTime);
    await until(tab, (time) => video.currentTime > time + 0.3, time);
  }
  for (const [index, tab] of tabs.entries()) {
    await tab.evaluate(() => mine.removeStream(stream));
    await until(tabs[1 - index], () => [...mine.peers.values()].every(({ streams }) => streams.length === 0));
  }
}

const scenarios = {};
for (const names of [
  ["chromium", "firefox"],
  ["firefox", "chromium"],
]) {
  const [first, second] = names;

  scenarios[`${second} joins ${first}: they exchange all kinds of messages, and one leaves`] = async (key) => {
    const tabs = await openGroup(key, first, second);
    await exchange(tabs, names);
    await tabs[1].evaluate(() => mine.leave());
    await happens(tabs[0], { type: "peerleave", reason: "left" });
  };

  scenarios[`${second} joins ${first}: they exchange videos, and the tab of ${second} is closed`] = async (key) => {
    const tabs = await openGroup(key, first, second);
    await exchangeVideo(tabs);
    // The browser may kill the process of a tab before `bye` is on the network.
    for (let attempt = 1; ; attempt++) {
      await tabs[1].close({ runBeforeUnload: false });
      await until(tabs[0], () => mine.peers.size === 0);
      const { reason } = await tabs[0].evaluate(() => events.findLast(({ type }) => type === "peerleave"));
      if (reason === "left") break;
      assert(attempt < 10, `${attempt} tabs were ${reason}`);
      tabs[1] = await open(second, key);
      await meshed(...tabs);
    }
  };
}

for (const names of [
  ["chromium", "firefox"],
  ["firefox", "chromium"],
  ["firefox", "firefox"],
  ["chromium", "chromium"],
]) {
  const [first, second] = names;

  scenarios[`${second} and ${first} add and remove media at the same moments, and stay connected`] = async (key) => {
    const tabs = await openGroup(key, first, second);
    for (const tab of tabs) {
      await tab.evaluate(async () => {
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
        globalThis.addMedia = (kinds, at) =>
          new Promise((resolve) => {
            const tracks = media.getTracks().filter(({ kind }) => kinds.includes(kind));
            globalThis.stream = new MediaStream(tracks.map((track) => track.clone()));
            const add = () => (Date.now() < at ? setTimeout(add) : resolve(mine.addStream(stream)));
            add();
          });
        globalThis.other = () => mine.peers.values().next().value;
      });
    }
    // Sections are stopped from the second time on, and their places are used again.
    for (const kinds of ["audio video", "audio audio,video", "video audio", "audio,video audio,video", "video video"]) {
      const at = Date.now() + 200;
      const add = (tab, kinds) => tab.evaluate(([kinds, at]) => addMedia(kinds, at), [kinds, at]);
      await Promise.all(kinds.split(" ").map((it, index) => add(tabs[index], it.split(","))));
      for (const tab of tabs) await until(tab, () => other().streams.length === 1);
      for (const tab of tabs) await tab.evaluate(() => mine.removeStream(stream));
      for (const tab of tabs) {
        await until(tab, () => other().streams.length === 0 && other().connection.signalingState === "stable");
      }
    }
    for (const tab of tabs) {
      assert.deepEqual(await tab.evaluate(() => events.filter(({ type }) => type === "peerleave")), []);
      const sections = await tab.evaluate(() => other().connection.getTransceivers().length);
      assert(sections <= 6, `${sections} sections`);
    }
  };
}

scenarios["tab of chromium that crashes is lost for firefox, and the next one joins"] = async (key) => {
  const [firefox, chromium] = await openGroup(key, "firefox", "chromium");
  await crash(chromium);
  await happens(firefox, { type: "peerleave", reason: "lost" }, LATER);
  await meshed(firefox, await open("chromium", key));
};

scenarios["firefox that is killed is lost for chromium, and the next one joins"] = async (key) => {
  const [chromium] = await openGroup(key, "chromium", "firefox");
  browsers.firefox.kill();
  browsers.firefox = await launch("firefox");
  await happens(chromium, { type: "peerleave", reason: "lost" }, LATER);
  await meshed(chromium, await open("firefox", key));
};

scenarios["two tabs of each browser form a mesh"] = async (key) => {
  const tabs = await openGroup(key, "chromium", "firefox", "chromium", "firefox");
  for (const tab of tabs) await send(tab, `to all from ${await tab.evaluate(() => mine.id)}`);
  for (const tab of tabs) await until(tab, () => events.filter(({ type }) => type === "message").length === 3);
};

let passed = false;
try {
  const after = () => Promise.all(Object.values(browsers).map((browser) => closeTabs(browser)));
  passed = await runScenarios(scenarios, { only: args.only, pageErrors, after });
} finally {
  await Promise.all(Object.values(browsers).map((browser) => browser.close()));
  target.files.stop();
  await target.server.stop();
}
process.exitCode = passed ? 0 : 1;
