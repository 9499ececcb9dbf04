/** Prints the size of the package in a page, bundled, minified and gzipped. Fails if it is above the limit. */

import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { buildSync } from "esbuild";

const MAX_BYTES = 15.25 * 1024;

const { outputFiles } = buildSync({
  entryPoints: [fileURLToPath(new URL("../src/index.js", import.meta.url))],
  bundle: true,
  format: "esm",
  minify: true,
  target: "esnext",
  write: false,
});
const [{ contents }] = outputFiles;
const { length } = gzipSync(contents, { level: 9 });
console.log(`sigver-client: ${contents.length} bytes minified, ${length} gzipped; must be at most ${MAX_BYTES} gzipped`);
if (length > MAX_BYTES) process.exitCode = 1;
