/**
 * The media streams of one connection.
 *
 * @module
 */

import { MAX_RESTORES } from "./limits.js";

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
  /** The senders that have sent. `addTrack` does not use them again. @type {WeakSet<RTCRtpSender>} */
  #used = new WeakSet();
  /** The streams that were reported and still have tracks. @type {Set<MediaStream>} */
  #received = new Set();

  /** @param {RTCPeerConnection} rtc @param {(stream: MediaStream) => void} onstream */
  constructor(rtc, onstream) {
    this.#rtc = rtc;
    this.#onstream = onstream;
    // Firefox reports an ended track if the other side began to send in a section that this side has stopped.
    rtc.ontrack = ({ track, streams: [stream] }) => stream && track.readyState !== "ended" && this.#onTrack(stream);
    rtc.onsignalingstatechange = () => rtc.signalingState === "stable" && this.#restore();
  }

  /** The connection must be open. @param {MediaStream} stream @param {MediaStreamTrack[]} tracks */
  add(stream, tracks) {
    // Chromium rejects an offer that crosses an own one with other numbers of header extensions. The numbers follow the
    // kinds of the first media, so all peers begin with the same ones.
    if (tracks.length && !this.#rtc.getTransceivers().length) {
      for (const kind of ["audio", "video"]) this.#rtc.addTransceiver(kind, { direction: "recvonly" });
    }
    for (const track of tracks) {
      // Two streams can share a track.
      if (!this.#sent.has(track)) this.#send(track, stream);
    }
    // Each added track has a section of its own, so descriptions would become longer and longer.
    for (const it of this.#rtc.getTransceivers()) {
      if (it.currentDirection === "inactive" && !it.sender.track && this.#used.has(it.sender)) it.stop();
    }
  }

  /** @param {MediaStreamTrack} track @param {MediaStream} stream */
  #send(track, stream, restores = MAX_RESTORES) {
    const sender = this.#rtc.addTrack(track, stream);
    this.#sent.set(track, { stream, sender, restores });
    this.#used.add(sender);
  }

  /** Adds the tracks again whose sections the other side stopped before it knew that this side began to use them. */
  #restore() {
    for (const [track, { stream, sender, restores }] of this.#sent) {
      // A peer that rejects each section would cause offers without end.
      if (restores && !this.#has(sender)) this.#send(track, stream, restores - 1);
    }
  }

  /** Whether the section of a sender is not stopped. @param {RTCRtpSender} sender */
  #has(sender) {
    return this.#rtc.getSenders().includes(sender);
  }

  /** The connection must be open. @param {MediaStreamTrack[]} tracks */
  remove(tracks) {
    for (const track of tracks) {
      const sent = this.#sent.get(track);
      if (sent) this.#rtc.removeTrack(sent.sender);
      this.#sent.delete(track);
    }
  }

  /** The connection must be open. @param {MediaStreamTrack} oldTrack @param {MediaStreamTrack} newTrack */
  async replace(oldTrack, newTrack) {
    const sent = this.#sent.get(oldTrack);
    if (!sent) return;
    this.#sent.delete(oldTrack);
    this.#sent.set(newTrack, sent);
    // It rejects for a section that is stopped.
    if (this.#has(sent.sender)) await sent.sender.replaceTrack(newTrack);
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
