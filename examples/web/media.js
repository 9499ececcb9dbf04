/** Camera and microphone of this peer, and the tiles that play the streams of all peers. */

import { $, icon, make, setButton, setText } from "./dom.js";
import { colourOf, initialsOf, nameOf } from "./names.js";
import { deviceErrorText } from "./texts.js";

const DEVICES = {
  camera: { name: "Camera", constraints: { video: { width: 640, height: 480 } } },
  microphone: { name: "Microphone", constraints: { audio: true } },
};
const MAX_STREAMS = 4; // of one peer
const ME = 0; // no peer has this id, and this peer's own can change

export class Media {
  /** What this peer sends, by device. @type {Map<string, MediaStream>} */ #sent = new Map();
  /** Players whose sound the browser blocks until a gesture. @type {Set<any>} */ #blocked = new Set();
  /** This peer's id, for the colour and the initials. */ #id = 0;
  /** Counts the groups. */ #generation = 0;
  #isLeft = false;
  /** Devices whose permission the user is asked for. */ #starting = new Set();
  #sender;

  /** @param {{ addStream(stream: MediaStream): void, removeStream(stream: MediaStream): void }} sender to all peers */
  constructor(sender) {
    this.#sender = sender;
    for (const device of Object.keys(DEVICES)) {
      $(device).onclick = () => (this.#sent.has(device) ? this.#stop(device) : this.#start(device));
    }
    $("sound").onclick = () => this.#playBlocked();
    this.#showButtons();
  }

  /** Stops everything. */
  reset() {
    for (const device of [...this.#sent.keys()]) this.#stop(device);
    this.#generation++;
    this.#blocked.clear();
    $("tiles").replaceChildren();
    setText($("media-notice"), "");
    this.#showBlocked();
  }

  /** @param {import("./texts.js").View} view @param {number} id this peer's */
  update({ state }, id) {
    this.#id = id;
    this.#isLeft = state === "left";
    this.#showButtons();
  }

  /** Plays a stream of a peer. @param {number} id @param {MediaStream} stream */
  show(id, stream) {
    const tile = this.#tileOf(id);
    const players = playersOf(tile);
    if (players.length >= MAX_STREAMS || players.some((it) => it.srcObject === stream)) return;
    const isMine = id === ME;
    const kind = stream.getVideoTracks().length > 0 ? "video" : "audio";
    const player = make(kind, { srcObject: stream, playsInline: true, muted: isMine });
    tile.insertBefore(player, tile.querySelector("figcaption"));
    this.#caption(id);
    if (!isMine || kind === "video") this.#play(player);
    stream.onremovetrack = () => stream.getTracks().length || this.#hide(id, stream);
  }

  /** Removes the tile of a peer that left. @param {number} id */
  remove(id) {
    const tile = this.#tileOf(id, false);
    for (const player of tile ? playersOf(tile) : []) this.#blocked.delete(player);
    tile?.remove();
    this.#showBlocked();
  }

  /** Shows the current name of a peer. @param {number} id */
  rename(id) {
    if (this.#tileOf(id, false)) this.#caption(id);
  }

  async #start(device) {
    const { name, constraints } = DEVICES[device];
    this.#starting.add(device);
    this.#showButtons();
    setText($("media-notice"), "");
    const generation = this.#generation;
    try {
      if (!navigator.mediaDevices) throw new DOMException("", "InsecureError");
      const stream = await navigator.mediaDevices.getUserMedia(constraints);
      if (generation !== this.#generation) return stopTracks(stream); // the group changed meanwhile
      this.#sent.set(device, stream);
      for (const track of stream.getTracks()) track.onended = () => this.#stop(device); // unplugged
      this.#sender.addStream(stream);
      this.show(ME, stream);
    } catch (error) {
      setText($("media-notice"), deviceErrorText(name, error));
    } finally {
      this.#starting.delete(device);
      this.#showButtons();
    }
  }

  #stop(device) {
    const stream = this.#sent.get(device);
    if (!stream) return;
    this.#sent.delete(device);
    this.#sender.removeStream(stream);
    stopTracks(stream);
    this.#hide(ME, stream);
    this.#showButtons();
  }

  #showButtons() {
    for (const [device, { name }] of Object.entries(DEVICES)) {
      const isOn = this.#sent.has(device);
      $(device).disabled = this.#isLeft || this.#starting.has(device);
      $(device).classList.toggle("on", isOn);
      setButton($(device), isOn ? device : `${device}-off`, `${isOn ? "Stop" : "Start"} ${name.toLowerCase()}`);
    }
  }

  #hide(id, stream) {
    const tile = this.#tileOf(id, false);
    if (!tile) return;
    const player = playersOf(tile).find((it) => it.srcObject === stream);
    this.#blocked.delete(player);
    player?.remove();
    if (tile.querySelector("video, audio")) this.#caption(id);
    else tile.remove();
    this.#showBlocked();
  }

  #tileOf(id, create = true) {
    const tile = document.querySelector(`figure[data-peer="${id}"]`);
    if (tile || !create) return tile;
    const disc = make("span", { className: "disc", ariaHidden: "true" });
    const figure = make("figure", { className: id === ME ? "mine" : "" }, disc, make("figcaption"));
    figure.dataset.peer = id;
    figure.style.setProperty("--colour", colourOf(id || this.#id));
    $("tiles").append(figure);
    return figure;
  }

  #caption(id) {
    const tile = this.#tileOf(id);
    const isMine = id === ME;
    const hasSound = playersOf(tile).some((it) => it.srcObject.getAudioTracks().length > 0);
    tile.querySelector(".disc").dataset.initials = initialsOf(id || this.#id);
    const name = make("span", { className: "name", textContent: isMine ? "You" : nameOf(id) });
    tile.querySelector("figcaption").replaceChildren(name);
    if (hasSound) {
      const words = make("span", { className: "hidden", textContent: ", microphone on" });
      tile.querySelector("figcaption").append(icon("microphone"), words);
    }
    const video = tile.querySelector("video");
    if (video) video.ariaLabel = isMine ? "Your camera" : `Camera of ${nameOf(id)}`;
  }

  /** A blocked video plays without sound until the user allows sound. */
  async #play(player) {
    try {
      await player.play();
    } catch (error) {
      if (error.name !== "NotAllowedError" || !player.isConnected) return; // removed meanwhile
      this.#blocked.add(player);
      this.#showBlocked();
      if (player.localName !== "video") return;
      player.muted = true;
      player.play().catch(() => {}); // the button tries again
    }
  }

  #playBlocked() {
    for (const player of this.#blocked) {
      this.#blocked.delete(player);
      player.muted = false;
      this.#play(player);
    }
    this.#showBlocked();
  }

  #showBlocked() {
    $("sound").hidden = this.#blocked.size === 0;
  }
}

function stopTracks(stream) {
  for (const track of stream.getTracks()) track.stop();
}

/** The elements that play the streams of a peer. */
function playersOf(tile) {
  return [...tile.querySelectorAll("video, audio")];
}
