/**
 * Tests the packed npm package sigver-client as its users get it: installed into an empty folder, bundled by Vite or
 * imported by a page without a bundler, in Chromium or Firefox.
 *
 *     node package.mjs --server "PATH/sigver" [--browser firefox]
 *
 * Prints one line per scenario, then `N passed, M failed`. Nothing sleeps: every wait is for a condition and has a
 * timeout.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BROWSER_OPTION, launch } from "./browsers.mjs";
import { PERMISSIONS, until } from "./chromium.mjs";
import { closeTabs, runScenarios } from "./scenarios.mjs";
import { serveFiles, signalingOnly } from "./servers.mjs";

const { values: args } = parseArgs({ options: { ...BROWSER_OPTION, server: { type: "string" } } });
if (!args.server) throw new Error("--server is missing; must be the command of a sigver server");

const PACKAGE = fileURLToPath(new URL("../../clients/js", import.meta.url));
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8" };

/** The ten lines of a user. `send` and `received` are for the test. */
const CHAT = `
import { Group } from "sigver-client";
const query = new URLSearchParams(location.search);
globalThis.received = [];
const group = new Group(query.get("signal"), query.get("key"), { iceServers: [] });
group.addEventListener("message", ({ data }) => received.push(data));
group.addEventListener("peerjoin", ({ peer }) => group.send("hello", { to: peer }));
await group.joined;
globalThis.send = (text) => group.send(text);
`;

const EDITOR = `
import { Group } from "sigver-client";
import { YjsProvider } from "sigver-client/yjs";
import * as Y from "yjs";
const query = new URLSearchParams(location.search);
const doc = new Y.Doc();
const group = new Group(query.get("signal"), query.get("key"), { iceServers: [], channels: { yjs: {} } });
const provider = new YjsProvider(group, doc);
provider.awareness.setLocalStateField("user", query.get("user"));
globalThis.insert = (text) => doc.getText().insert(doc.getText().length, text);
globalThis.content = () => doc.getText().toString();
globalThis.users = () => [...provider.awareness.getStates().values()].map(({ user }) => user).sort().join();
globalThis.leave = () => group.leave();
`;

const page = (head) => `<!doctype html><meta charset="utf-8"><title>app</title>${head}`;

const folder = await mkdtemp(join(tmpdir(), "sigver-package-"));
const run = (program, ...rest) => execFileSync(program, rest, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });

/** Installs the package into an empty folder, and builds its two apps with Vite. */
async function build() {
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: PACKAGE, stdio: "pipe" });
  const [tarball] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  const files = {
    "package.json": JSON.stringify({ private: true, type: "module" }),
    "chat.js": CHAT,
    "chat.html": page(`<script type="module" src="chat.js"></script>`),
    "editor.js": EDITOR,
    "editor.html": page(`<script type="module" src="editor.js"></script>`),
    "vite.config.js": `export default { build: { target: "esnext", rollupOptions: { input: ["chat.html", "editor.html"] } } };`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const packages = [`./${tarball}`, "vite@8.3.4", "yjs@13.6.33", "y-protocols@1.0.7"];
  run("npm", "install", "--silent", "--no-audit", "--no-fund", ...packages);
  run("npx", "vite", "build", "--logLevel", "warn");
}

/** Returns the files of a folder for `serveFiles`, with their paths below `prefix`. */
async function list(path, prefix) {
  const names = await readdir(join(folder, path), { recursive: true });
  const served = names.filter((name) => TYPES[name.split(".").at(-1)]);
  return Object.fromEntries(
    served.map((name) => [prefix + name, [`file://${join(folder, path, name)}`, TYPES[name.split(".").at(-1)]]]),
  );
}

await build();
const importMap = JSON.stringify({ imports: { "sigver-client": "/sigver-client/index.js" } });
await writeFile(
  join(folder, "plain.html"),
  page(`<script type="importmap">${importMap}</script><script type="module">${CHAT}</script>`),
);
const target = await signalingOnly(args.server);
const web = await serveFiles({
  ...(await list("dist", "/")),
  ...(await list("node_modules/sigver-client/src", "/sigver-client/")),
  "/plain.html": [`file://${join(folder, "plain.html")}`, TYPES.html],
});
const browser = await launch(args.browser);
const pageErrors = [];

async function open(name, key, user = "") {
  const context = await browser.newContext({ permissions: PERMISSIONS });
  const tab = await context.newPage();
  tab.on("pageerror", (error) => pageErrors.push(error));
  await tab.goto(`${web.origin}/${name}?${new URLSearchParams({ signal: target.signaling, key, user })}`);
  return tab;
}

async function chat(name, key) {
  const tabs = [await open(name, key), await open(name, key)];
  for (const tab of tabs) await until(tab, () => globalThis.received.includes("hello") && globalThis.send);
  assert.equal(await tabs[0].evaluate(() => send("from the first tab")), 1);
  await until(tabs[1], () => received.includes("from the first tab"));
}

const scenarios = {
  "two tabs of an app that Vite has built exchange messages": (key) => chat("chat.html", key),

  "two tabs of a page without a bundler exchange messages": (key) => chat("plain.html", key),

  async "tabs edit one Yjs document, also one that joins later"(key) {
    const ada = await open("editor.html", key, "ada");
    await ada.evaluate(() => insert("one "));
    const bob = await open("editor.html", key, "bob");
    await until(bob, () => globalThis.content() === "one ");
    await Promise.all([ada.evaluate(() => insert("two ")), bob.evaluate(() => insert("three "))]);
    const cleo = await open("editor.html", key, "cleo");
    for (const tab of [ada, bob, cleo]) {
      await until(tab, () => globalThis.content().length === 14 && globalThis.users() === "ada,bob,cleo");
    }
    const contents = await Promise.all([ada, bob, cleo].map((tab) => tab.evaluate(() => content())));
    assert.equal(new Set(contents).size, 1, contents.join(" | "));
    await ada.evaluate(() => leave());
    for (const tab of [bob, cleo]) await until(tab, () => globalThis.users() === "bob,cleo");
    // 300 KB in one change, in pieces.
    await bob.evaluate(() => insert("x".repeat(300_000)));
    await until(cleo, () => globalThis.content().length === 300_014);
  },

  async "package has no dependencies"() {
    const manifest = JSON.parse(await readFile(join(folder, "node_modules/sigver-client/package.json"), "utf8"));
    assert.equal(manifest.name, "sigver-client");
    assert.equal(manifest.dependencies, undefined);
  },
};

let passed = false;
try {
  passed = await runScenarios(scenarios, { pageErrors, after: () => closeTabs(browser) });
} finally {
  await browser.close();
  web.stop();
  target.files.stop();
  await target.server.stop();
  await rm(folder, { recursive: true });
}
process.exitCode = passed ? 0 : 1;
