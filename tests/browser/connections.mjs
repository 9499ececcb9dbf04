/**
 * Tests the connections of sigver-client in Chromium or Firefox: paths that are cut, and named channels.
 *
 *     node connections.mjs --server "PATH/sigver" [--browser firefox] [--only WORDS]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { BROWSER_OPTION, launch } from "./browsers.mjs";
import { PERMISSIONS, until } from "./chromium.mjs";
import { mediaScenarios } from "./connections/media.mjs";
import { Paths } from "./paths.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: { ...BROWSER_OPTION, server: { type: "string" }, only: { type: "string", default: "" } },
});
if (!args.server) throw new Error("--server is missing; must be the command of a sigver server");

const LATER = 45_000; // for conditions that need a timeout of sigver-client
const CHANNELS = { pose: { ordered: false, maxRetransmits: 0 }, log: {} };

const target = await signalingOnly(args.server);
const browser = await launch(args.browser);
const paths = new Paths();
const pageErrors = [];

/** Opens a tab that joins the group and records its events. */
async function open(key, options = {}) {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const page = await context.newPage();
  page.on("pageerror", (error) => pageErrors.push(error));
  await paths.install(page);
  await page.goto(new URL("/raw_peer.js", target.page).href); // a page without a group of its own
  await page.evaluate(
    async ([signaling, key, options]) => {
      const { Group } = await import("/sigver-client/index.js");
      globalThis.events = [];
      globalThis.received = [];
      globalThis.mine = new Group(signaling, key, { iceServers: [], ...options });
      for (const type of ["peerjoin", "peerleave"]) {
        mine.addEventListener(type, ({ peerId, peer }) => {
          events.push([type, peerId]);
          if (type === "peerjoin" && options.channels?.log) mine.send("first", { to: peer, channel: "log" });
        });
      }
      mine.addEventListener("message", ({ peerId, data, channel }) => {
        received.push({ peerId, channel, data: typeof data === "string" ? data : data.byteLength });
      });
      globalThis.videos = {};
      mine.addEventListener("stream", ({ peerId, stream }) => {
        videos[peerId] = Object.assign(document.createElement("video"), { muted: true, srcObject: stream });
        videos[peerId].play().catch(() => {}); // it was replaced by the next stream
      });
      /** Returns a function that makes streams of audio and video. */
      globalThis.fakeStreams = async () => {
        const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
        return () => new MediaStream(media.getTracks().map((track) => track.clone()));
      };
      globalThis.stateOf = (id) => mine.peers.get(id)?.connection.iceConnectionState;
      /** Whether the path to a peer was interrupted, by id, and what had arrived from it by then. */
      globalThis.interrupted = {};
      mine.addEventListener("peerjoin", ({ peerId, peer: { connection } }) => {
        const fragment = fragmentOf(connection);
        for (const type of ["iceconnectionstatechange", "signalingstatechange"]) {
          connection.addEventListener(type, () => {
            if (connection.signalingState === "closed") return;
            // The other peer may notice it first, and restart ICE.
            if (connection.iceConnectionState !== "disconnected" && fragmentOf(connection) === fragment) return;
            interrupted[peerId] ??= received.filter((it) => it.peerId === peerId).map(({ data }) => data);
          });
        }
      });
      globalThis.got = (peerId, channel, data) =>
        received.filter((it) => it.peerId === peerId && it.channel === channel && it.data === data).length;
    },
    [target.signaling, key, options],
  );
  return page;
}

/** Opens tabs that are connected with each other. */
async function openGroup(key, ...options) {
  const tabs = [];
  for (const each of options) {
    tabs.push(await open(key, each));
    await meshed(...tabs);
  }
  return tabs;
}

const idOf = (tab) => tab.evaluate(() => mine.id);
const meshed = (...tabs) =>
  Promise.all(
    tabs.map((tab) =>
      until(tab, (count) => mine.peers.size === count && mine.state === "joined", tabs.length - 1, LATER),
    ),
  );
const send = (tab, data, options) => tab.evaluate(([data, options]) => mine.send(data, options), [data, options]);
/** Waits until a message arrived once. */
const arrives = (tab, from, channel, data) =>
  until(tab, ([from, channel, data]) => got(from, channel, data) === 1, [from, channel, data]);

/** Waits until the path to a peer has been interrupted, and works again. The interruption may be short. */
const reconnects = (tab, id) =>
  until(
    tab,
    (id) => interrupted[id] && ["connected", "completed"].includes(stateOf(id)),
    id,
    LATER,
  );

/** Sends a message over a channel that may lose it, until it arrives. */
async function sendUntilArrived(from, to, data, options) {
  await from.evaluate(
    ([data, options]) => {
      const send = () => mine.send(typeof data === "number" ? new Uint8Array(data) : data, options);
      globalThis.sending = setInterval(send, 500);
      return send();
    },
    [data, options],
  );
  const isThere = ([from, channel, data]) => got(from, channel, data) > 0;
  await until(to, isThere, [await idOf(from), options.channel, data]);
  await from.evaluate(() => clearInterval(sending));
}

/** Waits until a video of a peer plays further. */
async function plays(tab, from) {
  await until(tab, (from) => videos[from]?.videoWidth > 0, from);
  const time = await tab.evaluate((from) => videos[from].currentTime, from);
  await until(tab, ([from, time]) => videos[from].currentTime > time + 0.3, [from, time]);
}

const sendVideo = (tab) =>
  tab.evaluate(async () => mine.addStream(await navigator.mediaDevices.getUserMedia({ video: true })));

const scenarios = {
  ...mediaScenarios({ openGroup, idOf, plays }),

  async "connection whose path is cut survives with its channels and its media"(key) {
    const tabs = await openGroup(key, { channels: CHANNELS }, { channels: CHANNELS }, { channels: CHANNELS });
    const [a, b] = tabs;
    const [toB, toA] = [await idOf(b), await idOf(a)];
    await sendVideo(a);
    await plays(b, toA);
    await arrives(b, toA, "log", "first");
    await a.evaluate((id) => void (globalThis.before = mine.peers.get(id)), toB);
    await paths.cut(a, toB);
    await paths.cut(b, toA);
    await Promise.all([send(a, "data", { to: toB }), send(a, "log", { to: toB, channel: "log" })]);
    await reconnects(a, toB);
    await reconnects(b, toA);
    assert.deepEqual(await b.evaluate((from) => interrupted[from], toA), ["first"]);
    await arrives(b, toA, undefined, "data");
    await arrives(b, toA, "log", "log");
    await sendUntilArrived(b, a, "pose", { to: toA, channel: "pose" });
    await plays(b, toA);
    await sendVideo(b);
    await plays(a, toB);
    for (const tab of tabs) assert.equal(await tab.evaluate(() => events.length), 2, "two peerjoin, no peerleave");
    assert(await a.evaluate((id) => mine.peers.get(id) === before, toB));
    assert((await a.evaluate(() => restarts)) + (await b.evaluate(() => restarts)) >= 1);
    // Both connections of the third tab were left alone, unless the machine interrupted them.
    assert(await tabs[2].evaluate(() => restarts === 0 || Object.keys(interrupted).length > 0));
  },

  async "connection survives whose path is cut before both sides change their media"(key) {
    const [a, b, c] = await openGroup(key, {}, {}, {});
    const [toB, toA] = [await idOf(b), await idOf(a)];
    await paths.cut(a, toB);
    await paths.cut(b, toA);
    await Promise.all([sendVideo(a), sendVideo(b)]); // their offers wait in the control channel
    await reconnects(a, toB);
    await plays(b, toA);
    await plays(a, toB);
    for (const tab of [a, b, c]) assert.equal(await tab.evaluate(() => events.length), 2);
  },

  async "connection whose path is cut is lost without a common neighbour, and made again"(key) {
    const [a, b] = await openGroup(key, {}, {});
    const [toB, toA] = [await idOf(b), await idOf(a)];
    await paths.cut(a, toB);
    await paths.cut(b, toA);
    await until(a, () => events.some(([type]) => type === "peerleave"), undefined, LATER);
    await meshed(a, b);
    assert.equal((await a.evaluate(() => restarts)) + (await b.evaluate(() => restarts)), 0);
  },

  async "named channels deliver on both sides, from the first message on"(key) {
    const tabs = await openGroup(key, { channels: CHANNELS }, { channels: { ...CHANNELS, other: {} } }, {});
    const [a, b, without] = tabs;
    const [idA, idB] = [await idOf(a), await idOf(b)];
    await arrives(a, idB, "log", "first");
    await arrives(b, idA, "log", "first");
    assert.equal(await send(a, "a log", { channel: "log" }), 1);
    assert.equal(await send(b, "b log", { channel: "log" }), 1);
    await arrives(b, idA, "log", "a log");
    await arrives(a, idB, "log", "b log");
    assert.equal(await send(a, "first pose", { channel: "pose" }), 1);
    await sendUntilArrived(a, b, "a pose", { channel: "pose" });
    await sendUntilArrived(b, a, "b pose", { channel: "pose" });
    assert.equal(await b.evaluate(() => mine.send("x", { channel: "other" })), 0);
    const sent = await a.evaluate(() => mine.send(new Uint8Array(1_000_000), { channel: "log" }));
    assert.equal(sent, 1);
    await arrives(b, idA, "log", 1_000_000);
    await sendUntilArrived(a, b, 16_384, { channel: "pose" });
    const error = await a.evaluate(() => {
      try {
        return mine.send(new Uint8Array(16_385), { channel: "pose" });
      } catch ({ name }) {
        return name;
      }
    });
    assert.equal(error, "TypeError");
    const options = await a.evaluate(
      (id) =>
        new Promise((resolve) => {
          const { connection } = mine.peers.get(id);
          connection.getStats().then((stats) => {
            const labels = [...stats.values()].filter(({ type }) => type === "data-channel").map(({ label }) => label);
            resolve(labels.sort());
          });
        }),
      idB,
    );
    assert.deepEqual(options, ["control", "data", "log", "pose"]);
    assert.deepEqual(await without.evaluate(() => received), []);
  },
};

let passed = false;
try {
  const after = async () => {
    await closeTabs(browser);
    paths.close();
  };
  passed = await runScenarios(scenarios, { only: args.only, pageErrors, after });
} finally {
  await browser.close();
  target.files.stop();
  await target.server.stop();
}
process.exitCode = passed ? 0 : 1;
