/**
 * The operator's page of the stand-alone server, in Chromium, while peers come, talk, are refused and go.
 *
 *   node tests/browser/admin.mjs --server target/release/sigver [--shots FOLDER]
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import WebSocket from "uws";

import { encode } from "../../examples/web/sigver.js";
import { launch } from "./chromium.mjs";
import { Report } from "./report.mjs";

const { values } = parseArgs({ options: { server: { type: "string" }, shots: { type: "string" } } });
if (!values.server) throw new Error("--server COMMAND is missing");

const WITHIN = { timeout: 10_000 };
const options = ["-h", "127.0.0.1", "-p", "0", "--admin", "127.0.0.1:0", "--max-peers-per-group", "3", "--drain", "60s"];
const server = spawn(values.server, options, { stdio: ["ignore", "pipe", "inherit"] });
const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
const address = async () => /listening on (\S+)/.exec((await lines.next()).value)[1];
const signaling = `ws://${await address()}`;
const admin = `http://${await address()}/`;

/** A peer that has opened its socket and asked, or that was closed. */
async function peer(key, id) {
  const socket = new WebSocket(`${signaling}/${key}`);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve) => (socket.onopen = socket.onerror = resolve));
  const heard = new Promise((resolve) => (socket.onmessage = socket.onclose = resolve));
  socket.send(encode({ connect: { id, members: [] } }));
  await heard;
  return socket;
}

const figure = (name) => page.locator("#figures div", { hasText: new RegExp(`[0-9]${name}$`) }).locator("b");
const shows = (locator, text) =>
  assert.doesNotReject(locator.filter({ hasText: text }).first().waitFor(WITHIN), `the page does not show ${text}`);
const shot = async (name) => {
  if (!values.shots) return;
  await mkdir(values.shots, { recursive: true });
  await page.screenshot({ path: `${values.shots}/admin-${name}.png`, fullPage: true });
};

const report = new Report();
const browser = await launch();
const page = await browser.newPage();
const troubles = [];
page.on("pageerror", (error) => troubles.push(error));
page.on("console", (message) => message.type() === "error" && troubles.push(message.text()));
let peers = [];
try {
  await report.run("an empty hub", async () => {
    await page.goto(admin);
    await shows(page.locator("#state"), /^ready$/);
    await shows(figure("peers"), /^0$/);
    await shows(page.locator("#groups"), "none");
    await shows(page.locator("#turned"), "nobody");
  });
  await report.run("peers that come and talk are shown within seconds, without their keys", async () => {
    peers = [await peer("the-secret", 7), await peer("the-secret", 8), await peer("another", 9)];
    peers[1].send(encode({ content: { senderId: 0, recipientId: 0, lastData: false, data: new Uint8Array(10) } }));
    await shows(figure("peers"), /^3$/);
    await shows(figure("groups"), /^2$/);
    await shows(figure("links"), /^1$/);
    await shows(figure("relayed in all"), /^1$/);
    assert.equal((await page.content()).includes("the-secret"), false, "a key is on the page");
  });
  await report.run("a group shows its peers", async () => {
    const row = page.locator("#groups tr", { has: page.locator("button") }).first();
    await row.getByRole("button").click();
    await shows(page.locator("#peers td"), /^7$/);
    await shows(page.locator("#peers td"), "joining");
    await shows(page.locator("#peers td"), "127.0.0.1");
  });
  await report.run("who is refused is counted by the guard that did it", async () => {
    peers.push(await peer("the-secret", 10), await peer("the-secret", 11));
    await shows(page.locator("#turned td"), "max_peers_per_group");
    await shot("groups");
  });
  await report.run("peers that go are gone, and so is the group that is looked at", async () => {
    peers.splice(0).forEach((socket) => socket.close());
    await shows(figure("peers"), /^0$/);
    await shows(page.locator("#peers"), "the group is gone");
  });
  await report.run("a drain is shown", async () => {
    peers = [await peer("the-secret", 7), await peer("the-secret", 8)];
    server.kill("SIGTERM");
    await shows(page.locator("#state"), "draining");
    await shot("draining");
  });
  await report.run("nothing went wrong on the page, but for the group that was gone", async () => {
    assert.deepEqual(troubles.filter((trouble) => !/404/.test(String(trouble))), []);
  });
  await report.run("a server that is gone is shown", async () => {
    server.kill("SIGKILL");
    await shows(page.locator("#state"), "no answer");
  });
} finally {
  await browser.close();
  server.kill("SIGKILL");
}
process.exitCode = report.end() ? 0 : 1;
process.exit();
