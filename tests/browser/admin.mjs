/**
 * Tests the admin page of the standalone server in Chromium, while peers join, send messages, are rejected and leave.
 *
 *   node tests/browser/admin.mjs --server target/release/sigver [--shots FOLDER]
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import WebSocket from "uws";

import { encode } from "../../clients/js/src/wire.js";
import { launch, SOON } from "./chromium.mjs";
import { Report } from "./report.mjs";

const { values } = parseArgs({ options: { server: { type: "string" }, shots: { type: "string" } } });
if (!values.server) throw new Error("--server is missing; must be the command of a sigver server");

const TIMEOUT = { timeout: SOON };
const addresses = ["-h", "127.0.0.1", "-p", "0", "--admin", "127.0.0.1:0"];
const limits = ["--max-peers-per-group", "3", "--drain-timeout", "60s"];
const server = spawn(values.server, [...addresses, ...limits], { stdio: ["ignore", "pipe", "inherit"] });
const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
const address = async () => /listening on (\S+)/.exec((await lines.next()).value)[1];
const signaling = `ws://${await address()}`;
const admin = `http://${await address()}/`;

/** Starts a server that passes requests below `/internal/sigver` to the admin server, as an app that mounts the page. */
async function mounted() {
  const proxy = createServer((request, response) => {
    const path = request.url.replace(/^\/internal\/sigver(?=[/?]|$)/, "");
    if (path === request.url) return response.writeHead(404).end();
    const forwarded = httpRequest(new URL(path || "/", admin), (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    forwarded.on("error", () => response.destroy()).end();
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${proxy.address().port}/internal/sigver`;
}

/**
 * Opens a peer that sends `connect`, and heartbeats as long as it is open. Resolves after the answer, or after the hub
 * closed the connection.
 */
async function peer(key, id) {
  const socket = new WebSocket(`${signaling}/${key}`);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve) => (socket.onopen = socket.onerror = resolve));
  const answered = new Promise((resolve) => (socket.onmessage = socket.onclose = resolve));
  socket.send(encode({ connect: { id, members: [] } }));
  const heartbeat = setInterval(() => socket.send(encode({ heartbeat: true })), 4_000);
  socket.addEventListener("close", () => clearInterval(heartbeat));
  await answered;
  return socket;
}

const figure = (name) => page.locator("#figures div", { hasText: new RegExp(`[0-9]${name}$`) }).locator("b");
const shows = (locator, text) =>
  assert.doesNotReject(locator.filter({ hasText: text }).first().waitFor(TIMEOUT), `the page does not show ${text}`);
const shot = async (name) => {
  if (!values.shots) return;
  await mkdir(values.shots, { recursive: true });
  await page.screenshot({ path: `${values.shots}/admin-${name}.png`, fullPage: true });
};

const report = new Report();
const browser = await launch();
const page = await browser.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(error));
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
let peers = [];
try {
  await report.run("empty hub shows zero peers, and no groups or causes", async () => {
    await page.goto(admin);
    await shows(page.locator("#state"), /^ready$/);
    await shows(figure("peers"), /^0$/);
    await shows(page.locator("#groups"), "none");
    await shows(page.locator("#rejections"), "none");
    await shows(page.locator("#closes"), "none");
    await shows(figure("handshakes"), /^0$/);
    await shows(page.locator("#field_closed_handshakes"), "none");
  });
  await report.run("new peers and messages appear within seconds, without keys", async () => {
    peers = [await peer("the-secret", 7), await peer("the-secret", 8), await peer("another", 9)];
    peers[1].send(encode({ content: { senderId: 0, recipientId: 0, lastData: false, data: new Uint8Array(10) } }));
    await shows(figure("peers"), /^3$/);
    await shows(figure("groups"), /^2$/);
    await shows(figure("links"), /^1$/);
    await shows(figure("messages relayed"), /^1$/);
    assert.equal((await page.content()).includes("the-secret"), false, "the page contains a key");
  });
  await report.run("selected group lists its peers", async () => {
    const row = page.locator("#groups tr", { has: page.locator("button") }).first();
    await row.getByRole("button").click();
    await shows(page.locator("#peers td"), /^7$/);
    await shows(page.locator("#peers td"), "bound");
    await shows(page.locator("#peers td"), "127.0.0.1");
  });
  await report.run("page below a path works with and without a slash at its end", async () => {
    const base = await mounted();
    for (const url of [base, `${base}/`, `${base}?a=b#c`]) {
      await page.goto(url);
      await shows(page.locator("#state"), /^ready$/);
      await shows(figure("peers"), /^3$/);
      await page.locator("#groups button").first().click();
      await shows(page.locator("#peers td"), /^7$/);
    }
    await page.goto(admin);
    await page.locator("#groups button").first().click();
    await shows(page.locator("#peers td"), /^7$/);
  });
  await report.run("rejected joins are counted by cause", async () => {
    peers.push(await peer("the-secret", 10), await peer("the-secret", 11));
    await shows(page.locator("#rejections td"), "max_peers_per_group");
    await shot("groups");
  });
  await report.run("peers that left and their selected group disappear", async () => {
    peers.splice(0).forEach((socket) => socket.close());
    await shows(figure("peers"), /^0$/);
    await shows(page.locator("#peers"), "the group no longer exists");
  });
  await report.run("server of a cluster shows nodes, steps and repairs, and whether it is ready", async () => {
    assert.equal(await page.locator("#cluster").isVisible(), false, "this server is in no cluster");
    const counts = { steps_waiting: 4, records_sent: 5, records_received: 6, gaps: 7, resets: 8 };
    const lists = { steps: [["applied", 1], ["unknown", 2]], repairs: [["put_back", 9]] };
    const cluster = { nodes: 3, beat_age_seconds: 61.5, ...counts, ...lists };
    await page.route("**/status", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), ready: false, cluster } });
    });
    await shows(page.locator("#state"), /^not ready$/);
    const clusterFigure = (name) => page.locator("#cluster_figures div", { hasText: name }).locator("b");
    await shows(clusterFigure("nodes alive"), /^3$/);
    await shows(clusterFigure("since the last beat"), /^61.5 s$/);
    await shows(clusterFigure("steps waiting"), /^4$/);
    for (const text of ["steps: unknown2", "records sent5", "gaps7", "resets8", "repairs: put_back9"]) {
      await shows(page.locator("#cluster_counts tr"), text);
    }
    await shot("cluster");
    await page.unroute("**/status");
    await page.locator("#cluster").waitFor({ state: "hidden", ...TIMEOUT });
    await shows(page.locator("#state"), /^ready$/);
  });
  await report.run("draining server shows its state", async () => {
    peers = [await peer("the-secret", 7), await peer("the-secret", 8)];
    server.kill("SIGTERM");
    await shows(page.locator("#state"), "draining");
    await shot("draining");
  });
  await report.run("page reports no error except 404 for the removed group", async () => {
    assert.deepEqual(errors.filter((error) => !/404/.test(String(error))), []);
  });
  await report.run("stopped server shows as unreachable", async () => {
    server.kill("SIGKILL");
    await shows(page.locator("#state"), "unreachable");
  });
} finally {
  await browser.close();
  server.kill("SIGKILL");
}
process.exitCode = report.end() ? 0 : 1;
process.exit();
