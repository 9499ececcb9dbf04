/** The page in its states, at two sizes, in light and dark: accessible, and for people to look at. */

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import axe from "axe-core";
import { until } from "../chromium.mjs";
import {
  chats,
  failSends,
  LATER,
  measured,
  meshed,
  notice,
  open,
  openInTurn,
  rejectWith,
  target,
  withoutIce,
} from "./tabs.mjs";

const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } };
const MIN_FONT_SIZE = 12;
const ICE_FAILED = "Couldn't connect directly to the other peer.";

/** Each returns the tab that shows the state. @type {Record<string, (key: string) => Promise<any>>} */
const STATES = {
  "1-peer": async (key) => (await openInTurn(key, 1))[0],

  "3-peers": async (key) => {
    const tabs = await openInTurn(key, 3);
    await chats(tabs[1], tabs, "Good morning! Anyone here?");
    await chats(tabs[0], tabs, "Yes, and the kettle is on.");
    return measured(tabs[0], 2);
  },

  "8-peers": async (key) => {
    const tabs = await openInTurn(key, 8);
    await chats(tabs[1], tabs, "Good morning! Anyone here?");
    return measured(tabs[0], 7);
  },

  "media": async (key) => {
    const tabs = await openInTurn(key, 4);
    await chats(tabs[1], tabs, "Good morning! Anyone here?");
    await chats(tabs[0], tabs, "Yes, and the kettle is on.");
    await chats(tabs[3], tabs, "Me too. The server was restarted a minute ago, and we all stayed connected.");
    for (const tab of tabs.slice(0, 2)) await tab.click("#camera");
    await tabs[2].click("#microphone");
    const isShown = () =>
      [...document.querySelectorAll("#tiles video")].filter((it) => it.videoWidth > 0).length === 2 &&
      document.querySelectorAll("#tiles figure").length === 3;
    await until(tabs[0], isShown, undefined, LATER).catch(async (error) => {
      const media = await Promise.all(tabs.map((tab) => tab.evaluate(mediaOfPeers)));
      throw new Error(`cameras and microphones are not shown: ${JSON.stringify(media)}`, { cause: error });
    });
    return measured(tabs[0], 3);
  },

  "not-delivered": async (key) => {
    const [tab] = await openInTurn(key, 2);
    await tab.evaluate(failSends);
    await tab.locator("#compose button:enabled").waitFor(); // up to 100 ms after the peer has joined
    await tab.fill("#text", "Is anybody here?");
    await tab.press("#text", "Enter");
    await tab.locator("text=not delivered").waitFor();
    return tab;
  },

  "server-offline, restart": async (key) => {
    const [tab] = await openInTurn(key, 3);
    await target.server.stop();
    await notice(tab, "Existing connections keep working");
    return tab;
  },

  "ice-failed": async (key) => {
    const first = await open(key, { before: withoutIce });
    await meshed([first]);
    await open(key, { before: withoutIce });
    await notice(first, ICE_FAILED, LATER);
    return first;
  },

  "rejected": async (key) => {
    const tab = await open(key, { context: (context) => rejectWith(context, key, 4003, "the owner closed the group") });
    await notice(tab, "The server rejected this group");
    return tab;
  },
};

/** What a page shows of cameras and microphones, and what its connections transmit. Runs in the page. */
async function mediaOfPeers() {
  const statistics = async ({ id, connection }) => {
    const streams = [...(await connection.getStats()).values()].filter(({ type }) => type.endsWith("bound-rtp"));
    return {
      id,
      signaling: connection.signalingState,
      ice: connection.iceConnectionState,
      transceivers: connection.getTransceivers().map(({ mid, currentDirection }) => [mid, currentDirection]),
      rtp: streams.map((it) => [it.type, it.kind, it.packetsReceived ?? it.packetsSent, it.framesDecoded]),
    };
  };
  const media = [...document.querySelectorAll("#tiles video, #tiles audio")];
  return {
    id: group.id,
    buttons: [...document.querySelectorAll("#camera, #microphone")].map((it) => it.textContent),
    notice: document.querySelector("#notice").textContent,
    figures: [...document.querySelectorAll("#tiles figure")].map((it) => it.textContent),
    media: media.map((it) => [it.tagName, it.videoWidth, it.readyState, it.paused]),
    peers: await Promise.all([...group.peers.values()].map(statistics)),
  };
}

/** @param {string | undefined} shots the folder for screenshots */
export function stateScenarios(shots) {
  const scenarios = Object.entries(STATES).map(([state, show]) => [
    `page is accessible on all screens: ${state}`,
    async (key) => {
      const tab = await show(key);
      try {
        await check(tab, state.split(",")[0], shots);
      } finally {
        if (/restart/.test(state)) await target.server.start();
      }
    },
  ]);
  return Object.fromEntries(scenarios);
}

async function check(tab, state, shots) {
  if (shots) await mkdir(shots, { recursive: true });
  await tab.evaluate(axe.source);
  const problems = [];
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ["light", "dark"]) {
      const where = `${state}-${size}-${colorScheme}`;
      await tab.setViewportSize(viewport);
      await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await tab.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
      problems.push(...(await violations(tab)).map((it) => `${where}: ${it}`));
      problems.push(...(await layoutProblems(tab, size)).map((it) => `${where}: ${it}`));
      if (shots) await shoot(tab, `${shots}/${where}.png`, viewport);
    }
  }
  assert.deepEqual(problems, []);
}

/** Serious and critical problems of accessibility. */
async function violations(tab) {
  const found = await tab.evaluate(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations);
  return found
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`));
}

/** Problems of the layout: too wide, small text, and on phones a wrong order or a form that is out of sight. */
async function layoutProblems(tab, size) {
  return tab.evaluate(
    ([isPhone, minFontSize]) => {
      const problems = [];
      if (document.documentElement.scrollWidth > innerWidth) problems.push("wider than the screen");
      const { bottom } = document.querySelector("main").getBoundingClientRect();
      if (document.documentElement.scrollHeight > bottom + scrollY + 100) problems.push("longer than its content");
      const unlabelled = [...document.querySelectorAll("input")].filter(({ labels }) => labels.length === 0);
      problems.push(...unlabelled.map(({ id }) => `${id} has no label`)); // axe-core accepts a placeholder
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let text; (text = texts.nextNode()); ) {
        const { parentElement: element } = text;
        if (!text.data.trim() || !element.checkVisibility() || element.closest("svg > symbol, .hidden")) continue;
        const scale = element.ownerSVGElement?.getScreenCTM().a ?? 1;
        const fontSize = parseFloat(getComputedStyle(element).fontSize) * scale;
        if (fontSize < minFontSize) problems.push(`"${text.data}" has a font of ${fontSize} px`);
      }
      if (!isPhone) return problems;
      const top = (selector) => document.querySelector(selector).getBoundingClientRect().top;
      const order = ["#media", "#chat", "#mesh"];
      if (order.some((it, index) => index > 0 && top(it) <= top(order[index - 1]))) problems.push("wrong order");
      for (const y of [0, document.documentElement.scrollHeight]) {
        scrollTo(0, y);
        const end = document.querySelector("#compose").getBoundingClientRect().bottom;
        if (Math.abs(end - innerHeight) > 1) problems.push(`form ends at ${end} of ${innerHeight} px`);
      }
      scrollTo(0, 0);
      return problems;
    },
    [size === "phone", MIN_FONT_SIZE],
  );
}

/** Shoots the whole page. What is fixed to the bottom of the screen is at the bottom of the picture. */
async function shoot(tab, path, viewport) {
  const height = await tab.evaluate(() => document.documentElement.scrollHeight);
  await tab.setViewportSize({ ...viewport, height: Math.max(height, viewport.height) });
  await tab.screenshot({ path, fullPage: true, animations: "disabled" });
  await tab.setViewportSize(viewport);
  console.log(path);
}
