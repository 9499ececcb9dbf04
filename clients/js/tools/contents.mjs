/** Fails unless `npm pack` packs all modules, their types and the texts, and nothing else. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";

const folder = new URL("../", import.meta.url);
const output = execFileSync("npm", ["pack", "--dry-run", "--json", "--silent"], { cwd: folder, encoding: "utf8" });
const [{ files, size }] = JSON.parse(output.slice(output.indexOf("[")));
const modules = ["src", "yjs"].flatMap((part) => readdirSync(new URL(part, folder)).map((name) => `${part}/${name}`));
const types = modules.map((name) => `types/${name.replace(/\.js$/, ".d.ts")}`);
const expected = ["LICENSE", "README.md", "package.json", ...modules, ...types];
assert.deepEqual(files.map(({ path }) => path).sort(), expected.sort());
console.log(`sigver-client: ${files.length} files, ${size} bytes packed`);
