/**
 * The demo page and sigver.js in Chromium: whole groups, with the accidents that befall them.
 *
 *     node demo.mjs                                     the published server, npm sigver
 *     node demo.mjs --signaling "PATH/sigver"           another one that takes -h HOST -p PORT
 *     node demo.mjs --server "PATH/axum"                an example: serves the page too, takes HOST:PORT
 *     node demo.mjs --page http://HOST:PORT/            one that runs already (restarts are left out)
 *
 *     --page-here    with --server: the page from this folder, only the signaling from that server
 *     --only WORDS   the scenarios with these words in their name
 *     --shots DIR    screenshots of the page instead
 *
 * One line for each scenario, then `N passed, M failed`. Nothing here sleeps: every wait is for a condition, with a
 * deadline.
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

const LATER = 30_000; // what has to be noticed by silence
const MUCH_LATER = 90_000; // what waits for that, and then for back-off

const target = args.page
  ? { page: args.page }
  : args.server
    ? await example(args.server, { pageHere: args["page-here"] })
    : await signalingOnly(args.signaling);
const browser = await launch();

// ---- Tabs --------------------------------------------------------------------------------------------------------------

/** What went wrong in any page of the running scenario: exceptions, unhandled rejections, requests to other hosts. */
const complaints = [];
const hosts = new Set([target.page, target.signaling].filter(Boolean).map((url) => new URL(url).host));

/** Handles that the scenarios need and a page does not: sockets that can be held back, connections that can be cut. */
function instrument() {
  const { WebSocket: Socket, RTCPeerConnection: Connection } = globalThis;
  globalThis.sockets = [];
  globalThis.frames = { sent: [], received: [] };
  globalThis.WebSocket = class extends Socket {
    constructor(url) {
      super(globalThis.holdSockets ? "ws://127.0.0.1:9/" : url); // a port that browsers refuse
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
  // 2500 ms is how long the higher id of a pair lets the lower one make the offer.
  globalThis.setTimeout = (callback, ms, ...rest) =>
    later(callback, globalThis.noYield && ms === 2_500 ? 0 : ms, ...rest);
  globalThis.heard = [];
  globalThis.states = [];
}

/** A tab has a context, hence a process, of its own: one that is killed takes no other along. */
async function open(key, { before, ...options } = {}) {
  const context = await browser.newContext({ permissions: PERMISSIONS, ...options });
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`in a page: ${error.stack ?? error}`));
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== "data:" && !hosts.has(host)) complaints.push(`a request to ${request.url()}`);
  });
  await page.addInitScript(instrument);
  if (before) await page.addInitScript(before);
  await page.goto(`${target.page}#${key}`);
  await page.evaluate(() => {
    group.addEventListener("message", ({ peerId, data }) => heard.push({ peerId, data }));
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

/** Each of them is joined, and sees all the others and nobody else. */
async function meshed(tabs, timeout = SOON, state = "joined") {
  const ids = await Promise.all(tabs.map(idOf));
  const reached = tabs.map(async (tab) => {
    const seen = ([ids, state]) =>
      (!state || group.state === state) &&
      JSON.stringify(group.peers.map(({ id }) => id)) ===
        JSON.stringify(ids.filter((id) => id !== group.id).sort((a, b) => a - b));
    try {
      await until(tab, seen, [ids, state], timeout);
    } catch {
      const now = await tab.evaluate(() => ({
        id: group.id,
        state: group.state,
        reason: group.reason,
        peers: group.peers.map(({ id }) => id),
        states,
      }));
      throw new Error(`no mesh of ${ids}: ${JSON.stringify(now)}`);
    }
  });
  for (const { reason } of await Promise.allSettled(reached)) if (reason) throw reason;
}

/** Writes in the chat of one tab, and sees it come up in the others. */
async function chats(from, to, words) {
  await from.fill("#text", words);
  await from.press("#text", "Enter");
  await Promise.all(to.map((tab) => tab.locator("#log .line", { hasText: words }).first().waitFor({ timeout: SOON })));
}

/** Tabs end as tabs do, with the page's goodbye. */
const close = (tabs) => Promise.all(tabs.map((tab) => tab.close({ runBeforeUnload: false })));

// ---- Scenarios ---------------------------------------------------------------------------------------------------------

const scenarios = {
  async "three tabs mesh, and draw it"(key) {
    const tabs = await openInTurn(key, 3);
    for (const tab of tabs) {
      await until(tab, () => document.querySelectorAll("#nodes > [data-peer]").length === 3);
      await until(tab, () => document.querySelectorAll("#edges .edge").length === 3);
      await until(
        tab,
        () => [...document.querySelectorAll("#edges .trip")].filter((it) => /ms$/.test(it.textContent)).length === 3,
      );
      assert.equal(await tab.textContent("#state"), "Connected");
      assert.equal(await tab.textContent("#notice"), "");
    }
  },

  async "the server carries first contacts only, and each comes to its end"(key) {
    const contents = (direction) => {
      const contents = frames[direction].map((data) => decode(new Uint8Array(data))?.content).filter(Boolean);
      return contents.map(({ data, ...rest }) => ({ ...rest, data: new TextDecoder().decode(data) }));
    };
    const tabs = await openInTurn(key, 3);
    for (const tab of tabs) await tab.evaluate(async () => (globalThis.decode = (await import("./sigver.js")).decode));
    const carried = () => Promise.all(tabs.slice(1).map((tab) => tab.evaluate(contents, "received")));
    // Their own first contacts are over when the member's side, too, has ended.
    for (const tab of tabs.slice(1)) await until(tab, `(${contents})("received").at(-1).data === ""`);
    const before = await carried();
    tabs.push(await open(key));
    await meshed(tabs);
    tabs.pop();
    assert.deepEqual(await carried(), before, "the fourth was met through the first, not through the server");
    for (const tab of tabs) assert.equal((await tab.evaluate(contents, "sent")).at(-1).lastData, true);
  },

  async "chat reaches all, a private message one"(key) {
    const tabs = await openInTurn(key, 3);
    const [first, second, third] = tabs;
    await chats(first, [second, third], "hello from the first");
    await chats(third, [first, second], "and from the third ✓");
    const sent = await first.evaluate((id) => group.send("for the third alone", id), await idOf(third));
    assert.equal(sent, 1);
    await until(third, () => heard.some(({ data }) => data === "for the third alone"));
    await chats(first, [second], "after that");
    assert(!(await second.evaluate(() => heard.some(({ data }) => data === "for the third alone"))));
    assert.equal(await first.evaluate(() => group.send("nobody", 1)), 0);
  },

  async "long and short messages arrive whole and in order"(key) {
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
    await until(receiver, () => heard.length === 7, undefined, LATER);
    assert.deepEqual(await sender.evaluate(() => sent), [1, 1, 1, 1, 1, 1, 1]);
    const got = await receiver.evaluate(() => {
      const bytes = new Uint8Array(heard[1].data);
      return {
        kinds: heard.map(({ data }) =>
          typeof data === "string" ? `string ${data.length}` : `${data.constructor.name} ${data.byteLength}`,
        ),
        intact: bytes.every((byte, index) => byte === (((index * 7919) >> 3) & 255)),
        emoji: heard[6].data === "😀".repeat(10_000),
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

  // At once when its goodbye gets out, which a loaded machine may not grant a closing tab; else by its silence.
  async "a tab closes, and the others see it"(key) {
    const tabs = await openInTurn(key, 3);
    await close([tabs[0]]);
    await meshed(tabs.slice(1), LATER);
    await chats(tabs[1], [tabs[2]], "two of us");
    await until(tabs[1], () => document.querySelectorAll("#nodes > [data-peer]").length === 2);
  },

  async "a tab is killed, and the others notice"(key) {
    const tabs = await openInTurn(key, 3);
    const devtools = await tabs[0].context().newCDPSession(tabs[0]);
    devtools.send("Page.crash").catch(() => {}); // nobody is left to answer
    await meshed(tabs.slice(1), LATER);
    await chats(tabs[1], [tabs[2]], "two of us");
  },

  async "a new tab joins through whoever is left"(key) {
    const tabs = await openInTurn(key, 3);
    await close([tabs[0]]);
    const left = [tabs[1], tabs[2], await open(key)];
    await meshed(left);
    await close([left[0]]);
    const rest = [left[1], left[2], await open(key)];
    await meshed(rest);
    await chats(rest[2], [rest[0], rest[1]], "the newest speaks");
  },

  async "the server stops, the mesh goes on, the server starts and takes a new peer"(key) {
    const tabs = await openInTurn(key, 3);
    await target.server.stop();
    for (const tab of tabs) await until(tab, () => group.state === "reconnecting");
    await until(tabs[0], () => document.querySelector("#notice").textContent.includes("You stay connected"));
    await chats(tabs[0], tabs.slice(1), "still here");
    await target.server.start();
    await meshed(tabs, LATER);
    tabs.push(await open(key));
    await meshed(tabs);
    await chats(tabs[3], tabs.slice(0, 3), "I am new");
  },

  async "a tab opens while the server is away, and joins when it is back"(key) {
    await target.server.stop();
    const tabs = [await open(key)];
    await until(tabs[0], () => document.querySelector("#notice").textContent.includes("cannot be reached"));
    await target.server.start();
    await meshed(tabs, LATER);
  },

  async "the server starts again, and newcomers are there before the old mesh"(key) {
    const old = await openInTurn(key, 3);
    for (const tab of old) await tab.evaluate(() => (globalThis.holdSockets = true));
    await target.server.stop();
    for (const tab of old) await until(tab, () => group.state === "reconnecting");
    await target.server.start();
    const newcomers = await openInTurn(key, 2);
    for (const tab of old) await tab.evaluate(() => (globalThis.holdSockets = false));
    await meshed([...old, ...newcomers], MUCH_LATER);
  },

  async "one loses its socket, and is a member again"(key) {
    const tabs = await openInTurn(key, 2);
    await tabs[0].evaluate(() => sockets.at(-1).close());
    await until(tabs[0], () => sockets.length > 1 && group.state === "joined");
    await meshed(tabs);
  },

  async "five tabs join within one second"(key) {
    const tabs = await openMany("warm-up-" + key, 5); // loaded, so that the joins come together
    await meshed(tabs, LATER);
    await Promise.all(tabs.map((tab) => tab.evaluate((key) => (location.hash = key), key)));
    await meshed(tabs, LATER);
    await chats(tabs[0], tabs.slice(1), "five of us");
  },

  async "two tabs join an empty group in the same instant"(key) {
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

  async "both of a pair make the offer"(key) {
    const tabs = await openMany(key, 5, { before: () => (globalThis.noYield = true) });
    await meshed(tabs, LATER);
    await chats(tabs[4], tabs.slice(0, 4), "met once");
  },

  async "the only member is stuck, and is replaced"(key) {
    const [helper] = await openMany("helper-" + key, 1);
    await helper.evaluate(
      async ([base, key]) => {
        const { encode, groupUrl } = await import("./sigver.js");
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

  async "a tab that slept through a joiner comes back as a joiner"(key) {
    const [sleeper] = await openInTurn(key, 1);
    const devtools = await sleeper.context().newCDPSession(sleeper);
    await devtools.send("Debugger.enable");
    const asleep = new Promise((resolve) => devtools.once("Debugger.paused", resolve));
    await devtools.send("Debugger.pause");
    await asleep;
    const joiner = await open(key);
    await until(joiner, () => group.state === "joined", undefined, LATER);
    assert.deepEqual(await joiner.evaluate(() => group.peers), []);
    await devtools.send("Debugger.resume");
    await devtools.send("Debugger.disable");
    await meshed([sleeper, joiner], MUCH_LATER);
    assert(await sleeper.evaluate(() => states.some(({ reason }) => reason === "replaced")));
  },

  async "two halves that lost each other find together"(key) {
    const tabs = await openInTurn(key, 4);
    const marks = await Promise.all(
      tabs.map((tab) =>
        tab.evaluate(() => {
          globalThis.noRelay = true;
          const ufrag = (description) => /a=ice-ufrag:(\S+)/.exec(description?.sdp)?.[1];
          return connections.map((it) => [ufrag(it.localDescription), ufrag(it.remoteDescription)]);
        }),
      ),
    );
    const localOf = (half) => half.flatMap((index) => marks[index].map(([local]) => local));
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
        }, localOf(others));
      }
    }
    for (const half of halves)
      await meshed(
        half.map((index) => tabs[index]),
        LATER,
        "",
      );
    const clean = () => group.peers.length === 1 && group.peers[0].neighbours.length === 1;
    for (const tab of tabs) await until(tab, clean, undefined, LATER);
    for (const tab of tabs) await tab.evaluate(() => (globalThis.noRelay = false));
    await meshed(tabs, MUCH_LATER);
  },

  async "cameras come and go, also for one who joins later"(key) {
    const tabs = await openInTurn(key, 2);
    const playing = (count) =>
      [...document.querySelectorAll("#tiles video")].filter((it) => it.videoWidth > 0).length === count;
    await Promise.all(tabs.map((tab) => tab.click("#camera"))); // both at once: the negotiations collide
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

  async "the invite link leads into the group"(key) {
    const tabs = [await open(key)];
    await tabs[0].click("text=Copy invite");
    await tabs[0].locator("#log", { hasText: "Invite link copied" }).waitFor({ timeout: SOON });
    const link = await tabs[0].evaluate(() => navigator.clipboard.readText());
    assert.equal(link, await tabs[0].inputValue("#link"));
    const guest = await open("elsewhere-" + key);
    await guest.goto(link);
    await guest.reload();
    await meshed([tabs[0], guest]);
    await guest.click("text=New group");
    await meshed([tabs[0]]);
    await until(guest, () => group.state === "joined" && group.peers.length === 0);
  },

  async "joining is refused, aborted and left without a sound"(key) {
    const [tab] = await openInTurn(key, 1);
    const outcome = await tab.evaluate(async () => {
      const { Sigver, Group } = await import("./sigver.js");
      const url = new URL(new URLSearchParams(location.search).get("signal") ?? "/signal", location.href);
      const name = (promise) =>
        promise.then(
          (group) => group.state,
          (error) => error.name,
        );
      const away = "ws://127.0.0.1:9/";
      const soon = new AbortController();
      setTimeout(() => soon.abort(), 100);
      const later = new AbortController();
      const joined = await Sigver.join(url, "another", { signal: later.signal });
      later.abort();
      new Group(away, ""); // whose failure nobody looks at
      new Group(away, "unheard").leave();
      return {
        empty: await name(Sigver.join(url, "")),
        long: await name(Sigver.join(url, "x".repeat(513))),
        dots: await name(Sigver.join(url, "..")),
        address: await name(Sigver.join("http://", "key")),
        servers: await name(Sigver.join(url, "key", { iceServers: [{ urls: "nonsense" }] })),
        aborted: await name(Sigver.join(url, "key", { signal: AbortSignal.abort() })),
        abortedSoon: await name(Sigver.join(away, "key", { signal: soon.signal })),
        abortedLater: joined.state,
        again: (joined.leave(), joined.state),
        sent: await joined.send("nobody hears"),
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
      again: "left",
      sent: 0,
    });
    assert.equal(await tab.evaluate(() => group.state), "joined");
  },
};

// What a target cannot do is left out, and not counted.
const NEEDS_RESTART = /server (stops|starts|is away)/;
const NEEDS_PAGE = /opens while the server is away/; // from here: an example that is away serves none

async function runScenarios() {
  const report = new Report();
  const run = (name, scenario) =>
    report.run(name, async () => {
      complaints.length = 0;
      await scenario();
      if (complaints.length) throw new Error(complaints.join("\n"));
    });

  // Alone, and silent but for heartbeats, for as long as all the rest takes.
  const lone = args.only ? undefined : await open(`lone-${Date.now()}`);
  const loneSince = Date.now();
  let restarts = 0;
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (!name.includes(args.only)) continue;
    if (NEEDS_RESTART.test(name) && !target.server) continue;
    if (NEEDS_PAGE.test(name) && !target.files) continue;
    if (NEEDS_RESTART.test(name)) restarts++;
    await run(name, () => scenario(`${name.replaceAll(" ", "-")}-${Date.now()}`));
    // Also the tabs of a scenario that failed; not the lone one.
    await Promise.all(
      browser
        .contexts()
        .filter((context) => context !== lone?.context())
        .map((context) => context.close()),
    );
  }
  if (lone) {
    await run(
      `a lone peer stayed a member for ${Math.round((Date.now() - loneSince) / 1000)} s of silence`,
      async () => {
        await meshed([lone], LATER);
        const states = await lone.evaluate(() => states.filter(({ state }) => state === "reconnecting").length);
        assert(states <= 2 * restarts, `it lost the server ${states} times`);
      },
    );
  }
  return report.end();
}

// ---- Screenshots -------------------------------------------------------------------------------------------------------

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };

async function takeShots(directory) {
  await mkdir(directory, { recursive: true });
  const shoot = async (tab, what) => {
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const colorScheme of ["light", "dark"]) {
        await tab.setViewportSize(viewport);
        await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        const path = `${directory}/${what}-${size}-${colorScheme}.png`;
        await tab.screenshot({ path, fullPage: true, animations: "disabled" });
        console.log(path);
        assert(
          await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
          `${what} is wider than a ${size}`,
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
  await chats(tabs[1], tabs, "Good morning! Who is there?");
  await chats(tabs[0], tabs, "I am, and the kettle is on.");
  await chats(tabs[3], tabs, "So am I. The server was restarted a minute ago and we all stayed connected, nice.");
  const measured = () => [...document.querySelectorAll("#edges .trip")].filter((it) => /ms$/.test(it.textContent));
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
    await shoot(first, "server-away");
  }
}

// ---- Run ---------------------------------------------------------------------------------------------------------------

let good = false;
try {
  good = args.shots ? (await takeShots(args.shots), true) : await runScenarios();
} finally {
  await browser.close();
  target.files?.stop();
  await target.server?.stop();
}
process.exitCode = good ? 0 : 1;
