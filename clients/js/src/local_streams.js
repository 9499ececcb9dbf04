/**
 * The media streams that this peer sends.
 *
 * @module
 */

/** @import { Connection } from "./connection.js" */

/** Which streams go to which peers, those of the future included. */
export class LocalStreams {
  /** Without `to`, a stream goes to all peers.
   * @type {Map<MediaStream, { tracks: MediaStreamTrack[], to: Set<number> | undefined }>} */
  #streams = new Map();

  /** Adds recipients to a stream. @param {MediaStream} stream @param {Set<number> | undefined} to */
  add(stream, to) {
    const known = this.#streams.get(stream);
    const all = known ? to && known.to && new Set([...known.to, ...to]) : to;
    this.#streams.set(stream, { tracks: known?.tracks ?? stream.getTracks(), to: all });
  }

  /** @param {MediaStream} stream */
  remove(stream) {
    this.#streams.delete(stream);
  }

  /**
   * @param {MediaStreamTrack} oldTrack @param {MediaStreamTrack} newTrack @param {Iterable<Connection>} neighbours
   * @throws {TypeError} if the old track is not sent, or the new one is sent already or of another kind
   */
  async replace(oldTrack, newTrack, neighbours) {
    const lists = [...this.#streams.values()].map(({ tracks }) => tracks);
    const isSent = (/** @type {MediaStreamTrack} */ track) => lists.some((tracks) => tracks.includes(track));
    if (!isSent(oldTrack)) throw new TypeError("old track is not sent; must be a track of an added stream");
    if (isSent(newTrack)) throw new TypeError("new track is sent; must not be a track of an added stream");
    if (oldTrack.kind !== newTrack.kind) throw new TypeError(`new track is ${newTrack.kind}; must be ${oldTrack.kind}`);
    for (const tracks of lists) {
      if (tracks.includes(oldTrack)) tracks[tracks.indexOf(oldTrack)] = newTrack;
    }
    await Promise.all([...neighbours].map((it) => it.media.replace(oldTrack, newTrack)));
  }

  /** Sends a neighbour its streams, and no others. @param {Connection} neighbour */
  update(neighbour) {
    /** @type {Map<MediaStreamTrack, MediaStream>} */ const streams = new Map();
    for (const [stream, { tracks, to }] of this.#streams) {
      // A track of several streams belongs to the first one.
      if (!to || to.has(neighbour.id)) for (const track of tracks) if (!streams.has(track)) streams.set(track, stream);
    }
    neighbour.media.update(streams);
  }
}
