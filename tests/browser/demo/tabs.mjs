/** Tabs of the demo page in Chromium, which scenarios open, watch and disturb. */

import { launch } from "../browsers.mjs";
import { PERMISSIONS, SOON, until } from "../chromium.mjs";
import { example, signalingOnly } from "../servers.mjs";

export const LATER = 30_000; // for conditions that need a timeout of the client
export const MUCH_LATER = 90_000; // for conditions that need such a timeout and then a back-off

/** The page, its signaling server and, if this process started them, the servers. @type {any} */
export let target;
/** @type {import("playwright-core").Browser} */
export let browser;

/** Errors of all pages of the running scenario: exceptions, unhandled rejections, requests to other hosts. */
export const pageErrors = [];
const hosts = new Set(["127.0.0.1:9"]); // browsers block this port

export async function start(args) {
  if (args.page) target = { page: args.page };
  else if (args.server) target = await example(args.server, { pageHere: args["page-here"] });
  else target = await signalingOnly(args.signaling);
  for (const url of [target.page, target.signaling].filter(Boolean)) hosts.add(new URL(url).host);
  browser = await launch(args.browser);
}

export async function stop() {
  await browser.close();
  target.files?.stop();
  await target.server?.stop();
}

/** The URL of the signaling server. */
export const signalingUrl = () => target.signaling ?? `${new URL(target.page).origin.replace(/^http/, "ws")}/signal`;

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
  // OFFER_DELAY of the client: for 2500 ms, the peer with the higher id waits for the other one's offer.
  globalThis.setTimeout = (callback, ms, ...rest) =>
    later(callback, globalThis.noOfferDelay && ms === 2_500 ? 0 : ms, ...rest);
  globalThis.received = [];
  globalThis.states = [];
  /** The neighbours of this tab, sorted by id. */
  globalThis.peers = () => [...group.peers.values()].sort((a, b) => a.id - b.id);
}

/** Opens a tab in its own context, hence its own process, so that killing one tab does not affect others. */
export async function open(key, { before, context: prepare } = {}) {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  await context.addInitScript(instrument);
  if (before) await context.addInitScript(before);
  await prepare?.(context);
  const page = await context.newPage();
  watch(page);
  await page.goto(`${target.page}#${key}`);
  await page.evaluate(() => {
    group.addEventListener("message", ({ peerId, data }) => received.push({ peerId, data }));
    group.addEventListener("statechange", ({ state, reason }) => states.push({ state, reason }));
  });
  return page;
}

/** Records the errors of a page. */
export function watch(page) {
  page.on("pageerror", (error) => pageErrors.push(`uncaught in a page: ${error.stack ?? error}`));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) pageErrors.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, host } = new URL(request.url());
    if (protocol !== "data:" && !hosts.has(host)) pageErrors.push(`request to another host: ${request.url()}`);
  });
}

export const openMany = (key, count, options) =>
  Promise.all(Array.from({ length: count }, () => open(key, options)));

export async function openInTurn(key, count, options) {
  const tabs = [];
  for (let index = 0; index < count; index++) {
    tabs.push(await open(key, options));
    await meshed(tabs);
  }
  return tabs;
}

export const idOf = (tab) => tab.evaluate(() => group.id);

/** Waits until each tab has joined and its neighbours are exactly the other tabs. */
export async function meshed(tabs, timeout = SOON, state = "joined") {
  const ids = await Promise.all(tabs.map(idOf));
  const reached = tabs.map(async (tab) => {
    const isMeshed = ([ids, state]) =>
      (!state || group.state === state) &&
      JSON.stringify(peers().map(({ id }) => id)) ===
        JSON.stringify(ids.filter((id) => id !== group.id).sort((a, b) => a - b));
    try {
      await until(tab, isMeshed, [ids, state], timeout);
    } catch {
      const now = await tab.evaluate(() => ({
        id: group.id,
        state: group.state,
        reason: group.reason,
        peers: peers().map(({ id }) => id),
        states,
      }));
      throw new Error(`tabs ${ids} do not form a mesh: ${JSON.stringify(now)}`);
    }
  });
  for (const { reason } of await Promise.allSettled(reached)) if (reason) throw reason;
}

/** Lets a tab leave its group for another one, at a time if there is one. The link changes before the group does. */
export async function moveTo(tab, key, at = 0) {
  const move = ([key, at]) => {
    globalThis.oldGroup = group;
    while (Date.now() < at);
    location.hash = key;
  };
  await tab.evaluate(move, [key, at]);
  await until(tab, () => group !== globalThis.oldGroup);
}

/** Clicks on "New group", and waits until the tab has joined it. */
export async function joinNewGroup(tab) {
  await tab.evaluate(() => void (globalThis.oldGroup = group));
  await tab.click("text=New group");
  await until(tab, () => group !== globalThis.oldGroup && group.state === "joined");
}

/** Sends a chat message from one tab, and waits until the others show it. */
export async function chats(from, to, text) {
  await from.locator("#compose button:enabled").waitFor({ timeout: SOON });
  await from.fill("#text", text);
  await from.press("#text", "Enter");
  await Promise.all(to.map((tab) => tab.locator("#log .line", { hasText: text }).first().waitFor({ timeout: SOON })));
}

/** Waits until an element of a tab has this text. */
export function shows(tab, selector, text, timeout = SOON) {
  const isShown = ([selector, text]) => document.querySelector(selector).textContent.trim() === text;
  return until(tab, isShown, [selector, text], timeout);
}

/** Waits until a tab shows a notice that contains this text. */
export const notice = (tab, text, timeout = SOON) =>
  until(tab, (text) => document.querySelector("#notice").textContent.includes(text), text, timeout);

/** Waits until a tab lists this many peers. The page updates its list up to 100 ms after an event of the group. */
export const listed = (tab, count, timeout = SOON) =>
  until(tab, (count) => document.querySelectorAll("#peers li").length === count, count, timeout);

/** Waits until a tab lists the round-trip times of its peers. */
export async function measured(tab, count) {
  const isMeasured = (count) =>
    [...document.querySelectorAll("#peers li")].filter((it) => / ms$/.test(it.textContent)).length === count;
  await until(tab, isMeasured, count);
  return tab;
}

/** Closes tabs as a user does, so that they can send `bye`. */
export const close = (tabs) => Promise.all(tabs.map((tab) => tab.close({ runBeforeUnload: false })));

/** Lets the signaling server close the socket of a group with a code. */
export const rejectWith = (context, key, code, reason) =>
  context.routeWebSocket(new RegExp(`/${key}$`), (socket) => socket.close({ code, reason }));

/** Lets a page fail to send messages, as it does while a connection closes. Control messages, which are text, pass. */
export function failSends() {
  const { send } = RTCDataChannel.prototype;
  RTCDataChannel.prototype.send = function (data) {
    if (typeof data !== "string") throw new DOMException("The channel is closed", "InvalidStateError");
    send.call(this, data);
  };
}

/** Two pages that both drop the candidates of others never connect. One of them connects to any other page. */
export function withoutIce() {
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addIceCandidate = async () => {};
  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
    return setRemoteDescription.call(this, { type, sdp: sdp.replace(/^a=candidate:.*\r\n/gm, "") });
  };
}
