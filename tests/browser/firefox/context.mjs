/** Contexts of Firefox, with the API of Playwright's. */

import { once } from "node:events";
import { WebSocketServer } from "uws";
import { Page } from "./page.mjs";

/** Like a profile of its own, with its own process for each site. */
export class Context {
  #context;
  #privileged;
  #onclose;
  /** Servers of routed WebSockets. */
  #servers = [];

  constructor(context, privileged, onclose) {
    this.#context = context;
    this.#privileged = privileged;
    this.#onclose = onclose;
  }

  addInitScript(script, argument) {
    return this.#privileged.addPreloadScript(this.#context.id, `() => (${script})(${JSON.stringify(argument)})`);
  }

  /** Answers the WebSockets that pages open with such URLs. @param {RegExp} pattern */
  async routeWebSocket(pattern, handler) {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    server.on("connection", (socket) => {
      handler({ close: ({ code, reason }) => socket.close(code, reason) });
    });
    this.#servers.push(server);
    await once(server, "listening");
    await this.addInitScript(connectTo, [pattern.source, `ws://127.0.0.1:${server.address().port}`]);
  }

  /** Whether a request is a WebSocket that this process answers. */
  isRouted(url) {
    return this.#servers.some((server) => new URL(url).host === `127.0.0.1:${server.address().port}`);
  }

  /** A window, because tabs of one window would be in the background. */
  async newPage() {
    return this.#wrap(await this.#context.newPage({ type: "window" }));
  }

  /** Waits for a tab that a page opens. @param {"page"} _event */
  async waitForEvent(_event, { timeout }) {
    const [target] = await once(this.#context, "targetcreated", { signal: AbortSignal.timeout(timeout) });
    return this.#wrap(await target.page());
  }

  #wrap(page) {
    return new Page(page, this, this.#privileged);
  }

  async close() {
    this.#onclose();
    for (const server of this.#servers) server.close();
    await this.#context.close();
  }
}

/** Runs in the page. */
function connectTo([pattern, server]) {
  const { WebSocket: Socket } = globalThis;
  globalThis.WebSocket = class extends Socket {
    constructor(url) {
      super(new RegExp(pattern).test(url) ? server : url);
    }
  };
}
