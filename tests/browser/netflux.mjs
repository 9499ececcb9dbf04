/**
 * The published client, npm `netflux`, unmodified, with a server as its `signalingServer`.
 *
 *     node netflux.mjs                                  the published server, npm sigver
 *     node netflux.mjs --signaling "PATH/sigver"        another one that takes -h HOST -p PORT
 *     node netflux.mjs --server "PATH/axum"             an example, with signaling under /signal: takes HOST:PORT
 *
 *     --only WORDS   the scenarios with these words in their name
 *
 * One line for each scenario, then `N passed, M failed`. Nothing here sleeps: every wait is for a condition, with a
 * deadline.
 */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { launch, PERMISSIONS, SOON, until } from "./chromium.mjs";
import { Report } from "./report.mjs";
import { example, REFERENCE, serveFiles, signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: {
    server: { type: "string" },
    signaling: { type: "string", default: REFERENCE },
    only: { type: "string", default: "" },
  },
});

const LATER = 60_000; // what Netflux needs several of its own time limits for
const MUCH_LATER = 120_000; // many at once

const files = await serveFiles({
  "/": ["netflux.html", "text/html; charset=utf-8"],
  "/netflux.js": ["node_modules/netflux/dist/netflux.browser.es5.umd.js", "text/javascript; charset=utf-8"],
  "/sigver.js": ["../../examples/web/sigver.js", "text/javascript; charset=utf-8"],
});
const { server, signaling } = args.server ? await example(args.server) : await signalingOnly(args.signaling);
const browser = await launch();

// ---- Peers -------------------------------------------------------------------------------------------------------------

/** What went wrong in any page of the running scenario. */
const complaints = [];

/** What Netflux needs and such a machine lacks; and handles on its signaling socket. */
function instrument() {
  // Netflux comes back to a server only while the browser is online, and Chromium takes a loopback alone for offline.
  Object.defineProperty(Navigator.prototype, "onLine", { get: () => true });
  const { WebSocket: Socket } = globalThis;
  globalThis.sockets = [];
  globalThis.WebSocket = class extends Socket {
    received = [];
    sent = [];
    constructor(...parameters) {
      super(...parameters);
      if (!this.url.includes("wcId=")) globalThis.sockets.push(this); // else it is a bot's
      this.addEventListener("message", (event) => {
        if (globalThis.deaf && event.data.byteLength > 2) event.stopImmediatePropagation(); // all but heartbeats and answers
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

/** A tab with a group of its own that has not joined. */
async function open() {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const tab = await context.newPage();
  tab.on("pageerror", (error) => complaints.push(`in a page: ${error.stack ?? error}`));
  await tab.addInitScript(instrument);
  await tab.goto(files.origin);
  await tab.evaluate(async (signalingServer) => {
    Object.assign(globalThis, await import("/sigver.js"));
    globalThis.heard = [];
    globalThis.group = new netflux.WebGroup({ signalingServer, rtcConfiguration: { iceServers: [] } });
    group.onMessage = (id, data) => heard.push({ id, data });
    /** What kinds of messages went over the signaling sockets: "connected", "content", "heartbeat", "connect". */
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

/** Each of them has joined, knows all the others and nobody else, and is on good terms with the server. */
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
      // A peer that comes back takes another id.
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
        throw new Error(`no mesh of ${ids}: ${JSON.stringify(now)}`);
      }
    }
  }
}

/** What one sends, the others get. */
async function talks(from, to, words) {
  await from.evaluate((words) => group.send(words), words);
  const id = await idOf(from);
  const got = ([id, words]) => heard.some((message) => message.id === id && message.data === words);
  for (const tab of to) await until(tab, got, [id, words]);
}

/** Netflux's build for Node, as a bot that browsers invite into their groups. */
async function startBot() {
  const require = createRequire(import.meta.url);
  // `uws` no longer installs, so package.json has `ws` in its place; it names one thing otherwise.
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
  async "two join, and talk"(key) {
    const [first, second] = await openInTurn(key, 2);
    await talks(first, [second], "hello");
    await talks(second, [first], "and hello to you ✓");
  },

  async "three join one after the other: broadcast and private messages"(key) {
    const [first, second, third] = await openInTurn(key, 3);
    await talks(first, [second, third], "to all");
    await first.evaluate((id) => group.sendTo(id, "to the third alone"), await idOf(third));
    await until(third, () => heard.some(({ data }) => data === "to the third alone"));
    await talks(first, [second, third], "after that");
    assert(!(await second.evaluate(() => heard.some(({ data }) => data === "to the third alone"))));
  },

  async "five join one after the other, each through one member"(key) {
    const tabs = await openInTurn(key, 5);
    for (const tab of tabs) {
      await talks(
        tab,
        tabs.filter((other) => other !== tab),
        "from each to all",
      );
    }
    // The last one signaled with the first in the order, and with nobody else.
    const signaled = await Promise.all(tabs.slice(1, 4).map((tab) => tab.evaluate(() => kinds("received"))));
    const before = signaled.map((all) => all.filter((kind) => kind === "content").length);
    tabs.push(await open());
    await join(tabs[5], key);
    await meshed(tabs);
    const after = await Promise.all(tabs.slice(1, 4).map((tab) => tab.evaluate(() => kinds("received"))));
    assert.deepEqual(
      after.map((all) => all.filter((kind) => kind === "content").length),
      before,
    );
  },

  async "a long message arrives whole"(key) {
    const [first, second] = await openInTurn(key, 2);
    await first.evaluate(() => group.send(new Uint8Array(300_000).map((_, index) => index % 251)));
    await until(second, () => heard.length === 1);
    assert(
      await second.evaluate(
        () => heard[0].data.length === 300_000 && heard[0].data.every((byte, index) => byte === index % 251),
      ),
    );
  },

  async "one leaves, and comes back"(key) {
    const tabs = await openInTurn(key, 3);
    await tabs[0].evaluate(() => group.leave());
    await meshed(tabs.slice(1));
    await until(tabs[0], () => group.state === netflux.WebGroupState.LEFT && sockets.at(-1).closedWith === 1000);
    await join(tabs[0], key);
    await meshed(tabs);
    await talks(tabs[0], tabs.slice(1), "I am back");
  },

  async "a tab closes"(key) {
    const tabs = await openInTurn(key, 3);
    await close([tabs[0]]);
    await meshed(tabs.slice(1), { timeout: LATER });
    await talks(tabs[1], [tabs[2]], "two of us");
  },

  async "a tab is killed"(key) {
    const tabs = await openInTurn(key, 3);
    const devtools = await tabs[0].context().newCDPSession(tabs[0]);
    devtools.send("Page.crash").catch(() => {}); // nobody is left to answer
    await meshed(tabs.slice(1), { timeout: LATER });
    tabs.push(await open());
    await join(tabs[3], key);
    await meshed(tabs.slice(1), { timeout: LATER });
    await talks(tabs[1], tabs.slice(2), "three of us");
  },

  async "seventeen seconds of silence are survived"(key) {
    const tabs = await openInTurn(key, 2);
    // One comes every five seconds.
    const beats = () => kinds("received").filter((kind) => kind === "heartbeat").length;
    const before = await Promise.all(tabs.map((tab) => tab.evaluate(beats)));
    const four = `(${beats})() >= `;
    await Promise.all(tabs.map((tab, index) => until(tab, `${four}${before[index] + 4}`, undefined, LATER)));
    for (const tab of tabs) assert.equal(await tab.evaluate(() => sockets.length), 1);
    await meshed(tabs);
    await talks(tabs[0], [tabs[1]], "still here");
  },

  async "the only member is stuck, and is replaced"(key) {
    const [stuck] = await openInTurn(key, 1);
    await stuck.evaluate(() => (globalThis.deaf = true));
    const joiner = await open();
    await join(joiner, key);
    await until(stuck, () => sockets[0].closedWith === 4744, undefined, LATER);
    await stuck.evaluate(() => (globalThis.deaf = false));
    await meshed([stuck, joiner], { timeout: LATER });
    assert.equal(await joiner.evaluate(() => sockets.length), 1, "the joiner is the member now");
    await talks(stuck, [joiner], "it is me again");
  },

  async "the server is killed, the mesh goes on, and all come back to the next one"(key) {
    const tabs = await openInTurn(key, 3);
    const ids = await Promise.all(tabs.map(idOf));
    await server.stop();
    for (const tab of tabs) await until(tab, () => sockets[0].readyState === WebSocket.CLOSED);
    await talks(tabs[0], tabs.slice(1), "without a server");
    await server.start();
    await meshed(tabs, { timeout: LATER });
    assert.deepEqual(await Promise.all(tabs.map(idOf)), ids, "nobody had to join anew");
    tabs.push(await open());
    await join(tabs[3], key);
    await meshed(tabs);
    await talks(tabs[3], tabs.slice(0, 3), "I am new");
  },

  async "one that is alone loses the server, and is back after three seconds"(key) {
    const tabs = await openInTurn(key, 1);
    await server.stop();
    await until(tabs[0], () => sockets[0].readyState === WebSocket.CLOSED);
    await server.start();
    await meshed(tabs, { timeout: LATER });
    tabs.push(await open());
    await join(tabs[1], key);
    await meshed(tabs);
  },

  async "an invited bot is favored: joiners come in through it"(key) {
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
    assert.equal(await tabs[0].evaluate(contents), before, "the first member was not asked");
    await tabs[2].evaluate(() => globalThis.group.send("hello"));
    await until(tabs[2], () => heard.some(({ data }) => data === "bot: hello"));
    group.leave();
    await meshed(tabs, { timeout: LATER });
  },

  // Netflux itself meshes late then, by exchanging lists of members every 20 s. The server's part is to answer each.
  async "five join in the same instant, and each is answered"(key) {
    const tabs = await Promise.all(Array.from({ length: 5 }, open));
    await Promise.all(tabs.map((tab) => join(tab, key)));
    for (const tab of tabs) {
      await until(tab, () => kinds("received").includes("connected") && group.members.length > 1, undefined, LATER);
      const [asked, answered] = await tab.evaluate(() =>
        ["connect", "connected"].map((kind, sent) => kinds(sent ? "received" : "sent").filter((it) => it === kind).length),
      );
      assert(answered >= 1 && asked - answered <= 1, `${asked} asked, ${answered} answered`);
      assert.equal(await tab.evaluate(() => sockets.length), 1, "nobody was sent away");
    }
    await meshed(tabs, { timeout: MUCH_LATER });
  },
};

// ---- Run ---------------------------------------------------------------------------------------------------------------

const bot = await startBot();
let good = false;
try {
  const report = new Report();
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (!name.includes(args.only)) continue;
    await report.run(name, async () => {
      complaints.length = 0;
      await scenario(`${name.replace(/\W+/g, "-")}-${Date.now()}`);
      if (complaints.length) throw new Error(complaints.join("\n"));
    });
    await Promise.all(browser.contexts().map((context) => context.close()));
  }
  good = report.end();
} finally {
  await browser.close();
  files.stop();
  await server.stop();
}
// The bot keeps timers that nobody can stop.
process.exit(good ? 0 : 1);
