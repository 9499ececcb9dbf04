/**
 * Tests the crate sigver-mesh with Chromium or Firefox: its example `echo` in groups of tabs with the demo page.
 *
 *     node mesh.mjs --server "PATH/sigver" --echo PATH/echo [--browser firefox] [--only WORDS]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { BROWSER_OPTION, crash, launch } from "./browsers.mjs";
import { PERMISSIONS, SOON, until } from "./chromium.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: {
    ...BROWSER_OPTION,
    server: { type: "string" },
    echo: { type: "string" },
    only: { type: "string", default: "" },
  },
});
if (!args.server || !args.echo) throw new Error("--server or --echo is missing; must be the path of a program");

const LATER = 30_000; // for conditions that need six pings
const target = await signalingOnly(args.server);
const browser = await launch(args.browser);
const pageErrors = [];
const bots = [];

/** A process of the example `echo`. */
class Bot {
  #output = "";
  #waiting = () => {};

  constructor(key) {
    const env = { ...process.env, RUST_LOG: "info", NO_COLOR: "1" };
    this.process = spawn(args.echo, [target.signaling, key], { env, stdio: ["ignore", "pipe", "inherit"] });
    this.exited = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.stdout.on("data", (data) => {
      this.#output += data;
      this.#waiting();
    });
    bots.push(this);
  }

  /** Waits until the log has a line that matches. */
  async logs(pattern, timeout = SOON) {
    const late = setTimeout(() => this.#waiting(new Error(`no ${pattern} in the log: ${this.#output}`)), timeout);
    try {
      for (;;) {
        const found = pattern.exec(this.#output);
        if (found) return found;
        await new Promise((resolve, reject) => (this.#waiting = (error) => (error ? reject(error) : resolve())));
      }
    } finally {
      clearTimeout(late);
    }
  }

  async joined() {
    this.id = Number((await this.logs(/joined id=(\d+)/))[1]);
    return this;
  }

  async stop(signal) {
    this.process.kill(signal);
    return this.exited;
  }
}

/** Starts a bot, and waits until it is a member. */
const startBot = (key) => new Bot(key).joined();

async function open(key) {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const page = await context.newPage();
  page.on("pageerror", (error) => pageErrors.push(`uncaught in a page: ${error.stack ?? error}`));
  await page.goto(`${target.page}#${key}`);
  await page.evaluate(() => {
    globalThis.received = [];
    globalThis.streams = 0;
    globalThis.left = [];
    group.addEventListener("message", ({ peerId, data }) => received.push({ peerId, data }));
    group.addEventListener("stream", () => streams++);
    group.addEventListener("peerleave", ({ peerId }) => left.push(peerId));
  });
  return page;
}

/** Waits until a tab is joined and has this many neighbours. */
const meshed = (tab, count, timeout = SOON) =>
  until(tab, (count) => group.state === "joined" && group.peers.size === count, count, timeout);

/** Sends a chat message, and waits until the page shows the bot's answer. */
async function chats(tab, text) {
  await tab.locator("#compose button:enabled").waitFor({ timeout: SOON }); // the page shows peers with a short delay
  await tab.fill("#text", text);
  await tab.press("#text", "Enter");
  await tab.locator("#log .line", { hasText: `echo: ${text}` }).first().waitFor({ timeout: SOON });
}

const scenarios = {
  async "bot that joins a tab answers its chat messages"(key) {
    const tab = await open(key);
    await until(tab, () => group.state === "joined");
    const bot = await startBot(key);
    await meshed(tab, 1);
    assert.deepEqual(await tab.evaluate(() => [...group.peers.keys()]), [bot.id]);
    await chats(tab, "hello bot");
  },

  async "tab that joins a bot gets answers"(key) {
    await startBot(key);
    const tab = await open(key);
    await meshed(tab, 1);
    await chats(tab, "hello member");
    await until(tab, () =>
      [...group.peers.values()].every(({ roundTripTime, path }) => roundTripTime !== undefined && path === "direct"),
    );
  },

  async "bot and tab use version 1 and know each other's metadata"(key) {
    const bot = await startBot(key);
    const tab = await open(key);
    await meshed(tab, 1);
    const peer = await tab.evaluate(() => {
      const [{ version, metadata, fingerprint }] = group.peers.values();
      return { version, metadata, fingerprint };
    });
    assert.deepEqual([peer.version, peer.metadata], [1, { name: "echo" }]);
    assert.match(peer.fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    await tab.evaluate(() => group.setMetadata({ name: "half an emoji: \ud83d" }));
    await bot.logs(/PeerMetadata .*half an emoji/);
  },

  async "two tabs meet through the bot, which relays their signals"(key) {
    await startBot(key);
    const first = await open(key);
    await meshed(first, 1);
    const second = await open(key);
    await Promise.all([first, second].map((tab) => meshed(tab, 2)));
    await chats(first, "from the first");
    await chats(second, "from the second");
    await until(first, () => received.some(({ data }) => data === "from the second"));
  },

  async "bots and tabs form a mesh"(key) {
    const tabs = [await open(key), await open(key)];
    await Promise.all(tabs.map((tab) => meshed(tab, 1)));
    await Promise.all([startBot(key), startBot(key), startBot(key)]);
    await Promise.all(tabs.map((tab) => meshed(tab, 4, LATER)));
    await until(tabs[0], () => [...group.peers.values()].every(({ neighbours }) => neighbours.length === 4));
  },

  async "messages of 300 KB and of 8 MB arrive in both directions"(key) {
    await startBot(key);
    const tab = await open(key);
    await meshed(tab, 1);
    for (const length of [300_000, 8_000_000]) {
      const sent = await tab.evaluate((length) => {
        globalThis.text = Array.from({ length: length / 10 }, (_, index) => String(index).padStart(10)).join("");
        received.length = 0;
        return group.send(text);
      }, length);
      assert.equal(sent, 1);
      await until(tab, () => received.length === 1, undefined, LATER);
      assert(await tab.evaluate(() => received[0].data === `echo: ${text}`));
    }
  },

  async "bot answers the camera of a tab, which another tab receives"(key) {
    await startBot(key);
    const tabs = [await open(key), await open(key)];
    await Promise.all(tabs.map((tab) => meshed(tab, 2)));
    const neighboursOf = () => [...group.peers.values()];
    for (const tab of tabs) await tab.evaluate(`globalThis.neighboursOf = ${neighboursOf}`);
    // From the second time on, the browser stops sections, and uses their places again.
    for (let count = 1; count <= 5; count++) {
      await tabs[0].click("#camera");
      await until(tabs[1], (count) => streams === count, count);
      await chats(tabs[0], `with camera ${count}`);
      await tabs[0].click("#camera");
      await until(tabs[1], () => neighboursOf().every(({ streams }) => streams.length === 0));
      await until(tabs[0], () => neighboursOf().every(({ connection }) => connection.signalingState === "stable"));
    }
    await tabs[0].click("#camera");
    await tabs[1].click("#camera");
    await until(tabs[0], () => streams === 1);
    await until(tabs[0], () => neighboursOf().every(({ connection }) => connection.getTransceivers().length <= 4));
    for (const tab of tabs) await chats(tab, "with two cameras");
    for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => left), []);
  },

  async "bot that leaves is removed at once, and a killed one after its pings are lost"(key) {
    const tab = await open(key);
    const [leaves, killed] = [await startBot(key), await startBot(key)];
    await meshed(tab, 2);
    await leaves.stop("SIGINT");
    assert.equal(leaves.process.exitCode, 0);
    await meshed(tab, 1);
    await killed.stop("SIGKILL");
    await meshed(tab, 0, LATER);
  },

  async "bot notices a tab that closes, and one that is killed"(key) {
    const bot = await startBot(key);
    const tabs = [await open(key), await open(key)];
    await Promise.all(tabs.map((tab) => meshed(tab, 2)));
    const [closed, killed] = await Promise.all(tabs.map((tab) => tab.evaluate(() => group.id)));
    await tabs[0].close({ runBeforeUnload: false });
    await bot.logs(new RegExp(`PeerLeave { peer: ${closed}, reason: (Left|Lost)`), LATER);
    await crash(tabs[1]);
    await bot.logs(new RegExp(`PeerLeave { peer: ${killed}, reason: Lost`), LATER);
  },

  async "interrupted connection is restarted through a common neighbour"(key) {
    const bot = await startBot(key);
    const tabs = [await open(key), await open(key)];
    await Promise.all(tabs.map((tab) => meshed(tab, 2)));
    const isRestarting = (id) => group.peers.get(id).connection.signalingState === "have-local-offer";
    const isConnected = (id) => {
      const { signalingState, iceConnectionState } = group.peers.get(id).connection;
      return signalingState === "stable" && ["connected", "completed"].includes(iceConnectionState);
    };
    bot.process.kill("SIGSTOP");
    // The tab with the lower id offers first.
    await Promise.any(tabs.map((tab) => until(tab, isRestarting, bot.id, LATER)));
    bot.process.kill("SIGCONT");
    for (const tab of tabs) {
      await until(tab, isConnected, bot.id, LATER);
      await chats(tab, "after the interruption");
      assert.deepEqual(await tab.evaluate(() => left), []);
    }
  },

  async "bot and tab stay connected while the server restarts, and a new tab joins"(key) {
    const bot = await startBot(key);
    const tab = await open(key);
    await meshed(tab, 1);
    await target.server.stop();
    await until(tab, () => group.state === "reconnecting");
    await bot.logs(/Reconnecting/);
    await chats(tab, "without a server");
    await target.server.start();
    await meshed(tab, 1, LATER);
    await bot.logs(/Reconnecting[^]*Joined/, LATER);
    await meshed(await open(key), 2, LATER);
    assert.deepEqual(await tab.evaluate(() => left), []);
  },
};

let passed = false;
try {
  const after = async () => {
    await closeTabs(browser);
    await Promise.all(bots.splice(0).map((bot) => bot.stop("SIGKILL")));
  };
  passed = await runScenarios(scenarios, { only: args.only, pageErrors, after });
} finally {
  for (const bot of bots) bot.process.kill("SIGKILL");
  await browser.close();
  await target.server.stop();
  target.files.stop();
}
process.exitCode = passed ? 0 : 1;
