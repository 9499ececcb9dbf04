#!/usr/bin/env node
/**
 * A cluster on this machine: Redis, three sigver servers, and a TCP balancer in front of them.
 *
 *     cluster.mjs [--server target/release/sigver] [-h HOST] [-p PORT] [OPTION VALUE]...
 *
 * Runs until it is killed. It passes all other options to the servers. It prints `Signaling server is listening on
 * HOST:PORT`, as a server does, so the suites for one server also run against a cluster. It needs Linux and Debian's
 * package redis-server.
 */

import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const START_TIMEOUT = 15_000;
const NAME = "system";
/** All peers have one client IP. */
export const LIMITS = ["--joins-per-second-per-ip", "4294967295", "--max-peers-per-ip", "100000"];

/** A process that dies with this one, and that can be started again. */
class Program {
  #child;

  constructor(command, argumentsOf) {
    Object.assign(this, { command, argumentsOf });
    this.output = "";
  }

  async start() {
    const args = ["--pdeathsig", "KILL", this.command, ...this.argumentsOf()];
    const child = spawn("setpriv", args, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.exited = once(child, "exit");
    const started = this.output.length;
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (this.output += data));
    const deadline = Date.now() + START_TIMEOUT;
    while (!(await this.hasStarted(this.output.slice(started)))) {
      if (Date.now() > deadline || child.exitCode !== null) {
        this.signal("SIGKILL");
        throw new Error(`setpriv ${args.join(" ")} did not start; output: ${this.output}`);
      }
      await sleep(20);
    }
  }

  signal(name) {
    this.#child.kill(name);
  }

  async kill() {
    this.signal("SIGKILL");
    await this.exited;
  }

  /** Asks the process to stop, and returns how it ended. */
  async stop() {
    this.signal("SIGTERM");
    return this.exited;
  }
}

/** A Redis without persistence: a restart loses everything. */
export class Redis extends Program {
  constructor(port) {
    const address = ["--bind", "127.0.0.1", "--port", String(port)];
    super("redis-server", () => [...address, "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
    this.port = port;
  }

  async hasStarted() {
    return (await this.run("PING").catch(() => [""]))[0] === "PONG";
  }

  /** Runs a command, and returns the lines of its reply. */
  async run(...words) {
    const { stdout } = await promisify(execFile)("redis-cli", ["-p", String(this.port), ...words]);
    return stdout.split("\n").filter(Boolean);
  }

  /** Returns the remaining milliseconds of each key by its name: -1 if it does not expire. */
  async keys() {
    const keys = (await this.run("KEYS", "*")).sort();
    return Object.fromEntries(
      await Promise.all(keys.map(async (key) => [key, Number((await this.run("PTTL", key))[0])])),
    );
  }

  /** Returns the number of members that the list of a group has. The field `head` is not a member. */
  async memberCount(key) {
    const group = createHash("sha256").update(key).digest("hex").slice(0, 32);
    const [fields] = await this.run("HLEN", `sv1:${NAME}:{${group}}:members`);
    return Math.max(Number(fields) - 1, 0);
  }
}

/** A sigver server, on the same port after each start. */
export class Server extends Program {
  port = 0;
  adminPort = 0;
  isReady = false;

  constructor(command, redis, options) {
    const addresses = () => ["-h", "127.0.0.1", "-p", String(this.port), "--admin", `127.0.0.1:${this.adminPort}`];
    const cluster = ["--cluster-url", `redis://127.0.0.1:${redis.port}`, "--cluster-name", NAME];
    super(command, () => [...addresses(), ...cluster, ...options]);
  }

  async hasStarted(output) {
    const port = (kind) => Number(new RegExp(`${kind} server is listening on \\S+:(\\d+)`).exec(output)?.[1] ?? 0);
    this.port ||= port("Signaling");
    this.adminPort ||= port("Admin");
    return port("Signaling") && port("Admin") && this.checkReadiness();
  }

  /** Asks the server whether a balancer should send peers to it. A paused server does not answer. */
  async checkReadiness() {
    const url = `http://127.0.0.1:${this.adminPort}/readyz`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
    await answer?.text().catch(() => {});
    this.isReady = answer?.status === 200;
    return this.isReady;
  }

  async metrics() {
    return (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
  }
}

/** Sends each connection to the next server that is ready. */
export class Balancer {
  #next = 0;

  constructor(servers) {
    this.servers = servers;
    this.listener = createServer({ allowHalfOpen: true }, (client) => this.#forward(client, servers.length));
    this.checks = setInterval(() => servers.forEach((server) => server.checkReadiness()), 500);
  }

  async start(host, port) {
    await once(this.listener.listen(port, host), "listening");
    this.address = `${host}:${this.listener.address().port}`;
  }

  #forward(client, tries) {
    const ready = this.servers.filter((server) => server.isReady);
    if (!tries || !ready.length) return client.destroy();
    const server = connect({ port: ready[this.#next++ % ready.length].port, host: "127.0.0.1", allowHalfOpen: true });
    const refused = () => this.#forward(client, tries - 1);
    client.on("error", () => server.destroy());
    server.once("error", refused).once("connect", () => {
      server.off("error", refused).on("error", () => client.destroy());
      for (const socket of [client, server]) socket.setNoDelay();
      client.on("close", () => server.destroy()).pipe(server);
      server.on("close", () => client.destroy()).pipe(client);
    });
  }

  stop() {
    clearInterval(this.checks);
    this.listener.close();
  }
}

/** Starts Redis, servers with these options, and a balancer. By default, the servers have no limit per IP. */
export async function startCluster({ command, options = LIMITS, nodes = 3, host = "127.0.0.1", port = 0 }) {
  const redis = new Redis(await freePort());
  await redis.start();
  const servers = Array.from({ length: nodes }, () => new Server(command, redis, options));
  await Promise.all(servers.map((server) => server.start()));
  const balancer = new Balancer(servers);
  await balancer.start(host, port);
  return { redis, servers, balancer };
}

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = process.argv.slice(2);
  const take = (name, value) => (given.includes(name) ? given.splice(given.indexOf(name), 2)[1] : value);
  const [command, host, port] = [take("--server", "target/release/sigver"), take("-h", "127.0.0.1"), take("-p", "0")];
  const { balancer } = await startCluster({ command, host, port: Number(port), options: given });
  console.log(`Signaling server is listening on ${balancer.address}`);
}
