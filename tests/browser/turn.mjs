/**
 * Tests sigver-client and the demo page in Chromium or Firefox with ICE servers of the standalone server, and coturn for
 * TURN.
 *
 *     node turn.mjs --server "PATH/sigver" [--browser firefox] [--only WORDS] [--shots DIR]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { parseArgs } from "node:util";
import { BROWSER_OPTION, launch } from "./browsers.mjs";
import { PERMISSIONS, SOON, until } from "./chromium.mjs";
import { credentials, startCoturn } from "./coturn.mjs";
import { front } from "./front.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: {
    ...BROWSER_OPTION,
    server: { type: "string" },
    only: { type: "string", default: "" },
    shots: { type: "string" },
  },
});
if (!args.server) throw new Error("--server is missing; must be the command of a sigver server");

const LATER = 45_000; // for conditions that need a timeout of sigver-client

// Chromium refreshes an allocation after half of its lifetime, and these once: a refresh makes the lifetime 10 minutes.
const turn = await startCoturn(["max-allocate-lifetime=40"]);
const withTurn = await signalingOnly(`${args.server} --ice-server ${turn.url} --turn-secret-file ${turn.secretFile}`);
const withoutTurn = await signalingOnly(args.server);
const browser = await launch(args.browser);
const pageErrors = [];

/** Lets a test restrict all connections of a page to relays, and records ICE errors, messages and reasons. */
function instrument() {
  const { RTCPeerConnection: Connection } = globalThis;
  const restrict = (configuration) =>
    globalThis.relayOnly ? { ...configuration, iceTransportPolicy: "relay" } : configuration;
  globalThis.iceErrors = [];
  globalThis.RTCPeerConnection = class extends Connection {
    constructor(configuration) {
      super(restrict(configuration));
      this.addEventListener("icecandidateerror", ({ errorCode }) => globalThis.iceErrors.push(errorCode));
    }
    setConfiguration(configuration) {
      super.setConfiguration(restrict(configuration));
    }
  };
  globalThis.received = [];
  globalThis.reasons = [];
}

/** Opens the demo page in its own context. `requests` collects the statuses of its requests for ICE servers. */
async function open(key, { target = withTurn, relayOnly = true } = {}) {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const page = await context.newPage();
  page.requests = [];
  page.on("pageerror", (error) => pageErrors.push(error));
  page.answered = new Promise((resolve, reject) => {
    setTimeout(reject, SOON, new Error("no answer to a request for ICE servers")).unref();
    page.on("response", (response) => {
      if (response.url().endsWith(`/${key}`)) resolve(page.requests.push(response.status()));
    });
  });
  page.answered.catch(() => {}); // not all scenarios wait for it
  await page.addInitScript(instrument);
  await page.addInitScript((relayOnly) => (globalThis.relayOnly = relayOnly), relayOnly);
  await page.goto(`${target.page}#${key}`);
  await page.evaluate(() => {
    group.addEventListener("message", ({ data }) => received.push(data));
    group.addEventListener("statechange", ({ reason }) => reasons.push(reason));
  });
  return page;
}

/** Waits for the first answer to a request of a tab for ICE servers: a tab may report it late. Returns the statuses. */
async function requestsOf(tab) {
  await tab.answered;
  return tab.requests;
}

/** Waits until each tab is connected with the others, and shows these words for each connection. */
async function connected(tabs, path, words, timeout = SOON) {
  for (const tab of tabs) {
    const isConnected = ([count, path]) =>
      group.peers.size === count && [...group.peers.values()].every((peer) => peer.path === path);
    await until(tab, isConnected, [tabs.length - 1, path], timeout).catch(async (error) => {
      const now = await tab.evaluate(() => ({ state: group.state, reasons, iceErrors, peers: [...group.peers.keys()] }));
      throw new Error(`no ${path} connection: ${JSON.stringify(now)}\n${turn.log.slice(-2_000)}`, { cause: error });
    });
    const isShown = ([count, words]) =>
      [...document.querySelectorAll("#peers li")].filter((it) => it.textContent.includes(words)).length === count;
    await until(tab, isShown, [tabs.length - 1, words]);
  }
}

async function exchange(from, to, text) {
  assert.equal(await from.evaluate((text) => group.send(text), text), 1);
  await until(to, (text) => received.includes(text), text);
}

/** Gathers relay candidates with one server. Resolves with the types of the candidates and the codes of the errors. */
const gather = (tab, server) =>
  tab.evaluate(async (server) => {
    const rtc = new RTCPeerConnection({ iceServers: [server] });
    const result = { candidates: [], errors: [] };
    rtc.onicecandidateerror = ({ errorCode }) => result.errors.push(errorCode);
    const complete = new Promise((resolve) => {
      rtc.onicecandidate = ({ candidate }) =>
        candidate?.candidate ? result.candidates.push(candidate.type) : candidate || resolve();
    });
    rtc.createDataChannel("test");
    await rtc.setLocalDescription();
    await complete;
    rtc.close();
    return result;
  }, server);

const scenarios = {
  async "tabs that may only use relays connect through coturn with credentials of the hub"(key) {
    const first = await open(key);
    await until(first, () => group.state === "joined");
    const second = await open(key);
    await connected([first, second], "relayed", "relayed through a TURN server");
    await exchange(first, second, "hello");
    await exchange(second, first, "hello back");
    const third = await open(key); // connects to the first two through each other
    await connected([first, second, third], "relayed", "relayed through a TURN server");
    const servers = await first.evaluate(() => {
      const [{ connection }] = group.peers.values();
      return connection.getConfiguration().iceServers;
    });
    assert.equal(servers.length, 1);
    assert.deepEqual([servers[0].urls].flat(), [turn.url]);
    assert.match(servers[0].username, /^\d{10}(:|$)/);
    for (const tab of [first, second, third]) assert.deepEqual(await requestsOf(tab), [200]);
    if (args.shots) await takeShots(third);
  },

  async "tabs that need no relay connect directly, and the page shows it"(key) {
    const tabs = [await open(key, { relayOnly: false }), await open(key, { relayOnly: false })];
    await connected(tabs, "direct", ", direct");
    await exchange(tabs[0], tabs[1], "hello");
  },

  async "page follows when a connection changes from relayed to direct"(key) {
    const tabs = [await open(key), await open(key)];
    await connected(tabs, "relayed", "relayed through a TURN server");
    await tabs[0].evaluate(() => void (globalThis.item = document.querySelector("#peers li")));
    for (const tab of tabs) {
      await tab.evaluate(() => {
        globalThis.relayOnly = false;
        const [{ connection: rtc }] = group.peers.values();
        rtc.setConfiguration({ ...rtc.getConfiguration(), iceTransportPolicy: "all" });
      });
    }
    await tabs[0].evaluate(() => [...group.peers.values()][0].connection.restartIce());
    await connected(tabs, "direct", ", direct");
    await exchange(tabs[0], tabs[1], "after the restart");
    assert(await tabs[0].evaluate(() => item.isConnected), "the item of the list was replaced");
  },

  async "expired, forged and altered credentials get 401 and no relay"(key) {
    const tab = await open(key, { relayOnly: false });
    const valid = credentials(turn);
    const longer = valid.username.replace(/^\d+/, (expiry) => Number(expiry) + 3600);
    const bad = {
      expired: credentials(turn, { seconds: -1 }),
      forged: credentials(turn, { secret: "another secret of the forger" }),
      "with a later expiry": { ...valid, username: longer },
      "of somebody else": { ...valid, username: valid.username.replace("test", "root") },
    };
    assert((await gather(tab, valid)).candidates.includes("relay"), "valid credentials get no relay");
    for (const [name, server] of Object.entries(bad)) {
      const { candidates, errors } = await gather(tab, server);
      assert(!candidates.includes("relay"), `credentials ${name} get a relay`);
      assert(errors.includes(401), `credentials ${name} get ${errors}`);
    }
  },

  async "tabs with forged credentials do not connect, and the page says why"(key) {
    const forged = credentials(turn, { secret: "another secret of the forger" });
    const tabs = [await open(`other-${key}`), await open(`other-${key}`)];
    for (const tab of tabs) {
      await tab.evaluate(
        async ([signaling, key, forged]) => {
          const { Group } = await import("./sigver-client/index.js");
          globalThis.mine = new Group(signaling, key, { iceServers: [forged] });
          mine.addEventListener("statechange", ({ reason }) => reasons.push(reason));
        },
        [withTurn.signaling, key, forged],
      );
      await until(tab, () => ["joined", "joining"].includes(mine.state));
    }
    await until(tabs[1], () => reasons.includes("ice-failed"), undefined, LATER);
    for (const tab of tabs) assert.equal(await tab.evaluate(() => mine.peers.size), 0);
    assert((await tabs[1].evaluate(() => iceErrors)).includes(401));
  },

  async "connection outlives its credentials"(key) {
    const tabs = [await open(`other-${key}`), await open(`other-${key}`)];
    const server = credentials(turn, { seconds: 15 }); // enough to connect on a machine under load
    for (const tab of tabs) {
      await tab.evaluate(
        async ([signaling, key, server]) => {
          const { Group } = await import("./sigver-client/index.js");
          globalThis.mine = new Group(signaling, key, { iceServers: () => ({ iceServers: [server], ttl: 5 }) });
          await mine.joined;
        },
        [withTurn.signaling, key, server],
      );
    }
    for (const tab of tabs) await until(tab, () => mine.peers.size === 1 && [...mine.peers.values()][0].path === "relayed");
    // After 20 s, when the credentials have expired. Without refreshes, the allocations of both tabs would expire too.
    const sessions = (log, event) => {
      const lines = log.split("\n").filter((it) => it.includes(`<${server.username}>`) && !it.endsWith("lifetime=0"));
      return lines.flatMap((it) => new RegExp(`session (\\d+): ${event},`).exec(it)?.[1] ?? []);
    };
    const opened = sessions(turn.log, "new");
    assert(opened.length >= 2, turn.log);
    await turn.logged((log) => opened.every((it) => sessions(log, "refreshed").includes(it)), LATER);
    assert((await gather(tabs[0], server)).errors.includes(401), "the credentials have not expired");
    assert.equal(await tabs[0].evaluate(() => mine.send("still here")), 1);
    for (const tab of tabs) assert.equal(await tab.evaluate(() => [...mine.peers.values()][0].path), "relayed");
  },

  async "hub without ICE servers answers 426, once for each tab, and tabs connect directly"(key) {
    const options = { target: withoutTurn, relayOnly: false };
    const tabs = [await open(key, options), await open(key, options)];
    await connected(tabs, "direct", ", direct");
    await withoutTurn.server.stop();
    for (const tab of tabs) await until(tab, () => group.state === "reconnecting");
    await withoutTurn.server.start();
    for (const tab of tabs) await until(tab, () => group.state === "joined", undefined, LATER);
    for (const tab of tabs) assert.deepEqual(await requestsOf(tab), [426]);
  },
};

/** Answers of a server that is not a hub with ICE servers. */
const ANSWERS = {
  "never comes": () => {},
  "is slow and has no end": (_, response) => response.writeHead(200, CORS).write('{"iceServers":['),
  "is a page": (_, response) => response.writeHead(200, CORS).end("<!doctype html>"),
  "is a list that a browser rejects": (_, response) =>
    response.writeHead(200, CORS).end('{"iceServers":[{"urls":"https://example.org"}],"ttl":60}'),
  "redirects in a circle": ({ url }, response) => response.writeHead(302, { ...CORS, location: url }).end(),
  "is hidden from the page": (_, response) => response.end('{"iceServers":[],"ttl":60}'),
  "is a broken connection": ({ socket }) => socket.destroy(),
};
const CORS = { "access-control-allow-origin": "*" };

for (const [name, answer] of Object.entries(ANSWERS)) {
  scenarios[`tabs connect if the answer for ICE servers ${name}`] = async (key) => {
    const proxy = await front(new URL(withoutTurn.signaling).port, answer);
    try {
      const options = { target: { page: withoutTurn.page.replace(/ws:.*/, proxy.signaling) }, relayOnly: false };
      const tabs = [await open(key, options), await open(key, options)];
      await connected(tabs, "direct", ", direct");
      await exchange(tabs[0], tabs[1], "hello");
    } finally {
      proxy.stop();
    }
  };
}

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };

async function takeShots(tab) {
  await mkdir(args.shots, { recursive: true });
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      await tab.setViewportSize(viewport);
      await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const path = `${args.shots}/relayed-${size}-${colorScheme}.png`;
      await tab.screenshot({ path, fullPage: true, animations: "disabled" });
    }
  }
}

let passed = false;
try {
  const after = () => closeTabs(browser);
  passed = await runScenarios(scenarios, { only: args.only, pageErrors, after });
} finally {
  await browser.close();
  for (const { files, server } of [withTurn, withoutTurn]) {
    files.stop();
    await server.stop();
  }
  await turn.stop();
}
process.exitCode = passed ? 0 : 1;
