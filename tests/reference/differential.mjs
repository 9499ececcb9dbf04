// Runs the same random scripts against the reference server (npm sigver) and our server, and reports every difference that a peer can see.
//
//   npm install
//   node differential.mjs [--scripts N=300] [--seed S=1] [--only K] [--save DIR] [--verbose] --server PATH_TO_OUR_BINARY
//   node differential.mjs [...] ws://127.0.0.1:1234            our server already runs there; may have a mount path: ws://127.0.0.1:1234/signal
//   node differential.mjs [...] --settle MS ws://127.0.0.1:1234   our server is a cluster of nodes: after each step, waits until its peers have
//                                                              received nothing for MS milliseconds
//   node differential.mjs [...] --self                         a second reference server replaces ours; any failure is a fault of this test
//
// Prints each difference, then the line `N passed, M failed`. The exit code is 1 if a script failed.
//
// A model of the protocol (model.mjs) predicts what is seen after each step. Our server must show exactly that. The reference must show
// that plus its leak, which the model marks (content of a bound peer also reaches the member it is bound to). `fixed` below lists all other
// intended differences, with both outcomes. If the reference and the model disagree, the model is wrong, and the test reports this, too.
//
// Each line of a script is a step. After a step with a leading `+`, the next one is sent immediately, and both are checked together:
//
//   A open KEY [favored]         KEY stands for a new random key
//   A connect ID MEMBERS [unpacked]      MEMBERS: 1,2 or - for none
//   A content TO more|last DATA [SENDER] TO: a number, or L1 for the first link id that a peer received; DATA: hex or -
//   A raw HEX | A text           any bytes; a text frame
//   A close [CODE] | A drop      a close handshake; the end of the stream without a close frame
//
// What is seen: `A connected true`, `A content from L1 6869` (senderId L1), `A content to L1 -` (recipientId L1, no data), `A closed 4744`.
// The test does not sleep between steps, unless ours is a cluster: see quiet() and still() in lib.mjs, and `settle` below.
//
// The output of --save describes its format in its first lines, see `traceHead`.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Peer, encode, quiet, startBinary, startReference, still } from './lib.mjs'
import { Model, render } from './model.mjs'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    scripts: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    save: { type: 'string' },
    server: { type: 'string' },
    settle: { type: 'string', default: '0' },
    self: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
})

// ---- generate scripts

/** A seeded random number generator (mulberry32): the seed and the number of a script reproduce it. */
function random(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const chance = (p) => next() < p
  const below = (n) => Math.floor(next() * n)
  const pick = (list) => list[below(list.length)]
  return { chance, below, pick }
}

// Bytes that both servers close with 4743. The reference does not check wire types, so it accepts other invalid bytes (FINDINGS.md, 26).
const badBytes = ['', 'ffffffff', '12', '120a2201', '08ff', '08ffffffffffffffffffff01', '2801', 'a2060161', '0001', '3c', '0a0101', '0d01000000', '1a050d08000000', '12061a0101220178', '1a0508081201ff', '68656c6c6f']
// Bytes without effect: heartbeats (true, false) and `connected` from a peer, also with an unknown field.
const idleBytes = ['0801', '0800', '2001', '2000', '28010801', '0801280a']

/** Generates a script: its steps as text. Applies each step to a model, to avoid steps that are ambiguous or always trivial. */
function generateScript(seed, ruleCounts) {
  const { chance, below, pick } = random(seed)
  const model = new Model()
  model.ruleCounts = ruleCounts
  const names = new Map()
  const steps = []
  const twoGroups = chance(0.1)
  const bursts = chance(0.3)
  const ids = pick([[1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7], [0, 1, 2], [1, 2, 4294967295]])
  const emptyChance = pick([0.15, 0.5, 0.9]) // of an empty `members`: low values make groups grow, high values make selection wrap
  const contentChance = pick([0.2, 0.4])
  const size = 2 + below(4)
  let unopened = [...'ABCDEFGH']

  const members = (peer) => {
    const group = model.members(peer.key)
    // Members send [] less often than joiners. Otherwise groups stay too small for a selection with a choice, or for a wrap.
    if (chance(group.includes(peer) ? emptyChance / 4 : emptyChance)) return []
    const present = group.map((m) => m.id)
    const pickId = () => (present.length && chance(0.7) ? pick(present) : chance(0.7) ? pick(ids) : peer.id !== null && chance(0.5) ? peer.id : 999)
    return Array.from({ length: pick([1, 1, 1, 2, 3]) }, pickId)
  }
  const recipient = (peer) => {
    const known = [...names.keys()].filter((link) => model.links.has(link))
    const mine = known.filter((link) => link.member === peer)
    const { link } = peer
    const r = below(100)
    if (mine.length && r < 40) return pick(mine)
    if (r < 62) return 0
    if (link && model.links.has(link) && r < 72) return link.memberId
    if (names.size && r < 86) return pick([...names.keys()]) // a link of any peer (also its own), or one that ended
    return r < 92 ? pick(ids) : r < 96 ? (peer.id ?? 999) : pick([999, 123456, 4294967295])
  }
  const content = (peer) => {
    for (let to = recipient(peer); ; to = recipient(peer)) {
      // After a rename, does the old or the new id address the member? The reference leaks both, so it does not show the answer.
      const { link } = peer
      if (typeof to === 'number' && to !== 0 && link && (to === link.memberId) !== (to === link.member.id)) continue
      const leak = model.leaks(peer, to)
      // If a leak were the first use of a link's id, the two servers would assign different names to links.
      if (leak && !names.has(leak)) continue
      // A leaked `lastData` ends different directions on the two servers: `fixed` has scripts for this.
      const last = !leak && chance(0.15)
      const data = chance(0.1) ? '' : Array.from({ length: chance(0.02) ? 400 : pick([2, 4, 6]) }, () => pick('0123456789abcdef')).join('')
      model.content(peer.name, to, last, data)
      const sender = chance(0.5) ? '' : ` ${pick([peer.id ?? 0, 0, 999, 4294967295])}`
      return `${peer.name} content ${typeof to === 'number' ? to : names.get(to)} ${last ? 'last' : 'more'} ${data || '-'}${sender}`
    }
  }
  const open = () => {
    const name = unopened.shift()
    const key = twoGroups && chance(0.4) ? 'KEY/2' : 'KEY'
    const favored = chance(0.2)
    model.open(name, key, favored)
    return `${name} open ${key}${favored ? ' favored' : ''}`
  }
  const leave = (peer) => {
    const how = pick(['close', 'close 1000', 'close 3000', 'drop', 'drop', 'bad', 'text'])
    model.leave(peer.name, 0)
    return how === 'bad' ? `${peer.name} raw ${pick(badBytes) || '-'}` : `${peer.name} ${how}`
  }
  const connect = (peer) => {
    const id = peer.id !== null && chance(0.6) ? peer.id : pick(ids)
    const named = members(peer)
    model.connect(peer.name, id, named)
    return `${peer.name} connect ${id} ${named.join(',') || '-'}${named.length && chance(0.15) ? ' unpacked' : ''}`
  }

  /** Picks a peer, and prefers peers whose next step has no obvious result. */
  const pickPeer = (present, sendsContent) => {
    const links = [...model.links]
    const linked = (p) => links.some((link) => link.joiner === p || link.member === p)
    const joiners = present.filter((p) => p.tried.size > 0) // repeated connects make selection wrap and members block
    if (!sendsContent && joiners.length && chance(0.25)) return pick(joiners)
    const preferred = present.filter((p) => (sendsContent ? linked(p) : model.decide(p, []) !== 'alone'))
    return preferred.length && chance(0.8) ? pick(preferred) : present.length ? pick(present) : null
  }

  let connectPending = false // a connect in this burst may not be answered yet, so its peer must not leave
  let sender = null // all steps of a burst belong to one peer: the order between sockets is undefined
  for (let left = 12 + below(24); left > 0 || sender; left--) {
    const present = [...model.peers.values()]
    const r = below(100)
    const peer = sender ?? pickPeer(present, r < 10 + 90 * contentChance)
    const before = model.peers.size
    let step
    if (!sender && unopened.length && (present.length < 2 || (present.length < size && chance(0.4)))) step = open()
    else if (!peer) break
    else if (r < 7 && !connectPending) step = leave(peer)
    else if (r < 10) step = `${peer.name} raw ${pick(idleBytes)}`
    else if (r < 10 + 90 * contentChance) step = content(peer)
    else step = connect(peer)
    // A leave takes effect when the socket is closed. The order of this and the next frame of another peer is undefined.
    sender = bursts && left > 0 && model.peers.size === before && !step.includes(' open ') && chance(0.4) ? peer : null
    connectPending = sender !== null && (connectPending || step.includes(' connect '))
    steps.push(sender ? `+ ${step}` : step)
    if (!sender) render(model.seen.splice(0), names, false)
  }
  return steps
}

// ---- run scripts

/** Replaces the close code after a `drop`: only some servers send a close frame then, and the peer does not read it. */
const DROPPED = 'by itself'

/** A script that runs on one server. */
class Run {
  peers = new Map()
  names = new Map() // a link id on the wire -> L1
  seen = [] // since the last check

  constructor(server) {
    this.server = server
    this.key = randomBytes(9).toString('hex')
  }
  collect() {
    for (const [name, peer] of this.peers) {
      for (const m of peer.take()) {
        const { senderId, recipientId, lastData, data } = m.content ?? {}
        if (m.type === 'connected') this.seen.push([name, { kind: 'connected', member: m.connected }])
        else if (m.type === 'content') this.seen.push([name, { kind: 'content', from: senderId, to: recipientId, last: lastData, data: data.toString('hex') }])
        else this.seen.push([name, { kind: JSON.stringify(m) }])
      }
      if (peer.code !== null && !peer.reported) {
        peer.reported = true
        this.seen.push([name, { kind: 'closed', code: peer.dropped ? DROPPED : peer.code }])
      }
    }
    return render(this.seen, new Map(this.names), true)
  }
  /**
   * Waits until the server has shown `expected`, and for a minimum number of quiet rounds. The rounds replace an answer that does not exist:
   * a leave without links is invisible. They include `watch`, a socket that stays open. A closed socket means that the server closed it, and
   * a server removes the peer within one or two rounds after that. A cluster also needs time, because the rounds show only what one node did.
   */
  async settle(expected, closes) {
    const sockets = [this.server.watch, ...this.peers.values()]
    const enough = (seen) => seen.join('\n') === expected.join('\n')
    const { settle } = this.server
    await within(10_000, quiet(sockets, closes ? 8 : 3))
    if (settle) await within(10_000, still(sockets, settle))
    const deadline = Date.now() + (settle ? 5_000 : 0)
    for (let round = 0; (round < 60 || Date.now() < deadline) && !enough(this.collect()); round++) {
      // Reached before a failure, or on a machine under load: yields the processor to other processes.
      if (round > 20) await new Promise((resolve) => setTimeout(resolve, 2))
      await within(10_000, quiet(sockets, 1))
    }
    const lines = this.collect()
    render(this.seen.splice(0), this.names, true) // assigns the names
    return lines
  }
  async send([name, what, ...rest]) {
    const peer = this.peers.get(name)
    if (what === 'open') {
      const path = rest[0].replace('KEY', this.key).replace('EMPTY', '')
      const opened = new Peer(`${this.server.base}/${path}${rest[1] ? '?' + rest[1] : ''}`)
      this.peers.set(name, opened)
      await within(10_000, opened.opened)
    } else if (what === 'connect') peer.send(encodeConnect(Number(rest[0]), rest[1] === '-' ? [] : rest[1].split(',').map(Number), rest[2]))
    else if (what === 'content') {
      const to = [...this.names].find(([, link]) => link === rest[0])?.[0] ?? Number(rest[0])
      peer.send(encode({ content: { senderId: Number(rest[3] ?? 0), recipientId: to, lastData: rest[1] === 'last', data: hex(rest[2]) } }))
    } else if (what === 'raw') peer.send(hex(rest[0]))
    else if (what === 'text') peer.send('text')
    else if (what === 'close') {
      peer.ws.close(...rest.map(Number))
      await within(10_000, peer.closed)
    } else if (what === 'drop') {
      peer.dropped = true
      await within(10_000, peer.drop())
    } else throw new Error(`unknown step: ${what}`)
  }
  end() {
    for (const peer of this.peers.values()) peer.ws.terminate()
  }
}

const hex = (text) => Buffer.from(text === '-' ? '' : text, 'hex')

function encodeConnect(id, members, unpacked) {
  if (!unpacked) return encode({ connect: { id, members } })
  const varint = (n) => (n < 128 ? [n] : [(n % 128) + 128, ...varint(Math.floor(n / 128))])
  const body = [8, ...varint(id), ...members.flatMap((m) => [16, ...varint(m)])]
  return Buffer.from([26, ...varint(body.length), ...body])
}

async function within(ms, promise) {
  let timer
  const timeout = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`no response within ${ms / 1000} s: no pong, or a closing socket did not end`)), ms)))
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer))
}

/** Applies a step to the model. */
function apply(model, names, [name, what, ...rest]) {
  // Closed peers have no further effect, and the model has removed them.
  if (what === 'open') model.open(name, rest[0], rest[1] === 'favored')
  else if (!model.peers.has(name)) return
  else if (what === 'connect') model.connect(name, Number(rest[0]), rest[1] === '-' ? [] : rest[1].split(',').map(Number))
  else if (what === 'content') {
    const to = [...names].find(([, link]) => link === rest[0])?.[0] ?? Number(rest[0])
    model.content(name, to, rest[1] === 'last', rest[2] === '-' ? '' : rest[2])
  } else if (what === 'close') model.leave(name, rest[0] ?? 1005)
  else if (what === 'drop') model.leave(name, DROPPED)
  else if (what === 'text' || (what === 'raw' && badBytes.includes(rest[0] === '-' ? '' : rest[0]))) model.leave(name, 4743)
}

const show = (lines) => lines.join('; ') || 'nothing'

/** Runs one script on both servers. Returns null, or the first difference as text. Adds what the reference showed, without its leak, to `trace`. */
async function compare(title, steps, servers, trace = []) {
  const model = new Model()
  const names = new Map()
  const runs = servers.map((server) => new Run(server))
  const difference = (number, what, expected, seen) => {
    const script = steps.map((s, i) => `  ${i + 1 === number ? '>' : ' '} ${String(i + 1).padStart(2)} ${s}`).join('\n')
    const [reference, ours] = seen
    return `${title}, step ${number}: ${what}\n${script}\n    reference: ${reference}\n    ours:      ${ours}\n    expected:  ${expected}\n`
  }
  let closes = false
  try {
    for (const [i, step] of steps.entries()) {
      const words = step.replace(/^\+ /, '').split(' ')
      const before = model.peers.size
      apply(model, names, words)
      closes ||= model.peers.size < before
      try {
        await Promise.all(runs.map((run) => run.send(words)))
        if (step.startsWith('+')) continue
        const leaks = model.seen.filter(([, m]) => m.leak).length
        const seen = model.seen.splice(0)
        const ours = render(seen, names, false)
        const expected = servers.map((server) => (server.leaks && leaks ? render(seen, names, true) : ours))
        const shown = await Promise.all(runs.map((run, k) => run.settle(expected[k], closes)))
        closes = false
        const wrong = [0, 1].filter((k) => shown[k].join('\n') !== expected[k].join('\n'))
        if (wrong.length) {
          const peers = wrong.map((k) => `${['reference (the model is wrong)', 'ours'][k]} differs for ${differing(shown[k], expected[k])}`)
          return difference(i + 1, peers.join(', '), show(ours) + (leaks ? ` (reference with its leak: ${show(render(seen, names, true))})` : ''), shown.map(show))
        }
        trace.push([step, ours])
      } catch (error) {
        return difference(i + 1, error.message, '', ['', ''])
      }
    }
    return null
  } finally {
    for (const run of runs) run.end()
  }
}

/** Returns the peers whose lines differ. */
function differing(shown, expected) {
  const of = (lines, peer) => lines.filter((line) => line.startsWith(`${peer} `)).join('\n')
  return [...new Set([...shown, ...expected].map((line) => line.split(' ')[0]))].filter((peer) => of(shown, peer) !== of(expected, peer)).join(', ')
}

// ---- intended differences, and cases that random scripts avoid

const bound = [['A open KEY'], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['J connect 2 -', 'J connected false'], ['J content 0 more 00', 'A content from L1 00']]
/** Name, then steps: each with the expected result of the reference, and that of our server if it differs. */
const fixed = [
  ['leak: unknown recipient', ...bound, ['J content 999 more 01', 'A content from L1 01', ''], ['J content 0 more 02', 'A content from L1 02']],
  ['leak: own id, own link, unknown id', ...bound, ['J content 2 more 01', 'A content from L1 01', ''], ['J content L1 more 01', 'A content from L1 01', ''], ['J content 7 more 01', 'A content from L1 01', '']],
  ['leak: lastData in content that our server drops leaves our direction open', ...bound, ['J content 999 last 01', 'A content from L1 01', ''], ['J content 0 more 02', '', 'A content from L1 02'], ['J close', 'J closed 1005', 'A content from L1 -; J closed 1005']],
  ['leak: content for a later joiner, and its lastData',
    ...bound, ['J connect 2 1', 'J connected true'], ['A close', 'A closed 1005; J content to L1 -'], ['K open KEY'], ['B open KEY'],
    ['B connect 3 2', 'B connected true'], ['J connect 2 -', 'J connected false'], ['J content 0 more 03', 'B content from L2 03'], ['J connect 2 3', 'J connected true'],
    ['K connect 4 -', 'K connected false'], ['K connect 4 -', 'K connected false'], ['K content 0 more 04', 'J content from L3 04'],
    ['J content L3 more 05', 'B content from L2 05; K content to L3 05', 'K content to L3 05'],
    ['J content L3 last 06', 'B content from L2 06; K content to L3 06', 'K content to L3 06'],
    ['J content 0 more 07', '', 'B content from L2 07']],
  ["content to the bound member's id", ...bound, ['J content 1 more 01', 'A content from L1 01'], ['A content L1 more 02', 'J content to L1 02'], ['A content 2 more 03', '']],
  ['key: empty', ['A open EMPTY', 'A closed 4741']],
  ['key: empty, favored', ['A open EMPTY favored', 'A closed 4741']],
  ['key: 512 characters', [`A open KEY${'k'.repeat(494)}`], ['A connect 1 -', 'A connected true']],
  ['key: 513 characters', [`A open KEY${'k'.repeat(495)}`, 'A closed 4741']],
  ['key: slashes', ['A open KEY/a//b/'], ['B open KEY/a//b'], ['A connect 1 -', 'A connected true'], ['B connect 1 -', 'B connected true']],
  ['key: case, plus and space are significant', ['A open KEY/a'], ['B open KEY/A'], ['C open KEY/x+y'], ['D open KEY/x%20y'], ...[...'ABCD'].map((p) => [`${p} connect 1 -`, `${p} connected true`])],
  ['key: %zz', ['A open KEY%zz', '', 'A closed 4745']],
  ['key: trailing %', ['A open KEY%', '', 'A closed 4745']],
  ['key: %ff is not UTF-8', ['A open KEY%ff', '', 'A closed 4745']],
  ['key: two percent-encodings are one group on our server', ['A open KEYa%2Fb'], ['B open KEY%61/b'], ['A connect 1 -', 'A connected true'], ['B connect 2 -', 'B connected true', 'B connected false']],
  ['key: 342 bytes in 1026 characters', [`A open KEY${'%C3%A9'.repeat(162)}`, 'A closed 4741', ''], ['A connect 1 -', '', 'A connected true']],
  ...['favored=0', 'favored&x=1', 'x=1&favored', 'favored='].map((query) => [`?${query} is favored`,
    ['A open KEY'], [`F open KEY ${query}`], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['F connect 2 1', 'F connected true'],
    ['J connect 3 -', 'J connected false'], ['J content 0 more 01', 'F content from L1 01']]),
  ...['Favored', 'x=favored', 'favoredx'].map((query) => [`?${query} is not favored`,
    ['A open KEY'], [`F open KEY ${query}`], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['F connect 2 1', 'F connected true'],
    ['J connect 3 -', 'J connected false'], ['J content 0 more 01', 'A content from L1 01']]),
  ['bytes: unknown field next to content, inside content, and a group', ...bound,
    ['J raw 28011203220178', 'A content from L1 78'], ['J raw 12053001220178', 'A content from L1 78'], ['J raw 3b08013c1203220178', 'A content from L1 78']],
  ['bytes: varints are truncated to 32 bits', ...bound, ['J raw 1209108080808010220178', 'A content from L1 78'], ['J raw 1a09080812058180808010', 'J connected true']],
  ['bytes: lastData 2 is true', ...bound, ['J raw 12051802220178', 'A content from L1 78'], ['J content 0 more 01', '']],
  ['bytes: empty submessages', ...bound, ['J raw 1200', 'A content from L1 -'], ['A raw 1a00', 'A connected true']],
  ['bytes: last of two data fields counts', ...bound, ['J raw 1206220178220179', 'A content from L1 79']],
  ['bytes: packed and unpacked members in one connect', ...bound, ['J raw 1a0708081201371001', 'J connected true']],
  ['60 000 bytes', ...bound, [`J content 0 more ${'ab'.repeat(60_000)}`, `A content from L1 ${'ab'.repeat(60_000)}`]],
  ['tried: wrap clears the list (A, B, A again; A leaves: B is selected, then blocks)',
    ['A open KEY'], ['B open KEY'], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['B connect 2 1', 'B connected true'],
    ...[1, 2, 3].map(() => ['J connect 9 -', 'J connected false']), ['A close', 'A closed 1005; J content to L1 -'],
    ['J connect 9 -', 'J connected false'], ['J connect 9 -', 'B closed 4744; J connected true; J content to L2 -']],
]

async function compareFixed([title, ...steps], servers) {
  const runs = servers.map((server) => new Run(server))
  try {
    for (const [i, [step, reference = '', ours = reference]] of steps.entries()) {
      const expected = servers.map((server) => (server.leaks ? reference : ours).split('; ').filter(Boolean))
      const closes = expected.flat().some((line) => line.includes(' closed '))
      const shown = await Promise.all(runs.map(async (run, k) => (await run.send(step.split(' ')), run.settle(expected[k], closes))))
      for (const k of [0, 1])
        if (shown[k].join('\n') !== expected[k].join('\n'))
          return `fixed "${title}", step ${i + 1} (${step.slice(0, 60)}): ${['reference', 'ours'][k]} differs for ${differing(shown[k], expected[k])}\n    shown:    ${show(shown[k]).slice(0, 300)}\n    expected: ${show(expected[k]).slice(0, 300)}\n`
    }
    return null
  } catch (error) {
    return `fixed "${title}": ${error.message}\n`
  } finally {
    for (const run of runs) run.end()
  }
}

// ---- traces

const traceHead = `# Recordings of the reference server (npm sigver 20.1.0), made by differential.mjs --save. They are replayed on a reducer of one group.
# Blank lines and lines with # are ignored. Words are separated by one space. Peers are A to H. A script opens each peer at most once.
#
# = K SEED                    starts a script, with a new group
# > A open [favored]          a step: a socket opens; A is not a member yet
# > A connect ID MEMBERS      MEMBERS: 1,2 or - for none
# > A content TO more|last DATA   TO: a number, or L1: a link id; last: lastData is set; DATA: hex or - for none
# > A leave                   A's socket is closed (with or without a close frame, or for invalid bytes); A receives nothing more
# < A connected true|false    what A receives because of the step above; in order for one peer, in no order between peers
# < A content from LINK DATA  senderId LINK, recipientId 0: A is the member, and its joiner sent this
# < A content to LINK DATA    senderId 0, recipientId LINK: A is the joiner
# < A closed 4744             the server closes A. A leaves in the same step: what other peers receive because of this is listed, too
#
# L1, L2... stand for random ids, in order of first appearance in these lines (a link that no line shows has no name). Each name stands for one id.
# Leaves out the reference's leak (content of a bound peer also reaches its bound member, whatever the recipient), heartbeats and ignored messages.
`

function traceOf(number, trace) {
  const lines = [`= ${number} ${options.seed}`]
  for (const [step, seen] of trace) {
    const [name, what, ...rest] = step.split(' ')
    const left = seen.find((line) => line.startsWith(`${name} closed `))
    if (what === 'raw' && !left) continue
    if (what === 'open') lines.push(`> ${name} open${rest[1] ? ' favored' : ''}`)
    else if (what === 'connect') lines.push(`> ${name} connect ${rest[0]} ${rest[1]}`)
    else if (what === 'content') lines.push(`> ${name} content ${rest.slice(0, 3).join(' ')}`)
    else lines.push(`> ${name} leave`)
    lines.push(...seen.filter((line) => line !== left || what === 'connect').map((line) => `< ${line}`))
  }
  return lines.join('\n') + '\n'
}

// ---- main

async function serve(server, leaks, settle = 0) {
  const watch = new Peer(`${server.base}/watch-${randomBytes(9).toString('hex')}`)
  await watch.opened
  if (watch.code !== null) throw new Error(`cannot open a socket on ${server.base}: ${watch.error ?? watch.code}`)
  // It stays open during many scripts, so it must send heartbeats.
  setInterval(() => watch.send(encode({ heartbeat: true })), 4000).unref()
  return { ...server, leaks, settle, watch }
}

process.on('uncaughtException', (error) => {
  // A server could not be started or reached. The last line has the same form as after a run.
  console.log(`${error.message}\n0 passed, 1 failed`)
  process.exit(1)
})
const ours = options.self ? await startReference() : options.server ? await startBinary(options.server) : positionals[0] && { base: positionals[0].replace(/\/$/, '') }
if (!ours) {
  console.error('our server is missing; must be a URL, --server PATH or --self')
  process.exit(2)
}
const servers = [await serve(await startReference(), true), await serve(ours, options.self, Number(options.settle))]

let passed = 0
let failed = 0
const count = (difference) => {
  if (difference) console.log(difference)
  difference ? failed++ : passed++
}
const ruleCounts = {}
const traces = []
const numbers = options.only ? [Number(options.only)] : Array.from({ length: Number(options.scripts) }, (_, i) => i + 1)
for (const number of numbers) {
  const steps = generateScript(Math.imul(Number(options.seed), 1_000_003) + number, ruleCounts)
  const trace = []
  const difference = await compare(`script ${number} (seed ${options.seed})`, steps, servers, trace)
  count(difference)
  if (options.verbose) console.log(traceOf(number, trace))
  // The replay supports one group, and needs the result of each single step.
  if (!difference && !steps.some((s) => s.startsWith('+') || s.includes('KEY/2'))) traces.push(traceOf(number, trace))
}
if (!options.only) for (const script of fixed) count(await compareFixed(script, servers))
if (options.save) {
  mkdirSync(options.save, { recursive: true })
  let text = traceHead
  for (const trace of traces.slice(0, 200)) if (text.length + trace.length < 200_000) text += '\n' + trace
  writeFileSync(join(options.save, 'traces.txt'), text)
}
console.log(`connects by rule: ${Object.entries(ruleCounts).map(([rule, n]) => `${rule} ${n}`).join(', ')}`)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0) // also stops the servers
