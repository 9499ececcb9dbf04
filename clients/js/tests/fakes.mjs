/** A browser without a network for tests of the package in Node.js: a paused clock, WebSockets, WebRTC and `fetch`. */

import assert from "node:assert/strict";
import { mock } from "node:test";
import { decode, encode } from "../src/wire.js";

/** Installs the fakes as globals. Call it once for each test. */
export function install() {
  mock.timers.reset();
  mock.restoreAll();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1e12 });
  mock.method(performance, "now", () => Date.now());
  FakeSocket.all = [];
  FakeConnection.all = [];
  FakeRequest.all = [];
  globalThis.WebSocket = FakeSocket;
  globalThis.RTCPeerConnection = FakeConnection;
  globalThis.fetch = (url, options) => new FakeRequest(url, options).response;
}

/** Runs everything that is due now. */
export async function settle() {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
}

/** Moves the clock in steps that are shorter than every timeout of the package. */
export async function advance(ms) {
  await settle();
  for (let left = ms; left > 0; left -= 100) {
    mock.timers.tick(Math.min(left, 100));
    await settle();
  }
}

/** The hub's end of one socket. */
export class FakeSocket {
  static OPEN = 1;
  /** @type {FakeSocket[]} */ static all = [];
  static get last() {
    return FakeSocket.all.at(-1);
  }

  readyState = 0;
  sent = [];

  constructor(url) {
    this.url = url;
    FakeSocket.all.push(this);
  }

  send(bytes) {
    const message = decode(bytes);
    this.sent.push(message);
    if (message.heartbeat) setImmediate(() => this.receive({ heartbeat: true }));
  }

  close() {
    this.readyState = 3;
  }

  /** The signals that the client sent over the hub. */
  get signals() {
    const contents = this.sent.flatMap(({ content }) => (content?.data.length ? [content] : []));
    return contents.map(({ data }) => JSON.parse(new TextDecoder().decode(data)));
  }

  async open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen();
    await settle();
  }

  async receive(message) {
    this.onmessage?.({ data: encode(message).buffer });
    await settle();
  }

  /** Passes a signal of the member that the client is bound to. */
  async signal(signal) {
    const data = new TextEncoder().encode(JSON.stringify(signal));
    await this.receive({ content: { senderId: 0, recipientId: 0, lastData: false, data } });
  }

  async closeWith(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
    await settle();
  }
}

/** Returns the SDP of a peer whose certificate has this fingerprint: 32 times the same byte. */
export const sdpOf = (byte) => `v=0\r\na=fingerprint:sha-256 ${fingerprintOf(byte)}\r\n`;
export const fingerprintOf = (byte) => Array(32).fill(byte).join(":");

/** A connection whose channels a test opens. */
export class FakeConnection {
  static async generateCertificate(algorithm) {
    return { algorithm };
  }

  /** @type {FakeConnection[]} */ static all = [];
  /** The connections to peers, without the ones that only check a configuration or read the own fingerprint. */
  static get peers() {
    return FakeConnection.all.filter(({ channels }) => channels.length > 1);
  }

  /** What the other peer sends when the connection opens. Without it, the peer also answers no pings.
   * @type {object | undefined} */
  hello = { v: 1 };
  channels = [];
  connectionState = "new";
  iceConnectionState = "new";
  signalingState = "stable";
  closed = false;

  constructor(configuration = {}) {
    this.setConfiguration(configuration);
    FakeConnection.all.push(this);
  }

  setConfiguration(configuration) {
    for (const { urls } of configuration.iceServers ?? []) {
      for (const url of [urls].flat()) {
        if (!/^(stun|turn)s?:[^:/]/.test(url)) throw new DOMException(`${url} is no ICE server`, "SyntaxError");
      }
    }
    this.configuration = configuration;
  }

  createDataChannel(label) {
    const channel = { label, readyState: "connecting", bufferedAmount: 0, sent: [], send, answers: () => this.hello };
    function send(data) {
      channel.sent.push(data);
      // A peer that answers no ping is lost.
      const { ping } = label === "control" ? JSON.parse(data) : {};
      if (ping !== undefined && channel.answers()) setImmediate(() => channel.onmessage({ data: JSON.stringify({ pong: ping }) }));
    }
    this.channels.push(channel);
    if (this.channels.length === 1) setImmediate(() => this.onnegotiationneeded?.());
    return channel;
  }

  async createOffer() {
    return { type: "offer", sdp: sdpOf("00") };
  }

  async setLocalDescription() {
    if (this.closed) throw new DOMException("closed", "InvalidStateError");
    const description = { type: this.remoteDescription ? "answer" : "offer", sdp: sdpOf("00") };
    this.localDescription = { ...description, toJSON: () => description };
    this.signalingState = description.type === "offer" ? "have-local-offer" : "stable";
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    this.signalingState = description.type === "offer" ? "have-remote-offer" : "stable";
  }

  async addIceCandidate() {}

  stats = new Map();

  async getStats() {
    return this.stats;
  }

  transceivers = [];

  addTransceiver(trackOrKind, { direction = "sendrecv", streams: [stream] = [] }) {
    const track = typeof trackOrKind === "string" ? null : trackOrKind;
    const kind = track?.kind ?? trackOrKind;
    const sender = { track, replaceTrack };
    async function replaceTrack(track) {
      await null; // the browser sets it later
      if (transceiver.isStopped) throw new DOMException("stopped", "InvalidStateError");
      sender.track = track;
    }
    const transceiver = { kind, direction, sender, stream, currentDirection: null, isStopping: false, isStopped: false };
    transceiver.hasSent = false;
    transceiver.stop = () => (transceiver.isStopping = true);
    this.transceivers.push(transceiver);
    return transceiver;
  }

  /** Negotiates what was changed. With `rejects`, the other side rejects all sections. */
  async negotiate({ rejects = false } = {}) {
    for (const it of this.getTransceivers()) {
      if (it.isStopping || rejects) it.isStopped = it.isStopping = true;
      it.currentDirection = it.isStopped ? "stopped" : it.sender.track ? "sendonly" : "inactive";
      it.hasSent ||= it.currentDirection === "sendonly";
    }
    this.signalingState = "stable";
    this.onsignalingstatechange?.();
    await settle();
  }

  getTransceivers() {
    return this.transceivers.filter(({ isStopped }) => !isStopped);
  }

  getSenders() {
    return this.getTransceivers().map(({ sender }) => sender);
  }

  addTrack(track, stream) {
    if (this.sentTracks.includes(track)) throw new DOMException("the track is sent already", "InvalidAccessError");
    const isUnused = (it) => it.kind === track.kind && !it.sender.track && !it.hasSent;
    const transceiver = this.getTransceivers().find(isUnused) ?? this.addTransceiver(track.kind, {});
    if (transceiver.isStopping) throw new DOMException("the transceiver is stopping", "InvalidAccessError"); // Chromium
    transceiver.stream = stream;
    transceiver.direction = "sendrecv";
    transceiver.sender.track = track;
    return transceiver.sender;
  }

  removeTrack(sender) {
    sender.track = null;
  }

  /** The tracks that the client sends. */
  get sentTracks() {
    return this.getSenders().flatMap(({ track }) => track ?? []);
  }

  async open() {
    this.iceConnectionState = this.connectionState = "connected";
    for (const channel of this.channels) channel.readyState = "open";
    this.channels[0].onopen();
    if (this.hello && !this.closed) await this.control({ hello: this.hello });
    await settle();
  }

  /** Passes a control message of the other peer. */
  async control(message) {
    this.channels[0].onmessage({ data: JSON.stringify(message) });
    await settle();
  }

  /** The control messages that the client sent. */
  get sentControl() {
    return this.channels[0].sent.map((text) => JSON.parse(text));
  }

  close() {
    this.closed = true;
  }
}

/** A stream with these tracks, whose names begin with their kind. */
export function streamOf(...names) {
  const tracks = names.map((name) => ({ name, kind: name.split(" ")[0] }));
  return { getTracks: () => tracks.slice() };
}

/** The hub's end of one HTTP request. */
export class FakeRequest {
  /** @type {FakeRequest[]} */ static all = [];
  static get last() {
    return FakeRequest.all.at(-1);
  }

  constructor(url, options = {}) {
    this.url = url;
    this.options = options;
    this.response = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    options.signal?.addEventListener("abort", () => this.reject(options.signal.reason));
    FakeRequest.all.push(this);
  }

  /** Answers with a value as JSON, or with a text as it is. */
  async answer(body, status = 200) {
    this.resolve(new Response(typeof body === "string" ? body : JSON.stringify(body), { status }));
    await settle();
  }

  async fail() {
    this.reject(new TypeError("Failed to fetch"));
    await settle();
  }
}

/** Moves the clock until the client opens its next socket. */
export async function nextSocket() {
  const count = FakeSocket.all.length;
  for (let waited = 0; FakeSocket.all.length === count; waited += 100) {
    assert(waited < 45_000, "the client opened no further socket");
    await advance(100);
  }
}

/** Lets a group become the only member. */
export async function joinAlone() {
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: true });
}

/**
 * Lets a group connect to one member with this id, whose certificate has the fingerprint of this byte. Returns that
 * connection, which `prepare` gets before it opens.
 */
export async function joinWith(id, prepare = (_connection) => {}, byte = "AA") {
  await FakeSocket.last.open();
  await FakeSocket.last.receive({ connected: false });
  const { from, negotiationId } = FakeSocket.last.signals.at(-1);
  const description = { type: "answer", sdp: sdpOf(byte) };
  await FakeSocket.last.signal({ from: id, to: from, negotiationId, description });
  const connection = FakeConnection.peers.at(-1);
  prepare(connection);
  await connection.open();
  await FakeSocket.last.receive({ connected: true });
  return connection;
}

/**
 * Lets a member connect to a joiner with this id, whose certificate has the fingerprint of this byte. Returns the
 * connection, which `prepare` gets before it opens.
 */
export async function joiner(id, byte, prepare = (_connection) => {}) {
  const offer = { from: id, to: 0, negotiationId: id, members: [], description: { type: "offer", sdp: sdpOf(byte) } };
  const data = new TextEncoder().encode(JSON.stringify(offer));
  const count = FakeConnection.peers.length;
  await FakeSocket.last.receive({ content: { senderId: id - 2 ** 31, recipientId: 0, lastData: false, data } });
  const connection = FakeConnection.peers[count];
  if (!connection) return FakeSocket.last.signals.at(-1).reject;
  prepare(connection);
  await connection.open();
  return connection;
}
