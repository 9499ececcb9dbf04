/**
 * Launches Debian's Firefox ESR with WebDriver BiDi. Its tabs have the part of Playwright's API that the suites use in
 * both browsers: Playwright drives only its own build of Firefox.
 */

import puppeteer from "puppeteer-core";
import { Context } from "./firefox/context.mjs";
import { Privileged } from "./firefox/privileged.mjs";

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

export async function launch() {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: "/usr/bin/firefox-esr",
    args: ["--remote-allow-system-access"],
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
    const privileged = new Privileged(this.#browser.connection);
    const closed = () => this.#contexts.delete(context);
    const context = new Context(await this.#browser.createBrowserContext(), privileged, closed);
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
