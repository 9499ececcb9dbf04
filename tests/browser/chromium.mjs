/** Launches Debian's Chromium so that WebRTC works with only a loopback interface, and waits for conditions in tabs. */

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

/** With `cache`, pages can return from the back/forward cache, as they do in a browser of a user. */
export const launch = ({ cache = false } = {}) =>
  chromium.launch({
    executablePath: "/usr/bin/chromium",
    ignoreDefaultArgs: cache ? ["--disable-back-forward-cache"] : [],
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--allow-loopback-in-peer-connection",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
    ],
  });

/** Without these permissions, pages get no ICE candidates on such a machine. */
export const PERMISSIONS = ["camera", "microphone", "clipboard-read", "clipboard-write"];

/** In milliseconds, for a machine under load. */
export const SOON = 20_000;

/** Waits until a condition holds in a tab. The condition must be synchronous: a promise would count as true. */
export function until(tab, condition, argument, timeout = SOON) {
  assert(!/\basync\b|\bawait\b|\.then\(/.test(String(condition)), `${condition} is asynchronous; must be synchronous`);
  return tab.waitForFunction(condition, argument, { timeout, polling: 50 });
}
