/** Elements of Firefox's tabs, with the API of Playwright's locators. */

import { setTimeout as sleep } from "node:timers/promises";

/** In milliseconds, as Playwright has it. */
export const TIMEOUT = 30_000;
export const POLLING = 50;

/** The elements that match a selector of Playwright, or one of them. */
export class Locator {
  #page;
  #find;
  #name;

  /**
   * @param {import("puppeteer-core").Page} page
   * @param {() => Promise<import("puppeteer-core").ElementHandle[]>} find
   * @param {string} name for errors
   */
  constructor(page, find, name) {
    this.#page = page;
    this.#find = find;
    this.#name = name;
  }

  /** @param {{ hasText?: string | RegExp }} [options] @param {() => any} [roots] pages or elements */
  static within(page, selector, { hasText } = {}, roots = () => [page]) {
    const find = async () => {
      const found = await Promise.all((await roots()).map((root) => root.$$(toPuppeteer(selector))));
      const elements = found.flat();
      if (hasText === undefined) return elements;
      const have = await Promise.all(elements.map((it) => contains(it, hasText)));
      return elements.filter((_, index) => have[index]);
    };
    return new Locator(page, find, hasText === undefined ? selector : `${selector} with ${hasText}`);
  }

  locator(selector, options) {
    return Locator.within(this.#page, selector, options, this.#find);
  }

  first() {
    return this.nth(0);
  }

  nth(index) {
    return new Locator(this.#page, async () => (await this.#find()).slice(index, index + 1), this.#name);
  }

  /** Waits until the element is visible; with `hidden`, until there is none that is. */
  async waitFor({ state = "visible", timeout = TIMEOUT } = {}) {
    const end = Date.now() + timeout;
    for (;;) {
      const [element] = await this.#find();
      const is = { visible: await element?.isVisible(), attached: element !== undefined };
      if (state === "hidden" ? !is.visible : is[state]) return element;
      if (Date.now() > end) throw new Error(`${this.#name} is not ${state} after ${timeout} ms`);
      await sleep(POLLING);
    }
  }

  async click() {
    const element = await this.waitFor();
    await this.#page.bringToFront(); // a page in a window in the background gets no focus events
    await element.click();
  }

  /** Replaces the text of an input as a user does. */
  async fill(text) {
    const element = await this.waitFor();
    await this.#page.bringToFront(); // otherwise the value is not changed but new when the window comes to the front
    await element.evaluate((it, text) => {
      it.focus();
      it.select();
      document.execCommand(text ? "insertText" : "delete", false, text);
    }, text);
  }

  async focus() {
    await (await this.waitFor({ state: "attached" })).focus();
  }

  async evaluate(call, argument) {
    return (await this.waitFor({ state: "attached" })).evaluate(call, argument);
  }

  textContent() {
    return this.evaluate((it) => it.textContent);
  }

  getAttribute(name) {
    return this.evaluate((it, name) => it.getAttribute(name), name);
  }

  dispatchEvent(type, init) {
    return this.evaluate(
      (it, [type, init]) => {
        const Type = type.startsWith("pointer") ? PointerEvent : Event;
        it.dispatchEvent(new Type(type, { bubbles: true, cancelable: true, composed: true, ...init }));
      },
      [type, init],
    );
  }

  async isVisible() {
    const [element] = await this.#find();
    return (await element?.isVisible()) ?? false;
  }

  async allTextContents() {
    return Promise.all((await this.#find()).map(textOf));
  }

  async count() {
    return (await this.#find()).length;
  }

  async elementHandles() {
    const elements = await this.#find();
    return elements.map((it) => ({ textContent: () => textOf(it), evaluate: (call) => it.evaluate(call) }));
  }
}

const textOf = (element) => element.evaluate((it) => it.textContent);

/** Compares as Playwright does: strings in any case, and all white space as one space. */
async function contains(element, text) {
  const content = (await textOf(element)).trim().replace(/\s+/g, " ");
  return text instanceof RegExp ? text.test(content) : content.toLowerCase().includes(text.toLowerCase());
}

/** Translates a selector of Playwright: CSS, or `text=WORDS`, or the first and `>>` and the second. */
export function toPuppeteer(selector) {
  const [, css, words] = /^(.*?)(?: >> |^)text=(.*)$/.exec(selector) ?? [, selector];
  return words === undefined ? css : `${css} ::-p-text(${JSON.stringify(words.replace(/^"|"$/g, ""))})`.trim();
}
