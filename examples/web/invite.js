/** The link to the group: buttons that copy it, and the card of an empty group. */

import { $, setButton, setText } from "./dom.js";
import { hintText, isAlone } from "./texts.js";

const COPIED_FOR = 2_000;
const MANUAL_TEXT = "The browser doesn't let this page copy. Copy the selected link.";

export class Invite {
  /** Whether the browser does not let the page copy, so the user must. */
  #isManual = false;

  constructor() {
    for (const id of ["copy", "copy-invite"]) $(id).onclick = () => this.#copy($(id));
    $("link").onfocus = () => $("link").select();
  }

  /** Shows the link of another group. */
  reset() {
    this.#isManual = false;
    $("link").value = location.href;
    $("second-tab").href = location.href;
  }

  /** @param {import("./texts.js").View} view */
  update(view) {
    const isShown = isAlone(view) || this.#isManual;
    const hasFocus = $("invite").contains(document.activeElement);
    setText($("hint"), this.#isManual ? MANUAL_TEXT : hintText(view));
    $("invite").hidden = !isShown;
    $("copy").hidden = isShown;
    if (hasFocus && !isShown) $("copy").focus({ preventScroll: true });
  }

  async #copy(button) {
    if (!(await copyText(location.href))) {
      this.#isManual = true;
      this.onmanual?.();
      $("link").focus();
      return;
    }
    setButton(button, "check", "Copied");
    setText($("copy-status"), "Link copied"); // a changed label of a button is not announced
    clearTimeout(button.copiedTimer);
    button.copiedTimer = setTimeout(() => {
      setButton(button, "link", "Copy link");
      setText($("copy-status"), "");
    }, COPIED_FOR);
  }

  /** Called when the card must be shown for the user to copy the link. @type {(() => void) | undefined} */
  onmanual;
}

/** Returns whether it succeeded. Pages without HTTPS have no `clipboard`. @param {string} text */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
