/** The browsers that the suites run in: Debian's Chromium, and Debian's Firefox ESR with `--browser firefox`. */

import { launch as launchChromium } from "./chromium.mjs";
import { launch as launchFirefox } from "./firefox.mjs";

const BROWSERS = { chromium: launchChromium, firefox: launchFirefox };

/** For `parseArgs`. */
export const BROWSER_OPTION = { browser: { type: "string", default: "chromium" } };

/** Launches a browser by its name. For `options`, see `chromium.mjs`. */
export function launch(name, options) {
  if (!Object.hasOwn(BROWSERS, name)) {
    throw new Error(`--browser is ${name}; must be one of ${Object.keys(BROWSERS).join(", ")}`);
  }
  return BROWSERS[name](options);
}

/** Kills the process of a tab, which can send nothing more. */
export async function crash(tab) {
  if (tab.crash) return tab.crash();
  const devtools = await tab.context().newCDPSession(tab);
  devtools.send("Page.crash").catch(() => {}); // the crashed page sends no response
}

/** Stops all that a tab does, until `resume` of the result. */
export async function suspend(tab) {
  if (tab.suspend) return tab.suspend();
  const devtools = await tab.context().newCDPSession(tab);
  await devtools.send("Debugger.enable");
  const paused = new Promise((resolve) => devtools.once("Debugger.paused", resolve));
  await devtools.send("Debugger.pause");
  await paused;
  return {
    async resume() {
      await devtools.send("Debugger.resume");
      await devtools.send("Debugger.disable");
    },
  };
}
