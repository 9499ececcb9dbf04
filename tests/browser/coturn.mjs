/** Starts Debian's coturn on a free port, with time-limited credentials that are signed with a secret. */

import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_TIMEOUT = 15_000;
const ATTEMPTS = 5; // another process may take the free port first
const CANNOT_BIND = /cannot bind/i; // turnserver tries again for minutes

/** Starts a TURN server. `settings` are more lines of its configuration. */
export async function startCoturn(settings = []) {
  const directory = await mkdtemp(join(tmpdir(), "sigver-coturn-"));
  const secret = randomBytes(20).toString("hex");
  await writeFile(join(directory, "secret"), secret);
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const coturn = new Coturn(directory, port, secret);
    const lines = [
      `listening-port=${port}`,
      "listening-ip=127.0.0.1",
      "relay-ip=127.0.0.1",
      "allow-loopback-peers", // all peers are on this machine
      "use-auth-secret",
      `static-auth-secret=${secret}`,
      "realm=sigver.test",
      "no-tls",
      "no-dtls",
      "no-cli",
      "verbose",
      "log-file=stdout",
      `pidfile=${join(directory, "pid")}`,
      `userdb=${join(directory, "turndb")}`,
      ...settings,
    ];
    await writeFile(join(directory, "turnserver.conf"), lines.join("\n"));
    try {
      await coturn.start();
      return coturn;
    } catch (error) {
      await coturn.kill();
      if (attempt < ATTEMPTS && CANNOT_BIND.test(coturn.log)) continue;
      await rm(directory, { recursive: true });
      throw new Error("turnserver did not start listening; setup.sh installs it", { cause: error });
    }
  }
}

class Coturn {
  /** What the server has logged. */
  log = "";
  #directory;
  #child;
  /** Rejects when the process has ended. */
  #ended;
  #changed = new EventTarget();

  constructor(directory, port, secret) {
    this.#directory = directory;
    this.port = port;
    this.url = `turn:127.0.0.1:${port}`;
    this.secret = secret;
    this.secretFile = join(directory, "secret");
  }

  async start() {
    const child = spawn("turnserver", ["-c", join(this.#directory, "turnserver.conf")], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
    });
    this.#child = child;
    process.once("exit", () => child.kill("SIGKILL")); // also if the test fails before it calls `stop`
    for (const output of [child.stdout, child.stderr]) {
      output.on("data", (data) => {
        this.log += data;
        this.#changed.dispatchEvent(new Event("change"));
      });
    }
    this.#ended = new Promise((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`turnserver exited with ${code}: ${this.log}`)));
    });
    this.#ended.catch(() => {}); // also by `stop`
    const listens = (log) => log.includes(`UDP listener opened on: 127.0.0.1:${this.port}`);
    await Promise.race([this.logged((log) => listens(log) || CANNOT_BIND.test(log), START_TIMEOUT), this.#ended]);
    if (CANNOT_BIND.test(this.log)) throw new Error(`port ${this.port} is in use`);
  }

  /** Waits until the log fulfils a condition. */
  async logged(condition, timeout) {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#changed.dispatchEvent(new Event("change"));
    }, timeout);
    while (!condition(this.log)) {
      if (late) throw new Error(`${condition} is false for the log of coturn: ${this.log.slice(-3_000)}`);
      await new Promise((resolve) => this.#changed.addEventListener("change", resolve, { once: true }));
    }
    clearTimeout(timer);
  }

  async kill() {
    this.#child.kill("SIGKILL");
    await this.#ended.catch(() => {});
  }

  async stop() {
    await this.kill();
    await rm(this.#directory, { recursive: true });
  }
}

/** Signs credentials as the hub does. The expiry is in seconds from now. */
export function credentials(turn, { seconds = 600, identity = "test", secret = turn.secret } = {}) {
  const username = `${Math.floor(Date.now() / 1000) + seconds}:${identity}`;
  return { urls: turn.url, username, credential: createHmac("sha1", secret).update(username).digest("base64") };
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
