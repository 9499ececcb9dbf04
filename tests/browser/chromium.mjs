/** Debian's Chromium, set up so that WebRTC works on a machine with nothing but a loopback. */

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
