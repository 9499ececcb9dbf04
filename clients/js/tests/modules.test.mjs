/** Tests the structure of the package: what its modules import, and how long they are. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const FOLDER = new URL("../src/", import.meta.url);
const MAX_LINES = 350;

/** A module imports only modules, and types of modules, that stand before it. */
const ORDER = [
  "limits",
  "timing",
  "close_codes",
  "untrusted",
  "wire",
  "signaling",
  "framing",
  "named_channels",
  "path",
  "media",
  "negotiation",
  "interruption",
  "control_channel",
  "early_messages",
  "data_channel",
  "channels",
  "ice_servers",
  "rtc_settings",
  "connection",
  "peer",
  "options",
  "events",
  "metadata",
  "identities",
  "discovery",
  "departures",
  "local_streams",
  "pending_peers",
  "mesh",
  "membership",
  "joining",
  "group",
  "index",
];

const text = (name) => readFileSync(new URL(`${name}.js`, FOLDER), "utf8");

test("every module has a place in the order", () => {
  assert.deepEqual(readdirSync(FOLDER).sort(), ORDER.map((name) => `${name}.js`).sort());
});

test("modules import only modules that stand before them, so that no imports are circular", () => {
  let count = 0;
  for (const [place, name] of ORDER.entries()) {
    // Also in JSDoc: `@import { Type } from "./name.js"` and `import("./name.js").Type`.
    for (const [, imported] of text(name).matchAll(/(?:from |import\()"([^"]*)"/g)) {
      if (imported === "sigver-client") continue; // an example of the documentation
      const other = /^\.\/(\w+)\.js$/.exec(imported)?.[1];
      const otherPlace = ORDER.indexOf(other);
      assert(otherPlace >= 0 && otherPlace < place, `${name} imports ${imported}`);
      count++;
    }
  }
  assert(count > 50, `found ${count} imports`);
});

test(`modules have at most ${MAX_LINES} lines of at most 120 characters`, () => {
  for (const name of ORDER) {
    const lines = text(name).split("\n");
    assert(lines.length - 1 <= MAX_LINES, `${name} has ${lines.length - 1} lines`);
    for (const line of lines) assert(line.length <= 120, `${name}: ${line}`);
  }
});
