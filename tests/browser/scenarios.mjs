/** Runs the scenarios of a suite one after the other, each with a key of its own. */

import assert from "node:assert/strict";
import { Report } from "./report.mjs";

/**
 * @param {Record<string, (key: string) => Promise<void>>} scenarios by their names
 * @param {object} options
 * @param {string} [options.only] runs only scenarios whose name contains this
 * @param {string[]} [options.pageErrors] errors of the pages, which make a scenario fail
 * @param {() => Promise<unknown>} options.after closes what a scenario has opened, also after it failed
 * @returns {Promise<boolean>} whether at least one scenario ran and none failed
 */
export async function runScenarios(scenarios, { only = "", pageErrors = [], after }) {
  const report = new Report();
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (!name.includes(only)) continue;
    const run = async () => {
      pageErrors.length = 0;
      await scenario(`room-${Date.now()}`);
      assert.deepEqual(pageErrors, []);
    };
    await report.run(name, run, after);
  }
  return report.end();
}

/** Closes the tabs of a browser, without `kept` and the tabs of its context. */
export function closeTabs(browser, kept) {
  const contexts = browser.contexts().filter((context) => context !== kept?.context());
  return Promise.all(contexts.map((context) => context.close()));
}
