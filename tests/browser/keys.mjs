/**
 * Tests sigver-client in Chromium or Firefox against the standalone server with signed keys, which expire, are renewed
 * or forged.
 *
 *     node keys.mjs --server "PATH/sigver" [--browser firefox]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BROWSER_OPTION, launch } from "./browsers.mjs";
import { PERMISSIONS, SOON, until } from "./chromium.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({ options: { ...BROWSER_OPTION, server: { type: "string" } } });
if (!args.server) throw new Error("--server is missing; must be the command of a sigver server");

const EXPIRY = 15; // in seconds: enough to join on a machine under load
const LATER = 45_000; // for conditions that need this time

const secret = randomBytes(32).toString("hex");
const directory = await mkdtemp(join(tmpdir(), "sigver-keys-"));
await writeFile(join(directory, "secret"), secret);
const target = await signalingOnly(`${args.server} --signed-keys-secret-file ${join(directory, "secret")}`);
const browser = await launch(args.browser);
const pageErrors = [];

/** Signs a key that expires in this many seconds, as `SignedKeys::sign` does. */
function sign(key, seconds) {
  const signed = `${key}~${Math.floor(Date.now() / 1000) + seconds}`;
  return `${signed}~${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** Opens a tab whose `key` function takes the keys in turn from this process. */
async function open(...keys) {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const page = await context.newPage();
  page.on("pageerror", (error) => pageErrors.push(error));
  await page.exposeFunction("nextKey", () => (keys.length > 1 ? keys.shift() : keys[0])());
  await page.goto(`${new URL(target.page).origin}/?signal=${target.signaling}`);
  await page.evaluate(async (signaling) => {
    const { Group } = await import("./sigver-client/index.js");
    globalThis.states = [];
    globalThis.received = [];
    globalThis.left = [];
    globalThis.mine = new Group(signaling, () => nextKey(), { iceServers: [] });
    mine.addEventListener("statechange", ({ state, reason, code, closeReason }) =>
      states.push({ state, reason, code, closeReason }),
    );
    mine.addEventListener("message", ({ data }) => received.push(data));
    mine.addEventListener("peerleave", ({ peerId }) => left.push(peerId));
    mine.joined.catch(({ name, code, closeReason }) => (globalThis.joinError = { name, code, closeReason }));
  }, target.signaling);
  return page;
}

const meshed = (tab) => until(tab, () => mine.peers.size === 1 && mine.state === "joined");

const scenarios = {
  async "peer whose key expires gets a fresh one, and its connection to the other peer stays"(key) {
    const stays = await open(() => sign(key, 60));
    await until(stays, () => mine.state === "joined");
    const renews = await open(
      () => sign(key, EXPIRY),
      () => sign(key, 60),
    );
    await meshed(renews);
    await until(renews, () => states.some(({ code }) => code === 4740), undefined, LATER);
    assert.equal(await renews.evaluate(() => mine.send("while it reconnects")), 1);
    await until(stays, () => received.includes("while it reconnects"));
    await meshed(renews);
    for (const tab of [stays, renews]) {
      assert.deepEqual(await tab.evaluate(() => left), []);
      assert.equal(await tab.evaluate(() => mine.peers.size), 1);
    }
    const states = await renews.evaluate(() => globalThis.states.map((it) => `${it.state} ${it.reason}`.trim()));
    // One more event at the end of the wait for the next socket.
    assert.deepEqual([...new Set(states)], ["joining", "joined", "reconnecting expired"]);
    assert.equal(states.at(-1), "joined");
  },

  async "peer leaves the group if its app has no fresh key"(key) {
    const stays = await open(() => sign(key, 60));
    await until(stays, () => mine.state === "joined");
    const expires = await open(
      () => sign(key, EXPIRY),
      () => {
        throw new Error("the session has ended");
      },
    );
    await until(expires, () => mine.state === "left", undefined, LATER);
    assert(await expires.evaluate(() => states.some(({ state }) => state === "joined")), "it left before it joined");
    const { state, reason, code, closeReason } = await expires.evaluate(() => states.at(-1));
    assert.deepEqual([state, reason, code], ["left", "rejected", 4740]);
    assert.match(closeReason, /expired/);
    await until(stays, () => left.length === 1);
  },

  async "forged key is rejected for good, with the reason of the server"(key) {
    const forger = await open(() => sign(key, 60).slice(0, -1));
    await until(forger, () => mine.state === "left" && globalThis.joinError);
    assert.deepEqual(await forger.evaluate(() => joinError), {
      name: "NotAllowedError",
      code: 1008,
      closeReason: "key has an invalid signature",
    });
  },

  async "demo page shows why the server rejected it"(key) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${target.page}#${key}`);
    const notice = page.locator("#notice", { hasText: "The server rejected this group (1008: key is not signed" });
    await notice.waitFor({ timeout: SOON });
    assert.equal(await page.textContent("#state"), "Not connected");
  },
};

let passed = false;
try {
  passed = await runScenarios(scenarios, { pageErrors, after: () => closeTabs(browser) });
} finally {
  await browser.close();
  target.files.stop();
  await target.server.stop();
  await rm(directory, { recursive: true });
}
process.exitCode = passed ? 0 : 1;
