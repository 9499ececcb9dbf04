/** Scenarios of what the page shows and offers: states, the link, the chat and the mesh. */

import assert from "node:assert/strict";
import { SOON, until } from "../chromium.mjs";
import {
  chats,
  close,
  failSends,
  joinNewGroup,
  LATER,
  listed,
  measured,
  meshed,
  MUCH_LATER,
  notice,
  open,
  openInTurn,
  openMany,
  rejectWith,
  shows,
  watch,
  withoutIce,
} from "./tabs.mjs";

const COMPOSE = "#compose button";
const FIRST = "You're the first one here. Share the link, or open it in a second tab.";
const LEFT_ALONE = "Everyone else has left. Share the link, or open it in a second tab.";

/** Records the texts of a button that copies the link: it shows the first one for a short time. Runs in the page. */
function recordCopies(selector) {
  globalThis.shown = [];
  const [button, status] = [selector, "#copy-status"].map((it) => document.querySelector(it));
  new MutationObserver(() => {
    shown.push({ button: button.textContent.trim(), status: status.textContent, at: performance.now() });
  }).observe(button, { childList: true, subtree: true });
}

export const pageScenarios = {
  async "three tabs form a mesh, draw it and list its connections"(key) {
    const tabs = await openInTurn(key, 3);
    for (const tab of tabs) {
      await until(tab, () => document.querySelectorAll("#nodes > [data-peer]").length === 3);
      await until(tab, () => document.querySelectorAll("#edges .edge").length === 3);
      await until(tab, () => /^(\w+ \w+, direct, (<1|\d+) ms){2}$/.test(document.querySelector("#peers").textContent));
      assert.equal(await tab.textContent("#state"), "Connected");
      assert.equal(await tab.textContent("#count"), "3 peers");
      assert.equal(await tab.textContent("#notice"), "");
      assert.equal(await tab.title(), "(3) sigver");
    }
  },

  async "page says what it is for"(key) {
    const tab = await open(key);
    const text = "Peer-to-peer chat and video. Messages go directly between browsers, not through the server.";
    assert(await tab.isVisible(`header >> text="${text}"`));
  },

  async "page calls a group empty only after it has joined it"(key) {
    const tab = await open(key, { before: () => (globalThis.blockSockets = true) });
    await notice(tab, "Can't reach the signaling server.");
    assert.equal(await tab.isVisible("#invite"), false);
    assert.equal(await tab.textContent("#count"), "");
    await tab.evaluate(() => (globalThis.blockSockets = false));
    await shows(tab, "#hint", FIRST, LATER);
    await tab.locator("#invite").waitFor({ timeout: LATER });
    assert.equal(await tab.textContent("#state"), "Waiting for others");
    assert.equal(await tab.textContent("#count"), "Just you");
    assert.equal(await tab.textContent("#notice"), "");
    const guest = await open(key);
    await meshed([tab, guest]);
    await tab.locator("#invite").waitFor({ state: "hidden" });
    await close([guest]);
    await tab.locator("#invite").waitFor({ timeout: LATER });
    assert.equal(await tab.textContent("#hint"), LEFT_ALONE);
  },

  async "rejected page says why and offers a new group"(key) {
    const tab = await open(key, { context: (context) => rejectWith(context, key, 4003, "closed <b>by</b> its owner") });
    const rejected = "The server rejected this group (4003: closed <b>by</b> its owner).";
    await shows(tab, "#notice", `${rejected} Ask for a new link, or start a new group.`);
    assert.equal(await tab.textContent("#state"), "Not connected");
    assert.equal(await tab.textContent("#count"), "");
    for (const selector of [COMPOSE, "#camera", "#microphone"]) assert(await tab.isDisabled(selector), selector);
    assert.equal(await tab.isVisible("#retry"), false);
    await tab.click("text=New group");
    await shows(tab, "#state", "Waiting for others");
    assert.equal(await tab.textContent("#notice"), "");
  },

  async "link of an empty group can be copied, and opens a second tab"(key) {
    const tab = await open(key);
    await tab.evaluate(recordCopies, "#copy-invite");
    await tab.click("#invite >> text=Copy link");
    await until(tab, () => shown.length === 2);
    const shown = await tab.evaluate(() => globalThis.shown);
    assert.deepEqual(shown.map(({ at, ...texts }) => texts), [
      { button: "Copied", status: "Link copied" },
      { button: "Copy link", status: "" },
    ]);
    assert(shown[1].at - shown[0].at > 1_000, "the button shows it for 2 s");
    assert.equal(await tab.textContent("#log"), "", "the log is for chat");
    const link = await tab.evaluate(() => navigator.clipboard.readText());
    assert.equal(link, await tab.inputValue("#link"));
    assert.equal(new URL(link).hash, `#${key}`);

    const opened = tab.context().waitForEvent("page", { timeout: SOON });
    await tab.click("text=Open a second tab");
    const second = await opened;
    watch(second);
    await second.waitForURL(link, { timeout: SOON });
    await meshed([tab, second]);
    assert.equal(await second.evaluate(() => globalThis.opener), null);

    await tab.evaluate(recordCopies, "#copy");
    await tab.click("header >> text=Copy link");
    await until(tab, () => shown[0]?.button === "Copied");
    await joinNewGroup(second);
    assert.equal(await second.evaluate(() => peers().length), 0);
    await until(tab, () => peers().length === 0, undefined, LATER);
  },

  async "link is selected if the browser does not let the page copy it"(key) {
    const tabs = await openInTurn(key, 2);
    await tabs[0].evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new DOMException("", "NotAllowedError"));
    });
    await tabs[0].click("#copy");
    await tabs[0].locator("#link").waitFor();
    await shows(tabs[0], "#hint", "The browser doesn't let this page copy. Copy the selected link.");
    assert.equal(await tabs[0].evaluate(() => getSelection().toString()), await tabs[0].inputValue("#link"));
  },

  async "focus in the card of an empty group moves on when a peer joins"(key) {
    const [tab] = await openInTurn(key, 1);
    await tab.locator("#invite").waitFor();
    await tab.locator("#copy-invite").focus();
    await openMany(key, 1);
    await tab.locator("#invite").waitFor({ state: "hidden" });
    assert.equal(await tab.evaluate(() => document.activeElement.id), "copy");
  },

  async "peer that only others can connect to is named, with the remedy"(key) {
    const common = await open(key); // connects to each of the two others, which cannot connect to each other
    await meshed([common]);
    const tabs = [];
    for (let count = 1; count <= 2; count++) {
      tabs.push(await open(key, { before: withoutIce }));
      await until(tabs.at(-1), () => peers().length === 1);
    }
    await until(common, () => peers().length === 2);
    const [tab] = tabs;
    const isNamed = () =>
      /^Can't connect to \w+ \w+, although other peers can\. A TURN server would fix this\.$/.test(
        document.querySelector("#notice").textContent,
      );
    await until(tab, isNamed, undefined, MUCH_LATER);
    assert.match(await tab.textContent("#peers"), /\w+ \w+, not connected to you$/);
    assert.equal(await tab.locator("#edges .missing").count(), 1);
    await close([tabs[1]]);
    await shows(tab, "#notice", "", LATER);
  },

  async "messages can be sent only to somebody"(key) {
    const [tab] = await openInTurn(key, 1);
    assert(await tab.isDisabled(COMPOSE));
    await tab.fill("#text", "is anybody here?");
    await tab.press("#text", "Enter");
    assert.equal(await tab.inputValue("#text"), "is anybody here?");
    assert.equal(await tab.textContent("#log"), "");
    const guest = await open(key);
    await meshed([tab, guest]);
    await tab.locator(`${COMPOSE}:enabled`).waitFor({ timeout: SOON });
    await tab.press("#text", "Enter");
    await guest.locator("#log .line", { hasText: "is anybody here?" }).waitFor({ timeout: SOON });
    await close([guest]);
    await tab.locator(`${COMPOSE}:disabled`).waitFor({ timeout: LATER });
  },

  async "message that reached no peer is marked as not delivered"(key) {
    const [first, second] = await openInTurn(key, 2);
    await chats(first, [second], "delivered");
    await first.evaluate(failSends);
    await first.fill("#text", "lost");
    await first.press("#text", "Enter");
    const lines = first.locator("#log .mine");
    await lines.locator("text=not delivered").waitFor({ timeout: SOON });
    assert.deepEqual(await lines.allTextContents(), ["Youdelivered", "Youlostnot delivered"]);
    assert(await lines.nth(1).locator("svg").isVisible(), "an icon, not only a colour");
  },

  async "texts of peers are never read as HTML, and are cut to a length"(key) {
    const [first, second] = await openInTurn(key, 2);
    await chats(first, [second], '<img src="x" onerror="globalThis.hacked = true"><b>bold</b>');
    await first.evaluate(() => group.send("long ".repeat(600_000)));
    await until(second, () => received.some(({ data }) => data.length === 3_000_000));
    await until(second, () => document.querySelectorAll("#log .line").length === 2);
    assert.equal(await second.evaluate(() => document.querySelectorAll("#log img, #log .line b b").length), 0);
    assert.equal(await second.evaluate(() => globalThis.hacked), undefined);
    assert((await second.locator("#log .line").nth(1).textContent()).length < 2_100);
  },

  async "flood of messages leaves a page responsive, with the last 500 lines"(key) {
    const [first, second] = await openInTurn(key, 2);
    await first.evaluate(async () => {
      for (let count = 1; count <= 3_000; count++) await group.send(`message ${count}`);
    });
    await second.locator("#log .line", { hasText: "message 3000" }).waitFor({ timeout: SOON });
    assert.equal(await second.evaluate(() => document.querySelector("#log").childElementCount), 500);
    await chats(second, [first], "still here");
  },

  async "round-trip times are in the list, and in the drawing only below the pointer"(key) {
    const tabs = await openInTurn(key, 4);
    const [tab] = tabs;
    await measured(tab, 3);
    const labels = tab.locator("#labels .rtt");
    assert.equal(await labels.count(), 0);
    await tab.locator("#edges [data-edge] .mine").first().dispatchEvent("pointerover");
    await labels.first().waitFor();
    assert.match((await labels.allTextContents()).join(), /^(<1|\d+) ms$/);
    await tab.locator(`#nodes .me`).dispatchEvent("pointerover");
    await until(tab, () => document.querySelectorAll("#labels .rtt").length === 3);
    await tab.locator("#graph").dispatchEvent("pointerleave", { pointerType: "mouse" });
    await until(tab, () => document.querySelectorAll("#labels .rtt").length === 0);
  },

  async "list of peers changes in place"(key) {
    const tabs = await openInTurn(key, 3);
    await listed(tabs[0], 2);
    const items = await tabs[0].locator("#peers li").elementHandles();
    const stay = async () => {
      for (const item of items) assert(await item.evaluate((it) => it.isConnected), "an item was replaced");
    };
    tabs.push(await open(key));
    await listed(tabs[0], 3);
    await stay();
    // A round-trip time may stay the same, but a name changes.
    await tabs[1].fill("#name", "Ann");
    await tabs[1].press("#name", "Enter");
    await until(tabs[0], () => [...document.querySelectorAll("#peers b")].some((it) => it.textContent === "Ann"));
    await stay();
    await close([tabs[3]]);
    await listed(tabs[0], 2, LATER);
    await stay();
  },

  async "names of users reach all peers, and later joiners"(key) {
    const tabs = await openInTurn(key, 2);
    await tabs[0].fill("#name", "  Ann <b>B</b>\u202E ");
    await tabs[0].press("#name", "Enter");
    await until(tabs[0], () => document.querySelector("#name").value === "Ann <b>B</b>");
    await until(tabs[1], () => document.querySelector("#peers b")?.textContent === "Ann <b>B</b>");
    await tabs[1].locator("#log .event", { hasText: /^\w+ \w+ is now Ann <b>B<\/b>$/ }).waitFor({ timeout: SOON });
    tabs.push(await open(key));
    await meshed(tabs);
    await tabs[2].locator("#peers b", { hasText: "Ann <b>B</b>" }).waitFor({ timeout: SOON });
    await tabs[2].locator("#log .event", { hasText: "Ann <b>B</b> joined" }).waitFor({ timeout: SOON });
    await chats(tabs[0], tabs.slice(1), "it is Ann");
    assert.equal(await tabs[1].locator("#log .line > b").textContent(), "Ann <b>B</b>");
    // The page keeps the name for the next visit.
    await tabs[0].reload();
    assert.equal(await tabs[0].inputValue("#name"), "Ann <b>B</b>");
    await meshed(tabs, LATER);
    await tabs[1].locator("#peers b", { hasText: "Ann <b>B</b>" }).waitFor({ timeout: SOON });
    await tabs[0].fill("#name", "");
    await tabs[0].press("#name", "Enter");
    const areDrawn = () => [...document.querySelectorAll("#peers b")].every((it) => /^\w+ \w+$/.test(it.textContent));
    await until(tabs[1], areDrawn);
  },

  async "page counts down to the next attempt, and retries at once on request"(key) {
    const [tab] = await openInTurn(key, 1);
    await tab.evaluate(() => (globalThis.blockSockets = true));
    await tab.evaluate(() => sockets.at(-1).close());
    const hasLongWait = () => /^Retrying in ([5-9]|\d\d) s$/.test(document.querySelector("#countdown").textContent);
    await until(tab, hasLongWait, undefined, LATER); // the wait grows with each attempt
    const text = await tab.textContent("#countdown");
    await until(tab, (text) => document.querySelector("#countdown").textContent !== text, text);
    await tab.locator("text=Retry now").waitFor({ timeout: SOON });
    // In one step: the wait may end at any time.
    const retries = () => {
      const isWaiting = /^Retrying in \d+ s$/.test(document.querySelector("#countdown").textContent);
      if (!isWaiting || !(group.nextAttempt > Date.now() + 2_000)) return false;
      globalThis.blockSockets = false;
      globalThis.dueAt = group.nextAttempt;
      group.addEventListener("statechange", () => (globalThis.retriedAt = Date.now()), { once: true });
      document.querySelector("#retry").click();
      return true;
    };
    await until(tab, retries, undefined, LATER);
    await until(tab, () => group.state === "joined");
    assert(await tab.evaluate(() => retriedAt < dueAt), "it waited");
    await tab.locator("#alert").waitFor({ state: "hidden" });
    await shows(tab, "#countdown", "");
  },
};
