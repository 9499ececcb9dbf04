/** Starts processes, and stops all of them at the end, whatever happens. */

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const running = new Set();
const folders = [];
const TIMEOUT = 30_000;

/** Debian has servers where only root has its `PATH`. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Creates a folder that is removed at the end. */
export function makeFolder() {
  const folder = mkdtempSync(join(tmpdir(), "sigver-deploy-"));
  folders.push(folder);
  return folder;
}

/** Starts a process. `child.output` is what it has printed. */
export function start(command, args, options = {}) {
  const stdio = ["ignore", "pipe", "pipe"];
  const child = spawn(command, args, { ...options, env: { ...env, ...options.env }, stdio });
  running.add(child);
  child.output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (child.output += data));
  child.ended = new Promise((resolve) => {
    child.on("error", (error) => resolve({ code: -1, error }));
    child.on("close", (code) => resolve({ code }));
  });
  child.ended.then(() => running.delete(child));
  return child;
}

/** Runs a process until it ends. Returns its exit code and its output. */
export async function run(command, args, options) {
  const child = start(command, args, options);
  const { code, error } = await child.ended;
  return { code, output: error ? String(error) : child.output };
}

/** Stops a process. One that does not end in time is killed, which is an error. */
export async function stop(child) {
  child.kill("SIGTERM");
  if (await Promise.race([child.ended, sleep(TIMEOUT, undefined, { ref: false })])) return;
  child.kill("SIGKILL");
  throw new Error(`${child.spawnfile} did not end after SIGTERM:\n${child.output}`);
}

export async function isInstalled(command) {
  return (await run("sh", ["-c", `command -v ${command}`])).code === 0;
}

/** Returns a TCP port that was free a moment ago. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.on("error", reject).listen(0, resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until `check` returns a value. */
export async function until(what, check) {
  const end = Date.now() + TIMEOUT;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited too long until ${what}`);
    await sleep(50);
  }
}

/**
 * Runs tests concurrently, and prints their results and the line `N passed, M failed, K skipped`. A test is a name and
 * a function; a function that returns a text is skipped for this reason. Ends the process.
 */
export async function report(tests) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  await Promise.all(
    Object.entries(tests).map(async ([name, test]) => {
      try {
        const reason = await test();
        counts[reason ? "skipped" : "passed"] += 1;
        console.log(reason ? `NOT TESTED: ${name}: ${reason}` : `ok: ${name}`);
      } catch (error) {
        counts.failed += 1;
        console.log(`FAILED: ${name}: ${error.stack}`);
      }
    }),
  );
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exit(counts.failed ? 1 : 0);
}
