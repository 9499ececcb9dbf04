/**
 * What all connections of a group have in common: the app's settings, one certificate, and the ICE servers.
 *
 * @module
 */

import { fetchIceServers, IceServerCache } from "./ice_servers.js";
import { CERTIFICATE_LIFETIME } from "./limits.js";

/** @import { IceServers } from "./untrusted.js" */

export class RtcSettings {
  /** For `new RTCPeerConnection`, without ICE servers that are not known yet. @type {RTCConfiguration} */
  configuration;

  /** The ICE servers, if they are not a constant list. @type {IceServerCache | undefined} */ #iceServers;
  #asksHub;
  /** The URL of the current socket. */
  #url = "";

  /**
   * @param {RTCConfiguration | undefined} rtcConfiguration
   * @param {RTCIceServer[] | (() => IceServers | Promise<IceServers>) | undefined} iceServers `undefined`: of the hub
   */
  constructor(rtcConfiguration, iceServers = rtcConfiguration?.iceServers) {
    this.#asksHub = !iceServers;
    this.configuration = { ...rtcConfiguration, iceServers: [] };
    if (!iceServers) this.#iceServers = new IceServerCache((signal) => fetchIceServers(this.#url, signal), Infinity);
    else if (typeof iceServers === "function") this.#iceServers = new IceServerCache(async () => iceServers());
    else this.configuration.iceServers = iceServers;
  }

  /** Throws if WebRTC is not available or would reject the configuration. */
  check() {
    if (typeof RTCPeerConnection === "undefined") {
      throw new DOMException("WebRTC is not available in this browser", "NotSupportedError");
    }
    new RTCPeerConnection(this.configuration).close();
  }

  /** Generates the certificate, unless the app passed one. Await it before the first connection. */
  async prepare() {
    // The same for all connections, so that this peer can prove that its id is its own.
    const algorithm = { name: "ECDSA", namedCurve: "P-256", expires: CERTIFICATE_LIFETIME };
    this.configuration.certificates ??= [await RTCPeerConnection.generateCertificate(algorithm)];
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
