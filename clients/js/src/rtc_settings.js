/**
 * What all connections of a group have in common: the app's settings, one certificate, and the ICE servers.
 *
 * @module
 */

import { fetchIceServers, IceServerCache } from "./ice_servers.js";
import { CERTIFICATE_LIFETIME, MAX_MAX_PEERS, MAX_PEERS, MAX_QUEUED_BYTES } from "./limits.js";
import { NamedChannels } from "./named_channels.js";
import { readFingerprint } from "./untrusted.js";

/** @import { ChannelOptions } from "./named_channels.js" */
/** @import { IceServers } from "./untrusted.js" */

/**
 * @typedef {object} SettingsOptions
 * @property {RTCIceServer[] | (() => IceServers | Promise<IceServers>)} [iceServers] `undefined`: of the hub
 * @property {RTCConfiguration} [rtcConfiguration]
 * @property {Record<string, ChannelOptions>} [channels]
 * @property {number} [maxPeers]
 * @property {number} [maxQueuedBytes]
 * @property {boolean | ((line: string) => void)} [debug]
 */

export class RtcSettings {
  /** For `new RTCPeerConnection`, without ICE servers that are not known yet. @type {RTCConfiguration} */
  configuration;

  /** Of this peer's certificate, when it is known. @type {string | undefined} */
  fingerprint;

  /** Of the app of this peer: a JSON value. @type {unknown} */ metadata;

  channels;
  maxPeers;
  maxQueuedBytes;
  log;
  /** The ICE servers, if they are not a constant list. @type {IceServerCache | undefined} */ #iceServers;
  #asksHub;
  /** The URL of the current socket. */
  #url = "";

  /** @param {SettingsOptions} options */
  constructor({ rtcConfiguration, iceServers = rtcConfiguration?.iceServers, ...options }) {
    this.channels = new NamedChannels(options.channels);
    this.maxPeers = options.maxPeers ?? MAX_PEERS;
    this.maxQueuedBytes = options.maxQueuedBytes ?? MAX_QUEUED_BYTES;
    const log = options.debug === true ? console.debug : options.debug;
    /** Reports a line for developers, which may contain ids and reasons, but no key and no address. */
    this.log = (/** @type {string} */ line) => {
      // Later, because a function of the app may throw.
      if (log) queueMicrotask(() => log(`sigver: ${line}`));
    };
    this.#asksHub = !iceServers;
    // Otherwise, Firefox opens a transport for each new kind of media, which fails while the path is interrupted.
    this.configuration = { bundlePolicy: "max-bundle", ...rtcConfiguration, iceServers: [] };
    if (!iceServers) this.#iceServers = new IceServerCache((signal) => fetchIceServers(this.#url, signal), Infinity);
    else if (typeof iceServers === "function") this.#iceServers = new IceServerCache(async () => iceServers());
    else this.configuration.iceServers = iceServers;
  }

  get isSupported() {
    return typeof RTCPeerConnection !== "undefined";
  }

  /** What this peer tells each other one, besides its version. */
  get hello() {
    const { names } = this.channels;
    return { metadata: this.metadata, channels: names.length ? names : undefined };
  }

  /** Throws if a number is out of range, or the browser would reject the configuration. */
  check() {
    checkRange("maxPeers", this.maxPeers, MAX_MAX_PEERS);
    this.channels.check();
    checkRange("maxQueuedBytes", this.maxQueuedBytes, Number.MAX_SAFE_INTEGER);
    if (this.isSupported) new RTCPeerConnection(this.configuration).close();
  }

  /** Generates the certificate, unless the app passed one. Await it before the first connection. */
  async prepare() {
    // The same for all connections, so that this peer can prove that its id is its own.
    const algorithm = { name: "ECDSA", namedCurve: "P-256", expires: CERTIFICATE_LIFETIME };
    this.configuration.certificates ??= [await RTCPeerConnection.generateCertificate(algorithm)];
    this.#readFingerprint().catch(() => {});
  }

  /** An offer has it. Firefox has no other way to read it. */
  async #readFingerprint() {
    const rtc = new RTCPeerConnection(this.configuration);
    rtc.createDataChannel("");
    try {
      this.fingerprint = readFingerprint(await rtc.createOffer());
    } finally {
      rtc.close();
    }
  }

  /** Asks the hub for ICE servers, unless the app passed some. @param {string} url of a socket that is about to open */
  askHub(url) {
    if (!this.#asksHub) return;
    this.#url = url;
    this.#iceServers?.refresh();
  }

  /** Returns the ICE servers in place of those of `configuration`. Resolves within 3 s. */
  iceServers() {
    return this.#iceServers?.get();
  }
}

/** @param {string} name @param {unknown} value @param {number} max */
function checkRange(name, value, max) {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= max) return;
  throw new TypeError(`${name} is ${value}; must be a whole number from 1 to ${max}`);
}
