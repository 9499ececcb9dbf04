/**
 * The media streams of one connection.
 *
 * @module
 */

import { MAX_RESTORES, REPLACE_TIMEOUT } from "./limits.js";
import { withTimeout } from "./timing.js";

/**
 * @typedef {object} Sent
 * @property {MediaStream} stream
 * @property {RTCRtpSender} sender
 * @property {number} restores how often the track may still be added again
 */

/** Adds and removes the tracks that this peer sends, and reports the streams that it receives. */
export class Media {
  #rtc;
  #onstream;
  /** By the tracks that this peer sends. @type {Map<MediaStreamTrack, Sent>} */
  #sent = new Map();
  /** The senders that have sent. `addTrack` uses others again, and throws if they are stopped.
   * @type {WeakSet<RTCRtpSender>} */
  #used = new WeakSet();
  /** The streams that were reported and still have tracks. @type {Set<MediaStream>} */
  #received = new Set();

  /** @param {RTCPeerConnection} rtc @param {(stream: MediaStream) => void} onstream */
  constructor(rtc, onstream) {
    this.#rtc = rtc;
    this.#onstream = onstream;
    // Firefox reports an ended track if the other side began to send in a section that this side has stopped.
    rtc.ontrack = ({ track, streams: [stream] }) => stream && track.readyState !== "ended" && this.#onTrack(stream);
    rtc.onsignalingstatechange = () => rtc.signalingState === "stable" && this.#onStable();
  }

  /** Sends tracks of streams, and no others. The connection must be open.
   * @param {Map<MediaStreamTrack, MediaStream>} streams */
  update(streams) {
    // Chromium rejects an offer that crosses an own one with other numbers of header extensions. The numbers follow the
    // kinds of the first media, so all peers begin with the same ones.
    if (streams.size && !this.#rtc.getTransceivers().length) {
      for (const kind of ["audio", "video"]) this.#rtc.addTransceiver(kind, { direction: "recvonly" });
    }
    for (const [track, { stream, sender }] of this.#sent) {
      if (streams.get(track) === stream) continue;
      this.#rtc.removeTrack(sender);
      this.#sent.delete(track);
    }
    for (const [track, stream] of streams) if (!this.#sent.has(track)) this.#send(track, stream);
    // Each added track has a section of its own, so descriptions would become longer and longer.
    for (const it of this.#rtc.getTransceivers()) {
      if (it.currentDirection === "inactive" && !it.sender.track && this.#used.has(it.sender)) it.stop();
    }
  }

  /** @param {MediaStreamTrack} track @param {MediaStream} stream */
  #send(track, stream, restores = MAX_RESTORES) {
    // `addTrack` throws for a track that a sender still has because its replacement is not complete, or failed.
    const isBusy = this.#rtc.getSenders().some((it) => it.track === track);
    const sender = isBusy
      ? this.#rtc.addTransceiver(track, { streams: [stream] }).sender
      : this.#rtc.addTrack(track, stream);
    this.#sent.set(track, { stream, sender, restores });
  }

  #onStable() {
    for (const { sender, currentDirection } of this.#rtc.getTransceivers()) {
      if (currentDirection?.startsWith("send")) this.#used.add(sender);
    }
    // The other side stopped their sections before it knew that this side began to use them.
    const senders = this.#rtc.getSenders();
    for (const [track, { stream, sender, restores }] of this.#sent) {
      // A peer that rejects each section would cause offers without end.
      if (restores && !senders.includes(sender)) this.#send(track, stream, restores - 1);
    }
  }

  /** The connection must be open. @param {MediaStreamTrack} oldTrack @param {MediaStreamTrack} newTrack */
  async replace(oldTrack, newTrack) {
    const sent = this.#sent.get(oldTrack);
    if (!sent) return;
    const { sender } = sent;
    this.#sent.delete(oldTrack);
    this.#sent.set(newTrack, sent);
    try {
      // Firefox never settles it if the connection closes meanwhile.
      await withTimeout(REPLACE_TIMEOUT, () => sender.replaceTrack(newTrack));
      // It may have been replaced or removed meanwhile.
      const [track = null] = [...this.#sent].find(([, it]) => it.sender === sender) ?? [];
      if (sender.track !== track) await sender.replaceTrack(track);
    } catch (error) {
      // The section is stopped: the track is sent in another one, or the connection is closed.
      if (this.#rtc.getSenders().includes(sender)) throw error;
    }
  }

  get received() {
    return [...this.#received];
  }

  /** @param {MediaStream} stream */
  #onTrack(stream) {
    if (this.#received.has(stream)) return;
    this.#received.add(stream);
    stream.addEventListener("removetrack", () => {
      if (stream.getTracks().every((it) => it.readyState === "ended")) this.#received.delete(stream);
    });
    this.#onstream(stream);
  }
}
