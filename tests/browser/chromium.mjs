/** Debian's Chromium, set up so that WebRTC works on a machine with nothing but a loopback; and a wait for its tabs. */

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const launch = () =>
  chromium.launch({
    executablePath: "/usr/bin/chromium",
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

/** Without these a page gets no candidates on such a machine. */
export const PERMISSIONS = ["camera", "microphone", "clipboard-read", "clipboard-write"];

/** Milliseconds; a loaded machine takes its time. */
export const SOON = 20_000;

/** Waits until a condition holds in a tab. It has to be known at once: a promise would be taken for true. */
export function until(tab, condition, argument, timeout = SOON) {
  assert(!/\basync\b|\bawait\b|\.then\(/.test(String(condition)), `${condition} gives a promise`);
  return tab.waitForFunction(condition, argument, { timeout, polling: 50 });
}
