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

  /**
   * Adds recipients to a stream.
   *
   * @param {MediaStream} stream @param {Set<number> | undefined} to @param {Iterable<Connection>} neighbours
   */
  add(stream, to, neighbours) {
    const known = this.#streams.get(stream);
    const all = known ? to && known.to && new Set([...known.to, ...to]) : to;
    this.#streams.set(stream, { tracks: known?.tracks ?? stream.getTracks(), to: all });
    for (const neighbour of neighbours) this.#send(stream, neighbour);
  }

  /** @param {MediaStream} stream @param {Iterable<Connection>} neighbours */
  remove(stream, neighbours) {
    const tracks = this.#streams.get(stream)?.tracks ?? [];
    this.#streams.delete(stream);
    for (const neighbour of neighbours) neighbour.media.remove(tracks);
  }

  /**
   * @param {MediaStreamTrack} oldTrack @param {MediaStreamTrack} newTrack @param {Iterable<Connection>} neighbours
   * @throws {TypeError} if the old track is not sent, or the new one is of another kind
   */
  async replace(oldTrack, newTrack, neighbours) {
    const lists = [...this.#streams.values()].map(({ tracks }) => tracks).filter((tracks) => tracks.includes(oldTrack));
    if (lists.length === 0) throw new TypeError("old track is not sent; must be a track of an added stream");
    if (oldTrack.kind !== newTrack.kind) throw new TypeError(`new track is ${newTrack.kind}; must be ${oldTrack.kind}`);
    for (const tracks of lists) tracks[tracks.indexOf(oldTrack)] = newTrack;
    await Promise.all([...neighbours].map((it) => it.media.replace(oldTrack, newTrack)));
  }

  /** Sends the streams to a new neighbour. @param {Connection} neighbour */
  sendAll(neighbour) {
    for (const stream of this.#streams.keys()) this.#send(stream, neighbour);
  }

  /** @param {MediaStream} stream @param {Connection} neighbour */
  #send(stream, neighbour) {
    const { tracks, to } = /** @type {{ tracks: MediaStreamTrack[], to?: Set<number> }} */ (this.#streams.get(stream));
    if (!to || to.has(neighbour.id)) neighbour.media.add(stream, tracks);
  }
}
