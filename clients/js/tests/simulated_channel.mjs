/** Data channels for `simulation.mjs`. */

export class Channel {
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
    this.#connection.network.later(() => this.open());
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
    const due = Math.max(this.#queue.at(-1)?.due ?? 0, Date.now() + this.#connection.network.delay());
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

  /** A message may arrive before the open event. The other negotiated channel is open by then in Chromium only. */
  precedeEvent() {
    if (!this.options.negotiated) this.open();
    else if (!this.#connection.opensInTurn) this.#connection.openNegotiated();
    else if (this.readyState === "connecting") this.readyState = "open";
  }

  /** The path works again. */
  flush() {
    if (this.#queue[0]?.due <= Date.now()) this.#connection.network.later(() => this.#deliver());
  }
}
