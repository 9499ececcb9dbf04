/**
 * Removes from the generated types what the compiler copies from JSDoc although it prints the types themselves:
 * `@import`, and `@typedef` with its properties. The text before a `@typedef` becomes the comment of its type.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";

const COMMENT = /^\/\*\*(?:(?!\*\/)[^])*@(?:typedef|import)\b[^]*?\*\/\n/gm;

for (const folder of ["src", "yjs"].map((part) => new URL(`../types/${part}/`, import.meta.url))) {
  for (const name of readdirSync(folder)) {
    const file = new URL(name, folder);
    const source = readFileSync(file, "utf8");
    let text = source.replace(COMMENT, "");
    for (const [comment] of source.matchAll(COMMENT)) {
      const [prose, ...types] = comment.split("@typedef");
      // Its type is in braces, which can contain braces.
      const type = /\} (\w+)/.exec(types[0] ?? "")?.[1];
      const isText = /\w/.test(prose ?? "");
      if (type && isText) text = text.replace(`export type ${type} =`, `${prose.replace(/[\s*]*$/, "")}\n */\n$&`);
    }
    writeFileSync(file, text);
  }
}
