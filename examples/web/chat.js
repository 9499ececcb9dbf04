/** The chat: the log of messages and events, and the form to send messages. */

import { $, icon, make } from "./dom.js";
import { colourOf, nameOf } from "./names.js";
import { placeholderText } from "./texts.js";

const MAX_LINES = 500;
const MAX_LENGTH = 2_000; // of one message; a peer can send 64 MiB
const FLUSH_DELAY = 30; // many messages cause one layout

export class Chat {
  /** Lines that are not in the log yet. @type {HTMLElement[]} */ #pending = [];
  #timer = 0;

  /** @param {(text: string) => Promise<number>} send resolves with the number of peers that the message reached */
  constructor(send) {
    $("compose").onsubmit = (event) => {
      event.preventDefault();
      const text = $("text").value.trim();
      if (!text) return;
      $("text").value = "";
      this.#send(text, send);
    };
  }

  clear() {
    this.#pending = [];
    $("log").replaceChildren();
  }

  /** @param {import("./texts.js").View} view */
  update(view) {
    $("text").placeholder = placeholderText(view);
    $("compose").querySelector("button").disabled = view.peers === 0;
  }

  /** Adds a message of another peer. @param {number} id @param {string} text */
  receive(id, text) {
    const name = make("b", { textContent: nameOf(id) });
    name.style.color = colourOf(id);
    const shown = text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
    this.#add(make("div", { className: "line" }, name, shown));
  }

  /** Adds an event. @param {string} text */
  note(text) {
    this.#add(make("div", { className: "event", textContent: text }));
  }

  async #send(text, send) {
    const line = make("div", { className: "line mine" }, make("b", { textContent: "You" }), text);
    this.#add(line);
    this.#flush();
    $("log").scrollTop = $("log").scrollHeight;
    // It rejects if too much waits to be sent.
    if ((await send(text).catch(() => 0)) > 0) return;
    line.classList.add("failed");
    line.append(make("small", {}, icon("warning"), "not delivered"));
  }

  #add(line) {
    this.#pending.push(line);
    if (this.#pending.length > MAX_LINES) this.#pending.shift();
    // A timer, because a hidden tab gets no animation frames.
    this.#timer ||= setTimeout(() => this.#flush(), FLUSH_DELAY);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const log = $("log");
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(...this.#pending.splice(0));
    while (log.children.length > MAX_LINES) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
}
