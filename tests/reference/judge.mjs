// Runs the same random scripts against the reference server (npm sigver) and against ours, and reports every difference that a peer can see.
//
//   npm install
//   node judge.mjs [--scripts N=300] [--seed S=1] [--only K] [--save DIR] [--verbose] --server PATH_TO_OUR_BINARY
//   node judge.mjs [...] ws://127.0.0.1:1234            ours already runs there; a mount path is fine: ws://127.0.0.1:1234/signal
//   node judge.mjs [...] --self                         a second reference in our place: must pass, else the judge itself is at fault
//
// It prints each difference, then one line `N passed, M failed`; the exit code is 1 when something failed.
//
// How it judges. A model of the protocol (model.mjs) says what must be seen after each step. Ours must show exactly that. The reference must show
// that plus its leak (content of a bound peer also reaches its bound member), which the model marks. Everything else intended to differ is
// in `fixed` below, with both outcomes written out. When the reference and the model disagree, the model is wrong, and that is reported too.
//
// A script's steps, one a line (`+` in front: the next step is sent without waiting for what this one causes; then all is looked at together):
//
//   A open KEY [favored]         KEY stands for a fresh random key
//   A connect ID MEMBERS [unpacked]      MEMBERS: 1,2 or - for none
//   A content TO more|last DATA [SENDER] TO: a number, or L1 for the first link id that anybody saw; DATA: hex or -
//   A raw HEX | A text           any bytes; a text frame
//   A close [CODE] | A drop      a clean close; the end of the stream without a close frame
//
// What is seen: `A connected true`, `A content from L1 6869` (senderId L1), `A content to L1 -` (recipientId L1, no data), `A closed 4744`.
// Between steps nothing sleeps: see quiet() in lib.mjs, and `settle` below.
//
// The trace format of --save is in its own first lines, see `traceHead`.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { Peer, encode, quiet, startBinary, startReference } from './lib.mjs'
import { Model, render } from './model.mjs'

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    scripts: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    save: { type: 'string' },
    server: { type: 'string' },
    self: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
})

// ---- making scripts

/** A small seeded generator (mulberry32), so that a script's number and the seed say all. */
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

// Bytes that both a strict and a lax parser refuse (the reference checks no wire types, so some wrong ones pass there: FINDINGS.md, 26).
const badBytes = ['', 'ffffffff', '12', '120a2201', '08ff', '08ffffffffffffffffffff01', '2801', 'a2060161', '0001', '3c', '0a0101', '0d01000000', '1a050d08000000', '12061a0101220178', '1a0508081201ff', '68656c6c6f']
// Bytes that change nothing: heartbeats (true, false), `connected` from a peer, with an unknown field beside them.
const idleBytes = ['0801', '0800', '2001', '2000', '28010801', '0801280a']

/** One script: its steps as text. It plays along on a model, so that what it asks for is neither ambiguous nor always trivial. */
function makeScript(seed, fired) {
  const { chance, below, pick } = random(seed)
  const model = new Model()
  model.fired = fired
  const names = new Map()
  const steps = []
  const twoGroups = chance(0.1)
  const bursts = chance(0.3)
  const ids = pick([[1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7], [0, 1, 2], [1, 2, 4294967295]])
  const manyEmpty = pick([0.15, 0.5, 0.9]) // how often `members` is empty: low makes groups grow, high makes offers wrap
  const chatty = pick([0.2, 0.4])
  const size = 2 + below(4)
  let unopened = [...'ABCDEFGH']

  const members = (peer) => {
    const group = model.members(peer.key)
    // Members ask with [] less often than others, else groups would never grow to where an offer has a choice, or wraps.
    if (chance(group.includes(peer) ? manyEmpty / 4 : manyEmpty)) return []
    const present = group.map((m) => m.id)
    const one = () => (present.length && chance(0.7) ? pick(present) : chance(0.7) ? pick(ids) : peer.id !== null && chance(0.5) ? peer.id : 999)
    return Array.from({ length: pick([1, 1, 1, 2, 3]) }, one)
  }
  const recipient = (peer) => {
    const known = [...names.keys()].filter((link) => model.links.has(link))
    const mine = known.filter((link) => link.member === peer)
    const { link } = peer
    const r = below(100)
    if (mine.length && r < 40) return pick(mine)
    if (r < 62) return 0
    if (link && model.links.has(link) && r < 72) return link.memberId
    if (names.size && r < 86) return pick([...names.keys()]) // anybody's link (also its own), or one that is gone
    return r < 92 ? pick(ids) : r < 96 ? (peer.id ?? 999) : pick([999, 123456, 4294967295])
  }
  const content = (peer) => {
    for (let to = recipient(peer); ; to = recipient(peer)) {
      // "The id of the bound member": after a rename, the old or the new one? The reference cannot tell us, it leaks both.
      const { link } = peer
      if (typeof to === 'number' && to !== 0 && link && (to === link.memberId) !== (to === link.member.id)) continue
      const leak = model.leaks(peer, to)
      // A leak that first shows a link's id would give links other names on the two servers.
      if (leak && !names.has(leak)) continue
      // A leaked `lastData` ends another direction on the reference than on ours: such scripts are in `fixed`.
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

  /** Somebody, but rather not one whose step would be a foregone conclusion. */
  const someone = (present, toSpeak) => {
    const links = [...model.links]
    const linked = (p) => links.some((link) => link.joiner === p || link.member === p)
    const insisting = present.filter((p) => p.tried.size > 0) // asking on is what makes offers wrap and members block
    if (!toSpeak && insisting.length && chance(0.25)) return pick(insisting)
    const better = present.filter((p) => (toSpeak ? linked(p) : model.admission(p, []) !== 'alone'))
    return better.length && chance(0.8) ? pick(better) : present.length ? pick(present) : null
  }

  let asked = false // whether there is a connect in this burst: then who asked does not leave before the answer had its chance to come
  let speaker = null // a burst stays with one peer: between sockets the order would be anybody's guess
  for (let left = 12 + below(24); left > 0 || speaker; left--) {
    const present = [...model.peers.values()]
    const r = below(100)
    const peer = speaker ?? someone(present, r < 10 + 90 * chatty)
    const before = model.peers.size
    let step
    if (!speaker && unopened.length && (present.length < 2 || (present.length < size && chance(0.4)))) step = open()
    else if (!peer) break
    else if (r < 7 && !asked) step = leave(peer)
    else if (r < 10) step = `${peer.name} raw ${pick(idleBytes)}`
    else if (r < 10 + 90 * chatty) step = content(peer)
    else step = connect(peer)
    // What a closing socket causes comes when it is closed, which nobody else's next frame can be timed against.
    speaker = bursts && left > 0 && model.peers.size === before && !step.includes(' open ') && chance(0.4) ? peer : null
    asked = speaker !== null && (asked || step.includes(' connect '))
    steps.push(speaker ? `+ ${step}` : step)
    if (!speaker) render(model.seen.splice(0), names, false)
  }
  return steps
}

// ---- running them

/** A script running on one server. */
class Run {
  peers = new Map()
  names = new Map() // a link id on the wire -> L1
  seen = [] // since the last look

  constructor(server) {
    this.server = server
    this.key = randomBytes(9).toString('hex')
  }
  collect() {
    for (const [name, peer] of this.peers) {
      for (const m of peer.take()) {
        const { senderId, recipientId, lastData, data } = m.content ?? {}
        if (m.type === 'connected') this.seen.push([name, { kind: 'connected', yes: m.connected }])
        else if (m.type === 'content') this.seen.push([name, { kind: 'content', from: senderId, to: recipientId, last: lastData, data: data.toString('hex') }])
        else this.seen.push([name, { kind: JSON.stringify(m) }])
      }
      if (peer.code !== null && !peer.told) {
        peer.told = true
        this.seen.push([name, { kind: 'closed', code: peer.dropped ? 'by itself' : peer.code }])
      }
    }
    return render(this.seen, new Map(this.names), true)
  }
  /**
   * Waits until the server has shown `expected`, and in any case as many quiet rounds as it may take. A leave that nobody sees (no links) has no
   * answer to wait for: the rounds stand in for it, also over `watch`, a socket that is always there. That a peer's socket is closed says that the server
   * has closed it, and a server forgets a peer within a turn or two of that.
   */
  async settle(expected, closes) {
    const sockets = [this.server.watch, ...this.peers.values()]
    const enough = (seen) => seen.join('\n') === expected.join('\n')
    await within(10_000, quiet(sockets, closes ? 8 : 3))
    for (let round = 0; round < 60 && !enough(this.collect()); round++) {
      // Only on the way to a failure, or on a machine under load: let other processes have the processor.
      if (round > 20) await new Promise((resolve) => setTimeout(resolve, 2))
      await within(10_000, quiet(sockets, 1))
    }
    const lines = this.collect()
    render(this.seen.splice(0), this.names, true) // now the names count
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
      peer.dropped = true // some servers say goodbye to a socket that ended, some do not: nobody is there to hear it
      await within(10_000, peer.drop())
    } else throw new Error(`no such step: ${what}`)
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
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`the server is silent for ${ms / 1000} s: no pong, or no end of a closing socket`)), ms)))
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Lets a step happen on the model. */
function play(model, names, [name, what, ...rest]) {
  // Peers whose socket is closed say nothing: the model no longer knows them.
  if (what === 'open') model.open(name, rest[0], rest[1] === 'favored')
  else if (!model.peers.has(name)) return
  else if (what === 'connect') model.connect(name, Number(rest[0]), rest[1] === '-' ? [] : rest[1].split(',').map(Number))
  else if (what === 'content') {
    const to = [...names].find(([, link]) => link === rest[0])?.[0] ?? Number(rest[0])
    model.content(name, to, rest[1] === 'last', rest[2] === '-' ? '' : rest[2])
  } else if (what === 'close') model.leave(name, rest[0] ?? 1005)
  else if (what === 'drop') model.leave(name, 'by itself')
  else if (what === 'text' || (what === 'raw' && badBytes.includes(rest[0] === '-' ? '' : rest[0]))) model.leave(name, 4743)
}

const show = (lines) => lines.join('; ') || 'nothing'

/** Runs one script on both. Answers null, or the first difference as text; `trace` gets what the reference showed, without the leak. */
async function judge(title, steps, servers, trace = []) {
  const model = new Model()
  const names = new Map()
  const runs = servers.map((server) => new Run(server))
  const fault = (number, what, wanted, seen) => {
    const script = steps.map((s, i) => `  ${i + 1 === number ? '>' : ' '} ${String(i + 1).padStart(2)} ${s}`).join('\n')
    const [reference, ours] = seen
    return `${title}, step ${number}: ${what}\n${script}\n    reference showed: ${reference}\n    ours showed:      ${ours}\n    expected:         ${wanted}\n`
  }
  let closes = false
  try {
    for (const [i, step] of steps.entries()) {
      const words = step.replace(/^\+ /, '').split(' ')
      const before = model.peers.size
      play(model, names, words)
      closes ||= model.peers.size < before
      try {
        await Promise.all(runs.map((run) => run.send(words)))
        if (step.startsWith('+')) continue
        const leaks = model.seen.filter(([, m]) => m.leak).length
        const seen = model.seen.splice(0)
        const ours = render(seen, names, false)
        const wanted = servers.map((server) => (server.leaks && leaks ? render(seen, names, true) : ours))
        const saw = await Promise.all(runs.map((run, k) => run.settle(wanted[k], closes)))
        closes = false
        const wrong = [0, 1].filter((k) => saw[k].join('\n') !== wanted[k].join('\n'))
        if (wrong.length) {
          const peers = wrong.map((k) => `${['the reference (so the model is wrong)', 'ours'][k]} at ${differing(saw[k], wanted[k])}`)
          return fault(i + 1, peers.join(', '), show(ours) + (leaks ? ` (the reference with its leak: ${show(render(seen, names, true))})` : ''), saw.map(show))
        }
        trace.push([step, ours])
      } catch (error) {
        return fault(i + 1, error.message, '', ['', ''])
      }
    }
    return null
  } finally {
    for (const run of runs) run.end()
  }
}

/** The peers whose lines differ. */
function differing(saw, wanted) {
  const of = (lines, peer) => lines.filter((line) => line.startsWith(`${peer} `)).join('\n')
  return [...new Set([...saw, ...wanted].map((line) => line.split(' ')[0]))].filter((peer) => of(saw, peer) !== of(wanted, peer)).join(', ')
}

// ---- where the two are meant to differ, and what random scripts keep away from

/** A name, then steps, each with what must be seen of the reference, and of ours where that differs. */
const bound = [['A open KEY'], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['J connect 2 -', 'J connected false'], ['J content 0 more 00', 'A content from L1 00']]
const fixed = [
  ['the leak: junk', ...bound, ['J content 999 more 01', 'A content from L1 01', ''], ['J content 0 more 02', 'A content from L1 02']],
  ['the leak: own id, own link, an id that is nobody', ...bound, ['J content 2 more 01', 'A content from L1 01', ''], ['J content L1 more 01', 'A content from L1 01', ''], ['J content 7 more 01', 'A content from L1 01', '']],
  ['the leak: lastData in what ours drops leaves our direction open', ...bound, ['J content 999 last 01', 'A content from L1 01', ''], ['J content 0 more 02', '', 'A content from L1 02'], ['J close', 'J closed 1005', 'A content from L1 -; J closed 1005']],
  ['the leak: what is meant for a later joiner, and its lastData',
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
  ['key: with slashes', ['A open KEY/a//b/'], ['B open KEY/a//b'], ['A connect 1 -', 'A connected true'], ['B connect 1 -', 'B connected true']],
  ['key: case, plus and space are not the same', ['A open KEY/a'], ['B open KEY/A'], ['C open KEY/x+y'], ['D open KEY/x%20y'], ...[...'ABCD'].map((p) => [`${p} connect 1 -`, `${p} connected true`])],
  ['key: %zz', ['A open KEY%zz', '', 'A closed 4745']],
  ['key: % at the end', ['A open KEY%', '', 'A closed 4745']],
  ['key: %ff is not UTF-8', ['A open KEY%ff', '', 'A closed 4745']],
  ['key: two spellings meet in ours', ['A open KEYa%2Fb'], ['B open KEY%61/b'], ['A connect 1 -', 'A connected true'], ['B connect 2 -', 'B connected true', 'B connected false']],
  ['key: 342 bytes in 1026 characters', [`A open KEY${'%C3%A9'.repeat(162)}`, 'A closed 4741', ''], ['A connect 1 -', '', 'A connected true']],
  ...['favored=0', 'favored&x=1', 'x=1&favored', 'favored='].map((query) => [`?${query} is favored`,
    ['A open KEY'], [`F open KEY ${query}`], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['F connect 2 1', 'F connected true'],
    ['J connect 3 -', 'J connected false'], ['J content 0 more 01', 'F content from L1 01']]),
  ...['Favored', 'x=favored', 'favoredx'].map((query) => [`?${query} is not favored`,
    ['A open KEY'], [`F open KEY ${query}`], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['F connect 2 1', 'F connected true'],
    ['J connect 3 -', 'J connected false'], ['J content 0 more 01', 'A content from L1 01']]),
  ['bytes: an unknown field beside content, inside content, a group', ...bound,
    ['J raw 28011203220178', 'A content from L1 78'], ['J raw 12053001220178', 'A content from L1 78'], ['J raw 3b08013c1203220178', 'A content from L1 78']],
  ['bytes: varints are cut to 32 bits', ...bound, ['J raw 1209108080808010220178', 'A content from L1 78'], ['J raw 1a09080812058180808010', 'J connected true']],
  ['bytes: lastData 2 is true', ...bound, ['J raw 12051802220178', 'A content from L1 78'], ['J content 0 more 01', '']],
  ['bytes: empty submessages', ...bound, ['J raw 1200', 'A content from L1 -'], ['A raw 1a00', 'A connected true']],
  ['bytes: the last of two data fields', ...bound, ['J raw 1206220178220179', 'A content from L1 79']],
  ['bytes: members packed and unpacked in one', ...bound, ['J raw 1a0708081201371001', 'J connected true']],
  ['60 000 bytes', ...bound, [`J content 0 more ${'ab'.repeat(60_000)}`, `A content from L1 ${'ab'.repeat(60_000)}`]],
  ['tried: a wrap forgets (A, B, A again; A leaves: B is offered, then blocks)',
    ['A open KEY'], ['B open KEY'], ['J open KEY'], ['A connect 1 -', 'A connected true'], ['B connect 2 1', 'B connected true'],
    ...[1, 2, 3].map(() => ['J connect 9 -', 'J connected false']), ['A close', 'A closed 1005; J content to L1 -'],
    ['J connect 9 -', 'J connected false'], ['J connect 9 -', 'B closed 4744; J connected true; J content to L2 -']],
]

async function judgeFixed([title, ...steps], servers) {
  const runs = servers.map((server) => new Run(server))
  try {
    for (const [i, [step, reference = '', ours = reference]] of steps.entries()) {
      const wanted = servers.map((server) => (server.leaks ? reference : ours).split('; ').filter(Boolean))
      const closes = wanted.flat().some((line) => line.includes(' closed '))
      const saw = await Promise.all(runs.map(async (run, k) => (await run.send(step.split(' ')), run.settle(wanted[k], closes))))
      for (const k of [0, 1])
        if (saw[k].join('\n') !== wanted[k].join('\n'))
          return `fixed "${title}", step ${i + 1} (${step.slice(0, 60)}): ${['the reference', 'ours'][k]} at ${differing(saw[k], wanted[k])}\n    showed:   ${show(saw[k]).slice(0, 300)}\n    expected: ${show(wanted[k]).slice(0, 300)}\n`
    }
    return null
  } catch (error) {
    return `fixed "${title}": ${error.message}\n`
  } finally {
    for (const run of runs) run.end()
  }
}

// ---- traces

const traceHead = `# Recordings of the reference server (npm sigver 20.1.0), made by judge.mjs --save. For a replay on a reducer of one group.
# Blank lines and lines with # count for nothing. Words are split by one space. Peers are A to H; each is opened at most once in a script.
#
# = K SEED                    a script begins, with a fresh group
# > A open [favored]          a step: a socket opens; A is no member yet
# > A connect ID MEMBERS      MEMBERS: 1,2 or - for none
# > A content TO more|last DATA   TO: a number, or L1: a link id; last: lastData is set; DATA: hex or - for none
# > A leave                   A's socket is closed (clean, cut off, or for bad bytes), A itself sees nothing more
# < A connected true|false    what the step above made A see; in order for one peer, in no order between peers
# < A content from LINK DATA  senderId LINK, recipientId 0: A is the member, this comes from its joiner
# < A content to LINK DATA    senderId 0, recipientId LINK: A is the joiner
# < A closed 4744             the server closes A. Its leave follows at once, in the same step: what that makes others see is listed too
#
# L1, L2... stand for random ids, in order of first appearance in these lines (a link that no line shows has no name). Equal names: equal ids. Other names: other ids.
# The reference's leak (content of a bound peer to its bound member, whatever the recipient) is left out. Heartbeats and what is ignored are, too.
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

// ---- all of it

async function serve(server, leaks) {
  const watch = new Peer(`${server.base}/watch-${randomBytes(9).toString('hex')}`)
  await watch.opened
  if (watch.code !== null) throw new Error(`cannot open a socket on ${server.base}: ${watch.error ?? watch.code}`)
  // It outlives many scripts, so it has to say that it lives.
  setInterval(() => watch.send(encode({ heartbeat: true })), 4000).unref()
  return { ...server, leaks, watch }
}

process.on('uncaughtException', (error) => {
  // A server that cannot be started or reached: no verdict, but the line that everybody looks for.
  console.log(`${error.message}\n0 passed, 1 failed`)
  process.exit(1)
})
const ours = options.self ? await startReference() : options.server ? await startBinary(options.server) : positionals[0] && { base: positionals[0].replace(/\/$/, '') }
if (!ours) {
  console.error('say where our server is: a URL, --server PATH, or --self')
  process.exit(2)
}
const servers = [await serve(await startReference(), true), await serve(ours, options.self)]

let passed = 0
let failed = 0
const count = (difference) => {
  if (difference) console.log(difference)
  difference ? failed++ : passed++
}
const fired = {}
const traces = []
const numbers = options.only ? [Number(options.only)] : Array.from({ length: Number(options.scripts) }, (_, i) => i + 1)
for (const number of numbers) {
  const steps = makeScript(Math.imul(Number(options.seed), 1_000_003) + number, fired)
  const trace = []
  const difference = await judge(`script ${number} (seed ${options.seed})`, steps, servers, trace)
  count(difference)
  if (options.verbose) console.log(traceOf(number, trace))
  // The reducer's test knows one group, and wants to see what each single step caused.
  if (!difference && !steps.some((s) => s.startsWith('+') || s.includes('KEY/2'))) traces.push(traceOf(number, trace))
}
if (!options.only) for (const script of fixed) count(await judgeFixed(script, servers))
if (options.save) {
  mkdirSync(options.save, { recursive: true })
  let text = traceHead
  for (const trace of traces.slice(0, 200)) if (text.length + trace.length < 200_000) text += '\n' + trace
  writeFileSync(join(options.save, 'traces.txt'), text)
}
console.log(`connects by rule: ${Object.entries(fired).map(([rule, n]) => `${rule} ${n}`).join(', ')}`)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed ? 1 : 0) // ends the servers that were started, too
