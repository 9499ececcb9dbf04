/** A peer whose every step a test decides, to deviate from the protocol of the mesh. Runs in a page. */

import { groupUrl } from "./sigver-client/index.js";
import { decode, encode } from "./sigver-client/wire.js";

/** The hub's end of a joiner: one socket. */
export class RawPeer {
  /** @type {RawConnection[]} */ connections = [];
  /** Whether it is a member, from the last answer to `connect`. */
  isMember;
  #socket;

  constructor(base, key, id) {
    this.id = id;
    this.#socket = new WebSocket(groupUrl(base, key));
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => this.connect();
    this.#socket.onmessage = ({ data }) => this.#receive(decode(new Uint8Array(data)));
    setInterval(() => this.#send({ heartbeat: true }), 4_000);
  }

  connect(members = []) {
    this.isMember = undefined;
    this.#send({ connect: { id: this.id, members } });
  }

  /** Makes an offer to the member that the hub bound this peer to. */
  offerToMember(options) {
    return this.offer((signal) => {
      const data = new TextEncoder().encode(JSON.stringify(signal));
      this.#send({ content: { senderId: 0, recipientId: 0, lastData: false, data } });
    }, options);
  }

  /** Makes an offer to a neighbour of an open connection, which relays it; to itself if `to` is its id. */
  offerThrough(relay, options) {
    return this.offer((signal) => relay.sendControl({ relay: signal }), options);
  }

  offer(send, options) {
    const connection = new RawConnection(send, { from: this.id, ...options });
    connection.onrelay = (signal) => this.#onSignal(signal);
    this.connections.push(connection);
    return connection;
  }

  #receive({ connected, content }) {
    if (connected !== undefined) this.isMember = connected;
    if (content?.data.length) this.#onSignal(JSON.parse(new TextDecoder().decode(content.data)));
  }

  #onSignal(signal) {
    this.connections.find(({ negotiationId }) => negotiationId === signal.negotiationId)?.receive(signal);
  }

  #send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encode(message));
  }
}

class RawConnection {
  negotiationId = Math.floor(Math.random() * 2 ** 32);
  /** The reason of the other side's rejection. */ reject;
  /** The id of the other side, from its first signal. */ peerId;
  /** Signals that the other side asked this peer to relay. */ relayed = [];

  /** `edit` changes the SDP of the offer on its way. */
  constructor(send, { from, to = 0, members = [], edit = (sdp) => sdp }) {
    this.rtc = new RTCPeerConnection();
    this.control = this.rtc.createDataChannel("control", { negotiated: true, id: 0 });
    this.data = this.rtc.createDataChannel("data", { negotiated: true, id: 1 });
    this.control.onmessage = ({ data }) => this.#onControl(JSON.parse(data));
    const signal = (body) => send({ from, to, negotiationId: this.negotiationId, ...body });
    this.rtc.onicecandidate = ({ candidate }) => candidate && signal({ candidate });
    this.rtc.onnegotiationneeded = async () => {
      await this.rtc.setLocalDescription();
      const { type, sdp } = this.rtc.localDescription;
      signal({ members, description: { type, sdp: edit(sdp) } });
    };
  }

  get isOpen() {
    return this.control.readyState === "open" && this.data.readyState === "open";
  }

  get isClosed() {
    return this.control.readyState === "closed" || this.data.readyState === "closed";
  }

  async receive({ from, description, candidate, reject }) {
    this.peerId = from;
    if (reject !== undefined) this.reject = reject;
    else if (description) await this.rtc.setRemoteDescription(description);
    else if (candidate) await this.rtc.addIceCandidate(candidate).catch(() => {});
  }

  sendControl(message) {
    if (this.control.readyState === "open") this.control.send(JSON.stringify(message));
  }

  #onControl({ ping, relay }) {
    if (ping !== undefined) this.sendControl({ pong: ping });
    if (!relay) return;
    this.relayed.push(relay);
    this.onrelay(relay);
  }
}
