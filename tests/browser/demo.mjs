/**
 * Tests the demo page and its client in Chromium or Firefox: groups of several tabs, and their failures.
 *
 *     node demo.mjs                                     the published server, npm sigver
 *     node demo.mjs --signaling "PATH/sigver"           a server with the options -h HOST -p PORT
 *     node demo.mjs --server "PATH/axum"                an example, which also serves the page; takes HOST:PORT
 *     node demo.mjs --page http://HOST:PORT/            a running server (skips the scenarios that restart it)
 *
 *     --page-here    with --server: serve the page from this folder, and use the server for signaling only
 *     --browser firefox   run in Firefox ESR
 *     --only WORDS   run only scenarios whose name contains WORDS
 *     --shots DIR    also take screenshots of the page
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { BROWSER_OPTION } from "./browsers.mjs";
import { hubScenarios } from "./demo/hub.mjs";
import { mediaScenarios } from "./demo/media.mjs";
import { meshScenarios } from "./demo/mesh.mjs";
import { messageScenarios } from "./demo/messages.mjs";
import { pageScenarios } from "./demo/page.mjs";
import { stateScenarios } from "./demo/states.mjs";
import { browser, LATER, meshed, open, pageErrors, start, stop, target } from "./demo/tabs.mjs";
import { Report } from "./report.mjs";
import { closeTabs } from "./scenarios.mjs";
import { REFERENCE } from "./servers.mjs";

const { values: args } = parseArgs({
  options: {
    ...BROWSER_OPTION,
    server: { type: "string" },
    signaling: { type: "string", default: REFERENCE },
    page: { type: "string" },
    "page-here": { type: "boolean", default: false },
    only: { type: "string", default: "" },
    shots: { type: "string" },
  },
});

const scenarios = {
  ...meshScenarios,
  ...hubScenarios,
  ...messageScenarios,
  ...pageScenarios,
  ...mediaScenarios,
  ...stateScenarios(args.shots),
};

// Scenarios that a target does not support are skipped and not counted.
const NEEDS_RESTART = /restart/;
const NEEDS_PAGE = /opened while the server is offline/; // an example that is offline does not serve the page

async function runAll() {
  // Alone in its group, this tab only sends heartbeats while all other scenarios run.
  const lone = args.only ? undefined : await open(`lone-${Date.now()}`);
  const report = new Report();
  const run = (name, scenario) => {
    const checked = async () => {
      pageErrors.length = 0;
      await scenario();
      if (pageErrors.length) throw new Error(pageErrors.join("\n"));
    };
    return report.run(name, checked, () => closeTabs(browser, lone));
  };
  const loneSince = Date.now();
  let restarts = 0;
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (!name.includes(args.only)) continue;
    if (NEEDS_RESTART.test(name) && !target.server) continue;
    if (NEEDS_PAGE.test(name) && !target.files) continue;
    await run(name, () => {
      if (NEEDS_RESTART.test(name)) restarts++;
      return scenario(`${name.replaceAll(/\W+/g, "-")}-${Date.now()}`);
    });
  }
  if (lone) {
    await run(`idle peer stays a member for ${Math.round((Date.now() - loneSince) / 1000)} s`, async () => {
      await meshed([lone], LATER);
      const isLoss = ({ state }, previous) => state === "reconnecting" && previous?.state !== state;
      const history = await lone.evaluate(() => states);
      const losses = history.filter((it, index) => isLoss(it, history[index - 1])).length;
      assert(losses <= 2 * restarts, `it lost the server ${losses} times in ${restarts} restarts`);
    });
  }
  return report.end();
}

let passed = false;
await start(args);
try {
  passed = await runAll();
} finally {
  await stop();
}
process.exitCode = passed ? 0 : 1;
