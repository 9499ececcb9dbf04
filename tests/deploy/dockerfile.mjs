/**
 * Carries out the instructions of examples/deploy/Dockerfile without Docker, and checks its server:
 *
 *     node dockerfile.mjs
 *
 * Each stage is a folder below target/deploy. RUN runs on this machine in the folder of its stage, so it must not
 * install anything. Then the entry point runs as the user of the image. The health check must pass, and fail without a
 * server.
 */

import assert from "node:assert/strict";
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import { freePort, makeFolder, report, run, start, stop, until } from "./processes.mjs";

const FOLDER = "target/deploy";
/** The image is for servers, and this build for a test: it must be ready soon. */
const QUICK_BUILD = { CARGO_PROFILE_RELEASE_OPT_LEVEL: "0", CARGO_PROFILE_RELEASE_LTO: "off" };

/** Returns the instructions as `[name, text]`. */
function parse(text) {
  const lines = text.replace(/\\\n\s*/g, "").split("\n").filter((line) => line.trim() && !line.startsWith("#"));
  return lines.map((line) => line.match(/^([A-Z]+) (.*)$/)?.slice(1) ?? assert.fail(`unknown line ${line}`));
}

/** Copies the files of the repository, as the ignore file selects them: without build output and .git. */
async function copyContext(to) {
  const ignored = readFileSync("examples/deploy/Dockerfile.dockerignore", "utf8").split("\n");
  for (const path of [".git", "**/target", "**/node_modules"]) assert(ignored.includes(path), `${path} is not ignored`);
  const { code, output } = await run("git", ["ls-files", "--cached", "--others", "--exclude-standard"]);
  assert.equal(code, 0, output);
  for (const file of output.trim().split("\n").filter(existsSync)) {
    mkdirSync(dirname(join(to, file)), { recursive: true });
    // With its time, so that cargo does not rebuild what it has built before.
    cpSync(file, join(to, file), { preserveTimestamps: true });
  }
}

async function build(instructions) {
  const stages = {};
  const image = { env: {} };
  let stage;
  for (const [name, text] of instructions) {
    if (name === "FROM") {
      const [, base, alias = "final"] = text.match(/^(\S+)(?: AS (\S+))?$/);
      assert.match(base, /^(rust|debian):.*\bslim\b/, "each stage is a slim Debian image");
      // The output of an earlier build, if it exists, makes this one faster. The user of the image may be unable to open
      // the folders above the repository.
      stage = { root: alias === "final" ? makeFolder() : resolve(FOLDER, alias), workdir: "/" };
      stages[alias] = stage;
      mkdirSync(stage.root, { recursive: true });
      chmodSync(stage.root, 0o755);
    } else if (name === "WORKDIR") {
      stage.workdir = text;
      mkdirSync(join(stage.root, text), { recursive: true });
    } else if (name === "COPY" && text === ". .") {
      await copyContext(join(stage.root, stage.workdir));
    } else if (name === "COPY") {
      const [, alias, from, to] = text.match(/^--from=(\S+) (\S+) (\S+)$/);
      // A file of the base image is a file of this machine.
      const source = from.startsWith(stages[alias].workdir + "/") ? join(stages[alias].root, from) : from;
      mkdirSync(dirname(join(stage.root, to)), { recursive: true });
      cpSync(source, join(stage.root, to), { dereference: true });
    } else if (name === "RUN") {
      assert.match(text, /^cargo build .*--locked/, "RUN changes this machine, so only a build is allowed");
      const cwd = join(stage.root, stage.workdir);
      const env = { ...QUICK_BUILD, CARGO_TARGET_DIR: join(cwd, "target") };
      const { code, output } = await run("sh", ["-c", text], { cwd, env });
      assert.equal(code, 0, output);
    } else if (name === "ENV") {
      const [variable, value] = text.split("=");
      image.env[variable] = value;
    } else {
      const known = ["EXPOSE", "USER", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"];
      assert(known.includes(name), `unknown instruction ${name}`);
      image[name] = text;
    }
  }
  return { ...image, root: stage.root };
}

await report({
  "the image of the Dockerfile serves, passes its health check and drains": async () => {
    const image = await build(parse(readFileSync("examples/deploy/Dockerfile", "utf8")));
    assert(existsSync(join(image.root, "etc/ssl/certs/ca-certificates.crt")), "the image has CA certificates");
    assert.equal(image.EXPOSE, image.env.SIGVER_PORT);
    assert.equal(image.STOPSIGNAL, "SIGTERM");
    const [entrypoint, ...args] = JSON.parse(image.ENTRYPOINT);
    const [uid, gid] = image.USER.split(":").map(Number);
    assert(uid > 0 && gid > 0, "the user is not root");
    const bin = join(image.root, "usr/local/bin");
    const port = await freePort();
    const path = `${bin}:${process.env.PATH}`;
    const options = { cwd: image.root, env: { ...image.env, SIGVER_PORT: String(port), PATH: path } };
    // Only root can change the user.
    if (process.getuid() === 0) Object.assign(options, { uid, gid });
    const check = () => run("sh", ["-c", image.HEALTHCHECK.match(/ CMD (.*)$/)[1]], options);
    const failed = await check();
    assert.equal(failed.code, 1, failed.output);
    assert.equal(JSON.parse(failed.output).ok, false);

    const server = start(join(bin, entrypoint), args, options);
    await until("the server listens", () => server.exitCode !== null || server.output.includes("listening"));
    const { code, output } = await check();
    assert.equal(code, 0, output + server.output);
    assert.equal(JSON.parse(output).ok, true);
    await stop(server);
    assert.equal((await server.ended).code, 0, server.output);
    const last = JSON.parse(server.output.trim().split("\n").at(-1));
    assert.equal(last.message, "drain finished", server.output);
  },
});
