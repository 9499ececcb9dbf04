/** Tests that groups connect, and stay connected, whatever the order and the delays of their messages are. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import "./property_seed.mjs";
import { Group } from "../src/index.js";
import { settle } from "./fakes.mjs";
import { install, run, streamOf } from "./simulation.mjs";

/** How many random runs to make of each rule. */
const RUNS = Number(process.env.PROPERTY_RUNS ?? 25);

/** In milliseconds, for a rule and for the search for a small example of its failure. */
const LONGEST = Number(process.env.PROPERTY_TIME ?? 60_000);

const seed = fc.integer();
const delays = fc.constantFrom([1, 20], [1, 200], [1, 1_000], [500, 1_500]);
const time = (max) => fc.nat({ max }).map((it) => it - (it % 10));

/** @type {Group[]} */ let groups = [];

/** Runs the cases of a property one after another, each on a network of its own. */
async function check(...args) {
  const body = args.pop();
  let last;
  const property = fc.asyncProperty(seed, delays, ...args, async (seed, delays, ...values) => {
    const network = install(seed, delays);
    network.noticeTime = () => 500 + network.random() * 4_000;
    groups = [];
    last = body(network, ...values);
    // What the groups of this case do at once would use the random numbers of the next network.
    await last.finally(settle);
  });
  try {
    await fc.assert(property, { numRuns: RUNS, includeErrorInReport: true, interruptAfterTimeLimit: LONGEST });
  } finally {
    // The time limit abandons a case that is running. It would move the clock of the next test.
    await last.catch(() => {});
  }
}

function join(channels) {
  const group = new Group("wss://hub", "room", { iceServers: [], channels });
  group.left = [];
  group.addEventListener("peerleave", ({ peerId, reason }) => group.left.push(`${peerId} ${reason}`));
  groups.push(group);
  return group;
}

const isMeshed = () => groups.every(({ peers, state }) => peers.size === groups.length - 1 && state === "joined");
const pairs = () => groups.flatMap((a, index) => groups.slice(index + 1).map((b) => [a, b]));

/** Checks that each pair of groups has one open connection, and that no attempt is left. */
async function assertMeshed(network, within) {
  const states = () => groups.map(({ id, state, reason, peers }) => `${id} ${state} ${reason} ${[...peers.keys()]}`);
  assert(await run(within, isMeshed), `not meshed after ${within} ms: ${states().join(", ")}`);
  await run(20_000); // attempts end by their deadlines
  assert(isMeshed(), `not meshed any more: ${states().join(", ")}`);
  const open = network.connections.filter((it) => it.fingerprint && !it.isClosed);
  assert.equal(open.length, groups.length * (groups.length - 1));
  for (const it of open) {
    assert.equal(it.peer.peer, it);
    assert.equal(it.signalingState, "stable");
    assert.equal(it.iceConnectionState, "connected");
  }
}

after(() => run(1_000));

test("two groups that start at any two times end with one connection", () =>
  check(time(10_000), async (network, start) => {
    join();
    await run(start);
    join();
    await assertMeshed(network, 60_000);
  }));

test("groups that join at any times form a full mesh", () =>
  check(fc.array(time(5_000), { minLength: 2, maxLength: 4 }), async (network, starts) => {
    join();
    for (const start of starts) {
      await run(start);
      join();
    }
    await assertMeshed(network, 180_000);
  }));

/** Changes of the media: which group, which track, and whether it is added or removed. */
const changes = fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 2 }), time(1_500)), { maxLength: 10 });

/** Applies changes of the media at their times. Returns the tracks that each group sends in the end. */
async function change(changes, pause = run) {
  const streams = groups.map(({ id }) => [0, 1, 2].map((track) => streamOf(`${id}-${track}`)));
  const sent = groups.map(() => new Set());
  for (const [group, track, wait] of changes) {
    const stream = streams[group % groups.length][track];
    const tracks = sent[group % groups.length];
    if (tracks.delete(stream.id)) groups[group % groups.length].removeStream(stream);
    else {
      tracks.add(stream.id);
      groups[group % groups.length].addStream(stream);
    }
    await pause(wait);
  }
  return sent;
}

function assertReceived(network, sent) {
  for (const [a, b] of pairs()) {
    const connections = network.between(a, b);
    assert.equal(connections.length, 2);
    const received = connections.map((it) => [...it.received].sort());
    const expected = [a, b].map((it) => [...sent[groups.indexOf(it)]].sort());
    assert.deepEqual(new Set(received.map(String)), new Set(expected.map(String)));
  }
}

test("media that both sides change at any times arrive on both sides, without a restart", () =>
  check(changes, async (network, changes) => {
    join();
    join();
    await assertMeshed(network, 60_000);
    const sent = await change(changes);
    await run(40_000);
    assertReceived(network, sent);
    assert.equal(network.connections.reduce((sum, it) => sum + it.restarts, 0), 0);
    for (const group of groups) assert.deepEqual(group.left, []);
  }));

const cuts = fc.array(fc.tuple(fc.nat({ max: 2 }), fc.boolean(), time(20_000)), { minLength: 1, maxLength: 4 });

test("mesh whose paths are interrupted at any times is complete after they work again, with all media", () =>
  check(cuts, changes, async (network, cuts, changes) => {
    for (let size = 0; size < 3; size++) join();
    await assertMeshed(network, 120_000);
    let next = 0;
    const sent = await change(changes, async (wait) => {
      const [pair, restores, pause] = cuts[next++ % cuts.length];
      if (restores) network.restore();
      else network.cut(...pairs()[pair]);
      await run(wait + pause / 4);
    });
    for (const [pair, restores, pause] of cuts) {
      if (restores) network.restore();
      else network.cut(...pairs()[pair]);
      await run(pause);
    }
    network.restore();
    await assertMeshed(network, 180_000);
    await run(20_000);
    assertReceived(network, sent);
  }));

test("one interrupted path of three loses no connection, however long the messages take", () =>
  check(fc.nat({ max: 2 }), changes, async (network, pair, changes) => {
    for (let size = 0; size < 3; size++) join();
    await assertMeshed(network, 120_000);
    for (const group of groups) group.left.length = 0;
    const connections = network.between(...pairs()[pair]);
    network.cut(...pairs()[pair]);
    const sent = await change(changes);
    await run(30_000);
    assert.deepEqual(network.between(...pairs()[pair]), connections);
    for (const group of groups) assert.deepEqual(group.left, []);
    assertReceived(network, sent);
  }));
