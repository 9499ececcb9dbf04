/**
 * Runs a cluster of three servers under load, and kills, pauses and replaces its parts.
 *
 *     npm --prefix ../reference install --no-package-lock
 *     node faults.mjs [--server target/release/sigver] [--rounds 1] [--only WORDS] [--logs]
 *
 *     --only WORDS   only the faults whose name contains WORDS
 *     --logs         prints what the servers have logged, at the level of RUST_LOG
 *
 * Prints what the peers saw after each fault, and at the end `N passed, M failed`, where each round counts as one.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { Client, Tally } from "./client.mjs";
import { LIMITS, startCluster } from "./cluster.mjs";

const { values } = parseArgs({
  options: {
    server: { type: "string", default: "target/release/sigver" },
    rounds: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    logs: { type: "boolean", default: false },
  },
});

const GROUPS = 8;
const PEERS_PER_GROUP = 5;
/** The time until other nodes know that a node is dead, and have told the peers. */
const DEATH = 14_000;
/** After the last time that its node has read an inbox. */
const MAX_INBOX_TTL = 60_000;
/** After the last beat of any node. */
const MAX_NODES_TTL = 48 * 3600_000;

/** Each with the codes that may close a peer because of it. */
const faults = [
  {
    name: "no fault",
    closes: [],
    run: () => sleep(6_000),
  },
  {
    name: "a server is killed",
    closes: [1006],
    async run({ servers }) {
      await servers[0].kill();
      await sleep(DEATH);
      await servers[0].start();
    },
  },
  {
    name: "a server is paused for 15 s",
    // Joiners evict an only member that does not respond. A connect to the server waits for at most 15 s.
    closes: [4744, 1013],
    async run({ servers }) {
      servers[1].signal("SIGSTOP");
      await sleep(15_000);
      servers[1].signal("SIGCONT");
      await sleep(4_000);
    },
  },
  {
    name: "Redis is killed and starts empty 3 s later",
    // A peer may found its group again before the members have returned to the list.
    closes: [4744],
    async run({ redis }) {
      await redis.kill();
      await sleep(3_000);
      await redis.start();
      await sleep(4_000);
    },
  },
  {
    name: "Redis is paused for 8 s",
    // Joiners evict an only member whose content does not arrive.
    closes: [4744],
    async run({ redis }) {
      redis.signal("SIGSTOP");
      await sleep(8_000);
      redis.signal("SIGCONT");
      await sleep(4_000);
    },
  },
  {
    name: "all servers are drained and replaced in turn",
    closes: [1001],
    async run({ servers }) {
      for (const server of servers) {
        const [code] = await server.stop();
        if (code !== 0) throw new Error(`a drained server exited with ${code}; output: ${server.output}`);
        await server.start();
        await sleep(1_000);
      }
    },
  },
];

/** Runs all faults, one after the other, and returns what violated a rule. */
async function round() {
  const tally = new Tally();
  const cluster = await startCluster({ command: values.server, options: [...LIMITS, "--drain-timeout", "3s"] });
  const base = `ws://${cluster.balancer.address}`;
  const client = (_, n) => new Client(base, `group-${n % GROUPS}`, tally);
  const clients = Array.from({ length: GROUPS * PEERS_PER_GROUP }, client);
  for (const { name, closes, run } of faults) {
    if (name !== "no fault" && !name.includes(values.only)) continue;
    const before = { ...tally.counts };
    await run(cluster);
    const counts = Object.entries(tally.counts).map(([what, count]) => [what, count - (before[what] ?? 0)]);
    const changed = counts.filter(([, count]) => count > 0).map(([what, count]) => `${what} ${count}`);
    console.log(`${name}: ${changed.join(", ")}`);
    for (const [what, count] of counts) {
      const [, code] = /^closed with (\d+)$/.exec(what) ?? [];
      if (code && count && !closes.includes(Number(code))) tally.violation(`${name}: ${count} peers ${what}`);
    }
  }

  // All peers that remain are members, and know which links have ended.
  for (const client of clients) client.isStopping = true;
  await Promise.all(clients.map((client) => client.done));
  await sleep(2_000);
  await Promise.all(clients.filter(({ isMember }) => isMember).map((client) => client.connect([client.id])));
  await sleep(1_000);
  console.log(`live links at the end: ${tally.checkLinks()}`);
  const members = {};
  for (const { isMember, key } of clients) if (isMember) members[key] = (members[key] ?? 0) + 1;
  for (const [key, count] of Object.entries(members)) {
    const listed = await cluster.redis.memberCount(key);
    if (listed !== count) tally.violation(`${key} has ${count} members; its list has ${listed}`);
  }

  for (const { peer } of clients) peer?.ws.close(1000);
  await sleep(2_000);
  await checkKeys(cluster.redis, tally);
  cluster.balancer.stop();
  await Promise.all(cluster.servers.map((server) => server.stop()));
  await checkKeys(cluster.redis, tally);
  await cluster.redis.kill();
  for (const [number, { output }] of cluster.servers.entries()) {
    for (const line of output.match(/.*(panic|ERROR).*/g) ?? []) tally.violation(line);
    if (values.logs) console.log(`-- server ${number}\n${output}`);
  }

  const times = tally.answerTimes.sort((a, b) => a - b);
  const quantile = (q) => times[Math.floor(q * (times.length - 1))];
  console.log(`answers to connect: median ${quantile(0.5)} ms, 99 % ${quantile(0.99)} ms, maximum ${quantile(1)} ms`);
  return tally.violations;
}

/** Checks what is left in Redis without peers: the beats of the nodes, and their inboxes for a while. */
async function checkKeys(redis, tally) {
  const keys = await redis.keys();
  const shown = Object.entries(keys).map(([key, ttl]) => `${key} for ${Math.ceil(ttl / 1000)} s`);
  console.log(`keys in Redis without peers: ${shown.join(", ")}`);
  for (const [key, ttl] of Object.entries(keys)) {
    const max = key.endsWith(":nodes") ? MAX_NODES_TTL : key.endsWith(":inbox") ? MAX_INBOX_TTL : 0;
    if (ttl <= 0 || ttl > max) tally.violation(`Redis has ${key} for ${ttl} ms; must be at most ${max}`);
  }
}

let failed = 0;
for (let number = 1; number <= Number(values.rounds); number++) {
  console.log(`-- round ${number}`);
  const violations = await round();
  for (const violation of violations.slice(0, 20)) console.log(`    ${violation}`);
  if (violations.length) failed++;
}
console.log(`${values.rounds - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
