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
