/**
 * Tests the unmodified npm package `netflux` in Chromium, with a server as its `signalingServer`.
 *
 *     node netflux.mjs                                  the published server, npm sigver
 *     node netflux.mjs --signaling "PATH/sigver"        a server with the options -h HOST -p PORT
 *     node netflux.mjs --server "PATH/axum"             an example, with signaling under /signal; takes HOST:PORT
 *
 *     --only WORDS   run only scenarios whose name contains WORDS
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { launch, PERMISSIONS, SOON, until } from "./chromium.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { CLIENT, example, REFERENCE, serveFiles, signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: {
    server: { type: "string" },
    signaling: { type: "string", default: REFERENCE },
    only: { type: "string", default: "" },
  },
});

const LATER = 60_000; // for conditions that need several timeouts of Netflux
const MUCH_LATER = 120_000; // for many simultaneous joins

const files = await serveFiles({
  "/": ["netflux.html", "text/html; charset=utf-8"],
  "/netflux.js": ["node_modules/netflux/dist/netflux.browser.es5.umd.js", "text/javascript; charset=utf-8"],
  ...CLIENT,
});
const { server, signaling } = args.server ? await example(args.server) : await signalingOnly(args.signaling);
const browser = await launch();

// ---- Peers -------------------------------------------------------------------------------------------------------------

/** Uncaught errors of all pages of the running scenario. */
const pageErrors = [];

/** Makes Netflux work on a machine with only a loopback interface, and records its signaling sockets. */
function instrument() {
  // Netflux reconnects only while the browser is online. With only a loopback interface, Chromium reports offline.
  Object.defineProperty(Navigator.prototype, "onLine", { get: () => true });
  const { WebSocket: Socket } = globalThis;
  globalThis.sockets = [];
  globalThis.WebSocket = class extends Socket {
    received = [];
    sent = [];
    constructor(...parameters) {
      super(...parameters);
      if (!this.url.includes("wcId=")) globalThis.sockets.push(this); // other sockets belong to a bot
      this.addEventListener("message", (event) => {
        // Heartbeats and `connected` have 2 bytes, and `content` has more.
        if (globalThis.ignoreContent && event.data.byteLength > 2) event.stopImmediatePropagation();
        this.received.push(new Uint8Array(event.data));
      });
      this.addEventListener("close", ({ code }) => (this.closedWith = code));
    }
    send(data) {
      this.sent.push(new Uint8Array(data));
      super.send(data);
    }
  };
}

/** Opens a tab with a Netflux group that has not joined yet. */
async function open() {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const tab = await context.newPage();
  tab.on("pageerror", (error) => pageErrors.push(`uncaught in a page: ${error.stack ?? error}`));
  await tab.addInitScript(instrument);
  await tab.goto(files.origin);
  await tab.evaluate(async (signalingServer) => {
    Object.assign(globalThis, await import("/sigver-client/wire.js"));
    globalThis.messages = [];
    globalThis.group = new netflux.WebGroup({ signalingServer, rtcConfiguration: { iceServers: [] } });
    group.onMessage = (id, data) => messages.push({ id, data });
    /** Returns the kinds of the messages on the signaling sockets: "connected", "content", "heartbeat", "connect". */
    globalThis.kinds = (direction) =>
      sockets.flatMap((socket) => socket[direction]).map((data) => Object.keys(decode(data) ?? {})[0]);
  }, signaling);
  return tab;
}

const join = (tab, key) => tab.evaluate((key) => group.join(key), key);
const idOf = (tab) => tab.evaluate(() => group.myId);
const close = (tabs) => Promise.all(tabs.map((tab) => tab.close()));

async function openInTurn(key, count) {
  const tabs = [];
  for (let index = 0; index < count; index++) {
    tabs.push(await open());
    await join(tabs.at(-1), key);
    await meshed(tabs);
  }
  return tabs;
}

/** Waits until each tab has joined, its members are exactly the other tabs, and its signaling state is CHECKED. */
async function meshed(tabs, { timeout = SOON, others = [] } = {}) {
  const { JOINED } = await tabs[0].evaluate(() => netflux.WebGroupState);
  const { CHECKED } = await tabs[0].evaluate(() => netflux.SignalingState);
  const condition = ([ids, JOINED, CHECKED]) => {
    const sorted = (list) => [...list].sort((a, b) => a - b).join();
    return group.state === JOINED && group.signalingState === CHECKED && sorted(group.members) === sorted(ids);
  };
  const deadline = Date.now() + timeout;
  for (const tab of tabs) {
    for (;;) {
      // A peer that joins again has a new id.
      const ids = [...(await Promise.all(tabs.map(idOf))), ...others];
      try {
        await until(tab, condition, [ids, JOINED, CHECKED], Math.min(2_000, timeout));
        break;
      } catch {
        if (Date.now() < deadline) continue;
        const now = await tab.evaluate(() => ({
          id: group.myId,
          members: group.members,
          state: netflux.WebGroupState[group.state],
          signaling: netflux.SignalingState[group.signalingState],
          sockets: sockets.map(({ readyState, closedWith }) => closedWith ?? readyState),
        }));
        throw new Error(`tabs ${ids} do not form a mesh: ${JSON.stringify(now)}`);
      }
    }
  }
}

/** Sends a message from one tab, and waits until the others receive it. */
async function broadcasts(from, to, text) {
  await from.evaluate((text) => group.send(text), text);
  const id = await idOf(from);
  const isReceived = ([id, text]) => messages.some((message) => message.id === id && message.data === text);
  for (const tab of to) await until(tab, isReceived, [id, text]);
}

/** Starts a bot with Netflux's build for Node.js. Browsers invite it to their groups. */
async function startBot() {
  const require = createRequire(import.meta.url);
  // `uws` can no longer be installed, so package.json replaces it by `ws`, which does not set `upgradeReq`.
  const { WebSocketServer } = require("uws");
  const { emit } = WebSocketServer.prototype;
  WebSocketServer.prototype.emit = function (event, socket, request) {
    if (event === "connection") socket.upgradeReq = request;
    return emit.apply(this, arguments);
  };
  const { Bot } = require("netflux");
  const http = createServer();
  const bot = new Bot({ server: http, webGroupOptions: { signalingServer: signaling } });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return bot;
}

// ---- Scenarios ---------------------------------------------------------------------------------------------------------

const scenarios = {
  async "two peers join and exchange messages"(key) {
    const [first, second] = await openInTurn(key, 2);
    await broadcasts(first, [second], "hello");
    await broadcasts(second, [first], "hello back ✓");
  },

  async "three peers that join in turn receive broadcast and private messages"(key) {
    const [first, second, third] = await openInTurn(key, 3);
    await broadcasts(first, [second, third], "to all");
    await first.evaluate((id) => group.sendTo(id, "to the third only"), await idOf(third));
    await until(third, () => messages.some(({ data }) => data === "to the third only"));
    await broadcasts(first, [second, third], "after that");
    assert(!(await second.evaluate(() => messages.some(({ data }) => data === "to the third only"))));
  },

  async "each peer signals with one member when five join in turn"(key) {
    const tabs = await openInTurn(key, 5);
    for (const tab of tabs) {
      await broadcasts(
        tab,
        tabs.filter((other) => other !== tab),
        "from each to all",
      );
    }
    // A sixth peer signals with the first member only: the others receive no further content.
    const receivedKinds = await Promise.all(tabs.slice(1, 4).map((tab) => tab.evaluate(() => kinds("received"))));
    const before = receivedKinds.map((all) => all.filter((kind) => kind === "content").length);
    tabs.push(await open());
    await join(tabs[5], key);
    await meshed(tabs);
    const after = await Promise.all(tabs.slice(1, 4).map((tab) => tab.evaluate(() => kinds("received"))));
    assert.deepEqual(
      after.map((all) => all.filter((kind) => kind === "content").length),
      before,
    );
  },

  async "long message arrives complete"(key) {
    const [first, second] = await openInTurn(key, 2);
    await first.evaluate(() => group.send(new Uint8Array(300_000).map((_, index) => index % 251)));
    await until(second, () => messages.length === 1);
    assert(
      await second.evaluate(
        () => messages[0].data.length === 300_000 && messages[0].data.every((byte, index) => byte === index % 251),
      ),
    );
  },

  async "peer leaves and joins again"(key) {
    const tabs = await openInTurn(key, 3);
    await tabs[0].evaluate(() => group.leave());
    await meshed(tabs.slice(1));
    await until(tabs[0], () => group.state === netflux.WebGroupState.LEFT && sockets.at(-1).closedWith === 1000);
    await join(tabs[0], key);
    await meshed(tabs);
    await broadcasts(tabs[0], tabs.slice(1), "joined again");
  },

  async "closed tab is removed from the mesh"(key) {
    const tabs = await openInTurn(key, 3);
    await close([tabs[0]]);
    await meshed(tabs.slice(1), { timeout: LATER });
    await broadcasts(tabs[1], [tabs[2]], "two peers remain");
  },

  async "killed tab is removed from the mesh, and a new peer joins"(key) {
    const tabs = await openInTurn(key, 3);
    const devtools = await tabs[0].context().newCDPSession(tabs[0]);
    devtools.send("Page.crash").catch(() => {}); // the crashed page sends no response
    await meshed(tabs.slice(1), { timeout: LATER });
    tabs.push(await open());
    await join(tabs[3], key);
    await meshed(tabs.slice(1), { timeout: LATER });
    await broadcasts(tabs[1], tabs.slice(2), "three peers");
  },

  async "idle peers stay connected for four heartbeats"(key) {
    const tabs = await openInTurn(key, 2);
    // The server sends one every 5 s.
    const heartbeats = () => kinds("received").filter((kind) => kind === "heartbeat").length;
    const before = await Promise.all(tabs.map((tab) => tab.evaluate(heartbeats)));
    const atLeast = `(${heartbeats})() >= `;
    await Promise.all(tabs.map((tab, index) => until(tab, `${atLeast}${before[index] + 4}`, undefined, LATER)));
    for (const tab of tabs) assert.equal(await tab.evaluate(() => sockets.length), 1);
    await meshed(tabs);
    await broadcasts(tabs[0], [tabs[1]], "after the heartbeats");
  },

  async "unresponsive only member is evicted and joins again"(key) {
    const [unresponsive] = await openInTurn(key, 1);
    await unresponsive.evaluate(() => (globalThis.ignoreContent = true));
    const joiner = await open();
    await join(joiner, key);
    await until(unresponsive, () => sockets[0].closedWith === 4744, undefined, LATER);
    await unresponsive.evaluate(() => (globalThis.ignoreContent = false));
    await meshed([unresponsive, joiner], { timeout: LATER });
    assert.equal(await joiner.evaluate(() => sockets.length), 1, "the joiner is the member and was not closed");
    await broadcasts(unresponsive, [joiner], "joined again");
  },

  async "mesh survives a killed server and reconnects after the restart"(key) {
    const tabs = await openInTurn(key, 3);
    const ids = await Promise.all(tabs.map(idOf));
    await server.stop();
    for (const tab of tabs) await until(tab, () => sockets[0].readyState === WebSocket.CLOSED);
    await broadcasts(tabs[0], tabs.slice(1), "without a server");
    await server.start();
    await meshed(tabs, { timeout: LATER });
    assert.deepEqual(await Promise.all(tabs.map(idOf)), ids, "a peer joined again with a new id");
    tabs.push(await open());
    await join(tabs[3], key);
    await meshed(tabs);
    await broadcasts(tabs[3], tabs.slice(0, 3), "from the new peer");
  },

  async "sole peer reconnects after a server restart"(key) {
    const tabs = await openInTurn(key, 1);
    await server.stop();
    await until(tabs[0], () => sockets[0].readyState === WebSocket.CLOSED);
    await server.start();
    await meshed(tabs, { timeout: LATER });
    tabs.push(await open());
    await join(tabs[1], key);
    await meshed(tabs);
  },

  async "joiners are bound to an invited bot, which is favored"(key) {
    const tabs = await openInTurn(key, 2);
    const groups = [];
    bot.onWebGroup = (group) => groups.push(group);
    await tabs[0].evaluate((url) => group.invite(url), bot.url);
    await until(tabs[0], () => group.members.length === 3);
    const [group] = groups;
    group.onMessage = (id, data) => group.sendTo(id, `bot: ${data}`);
    await meshed(tabs, { others: [group.myId] });
    const contents = () => kinds("received").filter((kind) => kind === "content").length;
    const before = await tabs[0].evaluate(contents);
    tabs.push(await open());
    await join(tabs[2], key);
    await meshed(tabs, { others: [group.myId], timeout: LATER });
    assert.equal(await tabs[0].evaluate(contents), before, "the first member received signals");
    await tabs[2].evaluate(() => globalThis.group.send("hello"));
    await until(tabs[2], () => messages.some(({ data }) => data === "bot: hello"));
    group.leave();
    await meshed(tabs, { timeout: LATER });
  },

  // Netflux then completes the mesh late, by exchanging member lists every 20 s. The server must answer each `connect`.
  async "each connect is answered when five peers join simultaneously"(key) {
    const tabs = await Promise.all(Array.from({ length: 5 }, open));
    await Promise.all(tabs.map((tab) => join(tab, key)));
    for (const tab of tabs) {
      await until(tab, () => kinds("received").includes("connected") && group.members.length > 1, undefined, LATER);
      const count = ([direction, kind]) => kinds(direction).filter((it) => it === kind).length;
      const sent = await tab.evaluate(count, ["sent", "connect"]);
      const answered = await tab.evaluate(count, ["received", "connected"]);
      assert(answered >= 1 && sent - answered <= 1, `${sent} sent, ${answered} answered`);
      assert.equal(await tab.evaluate(() => sockets.length), 1, "a peer was closed");
    }
    await meshed(tabs, { timeout: MUCH_LATER });
  },
};

// ---- Run ---------------------------------------------------------------------------------------------------------------

const bot = await startBot();
let passed = false;
try {
  const after = () => closeTabs(browser);
  passed = await runScenarios(scenarios, { only: args.only, pageErrors, after });
} finally {
  await browser.close();
  files.stop();
  await server.stop();
}
// The bot has timers that cannot be stopped.
process.exit(passed ? 0 : 1);
