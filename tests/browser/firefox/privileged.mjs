/** Code that Firefox runs with the rights of its own user interface, for what WebDriver BiDi has no command for. */

export class Privileged {
  #connection;

  /** @param {import("puppeteer-core").Connection} connection of WebDriver BiDi */
  constructor(connection) {
    this.#connection = connection;
  }

  /** Runs a script in each page of a context, before its own scripts. Puppeteer does so for single tabs only. */
  addPreloadScript(contextId, functionDeclaration) {
    return this.#connection.send("script.addPreloadScript", { functionDeclaration, userContexts: [contextId] });
  }

  /** The process of a tab. Each context has processes of its own. */
  processOf(tabId) {
    return this.#call(tabId, (tab) => tab.currentWindowGlobal.osPid);
  }

  /** `null`: the default. */
  setColorScheme(tabId, colorScheme) {
    return this.#call(
      tabId,
      (tab, colorScheme) => {
        tab.prefersColorSchemeOverride = colorScheme ?? "none";
      },
      colorScheme,
    );
  }

  /** In all tabs. */
  setReducedMotion(tabId, isReduced) {
    return this.#call(tabId, (_, isReduced) => Services.prefs.setIntPref("ui.prefersReducedMotion", isReduced), isReduced);
  }

  /** @param {(tab: any, argument: any) => unknown} call receives the `BrowsingContext` of a tab */
  async #call(tabId, call, argument = null) {
    const { contexts } = await this.#send("browsingContext.getTree", { "moz:scope": "chrome", maxDepth: 0 });
    const outcome = await this.#send("script.callFunction", {
      functionDeclaration: `(tabId, argument) => {
        const { NavigableManager } = ChromeUtils.importESModule("chrome://remote/content/shared/NavigableManager.sys.mjs");
        return (${call})(NavigableManager.getBrowsingContextById(tabId), JSON.parse(argument));
      }`,
      arguments: [tabId, JSON.stringify(argument)].map((value) => ({ type: "string", value })),
      target: { context: contexts[0].context },
      awaitPromise: false,
    });
    if (outcome.type === "exception") throw new Error(outcome.exceptionDetails.text);
    return outcome.result.value;
  }

  async #send(command, parameters) {
    return (await this.#connection.send(command, parameters)).result;
  }
}
