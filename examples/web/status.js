/** The state of the group, and the notice with its countdown. */

import { $, setText } from "./dom.js";
import { countText, notice, retryText, stateText } from "./texts.js";

export class Status {
  /** @type {number | undefined} */ #nextAttempt;
  #isRetried = false;

  /** @param {() => void} retry ends the wait before the next attempt to reach the server */
  constructor(retry) {
    $("retry").onclick = () => this.#nextAttempt !== undefined && retry();
    setInterval(() => this.#countDown(), 1_000);
  }

  /** @param {import("./texts.js").View} view @param {number} [nextAttempt] */
  update(view, nextAttempt) {
    const { text, isRetried = false } = notice(view);
    setText($("state"), stateText(view));
    setText($("count"), countText(view));
    setText($("notice"), text);
    $("alert").classList.toggle("shown", text !== "");
    document.body.dataset.state = view.state;
    document.title = view.peers > 0 ? `(${view.peers + 1}) sigver` : "sigver";
    this.#nextAttempt = nextAttempt;
    this.#isRetried = isRetried || nextAttempt !== undefined;
    // It stays while an attempt runs, so that it keeps the focus.
    $("retry").hidden = !this.#isRetried || text === "";
    $("retry").ariaDisabled = nextAttempt === undefined ? "true" : null;
    this.#countDown();
  }

  /** The countdown is outside of the live region. Screen readers would read each second. */
  #countDown() {
    setText($("countdown"), this.#isRetried ? retryText(this.#nextAttempt, Date.now()) : "");
  }
}
