/** Paths between tabs that a test can cut: a UDP proxy in front of every candidate. */

import { createSocket } from "node:dgram";

/** The paths of the tabs of one test. */
export class Paths {
  /** @type {{ cut: boolean, fragment: string, sockets: import("node:dgram").Socket[] }[]} */
  #proxies = [];
  /** The user fragments of the candidates that are cut. @type {Set<string>} */
  #cut = new Set();

  /** Call it before the page loads. */
  async install(page) {
    await page.exposeFunction("proxyTo", (...candidate) => this.#open(...candidate));
    await page.addInitScript(useProxies);
  }

  /** Cuts all paths of a tab to one peer, in both directions. After a restart of ICE, it has others. */
  async cut(tab, peerId) {
    const fragment = await tab.evaluate((id) => fragmentOf(mine.peers.get(id).connection), peerId);
    this.#cut.add(fragment); // candidates may still arrive
    for (const proxy of this.#proxies) if (proxy.fragment === fragment) proxy.cut = true;
  }

  /** Returns the port of a proxy to this address. */
  async #open(address, port, fragment) {
    const proxy = { cut: this.#cut.has(fragment), fragment, sockets: [] };
    /** One socket for each sender, which the receiver answers. */
    const senders = new Map();
    const front = await bind(proxy);
    front.on("message", async (packet, { address: from, port: fromPort }) => {
      const sender = `${from}:${fromPort}`;
      if (!senders.has(sender)) {
        const opened = bind(proxy).then((back) => {
          back.on("message", (answer) => proxy.cut || front.send(answer, fromPort, from));
          return back;
        });
        senders.set(sender, opened);
      }
      const back = await senders.get(sender);
      if (!proxy.cut) back.send(packet, port, address);
    });
    this.#proxies.push(proxy);
    return front.address().port;
  }

  /** Call it when the tabs are closed. */
  close() {
    for (const { sockets } of this.#proxies.splice(0)) for (const socket of sockets) socket.close();
    this.#cut.clear();
  }
}

async function bind(proxy) {
  const socket = createSocket("udp4");
  await new Promise((resolve) => socket.bind(0, resolve));
  socket.on("error", () => {}); // a closed port of a tab
  proxy.sockets.push(socket);
  return socket;
}

/** Replaces the candidates that a page adds. Runs in the page. */
function useProxies() {
  const { addIceCandidate, setRemoteDescription, restartIce } = RTCPeerConnection.prototype;
  globalThis.restarts = 0;
  globalThis.fragmentOf = ({ remoteDescription }) => /^a=ice-ufrag:(\S+)/m.exec(remoteDescription?.sdp)?.[1];
  RTCPeerConnection.prototype.restartIce = function () {
    restarts++;
    return restartIce.call(this);
  };
  RTCPeerConnection.prototype.addIceCandidate = async function (init) {
    const pattern = /^(candidate:\S+ \d+ udp \d+ )([\d.]+) (\d+)( .*)$/i;
    // The proxy listens on all addresses. Firefox makes no pair of a loopback address and another one.
    const [, before, address, port, after] = pattern.exec(init.candidate) ?? [];
    if (!address) return; // TCP or IPv6
    const proxy = await proxyTo(address, Number(port), / ufrag (\S+)/.exec(after)?.[1] ?? fragmentOf(this));
    return addIceCandidate.call(this, { ...init, candidate: `${before}${address} ${proxy}${after}` });
  };
  // An offer that is sent again contains candidates.
  RTCPeerConnection.prototype.setRemoteDescription = async function ({ type, sdp }) {
    await setRemoteDescription.call(this, { type, sdp: sdp.replace(/^a=candidate:.*\r\n/gm, "") });
  };
}
