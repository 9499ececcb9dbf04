/**
 * The media streams of one connection.
 *
 * @module
 */

const KINDS = ["audio", "video"];

/** Adds and removes the tracks that this peer sends, and reports the streams that it receives. */
export class Media {
  #rtc;
  #onstream;
  /** The streams that were reported and still have tracks, by id. @type {Map<string, MediaStream>} */
  #received = new Map();

  /** @param {RTCPeerConnection} rtc @param {(stream: MediaStream) => void} onstream */
  constructor(rtc, onstream) {
    this.#rtc = rtc;
    this.#onstream = onstream;
    rtc.ontrack = ({ streams: [stream] }) => stream && this.#onTrack(stream);
  }

  /** The connection must be open. @param {MediaStream} stream @param {MediaStreamTrack[]} tracks */
  add(stream, tracks) {
    // Chromium rejects an offer that crosses an own one with other numbers of header extensions. The numbers follow the
    // kinds of the first media, so all peers begin with the same ones.
    if (tracks.length && !this.#rtc.getTransceivers().length) {
      for (const kind of KINDS) this.#rtc.addTransceiver(kind, { direction: "recvonly" });
    }
    for (const track of tracks) {
      // `addTrack` throws for a track that two streams share.
      if (!this.#rtc.getSenders().some((sender) => sender.track === track)) this.#rtc.addTrack(track, stream);
    }
  }

  /** The connection must be open. @param {MediaStreamTrack[]} tracks */
  remove(tracks) {
    for (const sender of this.#rtc.getSenders()) {
      if (sender.track && tracks.includes(sender.track)) this.#rtc.removeTrack(sender);
    }
  }

  /** The connection must be open. @param {MediaStreamTrack} oldTrack @param {MediaStreamTrack} newTrack */
  async replace(oldTrack, newTrack) {
    const senders = this.#rtc.getSenders().filter(({ track }) => track === oldTrack);
    await Promise.all(senders.map((sender) => sender.replaceTrack(newTrack)));
  }

  get received() {
    return [...this.#received.values()];
  }

  /** @param {MediaStream} stream */
  #onTrack(stream) {
    if (this.#received.has(stream.id)) return;
    this.#received.set(stream.id, stream);
    stream.addEventListener("removetrack", () => {
      if (stream.getTracks().length === 0) this.#received.delete(stream.id);
    });
    this.#onstream(stream);
  }
}
