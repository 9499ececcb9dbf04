/** Scenarios with camera and microphone. */

import assert from "node:assert/strict";
import { SOON, until } from "../chromium.mjs";
import { close, joinNewGroup, LATER, meshed, open, openInTurn, shows } from "./tabs.mjs";

const playing = (count) =>
  [...document.querySelectorAll("#tiles video")].filter((it) => it.videoWidth > 0).length === count;

/** Sends a stream of a canvas or of silence, from a time on. Runs in the page. */
async function startAt([time, isVideo]) {
  globalThis.left = [];
  group.addEventListener("peerleave", ({ reason }) => left.push(reason));
  const canvas = document.createElement("canvas");
  canvas.getContext("2d");
  const stream = isVideo ? canvas.captureStream(5) : new AudioContext().createMediaStreamDestination().stream;
  await new Promise((resolve) => setTimeout(resolve, time - Date.now()));
  group.addStream(stream);
}

/** Blocks sound until a click, as browsers do. Chromium takes the commands of this test for a user's. */
function blockSound() {
  const { play } = HTMLMediaElement.prototype;
  let isBlocked = true;
  HTMLMediaElement.prototype.play = function () {
    if (isBlocked && !this.muted) return Promise.reject(new DOMException("No gesture", "NotAllowedError"));
    return play.call(this);
  };
  addEventListener("click", () => (isBlocked = false), { capture: true });
}

export const mediaScenarios = {
  async "camera streams start and stop, also for a peer that joins later"(key) {
    const tabs = await openInTurn(key, 2);
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

  async "video and audio that start at the same moment interrupt no connection"(key) {
    const tabs = await openInTurn(key, 4);
    const start = (isVideo) => (tab) => tab.evaluate(startAt, [Date.now() + 500, isVideo]);
    await Promise.all([...tabs.slice(0, 2).map(start(true)), ...tabs.slice(2).map(start(false))]);
    const hasAll = () => [...group.peers.values()].filter(({ streams }) => streams.length === 1).length === 3;
    for (const tab of tabs) await until(tab, hasAll);
    for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => left), []);
  },

  async "state of camera and microphone is in words and icons"(key) {
    const [tab, other] = await openInTurn(key, 2);
    const iconOf = (button) => tab.locator(`${button} use`).getAttribute("href");
    for (const [button, name] of Object.entries({ "#camera": "camera", "#microphone": "microphone" })) {
      assert.equal((await tab.textContent(button)).trim(), `Start ${name}`);
      assert.equal(await iconOf(button), `#icon-${name}-off`);
      await tab.click(button);
      await shows(tab, button, `Stop ${name}`);
      assert.equal(await iconOf(button), `#icon-${name}`);
    }
    await until(other, () => /^\w+ \w+, microphone on$/.test(document.querySelector("figcaption")?.textContent));
    assert.match(await other.getAttribute("#tiles video", "aria-label"), /^Camera of \w+ \w+$/);
    assert.equal(await tab.textContent("figcaption"), "You, microphone on");
  },

  async "blocked sound plays after a tap"(key) {
    const [speaker, listener] = await openInTurn(key, 2, { before: blockSound });
    await speaker.click("#microphone");
    await listener.locator("text=Tap to enable sound").waitFor({ timeout: SOON });
    await listener.click("text=Tap to enable sound");
    await until(listener, () => !document.querySelector("#tiles audio").paused);
    await listener.locator("#sound").waitFor({ state: "hidden" });
    await speaker.click("#microphone");
    await until(listener, () => document.querySelectorAll("#tiles figure").length === 0);
  },

  async "video plays while its sound is blocked"(key) {
    const [speaker, listener] = await openInTurn(key, 2, { before: blockSound });
    await speaker.evaluate(async () => {
      group.addStream(await navigator.mediaDevices.getUserMedia({ audio: true, video: true }));
    });
    await listener.locator("#sound").waitFor({ timeout: SOON });
    await until(listener, playing, 1);
    assert(await listener.evaluate(() => document.querySelector("#tiles video").muted));
    await listener.click("#sound");
    await until(listener, () => !document.querySelector("#tiles video").muted);
    await until(listener, () => !document.querySelector("#tiles video").paused);
    await close([speaker]);
    await until(listener, () => document.querySelectorAll("#tiles figure").length === 0, undefined, LATER);
  },

  async "page shows the reason if it has no camera"(key) {
    const failWith = (name) => async (tab) => {
      await tab.evaluate((name) => {
        navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("Reason", name));
      }, name);
    };
    const insecure = (tab) =>
      tab.evaluate(() => Object.defineProperty(navigator, "mediaDevices", { value: undefined, configurable: true }));
    const [tab] = await openInTurn(key, 1);
    for (const [prepare, text] of [
      [failWith("NotAllowedError"), "access was blocked; allow it in the site settings."],
      [failWith("NotFoundError"), "unavailable: no device was found."],
      [failWith("NotReadableError"), "unavailable: another program may be using it."],
      [failWith("OtherError"), "unavailable: Reason"],
      [insecure, "unavailable: serve this page over HTTPS or from localhost."],
    ]) {
      await prepare(tab);
      for (const device of ["Camera", "Microphone"]) {
        await tab.click(`#${device.toLowerCase()}`);
        await shows(tab, "#media-notice", `${device} ${text}`);
        assert.equal((await tab.textContent(`#${device.toLowerCase()}`)).trim(), `Start ${device.toLowerCase()}`);
      }
    }
    assert.equal(await tab.textContent("#log"), "", "the log is for chat");
  },

  async "camera that is allowed after the group has changed is not sent there"(key) {
    const [tab] = await openInTurn(key, 1);
    await tab.evaluate(() => {
      const { getUserMedia } = navigator.mediaDevices;
      navigator.mediaDevices.getUserMedia = (constraints) =>
        new Promise((resolve) => {
          globalThis.allow = async () => {
            globalThis.stream = await getUserMedia.call(navigator.mediaDevices, constraints);
            resolve(stream);
          };
        });
    });
    await tab.click("#camera");
    await until(tab, () => globalThis.allow);
    await joinNewGroup(tab);
    await tab.evaluate(() => allow());
    await until(tab, () => globalThis.stream?.getTracks().every(({ readyState }) => readyState === "ended"));
    assert.equal(await tab.locator("#tiles figure").count(), 0);
    await shows(tab, "#camera", "Start camera");
  },
};
