/**
 * Tests the demo page and sigver-client in Chromium: groups of several tabs, and their failures.
 *
 *     node demo.mjs                                     the published server, npm sigver
 *     node demo.mjs --signaling "PATH/sigver"           a server with the options -h HOST -p PORT
 *     node demo.mjs --server "PATH/axum"                an example, which also serves the page; takes HOST:PORT
 *     node demo.mjs --page http://HOST:PORT/            a running server (skips the scenarios that restart it)
 *
 *     --page-here    with --server: serve the page from this folder, and use the server for signaling only
 *     --only WORDS   run only scenarios whose name contains WORDS
 *     --shots DIR    take screenshots of the page instead
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { parseArgs } from "node:util";
import { launch, PERMISSIONS, SOON, until } from "./chromium.mjs";
import { Report } from "./report.mjs";
import { example, REFERENCE, signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({
  options: {
    server: { type: "string" },
    signaling: { type: "string", default: REFERENCE },
    page: { type: "string" },
    "page-here": { type: "boolean", default: false },
    only: { type: "string", default: "" },
    shots: { type: "string" },
  },
});

const LATER = 30_000; // for conditions that need a timeout of sigver-client
const MUCH_LATER = 90_000; // for conditions that need such a timeout and then a back-off

const target = args.page
  ? { page: args.page }
  : args.server
    ? await example(args.server, { pageHere: args["page-here"] })
    : await signalingOnly(args.signaling);
const browser = await launch();

// ---- Tabs --------------------------------------------------------------------------------------------------------------

/** Errors of all pages of the running scenario: exceptions, unhandled rejections, requests to other hosts. */
const pageErrors = [];
const hosts = new Set([target.page, target.signaling].filter(Boolean).map((url) => new URL(url).host));
hosts.add("127.0.0.1:9"); // browsers block this port

/** Gives the scenarios control of a page: they can block its sockets and close its connections. */
function instrument() {
  const { WebSocket: Socket, RTCPeerConnection: Connection } = globalThis;
  globalThis.sockets = [];
  globalThis.frames = { sent: [], received: [] };
  globalThis.WebSocket = class extends Socket {
    constructor(url) {
      super(globalThis.blockSockets ? "ws://127.0.0.1:9/" : url); // browsers block this port
      globalThis.sockets.push(this);
      this.addEventListener("message", ({ data }) => globalThis.frames.received.push(data));
    }
    send(data) {
      globalThis.frames.sent.push(data);
      super.send(data);
    }
  };
  globalThis.connections = [];
  globalThis.RTCPeerConnection = class extends Connection {
    constructor(configuration) {
      super(configuration);
      globalThis.connections.push(this);
    }
  };
  const { send } = RTCDataChannel.prototype;
  RTCDataChannel.prototype.send = function (data) {
    if (!(globalThis.noRelay && String(data).startsWith('{"relay"'))) send.call(this, data);
  };
  const { setTimeout: later } = globalThis;
  // OFFER_DELAY of sigver-client: for 2500 ms, the peer with the higher id waits for the other one's offer.
  globalThis.setTimeout = (callback, ms, ...rest) =>
    later(callback, globalThis.noOfferDelay && ms === 2_500 ? 0 : ms, ...rest);
  globalThis.received = [];
  globalThis.states = [];
}

/** Opens a tab in its own context, hence its own process, so that killing one tab does not affect others. */
async function open(key, { before, ...options } = {}) {
  const context = await browser.newContext({ permissions: PERMISSIONS, ...options });
  const page = await context.newPage();
  page.on("pageerror", (error) => pageErrors.push(`uncaught in a page: ${error.stack ?? error}`));
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== "data:" && !hosts.has(host)) pageErrors.push(`request to another host: ${request.url()}`);
  });
  await page.addInitScript(instrument);
  if (before) await page.addInitScript(before);
  await page.goto(`${target.page}#${key}`);
  await page.evaluate(() => {
    group.addEventListener("message", ({ peerId, data }) => received.push({ peerId, data }));
    group.addEventListener("statechange", ({ state, reason }) => states.push({ state, reason }));
  });
  return page;
}

const openMany = (key, count, options) => Promise.all(Array.from({ length: count }, () => open(key, options)));

async function openInTurn(key, count) {
  const tabs = [];
  for (let index = 0; index < count; index++) {
    tabs.push(await open(key));
    await meshed(tabs);
  }
  return tabs;
}

const idOf = (tab) => tab.evaluate(() => group.id);

/** Waits until each tab has joined and its neighbours are exactly the other tabs. */
async function meshed(tabs, timeout = SOON, state = "joined") {
  const ids = await Promise.all(tabs.map(idOf));
  const reached = tabs.map(async (tab) => {
    const isMeshed = ([ids, state]) =>
      (!state || group.state === state) &&
      JSON.stringify([...group.peers.keys()].sort((a, b) => a - b)) ===
        JSON.stringify(ids.filter((id) => id !== group.id).sort((a, b) => a - b));
    try {
      await until(tab, isMeshed, [ids, state], timeout);
    } catch {
      const now = await tab.evaluate(() => ({
        id: group.id,
        state: group.state,
        reason: group.reason,
        peers: [...group.peers.keys()],
        states,
      }));
      throw new Error(`tabs ${ids} do not form a mesh: ${JSON.stringify(now)}`);
    }
  });
  for (const { reason } of await Promise.allSettled(reached)) if (reason) throw reason;
}

/** Sends a chat message from one tab, and waits until the others show it. */
async function chats(from, to, text) {
  await from.fill("#text", text);
  await from.press("#text", "Enter");
  await Promise.all(to.map((tab) => tab.locator("#log .line", { hasText: text }).first().waitFor({ timeout: SOON })));
}

/** Waits until a tab shows a notice. */
const notice = (tab, text) =>
  until(tab, (text) => document.querySelector("#notice").textContent.includes(text), text);

/** Closes tabs as a user does, so that sigver-client can send `bye`. */
const close = (tabs) => Promise.all(tabs.map((tab) => tab.close({ runBeforeUnload: false })));

// ---- Scenarios ---------------------------------------------------------------------------------------------------------

const scenarios = {
  async "three tabs form a mesh and draw it"(key) {
    const tabs = await openInTurn(key, 3);
    for (const tab of tabs) {
      await until(tab, () => document.querySelectorAll("#nodes > [data-peer]").length === 3);
      await until(tab, () => document.querySelectorAll("#edges .edge").length === 3);
      await until(
        tab,
        () => [...document.querySelectorAll("#edges .rtt")].filter((it) => /ms$/.test(it.textContent)).length === 3,
      );
      assert.equal(await tab.textContent("#state"), "Connected");
      assert.equal(await tab.textContent("#notice"), "");
      await until(tab, () => /^(\w+ \w+, direct, (<1|\d+) ms){2}$/.test(document.querySelector("#peers").textContent));
    }
  },

  async "server relays only the first connection of each peer, and its links end"(key) {
    const contents = (direction) => {
      const contents = frames[direction].map((data) => decode(new Uint8Array(data))?.content).filter(Boolean);
      return contents.map(({ data, ...rest }) => ({ ...rest, data: new TextDecoder().decode(data) }));
    };
    const tabs = await openInTurn(key, 3);
    for (const tab of tabs) {
      await tab.evaluate(async () => (globalThis.decode = (await import("./sigver-client/wire.js")).decode));
    }
    const relayed = () => Promise.all(tabs.slice(1).map((tab) => tab.evaluate(contents, "received")));
    // The first connection of each tab is complete when the member has ended its direction of the link, too.
    for (const tab of tabs.slice(1)) await until(tab, `(${contents})("received").at(-1).data === ""`);
    const before = await relayed();
    tabs.push(await open(key));
    await meshed(tabs);
    tabs.pop();
    assert.deepEqual(await relayed(), before, "the fourth connected through the first, not through the server");
    for (const tab of tabs) assert.equal((await tab.evaluate(contents, "sent")).at(-1).lastData, true);
  },

  async "chat messages reach all peers, private messages one"(key) {
    const tabs = await openInTurn(key, 3);
    const [first, second, third] = tabs;
    await chats(first, [second, third], "hello from the first");
    await chats(third, [first, second], "and from the third ✓");
    const sent = await first.evaluate((id) => group.send("for the third only", { to: id }), await idOf(third));
    assert.equal(sent, 1);
    await until(third, () => received.some(({ data }) => data === "for the third only"));
    await chats(first, [second], "after that");
    assert(!(await second.evaluate(() => received.some(({ data }) => data === "for the third only"))));
    assert.equal(await first.evaluate(() => group.send("unknown peer", { to: 1 })), 0);
  },

  async "messages of all sizes arrive complete and in order"(key) {
    const tabs = await openInTurn(key, 2);
    const [sender, receiver] = tabs;
    await sender.evaluate(() => {
      const bytes = new Uint8Array(8_000_001).map((_, index) => (index * 7919) >> 3);
      globalThis.sent = Promise.all([
        group.send("x".repeat(16_384)),
        group.send(bytes),
        group.send(bytes.subarray(5, 9)),
        group.send(new ArrayBuffer(0)),
        group.send(""),
        group.send(new DataView(bytes.buffer, 1, 2)),
        group.send("😀".repeat(10_000)),
      ]);
    });
    await until(receiver, () => received.length === 7, undefined, LATER);
    assert.deepEqual(await sender.evaluate(() => sent), [1, 1, 1, 1, 1, 1, 1]);
    const got = await receiver.evaluate(() => {
      const bytes = new Uint8Array(received[1].data);
      return {
        kinds: received.map(({ data }) =>
          typeof data === "string" ? `string ${data.length}` : `${data.constructor.name} ${data.byteLength}`,
        ),
        intact: bytes.every((byte, index) => byte === (((index * 7919) >> 3) & 255)),
        emoji: received[6].data === "😀".repeat(10_000),
      };
    });
    assert.deepEqual(got.kinds, [
      "string 16384",
      "ArrayBuffer 8000001",
      "ArrayBuffer 4",
      "ArrayBuffer 0",
      "string 0",
      "ArrayBuffer 2",
      "string 20000",
    ]);
    assert(got.intact && got.emoji);
  },

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
    const devtools = await tabs[0].context().newCDPSession(tabs[0]);
    devtools.send("Page.crash").catch(() => {}); // the crashed page sends no response
    await meshed(tabs.slice(1), LATER);
    await chats(tabs[1], [tabs[2]], "two peers remain");
  },

  async "new tab joins through the remaining tabs"(key) {
    const tabs = await openInTurn(key, 3);
    await close([tabs[0]]);
    const second = [tabs[1], tabs[2], await open(key)];
    await meshed(second);
    await close([second[0]]);
    const third = [second[1], second[2], await open(key)];
    await meshed(third);
    await chats(third[2], [third[0], third[1]], "from the newest");
  },

  async "mesh survives while the server stops, and a new peer joins after the restart"(key) {
    const tabs = await openInTurn(key, 3);
    await target.server.stop();
    for (const tab of tabs) await until(tab, () => group.state === "reconnecting");
    await notice(tabs[0], "Existing connections keep working");
    await chats(tabs[0], tabs.slice(1), "server is offline");
    await target.server.start();
    await meshed(tabs, LATER);
    tabs.push(await open(key));
    await meshed(tabs);
    await chats(tabs[3], tabs.slice(0, 3), "from the new peer");
  },

  async "tab opened while the server is offline joins after the restart"(key) {
    await target.server.stop();
    const tabs = [await open(key)];
    await notice(tabs[0], "Can't reach the signaling server");
    await target.server.start();
    await meshed(tabs, LATER);
  },

  async "old mesh merges with peers that joined first after the server restarts"(key) {
    const old = await openInTurn(key, 3);
    for (const tab of old) await tab.evaluate(() => (globalThis.blockSockets = true));
    await target.server.stop();
    for (const tab of old) await until(tab, () => group.state === "reconnecting");
    await target.server.start();
    const joinedFirst = await openInTurn(key, 2);
    for (const tab of old) await tab.evaluate(() => (globalThis.blockSockets = false));
    await meshed([...old, ...joinedFirst], MUCH_LATER);
  },

  async "peer that loses its socket becomes a member again"(key) {
    const tabs = await openInTurn(key, 2);
    await tabs[0].evaluate(() => sockets.at(-1).close());
    await until(tabs[0], () => sockets.length > 1 && group.state === "joined");
    await meshed(tabs);
  },

  async "five tabs that join within one second form a mesh"(key) {
    const tabs = await openMany("warm-up-" + key, 5); // loads the page first, so that the joins are simultaneous
    await meshed(tabs, LATER);
    await Promise.all(tabs.map((tab) => tab.evaluate((key) => (location.hash = key), key)));
    await meshed(tabs, LATER);
    await chats(tabs[0], tabs.slice(1), "five peers");
  },

  async "two tabs that join an empty group simultaneously form a mesh"(key) {
    const tabs = await openMany("warm-up-" + key, 2);
    await meshed(tabs);
    for (let round = 0; round < 5; round++) {
      const start = Date.now() + 200;
      const at = (tab) =>
        tab.evaluate(
          ([key, start]) => {
            while (Date.now() < start);
            location.hash = key;
          },
          [`${key}-${round}`, start],
        );
      await Promise.all(tabs.map(at));
      await until(tabs[0], (key) => location.hash.endsWith(key), `${key}-${round}`);
      await meshed(tabs);
    }
  },

  async "simultaneous offers of both peers lead to one connection"(key) {
    const tabs = await openMany(key, 5, { before: () => (globalThis.noOfferDelay = true) });
    await meshed(tabs, LATER);
    await chats(tabs[4], tabs.slice(0, 4), "one connection each");
  },

  async "unresponsive only member is evicted"(key) {
    const [helper] = await openMany("helper-" + key, 1);
    await helper.evaluate(
      async ([base, key]) => {
        const { groupUrl } = await import("./sigver-client/index.js");
        const { encode } = await import("./sigver-client/wire.js");
        const socket = new WebSocket(groupUrl(base, key));
        await new Promise((resolve) => (socket.onopen = resolve));
        socket.send(encode({ connect: { id: 7, members: [] } }));
        await new Promise((resolve) => (socket.onmessage = resolve));
        setInterval(() => socket.send(encode({ heartbeat: true })), 4_000);
        socket.onclose = ({ code }) => (globalThis.closedWith = code);
      },
      [target.signaling ?? `${new URL(target.page).origin.replace(/^http/, "ws")}/signal`, key],
    );
    const tabs = [await open(key)];
    await meshed(tabs, LATER);
    await until(helper, () => globalThis.closedWith === 4744);
  },

  async "evicted tab that was suspended joins again"(key) {
    const [suspended] = await openInTurn(key, 1);
    const devtools = await suspended.context().newCDPSession(suspended);
    await devtools.send("Debugger.enable");
    const paused = new Promise((resolve) => devtools.once("Debugger.paused", resolve));
    await devtools.send("Debugger.pause");
    await paused;
    const joiner = await open(key);
    await until(joiner, () => group.state === "joined", undefined, LATER);
    assert.equal(await joiner.evaluate(() => group.peers.size), 0);
    await devtools.send("Debugger.resume");
    await devtools.send("Debugger.disable");
    await meshed([suspended, joiner], MUCH_LATER);
    assert(await suspended.evaluate(() => states.some(({ reason }) => reason === "evicted")));
  },

  async "halves of a split group merge"(key) {
    const tabs = await openInTurn(key, 4);
    const ufrags = await Promise.all(
      tabs.map((tab) =>
        tab.evaluate(() => {
          globalThis.noRelay = true;
          const ufrag = (description) => /a=ice-ufrag:(\S+)/.exec(description?.sdp)?.[1];
          return connections.map((it) => [ufrag(it.localDescription), ufrag(it.remoteDescription)]);
        }),
      ),
    );
    const localUfrags = (half) => half.flatMap((index) => ufrags[index].map(([local]) => local));
    const halves = [
      [0, 1],
      [2, 3],
    ];
    for (const [mine, others] of [halves, [...halves].reverse()]) {
      for (const index of mine) {
        await tabs[index].evaluate((others) => {
          for (const it of connections) {
            if (others.includes(/a=ice-ufrag:(\S+)/.exec(it.remoteDescription?.sdp)?.[1])) it.close();
          }
        }, localUfrags(others));
      }
    }
    for (const half of halves)
      await meshed(
        half.map((index) => tabs[index]),
        LATER,
        "",
      );
    const isHalf = () => group.peers.size === 1 && [...group.peers.values()][0].neighbours.length === 1;
    for (const tab of tabs) await until(tab, isHalf, undefined, LATER);
    for (const tab of tabs) await tab.evaluate(() => (globalThis.noRelay = false));
    await meshed(tabs, MUCH_LATER);
  },

  async "camera streams start and stop, also for a peer that joins later"(key) {
    const tabs = await openInTurn(key, 2);
    const playing = (count) =>
      [...document.querySelectorAll("#tiles video")].filter((it) => it.videoWidth > 0).length === count;
    await Promise.all(tabs.map((tab) => tab.click("#camera"))); // simultaneously, so that the negotiations collide
    for (const tab of tabs) await until(tab, playing, 2);
    tabs.push(await open(key));
    await meshed(tabs);
    await until(tabs[2], playing, 2);
    await tabs[0].click("#microphone");
    await until(tabs[2], () => document.querySelectorAll("#tiles audio").length === 1);
    await tabs[0].click("#camera");
    await tabs[0].click("#microphone");
    for (const tab of tabs.slice(1)) await until(tab, playing, 1);
    await until(tabs[2], () => document.querySelectorAll("#tiles figure").length === 1);
    await tabs[0].click("#camera");
    for (const tab of tabs) await until(tab, playing, 2);
  },

  async "invite link opens the group"(key) {
    const tabs = [await open(key)];
    await tabs[0].click("text=Copy invite");
    await tabs[0].locator("#log", { hasText: "Invite link copied" }).waitFor({ timeout: SOON });
    const link = await tabs[0].evaluate(() => navigator.clipboard.readText());
    assert.equal(link, await tabs[0].inputValue("#link"));
    const guest = await open("other-" + key);
    await guest.goto(link);
    await guest.reload();
    await meshed([tabs[0], guest]);
    await guest.click("text=New group");
    await meshed([tabs[0]]);
    await until(guest, () => group.state === "joined" && group.peers.size === 0);
  },

  async "failed and aborted joins reject without page errors"(key) {
    const [tab] = await openInTurn(key, 1);
    const outcome = await tab.evaluate(async () => {
      const { joinGroup, Group } = await import("./sigver-client/index.js");
      const url = new URL(new URLSearchParams(location.search).get("signal") ?? "/signal", location.href);
      const name = (promise) =>
        promise.then(
          (group) => group.state,
          (error) => error.name,
        );
      const offline = "ws://127.0.0.1:9/";
      const soon = new AbortController();
      setTimeout(() => soon.abort(), 100);
      const later = new AbortController();
      const joined = await joinGroup(url, "another", { signal: later.signal });
      later.abort();
      new Group(offline, ""); // its rejected promise is not handled
      new Group(offline, "left immediately").leave();
      return {
        empty: await name(joinGroup(url, "")),
        long: await name(joinGroup(url, "x".repeat(513))),
        dots: await name(joinGroup(url, "..")),
        address: await name(joinGroup("http://", "key")),
        servers: await name(joinGroup(url, "key", { iceServers: [{ urls: "nonsense" }] })),
        aborted: await name(joinGroup(url, "key", { signal: AbortSignal.abort() })),
        abortedSoon: await name(joinGroup(offline, "key", { signal: soon.signal })),
        abortedLater: joined.state,
        leftAgain: (joined.leave(), joined.state),
        sent: await joined.send("after leaving"),
      };
    });
    assert.deepEqual(outcome, {
      empty: "TypeError",
      long: "TypeError",
      dots: "TypeError",
      address: "TypeError",
      servers: "SyntaxError",
      aborted: "AbortError",
      abortedSoon: "AbortError",
      abortedLater: "left",
      leftAgain: "left",
      sent: 0,
    });
    assert.equal(await tab.evaluate(() => group.state), "joined");
  },
};

// Scenarios that a target does not support are skipped and not counted.
const NEEDS_RESTART = /restart/;
const NEEDS_PAGE = /opened while the server is offline/; // an example that is offline does not serve the page

async function runScenarios() {
  const report = new Report();
  const run = (name, scenario) =>
    report.run(name, async () => {
      pageErrors.length = 0;
      await scenario();
      if (pageErrors.length) throw new Error(pageErrors.join("\n"));
    });

  // Alone in its group, this tab only sends heartbeats while all other scenarios run.
  const lone = args.only ? undefined : await open(`lone-${Date.now()}`);
  const loneSince = Date.now();
  let restarts = 0;
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (!name.includes(args.only)) continue;
    if (NEEDS_RESTART.test(name) && !target.server) continue;
    if (NEEDS_PAGE.test(name) && !target.files) continue;
    if (NEEDS_RESTART.test(name)) restarts++;
    await run(name, () => scenario(`${name.replaceAll(" ", "-")}-${Date.now()}`));
    // Closes the tabs of failed scenarios, too.
    await Promise.all(
      browser
        .contexts()
        .filter((context) => context !== lone?.context())
        .map((context) => context.close()),
    );
  }
  if (lone) {
    await run(
      `idle peer stays a member for ${Math.round((Date.now() - loneSince) / 1000)} s`,
      async () => {
        await meshed([lone], LATER);
        // Each further attempt to reach the server is an event in the same state.
        const isLoss = ({ state }, index, all) => state === "reconnecting" && all[index - 1]?.state !== state;
        const losses = await lone.evaluate(`states.filter(${isLoss}).length`);
        assert(losses <= 2 * restarts, `it lost the server ${losses} times in ${restarts} restarts`);
      },
    );
  }
  return report.end();
}

// ---- Screenshots -------------------------------------------------------------------------------------------------------

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };

async function takeShots(directory) {
  await mkdir(directory, { recursive: true });
  const shoot = async (tab, name) => {
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const colorScheme of ["light", "dark"]) {
        await tab.setViewportSize(viewport);
        await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        const path = `${directory}/${name}-${size}-${colorScheme}.png`;
        await tab.screenshot({ path, fullPage: true, animations: "disabled" });
        console.log(path);
        assert(
          await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
          `${name} is wider than the ${size} screen`,
        );
      }
    }
  };
  const key = "tea-room";
  const first = await open(key);
  await meshed([first]);
  await shoot(first, "alone");
  const tabs = [first];
  for (let more = 0; more < 3; more++) {
    tabs.push(await open(key));
    await meshed(tabs);
  }
  await chats(tabs[1], tabs, "Good morning! Anyone here?");
  await chats(tabs[0], tabs, "Yes, and the kettle is on.");
  await chats(tabs[3], tabs, "Me too. The server was restarted a minute ago, and we all stayed connected.");
  const measured = () => [...document.querySelectorAll("#edges .rtt")].filter((it) => /ms$/.test(it.textContent));
  await until(first, `(${measured})().length === 6`);
  await shoot(first, "mesh");
  await tabs[1].click("#camera");
  await first.click("#camera");
  await first.click("#microphone");
  await until(
    first,
    () => [...document.querySelectorAll("#tiles video")].filter((it) => it.videoWidth > 0).length === 2,
  );
  await shoot(first, "media");
  if (target.server) {
    await target.server.stop();
    await until(first, () => document.querySelector("#notice").textContent !== "");
    await shoot(first, "server-offline");
  }
}

// ---- Run ---------------------------------------------------------------------------------------------------------------

let passed = false;
try {
  passed = args.shots ? (await takeShots(args.shots), true) : await runScenarios();
} finally {
  await browser.close();
  target.files?.stop();
  await target.server?.stop();
}
process.exitCode = passed ? 0 : 1;
