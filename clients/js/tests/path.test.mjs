/** Tests how the package finds out whether a connection is direct or relayed. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Group } from "../src/index.js";
import { advance, install, joinWith, settle } from "./fakes.mjs";

const FIRST = 2 ** 31;

async function join() {
  const group = new Group("wss://hub/signal", "room", { iceServers: [] });
  await settle();
  return group;
}

beforeEach(install);

/** Returns statistics of a connection whose selected pair has candidates of these types, as Chromium or Firefox do. */
function stats(local, remote, firefox = false) {
  const entries = [
    { id: "other", type: "candidate-pair", localCandidateId: "relay", remoteCandidateId: "relay" },
    { id: "pair", type: "candidate-pair", localCandidateId: "l", remoteCandidateId: "r", selected: firefox },
    { id: "relay", type: "local-candidate", candidateType: "relay" },
    { id: "l", type: "local-candidate", candidateType: local },
    { id: "r", type: "remote-candidate", candidateType: remote },
  ];
  if (!firefox) entries.push({ id: "transport", type: "transport", selectedCandidatePairId: "pair" });
  return new Map(entries.map((entry) => [entry.id, entry]));
}

const PATHS = {
  "host host": "direct",
  "srflx prflx": "direct",
  "relay host": "relayed",
  "host relay": "relayed",
};
for (const [types, path] of Object.entries(PATHS)) {
  test(`path between candidates ${types} is ${path}, and its changes are events`, async () => {
    for (const firefox of [false, true]) {
      install();
      const group = await join();
      let events = 0;
      const connection = await joinWith(FIRST, (connection) => {
        const iceTransport = firefox ? {} : { onselectedcandidatepairchange: null };
        connection.sctp = { transport: { iceTransport } };
        connection.stats = stats(...types.split(" "), firefox);
      });
      assert.equal([...group.peers.values()][0].path, path);
      group.addEventListener("meshchange", () => events++);
      const [other, changed] = path === "direct" ? ["relay", "relayed"] : ["host", "direct"];
      connection.stats = stats(other, "host", firefox);
      if (firefox) await advance(2_000);
      else connection.sctp.transport.iceTransport.onselectedcandidatepairchange();
      await settle();
      assert.equal([...group.peers.values()][0].path, changed);
      assert.equal(events, 1);
    }
  });
}

test("path is unknown without a selected pair, and when statistics fail", async () => {
  for (const broken of [async () => new Map(), async () => Promise.reject(new Error("closed"))]) {
    install();
    const group = await join();
    await joinWith(FIRST, (connection) => (connection.getStats = broken));
    assert.equal([...group.peers.values()][0].path, undefined);
    await advance(4_000);
    assert.equal(group.peers.size, 1);
  }
});

test("candidate that was found before its signal arrived is checked again", async () => {
  const group = await join();
  const connection = await joinWith(FIRST, (connection) => {
    connection.sctp = { transport: { iceTransport: { onselectedcandidatepairchange: null } } };
    connection.stats = stats("host", "prflx");
  });
  assert.equal([...group.peers.values()][0].path, "direct");
  connection.stats = stats("host", "relay");
  await advance(2_000);
  assert.equal([...group.peers.values()][0].path, "relayed");
});

test("statistics are not read at every ping in a browser that reports changes", async () => {
  await join();
  let reads = 0;
  const connection = await joinWith(FIRST, (connection) => {
    connection.sctp = { transport: { iceTransport: { onselectedcandidatepairchange: null } } };
    connection.getStats = async () => (reads++, stats("host", "host"));
  });
  await advance(60_000);
  assert(reads > 1 && reads < 10, `${reads} reads`);
  assert(!connection.closed);
});
