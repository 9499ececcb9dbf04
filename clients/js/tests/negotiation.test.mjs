/** Tests the offers, answers and candidates of one connection. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Negotiation } from "../src/negotiation.js";
import { fingerprintOf } from "./fakes.mjs";
import { install, run } from "./simulation.mjs";

const RELAY = { relay: 7 };

beforeEach(() => void install());

/** One end of a connection. Its offers and answers arrive at the other end, unless they are held back. */
class End {
  /** The descriptions that it sent. @type {{ by: "offer" | "answer", type: string, route?: object }[]} */ sent = [];
  failures = [];
  /** The candidates that were added. */ added = [];
  isPolite;
  route;
  /** @type {End} */ other;

  constructor(byte, isPolite) {
    this.isPolite = isPolite;
    this.rtc = new RTCPeerConnection({ certificates: [{ fingerprint: fingerprintOf(byte) }] });
    this.rtc.addIceCandidate = async ({ candidate }) => void this.added.push(candidate);
    this.negotiation = new Negotiation(this.rtc, Promise.resolve(), {
      signal: (body) => body.description && this.#send("offer", body),
      answer: (body, route) => this.#send("answer", body, route),
      mayOffer: () => true,
      isPolite: () => isPolite,
      failed: (...failure) => this.failures.push(failure),
    });
  }

  #send(by, body, route) {
    this.sent.push({ by, type: body.description.type, route });
    this.other.negotiation.receive(body, this.route);
  }

  receive(description, route = RELAY) {
    this.negotiation.receive({ description }, route);
  }

  candidate(candidate) {
    this.negotiation.receive({ candidate: { candidate } }, RELAY);
  }
}

/** Returns two ends that have negotiated once: an impolite and a polite one. */
async function connect() {
  const ends = [new End("AA", false), new End("BB", true)];
  [ends[0].other, ends[1].other] = [ends[1], ends[0]];
  ends[0].rtc.createDataChannel("control");
  assert(await run(1_000, () => ends.every(({ rtc }) => rtc.signalingState === "stable" && rtc.remoteDescription)));
  await run(100);
  for (const end of ends) end.sent.length = end.added.length = 0;
  return ends;
}

const sdp = (version, ufrag = "") =>
  `v=0\r\no=- 1 ${version} IN IP4 0.0.0.0\r\na=fingerprint:sha-256 ${fingerprintOf("AA")}\r\n${ufrag}`;
const offer = (version) => ({ type: "offer", sdp: sdp(version, `a=ice-ufrag:v${version}\r\n`) });
/** A description that the browser rejects. */
const broken = (version) => ({ type: "offer", sdp: sdp(version) });

for (const [name, change, isFirst] of [
  ["a change of the media", (a) => a.rtc.addTrack("screen"), true],
  ["a change of the media after an own one", (a) => a.rtc.addTrack("screen"), false],
  ["a restart", (a) => a.negotiation.restart(), true],
  ["a restart after an own change of the media", (a) => a.negotiation.restart(), false],
]) {
  test(`answer to an offer that waits for the ICE servers has the route of the offer: ${name}`, async () => {
    const [a, b] = await connect();
    let resolve;
    b.negotiation.ready = new Promise((done) => (resolve = done));
    a.route = b.route = RELAY;
    const steps = [() => change(a), () => b.rtc.addTrack("camera")];
    for (const step of isFirst ? steps : steps.reverse()) {
      step();
      await run(200);
    }
    assert.deepEqual(b.sent, []);
    resolve();
    await run(1_000);
    const answers = b.sent.filter(({ type }) => type === "answer");
    assert(answers.length > 0);
    for (const answer of answers) assert.deepEqual(answer, { by: "answer", type: "answer", route: RELAY });
    assert(b.sent.filter(({ type }) => type === "offer").every(({ by }) => by === "offer"), "no offer as an answer");
    assert.deepEqual(a.rtc.received, ["camera"]);
    assert.deepEqual([a, b].map(({ rtc }) => rtc.signalingState), ["stable", "stable"]);
    assert.deepEqual([a, b].flatMap(({ failures }) => failures), []);
  });
}

test("own change that yields to an offer is offered once, unless the answer makes that unnecessary", async () => {
  for (const [description, isNeeded] of [[broken(9), true], [offer(9), true], [offer(9), false]]) {
    install();
    const [a, b] = await connect();
    let resolve;
    b.negotiation.ready = new Promise((done) => (resolve = done));
    b.receive(description);
    const sender = b.rtc.addTrack("camera");
    await run(200);
    // Browsers do not fire the event again before the state is stable with another description.
    if (description.sdp === broken(9).sdp) b.rtc.onnegotiationneeded = null;
    if (!isNeeded) b.rtc.removeTrack(sender);
    a.negotiation.receive = () => {};
    resolve();
    await run(1_000);
    assert.equal(b.sent.filter(({ by, type }) => by === "offer" && type === "offer").length, isNeeded ? 1 : 0);
  }
});

test("first media of the polite side wait for an offer of the other side, so that no offers cross", async () => {
  const [a, b] = await connect();
  b.rtc.addTrack("camera");
  await run(400);
  a.rtc.addTrack("microphone");
  await run(2_000);
  assert.deepEqual(a.sent.map(({ type }) => type), ["offer", "answer"]);
  assert.deepEqual(b.sent.map(({ type }) => type), ["answer", "offer"]);
  assert.deepEqual([a.rtc.received, b.rtc.received], [["camera"], ["microphone"]]);
});

test("first media of the polite side are offered after 500 ms if the other side offers none, and later ones at once", async () => {
  const [a, b] = await connect();
  b.rtc.addTrack("camera");
  await run(450);
  assert.deepEqual(b.sent, []);
  assert(await run(200, () => a.rtc.received.includes("camera")));
  await run(100);
  b.rtc.addTrack("screen");
  assert(await run(200, () => a.rtc.received.includes("screen")));
});

test("failure names the route of the description", async () => {
  const [, b] = await connect();
  b.receive(broken(8));
  b.negotiation.receive({ description: broken(9) });
  b.receive({ type: "offer", sdp: "v=0\r\n" });
  await run(200);
  assert.deepEqual(b.failures, [[undefined, RELAY], [undefined, undefined], ["invalid", RELAY]]);
});

test("candidates that arrive after a rejected description are added at once, and earlier ones, too", async () => {
  const [, b] = await connect();
  b.receive(broken(9));
  b.candidate("during");
  assert.deepEqual(b.added, []);
  await run(200);
  assert.deepEqual(b.added, ["during"]);
  b.candidate("after");
  assert.deepEqual(b.added, ["during", "after"]);
});

test("candidates wait for the last description that has arrived", async () => {
  const [, b] = await connect();
  const { setRemoteDescription } = b.rtc;
  b.rtc.setRemoteDescription = async (description) => {
    await setRemoteDescription.call(b.rtc, description);
    b.added.push(description.sdp === offer(9).sdp ? "description" : "other");
  };
  b.receive(broken(8));
  b.receive(offer(9));
  b.candidate("of the last");
  await run(500);
  assert.deepEqual(b.added, ["description", "of the last"]);
});

test("version of a description that is rejected does not count", async () => {
  const [, b] = await connect();
  b.receive(broken(99));
  b.receive(offer(9));
  await run(500);
  assert.equal(b.failures.length, 1);
  assert.equal(b.rtc.remoteDescription.sdp, offer(9).sdp);
  b.receive(offer(8));
  await run(500);
  assert.equal(b.rtc.remoteDescription.sdp, offer(9).sdp, "the version of one that is set does");
});
