/**
 * A full mesh of WebRTC peers, brought together by a sigver signaling hub.
 *
 *     import { Sigver } from "./sigver.js";
 *
 *     const group = await Sigver.join("wss://example.org/signal", "tea-room");
 *     group.addEventListener("peerjoin", ({ peerId }) => group.send("hello", peerId));
 *     group.addEventListener("message", ({ peerId, data }) => console.log(peerId, data));
 *     group.send("hello, everybody");
 *
 * The hub carries first contacts only. A joiner signals through it with the one member that it is bound to; every
 * peer tells its neighbours who else it sees, and meets the rest through them. So the hub's work for one join is the
 * same in a group of two and of twenty, and a mesh that stands goes on when the hub is away.
 *
 * From the outside in: `Sigver` and `Group` (what a page uses), `Peer` (one RTCPeerConnection), `Signaling` (the
 * WebSocket to the hub), `encode` and `decode` (the wire).
 *
 * @module
 */

// Every wait has a limit. Milliseconds, unless the name says otherwise.
const HEARTBEAT_EVERY = 5_000; // the hub closes a peer that it has not heard for 15 s, and we do likewise
const MISSED_HEARTBEATS = 3;
const OPEN_WITHIN = 10_000; // the socket, and the hub's answer to `connect`
const ANSWER_WITHIN = 5_000; // the first word of a peer that we want to meet; a suspended tab never says it
const MEET_WITHIN = 15_000; // from the offer to open data channels
const MEET_AFTER_END = 3_000; // what is left of it once the other side has ended its signaling
const YIELD_FOR = 2_500; // the higher id of a pair lets the lower one make the offer
const RETRY_FROM = 500; // back-off of meetings; doubles
const RETRY_TO = 30_000;
const RECONNECT_FROM = 1_000; // back-off of the socket; doubles
const RECONNECT_TO = 30_000;
const STABLE_AFTER = 30_000; // a membership that has lasted this long forgets the back-off
const ASK_AFTER = 500; // neighbours that leave together cost one `connect`
const SETTLED_AFTER = 5_000; // a connection younger than this is not replaced by an offer that crossed it
const PING_EVERY = 2_000; // measures the round trip, and shows that the neighbour lives
const MISSED_PINGS = 5;
const LOST_AFTER = 20_000; // a neighbour gone without a goodbye: the hub has noticed by then, if it is dead
const REMEMBER_FOR = 60_000; // those that said goodbye (rumours of them are stale), and those that did not
const FLUSH_FOR = 200; // lets the goodbye out before the connections close

const CHUNK_BYTES = 16 * 1024; // what every browser passes on in one piece
const HIGH_WATER_BYTES = 1024 * 1024; // a fuller channel is waited for
const LOW_WATER_BYTES = 256 * 1024;
const MESSAGE_BYTES = 64 * 1024 * 1024; // a neighbour that sends a longer one is cut off
const KEY_BYTES = 512;
const MEETINGS = 64; // at the same time
const NEIGHBOURS_TOLD = 1_000; // ids that are read from one neighbour's list

/** Link ids of the hub are below 2^31, and member ids are drawn from there up, so the two never meet. */
const FIRST_MEMBER_ID = 2 ** 31;

/**
 * `connecting`: no hub yet. `joining`: the hub is there, and we are meeting its members. `joined`: the hub counts us
 * in. `reconnecting`: the hub is away; the mesh lives on, but nobody new can come in through us. `left`: over.
 * @typedef {"connecting" | "joining" | "joined" | "reconnecting" | "left"} State
 *
 * Why the state is what it is, in a word that a page can translate.
 * - `""`: all is well
 * - `unreachable`: the hub cannot be reached, or went away
 * - `silent`: it is reachable and says nothing
 * - `replaced`: we were the only member and did not let a joiner in (4744): we join anew
 * - `unanswered`: a member does not answer: the next one is tried
 * - `failed`: members answer, and no direct connection comes about (a firewall: a TURN server helps)
 * - `refused`: the hub does not accept the key, or us: final
 * @typedef {"" | "unreachable" | "silent" | "replaced" | "unanswered" | "failed" | "refused"} Reason
 *
 * @typedef {object} Options
 * @property {RTCIceServer[]} [iceServers] STUN and TURN servers. None by default: enough within one network.
 * @property {RTCConfiguration} [rtc] Anything else for `new RTCPeerConnection`.
 * @property {AbortSignal} [signal] Ends the joining, and the membership if it comes later.
 * @property {boolean} [favored] Ask the hub to offer this member to joiners before others (a server-side peer).
 *
 * What is known of a neighbour: its round trip in milliseconds, and whom it sees.
 * @typedef {object} PeerInfo
 * @property {number} id
 * @property {number | undefined} roundTrip
 * @property {{ id: number, roundTrip: number | undefined }[]} neighbours
 *
 * @typedef {object} GroupEvents
 * @property {PeerEvent} peerjoin Data channels to this peer are open.
 * @property {PeerEvent} peerleave They are closed.
 * @property {PeerMessageEvent} message A string arrives as a string, all else as an `ArrayBuffer`.
 * @property {PeerStreamEvent} stream A peer added a media stream. (The stream's own `removetrack` tells its end.)
 * @property {StateEvent} statechange
 * @property {Event} meshchange A neighbour's round trip, or whom it sees, has changed.
 */

/**
 * @typedef {object} Signal What two peers that meet say to each other, by whatever path.
 * @property {number} from
 * @property {number} to 0 while a joiner does not know whom it is bound to
 * @property {number} exchange drawn by the one who makes the offer; what belongs to another attempt is ignored
 * @property {number[]} [members] beside an offer: whom its sender is connected with
 * @property {RTCSessionDescriptionInit} [description]
 * @property {RTCIceCandidateInit} [candidate]
 * @property {string} [reject]
 *
 * @typedef {object} Path How signals reach a peer that is no neighbour yet.
 * @property {(signal: Signal) => void} send
 * @property {(signal?: Signal) => void} end No more will be sent, perhaps after this one.
 *
 * Why a `Peer` closed.
 * @typedef {"left" | "lost" | "unanswered" | "failed" | "glare" | "replaced" | "present" | "gone" | "same-id" | "busy"
 *   | "ended"} Farewell
 */

/** The front door. */
export const Sigver = Object.freeze({
  /**
   * Joins the group of all peers with this key.
   *
   * Resolves when the hub counts this peer in: at once for the first peer, for others when the first neighbour is
   * connected. A hub that is away is asked again until it is there, or until `options.signal` aborts. Rejects with the
   * signal's reason, with a `NotSupportedError` where there is no WebRTC, a `TypeError` for a key that is empty,
   * over 512 bytes, "." or "..", and a `NotAllowedError` when the hub refuses. To watch the joining, use `new Group`.
   *
   * @param {string | URL} url of the hub's mount, `ws:`, `wss:`, `http:`, `https:` or relative to the page. The key is
   *   appended to its path, in front of its query.
   * @param {string} key
   * @param {Options} [options]
   * @returns {Promise<Group>}
   */
  async join(url, key, options) {
    const group = new Group(url, key, options);
    await group.joined;
    return group;
  },
});

export class PeerEvent extends Event {
  /** @param {string} type @param {number} peerId */
  constructor(type, peerId) {
    super(type);
    this.peerId = peerId;
  }
}

export class PeerMessageEvent extends PeerEvent {
  /** @param {number} peerId @param {string | ArrayBuffer} data */
  constructor(peerId, data) {
    super("message", peerId);
    this.data = data;
  }
}

export class PeerStreamEvent extends PeerEvent {
  /** @param {number} peerId @param {MediaStream} stream */
  constructor(peerId, stream) {
    super("stream", peerId);
    this.stream = stream;
  }
}

export class StateEvent extends Event {
  /** @param {State} state @param {Reason} reason */
  constructor(state, reason) {
    super("statechange");
    this.state = state;
    this.reason = reason;
  }
}

/** This peer's membership in one group. */
export class Group extends EventTarget {
  /** Resolves and rejects as `Sigver.join` does. @type {Promise<void>} */
  joined;

  #id = drawMemberId();
  /** @type {State} */ #state = "connecting";
  /** @type {Reason} */ #reason = "";
  #options;
  #url;
  /** @type {() => void} */ #resolveJoined = () => {};
  /** @type {(error: unknown) => void} */ #rejectJoined = () => {};
  /** Aborted when the group is over: whoever waits, wakes. */
  #over = new AbortController();

  /** @type {Signaling | undefined} */ #signaling;
  /** Wakes the conversation with the hub: it is time to ask `connect` again. */
  #ask = new Bell();
  /** Wakes the wait for the next attempt to open a socket. */
  #online = new Bell();

  /** Neighbours, by id: their data channels are open. @type {Map<number, Peer>} */ #peers = new Map();
  /** Peers on the way to become neighbours, by exchange. @type {Map<number, Peer>} */ #meetings = new Map();
  /** The one of them that the hub bound us to. @type {Peer | undefined} */ #contact;
  /** Joiners that the hub bound to us, by link. @type {Map<number, Peer>} */ #links = new Map();
  /** Peers that neighbours told of, to be met through them. @type {Map<number, { tries: number, timer: number }>} */
  #rumours = new Map();
  /** Ids that said goodbye, and when. @type {Map<number, number>} */ #gone = new Map();
  /** Ids that vanished without one, and when. @type {Map<number, number>} */ #lost = new Map();
  /** @type {Map<MediaStream, MediaStreamTrack[]>} */ #streams = new Map();

  /**
   * Starts to join. Use `Sigver.join`, unless the page wants to show how the joining goes.
   *
   * @param {string | URL} url @param {string} key @param {Options} [options]
   */
  constructor(url, key, options = {}) {
    super();
    this.#options = options;
    this.joined = new Promise((resolve, reject) => {
      this.#resolveJoined = resolve;
      this.#rejectJoined = reject;
    });
    // A page that only listens to `statechange` must not be blamed for an unhandled rejection.
    this.joined.catch(() => {});
    this.#url = "";
    try {
      options.signal?.throwIfAborted();
      if (typeof RTCPeerConnection === "undefined") {
        throw new DOMException("This browser has no WebRTC", "NotSupportedError");
      }
      // What is wrong with the configuration shall come out here, not when the first peer is met.
      new RTCPeerConnection(this.#configuration).close();
      this.#url = groupUrl(url, key, options.favored);
    } catch (error) {
      this.#finish("", error);
      return;
    }
    const ends = { signal: this.#over.signal };
    options.signal?.addEventListener("abort", () => this.#finish("", options.signal?.reason), ends);
    // A page that is closed says goodbye: the others need not wait until its silence is long enough.
    globalThis.addEventListener?.("pagehide", () => this.leave(), ends);
    globalThis.addEventListener?.("online", () => this.#online.ring(), ends);
    const tick = setInterval(() => this.#tick(), PING_EVERY);
    this.#over.signal.addEventListener("abort", () => clearInterval(tick));
    this.#keepSignaling().catch((error) => this.#finish("", error));
  }

  /** This peer's own id, the same for the life of this object (but for the one case in 2^31 that it is taken). */
  get id() {
    return this.#id;
  }

  get state() {
    return this.#state;
  }

  get reason() {
    return this.#reason;
  }

  /** The neighbours, lowest id first. A snapshot. @returns {PeerInfo[]} */
  get peers() {
    return [...this.#peers.values()]
      .map(({ id, roundTrip, neighbours }) => ({ id, roundTrip, neighbours }))
      .sort((a, b) => a.id - b.id);
  }

  /**
   * Sends to one neighbour, or to all of them. Order is kept from one peer to another; a long message goes out in
   * pieces, and waits while the channel is full: await the promise between large ones to keep memory low.
   *
   * Resolves with the number of peers to whose channel it was handed in full (0 when nobody was there), never rejects.
   * What is sent just before a peer leaves may be lost.
   *
   * @param {string | ArrayBuffer | ArrayBufferView} data a copy is taken
   * @param {number} [peerId]
   * @returns {Promise<number>}
   * @throws {TypeError} for other data, or more than 64 MiB
   */
  send(data, peerId) {
    const bytes = toBytes(data);
    if (bytes.length > MESSAGE_BYTES) throw new TypeError(`A message has at most ${MESSAGE_BYTES} bytes`);
    const all = [...this.#peers.values()];
    const to = peerId === undefined ? all : all.filter(({ id }) => id === peerId);
    return Promise.all(to.map((peer) => peer.send(bytes, typeof data === "string"))).then(
      (taken) => taken.filter(Boolean).length,
    );
  }

  /** Shows a stream to every neighbour, also to those that come later. @param {MediaStream} stream */
  addStream(stream) {
    if (this.#streams.has(stream) || this.#state === "left") return;
    this.#streams.set(stream, stream.getTracks());
    for (const peer of this.#peers.values()) peer.addTracks(stream, stream.getTracks());
  }

  /** Shows it no longer. Its tracks are not stopped. @param {MediaStream} stream */
  removeStream(stream) {
    const tracks = this.#streams.get(stream);
    this.#streams.delete(stream);
    for (const peer of this.#peers.values()) peer.removeTracks(tracks ?? []);
  }

  /** Says goodbye, closes everything. No `peerleave` follows: all of them left. Can be called again. */
  leave() {
    this.#finish("", new DOMException("The group was left", "AbortError"));
  }

  /**
   * @template {keyof GroupEvents} T
   * @param {T} type
   * @param {((event: GroupEvents[T]) => void) | EventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @override
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {EventListener} */ (listener), options);
  }

  /**
   * @template {keyof GroupEvents} T
   * @param {T} type
   * @param {((event: GroupEvents[T]) => void) | EventListenerObject | null} listener
   * @param {boolean | EventListenerOptions} [options]
   * @override
   */
  removeEventListener(type, listener, options) {
    super.removeEventListener(type, /** @type {EventListener} */ (listener), options);
  }

  // ---- The hub ------------------------------------------------------------------------------------------------------

  /** Holds a socket to the hub for as long as the group lives. */
  async #keepSignaling() {
    for (let failures = 0; ; failures++) {
      const signaling = new Signaling(this.#url, (content) => this.#onContent(signaling, content));
      this.#signaling = signaling;
      const since = performance.now();
      if (await signaling.opened) await this.#attend(signaling);
      signaling.close();
      this.#links.clear();
      const code = await signaling.closed;
      if (this.#over.signal.aborted) return;
      // Whom it has let in before, it may let in again; the mesh does not end for this.
      if (!this.#wasJoined && [CloseCode.KEY, CloseCode.URL, CloseCode.POLICY].some((final) => final === code)) {
        const error = new DOMException(`The signaling server refused (${code})`, "NotAllowedError");
        return this.#finish("refused", error);
      }
      if (performance.now() - since > STABLE_AFTER) failures = 0;
      // Nobody joined the group through us while it was ours alone: it is another's now. We come back as a joiner.
      const replaced = code === CloseCode.BLOCKING_MEMBER;
      const silent = code === CloseCode.SILENT || code === CloseCode.HEARTBEAT;
      this.#become(
        this.#wasJoined ? "reconnecting" : "connecting",
        replaced ? "replaced" : silent ? "silent" : "unreachable",
      );
      const wait = replaced && failures === 0 ? RETRY_FROM : backOff(RECONNECT_FROM, RECONNECT_TO, failures);
      await this.#sleep(wait, this.#online.rung());
    }
  }

  #wasJoined = false;

  /**
   * The conversation over one socket: asks the hub whether we are in, naming our neighbours, until it says yes, and
   * again whenever a neighbour left (if the hub's group is by now one that we see nobody of, it says no, and binds us
   * to one of its members: that is how halves that formed apart become one).
   *
   * @param {Signaling} signaling
   */
  async #attend(signaling) {
    let refusals = 0;
    /** @type {Reason} */ let trouble = "";
    if (!this.#wasJoined) this.#become("joining", "");
    while (signaling.isOpen) {
      const asked = this.#ask.rung();
      const admitted = await signaling.connect(this.#id, [...this.#peers.keys()]);
      if (admitted === undefined) return;
      if (admitted) {
        refusals = 0;
        trouble = "";
        this.#wasJoined = true;
        this.#become("joined", "");
        this.#resolveJoined();
        await Promise.race([asked, signaling.closed]);
        await this.#sleep(jitter(ASK_AFTER), signaling.closed);
        await this.#seekLost(signaling);
        continue;
      }
      this.#become("joining", trouble);
      const farewell = await this.#meetBound(signaling);
      if (farewell === undefined) continue;
      if (farewell === "unanswered" || farewell === "failed") this.#become("joining", (trouble = farewell));
      // Asking again makes a sole member that we have tried give way to us: so first see an attempt of its own, or of
      // one of our neighbours, through.
      if (farewell === "glare" || farewell === "present") await this.#sleep(jitter(RETRY_FROM), signaling.closed);
      await this.#sleep(ANSWER_WITHIN, signaling.closed, this.#meetingsOver());
      // The first refusal is followed up at once (by the next member); many are not.
      if (refusals++) await this.#sleep(backOff(RETRY_FROM, RETRY_TO, refusals), signaling.closed);
    }
  }

  /**
   * Makes an offer to the member that the hub bound us to.
   *
   * @param {Signaling} signaling
   * @returns {Promise<Farewell | undefined>} why it failed
   */
  async #meetBound(signaling) {
    const contact = this.#newPeer(0, drawUint32(), true, signaling.path(0));
    this.#contact = contact;
    const farewell = await Promise.race([contact.met, signaling.closed.then(() => undefined)]);
    this.#contact = undefined;
    if (farewell === "same-id" && this.#peers.size === 0) this.#id = drawMemberId();
    return farewell;
  }

  /** @param {Signaling} signaling @param {Content} content */
  #onContent(signaling, { senderId, data }) {
    const fromMember = senderId === 0;
    if (data.length === 0) {
      (fromMember ? this.#contact : this.#links.get(senderId))?.pathEnded();
      this.#links.delete(senderId);
      return;
    }
    const signal = readSignal(data);
    // A `to` that is not us: the reference server also passes a bound peer's other mail to its bound member.
    if (!signal || (signal.to !== 0 && signal.to !== this.#id)) return;
    if (fromMember && signal.exchange !== this.#contact?.exchange) return;
    const peer = this.#onSignal(signal, signaling.path(senderId));
    if (peer && !fromMember) this.#links.set(senderId, peer);
  }

  /**
   * A neighbour that vanished may be dead, or in another half of a group that a broken network split; both halves are
   * members, so the hub has no reason to bind one to the other. The lowest id of a half looks, on behalf of it.
   */
  get #doubtful() {
    if (this.#peers.size === 0 || Math.min(...this.#peers.keys()) < this.#id) return [];
    const seen = new Set([...this.#peers.values()].flatMap((peer) => peer.neighbours.map(({ id }) => id)));
    const before = performance.now() - LOST_AFTER;
    return [...this.#lost].filter(([id, since]) => since < before && !seen.has(id)).map(([id]) => id);
  }

  /**
   * Naming only the lost ones asks the hub whether one of them is still a member. If so, we let the hub put us out and
   * bind us to one member after the other, until it is one that we do not see.
   *
   * @param {Signaling} signaling
   */
  async #seekLost(signaling) {
    const lost = this.#doubtful;
    for (const id of lost) this.#lost.delete(id);
    if (lost.length === 0 || !(await signaling.connect(this.#id, lost))) return;
    for (let tries = this.#peers.size + 2; tries > 0 && signaling.isOpen; tries--) {
      if ((await signaling.connect(this.#id, [])) !== false) return;
      if ((await this.#meetBound(signaling)) === undefined) return;
    }
  }

  // ---- Meeting ------------------------------------------------------------------------------------------------------

  /**
   * A word from a peer that is being met: by the hub's link, or relayed by a neighbour.
   *
   * @param {Signal} signal @param {Path} path leads back to it
   * @returns {Peer | undefined} whom it concerns
   */
  #onSignal(signal, path) {
    const { from, exchange } = signal;
    const known = this.#meetings.get(exchange) ?? [...this.#peers.values()].find((it) => it.exchange === exchange);
    if (known) {
      if (known.id === 0 && signal.reject === undefined && !this.#identify(known, from)) return undefined;
      if (known.id !== from && known.id !== 0) return undefined;
      known.receive(signal);
      return known;
    }
    if (signal.description?.type !== "offer") return undefined;
    const objection = this.#objection(signal);
    if (objection) {
      path.end({ from: this.#id, to: from, exchange, reject: objection });
      return undefined;
    }
    const peer = this.#newPeer(from, exchange, false, path);
    peer.receive(signal);
    return peer;
  }

  /**
   * Two peers can meet by two ways at once. Of the attempts of a pair the one that the lower id began survives.
   *
   * @param {Signal} offer
   * @returns {Farewell | undefined}
   */
  #objection({ from, members }) {
    if (from === this.#id) return "same-id";
    const open = this.#peers.get(from);
    if (open && (members?.includes(this.#id) || open.age < SETTLED_AFTER)) return "present";
    const rival = this.#meetingWith(from);
    if (rival?.initiator && this.#id < from) return "glare";
    if (!rival && this.#meetings.size >= MEETINGS) return "busy";
    rival?.close("glare");
    // It makes an offer although we see it: it has lost us, and we have not noticed yet.
    open?.close("replaced");
    return undefined;
  }

  /**
   * A joiner learns whom it is bound to with the first answer.
   *
   * @param {Peer} contact @param {number} id
   * @returns {boolean} whether it goes on
   */
  #identify(contact, id) {
    const rival = this.#meetingWith(id);
    if (rival && !rival.initiator && id < this.#id) {
      contact.close("glare");
      return false;
    }
    rival?.close("glare");
    contact.id = id;
    return true;
  }

  /** @param {number} id */
  #meetingWith(id) {
    return [...this.#meetings.values()].find((it) => it.id === id);
  }

  /** Resolves when no meeting is under way. */
  async #meetingsOver() {
    while (this.#meetings.size) await Promise.race([...this.#meetings.values()].map((it) => it.met));
  }

  /**
   * Whom a neighbour sees and we do not, we want to meet.
   *
   * @param {Peer} neighbour
   */
  #hearOf(neighbour) {
    for (const { id } of neighbour.neighbours) {
      const rumour = this.#rumours.get(id);
      if (id === this.#id || this.#peers.has(id) || this.#gone.has(id) || rumour?.timer) continue;
      const tries = rumour?.tries ?? 0;
      const wait = tries ? backOff(RETRY_FROM, RETRY_TO, tries) : this.#id < id ? 0 : YIELD_FOR;
      this.#rumours.set(id, { tries: tries + 1, timer: setTimeout(() => this.#meetRumoured(id), wait) });
    }
  }

  /** @param {number} id */
  #meetRumoured(id) {
    const rumour = this.#rumours.get(id);
    if (rumour) rumour.timer = 0;
    const seenBy = [...this.#peers.values()].filter((it) => it.neighbours.some((other) => other.id === id));
    const via = seenBy[Math.floor(Math.random() * seenBy.length)];
    if (!via) return void this.#rumours.delete(id);
    if (this.#peers.has(id) || this.#meetingWith(id) || this.#meetings.size >= MEETINGS) return;
    this.#newPeer(id, drawUint32(), true, this.#relayBy(via.id));
  }

  /** @param {number} viaId @returns {Path} */
  #relayBy(viaId) {
    const send = (/** @type {Signal} */ signal) => this.#peers.get(viaId)?.tell({ relay: signal });
    return { send, end: (signal) => signal && send(signal) };
  }

  /**
   * @param {number} id 0: not known yet
   * @param {number} exchange @param {boolean} initiator @param {Path} path
   */
  #newPeer(id, exchange, initiator, path) {
    const members = initiator ? [...this.#peers.keys()] : undefined;
    const peer = new Peer(id, exchange, initiator, this.#configuration, {
      signal: (body) => {
        const first = body.description?.type === "offer" ? { members } : {};
        path.send({ from: this.#id, to: peer.id, exchange, ...first, ...body });
      },
      polite: () => this.#id > peer.id,
      opened: () => this.#onOpened(peer, path),
      closed: (farewell, wasOpen) => {
        if (!wasOpen) path.end({ from: this.#id, to: peer.id, exchange, reject: farewell });
        this.#onClosed(peer, farewell, wasOpen);
      },
      told: (message) => this.#onTold(peer, message),
      message: (data) => this.#over.signal.aborted || this.dispatchEvent(new PeerMessageEvent(peer.id, data)),
      stream: (stream) => this.#over.signal.aborted || this.dispatchEvent(new PeerStreamEvent(peer.id, stream)),
    });
    this.#meetings.set(exchange, peer);
    return peer;
  }

  /** @returns {RTCConfiguration} */
  get #configuration() {
    const { rtc, iceServers = rtc?.iceServers ?? [] } = this.#options;
    return { ...rtc, iceServers };
  }

  // ---- The mesh -----------------------------------------------------------------------------------------------------

  /** @param {Peer} peer @param {Path} path */
  #onOpened(peer, path) {
    const { id } = peer;
    this.#forgetMeeting(peer);
    path.end();
    this.#peers.get(id)?.close("replaced");
    this.#forgetRumour(id);
    this.#lost.delete(id);
    this.#gone.delete(id);
    this.#peers.set(id, peer);
    this.#tellNeighbours();
    for (const [stream, tracks] of this.#streams) peer.addTracks(stream, tracks);
    this.dispatchEvent(new PeerEvent("peerjoin", id));
  }

  /** @param {Peer} peer @param {Farewell} farewell @param {boolean} wasOpen */
  #onClosed(peer, farewell, wasOpen) {
    const { id } = peer;
    this.#forgetMeeting(peer);
    if (this.#over.signal.aborted || !wasOpen) return;
    this.#peers.delete(id);
    if (farewell === "left") {
      this.#gone.set(id, performance.now());
      this.#forgetRumour(id);
    } else if (farewell === "lost") {
      this.#lost.set(id, performance.now());
    }
    this.#tellNeighbours();
    this.dispatchEvent(new PeerEvent("peerleave", id));
    this.#ask.ring();
  }

  /** @param {Peer} peer @param {any} message from over there: anything */
  #onTold(peer, message) {
    if (this.#over.signal.aborted) return;
    if (message.bye === true) return peer.close("left");
    if (Array.isArray(message.near)) {
      peer.neighbours = readNeighbours(message.near);
      this.#hearOf(peer);
      this.dispatchEvent(new Event("meshchange"));
    }
    const signal = isSignal(message.relay) ? message.relay : undefined;
    if (!signal) return;
    if (signal.to === this.#id) {
      this.#onSignal(signal, this.#relayBy(peer.id));
    } else if (signal.from === peer.id) {
      const { from, to, exchange } = signal;
      const next = this.#peers.get(to);
      if (next) next.tell({ relay: signal });
      else if (!signal.reject) peer.tell({ relay: { from: to, to: from, exchange, reject: "gone" } });
    }
  }

  #tellNeighbours() {
    const near = [...this.#peers.values()].map(({ id, roundTrip }) => [id, roundTrip ?? null]);
    for (const peer of this.#peers.values()) peer.tell({ near });
  }

  #tick() {
    const before = performance.now() - REMEMBER_FOR;
    for (const [id, since] of this.#gone) if (since < before) this.#gone.delete(id);
    for (const [id, since] of this.#lost) if (since < before) this.#lost.delete(id);
    for (const peer of [...this.#peers.values()]) peer.ping();
    this.#tellNeighbours();
    if (this.#state === "joined" && this.#doubtful.length) this.#ask.ring();
  }

  /** @param {Peer} peer */
  #forgetMeeting(peer) {
    this.#meetings.delete(peer.exchange);
    for (const [link, joiner] of this.#links) if (joiner === peer) this.#links.delete(link);
  }

  /** @param {number} id */
  #forgetRumour(id) {
    clearTimeout(this.#rumours.get(id)?.timer);
    this.#rumours.delete(id);
  }

  // ---- Its state ----------------------------------------------------------------------------------------------------

  /** @param {State} state @param {Reason} reason */
  #become(state, reason) {
    if (this.#state === "left" || (this.#state === state && this.#reason === reason)) return;
    this.#state = state;
    this.#reason = reason;
    this.dispatchEvent(new StateEvent(state, reason));
  }

  /** @param {Reason} reason @param {unknown} error for whoever awaits `joined` */
  #finish(reason, error) {
    if (this.#state === "left") return;
    this.#over.abort();
    this.#signaling?.close();
    for (const id of [...this.#rumours.keys()]) this.#forgetRumour(id);
    for (const meeting of [...this.#meetings.values()]) meeting.close("left");
    for (const peer of this.#peers.values()) {
      peer.tell({ bye: true });
      setTimeout(() => peer.close("left"), FLUSH_FOR);
    }
    this.#peers.clear();
    this.#streams.clear();
    this.#become("left", reason);
    this.#rejectJoined(error);
  }

  /**
   * Waits, but not beyond the group's end, nor beyond any of `others`.
   *
   * @param {number} ms @param {Promise<unknown>[]} others
   */
  async #sleep(ms, ...others) {
    const slept = new Bell();
    const wake = () => slept.ring();
    const timer = setTimeout(wake, this.#over.signal.aborted ? 0 : ms);
    this.#over.signal.addEventListener("abort", wake);
    await Promise.race([slept.rung(), ...others]);
    clearTimeout(timer);
    this.#over.signal.removeEventListener("abort", wake);
  }
}

/**
 * @typedef {object} PeerEvents What a `Peer` reports.
 * @property {(body: Partial<Signal>) => void} signal to be carried over while there is no data channel
 * @property {() => boolean} polite of the two, who gives way when both change the media at once
 * @property {() => void} opened
 * @property {(farewell: Farewell, wasOpen: boolean) => void} closed
 * @property {(message: any) => void} told
 * @property {(data: string | ArrayBuffer) => void} message
 * @property {(stream: MediaStream) => void} stream
 */

/**
 * The connection to one other peer: first being met, then open, then closed.
 *
 * It has two data channels: a long message in the one holds up neither a ping nor a relayed signal in the other.
 */
class Peer {
  /** Resolves when it is open, or with the reason why it never will be. @type {Promise<Farewell | undefined>} */
  met;
  /** Whom it said it sees. @type {{ id: number, roundTrip: number | undefined }[]} */
  neighbours = [];
  /** Milliseconds, smoothed. @type {number | undefined} */
  roundTrip;

  /** @type {"meeting" | "open" | "closed"} */ #state = "meeting";
  /** @type {(farewell?: Farewell) => void} */ #settle = () => {};
  #openedAt = 0;
  #rtc;
  #control;
  #data;
  #events;
  /** @type {ReturnType<typeof setTimeout>} */ #deadline;
  #answered = false;

  /**
   * @param {number} id 0: not known yet
   * @param {number} exchange
   * @param {boolean} initiator makes the offer
   * @param {RTCConfiguration} configuration
   * @param {PeerEvents} events
   */
  constructor(id, exchange, initiator, configuration, events) {
    this.id = id;
    this.exchange = exchange;
    this.initiator = initiator;
    this.#events = events;
    this.met = new Promise((resolve) => (this.#settle = resolve));

    const rtc = new RTCPeerConnection(configuration);
    this.#rtc = rtc;
    rtc.onnegotiationneeded = () => this.#offer();
    rtc.onicecandidate = ({ candidate }) => candidate && this.#signal({ candidate: candidate.toJSON() });
    rtc.onconnectionstatechange = () => rtc.connectionState === "failed" && this.#break();
    rtc.ontrack = ({ streams: [stream] }) => stream && this.#onTrack(stream);

    this.#control = this.#channel("control", 0);
    this.#control.onmessage = ({ data }) => this.#onControl(data);
    this.#data = this.#channel("data", 1);
    this.#data.onmessage = ({ data }) => this.#onData(data);
    this.#data.bufferedAmountLowThreshold = LOW_WATER_BYTES;

    const deadline = performance.now() + MEET_WITHIN;
    this.#deadline = setTimeout(
      () => {
        if (!this.#answered) return this.close("unanswered");
        this.#deadline = setTimeout(() => this.close("failed"), deadline - performance.now());
      },
      initiator ? ANSWER_WITHIN : MEET_WITHIN,
    );
  }

  /** Milliseconds since it opened. */
  get age() {
    return performance.now() - this.#openedAt;
  }

  /** Both sides make the same channels, so none has to be announced. @param {string} label @param {number} id */
  #channel(label, id) {
    const channel = this.#rtc.createDataChannel(label, { negotiated: true, id });
    channel.binaryType = "arraybuffer";
    channel.onopen = () => this.#open();
    channel.onclose = () => this.#break();
    return channel;
  }

  #open() {
    if (this.#state !== "meeting") return;
    if (this.#control.readyState !== "open" || this.#data.readyState !== "open") return;
    if (this.id === 0) return this.close("failed");
    this.#state = "open";
    this.#openedAt = performance.now();
    clearTimeout(this.#deadline);
    this.#events.opened();
    this.#settle();
  }

  #break() {
    this.close(this.#state === "open" ? "lost" : "failed");
  }

  /** @param {Farewell} farewell */
  close(farewell) {
    if (this.#state === "closed") return;
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    clearTimeout(this.#deadline);
    this.#rtc.close();
    this.#drained.ring();
    this.#events.closed(farewell, wasOpen);
    this.#settle(farewell);
  }

  // ---- Negotiation --------------------------------------------------------------------------------------------------
  // The first offer and answer go by the path, all later ones (media) over the control channel, as "perfect
  // negotiation" of the WebRTC specification: either side may offer at any time, the impolite one wins.

  #makingOffer = false;
  #settingAnswer = false;

  async #offer() {
    if (this.#state === "meeting" && !this.initiator) return;
    try {
      this.#makingOffer = true;
      await this.#rtc.setLocalDescription();
      this.#signal({ description: this.#rtc.localDescription?.toJSON() });
    } catch {
      this.#break();
    } finally {
      this.#makingOffer = false;
    }
  }

  /** @param {Signal} signal */
  receive(signal) {
    this.#answered = true;
    if (signal.reject !== undefined) {
      if (this.#state === "meeting") this.close(readFarewell(signal.reject));
    } else if (signal.description) {
      this.#receiveDescription(signal.description).catch(() => this.#break());
    } else if (signal.candidate) {
      if (this.#rtc.remoteDescription) this.#addCandidate(signal.candidate);
      else this.#earlyCandidates.push(signal.candidate);
    }
  }

  /** Candidates that overtook the description which they belong to. @type {RTCIceCandidateInit[]} */
  #earlyCandidates = [];

  /** @param {RTCIceCandidateInit} candidate */
  #addCandidate(candidate) {
    // One that the browser does not want, or that belongs to an ignored offer, is no reason to give up.
    this.#rtc.addIceCandidate(candidate).catch(() => {});
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #receiveDescription(description) {
    const rtc = this.#rtc;
    const stable = rtc.signalingState === "stable" || this.#settingAnswer;
    const collides = description.type === "offer" && (this.#makingOffer || !stable);
    if (collides && !this.#events.polite()) return;
    this.#settingAnswer = description.type === "answer";
    await rtc.setRemoteDescription(description);
    this.#settingAnswer = false;
    for (const candidate of this.#earlyCandidates.splice(0)) this.#addCandidate(candidate);
    if (description.type !== "offer") return;
    await rtc.setLocalDescription();
    this.#signal({ description: rtc.localDescription?.toJSON() });
  }

  /** @param {{ description?: RTCSessionDescriptionInit, candidate?: RTCIceCandidateInit }} body */
  #signal(body) {
    if (this.#state === "meeting") this.#events.signal(body);
    else this.tell(body);
  }

  /** The path carries no more from over there. Either it is open over there already, or it gave up. */
  pathEnded() {
    if (this.#state !== "meeting") return;
    clearTimeout(this.#deadline);
    if (!this.#answered) return this.close("ended");
    this.#deadline = setTimeout(() => this.close("failed"), MEET_AFTER_END);
  }

  // ---- Media --------------------------------------------------------------------------------------------------------

  /** @param {MediaStream} stream @param {MediaStreamTrack[]} tracks */
  addTracks(stream, tracks) {
    for (const track of tracks) {
      // It would throw when the connection is closed, and for a track that two streams have in common.
      const fits = this.#state === "open" && !this.#rtc.getSenders().some((sender) => sender.track === track);
      if (fits) this.#rtc.addTrack(track, stream);
    }
  }

  /** @param {MediaStreamTrack[]} tracks */
  removeTracks(tracks) {
    if (this.#state !== "open") return;
    for (const sender of this.#rtc.getSenders()) {
      if (sender.track && tracks.includes(sender.track)) this.#rtc.removeTrack(sender);
    }
  }

  /** Streams that were reported, and still have tracks. @type {Set<string>} */
  #streams = new Set();

  /** @param {MediaStream} stream */
  #onTrack(stream) {
    if (this.#streams.has(stream.id)) return;
    this.#streams.add(stream.id);
    stream.addEventListener("removetrack", () => {
      if (stream.getTracks().length === 0) this.#streams.delete(stream.id);
    });
    this.#events.stream(stream);
  }

  // ---- The control channel: JSON ------------------------------------------------------------------------------------

  #missedPings = 0;

  /** Counts pings, not time: a tab that slept must not take its own sleep for the other's silence. */
  ping() {
    if (this.#missedPings++ >= MISSED_PINGS) return this.close("lost");
    this.tell({ ping: performance.now() });
  }

  /** @param {object} message */
  tell(message) {
    if (this.#control.readyState !== "open") return;
    try {
      this.#control.send(JSON.stringify(message));
    } catch {
      // The buffer of a channel overflows only when nobody reads at the other end.
      this.#break();
    }
  }

  /** @param {unknown} text */
  #onControl(text) {
    this.#open();
    const message = readJson(text);
    if (!message || this.#state !== "open") return;
    this.#missedPings = 0;
    if (typeof message.ping === "number") this.tell({ pong: message.ping });
    else if (typeof message.pong === "number") this.#measure(performance.now() - message.pong);
    else if (message.description || message.candidate) this.receive(message);
    else this.#events.told(message);
  }

  /** @param {number} sample */
  #measure(sample) {
    if (!(sample >= 0)) return;
    this.roundTrip = this.roundTrip === undefined ? sample : this.roundTrip + (sample - this.roundTrip) / 4;
  }

  // ---- The data channel: pieces of messages, each with one byte in front --------------------------------------------

  /** Rings when the data channel's buffer is low again, or the peer closed. */
  #drained = new Bell();
  /** The end of the message before. @type {Promise<unknown>} */ #sent = Promise.resolve();
  /** @type {Uint8Array[]} */ #pieces = [];
  #piecesBytes = 0;

  /** @param {Uint8Array} bytes @param {boolean} isText @returns {Promise<boolean>} whether all of it was taken */
  send(bytes, isText) {
    const sent = this.#sent.then(() => this.#transmit(bytes, isText)).catch(() => false);
    this.#sent = sent;
    return sent;
  }

  /** @param {Uint8Array} bytes @param {boolean} isText */
  async #transmit(bytes, isText) {
    this.#data.onbufferedamountlow = () => this.#drained.ring();
    for (let start = 0, end = 0; ; start = end) {
      while (this.#state === "open" && this.#data.bufferedAmount > HIGH_WATER_BYTES) await this.#drained.rung();
      if (this.#state !== "open") return false;
      end = Math.min(start + CHUNK_BYTES, bytes.length);
      const piece = new Uint8Array(1 + end - start);
      piece[0] = (isText ? PieceFlag.TEXT : 0) | (end === bytes.length ? PieceFlag.LAST : 0);
      piece.set(bytes.subarray(start, end), 1);
      this.#data.send(piece);
      if (end === bytes.length) return true;
    }
  }

  /** @param {unknown} data */
  #onData(data) {
    this.#open();
    if (this.#state !== "open" || !(data instanceof ArrayBuffer) || data.byteLength === 0) return;
    const piece = new Uint8Array(data);
    const flags = piece[0] ?? 0;
    this.#missedPings = 0;
    this.#pieces.push(piece.subarray(1));
    this.#piecesBytes += piece.length - 1;
    if (this.#piecesBytes > MESSAGE_BYTES) return this.close("lost");
    if (!(flags & PieceFlag.LAST)) return;
    const bytes = concat(this.#pieces, this.#piecesBytes);
    this.#pieces = [];
    this.#piecesBytes = 0;
    this.#events.message(flags & PieceFlag.TEXT ? new TextDecoder().decode(bytes) : bytes.buffer);
  }
}

const PieceFlag = Object.freeze({ TEXT: 1, LAST: 2 });

/** What a hub's close means to us; 4741 and up as in the protocol. */
const CloseCode = Object.freeze({
  POLICY: 1008,
  SILENT: 3000, // ours
  KEY: 4741,
  HEARTBEAT: 4742,
  BLOCKING_MEMBER: 4744,
  URL: 4745,
});

/** One WebSocket to the hub. It ends when it closes, fails to open, or the hub falls silent. */
class Signaling {
  /** Whether it opened. @type {Promise<boolean>} */
  opened;
  /** Its close code. Never before `opened` has an answer. @type {Promise<number>} */
  closed;
  isOpen = false;

  #socket;
  /** @type {(opened: boolean) => void} */ #resolveOpened = () => {};
  /** @type {(code: number) => void} */ #resolveClosed = () => {};
  /** Takes the answer to `connect`. @type {((admitted: boolean) => void) | undefined} */ #answer;
  #timers = { open: 0, heartbeat: 0, answer: 0 };
  #missed = 0;
  #lastSent = 0;
  #oncontent;

  /** @param {string} url @param {(content: Content) => void} oncontent */
  constructor(url, oncontent) {
    this.#oncontent = oncontent;
    this.opened = new Promise((resolve) => (this.#resolveOpened = resolve));
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#onOpen();
    socket.onmessage = ({ data }) => this.#onMessage(data);
    socket.onclose = ({ code }) => this.#end(code);
    this.#timers.open = setTimeout(() => this.close(CloseCode.SILENT), OPEN_WITHIN);
  }

  #onOpen() {
    clearTimeout(this.#timers.open);
    this.isOpen = true;
    this.#timers.heartbeat = setInterval(() => {
      if (++this.#missed >= MISSED_HEARTBEATS) this.close(CloseCode.SILENT);
      else this.#beat();
    }, HEARTBEAT_EVERY);
    this.#resolveOpened(true);
  }

  #beat() {
    this.#lastSent = performance.now();
    this.#send({ heartbeat: true });
  }

  /** @param {unknown} data */
  #onMessage(data) {
    const message = data instanceof ArrayBuffer ? decode(new Uint8Array(data)) : undefined;
    if (!message) return;
    if (message.heartbeat !== undefined) {
      this.#missed = 0;
      // Browsers slow the timers of a hidden tab down to one a minute, but not the messages that reach it.
      if (performance.now() - this.#lastSent > HEARTBEAT_EVERY * 1.2) this.#beat();
    } else if (message.connected !== undefined) {
      this.#answer?.(message.connected);
    } else if (message.content) {
      this.#oncontent(message.content);
    }
  }

  /**
   * "I am `id`, and I see `members`: am I in?"
   *
   * @param {number} id @param {number[]} members
   * @returns {Promise<boolean | undefined>} nothing when the socket closed
   */
  async connect(id, members) {
    const answer = new Promise((/** @type {(admitted: boolean) => void} */ resolve) => (this.#answer = resolve));
    this.#timers.answer = setTimeout(() => this.close(CloseCode.SILENT), OPEN_WITHIN);
    this.#send({ connect: { id, members } });
    const admitted = await Promise.race([answer, this.closed.then(() => undefined)]);
    clearTimeout(this.#timers.answer);
    return admitted;
  }

  /**
   * The link to a joiner of ours, or (0) to the member that we are bound to.
   *
   * @param {number} recipientId
   * @returns {Path}
   */
  path(recipientId) {
    let ended = false;
    /** @param {Signal | undefined} signal @param {boolean} lastData */
    const send = (signal, lastData) => {
      if (ended) return;
      ended = lastData;
      const data = signal ? new TextEncoder().encode(JSON.stringify(signal)) : new Uint8Array();
      this.#send({ content: { senderId: 0, recipientId, lastData, data } });
    };
    return { send: (signal) => send(signal, false), end: (signal) => send(signal, true) };
  }

  /** @param {Message} message */
  #send(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(encode(message));
  }

  /** Does not wait for the other end: it may be the reason. @param {number} [code] */
  close(code = 1000) {
    this.#socket.close(code);
    this.#end(code);
  }

  /** @param {number} code */
  #end(code) {
    this.isOpen = false;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    clearTimeout(this.#timers.open);
    clearTimeout(this.#timers.answer);
    clearInterval(this.#timers.heartbeat);
    this.#resolveOpened(false);
    this.#resolveClosed(code);
  }
}

// ---- The wire -------------------------------------------------------------------------------------------------------

/**
 * @typedef {{ senderId: number, recipientId: number, lastData: boolean, data: Uint8Array }} Content
 *
 * Exactly one field is there.
 * @typedef {object} Message
 * @property {boolean} [heartbeat]
 * @property {Content} [content]
 * @property {{ id: number, members: number[] }} [connect]
 * @property {boolean} [connected]
 */

const VARINT = 0;
const BYTES = 2;

/** One message as protobuf. @param {Message} message @returns {Uint8Array<ArrayBuffer>} */
export function encode({ heartbeat, content, connect, connected }) {
  const out = new Writer();
  if (heartbeat !== undefined) out.uint32(1, Number(heartbeat));
  else if (content) {
    const { senderId, recipientId, lastData, data } = content;
    const inner = new Writer().some(1, senderId).some(2, recipientId).some(3, Number(lastData));
    out.bytes(2, (data.length ? inner.bytes(4, data) : inner).finish());
  } else if (connect) {
    const members = new Writer();
    for (const id of connect.members) members.varint(id);
    const inner = new Writer().some(1, connect.id);
    out.bytes(3, (connect.members.length ? inner.bytes(2, members.finish()) : inner).finish());
  } else if (connected !== undefined) out.uint32(4, Number(connected));
  return out.finish();
}

/**
 * The message in these bytes; nothing when they hold none. Fields that we do not know are skipped.
 *
 * @param {Uint8Array} bytes
 * @returns {Message | undefined}
 */
export function decode(bytes) {
  /** @type {Message | undefined} */
  let message;
  try {
    for (const { number, value } of fields(bytes)) {
      if (number === 1) message = { heartbeat: value !== 0 };
      else if (number === 2) message = { content: decodeContent(asBytes(value)) };
      else if (number === 3) message = { connect: decodeConnect(asBytes(value)) };
      else if (number === 4) message = { connected: value !== 0 };
    }
  } catch {
    return undefined;
  }
  return message;
}

/** @param {Uint8Array} bytes @returns {Content} */
function decodeContent(bytes) {
  const content = { senderId: 0, recipientId: 0, lastData: false, data: new Uint8Array() };
  for (const { number, value } of fields(bytes)) {
    if (number === 1) content.senderId = asNumber(value);
    else if (number === 2) content.recipientId = asNumber(value);
    else if (number === 3) content.lastData = value !== 0;
    else if (number === 4) content.data = asBytes(value).slice();
  }
  return content;
}

/** @param {Uint8Array} bytes */
function decodeConnect(bytes) {
  const connect = { id: 0, members: /** @type {number[]} */ ([]) };
  for (const { number, value } of fields(bytes)) {
    if (number === 1) connect.id = asNumber(value);
    else if (number === 2 && typeof value === "number") connect.members.push(value);
    else if (number === 2) {
      const reader = new Reader(asBytes(value));
      while (!reader.done) connect.members.push(reader.varint());
    }
  }
  return connect;
}

/** @param {Uint8Array} bytes @returns {Generator<{ number: number, value: number | Uint8Array }>} */
function* fields(bytes) {
  const reader = new Reader(bytes);
  while (!reader.done) {
    const tag = reader.varint();
    const number = tag >>> 3;
    if (number === 0) throw new RangeError("There is no field 0");
    if ((tag & 7) === VARINT) yield { number, value: reader.varint() };
    else if ((tag & 7) === BYTES) yield { number, value: reader.take(reader.varint()) };
    else if ((tag & 7) === 1) reader.take(8);
    else if ((tag & 7) === 5) reader.take(4);
    else throw new RangeError("A wire type that proto3 does not use");
  }
}

class Reader {
  #at = 0;
  #bytes;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  get done() {
    return this.#at === this.#bytes.length;
  }

  /** Up to ten bytes long, cut to 32 bits, as protobuf has it. */
  varint() {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.take(1)[0] ?? 0;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new RangeError("A varint of more than ten bytes");
  }

  /** @param {number} length */
  take(length) {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError("The message is cut off");
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

class Writer {
  /** @type {number[]} */ #out = [];

  /** @param {number} value an unsigned 32-bit integer */
  varint(value) {
    for (; value > 0x7f; value = Math.floor(value / 128)) this.#out.push((value % 128) | 0x80);
    this.#out.push(value);
    return this;
  }

  /** @param {number} number @param {number} value */
  uint32(number, value) {
    return this.varint((number << 3) | VARINT).varint(value);
  }

  /** Leaves a zero out, as proto3 does. @param {number} number @param {number} value */
  some(number, value) {
    return value === 0 ? this : this.uint32(number, value);
  }

  /** @param {number} number @param {Uint8Array} value */
  bytes(number, value) {
    this.varint((number << 3) | BYTES).varint(value.length);
    for (const byte of value) this.#out.push(byte);
    return this;
  }

  finish() {
    return Uint8Array.from(this.#out);
  }
}

/** @param {number | Uint8Array} value */
function asBytes(value) {
  if (typeof value === "number") throw new TypeError("A number where bytes belong");
  return value;
}

/** @param {number | Uint8Array} value */
function asNumber(value) {
  if (typeof value !== "number") throw new TypeError("Bytes where a number belongs");
  return value;
}

// ---- What comes from other peers is read with care ------------------------------------------------------------------

/** @param {unknown} text @returns {any} an object, or nothing */
function readJson(text) {
  try {
    const value = JSON.parse(String(text));
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Uint8Array} data @returns {Signal | undefined} */
function readSignal(data) {
  const signal = readJson(new TextDecoder().decode(data));
  return isSignal(signal) ? signal : undefined;
}

/** @param {any} value @returns {value is Signal} */
function isSignal(value) {
  const { from, to, exchange, members, description, candidate } = value ?? {};
  return (
    isId(from) &&
    from !== 0 &&
    isId(to) &&
    isId(exchange) &&
    (members === undefined || (Array.isArray(members) && members.every(isId))) &&
    (description === undefined || typeof description?.type === "string") &&
    (candidate === undefined || typeof candidate?.candidate === "string")
  );
}

/** @param {unknown} value @returns {value is number} */
function isId(value) {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

/** @param {unknown[]} near */
function readNeighbours(near) {
  return near
    .slice(0, NEIGHBOURS_TOLD)
    .map((entry) => (Array.isArray(entry) ? entry : []))
    .filter(([id]) => isId(id) && id !== 0)
    .map(([id, roundTrip]) => ({ id, roundTrip: typeof roundTrip === "number" ? roundTrip : undefined }));
}

/** @param {unknown} reject @returns {Farewell} */
function readFarewell(reject) {
  return reject === "present" || reject === "glare" || reject === "same-id" || reject === "busy" || reject === "gone"
    ? reject
    : "failed";
}

// ---- Small things ---------------------------------------------------------------------------------------------------

/** Lets any number of waiters go on when it rings; who waits later, waits for the next time. */
class Bell {
  /** @type {() => void} */ #release = () => {};
  /** @type {Promise<void> | undefined} */ #next;

  rung() {
    return (this.#next ??= new Promise((resolve) => (this.#release = resolve)));
  }

  ring() {
    this.#release();
    this.#next = undefined;
  }
}

/**
 * The address of a group: the key is one segment of the path, after the mount and in front of the query.
 *
 * @param {string | URL} base @param {string} key @param {boolean} [favored]
 */
export function groupUrl(base, key, favored) {
  const bytes = new TextEncoder().encode(key).length;
  if (bytes < 1 || bytes > KEY_BYTES) throw new TypeError(`A key has 1 to ${KEY_BYTES} bytes`);
  // A URL's path cannot hold them, not even escaped: they mean "here" and "up".
  if (key === "." || key === "..") throw new TypeError("A key cannot be a dot or two");
  const url = new URL(base, globalThis.location?.href);
  url.protocol = url.protocol.replace(/^http/, "ws");
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(key)}`;
  url.hash = "";
  // A bare `favored`, in the words of the protocol; `searchParams` would write `favored=`.
  if (favored) url.search += url.search ? "&favored" : "?favored";
  return url.href;
}

/** @param {string | ArrayBuffer | ArrayBufferView} data */
function toBytes(data) {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  throw new TypeError("A message is a string, an ArrayBuffer, a typed array or a DataView");
}

/** @param {Uint8Array[]} pieces @param {number} length */
function concat(pieces, length) {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

function drawUint32() {
  return /** @type {number} */ (crypto.getRandomValues(new Uint32Array(1))[0]);
}

function drawMemberId() {
  return FIRST_MEMBER_ID + (drawUint32() >>> 1);
}

/** Doubles with every failure, to a limit, the half of it random: peers that fell together must not rise together. */
function backOff(/** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ failures) {
  return jitter(Math.min(to, from * 2 ** Math.min(failures, 16)));
}

/** Between a half and all of it. @param {number} ms */
function jitter(ms) {
  return ms * (0.5 + Math.random() / 2);
}
