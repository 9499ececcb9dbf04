/** WebRTC connections for `simulation.mjs`. */

import { fingerprintOf } from "./fakes.mjs";
import { Channel } from "./simulated_channel.mjs";

/** ICE has failed without a usable path for this time in ms. */
const FAILED_AFTER = 20_000;

export class PeerConnection {
  /** @type {import("./simulation.mjs").Network} */ static network;

  static async generateCertificate() {
    await this.network.wait();
    const byte = (++this.network.count % 256).toString(16).toUpperCase().padStart(2, "0");
    return { fingerprint: fingerprintOf(byte) };
  }

  iceConnectionState = "new";
  signalingState = "stable";
  remoteDescription = null;
  isClosed = false;
  /** The other end, once DTLS is connected. @type {PeerConnection | undefined} */ peer;
  restarts = 0;
  #channels = [];
  /** The descriptions of both sides in the last completed negotiation. */ #local;
  #remote;
  #pending;
  /** The senders that have a track. */ #senders = [];
  #version = 0;
  #ufrag = "";
  #mustRestart = false;
  /** Whether the last own offer restarts ICE; `undefined` after a completed negotiation. */ #offersRestart;
  #selected;
  #described;
  /** The user fragments of own and of remote candidates. */ #gathered = new Set();
  #candidates = new Set();
  #chain = Promise.resolve();
  #operations = 0;
  #iceTimers = [];

  constructor(configuration = {}) {
    this.network = PeerConnection.network;
    /** Whether one negotiated channel opens after the other, as in Firefox. */
    this.opensInTurn = this.network.random() < 0.5;
    /**
     * Whether an offer that restarts ICE is rejected, as in Firefox, if an own offer is rolled back that restarts nothing.
     */
    this.rejectsRestart = this.network.random() < 0.5;
    this.configuration = configuration;
    this.fingerprint = configuration.certificates?.[0].fingerprint;
    this.network.connections.push(this);
  }

  get connectionState() {
    return this.iceConnectionState === "checking" ? "connecting" : this.iceConnectionState;
  }

  /** Contains the candidates that are found by now. */
  get localDescription() {
    return this.#described && toSdp(this.#described, this.fingerprint, this.#gathered.has(this.#described.ufrag));
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
    if (this.peer) this.network.later(() => channel.announce(this.peer));
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

  /** Without a track, a transceiver changes nothing here. */
  addTransceiver() {}

  getTransceivers() {
    const currentDirection = this.#local?.tracks.length || this.#remote?.tracks.length ? "sendrecv" : null;
    return this.getSenders().map((sender) => ({ sender, currentDirection }));
  }

  addTrack(track) {
    const sender = { track };
    this.#senders.push(sender);
    this.#updateNegotiationNeeded();
    return sender;
  }

  removeTrack(sender) {
    this.#senders = this.#senders.filter((it) => it !== sender);
    this.#updateNegotiationNeeded();
  }

  getSenders() {
    return this.#senders;
  }

  /** The tracks that this side sends. */
  get #tracks() {
    return this.#senders.map(({ track }) => track);
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
      await this.network.wait();
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

  createOffer({ iceRestart = false } = {}) {
    return this.#operate(() => {
      if (iceRestart) this.#offersRestart = true;
      return { type: "offer", sdp: "" };
    });
  }

  setLocalDescription() {
    return this.#operate(() => {
      const type = this.signalingState === "have-remote-offer" ? "answer" : "offer";
      const remote = type === "answer" ? this.#pending : undefined;
      const restarts = this.#mustRestart || (remote && remote.ufrag !== this.#remote?.ufrag);
      const ufrag = restarts || !this.#local ? `u${++this.network.count}` : this.#local.ufrag;
      // An answer has no media sections of its own. New tracks need an own offer.
      const tracks = this.#tracks.filter((it) => type === "offer" || this.#local?.tracks.includes(it));
      const description = { type, ufrag, tracks, version: ++this.#version };
      this.#described = description;
      if (type === "offer") {
        this.#pending = description;
        this.#offersRestart = Boolean(restarts);
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
        const restarts = this.#remote && description.ufrag !== this.#remote.ufrag;
        if (this.rejectsRestart && restarts && this.#offersRestart === false) {
          this.signalingState = "stable"; // the rollback has happened
          throw new DOMException("the own offer restarted nothing", "InvalidAccessError");
        }
        this.#pending = description; // after the rollback of an own offer
        this.signalingState = "have-remote-offer";
      } else {
        if (this.signalingState !== "have-local-offer") throw new DOMException("no offer", "InvalidStateError");
        this.#commit(this.#pending, description);
      }
      this.remoteDescription = init;
      if (description.hasCandidates) this.#candidates.add(description.ufrag);
      this.network.update();
    });
  }

  #commit(local, remote) {
    if (local.ufrag !== this.#local?.ufrag) this.#mustRestart = false;
    for (const track of remote.tracks) {
      if (this.#remote?.tracks.includes(track)) continue;
      this.ontrack?.({ track: { readyState: "live" }, streams: [streamOf(track)] });
    }
    this.#local = local;
    this.#remote = remote;
    this.#pending = this.#offersRestart = undefined;
    this.signalingState = "stable";
    this.onsignalingstatechange?.();
    this.network.update();
  }

  #gather(ufrag) {
    this.#ufrag = ufrag;
    for (let index = 0; index < 3; index++) {
      this.network.wait().then(() => {
        if (this.isClosed || this.#ufrag !== ufrag) return;
        this.#gathered.add(ufrag);
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
      this.network.update();
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
    return peer && !peer.isClosed && !this.network.isBlocked(this, local, peer, remote);
  }

  get isReachable() {
    return this.#selected && this.#passes(this.peer, this.#selected.local, this.#selected.remote);
  }

  /** Selects the pair of the last negotiation if it works. The previous one stays in use until then. */
  updateIce() {
    if (this.isClosed) return;
    const pair = { local: this.#local?.ufrag, remote: this.#remote?.ufrag };
    const other = this.network.connections.find((it) => it !== this && it.matches(pair));
    if (other && (!this.peer || this.peer === other) && this.#passes(other, pair.local, pair.remote)) {
      if (this.#candidates.has(pair.remote) || other.knows(pair.local)) {
        this.#selected = pair;
        this.peer = other;
        if (other.peer !== this) other.updateIce();
      }
    }
    if (this.isReachable) {
      this.#iceTimers.splice(0).forEach(clearTimeout);
      this.network.later(() => this.isReachable && this.#setIceState("connected"));
      for (const channel of this.#channels) channel.flush();
    } else if (this.iceConnectionState === "connected" && this.#iceTimers.length === 0) {
      this.#iceTimers.push(
        setTimeout(() => this.#setIceState("disconnected"), this.network.noticeTime()),
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
    if (isReachable) this.network.later(() => peer.closeChannels());
    this.network.update();
  }

  closeChannels() {
    for (const channel of this.#channels) channel.shut();
  }
}

function toSdp({ type, ufrag, tracks, version }, fingerprint, hasCandidates) {
  const session = ["v=0", `o=- 1 ${version} IN IP4 0.0.0.0`, `a=fingerprint:sha-256 ${fingerprint}`];
  const candidates = hasCandidates ? ["a=candidate:0"] : [];
  const media = [`a=ice-ufrag:${ufrag}`, ...candidates, ...tracks.map((track) => `a=x-track:${track}`)];
  const init = { type, sdp: [...session, ...media, ""].join("\r\n") };
  return { ...init, toJSON: () => init };
}

function fromSdp({ type, sdp }) {
  const ufrag = /^a=ice-ufrag:(.*)\r$/m.exec(sdp)?.[1];
  if (!ufrag || !["offer", "answer"].includes(type)) throw new DOMException("invalid SDP", "OperationError");
  const hasCandidates = sdp.includes("a=candidate");
  return { type, ufrag, hasCandidates, tracks: [...sdp.matchAll(/^a=x-track:(.*)\r$/gm)].map(([, track]) => track) };
}

/** A stream with one track, which is a string here. */
export function streamOf(track) {
  return { id: track, getTracks: () => [track], addEventListener() {} };
}

