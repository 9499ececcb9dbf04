// Lists the types and traits of other crates in sigver's public API and compares them with external-types.txt.
//
// Usage: node .ci/external-types.mjs target/doc/sigver.json
// The input is rustdoc's JSON. cargo-check-external-types does the same, but each of its versions requires one nightly.
import { readFileSync } from 'node:fs'

const LIST = new URL('external-types.txt', import.meta.url)
// Types of the standard library are always allowed.
const STANDARD = ['alloc', 'core', 'std']

const { external_crates, format_version, index, paths } = JSON.parse(readFileSync(process.argv[2], 'utf8'))

/** The public item that contains each reference, for the message. */
const found = new Map()

/** Collects the ids of all paths, such as `{ path, id, args }`, in a part of an item. */
function collect (part, item) {
  if (part === null || typeof part !== 'object') return
  if (typeof part.path === 'string' && part.id !== undefined) {
    const target = paths[part.id]
    const crate = target && external_crates[target.crate_id]?.name
    if (crate && !STANDARD.includes(crate)) found.set(target.path.join('::'), item.name ?? 'an impl')
  }
  for (const value of Object.values(part)) collect(value, item)
}

let items = 0
for (const item of Object.values(index)) {
  const impl = item.inner.impl
  // Items of other crates, and impls that the compiler derives for every type.
  if (item.crate_id !== 0 || impl?.is_synthetic || impl?.blanket_impl) continue
  items += 1
  collect(item.inner, item)
}
if (items === 0) throw new Error(`rustdoc's JSON format ${format_version} has no items that this script understands`)

const lines = readFileSync(LIST, 'utf8').split('\n').map(line => line.replace(/#.*/, '').trim())
const allowed = new Set(lines.filter(line => line !== ''))
const added = [...found].filter(([path]) => !allowed.has(path)).sort()
const removed = [...allowed].filter(path => !found.has(path)).sort()
for (const [path, item] of added) console.error(`not in the list: ${path}, used by ${item}`)
for (const path of removed) console.error(`in the list, but not in the public API: ${path}`)
if (added.length + removed.length > 0) process.exit(1)
console.log(`${found.size} external types and traits in ${items} items, all in the list`)
