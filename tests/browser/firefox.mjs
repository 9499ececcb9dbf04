/**
 * Launches Debian's Firefox ESR with WebDriver BiDi. Its tabs have the part of Playwright's API that the suites use in
 * both browsers: Playwright drives only its own build of Firefox.
 */

import { setTimeout as sleep } from "node:timers/promises";
import puppeteer from "puppeteer-core";

const PREFERENCES = {
  // WebRTC works with only a loopback interface, and candidates contain addresses and not names of mDNS.
  "media.peerconnection.ice.loopback": true,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // Fake devices, without a question.
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  // The tests have many windows, of which one is in the foreground.
  "media.block-autoplay-until-in-foreground": false,
  "dom.events.testing.asyncClipboard": true,
};

/** In milliseconds, as Playwright has it. */
const TIMEOUT = 30_000;
const POLLING = 50;

export async function launch() {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: "/usr/bin/firefox-esr",
    extraPrefsFirefox: PREFERENCES,
    timeout: 60_000,
    protocolTimeout: 120_000,
  });
  return new Browser(browser);
}

class Browser {
  #browser;
  #contexts = new Set();

  constructor(browser) {
    this.#browser = browser;
  }

  /** The preferences grant all permissions. */
  async newContext() {
    const context = new Context(await this.#browser.createBrowserContext(), () => this.#contexts.delete(context));
    this.#contexts.add(context);
    return context;
  }

  contexts() {
    return [...this.#contexts];
  }

  version() {
    return this.#browser.version();
  }

  close() {
    return this.#browser.close();
  }

  /** Kills the browser with all its tabs, which can send nothing more. */
  kill() {
    this.#browser.process().kill("SIGKILL");
  }
}

/** Like a profile of its own, with its own process for each site. */
class Context {
  #context;
  #scripts = [];
  #onclose;

  constructor(context, onclose) {
    this.#context = context;
    this.#onclose = onclose;
  }

  async addInitScript(script, argument) {
    this.#scripts.push([script, argument]);
  }

  /** A window, because tabs of one window would be in the background. */
  async newPage() {
    const page = new Page(await this.#context.newPage({ type: "window" }), this);
    for (const script of this.#scripts) await page.addInitScript(...script);
    return page;
  }

  async close() {
    this.#onclose();
    await this.#context.close();
  }
}

class Page {
  #page;
  #context;

  constructor(page, context) {
    this.#page = page;
    this.#context = context;
  }

  context() {
    return this.#context;
  }

  on(event, listener) {
    this.#page.on(event, (value) => {
      // Firefox also logs failed ICE as an error of the page.
      const isWarning = event === "pageerror" && /^WebRTC: /.test(value.message);
      if (!isWarning) listener(event === "request" ? { url: () => value.url() } : value);
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
    for (;;) {
      let failure;
      const holds = await this.#page.evaluate(condition, argument).catch((error) => {
        failure = error; // the page is navigating, for example
      });
      if (holds) return;
      if (Date.now() > end) throw failure ?? new Error(`not true in ${timeout} ms: ${condition} of ${argument}`);
      await sleep(POLLING);
    }
  }

  locator(selector, options) {
    return new Locator(this.#page, toPuppeteer(selector, options?.hasText));
  }

  click(selector) {
    return this.locator(selector).click();
  }

  fill(selector, text) {
    return this.#page.locator(toPuppeteer(selector)).setTimeout(TIMEOUT).fill(text);
  }

  async press(selector, key) {
    await this.#page.focus(toPuppeteer(selector));
    await this.#page.keyboard.press(key);
  }

  textContent(selector) {
    return this.locator(selector).textContent();
  }

  getAttribute(selector, name) {
    return this.locator(selector).getAttribute(name);
  }

  inputValue(selector) {
    return this.#page.$eval(toPuppeteer(selector), (it) => it.value);
  }

  isDisabled(selector) {
    return this.#page.$eval(toPuppeteer(selector), (it) => it.disabled);
  }

  async isVisible(selector) {
    return (await this.#page.$(toPuppeteer(selector)))?.isVisible() ?? false;
  }

  async close() {
    await this.#page.close({ runBeforeUnload: false });
  }
}

/** The elements of a page that match a selector of Puppeteer, or one of them. */
class Locator {
  #page;
  #selector;
  #index;

  constructor(page, selector, index = 0) {
    this.#page = page;
    this.#selector = selector;
    this.#index = index;
  }

  first() {
    return this.nth(0);
  }

  nth(index) {
    return new Locator(this.#page, this.#selector, index);
  }

  /** Waits until the element is visible; with `hidden`, until there is none that is. */
  async waitFor({ state = "visible", timeout = TIMEOUT } = {}) {
    const end = Date.now() + timeout;
    for (;;) {
      const element = await this.#element();
      if (Boolean(await element?.isVisible()) === (state === "visible")) return element;
      if (Date.now() > end) throw new Error(`${this.#selector} is not ${state} after ${timeout} ms`);
      await sleep(POLLING);
    }
  }

  async click() {
    const element = await this.waitFor();
    await element.click();
  }

  async textContent() {
    const element = await this.waitFor();
    return element.evaluate((it) => it.textContent);
  }

  async getAttribute(name) {
    const element = await this.waitFor();
    return element.evaluate((it, name) => it.getAttribute(name), name);
  }

  allTextContents() {
    return this.#page.$$eval(this.#selector, (all) => all.map((it) => it.textContent));
  }

  async count() {
    return (await this.elementHandles()).length;
  }

  elementHandles() {
    return this.#page.$$(this.#selector);
  }

  async #element() {
    return (await this.elementHandles())[this.#index];
  }
}

/** Translates a selector of Playwright: CSS, or `text=WORDS`, or the first and `>>` and the second. */
function toPuppeteer(selector, hasText) {
  const [, css, words = hasText] = /^(.*?)(?: >> |^)text=(.*)$/.exec(selector) ?? [, selector];
  return words === undefined ? css : `${css || "body"} ::-p-text(${JSON.stringify(words.replace(/^"|"$/g, ""))})`;
}
