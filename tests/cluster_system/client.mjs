/**
 * Peers that behave as Netflux does, and that count: each `connect` gets one answer or a close, and the content of each
 * link arrives complete and in order while both ends are connected.
 */

import { setTimeout as sleep } from "node:timers/promises";

import { Peer, encode } from "../reference/lib.mjs";

/** A connect waits at most 15 s for Redis, after its server was paused for 15 s. */
const MAX_ANSWER_TIME = 40_000;
/** Netflux also asks for another member if it does not hear from its member for 2 s. */
const MEMBER_TIMEOUT = 2_000;
const MESSAGES_PER_JOIN = 5;

/** What all clients of a run have seen. */
export class Tally {
  counts = {};
  violations = [];
  answerTimes = [];
  /** A link by the number that its joiner gave it. It travels in each content. */
  links = new Map();

  count(what) {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  violation(what) {
    this.violations.push(what);
  }

  /** Checks all links with an end that is still connected. Returns the number of links whose ends both are. */
  checkLinks() {
    let live = 0;
    for (const { joiner, member } of this.links.values()) {
      const wrong = (what) => this.violation(`${what}: ${JSON.stringify({ joiner, member })}`);
      if (joiner.isReplaced) continue;
      const isLive = (end) => end?.isOpen && !end.hasEnded;
      if (isLive(joiner) && isLive(member)) {
        live++;
        if (joiner.sent !== member.received || member.sent !== joiner.received) wrong("content lost on a live link");
      } else if (isLive(joiner) && joiner.sent > 0) wrong("the joiner did not receive the end of its link");
      else if (isLive(member)) wrong("the member did not receive the end of its link");
    }
    return live;
  }
}

/** One end of a link. */
class End {
  sent = 0;
  received = 0;
  hasEnded = false;
  /** The socket is open. */
  isOpen = true;
  /** The joiner was bound to another member, which ends the link without notice. */
  isReplaced = false;

  constructor(peer, number) {
    Object.assign(this, { peer, number });
  }
}

let joins = 0;

/** A client that joins its group, stays for a while and leaves, again and again. */
export class Client {
  isStopping = false;
  isMember = false;

  constructor(base, key, tally) {
    Object.assign(this, { base, key, tally });
    this.done = this.#run();
  }

  async #run() {
    while (!this.isStopping) {
      await this.#join().catch((error) => this.tally.violation(`${this.key}: ${error.stack}`));
      await sleep(100 + Math.random() * 900);
    }
  }

  /** One connection. */
  async #join() {
    const { tally } = this;
    this.id = 2 ** 31 + Math.floor(Math.random() * 2 ** 31);
    const peer = new Peer(`${this.base}/${this.key}`);
    await peer.opened;
    if (peer.code !== null) return tally.count("refused");
    tally.count("opened");
    this.peer = peer;
    this.asMember = new Map();
    this.asJoiner = null;
    this.unanswered = 0;
    this.changed = () => {};
    peer.ws.on("message", () => this.#read());
    const heartbeats = setInterval(() => peer.send(encode({ heartbeat: true })), 5_000);
    peer.closed.then((code) => {
      clearInterval(heartbeats);
      this.isMember = false;
      this.#closed(code);
    });
    // Half of the peers stay while a server is paused or declared dead.
    const wants = Math.random() < 0.5 ? 2_000 + Math.random() * 4_000 : 30_000;
    const opened = Date.now();
    let known = [];
    while (peer.code === null && !(await this.connect(known)) && peer.code === null) known = await this.#talk();
    // A member asks again now and then, as Netflux does when a neighbour leaves. Its link stays.
    while (peer.code === null && !this.isStopping && Date.now() < opened + wants) {
      await Promise.race([sleep(200 + Math.random() * 400), peer.closed]);
      if (this.asJoiner && !this.asJoiner.hasEnded) this.#send(0, this.asJoiner);
      if (peer.code === null && Math.random() < 0.1) await this.connect([this.id], 1 + Math.floor(Math.random() * 3));
    }
    // At the end of a run, the members stay until their links are checked.
    if (this.isStopping || peer.code !== null) return;
    this.left = true;
    Math.random() < 0.5 ? peer.ws.close(1000) : peer.ws.terminate();
    await peer.closed;
  }

  /** Sends connects at once, and waits for all answers. Returns the last one, or undefined if the peer is closed. */
  async connect(members, times = 1) {
    const { peer, tally } = this;
    const sent = Date.now();
    this.unanswered = times;
    const answer = new Promise((resolve) => (this.answer = resolve));
    for (let n = 0; n < times; n++) {
      tally.count("connects");
      peer.send(encode({ connect: { id: this.id, members } }));
    }
    const late = new AbortController();
    const member = await Promise.race([answer, peer.closed, sleep(MAX_ANSWER_TIME, "late", late)]);
    late.abort();
    if (member === "late") {
      tally.violation(`${this.key}: no answer within ${MAX_ANSWER_TIME / 1000} s, and no close`);
      peer.ws.terminate();
      return undefined;
    }
    if (typeof member === "boolean") {
      tally.answerTimes.push(Date.now() - sent);
      this.isMember = member;
      return member;
    }
    for (let n = 0; n < this.unanswered; n++) tally.count("closes instead of an answer");
    return undefined;
  }

  /** Exchanges content with the member that this peer is bound to. Returns its id, or none if it does not respond. */
  async #talk() {
    const { peer } = this;
    const end = this.asJoiner;
    for (let n = 0; n < MESSAGES_PER_JOIN; n++) {
      this.#send(0, end);
      const deadline = Date.now() + MEMBER_TIMEOUT;
      while (end.received <= n) {
        const left = deadline - Date.now();
        if (left <= 0 || end.hasEnded || peer.code !== null) return [];
        await Promise.race([new Promise((resolve) => (this.changed = resolve)), sleep(left)]);
      }
    }
    return [end.memberId];
  }

  #send(recipientId, end) {
    const data = Buffer.from(JSON.stringify({ link: end.number, seq: end.sent++, id: this.id }));
    this.tally.count("contents sent");
    this.peer.send(encode({ content: { senderId: 0, recipientId, lastData: false, data } }));
  }

  #read() {
    for (const message of this.peer.take()) {
      if (message.type === "connected") this.#connected(message.connected);
      else if (message.type === "content") this.#content(message.content);
    }
    this.changed();
  }

  #connected(member) {
    if (!this.unanswered) return this.tally.violation(`${this.key}: an answer without a connect`);
    this.tally.count(member ? "answers true" : "answers false");
    if (!member) {
      if (this.asJoiner) this.asJoiner.isReplaced = true;
      this.asJoiner = new End(this.id, ++joins);
      this.tally.links.set(joins, { joiner: this.asJoiner });
    }
    if (--this.unanswered === 0) this.answer(member);
  }

  #content({ senderId, recipientId, data }) {
    const { tally } = this;
    const isJoiner = senderId === 0;
    if (data.length === 0) {
      const end = isJoiner ? this.asJoiner : this.asMember.get(senderId);
      // A member learns of a link by its first content.
      if (!end) return isJoiner && tally.violation(`${this.key}: the end of a link before the answer`);
      if (end.hasEnded) tally.violation(`${this.key}: a link ended twice`);
      end.hasEnded = true;
      return tally.count("ends");
    }
    const { link, seq, id } = JSON.parse(data.toString());
    if (!isJoiner && !this.asMember.has(senderId)) {
      const end = new End(this.id, link);
      this.asMember.set(senderId, end);
      tally.links.get(link).member = end;
    }
    const end = isJoiner ? this.asJoiner : this.asMember.get(senderId);
    if (!end) return tally.violation(`${this.key}: content ${link}/${seq} to ${recipientId} before the answer`);
    if (end.number !== link) return tally.violation(`${this.key}: content of link ${link} on link ${end.number}`);
    if (end.hasEnded) tally.violation(`${this.key}: content after the end of link ${link}`);
    if (seq !== end.received) tally.violation(`${this.key}: content ${seq} instead of ${end.received} on link ${link}`);
    end.received = seq + 1;
    end.memberId = id;
    tally.count("contents received");
    if (!isJoiner) this.#send(senderId, end);
  }

  #closed(code) {
    if (!this.left) this.tally.count(`closed with ${code}`);
    this.left = false;
    for (const end of [this.asJoiner, ...this.asMember.values()]) if (end) end.isOpen = false;
    this.changed();
  }
}
