/**
 * A full mesh of WebRTC peers that connect through a sigver signaling hub.
 *
 *     import { Group } from "./sigver.js";
 *
 *     const group = new Group("wss://example.org/signal", "tea-room");
 *     group.addEventListener("peerjoin", ({ peerId }) => group.send("hello", peerId));
 *     group.addEventListener("message", ({ peerId, data }) => console.log(peerId, data));
 *     await group.joined;
 *     group.send("hello, everyone");
 *
 * The hub relays signals for a peer's first connection only. A joiner signals through the hub with one member. Every
 * peer sends its list of neighbours to its neighbours, and peers connect to the rest of the group through them. The
 * hub's work for one join is therefore the same in a group of two and in a group of twenty, and an existing mesh keeps
 * working while the hub is unreachable.
 *
 * Pages use `Group` or `joinGroup`. They build on `Peer` (one RTCPeerConnection), `Signaling` (the WebSocket to the
 * hub), and `encode` and `decode` (the hub's wire format).
 *
 * @module
 */

// Every wait has a limit. All times are in milliseconds.
const HEARTBEAT_INTERVAL = 5_000;
const MAX_MISSED_HEARTBEATS = 3; // this client and the hub both close the connection 10 to 15 s after the last heartbeat
const HUB_TIMEOUT = 10_000; // to open the socket, and for the hub's answer to `connect`
const KEY_TIMEOUT = 10_000; // for the app's `key` function
const ICE_SERVERS_TIMEOUT = 3_000; // connection attempts wait this long for ICE servers, then go on without any
const ICE_SERVERS_MIN_TTL = 10_000; // each request counts as a join for the hub's limits
const ICE_SERVERS_MAX_TTL = 7 * 24 * 3600_000;
const ANSWER_TIMEOUT = 5_000; // to the first signal from the other peer; a suspended tab never sends one
const CONNECT_TIMEOUT = 15_000; // from the offer to open data channels
const CONNECT_TIMEOUT_AFTER_END = 3_000; // the rest of it after the other peer ended its route
const OFFER_DELAY = 2_500; // the peer with the higher id waits for an offer from the peer with the lower id
const RETRY_MIN = 500; // back-off of connection attempts between peers; doubles
const RETRY_MAX = 30_000;
const RECONNECT_MIN = 1_000; // back-off of the WebSocket to the hub; doubles
const RECONNECT_MAX = 30_000;
const STABLE_AFTER = 30_000; // a socket that lasted this long resets the back-off
const CONNECT_DELAY = 500; // neighbours that leave together cause one `connect`
const SETTLED_AFTER = 5_000; // a younger connection is not replaced by an offer that crossed it
const PING_INTERVAL = 2_000; // measures the round-trip time and detects lost neighbours
const MAX_MISSED_PINGS = 5;
const PLACE_TIME = 30_000; // how long an id that is not met keeps its place
const LOST_AFTER = 20_000; // by this age of a loss without `bye`, the hub has noticed a dead peer
const REMEMBER_FOR = 60_000; // ids of neighbours that left, broke the protocol or were lost
const FLUSH_TIME = 200; // between sending `bye` and closing the connections

const CHUNK_BYTES = 16 * 1024; // every browser transmits this size in one piece; all pieces but the last are full
const HIGH_WATER_BYTES = 1024 * 1024; // sending waits while more than this is buffered
const LOW_WATER_BYTES = 256 * 1024;
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024; // a neighbour that sends a longer message is disconnected
const MAX_CONTROL_LENGTH = 64 * 1024; // in UTF-16 units; a neighbour that sends more is disconnected
const MAX_EARLY_CANDIDATES = 100; // that arrive before their description; further ones are dropped
const MAX_KEY_BYTES = 512;
const MAX_ICE_FAILURES = 2; // with the only member, which is not evicted after the last one
const MAX_NEIGHBOURS = 1_000; // read from the list of one neighbour
// A neighbour can name peers that do not exist, and make offers in their names.
const MAX_UNMET_IDS = 8; // of one neighbour that are attempted
const MAX_DISCOVERING = 8; // attempts at once to peers that neighbours named
const MAX_ANSWERING = 64; // answered offers of peers that are not connected yet
const MAX_ANSWERING_PER_RELAY = 16; // of these, through one neighbour
const MIN_JOINER_SLOTS = 16; // for joiners from the hub, however many others are answered
const MAX_ICE_URLS = 64; // in one list of ICE servers
const MAX_KNOWN_IDS = 1_000; // ids that are not connected and stay bound to their certificates
const CERTIFICATE_LIFETIME = 365 * 24 * 3600_000; // the longest that browsers allow
const MAX_PATH_CHECKS = 5; // a candidate that a check found before its signal arrived gets its type within this time

/** The hub's link ids are below 2^31. Member ids start there, so the two never collide. */
const FIRST_MEMBER_ID = 2 ** 31;

/**
 * - `connecting`: the hub is not connected yet
 * - `joining`: this peer is connecting to a member, or waits before it tries again
 * - `joined`: this peer is a member of the group
 * - `reconnecting`: the hub is disconnected; the mesh keeps working, but no peer can join through this one
 * - `left`: final
 * @typedef {"connecting" | "joining" | "joined" | "reconnecting" | "left"} State
 *
 * Why the group is in its state. Pages translate it into a text.
 * - `""`: no problem
 * - `unreachable`: the hub cannot be reached, or it closed the connection
 * - `hub-timeout`: the hub can be reached, but does not answer
 * - `key-failed`: the `key` function failed, or did not answer within 10 s; it is called again later
 * - `expired`: the access of this peer has expired (4740); the `key` function is asked for a fresh key
 * - `evicted`: this peer was the only member, and a joiner could not connect to it (4744); it joins again
 * - `peer-timeout`: a member does not answer; the next one is tried
 * - `ice-failed`: the other peer answered, but no direct connection was established (a firewall or NAT; a TURN server
 *   helps). It stays the reason of `joining` and `joined` until some peer is connected.
 * - `rejected`: the hub rejected the key or this peer, or closed it for good; final
 * @typedef {"" | "unreachable" | "hub-timeout" | "key-failed" | "expired" | "evicted" | "peer-timeout" | "ice-failed"
 *   | "rejected"} Reason
 *
 * The key of the group, or a function that returns it. The function is called before every socket, so that keys can
 * expire. If it fails, or does not answer within 10 s, it is called again later. If the hub closes the connection with
 * 4740 (access has expired), the function is asked once for a fresh key. The group is left if the function fails then,
 * or if the fresh key is rejected too. The connections to peers stay open meanwhile.
 * @typedef {string | (() => string | Promise<string>)} Key
 *
 * How the hub closed its connection.
 * @typedef {{ code: number, reason: string }} Close
 *
 * @typedef {object} Options
 * @property {RTCIceServer[] | (() => IceServers | Promise<IceServers>)} [iceServers] STUN and TURN servers: a list, or
 *   a function that is called for each connection. A result with a `ttl` is kept for this time. If the function fails,
 *   or takes more than 3 s, the connection is attempted without ICE servers. Default: the servers of the hub. With `[]`,
 *   which is enough within one network, the hub is not asked.
 * @property {RTCConfiguration} [rtcConfiguration] Other settings for `new RTCPeerConnection`. Without `certificates`,
 *   the group generates one for itself.
 * @property {AbortSignal} [signal] Cancels joining, or leaves the group if it is already joined.
 * @property {boolean} [favored] Asks the hub to prefer this peer when it selects a member for a joiner.
 *
 * A list that may be kept for `ttl` seconds, or one for a single connection.
 * @typedef {{ iceServers: RTCIceServer[], ttl: number } | RTCIceServer[]} IceServers
 *
 * How packets reach a peer: directly, or `relayed` by a TURN server. `undefined` until it is known.
 * @typedef {"direct" | "relayed" | undefined} Path
 *
 * One neighbour: its round-trip time in milliseconds, the path to it, its own neighbours, and the SHA-256 fingerprint
 * of its certificate in upper-case hex. It has proven that it has the certificate's private key.
 * @typedef {object} PeerInfo
 * @property {number} id
 * @property {string} fingerprint
 * @property {number | undefined} roundTripTime
 * @property {Path} path
 * @property {{ id: number, roundTripTime: number | undefined }[]} neighbours
 *
 * @typedef {object} GroupEvents
 * @property {PeerEvent} peerjoin The data channels to this peer are open.
 * @property {PeerEvent} peerleave The data channels to this peer are closed.
 * @property {PeerMessageEvent} message A string arrives as a string, all other data as an `ArrayBuffer`.
 * @property {PeerStreamEvent} stream A peer added a media stream. The stream's own `removetrack` event reports its end.
 * @property {StateEvent} statechange
 * @property {Event} meshchange A neighbour's round-trip time, path or list of neighbours changed.
 */

/**
 * @typedef {object} Signal One message between two peers that are connecting, sent over any route.
 * @property {number} from
 * @property {number} to 0 while a joiner does not know the id of the member that it is bound to
 * @property {number} negotiationId drawn by the peer that makes the offer; signals of other attempts are ignored
 * @property {number[]} [members] with a description: the neighbours of its sender
 * @property {RTCSessionDescriptionInit} [description]
 * @property {RTCIceCandidateInit} [candidate]
 * @property {string} [reject]
 *
 * @typedef {object} Route How signals reach a peer that is not a neighbour yet: through the hub or through a neighbour.
 * @property {(signal: Signal) => void} send
 * @property {(signal?: Signal) => void} end Ends the route, after sending one last signal if there is one.
 * @property {number} [relay] The neighbour that relays the signals. Without it, the hub does.
 *
 * Why a `Peer` closed.
 * @typedef {"left" | "lost" | "invalid" | "peer-timeout" | "ice-failed" | "glare" | "replaced" | "present" | "gone" | "same-id"
 *   | "busy" | "ended"} CloseReason
 */

/**
 * Joins the group of all peers with this key.
 *
 * Resolves when this peer is a member: immediately for the first peer, otherwise after the first neighbour connects.
 * While the hub is unreachable, the connection is retried until it succeeds or `options.signal` aborts.
 *
 * Listeners that are added to the result miss the first neighbour's `peerjoin`, and the messages and streams that it
 * has already sent. To receive these, or to show the progress of joining, use `new Group`, add the listeners, and await
 * `joined`.
 *
 * Rejects with
 * - the reason of `options.signal`,
 * - a `NotSupportedError` if WebRTC is not available,
 * - a `TypeError` if the key is not a string, is empty, longer than 512 bytes, "." or "..", or if the URL is invalid,
 * - a `RejectedError` if the hub rejects the key or this peer.
 *
 * @param {string | URL} url The hub's mount: `ws:`, `wss:`, `http:`, `https:` or relative to the page. The key is
 *   appended to its path, before its query.
 * @param {Key} key
 * @param {Options} [options]
 * @returns {Promise<Group>}
 */
export async function joinGroup(url, key, options) {
  const group = new Group(url, key, options);
  await group.joined;
  return group;
}

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
  /** @param {State} state @param {Reason} reason @param {Close} [close] */
  constructor(state, reason, close) {
    super("statechange");
    this.state = state;
    this.reason = reason;
    /** The code with which the connection to the hub closed, if that is why the state changed. 1006: it was lost. */
    this.code = close?.code;
    /** The text that the hub gave for it. Show it as text, never as HTML. */
    this.closeReason = close?.reason ?? "";
  }
}

/** The hub rejected the key or this peer. Its `name` is `NotAllowedError`. */
export class RejectedError extends Error {
  name = "NotAllowedError";

  /** @param {Close} close @param {ErrorOptions} [options] */
  constructor({ code, reason }, options) {
    super(`The signaling server rejected this peer (${code}${reason && `: ${reason}`})`, options);
    this.code = code;
    this.closeReason = reason;
  }
}

/** This peer's membership in one group. */
export class Group extends EventTarget {
  /** Resolves and rejects like `joinGroup`. @type {Promise<void>} */
  joined;

  #id = drawMemberId();
  /** @type {State} */ #state = "connecting";
  /** @type {Reason} */ #reason = "";
  #options;
  #base;
  #key;
  /** The URL of the current socket. */
  #url = "";
  /** The ICE servers, if they are not a constant list. @type {IceServerCache | undefined} */ #iceServers;
  #asksHub;
  /** The same for all connections, so that this peer can prove that its id is its own. @type {RTCCertificate[]} */
  #certificates = [];
  /** @type {() => void} */ #resolveJoined = () => {};
  /** @type {(error: unknown) => void} */ #rejectJoined = () => {};
  /** Aborted when the group is left, which ends every wait. */
  #ended = new AbortController();

  /** @type {Signaling | undefined} */ #signaling;
  /** Notified when `connect` must be sent to the hub again. */
  #connectDue = new Notify();
  /** Notified when the browser is online again: ends the wait before the next socket. */
  #online = new Notify();

  /** Neighbours, by id: their data channels are open. @type {Map<number, Peer>} */ #peers = new Map();
  /** Peers whose channels are not open yet, by negotiation id. @type {Map<number, Peer>} */ #pendingPeers = new Map();
  /** The pending peer that the hub bound this peer to. @type {Peer | undefined} */ #boundMember;
  /** Joiners that the hub bound to this peer, by link. @type {Map<number, Peer>} */ #links = new Map();
  /** Peers in the lists of neighbours, to connect to. */
  #discovery = new Discovery(
    (id) => (this.#id < id ? 0 : OFFER_DELAY),
    () => this.#discover(),
  );
  /**
   * Ids that sent `bye` or broke the protocol, and when. This peer does not look for them, even if lists contain them.
   *
   * @type {Map<number, number>}
   */
  #leftIds = new Map();
  /** Ids that were lost without `bye`, and when. @type {Map<number, number>} */ #lostIds = new Map();
  /** Whether ICE failed, and no peer has been connected since. */ #iceFailed = false;
  /** How often it failed with each id since then. @type {Map<number, number>} */ #iceFailures = new Map();
  /** Fingerprints of the peers that were connected. */ #knownIds = new KnownIds();
  /** @type {Map<MediaStream, MediaStreamTrack[]>} */ #streams = new Map();

  /**
   * Starts to join. Listeners that are added right after the constructor miss no event of a neighbour.
   *
   * @param {string | URL} url @param {Key} key @param {Options} [options]
   */
  constructor(url, key, options = {}) {
    super();
    this.#base = url;
    this.#key = key;
    this.#options = options;
    const iceServers = options.iceServers ?? options.rtcConfiguration?.iceServers;
    this.#asksHub = !iceServers;
    if (!iceServers) this.#iceServers = new IceServerCache((signal) => fetchIceServers(this.#url, signal), Infinity);
    else if (typeof iceServers === "function") this.#iceServers = new IceServerCache(async () => iceServers());
    this.joined = new Promise((resolve, reject) => {
      this.#resolveJoined = resolve;
      this.#rejectJoined = reject;
    });
    // A page that only listens to `statechange` must not cause an unhandled rejection.
    this.joined.catch(() => {});
    try {
      options.signal?.throwIfAborted();
      if (typeof RTCPeerConnection === "undefined") {
        throw new DOMException("WebRTC is not available in this browser", "NotSupportedError");
      }
      // Reports an invalid configuration here, not when the first peer connects.
      new RTCPeerConnection(this.#rtcConfiguration).close();
      groupUrl(url, typeof key === "function" ? "key" : key);
    } catch (error) {
      this.#finish("", error);
      return;
    }
    const untilEnd = { signal: this.#ended.signal };
    options.signal?.addEventListener("abort", () => this.#finish("", options.signal?.reason), untilEnd);
    // `leave` sends `bye`, so neighbours notice a closed page before the ping timeout.
    globalThis.addEventListener?.("pagehide", () => this.leave(), untilEnd);
    globalThis.addEventListener?.("online", () => this.#online.notifyAll(), untilEnd);
    const tick = setInterval(() => this.#tick(), PING_INTERVAL);
    this.#ended.signal.addEventListener("abort", () => clearInterval(tick));
    this.#runSignaling().catch((error) => this.#finish("", error));
  }

  /** This peer's id. It changes only if another peer in the group already has it (a chance of 1 in 2^31). */
  get id() {
    return this.#id;
  }

  get state() {
    return this.#state;
  }

  get reason() {
    return this.#reason;
  }

  /** A snapshot of the neighbours, sorted by id. @returns {PeerInfo[]} */
  get peers() {
    return [...this.#peers.values()]
      .map(({ id, fingerprint, roundTripTime, path, neighbours }) => {
        return { id, fingerprint, roundTripTime, path, neighbours };
      })
      .sort((a, b) => a.id - b.id);
  }

  /**
   * Sends data to one neighbour, or to all of them. Messages from one peer to another arrive in order. A long message
   * is sent in pieces and waits while the channel's buffer is full. Await the promise between large messages to limit
   * memory use.
   *
   * Resolves with the number of peers whose channel accepted the whole message (0 without neighbours). Never rejects.
   * A message that is sent just before a peer leaves may be lost.
   *
   * @param {string | ArrayBuffer | ArrayBufferView} data is copied
   * @param {number} [peerId]
   * @returns {Promise<number>}
   * @throws {TypeError} for other types of data, and for more than 64 MiB
   */
  send(data, peerId) {
    const bytes = toBytes(data);
    if (bytes.length > MAX_MESSAGE_BYTES) {
      throw new TypeError(`message is ${bytes.length} bytes; must be at most ${MAX_MESSAGE_BYTES}`);
    }
    const all = [...this.#peers.values()];
    const to = peerId === undefined ? all : all.filter(({ id }) => id === peerId);
    return Promise.all(to.map((peer) => peer.send(bytes, typeof data === "string"))).then(
      (sent) => sent.filter(Boolean).length,
    );
  }

  /** Sends a stream to all neighbours, including later ones. @param {MediaStream} stream */
  addStream(stream) {
    if (this.#streams.has(stream) || this.#state === "left") return;
    this.#streams.set(stream, stream.getTracks());
    for (const peer of this.#peers.values()) peer.addTracks(stream, stream.getTracks());
  }

  /** Stops sending a stream. Does not stop its tracks. @param {MediaStream} stream */
  removeStream(stream) {
    const tracks = this.#streams.get(stream);
    this.#streams.delete(stream);
    for (const peer of this.#peers.values()) peer.removeTracks(tracks ?? []);
  }

  /** Leaves the group and closes all connections. Emits no `peerleave`. Further calls have no effect. */
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

  #wasJoined = false;

  /** Keeps a socket to the hub open until the group is left. */
  async #runSignaling() {
    this.#certificates = this.#options.rtcConfiguration?.certificates ?? [await generateCertificate()];
    /** Set from a close with 4740 until the hub accepts a fresh key. @type {Close | undefined} */ let expired;
    for (let failures = 0; ; failures++) {
      const url = await this.#nextUrl(expired);
      if (this.#ended.signal.aborted) return;
      if (url === undefined) {
        await this.#sleep(backOff(RECONNECT_MIN, RECONNECT_MAX, failures), this.#online.notified());
        continue;
      }
      const signaling = new Signaling(url, (content) => this.#onContent(signaling, content));
      this.#signaling = signaling;
      this.#url = url;
      // At the same time as the socket opens. Joining does not wait for it, connection attempts do.
      if (this.#asksHub) this.#iceServers?.refresh();
      const since = performance.now();
      const isBlocked = (await signaling.opened) && (await this.#runMembership(signaling));
      signaling.close();
      this.#links.clear();
      const close = await signaling.closed;
      const { code } = close;
      if (this.#ended.signal.aborted) return;
      if (signaling.isAccepted) expired = undefined;
      const canRenew = code === CloseCode.EXPIRED && typeof this.#key === "function" && !expired;
      if (isFinal(code) && !canRenew) return this.#reject(close);
      if (canRenew) expired = close;
      if (isBlocked) {
        failures = 0;
        await this.#sleep(jitter(RETRY_MAX), this.#online.notified());
        continue;
      }
      if (performance.now() - since > STABLE_AFTER) failures = 0;
      // An evicted peer had no neighbours: the group now belongs to the joiner that evicted it. It returns as a joiner.
      const evicted = code === CloseCode.BLOCKING_MEMBER;
      const timedOut = code === CloseCode.HUB_TIMEOUT || code === CloseCode.HEARTBEAT;
      if (evicted) this.#setState("joining", this.#iceFailed ? "ice-failed" : "evicted", close);
      else this.#setAway(canRenew ? "expired" : timedOut ? "hub-timeout" : "unreachable", close);
      const soon = (canRenew || evicted) && failures === 0;
      const wait = soon ? jitter(RETRY_MIN) : backOff(RECONNECT_MIN, RECONNECT_MAX, failures);
      await this.#sleep(wait, this.#online.notified());
    }
  }

  /**
   * Returns the URL of the next socket, with a key from the app. Returns `undefined` if the app has none at the moment.
   *
   * @param {Close | undefined} expired the close that makes a failure final
   */
  async #nextUrl(expired) {
    const key = this.#key;
    if (typeof key === "string") return groupUrl(this.#base, key, this.#options.favored);
    let fresh;
    try {
      fresh = await withTimeout(KEY_TIMEOUT, async () => key());
    } catch (cause) {
      if (expired) this.#reject(expired, { cause });
      else this.#setAway("key-failed");
      return undefined;
    }
    return groupUrl(this.#base, fresh, this.#options.favored);
  }

  /**
   * Makes this peer a member over one socket, and keeps it one. Sends `connect` with the ids of all neighbours until
   * the hub answers `true`, and again after a neighbour left. If none of the hub's members is a neighbour by then, the
   * hub answers `false` and binds this peer to one of them. This merges halves of a group that formed separately.
   *
   * @param {Signaling} signaling
   * @returns {Promise<boolean>} whether it gave up because ICE fails with the only member
   */
  async #runMembership(signaling) {
    let failedAttempts = 0;
    /** @type {Reason} */ let lastReason = "";
    const reason = () => (this.#iceFailed ? "ice-failed" : lastReason);
    if (!this.#wasJoined) this.#setState("joining", reason());
    while (signaling.isOpen) {
      const connectDue = this.#connectDue.notified();
      const isMember = await signaling.connect(this.#id, [...this.#peers.keys()]);
      if (isMember === undefined) return false;
      if (isMember) {
        failedAttempts = 0;
        lastReason = "";
        this.#wasJoined = true;
        this.#setState("joined", reason());
        this.#resolveJoined();
        await Promise.race([connectDue, signaling.closed]);
        await this.#sleep(jitter(CONNECT_DELAY), signaling.closed);
        await this.#healSplit(signaling);
        continue;
      }
      this.#setState("joining", reason());
      const { member, closeReason } = await this.#connectToBoundMember(signaling);
      if (closeReason === undefined) continue;
      if (closeReason === "peer-timeout" || closeReason === "ice-failed") {
        lastReason = closeReason;
        this.#setState("joining", reason());
      }
      // Another `connect` would evict the member if it is the only one, and it would evict this peer in turn.
      const failures = this.#iceFailures.get(member.id) ?? 0;
      if (closeReason === "ice-failed" && !member.hasNeighbours && failures >= MAX_ICE_FAILURES) return true;
      // Another `connect` evicts the only member if this peer has tried it. Wait first for attempts that the member or a
      // neighbour began.
      const isAlive = closeReason === "glare" || closeReason === "present" || closeReason === "busy";
      if (isAlive) await this.#sleep(jitter(RETRY_MIN), signaling.closed);
      await this.#sleep(ANSWER_TIMEOUT, signaling.closed, this.#pendingPeersSettled());
      // The first failure is retried immediately, with the next member; further failures back off.
      if (failedAttempts++) await this.#sleep(backOff(RETRY_MIN, RETRY_MAX, failedAttempts), signaling.closed);
    }
    return false;
  }

  /**
   * Makes an offer to the member that the hub bound this peer to.
   *
   * @param {Signaling} signaling
   * @returns {Promise<{ member: Peer, closeReason: CloseReason | undefined }>} `closeReason` is set if it failed
   */
  async #connectToBoundMember(signaling) {
    const member = this.#newPeer(0, drawUint32(), true, signaling.route(0));
    this.#boundMember = member;
    const closeReason = await Promise.race([member.settled, signaling.closed.then(() => undefined)]);
    this.#boundMember = undefined;
    if (closeReason === "same-id" && this.#peers.size === 0) this.#id = drawMemberId();
    return { member, closeReason };
  }

  /** @param {Signaling} signaling @param {Content} content */
  #onContent(signaling, { senderId, data }) {
    const fromMember = senderId === 0;
    if (data.length === 0) {
      (fromMember ? this.#boundMember : this.#links.get(senderId))?.routeEnded();
      this.#links.delete(senderId);
      return;
    }
    const signal = readSignal(data);
    // The reference server also passes a bound peer's signals for other recipients to the member that it is bound to.
    if (!signal || (signal.to !== 0 && signal.to !== this.#id)) return;
    if (fromMember && signal.negotiationId !== this.#boundMember?.negotiationId) return;
    const peer = this.#onSignal(signal, signaling.route(senderId));
    if (peer && !fromMember) this.#links.set(senderId, peer);
  }

  /**
   * Lost ids that may belong to another half of the group. A lost neighbour may be dead, or a broken network may have
   * split the group. The hub does not merge the halves, because the peers of both are members. The peer with the lowest
   * id of a half searches for its half; the list is empty for all others.
   */
  get #lostIdsToSeek() {
    if (this.#peers.size === 0 || Math.min(...this.#peers.keys()) < this.#id) return [];
    const seen = new Set([...this.#peers.values()].flatMap((peer) => peer.neighbours.map(({ id }) => id)));
    const before = performance.now() - LOST_AFTER;
    return [...this.#lostIds].filter(([id, since]) => since < before && !seen.has(id)).map(([id]) => id);
  }

  /**
   * Merges the halves of a split group. A `connect` that names only lost ids asks the hub whether one of them is still
   * a member. If so, further ones that name no ids make the hub bind this peer to one member after another, until it
   * reaches a member of the other half.
   *
   * @param {Signaling} signaling
   */
  async #healSplit(signaling) {
    const lost = this.#lostIdsToSeek;
    for (const id of lost) this.#lostIds.delete(id);
    if (lost.length === 0 || !(await signaling.connect(this.#id, lost))) return;
    for (let tries = this.#peers.size + 2; tries > 0 && signaling.isOpen; tries--) {
      if ((await signaling.connect(this.#id, [])) !== false) return;
      if ((await this.#connectToBoundMember(signaling)).closeReason === undefined) return;
    }
  }

  // ---- Pending peers ------------------------------------------------------------------------------------------------

  /**
   * Handles a signal from a pending peer, received over a link of the hub or relayed by a neighbour.
   *
   * @param {Signal} signal @param {Route} route back to its sender
   * @returns {Peer | undefined} the peer that handled it
   */
  #onSignal(signal, route) {
    const { from, negotiationId } = signal;
    const known =
      this.#pendingPeers.get(negotiationId) ??
      [...this.#peers.values()].find((it) => it.negotiationId === negotiationId);
    if (known) {
      if (known.id === 0 && signal.reject === undefined && !this.#identify(known, from)) return undefined;
      if (known.id !== from && known.id !== 0) return undefined;
      known.receive(signal);
      return known;
    }
    if (signal.description?.type !== "offer") return undefined;
    const reject = this.#rejectOffer(signal, route.relay);
    if (reject) {
      route.end({ from: this.#id, to: from, negotiationId, reject });
      return undefined;
    }
    const peer = this.#newPeer(from, negotiationId, false, route);
    peer.receive(signal);
    return peer;
  }

  /**
   * Returns why an offer is rejected, or closes the attempt that it replaces. Two peers can start two attempts at once;
   * the attempt that the peer with the lower id began survives.
   *
   * @param {Signal} offer @param {number | undefined} relay
   * @returns {CloseReason | undefined}
   */
  #rejectOffer({ from, members, description }, relay) {
    if (!this.#owns(from, readFingerprint(description))) return "same-id";
    const open = this.#peers.get(from);
    if (open && (members?.includes(this.#id) || open.age < SETTLED_AFTER)) return "present";
    const rival = this.#pendingPeer(from);
    if (rival?.initiator && this.#id < from) return "glare";
    if (!(rival || this.#hasSlot(relay)) || this.#peers.get(relay ?? 0)?.limits.offers.take() === false) return "busy";
    rival?.close("glare");
    // If `open` is set, the sender has lost it, and this side has not noticed yet. It stays until the new connection
    // opens: only that proves that the offer is from the same peer, because a fingerprint can be copied.
    return undefined;
  }

  /**
   * Returns whether the peer with this certificate may have this id. The first peer that connects with an id owns it.
   *
   * @param {number} id @param {string | undefined} fingerprint `undefined` if a description has no single one
   */
  #owns(id, fingerprint) {
    const known = this.#peers.get(id)?.fingerprint ?? this.#knownIds.get(id);
    return id !== this.#id && (known === undefined || known === fingerprint);
  }

  /** Returns whether one more offer can be answered. @param {number | undefined} relay through which it arrived */
  #hasSlot(relay) {
    const answering = [...this.#pendingPeers.values()].filter(({ initiator }) => !initiator);
    const sameWay = answering.filter((it) => it.relay === relay).length;
    if (relay === undefined) return sameWay < MIN_JOINER_SLOTS || answering.length < MAX_ANSWERING;
    return sameWay < MAX_ANSWERING_PER_RELAY && answering.length < MAX_ANSWERING;
  }

  /**
   * Sets the id of the bound member, which a joiner learns from the first answer.
   *
   * @param {Peer} member @param {number} id
   * @returns {boolean} whether this attempt continues
   */
  #identify(member, id) {
    if (id === this.#id) {
      member.close("same-id");
      return false;
    }
    const rival = this.#pendingPeer(id);
    if (rival && !rival.initiator && id < this.#id) {
      member.close("glare");
      return false;
    }
    rival?.close("glare");
    member.id = id;
    return true;
  }

  /** @param {number} id */
  #pendingPeer(id) {
    return [...this.#pendingPeers.values()].find((it) => it.id === id);
  }

  /** Resolves when no peer is pending. */
  async #pendingPeersSettled() {
    while (this.#pendingPeers.size) await Promise.race([...this.#pendingPeers.values()].map((it) => it.settled));
  }

  /**
   * Updates the ids that these neighbours name, and connects to the ids that are due.
   *
   * @param {Iterable<Peer>} [neighbours]
   */
  #discover(neighbours = this.#peers.values()) {
    if (this.#ended.signal.aborted) return;
    const isUnmet = (/** @type {number} */ id) => id !== this.#id && !this.#peers.has(id) && !this.#leftIds.has(id);
    for (const { id, neighbours: named } of neighbours) {
      this.#discovery.update(id, named.map(({ id }) => id).filter(isUnmet));
    }
    let free = MAX_DISCOVERING - [...this.#pendingPeers.values()].filter((it) => it.initiator && it.relay).length;
    for (const id of this.#discovery.due) {
      if (free <= 0) break;
      if (this.#pendingPeer(id)) continue;
      const relays = [...this.#peers.values()].filter((it) => it.neighbours.some((other) => other.id === id));
      const relay = relays[Math.floor(Math.random() * relays.length)];
      if (!relay) continue;
      this.#discovery.begin(id);
      this.#newPeer(id, drawUint32(), true, this.#relayRoute(relay.id));
      free--;
    }
  }

  /** @param {number} relayId @returns {Route} */
  #relayRoute(relayId) {
    const send = (/** @type {Signal} */ signal) => this.#peers.get(relayId)?.sendControl({ relay: signal });
    return { send, end: (signal) => signal && send(signal), relay: relayId };
  }

  /**
   * @param {number} id 0 if it is not known yet
   * @param {number} negotiationId @param {boolean} initiator @param {Route} route
   */
  #newPeer(id, negotiationId, initiator, route) {
    const peer = new Peer(id, negotiationId, initiator, this.#rtcConfiguration, this.#iceServers?.get(), {
      signal: (body) => {
        const members = body.description && [...this.#peers.keys()];
        route.send({ from: this.#id, to: peer.id, negotiationId, members, ...body });
      },
      polite: () => this.#id > peer.id,
      owned: () => this.#owns(peer.id, peer.fingerprint),
      near: () => [...this.#peers.values()].map(({ id, roundTripTime }) => [id, roundTripTime ?? null]),
      opened: () => this.#onOpened(peer, route),
      closed: (reason, wasOpen) => {
        if (!wasOpen) route.end({ from: this.#id, to: peer.id, negotiationId, reject: reason });
        this.#onClosed(peer, reason, wasOpen);
      },
      control: (message) => this.#onControl(peer, message),
      pathChanged: () => this.#ended.signal.aborted || this.dispatchEvent(new Event("meshchange")),
      message: (data) => this.#ended.signal.aborted || this.dispatchEvent(new PeerMessageEvent(peer.id, data)),
      stream: (stream) => this.#ended.signal.aborted || this.dispatchEvent(new PeerStreamEvent(peer.id, stream)),
    });
    peer.relay = route.relay;
    this.#pendingPeers.set(negotiationId, peer);
    return peer;
  }

  /** Without ICE servers that are not known yet. @returns {RTCConfiguration} */
  get #rtcConfiguration() {
    const { rtcConfiguration, iceServers = rtcConfiguration?.iceServers } = this.#options;
    const configuration = { ...rtcConfiguration, iceServers: (typeof iceServers !== "function" && iceServers) || [] };
    return this.#certificates.length ? { ...configuration, certificates: this.#certificates } : configuration;
  }

  // ---- The mesh -----------------------------------------------------------------------------------------------------

  /** @param {Peer} peer @param {Route} route */
  #onOpened(peer, route) {
    const { id } = peer;
    this.#removePending(peer);
    route.end();
    this.#peers.get(id)?.close("replaced");
    this.#discovery.delete(id);
    this.#lostIds.delete(id);
    this.#leftIds.delete(id);
    this.#peers.set(id, peer);
    this.#knownIds.set(id, peer.fingerprint);
    this.#iceFailed = false;
    this.#iceFailures.clear();
    if (this.#reason === "ice-failed") this.#setState(this.#state, "");
    this.#announceNeighbours();
    for (const [stream, tracks] of this.#streams) peer.addTracks(stream, tracks);
    this.#discover();
    this.dispatchEvent(new PeerEvent("peerjoin", id));
  }

  /** @param {Peer} peer @param {CloseReason} reason @param {boolean} wasOpen */
  #onClosed(peer, reason, wasOpen) {
    const { id } = peer;
    this.#removePending(peer);
    if (this.#ended.signal.aborted) return;
    if (!wasOpen) {
      if (reason === "ice-failed") this.#onIceFailed(id);
      if (peer.initiator) this.#discovery.retry(id);
      return this.#discover();
    }
    this.#peers.delete(id);
    this.#discovery.deleteNeighbour(id);
    if (reason === "left" || reason === "invalid") {
      this.#leftIds.set(id, performance.now());
      this.#discovery.delete(id);
    } else if (reason === "lost") {
      this.#lostIds.set(id, performance.now());
    }
    this.#announceNeighbours();
    this.dispatchEvent(new PeerEvent("peerleave", id));
    this.#connectDue.notifyAll();
  }

  /** @param {number} id 0 if it is not known */
  #onIceFailed(id) {
    // A peer with neighbours reports nothing: its neighbours see the other peer.
    if (this.#peers.size > 0) return;
    if (this.#iceFailures.size >= MAX_ANSWERING) this.#iceFailures.clear();
    this.#iceFailures.set(id, (this.#iceFailures.get(id) ?? 0) + 1);
    this.#iceFailed = true;
    if (this.#state === "joining" || this.#state === "joined") this.#setState(this.#state, "ice-failed");
  }

  /** @param {Peer} peer @param {any} message untrusted */
  #onControl(peer, message) {
    if (this.#ended.signal.aborted) return;
    if (message.bye === true) return peer.close("left");
    if (Array.isArray(message.near) && peer.limits.near.take()) {
      peer.neighbours = readNeighbours(message.near);
      this.#discover([peer]);
      this.dispatchEvent(new Event("meshchange"));
    }
    const signal = isSignal(message.relay) && peer.limits.signals.take() ? message.relay : undefined;
    if (!signal) return;
    if (signal.to === this.#id) {
      this.#onSignal(signal, this.#relayRoute(peer.id));
    } else if (signal.from === peer.id) {
      const { from, to, negotiationId } = signal;
      const recipient = this.#peers.get(to);
      if (recipient) recipient.sendControl({ relay: signal });
      else if (!signal.reject) peer.sendControl({ relay: { from: to, to: from, negotiationId, reject: "gone" } });
    }
  }

  #announceNeighbours() {
    for (const peer of this.#peers.values()) peer.announceNeighbours();
  }

  #tick() {
    const before = performance.now() - REMEMBER_FOR;
    for (const [id, since] of this.#leftIds) if (since < before) this.#leftIds.delete(id);
    for (const [id, since] of this.#lostIds) if (since < before) this.#lostIds.delete(id);
    for (const peer of [...this.#peers.values()]) peer.ping();
    this.#announceNeighbours();
    if (this.#state === "joined" && this.#lostIdsToSeek.length) this.#connectDue.notifyAll();
  }

  /** @param {Peer} peer */
  #removePending(peer) {
    this.#pendingPeers.delete(peer.negotiationId);
    for (const [link, joiner] of this.#links) if (joiner === peer) this.#links.delete(link);
  }

  // ---- State --------------------------------------------------------------------------------------------------------

  /** The close code of the last `StateEvent`. @type {number | undefined} */ #code;

  /** @param {State} state @param {Reason} reason @param {Close} [close] */
  #setState(state, reason, close) {
    const isSame = this.#state === state && this.#reason === reason && this.#code === close?.code;
    if (this.#state === "left" || isSame) return;
    this.#state = state;
    this.#reason = reason;
    this.#code = close?.code;
    this.dispatchEvent(new StateEvent(state, reason, close));
  }

  /** Waits for the next socket. @param {Reason} reason @param {Close} [close] */
  #setAway(reason, close) {
    this.#setState(this.#wasJoined ? "reconnecting" : "connecting", reason, close);
  }

  /** @param {Close} close @param {ErrorOptions} [options] */
  #reject(close, options) {
    this.#finish("rejected", new RejectedError(close, options), close);
  }

  /** @param {Reason} reason @param {unknown} error rejects `joined` @param {Close} [close] */
  #finish(reason, error, close) {
    if (this.#state === "left") return;
    this.#ended.abort();
    this.#signaling?.close();
    this.#discovery.clear();
    for (const pending of [...this.#pendingPeers.values()]) pending.close("left");
    for (const peer of this.#peers.values()) {
      peer.sendControl({ bye: true });
      setTimeout(() => peer.close("left"), FLUSH_TIME);
    }
    this.#peers.clear();
    this.#streams.clear();
    this.#setState("left", reason, close);
    this.#rejectJoined(error);
  }

  /**
   * Waits for `ms`, at most until the group is left or one of `others` settles.
   *
   * @param {number} ms @param {Promise<unknown>[]} others
   */
  async #sleep(ms, ...others) {
    const elapsed = new Notify();
    const wake = () => elapsed.notifyAll();
    const timer = setTimeout(wake, this.#ended.signal.aborted ? 0 : ms);
    this.#ended.signal.addEventListener("abort", wake);
    await Promise.race([elapsed.notified(), ...others]);
    clearTimeout(timer);
    this.#ended.signal.removeEventListener("abort", wake);
  }
}

/**
 * @typedef {object} PeerEvents Callbacks of a `Peer`.
 * @property {(body: Partial<Signal>) => void} signal sends a signal over the route while no data channel is open
 * @property {() => boolean} polite whether this peer yields when both change the media at once
 * @property {() => (number | null)[][]} near the ids and round-trip times of this side's neighbours
 * @property {() => boolean} owned whether the other peer may have its id, now that its fingerprint is proven
 * @property {() => void} opened
 * @property {() => void} pathChanged
 * @property {(reason: CloseReason, wasOpen: boolean) => void} closed
 * @property {(message: any) => void} control
 * @property {(data: string | ArrayBuffer) => void} message
 * @property {(stream: MediaStream) => void} stream
 */

/**
 * The connection to one other peer: first pending, then open, then closed.
 *
 * It has two data channels, so that a long message delays neither pings nor relayed signals.
 */
class Peer {
  /** Resolves when the connection opens, or with the reason why it failed. @type {Promise<CloseReason | undefined>} */
  settled;
  /** As the peer announced them. @type {{ id: number, roundTripTime: number | undefined }[]} */
  neighbours = [];
  /** In milliseconds, smoothed. @type {number | undefined} */
  roundTripTime;
  /** @type {Path} */
  path;
  /** Of the other peer's certificate. Proven when the connection is open. It never changes. @type {string} */
  fingerprint = "";
  /** Whether the other peer named neighbours with its description. */
  hasNeighbours = false;
  /** The neighbour that relayed its signals; `undefined` if the hub did. @type {number | undefined} */
  relay;
  /** What this neighbour may send. Bursts are for groups that form at once. */
  limits = { near: new RateLimit(1, 3), signals: new RateLimit(100, 200), offers: new RateLimit(4, 32) };

  /** @type {"pending" | "open" | "closed"} */ #state = "pending";
  /** @type {(reason?: CloseReason) => void} */ #settle = () => {};
  #openedAt = 0;
  #rtc;
  #control;
  #data;
  #events;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #deadline;
  #answered = false;
  /** Resolves when the ICE servers are set. Descriptions wait for it: the first local one starts to use them. */
  #ready;

  /**
   * @param {number} id 0 if it is not known yet
   * @param {number} negotiationId
   * @param {boolean} initiator whether this side makes the offer
   * @param {RTCConfiguration} configuration
   * @param {Promise<RTCIceServer[]> | undefined} iceServers in place of those of `configuration`
   * @param {PeerEvents} events
   */
  constructor(id, negotiationId, initiator, configuration, iceServers, events) {
    this.id = id;
    this.negotiationId = negotiationId;
    this.initiator = initiator;
    this.#events = events;
    this.settled = new Promise((resolve) => (this.#settle = resolve));

    const rtc = new RTCPeerConnection(configuration);
    this.#rtc = rtc;
    rtc.onnegotiationneeded = () => this.#offer();
    rtc.onicecandidate = ({ candidate }) => candidate && this.#signal({ candidate: candidate.toJSON() });
    rtc.onconnectionstatechange = () => rtc.connectionState === "failed" && this.#fail();
    rtc.ontrack = ({ streams: [stream] }) => stream && this.#onTrack(stream);

    this.#control = this.#createChannel("control", 0);
    this.#control.onmessage = ({ data }) => this.#onControl(data);
    this.#data = this.#createChannel("data", 1);
    this.#data.onmessage = ({ data }) => this.#onData(data);
    this.#data.bufferedAmountLowThreshold = LOW_WATER_BYTES;

    this.#ready = this.#prepare(configuration, iceServers);
  }

  /** @param {RTCConfiguration} configuration @param {Promise<RTCIceServer[]> | undefined} servers */
  async #prepare(configuration, servers) {
    // Not before later offers: another configuration would make a change of the media restart ICE. TURN servers keep
    // the allocations of an open connection after its credentials have expired.
    const iceServers = await servers;
    if (this.#state !== "pending") return;
    if (iceServers) this.#rtc.setConfiguration({ ...configuration, iceServers });
    const deadline = performance.now() + CONNECT_TIMEOUT;
    // The route may have ended already, which sets a shorter one.
    this.#deadline ??= setTimeout(
      () => {
        if (!this.#answered) return this.close("peer-timeout");
        this.#deadline = setTimeout(() => this.close("ice-failed"), deadline - performance.now());
      },
      this.initiator ? ANSWER_TIMEOUT : CONNECT_TIMEOUT,
    );
  }

  /** Milliseconds since the connection opened. */
  get age() {
    return performance.now() - this.#openedAt;
  }

  /** Both sides create the same channels, so no negotiation is needed. @param {string} label @param {number} id */
  #createChannel(label, id) {
    const channel = this.#rtc.createDataChannel(label, { negotiated: true, id });
    channel.binaryType = "arraybuffer";
    channel.onopen = () => this.#open();
    channel.onclose = () => this.#fail();
    return channel;
  }

  #open() {
    if (this.#state !== "pending") return;
    if (this.#control.readyState !== "open" || this.#data.readyState !== "open") return;
    if (this.id === 0) return this.close("ice-failed");
    if (!this.#events.owned()) return this.close("same-id");
    this.#state = "open";
    this.#openedAt = performance.now();
    clearTimeout(this.#deadline);
    this.#watchPath();
    this.#events.opened();
    this.#settle();
  }

  /** @param {CloseReason} [reason] of an open connection */
  #fail(reason = "lost") {
    this.close(this.#state === "open" ? reason : "ice-failed");
  }

  /** @param {CloseReason} reason */
  close(reason) {
    if (this.#state === "closed") return;
    const wasOpen = this.#state === "open";
    this.#state = "closed";
    clearTimeout(this.#deadline);
    this.#nearThrottle.cancel();
    this.#rtc.close();
    this.#sendable.notifyAll();
    this.#events.closed(reason, wasOpen);
    this.#settle(reason);
  }

  // ---- Negotiation --------------------------------------------------------------------------------------------------
  // The first offer and answer use the route. All later ones (media) use the control channel and follow "perfect
  // negotiation" of the WebRTC specification: either side may offer at any time, and the impolite side wins.

  #makingOffer = false;
  #settingAnswer = false;

  async #offer() {
    if (this.#state === "pending" && !this.initiator) return;
    try {
      this.#makingOffer = true;
      await this.#ready;
      await this.#rtc.setLocalDescription();
      this.#signal({ description: this.#rtc.localDescription?.toJSON() });
    } catch {
      this.#fail();
    } finally {
      this.#makingOffer = false;
    }
  }

  /** Handles a signal from the route. After the connection is open, only candidates still arrive by it. */
  receive(/** @type {Signal} */ { reject, members, description, candidate }) {
    this.#answered = true;
    this.hasNeighbours ||= members !== undefined && members.length > 0;
    // Later descriptions and rejections are not from the other peer, which uses the control channel by now.
    if (this.#state !== "pending") description = reject = undefined;
    if (reject !== undefined) this.close(readReject(reject));
    else this.#negotiate({ description, candidate });
  }

  /** @param {{ description?: RTCSessionDescriptionInit, candidate?: RTCIceCandidateInit }} body */
  #negotiate({ description, candidate }) {
    if (description) {
      this.#receiveDescription(description).catch(() => this.#fail());
    } else if (candidate) {
      if (this.#rtc.remoteDescription) this.#addCandidate(candidate);
      else if (this.#earlyCandidates.length < MAX_EARLY_CANDIDATES) this.#earlyCandidates.push(candidate);
    }
  }

  /** Candidates that arrived before their description. @type {RTCIceCandidateInit[]} */
  #earlyCandidates = [];

  /** @param {RTCIceCandidateInit} candidate */
  #addCandidate(candidate) {
    // A candidate of an ignored offer, or one that the browser rejects, does not prevent a connection by others.
    this.#rtc.addIceCandidate(candidate).catch(() => {});
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #receiveDescription(description) {
    const rtc = this.#rtc;
    // The browser verifies the certificate when it connects. Nobody can change it afterwards.
    const fingerprint = readFingerprint(description);
    if (!fingerprint || fingerprint !== (this.fingerprint ||= fingerprint)) return this.#fail("invalid");
    await this.#ready;
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
    if (this.#state === "pending") this.#events.signal(body);
    else this.sendControl(body);
  }

  /** Handles the end of the route: the other side either opened the connection or gave up. */
  routeEnded() {
    if (this.#state !== "pending") return;
    clearTimeout(this.#deadline);
    if (!this.#answered) return this.close("ended");
    this.#deadline = setTimeout(() => this.close("ended"), CONNECT_TIMEOUT_AFTER_END);
  }

  // ---- Media --------------------------------------------------------------------------------------------------------

  /** @param {MediaStream} stream @param {MediaStreamTrack[]} tracks */
  addTracks(stream, tracks) {
    for (const track of tracks) {
      // `addTrack` throws on a closed connection, and for a track that two streams share.
      const canAdd = this.#state === "open" && !this.#rtc.getSenders().some((sender) => sender.track === track);
      if (canAdd) this.#rtc.addTrack(track, stream);
    }
  }

  /** @param {MediaStreamTrack[]} tracks */
  removeTracks(tracks) {
    if (this.#state !== "open") return;
    for (const sender of this.#rtc.getSenders()) {
      if (sender.track && tracks.includes(sender.track)) this.#rtc.removeTrack(sender);
    }
  }

  /** Ids of the streams that were reported and still have tracks. @type {Set<string>} */
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

  /** Counts pings instead of measuring time: after a tab was suspended, elapsed time does not mean a lost neighbour. */
  ping() {
    if (this.#missedPings++ >= MAX_MISSED_PINGS) return this.close("lost");
    if (this.#pathChecks-- > 0) this.#updatePath();
    this.sendControl({ ping: performance.now() });
  }

  /** @param {object} message */
  sendControl(message) {
    if (this.#control.readyState !== "open") return;
    try {
      this.#control.send(JSON.stringify(message));
    } catch {
      // The buffer of this channel only overflows if the other side no longer reads.
      this.#fail();
    }
  }

  /** Two at once, because a peer may join right after a regular list. */
  #nearThrottle = new Throttle(new RateLimit(1, 2), () => this.sendControl({ near: this.#events.near() }));

  /** Sends the list of neighbours, on average once per second at most. */
  announceNeighbours() {
    this.#nearThrottle.request();
  }

  /** @param {unknown} text untrusted */
  #onControl(text) {
    this.#open(); // a message may arrive before the channel's open event
    if (typeof text !== "string" || text.length > MAX_CONTROL_LENGTH) return this.#fail("invalid");
    const message = readJson(text);
    if (!message || this.#state !== "open") return;
    this.#missedPings = 0;
    if (typeof message.ping === "number") this.sendControl({ pong: message.ping });
    else if (typeof message.pong === "number") this.#updateRoundTripTime(performance.now() - message.pong);
    else if (message.description || message.candidate) this.#negotiate(message);
    else this.#events.control(message);
  }

  /** @param {number} sample */
  #updateRoundTripTime(sample) {
    if (!(sample >= 0)) return;
    const average = this.roundTripTime ?? sample;
    this.roundTripTime = average + (sample - average) / 4;
  }

  // ---- The path -----------------------------------------------------------------------------------------------------

  #pathChecks = 0;

  #watchPath() {
    const transport = this.#rtc.sctp?.transport?.iceTransport;
    // Firefox does not report changes: check at every ping.
    const reports = transport && "onselectedcandidatepairchange" in transport;
    const changed = () => {
      this.#pathChecks = reports ? MAX_PATH_CHECKS : Infinity;
      this.#updatePath();
    };
    if (reports) transport.onselectedcandidatepairchange = changed;
    changed();
  }

  async #updatePath() {
    const path = await this.#rtc.getStats().then(readPath).catch(() => undefined);
    if (path === undefined || path === this.path || this.#state !== "open") return;
    this.path = path;
    this.#events.pathChanged();
  }

  // ---- The data channel: pieces of messages, each with one byte of flags in front -----------------------------------

  /** Notified when the data channel's buffer is low again, and when the peer is closed. */
  #sendable = new Notify();
  /** Settles when the previous message is sent. @type {Promise<unknown>} */ #sent = Promise.resolve();
  /** @type {Uint8Array[]} */ #pieces = [];
  #piecesBytes = 0;

  /** @param {Uint8Array} bytes @param {boolean} isText @returns {Promise<boolean>} whether the channel accepted all */
  send(bytes, isText) {
    const sent = this.#sent.then(() => this.#transmit(bytes, isText)).catch(() => false);
    this.#sent = sent;
    return sent;
  }

  /** @param {Uint8Array} bytes @param {boolean} isText */
  async #transmit(bytes, isText) {
    this.#data.onbufferedamountlow = () => this.#sendable.notifyAll();
    for (let start = 0, end = 0; ; start = end) {
      while (this.#state === "open" && this.#data.bufferedAmount > HIGH_WATER_BYTES) await this.#sendable.notified();
      if (this.#state !== "open") return false;
      end = Math.min(start + CHUNK_BYTES, bytes.length);
      const piece = new Uint8Array(1 + end - start);
      piece[0] = (isText ? PieceFlag.TEXT : 0) | (end === bytes.length ? PieceFlag.LAST : 0);
      piece.set(bytes.subarray(start, end), 1);
      this.#data.send(piece);
      if (end === bytes.length) return true;
    }
  }

  /** @param {unknown} data untrusted */
  #onData(data) {
    this.#open(); // a message may arrive before the channel's open event
    if (this.#state !== "open" || !(data instanceof ArrayBuffer) || data.byteLength === 0) return;
    const piece = new Uint8Array(data);
    const flags = piece[0] ?? 0;
    const isLast = (flags & PieceFlag.LAST) !== 0;
    const length = piece.length - 1;
    this.#missedPings = 0;
    this.#piecesBytes += length;
    // Without this rule, a message could have any number of empty pieces.
    const isFull = length === CHUNK_BYTES || (isLast && length < CHUNK_BYTES);
    if (!isFull || this.#piecesBytes > MAX_MESSAGE_BYTES) return this.close("invalid");
    this.#pieces.push(piece.subarray(1));
    if (!isLast) return;
    const bytes = concat(this.#pieces, this.#piecesBytes);
    this.#pieces = [];
    this.#piecesBytes = 0;
    this.#events.message(flags & PieceFlag.TEXT ? new TextDecoder().decode(bytes) : bytes.buffer);
  }
}

const PieceFlag = Object.freeze({ TEXT: 1, LAST: 2 });

/** Close codes of the connection to the hub that this client distinguishes. */
const CloseCode = Object.freeze({
  PROTOCOL_ERROR: 1002,
  POLICY: 1008,
  TOO_BIG: 1009,
  HUB_TIMEOUT: 3000, // used by this client only
  EXPIRED: 4740,
  HEARTBEAT: 4742,
  BLOCKING_MEMBER: 4744,
});

/**
 * Returns whether the hub would close the next connection with the same code: its own codes for a fault of this client,
 * and all codes of the app. Limits that pass by themselves close with 1013.
 *
 * @param {number} code
 */
function isFinal(code) {
  const { PROTOCOL_ERROR, POLICY, TOO_BIG, HEARTBEAT, BLOCKING_MEMBER } = CloseCode;
  return code >= 4000
    ? code !== HEARTBEAT && code !== BLOCKING_MEMBER
    : code === PROTOCOL_ERROR || code === POLICY || code === TOO_BIG;
}

/** One WebSocket to the hub. It ends when it closes, fails to open, or the hub misses its heartbeats. */
class Signaling {
  /** Resolves with `true` when the socket opens, or with `false` if it does not. @type {Promise<boolean>} */
  opened;
  /** Resolves with the code and the reason, never before `opened` resolves. @type {Promise<Close>} */
  closed;
  isOpen = false;
  /** Whether the hub has answered a `connect`: it has admitted this peer. */
  isAccepted = false;

  #socket;
  /** @type {(opened: boolean) => void} */ #resolveOpened = () => {};
  /** @type {(close: Close) => void} */ #resolveClosed = () => {};
  /** Receives the answer to `connect`. @type {((isMember: boolean) => void) | undefined} */ #resolveAnswer;
  #timers = { open: 0, heartbeat: 0, answer: 0 };
  #missedHeartbeats = 0;
  #lastHeartbeat = 0;
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
    socket.onclose = ({ code, reason }) => this.#end({ code, reason });
    this.#timers.open = setTimeout(() => this.close(CloseCode.HUB_TIMEOUT), HUB_TIMEOUT);
  }

  #onOpen() {
    clearTimeout(this.#timers.open);
    this.isOpen = true;
    this.#timers.heartbeat = setInterval(() => {
      if (++this.#missedHeartbeats >= MAX_MISSED_HEARTBEATS) this.close(CloseCode.HUB_TIMEOUT);
      else this.#sendHeartbeat();
    }, HEARTBEAT_INTERVAL);
    this.#resolveOpened(true);
  }

  #sendHeartbeat() {
    this.#lastHeartbeat = performance.now();
    this.#send({ heartbeat: true });
  }

  /** @param {unknown} data */
  #onMessage(data) {
    const message = data instanceof ArrayBuffer ? decode(new Uint8Array(data)) : undefined;
    if (!message) return;
    if (message.heartbeat !== undefined) {
      this.#missedHeartbeats = 0;
      // Browsers throttle the timers of a hidden tab to one per minute, but not the messages that it receives.
      if (performance.now() - this.#lastHeartbeat > HEARTBEAT_INTERVAL * 1.2) this.#sendHeartbeat();
    } else if (message.connected !== undefined) {
      this.isAccepted = true;
      this.#resolveAnswer?.(message.connected);
    } else if (message.content) {
      this.#oncontent(message.content);
    }
  }

  /**
   * Sends `connect` and waits for the answer.
   *
   * @param {number} id @param {number[]} members
   * @returns {Promise<boolean | undefined>} whether this peer is a member; `undefined` if the socket closed
   */
  async connect(id, members) {
    const answer = new Promise((/** @type {(isMember: boolean) => void} */ resolve) => (this.#resolveAnswer = resolve));
    this.#timers.answer = setTimeout(() => this.close(CloseCode.HUB_TIMEOUT), HUB_TIMEOUT);
    this.#send({ connect: { id, members } });
    const isMember = await Promise.race([answer, this.closed.then(() => undefined)]);
    clearTimeout(this.#timers.answer);
    return isMember;
  }

  /**
   * Returns the route over a link to a joiner, or (0) to the member that this peer is bound to.
   *
   * @param {number} recipientId
   * @returns {Route}
   */
  route(recipientId) {
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

  /** Does not wait for the close handshake: the hub may be unresponsive. @param {number} [code] */
  close(code = 1000) {
    this.#socket.close(code);
    this.#end({ code, reason: "" });
  }

  /** @param {Close} close */
  #end(close) {
    this.isOpen = false;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    clearTimeout(this.#timers.open);
    clearTimeout(this.#timers.answer);
    clearInterval(this.#timers.heartbeat);
    this.#resolveOpened(false);
    this.#resolveClosed(close);
  }
}

// ---- ICE servers ----------------------------------------------------------------------------------------------------

/**
 * The ICE servers of new connections. Asks for them when a connection needs them, and keeps them until shortly before
 * they expire. Never rejects: without an answer, or with an invalid one, the list is empty.
 */
class IceServerCache {
  #request;
  #retryAfter;
  /** @type {Promise<RTCIceServer[]>} */ #servers = Promise.resolve([]);
  /** On the clock of `Date`, which counts the time that a computer sleeps. */
  #expiry = 0;
  #failed = false;

  /**
   * @param {(signal: AbortSignal) => Promise<IceServers>} request
   * @param {number} [retryAfter] how long the empty list of a failed request is kept, in milliseconds
   */
  constructor(request, retryAfter = 0) {
    this.#request = request;
    this.#retryAfter = retryAfter;
  }

  /** Resolves within 3 s. Connections that need the servers at the same time share one request. */
  get() {
    if (Date.now() >= this.#expiry) {
      this.#expiry = Infinity;
      this.#servers = this.#load();
    }
    return this.#servers;
  }

  /** Asks now if the servers have expired or the last request failed. */
  refresh() {
    if (this.#failed) this.#expiry = 0;
    this.get();
  }

  async #load() {
    this.#failed = false;
    try {
      const { iceServers, keepFor } = readIceServers(await withTimeout(ICE_SERVERS_TIMEOUT, this.#request));
      this.#expiry = Date.now() + keepFor;
      return iceServers;
    } catch {
      this.#failed = true;
      this.#expiry = Date.now() + this.#retryAfter;
      return [];
    }
  }
}

/**
 * Asks the hub for ICE servers: a GET on the URL of the socket. Browsers send cookies with it only if the hub has the
 * page's own origin. They would hide an answer for all origins (`*`) from a request with cookies.
 *
 * @param {string} url @param {AbortSignal} signal
 */
async function fetchIceServers(url, signal) {
  const response = await fetch(url.replace(/^ws/, "http"), { headers: { Accept: "application/json" }, signal });
  if (response.ok) {
    const { iceServers, ttl } = await response.json();
    return { iceServers, ttl };
  }
  // 426: the hub has no ICE servers. Other rejections may be temporary.
  return { iceServers: [], ttl: response.status === 426 ? Infinity : 30 };
}

// ---- The wire format ------------------------------------------------------------------------------------------------

/**
 * @typedef {{ senderId: number, recipientId: number, lastData: boolean, data: Uint8Array }} Content
 *
 * Exactly one field is set.
 * @typedef {object} Message
 * @property {boolean} [heartbeat]
 * @property {Content} [content]
 * @property {{ id: number, members: number[] }} [connect]
 * @property {boolean} [connected]
 */

const VARINT = 0;
const BYTES = 2;

/** Encodes one message as protobuf. @param {Message} message @returns {Uint8Array<ArrayBuffer>} */
export function encode({ heartbeat, content, connect, connected }) {
  const out = new Writer();
  if (heartbeat !== undefined) out.uint32(1, Number(heartbeat));
  else if (content) {
    const { senderId, recipientId, lastData, data } = content;
    const inner = new Writer().nonZero(1, senderId).nonZero(2, recipientId).nonZero(3, Number(lastData));
    out.bytes(2, (data.length ? inner.bytes(4, data) : inner).finish());
  } else if (connect) {
    const members = new Writer();
    for (const id of connect.members) members.varint(id);
    const inner = new Writer().nonZero(1, connect.id);
    out.bytes(3, (connect.members.length ? inner.bytes(2, members.finish()) : inner).finish());
  } else if (connected !== undefined) out.uint32(4, Number(connected));
  return out.finish();
}

/**
 * Decodes one message. Returns `undefined` if the bytes are not a valid message. Unknown fields are skipped.
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
    if (number === 0) throw new RangeError("field number is 0; must be at least 1");
    if ((tag & 7) === VARINT) yield { number, value: reader.varint() };
    else if ((tag & 7) === BYTES) yield { number, value: reader.take(reader.varint()) };
    else if ((tag & 7) === 1) reader.take(8);
    else if ((tag & 7) === 5) reader.take(4);
    else throw new RangeError(`wire type is ${tag & 7}; must be 0, 1, 2 or 5`);
  }
}

class Reader {
  #position = 0;
  #bytes;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  get done() {
    return this.#position === this.#bytes.length;
  }

  /** Reads at most ten bytes and truncates the value to 32 bits, as protobuf requires. */
  varint() {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.take(1)[0] ?? 0;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new RangeError("varint is longer than 10 bytes");
  }

  /** @param {number} length */
  take(length) {
    const end = this.#position + length;
    if (end > this.#bytes.length) throw new RangeError("message is truncated");
    const taken = this.#bytes.subarray(this.#position, end);
    this.#position = end;
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

  /** Omits a zero, as proto3 does. @param {number} number @param {number} value */
  nonZero(number, value) {
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
  if (typeof value === "number") throw new TypeError("field is a number; must be bytes");
  return value;
}

/** @param {number | Uint8Array} value */
function asNumber(value) {
  if (typeof value !== "number") throw new TypeError("field is bytes; must be a number");
  return value;
}

// ---- Untrusted input from other peers -------------------------------------------------------------------------------

/** Parses JSON. Returns an object, or `undefined`. @param {unknown} text @returns {any} */
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
  const { from, to, negotiationId, members, description, candidate } = value ?? {};
  return (
    isId(from) &&
    from !== 0 &&
    isId(to) &&
    isId(negotiationId) &&
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
    .slice(0, MAX_NEIGHBOURS)
    .map((entry) => (Array.isArray(entry) ? entry : []))
    .filter(([id]) => isId(id) && id !== 0)
    .map(([id, roundTripTime]) => ({
      id,
      roundTripTime: typeof roundTripTime === "number" ? roundTripTime : undefined,
    }));
}

/** Throws if a browser would reject the list. Also returns how many milliseconds to keep it. @param {any} value */
function readIceServers(value) {
  const isList = Array.isArray(value);
  /** @type {{ iceServers: RTCIceServer[], ttl: number }} */
  const { iceServers, ttl } = isList ? { iceServers: value, ttl: 0 } : value;
  const urls = iceServers.flatMap((server) => server.urls).length;
  if (urls > MAX_ICE_URLS) throw new RangeError(`list has ${urls} ICE URLs; must be at most ${MAX_ICE_URLS}`);
  if (typeof ttl !== "number" || !(ttl >= 0)) throw new RangeError(`ttl is ${ttl}; must be a number of seconds`);
  new RTCPeerConnection({ iceServers }).close();
  // Renewed before the last tenth, so that they are valid until a connection has used them.
  const keepFor = Math.min(Math.max(ttl * 900, ICE_SERVERS_MIN_TTL), ICE_SERVERS_MAX_TTL);
  return { iceServers, keepFor: isList ? 0 : keepFor };
}

/** @param {RTCStatsReport} report @returns {Path} */
function readPath(report) {
  const stats = [...report.values()];
  const selectedId = stats.find((it) => it.selectedCandidatePairId)?.selectedCandidatePairId;
  // Firefox marks the pair instead.
  const pair = stats.find((it) => it.type === "candidate-pair" && (it.id === selectedId || it.selected === true));
  const types = [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => report.get(id)?.candidateType);
  return types.includes("relay") ? "relayed" : types.includes(undefined) ? undefined : "direct";
}

/**
 * Returns the fingerprint in a description: 32 bytes in upper-case hex, separated by colons. Returns `undefined` unless
 * all lines have the same one. Browsers accept a certificate that matches any line, so several would prove nothing.
 *
 * @param {RTCSessionDescriptionInit | undefined} description
 */
function readFingerprint(description) {
  const lines = String(description?.sdp).split(/[\r\n]+/).filter((line) => /fingerprint/i.test(line));
  const found = lines.map((line) => /^a=fingerprint:sha-256 ((?:[\da-f]{2}:){31}[\da-f]{2})$/i.exec(line)?.[1]);
  const [first, ...others] = new Set(found.map((fingerprint) => fingerprint?.toUpperCase()));
  return others.length === 0 ? first : undefined;
}

/** @type {CloseReason[]} */
const REJECTS = ["present", "glare", "same-id", "busy", "gone", "left", "peer-timeout", "ended"];

/** @param {unknown} reject @returns {CloseReason} */
function readReject(reject) {
  return REJECTS.find((it) => it === reject) ?? "ice-failed";
}

// ---- Discovery ------------------------------------------------------------------------------------------------------

/**
 * The ids that neighbours name and that this peer is not connected to, and when to attempt them.
 *
 * A neighbour can name peers that do not exist, so it has a limited number of places for its ids. Only ids with a place
 * are attempted, with a back-off. An id gives its place back when it is met. Otherwise it keeps the place for 30 s, even
 * if the neighbour no longer names it. So new ids cost no more attempts than old ones, and all ids get their turn.
 */
class Discovery {
  /** @type {Map<number, { tries: number, isDue: boolean, timer: number, placedAt: number }>} */ #ids = new Map();
  /** The ids that each neighbour names, and since when they have its places.
   * @type {Map<number, { named: Set<number>, places: Map<number, number> }>} */
  #neighbours = new Map();
  #firstDelay;
  #onDue;

  /** @param {(id: number) => number} firstDelay before the first attempt @param {() => void} onDue */
  constructor(firstDelay, onDue) {
    this.#firstDelay = firstDelay;
    this.#onDue = onDue;
  }

  /** Replaces the ids that a neighbour names. @param {number} neighbour @param {number[]} unmetIds */
  update(neighbour, unmetIds) {
    const now = performance.now();
    const named = new Set(unmetIds);
    const places = this.#neighbours.get(neighbour)?.places ?? new Map();
    this.#neighbours.set(neighbour, { named, places });
    for (const [id, since] of places) if (now - since >= PLACE_TIME) places.delete(id);
    const placedAt = (/** @type {number} */ id) => this.#ids.get(id)?.placedAt ?? 0;
    const waiting = [...named].filter((id) => !places.has(id)).sort((a, b) => placedAt(a) - placedAt(b));
    for (const id of waiting.slice(0, MAX_UNMET_IDS - places.size)) {
      places.set(id, now);
      const known = this.#ids.get(id);
      if (known) known.placedAt = now;
      else this.#ids.set(id, { tries: 0, isDue: false, timer: this.#wait(id, this.#firstDelay(id)), placedAt: now });
    }
    this.#forget();
  }

  /** The ids to attempt now, if a neighbour still names them. An id yields to ids that failed less often. */
  get due() {
    const neighbours = [...this.#neighbours.values()];
    return [...this.#ids]
      .filter(([id, { isDue }]) => isDue && neighbours.some(({ places }) => places.has(id)))
      .sort(([, a], [, b]) => a.tries - b.tries)
      .map(([id]) => id);
  }

  /** An attempt begins. @param {number} id */
  begin(id) {
    const known = this.#ids.get(id);
    if (!known) return;
    known.isDue = false;
    known.tries++;
  }

  /** An attempt failed. @param {number} id */
  retry(id) {
    const known = this.#ids.get(id);
    if (!known || known.isDue) return;
    clearTimeout(known.timer);
    known.timer = this.#wait(id, backOff(RETRY_MIN, RETRY_MAX, known.tries));
  }

  /** The id is met, or has left. @param {number} id */
  delete(id) {
    clearTimeout(this.#ids.get(id)?.timer);
    this.#ids.delete(id);
    for (const { named, places } of this.#neighbours.values()) {
      named.delete(id);
      places.delete(id);
    }
  }

  /** @param {number} neighbour */
  deleteNeighbour(neighbour) {
    this.#neighbours.delete(neighbour);
    this.#forget();
  }

  clear() {
    this.#neighbours.clear();
    this.#forget();
  }

  #forget() {
    const neighbours = [...this.#neighbours.values()];
    for (const [id, { timer }] of this.#ids) {
      if (neighbours.some(({ named, places }) => named.has(id) || places.has(id))) continue;
      clearTimeout(timer);
      this.#ids.delete(id);
    }
  }

  /** @param {number} id @param {number} ms */
  #wait(id, ms) {
    return setTimeout(() => {
      const known = this.#ids.get(id);
      if (known) known.isDue = true;
      this.#onDue();
    }, ms);
  }
}

// ---- Identities -----------------------------------------------------------------------------------------------------

/** The certificates of ids: the first peer that connects with an id owns it ("trust on first use"). */
class KnownIds {
  /** @type {Map<number, string>} */ #fingerprints = new Map();

  /** @param {number} id */
  get(id) {
    return this.#fingerprints.get(id);
  }

  /** Forgets the id that connected the longest time ago if there are too many. @param {number} id */
  set(id, /** @type {string} */ fingerprint) {
    this.#fingerprints.delete(id);
    this.#fingerprints.set(id, fingerprint);
    const [oldest] = this.#fingerprints.keys();
    if (oldest !== undefined && this.#fingerprints.size > MAX_KNOWN_IDS) this.#fingerprints.delete(oldest);
  }
}

function generateCertificate() {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", expires: CERTIFICATE_LIFETIME };
  return RTCPeerConnection.generateCertificate(algorithm);
}

// ---- Helpers --------------------------------------------------------------------------------------------------------

/** Wakes all current waiters on each notification. */
class Notify {
  /** @type {() => void} */ #resolve = () => {};
  /** @type {Promise<void> | undefined} */ #next;

  /** Resolves at the next notification. */
  notified() {
    return (this.#next ??= new Promise((resolve) => (this.#resolve = resolve)));
  }

  notifyAll() {
    this.#resolve();
    this.#next = undefined;
  }
}

/** A token bucket. */
class RateLimit {
  #rate;
  #burst;
  #tokens;
  #since = performance.now();

  /** @param {number} rate per second @param {number} burst at once */
  constructor(rate, burst) {
    this.#rate = rate;
    this.#burst = burst;
    this.#tokens = burst;
  }

  /** Takes one token. Returns whether there was one. */
  take() {
    const now = performance.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#since) / 1000) * this.#rate);
    this.#since = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Milliseconds until there is a token again, after `take` found none. */
  get delay() {
    return Math.ceil(((1 - this.#tokens) / this.#rate) * 1000);
  }
}

/** Calls a function as often as a rate limit allows. A request beyond the limit is served as soon as it allows it. */
class Throttle {
  #limit;
  #call;
  #timer = 0;

  /** @param {RateLimit} limit @param {() => void} call */
  constructor(limit, call) {
    this.#limit = limit;
    this.#call = call;
  }

  request() {
    if (this.#timer) return;
    if (this.#limit.take()) return this.#call();
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.request();
    }, this.#limit.delay);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }
}

/**
 * Returns the URL of a group: the key is one segment of the path, after the mount and before the query.
 *
 * @param {string | URL} base @param {string} key @param {boolean} [favored]
 */
export function groupUrl(base, key, favored) {
  if (typeof key !== "string") throw new TypeError(`key is of type ${typeof key}; must be a string`);
  const bytes = new TextEncoder().encode(key).length;
  if (bytes < 1 || bytes > MAX_KEY_BYTES) {
    throw new TypeError(`key is ${bytes} bytes; must be 1 to ${MAX_KEY_BYTES}`);
  }
  // URL parsers resolve these path segments, even when they are percent-encoded.
  if (key === "." || key === "..") throw new TypeError(`key is "${key}"; must not be a dot segment`);
  const url = new URL(base, globalThis.location?.href);
  url.protocol = url.protocol.replace(/^http/, "ws");
  url.pathname = `${url.pathname.replace(/\/$/, "")}/${encodeURIComponent(key)}`;
  url.hash = "";
  // The protocol uses a bare `favored`; `searchParams` would write `favored=`.
  if (favored) url.search += url.search ? "&favored" : "?favored";
  return url.href;
}

/**
 * Calls a function that may hang. Rejects with its error, or with a `TimeoutError` after `ms`.
 *
 * @template T
 * @param {number} ms @param {(signal: AbortSignal) => Promise<T>} call receives a signal that aborts after `ms`
 * @returns {Promise<T>}
 */
async function withTimeout(ms, call) {
  const deadline = new AbortController();
  const { signal } = deadline;
  const timer = setTimeout(() => deadline.abort(new DOMException(`No answer within ${ms} ms`, "TimeoutError")), ms);
  try {
    const late = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    return await Promise.race([call(signal), /** @type {Promise<never>} */ (late)]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string | ArrayBuffer | ArrayBufferView} data */
function toBytes(data) {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  throw new TypeError("message type is not supported; must be a string, an ArrayBuffer, a typed array or a DataView");
}

/** @param {Uint8Array[]} pieces @param {number} length */
function concat(pieces, length) {
  const whole = new Uint8Array(length);
  let position = 0;
  for (const piece of pieces) {
    whole.set(piece, position);
    position += piece.length;
  }
  return whole;
}

function drawUint32() {
  return /** @type {number} */ (crypto.getRandomValues(new Uint32Array(1))[0]);
}

function drawMemberId() {
  return FIRST_MEMBER_ID + (drawUint32() >>> 1);
}

/** Doubles with each failure up to a maximum, with jitter: peers that fail together must not retry together. */
function backOff(/** @type {number} */ min, /** @type {number} */ max, /** @type {number} */ failures) {
  return jitter(Math.min(max, min * 2 ** Math.min(failures, 16)));
}

/** Returns a random time from 50 % to 100 % of `ms`. @param {number} ms */
function jitter(ms) {
  return ms * (0.5 + Math.random() / 2);
}
