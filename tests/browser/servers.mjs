/** Servers under test, which can be stopped and restarted on the same port. */

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";

const START_TIMEOUT = 30_000; // for a machine under load
/** The modules of sigver-client, for `serveFiles`. */
export const CLIENT = filesOf("../../clients/js/src/", "/sigver-client/");
const FILES = {
  "/": ["../../examples/web/index.html", "text/html; charset=utf-8"],
  ...filesOf("../../examples/web/", "/"),
  ...CLIENT,
  "/raw_peer.js": ["raw_peer.js", "text/javascript; charset=utf-8"],
};

/** The modules and style sheets in a folder, relative to this one, below a path. */
function filesOf(folder, path) {
  const types = { js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8" };
  const names = readdirSync(new URL(folder, import.meta.url)).filter((name) => name.split(".").at(-1) in types);
  return Object.fromEntries(names.map((name) => [path + name, [folder + name, types[name.split(".").at(-1)]]]));
}

/** The published signaling server, npm `sigver`. */
export const REFERENCE = `${process.execPath} ${fileURLToPath(new URL("node_modules/sigver/dist/server.js", import.meta.url))}`;

/** Starts a framework example (`COMMAND HOST:PORT`), with the page at `/` and signaling under `/signal`. */
export async function example(command, { pageHere = false } = {}) {
  const server = new Server(command, (port) => [`127.0.0.1:${port}`]);
  await server.start();
  const signaling = `ws://127.0.0.1:${server.port}/signal`;
  return pageHere ? withPage(server, signaling) : { page: `http://127.0.0.1:${server.port}/`, signaling, server };
}

/** Starts a signaling server (`COMMAND -h HOST -p PORT`), and serves the page from this process. */
export async function signalingOnly(command) {
  const server = new Server(command, (port) => ["-h", "127.0.0.1", "-p", String(port)]);
  await server.start();
  return withPage(server, `ws://127.0.0.1:${server.port}`);
}

async function withPage(server, signaling) {
  const files = await serveFiles(FILES);
  return { page: `${files.origin}/?signal=${signaling}`, signaling, server, files };
}

/** Serves files relative to this folder: `{ "/path": ["file", "type"] }`. */
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
  /** 0 until the operating system assigned one at the first start. */
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
    let output = "";
    child.stdout.on("data", (data) => (output += data)); // always read, or a full pipe blocks the server
    const started = (async () => {
      for (;;) {
        this.port ||= Number(/listening on \S*?:(\d+)/i.exec(output)?.[1] ?? 0);
        if (this.port && (await accepts(this.port))) return true;
        await new Promise((resolve) => setTimeout(resolve, 50));
        if (child.exitCode !== null || child.killed) return false;
      }
    })();
    const timeout = new Promise((resolve) => setTimeout(resolve, START_TIMEOUT, false).unref());
    if (!(await Promise.race([started, timeout, this.exited.then(() => false)]))) {
      child.kill("SIGKILL");
      throw new Error(`${this.command.join(" ")} did not start listening; output: ${output}`);
    }
  }

  /** Kills the server without a close handshake, like a crash. */
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
