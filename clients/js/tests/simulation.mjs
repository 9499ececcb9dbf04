/**
 * A network of browsers in one process, on the paused clock of `fakes.mjs`: WebRTC connections that need offers,
 * answers, candidates and a path, and a hub. All delays and all randomness come from a seed.
 */

import { mock } from "node:test";
import { decode, encode } from "../src/wire.js";
import { install as installFakes } from "./fakes.mjs";
import { fingerprintOf } from "./fakes.mjs";

/** Without a usable path, ICE is disconnected after the first time, and has failed after the second one, in ms. */
const DISCONNECTED_AFTER = 1_000;
const FAILED_AFTER = 20_000;

/** @type {Network} */ let network;

/** Installs the network as globals. Call it once for each test. */
export function install(seed = 1, delays = [1, 50]) {
  installFakes();
  network = new Network(seed, delays);
  globalThis.WebSocket = Socket;
  globalThis.RTCPeerConnection = PeerConnection;
  mock.method(Math, "random", () => network.random());
  mock.method(crypto, "getRandomValues", (array) => array.map(() => network.random() * 2 ** 32));
  return network;
}

/** Moves the clock until a condition holds, or until a time has passed. Returns whether the condition holds. */
export async function run(ms, condition = () => false) {
  for (let left = ms; left > 0; left -= 10) {
    if (condition()) return true;
    mock.timers.tick(10);
    await new Promise(setImmediate);
  }
  return condition();
}

class Network {
  /** @type {PeerConnection[]} */ connections = [];
  /** The sockets of members, by id. @type {Map<number, Socket>} */ members = new Map();
  /** Called for each signal that the hub passes. It drops the signal if it returns `false`. */
  passes = () => true;
  /** Pairs of ports and of hosts, as `a|b`. */ blocked = new Set();
  links = 0;
  bytes = 0;
  #seed;
  #delays;

  constructor(seed, delays) {
    this.#seed = seed;
    this.#delays = delays;
  }

  /** Mulberry32. */
  random() {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let value = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  }

  delay() {
    const [min, max] = this.#delays;
    return min + Math.floor(this.random() * (max - min));
  }

  later(call) {
    setTimeout(call, this.delay());
  }

  /** Waits for something that a browser does by itself. */
  wait() {
    return new Promise((resolve) => setTimeout(resolve, this.random() * 20));
  }

  /** The open connections between two groups, one of each. */
  between(a, b) {
    const fingerprints = [fingerprintIn(b, a), fingerprintIn(a, b)];
    return this.connections.filter(
      (it) => !it.isClosed && it.peer && fingerprints.includes(it.fingerprint) && fingerprints.includes(it.peer.fingerprint),
    );
  }

  /** Blocks the path between two groups. A restart of ICE finds another one, unless it is `forGood`. */
  cut(a, b, { forGood = false } = {}) {
    for (const { localPort, peer, fingerprint } of this.between(a, b)) {
      this.blocked.add(forGood ? `${fingerprint}|${peer.fingerprint}` : `${localPort}|${peer.localPort}`);
    }
    this.update();
  }

  /** Removes all blocks. */
  restore() {
    this.blocked.clear();
    this.update();
  }

  isBlocked(a, aPort, b, bPort) {
    return [`${aPort}|${bPort}`, `${bPort}|${aPort}`, `${a.fingerprint}|${b.fingerprint}`].some((it) => this.blocked.has(it));
  }

  update() {
    for (const connection of this.connections) connection.updateIce();
  }
}

/** The fingerprint of a neighbour, as a group sees it. */
function fingerprintIn(group, neighbour) {
  return [...group.peers.values()].find(({ id }) => id === neighbour.id)?.fingerprint;
}

// ---- WebRTC ---------------------------------------------------------------------------------------------------------

let count = 0;

class PeerConnection {
  static async generateCertificate() {
    await network.wait();
    const byte = (++count % 256).toString(16).toUpperCase().padStart(2, "0");
    return { fingerprint: fingerprintOf(byte) };
  }

  iceConnectionState = "new";
  signalingState = "stable";
  localDescription = null;
  remoteDescription = null;
  isClosed = false;
  /** The other end, once DTLS is connected. @type {PeerConnection | undefined} */ peer;
  restarts = 0;
  #channels = [];
  /** The descriptions of both sides in the last completed negotiation. */ #local;
  #remote;
  #pending;
  /** The tracks that this side sends. */ #tracks = [];
  #version = 0;
  #ufrag = "";
  #mustRestart = false;
  #selected;
  #candidates = new Set();
  #chain = Promise.resolve();
  #operations = 0;
  #iceTimers = [];

  constructor(configuration = {}) {
    this.configuration = configuration;
    this.fingerprint = configuration.certificates?.[0].fingerprint;
    network.connections.push(this);
  }

  get connectionState() {
    return this.iceConnectionState === "checking" ? "connecting" : this.iceConnectionState;
  }

  get localPort() {
    return this.#selected?.local;
  }

  setConfiguration(configuration) {
    this.configuration = configuration;
  }

  createDataChannel(label, options = {}) {
    const channel = new Channel(this, label, options);
    this.#channels.push(channel);
    if (this.peer) network.later(() => channel.announce(this.peer));
    this.#updateNegotiationNeeded();
    return channel;
  }

  /** Accepts a channel of the other side. */
  accept(channel) {
    if (this.isClosed) return undefined;
    const accepted = new Channel(this, channel.label, channel.options);
    this.#channels.push(accepted);
    this.ondatachannel?.({ channel: accepted });
    return accepted;
  }

  restartIce() {
    this.#mustRestart = true;
    this.restarts++;
    this.#updateNegotiationNeeded();
  }

  addTrack(track) {
    this.#tracks.push(track);
    this.#updateNegotiationNeeded();
  }

  removeTrack({ track }) {
    this.#tracks = this.#tracks.filter((it) => it !== track);
    this.#updateNegotiationNeeded();
  }

  getSenders() {
    return this.#tracks.map((track) => ({ track }));
  }

  /** The tracks that the other side sends. */
  get received() {
    return this.#remote?.tracks ?? [];
  }

  async getStats() {
    return new Map();
  }

  /** Runs one operation after another, as browsers do. */
  #operate(operation) {
    this.#operations++;
    const result = this.#chain.then(async () => {
      await network.wait();
      if (this.isClosed) return new Promise(() => {}); // browsers settle nothing after `close`
      try {
        return operation();
      } finally {
        if (--this.#operations === 0) this.#updateNegotiationNeeded();
      }
    });
    this.#chain = result.catch(() => {});
    return result;
  }

  setLocalDescription() {
    return this.#operate(() => {
      const type = this.signalingState === "have-remote-offer" ? "answer" : "offer";
      const remote = type === "answer" ? this.#pending : undefined;
      const restarts = this.#mustRestart || (remote && remote.ufrag !== this.#remote?.ufrag);
      const ufrag = restarts || !this.#local ? `u${++count}` : this.#local.ufrag;
      const description = { type, ufrag, tracks: [...this.#tracks], version: ++this.#version };
      this.localDescription = toSdp(description, this.fingerprint);
      if (type === "offer") {
        this.#pending = description;
        this.signalingState = "have-local-offer";
      } else this.#commit(description, remote);
      if (ufrag !== this.#ufrag) this.#gather(ufrag);
    });
  }

  setRemoteDescription(init) {
    return this.#operate(() => {
      const description = fromSdp(init);
      if (description.type === "offer") {
        if (this.signalingState === "have-remote-offer") this.#pending = undefined;
        this.#pending = description; // after the rollback of an own offer
        this.signalingState = "have-remote-offer";
      } else {
        if (this.signalingState !== "have-local-offer") throw new DOMException("no offer", "InvalidStateError");
        this.#commit(this.#pending, description);
      }
      this.remoteDescription = init;
    });
  }

  #commit(local, remote) {
    if (local.ufrag !== this.#local?.ufrag) this.#mustRestart = false;
    for (const track of remote.tracks) {
      if (!this.#remote?.tracks.includes(track)) this.ontrack?.({ streams: [streamOf(track)] });
    }
    this.#local = local;
    this.#remote = remote;
    this.#pending = undefined;
    this.signalingState = "stable";
    network.update();
  }

  #gather(ufrag) {
    this.#ufrag = ufrag;
    for (let index = 0; index < 3; index++) {
      network.wait().then(() => {
        if (this.isClosed || this.#ufrag !== ufrag) return;
        const candidate = { candidate: `candidate:${ufrag} ${index}`, usernameFragment: ufrag };
        this.onicecandidate?.({ candidate: { toJSON: () => candidate } });
      });
    }
  }

  addIceCandidate({ usernameFragment }) {
    return this.#operate(() => {
      const known = [this.#remote?.ufrag, this.signalingState === "have-remote-offer" && this.#pending.ufrag];
      if (!known.includes(usernameFragment)) throw new DOMException("unknown ufrag", "OperationError");
      this.#candidates.add(usernameFragment);
      network.update();
    });
  }

  #updateNegotiationNeeded() {
    setImmediate(() => {
      if (this.isClosed || this.#operations || this.signalingState !== "stable") return;
      const tracks = String(this.#local?.tracks) !== String(this.#tracks);
      if (!this.#local || this.#mustRestart || tracks) this.onnegotiationneeded?.();
    });
  }

  // ---- ICE ----------------------------------------------------------------------------------------------------------

  /** Whether packets pass between two ends with these ports. */
  #passes(peer, local, remote) {
    return peer && !peer.isClosed && !network.isBlocked(this, local, peer, remote);
  }

  get isReachable() {
    return this.#selected && this.#passes(this.peer, this.#selected.local, this.#selected.remote);
  }

  /** Selects the pair of the last negotiation if it works. The previous one stays in use until then. */
  updateIce() {
    if (this.isClosed) return;
    const pair = { local: this.#local?.ufrag, remote: this.#remote?.ufrag };
    const other = network.connections.find((it) => it !== this && it.matches(pair));
    if (other && (!this.peer || this.peer === other) && this.#passes(other, pair.local, pair.remote)) {
      if (this.#candidates.has(pair.remote) || other.knows(pair.local)) {
        this.#selected = pair;
        this.peer = other;
        if (other.peer !== this) other.updateIce();
      }
    }
    if (this.isReachable) {
      this.#iceTimers.splice(0).forEach(clearTimeout);
      network.later(() => this.isReachable && this.#setIceState("connected"));
      for (const channel of this.#channels) channel.flush();
    } else if (this.iceConnectionState === "connected" && this.#iceTimers.length === 0) {
      this.#iceTimers.push(
        setTimeout(() => this.#setIceState("disconnected"), DISCONNECTED_AFTER),
        setTimeout(() => this.#setIceState("failed"), FAILED_AFTER),
      );
    } else if (this.#local && this.iceConnectionState !== "connected" && this.#selected?.local !== pair.local) {
      this.#setIceState("checking");
    }
  }

  /** Whether the last negotiation was with an end that has this pair. */
  matches({ local, remote }) {
    return local !== undefined && !this.isClosed && this.#local?.ufrag === remote && this.#remote?.ufrag === local;
  }

  knows(ufrag) {
    return this.#candidates.has(ufrag);
  }

  #setIceState(state) {
    if (this.isClosed || state === this.iceConnectionState) return;
    this.iceConnectionState = state;
    this.oniceconnectionstatechange?.();
    this.onconnectionstatechange?.();
    if (state !== "connected") return;
    for (const channel of this.#channels) if (channel.options.negotiated) channel.open();
  }

  openNegotiated() {
    for (const channel of this.#channels) {
      if (channel.options.negotiated && channel.readyState === "connecting") channel.readyState = "open";
    }
  }

  /** Returns the end of a negotiated channel. */
  channel(id) {
    return this.#channels.find(({ options }) => options.negotiated && options.id === id);
  }

  close() {
    if (this.isClosed) return;
    const { peer, isReachable } = this;
    this.isClosed = true;
    this.signalingState = "closed";
    for (const timer of this.#iceTimers) clearTimeout(timer);
    for (const channel of this.#channels) channel.readyState = "closed";
    if (isReachable) network.later(() => peer.closeChannels());
    network.update();
  }

  closeChannels() {
    for (const channel of this.#channels) channel.shut();
  }
}

class Channel {
  readyState = "connecting";
  bufferedAmount = 0;
  #connection;
  #other;
  /** What is on its way, in order. @type {{ data: unknown, due: number }[]} */ #queue = [];

  constructor(connection, label, options) {
    Object.assign(this, { label, options, id: options.id, ordered: options.ordered ?? true });
    this.maxRetransmits = options.maxRetransmits ?? null;
    this.maxPacketLifeTime = options.maxPacketLifeTime ?? null;
    this.#connection = connection;
  }

  /** Opens the channel on the other side, and then on this one. */
  announce(peer) {
    if (this.readyState !== "connecting") return;
    const accepted = peer.accept(this);
    if (!accepted) return;
    this.#other = accepted;
    accepted.#other = this;
    accepted.open();
    network.later(() => this.open());
  }

  open() {
    if (this.readyState !== "connecting") return;
    this.readyState = "open";
    this.onopen?.();
  }

  shut() {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    this.onclose?.();
  }

  send(data) {
    if (this.readyState !== "open") throw new DOMException("channel is not open", "InvalidStateError");
    const { peer, isReachable } = this.#connection;
    if (!isReachable && this.maxRetransmits !== null) return;
    this.#other ??= peer.channel(this.options.id);
    network.bytes += data.length;
    const due = Math.max(this.#queue.at(-1)?.due ?? 0, Date.now() + network.delay());
    this.#queue.push({ data: typeof data === "string" ? data : data.slice().buffer, due });
    setTimeout(() => this.#deliver(), due - Date.now());
  }

  #deliver() {
    while (this.#connection.isReachable && this.#queue[0]?.due <= Date.now()) {
      const { data } = this.#queue.shift();
      this.#other.precedeEvent();
      if (this.#other.readyState === "open") this.#other.onmessage?.({ data });
    }
  }

  /** A message may arrive before the open events, when the channels are open already. */
  precedeEvent() {
    if (this.options.negotiated) this.#connection.openNegotiated();
  }

  /** The path works again. */
  flush() {
    if (this.#queue[0]?.due <= Date.now()) network.later(() => this.#deliver());
  }
}

function toSdp({ type, ufrag, tracks, version }, fingerprint) {
  const lines = ["v=0", `o=- 1 ${version} IN IP4 0.0.0.0`, `a=fingerprint:sha-256 ${fingerprint}`, `a=ice-ufrag:${ufrag}`];
  const init = { type, sdp: [...lines, ...tracks.map((track) => `a=x-track:${track}`), ""].join("\r\n") };
  return { ...init, toJSON: () => init };
}

function fromSdp({ type, sdp }) {
  const ufrag = /^a=ice-ufrag:(.*)\r$/m.exec(sdp)?.[1];
  if (!ufrag || !["offer", "answer"].includes(type)) throw new DOMException("invalid SDP", "OperationError");
  return { type, ufrag, tracks: [...sdp.matchAll(/^a=x-track:(.*)\r$/gm)].map(([, track]) => track) };
}

/** A stream with one track, which is a string here. */
export function streamOf(track) {
  return { id: track, getTracks: () => [track], addEventListener() {} };
}

// ---- The hub --------------------------------------------------------------------------------------------------------

/** One socket, with the hub's state of it. */
class Socket {
  static OPEN = 1;
  readyState = 0;
  /** The other end of each link, with the link's id there. @type {Map<number, { socket: Socket, link: number }>} */
  links = new Map();

  constructor() {
    network.later(() => {
      if (this.readyState !== 0) return;
      this.readyState = Socket.OPEN;
      this.onopen();
    });
  }

  /** Messages arrive in order. */
  #due = 0;

  #later(call) {
    this.#due = Math.max(this.#due, Date.now() + network.delay());
    setTimeout(call, this.#due - Date.now());
  }

  send(bytes) {
    const message = decode(bytes);
    this.#later(() => this.#handle(message));
  }

  #handle({ heartbeat, connect, content }) {
    if (heartbeat) this.deliver({ heartbeat: true });
    else if (connect) this.#connect(connect);
    else {
      const end = this.links.get(content.recipientId);
      const { lastData, data } = content;
      if (end && network.passes(data)) {
        end.socket.deliver({ content: { senderId: end.link, recipientId: 0, lastData, data } });
      }
    }
  }

  #connect({ id, members }) {
    const others = [...network.members].filter(([, socket]) => socket !== this);
    if (others.length === 0 || members.some((it) => network.members.get(it) ?? false)) {
      network.members.set(id, this);
      return this.deliver({ connected: true });
    }
    for (const [it, socket] of network.members) if (socket === this) network.members.delete(it);
    const [, member] = others[Math.floor(network.random() * others.length)];
    const link = ++network.links;
    this.links.set(0, { socket: member, link });
    member.links.set(link, { socket: this, link: 0 });
    this.deliver({ connected: false });
  }

  deliver(message) {
    this.#later(() => this.readyState === Socket.OPEN && this.onmessage({ data: encode(message).buffer }));
  }

  close() {
    this.readyState = 3;
    for (const [id, socket] of network.members) if (socket === this) network.members.delete(id);
  }
}
