/** What the scenarios run against: a server that can be stopped and started again on its port. */

import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";

const START_WITHIN = 15_000;
const FILES = {
  "/": ["../../examples/web/index.html", "text/html; charset=utf-8"],
  "/sigver.js": ["../../examples/web/sigver.js", "text/javascript; charset=utf-8"],
};

/** The published signaling server, npm `sigver`. */
export const REFERENCE = `${process.execPath} ${fileURLToPath(new URL("node_modules/sigver/dist/server.js", import.meta.url))}`;

/** One of the framework examples (`COMMAND HOST:PORT`): the page at `/`, signaling under `/signal`. */
export async function example(command, { pageHere = false } = {}) {
  const server = new Server(command, (port) => [`127.0.0.1:${port}`]);
  await server.start();
  const signaling = `ws://127.0.0.1:${server.port}/signal`;
  return pageHere ? withPage(server, signaling) : { page: `http://127.0.0.1:${server.port}/`, signaling, server };
}

/** A signaling server alone (`COMMAND -h HOST -p PORT`), with the page served from here. */
export async function signalingOnly(command) {
  const server = new Server(command, (port) => ["-h", "127.0.0.1", "-p", String(port)]);
  await server.start();
  return withPage(server, `ws://127.0.0.1:${server.port}`);
}

async function withPage(server, signaling) {
  const files = await serveFiles(FILES);
  return { page: `${files.origin}/?signal=${signaling}`, signaling, server, files };
}

/** Serves files from this folder: `{ "/path": ["file", "type"] }`. */
export async function serveFiles(files) {
  const server = createServer(async ({ url }, response) => {
    const [path, type] = files[new URL(url, "http://page").pathname] ?? [];
    if (!path) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": type }).end(await readFile(new URL(path, import.meta.url)));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return { origin: `http://127.0.0.1:${server.address().port}`, stop };
}

class Server {
  /** 0 until the first start has drawn one. */
  port = 0;
  #child;

  constructor(command, argumentsFor) {
    this.command = command.split(" ").filter(Boolean);
    this.argumentsFor = argumentsFor;
  }

  async start() {
    const [program, ...rest] = this.command;
    const child = spawn(program, [...rest, ...this.argumentsFor(this.port)], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    this.exited = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
    let said = "";
    child.stdout.on("data", (data) => (said += data)); // read to the end, else a chatty server stalls
    const started = (async () => {
      for (;;) {
        this.port ||= Number(/listening on \S*?:(\d+)/i.exec(said)?.[1] ?? 0);
        if (this.port && (await accepts(this.port))) return true;
        await new Promise((resolve) => setTimeout(resolve, 50));
        if (child.exitCode !== null || child.killed) return false;
      }
    })();
    const late = new Promise((resolve) => setTimeout(resolve, START_WITHIN, false).unref());
    if (!(await Promise.race([started, late, this.exited.then(() => false)]))) {
      child.kill("SIGKILL");
      throw new Error(`${this.command.join(" ")} did not start listening; it said: ${said}`);
    }
  }

  /** At once, without a goodbye: what a crash looks like. */
  async stop() {
    this.#child.kill("SIGKILL");
    await this.exited;
  }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("connect", () => socket.end()).on("error", () => resolve(false));
  });
}
