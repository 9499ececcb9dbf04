/** Tabs of Firefox, with the API of Playwright's. */

import { setTimeout as sleep } from "node:timers/promises";
import { Locator, POLLING, TIMEOUT } from "./locator.mjs";

/** What Firefox also logs as errors of the page: failed ICE, and requests and sockets that fail. */
const NO_ERROR_OF_PAGE =
  /^(WebRTC: |Firefox can’t establish a connection|The connection to \S+ was interrupted|Cross-Origin Request Blocked)/;

export class Page {
  #page;
  #context;
  #privileged;

  constructor(page, context, privileged) {
    this.#page = page;
    this.#context = context;
    this.#privileged = privileged;
  }

  context() {
    return this.#context;
  }

  on(event, listener) {
    this.#page.on(event, (value) => {
      if (event === "pageerror" && NO_ERROR_OF_PAGE.test(value.message)) return;
      // Playwright reports no WebSockets.
      if (event === "request" && this.#context.isRouted(value.url())) return;
      if (event === "response" && value.status() === 101) return;
      listener(event === "request" ? { url: () => value.url() } : value);
    });
  }

  addInitScript(script, argument) {
    return this.#page.evaluateOnNewDocument(script, argument);
  }

  exposeFunction(name, call) {
    return this.#page.exposeFunction(name, call);
  }

  goto(url, { waitUntil } = {}) {
    return this.#page.goto(url, { timeout: TIMEOUT, waitUntil: waitUntil === "commit" ? [] : "load" });
  }

  waitForURL(url, { timeout } = {}) {
    const isLoaded = (url) => location.href === url && document.readyState === "complete";
    return this.waitForFunction(isLoaded, url, { timeout });
  }

  /** Resolves before the page is back. */
  async goBack() {
    await this.#page.evaluate(() => history.back());
  }

  reload() {
    return this.#page.reload({ timeout: TIMEOUT });
  }

  title() {
    return this.#page.title();
  }

  evaluate(call, argument) {
    return this.#page.evaluate(call, argument);
  }

  /** Polls from here: timers of a page in the background are late. */
  async waitForFunction(condition, argument, { timeout = TIMEOUT } = {}) {
    const end = Date.now() + timeout;
    // Not all values can be returned.
    const holdsNow = new Function("argument", `return Boolean((${condition})(argument))`);
    for (;;) {
      let failure;
      const holds = await this.#page.evaluate(holdsNow, argument).catch((error) => {
        failure = error; // the page is navigating, for example
      });
      if (holds) return;
      if (Date.now() > end) throw failure ?? new Error(`not true in ${timeout} ms: ${condition} of ${argument}`);
      await sleep(POLLING);
    }
  }

  locator(selector, options) {
    return Locator.within(this.#page, selector, options);
  }

  click(selector) {
    return this.locator(selector).click();
  }

  fill(selector, text) {
    return this.locator(selector).fill(text);
  }

  async press(selector, key) {
    await this.#page.bringToFront();
    await this.locator(selector).focus();
    await this.#page.keyboard.press(key);
  }

  textContent(selector) {
    return this.locator(selector).textContent();
  }

  getAttribute(selector, name) {
    return this.locator(selector).getAttribute(name);
  }

  inputValue(selector) {
    return this.locator(selector).evaluate((it) => it.value);
  }

  isDisabled(selector) {
    return this.locator(selector).evaluate((it) => it.disabled);
  }

  isVisible(selector) {
    return this.locator(selector).isVisible();
  }

  setViewportSize({ width, height }) {
    return this.#page.setViewport({ width, height });
  }

  async emulateMedia({ colorScheme, reducedMotion }) {
    await this.#privileged.setColorScheme(this.#id, colorScheme);
    await this.#privileged.setReducedMotion(this.#id, Number(reducedMotion === "reduce"));
  }

  screenshot({ path, fullPage }) {
    return this.#page.screenshot({ path, fullPage });
  }

  /** Kills the process of this tab, which can send nothing more. */
  async crash() {
    process.kill(await this.#privileged.processOf(this.#id), "SIGKILL");
  }

  /** Stops the process of this tab until `resume` of the result. */
  async suspend() {
    const id = await this.#privileged.processOf(this.#id);
    process.kill(id, "SIGSTOP");
    return { resume: async () => void process.kill(id, "SIGCONT") };
  }

  async close() {
    await this.#page.close({ runBeforeUnload: false });
  }

  get #id() {
    return this.#page.mainFrame()._id;
  }
}
