/**
 * A network of browsers in one process, on the paused clock of `fakes.mjs`: WebRTC connections that need offers,
 * answers, candidates and a path, and a hub. All delays and all randomness come from a seed.
 */

import { mock } from "node:test";
import { decode, encode } from "../src/wire.js";
import { install as installFakes } from "./fakes.mjs";
import { PeerConnection } from "./simulated_connection.mjs";

export { streamOf } from "./simulated_connection.mjs";

/** @type {Network} */ let network;

/** Installs the network as globals. Call it once for each test. */
export function install(seed = 1, delays = [1, 50]) {
  installFakes();
  network = new Network(seed, delays);
  globalThis.WebSocket = Socket;
  globalThis.RTCPeerConnection = PeerConnection;
  PeerConnection.network = network;
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

export class Network {
  /** @type {PeerConnection[]} */ connections = [];
  /** The sockets of members, by id. @type {Map<number, Socket>} */ members = new Map();
  /** Pairs of ports and of hosts, as `a|b`. */ blocked = new Set();
  /** After which time a side notices that its path is interrupted, in ms. */
  noticeTime = () => 1_000;
  links = 0;
  /** Certificates, and ICE user fragments. */ count = 0;
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
    const ends = [fingerprintIn(b, a), fingerprintIn(a, b)];
    const isOne = (it) => it && ends.includes(it.fingerprint);
    return this.connections.filter((it) => !it.isClosed && isOne(it) && isOne(it.peer));
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
    const pairs = [`${aPort}|${bPort}`, `${bPort}|${aPort}`, `${a.fingerprint}|${b.fingerprint}`];
    return pairs.some((it) => this.blocked.has(it));
  }

  update() {
    for (const connection of this.connections) connection.updateIce();
  }
}

/** The fingerprint of a neighbour, as a group sees it. */
function fingerprintIn(group, neighbour) {
  return [...group.peers.values()].find(({ id }) => id === neighbour.id)?.fingerprint;
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
      if (end) {
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
