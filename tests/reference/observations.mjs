// Named probes of the reference server, for the places where the protocol can be read in two ways. Each prints what it saw.
//
//   node answers.mjs [--on BASE_URL] [PART_OF_A_NAME]     (--on: ask another server, such as ours, the same questions)
//
// How to read a line: `B<x from L1` B got content "x" with senderId L1, `J<x to L1` with recipientId L1, `end` content without data,
// `A closed 4744` a close code, `J:true` the answer to J's connect, `nothing` nobody saw anything.
import net from 'node:net'
import { Peer, encode, quiet, startReference } from './lib.mjs'

const args = process.argv.slice(2)
const on = args.includes('--on') ? args.splice(args.indexOf('--on'), 2)[1] : null
const only = args[0] ?? ''
let server = null
let count = 0

/** A key of its own, and peers known by one-letter names. */
class Group {
  peers = new Map()
  links = new Map()
  log = []

  constructor(base) {
    this.base = base
    this.key = `probe-${process.pid}-${count++}`
  }
  async open(names, query = '', path = this.key) {
    for (const name of names) {
      const peer = new Peer(`${this.base}/${path}${query}`)
      await peer.opened
      this.peers.set(name, peer)
    }
  }
  at(name) {
    return this.peers.get(name)
  }
  /** What everybody saw since the last look, as text. */
  async seen() {
    await quiet([...this.peers.values()])
    const out = []
    for (const [name, peer] of this.peers) {
      for (const m of peer.take()) {
        if (m.type === 'connected') out.push(`${name}:${m.connected}`)
        else if (m.type !== 'content') out.push(`${name}<${JSON.stringify(m)}`)
        else {
          const { senderId, recipientId, lastData, data } = m.content
          const ids = [senderId && `from ${this.link(senderId)}`, recipientId && `to ${this.link(recipientId)}`].filter(Boolean)
          const text = data.length > 40 ? `${data.length} bytes` : data.toString() || 'end'
          out.push(`${name}<${text} ${ids.join(' ') || 'no ids'}${lastData ? ' LAST' : ''}`)
        }
      }
      if (peer.code !== null && !peer.reported) {
        peer.reported = true
        out.push(`${name} closed ${peer.code}`)
      }
    }
    if (server && !server.alive) out.push('THE SERVER DIED')
    return out.join(', ') || 'nothing'
  }
  link(id) {
    if (!this.links.has(id)) this.links.set(id, `L${this.links.size + 1}`)
    return this.links.get(id)
  }
  /** The number behind `L1`; other numbers are themselves. */
  id(name) {
    for (const [id, known] of this.links) if (known === name) return id
    return name
  }
  async note(what) {
    const seen = await this.seen()
    this.log.push(`${what} -> ${seen}`)
    return seen
  }
  connect(name, id, members = []) {
    this.at(name).send(encode({ connect: { id, members } }))
    return this.note(`${name} connect ${id} [${members}]`)
  }
  say(name, to, text = 'x', lastData = false) {
    this.at(name).send(encode({ content: { senderId: 77, recipientId: this.id(to), lastData, data: Buffer.from(text) } }))
    return this.note(`${name} says "${text.length > 40 ? text.length + ' bytes' : text}" to ${to}${lastData ? ' (last)' : ''}`)
  }
  raw(name, hex) {
    this.at(name).send(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
    return this.note(`${name} raw ${hex || '(empty)'}`)
  }
  async leave(name, code) {
    this.at(name).ws.close(code)
    await this.at(name).closed
    return this.note(`${name} closes${code ? ' with ' + code : ''}`)
  }
}

const probes = []
const probe = (name, run, ...peers) => probes.push({ name, run, peers })

// ---- offers and the tried list

for (const times of [1, 2, 3, 4]) {
  probe(`blocking after a leave: J asked ${times} times in [A, B], then A leaves`, async (g) => {
    await g.open('ABJ')
    await g.connect('A', 1), await g.connect('B', 2, [1])
    for (let i = 0; i < times; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
    await g.leave('A')
    await g.connect('J', 9), await g.say('J', 0, 'who?')
    await g.connect('J', 9)
  })
}
probe('blocking: the sole member when J asked twice', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9)
})
probe('blocking: the sole member renames itself between (does tried go by id or by member?)', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('A', 5), await g.connect('A', 5, [1]), await g.connect('A', 6, [5])
  await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('blocking: A leaves, a new first member takes the same id', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.leave('A')
  await g.connect('B', 1), await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('blocking: J asks again naming the id of the blocking member', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9, [1]), await g.say('J', 0, 'old link?')
})
probe('tried list after J became a member and lost it again', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('C', 3, [1])
  await g.connect('J', 9), await g.say('J', 0, 'who?')
  await g.connect('J', 9, [1]), await g.connect('J', 9, []), await g.say('J', 0, 'who?')
})
probe('tried list: wraps, and after the wrap', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('C', 3, [1])
  for (let i = 0; i < 7; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('tried list: J asks under another id each time', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  for (const id of [7, 8, 9]) await g.connect('J', id), await g.say('J', 0, 'who?')
})
probe('rename: A of [A, B] asks as 5 naming its old id; J tried its old id', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  await g.connect('J', 9), await g.say('J', 0, 'who?')
  await g.connect('A', 5, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('rename: A of [A, B] asks as 5 naming only its new id (self-naming before it has it)', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  await g.connect('A', 5, [5]), await g.say('A', 0, 'who?')
})
probe('a member names only itself (its present id)', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('A', 1, [1])
})
probe('a newcomer names only itself', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9, [9]), await g.say('J', 0, 'who?')
})
probe('same id: two members with id 1, J asks thrice', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 1, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('same id: [1, 1, 2], J asks four times', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 1, [1]), await g.connect('C', 2, [1])
  for (let i = 0; i < 4; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('same id: [A=1, B=1], J tried 1 (A), A leaves, J asks again', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 1, [1]), await g.connect('J', 9), await g.say('J', 0, 'who?')
  await g.leave('A'), await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('same id: [A=1, B=1], A asks [] (rule 5)', async (g) => {
  await g.open('AB')
  await g.connect('A', 1), await g.connect('B', 1, [1]), await g.connect('A', 1, []), await g.say('A', 0, 'who?')
})
probe('the joiner has the id of the sole member', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 1, []), await g.say('J', 0, 'who?'), await g.connect('J', 1, [])
})
probe('the sole member asks as 5: which id counts for rule 3? (1 old, 5 new)', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('A', 5)
  await g.connect('J', 8, [5]), await g.connect('K', 9, [1])
})
probe('the sole member asks as 5 naming its own id 1: is it renamed?', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('A', 5, [1])
  await g.connect('J', 8, [5]), await g.connect('K', 9, [1])
})
probe('favored: the order [A, B, F favored]', async (g) => {
  await g.open('ABJ'), await g.open('F', '?favored')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('F', 3, [1])
  for (let i = 0; i < 4; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('favored: a favored joiner gets the same order', async (g) => {
  await g.open('AB'), await g.open('FJ', '?favored')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('F', 3, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('favored: two favored members after plain ones', async (g) => {
  await g.open('AJ'), await g.open('FG', '?favored')
  await g.connect('A', 1), await g.connect('F', 3, [1]), await g.connect('G', 4, [1])
  for (let i = 0; i < 4; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
for (const query of ['?favored=0', '?favored=', '?favored&x=1', '?x=1&favored', '?Favored', '?favoredx', '?x=favored', '?x', '??favored', '?%66avored', '?favored=a&favored=b'])
  probe(`favored: is ${query} favored?`, async (g) => {
    await g.open('AJ'), await g.open('F', query)
    await g.connect('A', 1), await g.connect('F', 3, [1]), await g.connect('J', 9)
    g.log = [(await g.say('J', 0, 'who?')).startsWith('F') ? 'favored' : `no (${g.log.join('; ')})`]
  })

// ---- content and links

probe("a joiner's content to: its member's id, its link, junk, its own id, 0", async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0)
  for (const to of [1, 'L1', 12345, 9]) await g.say('J', to)
})
probe('a member with a joiner, itself bound: content to its joiner, to 0, to the member, junk', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 2), await g.say('J', 0), await g.connect('J', 2, [1]), await g.say('J', 0, 'still?')
  await g.leave('A'), await g.connect('K', 3), await g.say('K', 0)
  await g.say('J', 'L2', 'to K'), await g.say('J', 0, 'to nobody')
})
probe('the leak: J bound to A, K bound to J; J speaks to K', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 2), await g.say('J', 0), await g.connect('J', 2, [1])
  await g.connect('K', 3), await g.say('K', 0), await g.connect('K', 3), await g.say('K', 0)
  await g.say('J', 'L2', 'to K?'), await g.say('J', 'L3', 'to K?'), await g.say('J', 1, 'to A by id'), await g.say('J', 0, 'to A by 0'), await g.say('J', 12345, 'junk')
  await g.say('J', 'L3', 'last to K', true), await g.say('J', 0, 'after: to A?'), await g.say('J', 'L3', 'after: to K?')
})
probe('the leak: junk with lastData, then 0', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 2), await g.say('J', 0), await g.say('J', 12345, 'junk last', true), await g.say('J', 0, 'after')
})
probe('a member with joiners speaks to 0, to a joiner by id, to its own id, junk', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0)
  for (const to of [0, 9, 1, 12345]) await g.say('A', to)
  await g.say('A', 'L1', 'by link')
})
probe("somebody else uses a link's id", async (g) => {
  await g.open('ABJK')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.say('J', 0)
  await g.say('B', 'L1', 'from B'), await g.say('K', 'L1', 'from K')
})
probe('content from a peer that never connected', async (g) => {
  await g.open('AX')
  await g.connect('A', 1), await g.say('X', 0), await g.say('X', 1)
})
probe('lastData from the joiner, then more both ways, then J closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0, 'one', true), await g.say('J', 0, 'two'), await g.say('J', 0, 'three', true)
  await g.say('A', 'L1', 'back'), await g.leave('J')
})
probe('lastData from the joiner, then A closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0, 'one', true), await g.leave('A')
})
probe('lastData from the member, then more both ways, then A closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0), await g.say('A', 'L1', 'one', true), await g.say('A', 'L1', 'two')
  await g.say('J', 0, 'forth'), await g.leave('A')
})
probe('lastData from the member, then J closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0), await g.say('A', 'L1', 'one', true), await g.leave('J')
})
probe('lastData both ways, then A closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0, 'one', true), await g.say('A', 'L1', 'two', true), await g.say('J', 0), await g.say('A', 'L1'), await g.leave('A')
})
probe('lastData both ways, then J asks again with a sole member', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0, 'one', true), await g.say('A', 'L1', 'two', true), await g.connect('J', 9)
})
probe('lastData without data, and content without data', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0, ''), await g.say('J', 0, '', true), await g.say('A', 'L1', ''), await g.say('A', 'L1', '', true), await g.leave('J')
})
probe('J closes: what A sees, without any content before', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.leave('J')
})
probe('A closes: what J sees, without any content before', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('K', 8), await g.leave('A'), await g.say('J', 0)
})
probe('J became a member and closes: does A still get the end?', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9, [1]), await g.leave('J')
})
probe('J became a member, A closes: does J still get the end?', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9, [1]), await g.leave('A')
})
probe('J closes twice over two links (rebound before)', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.say('J', 0), await g.connect('J', 9), await g.say('J', 0), await g.leave('J')
})
probe('rebinding: A speaks to the old link; then A closes', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.say('J', 0), await g.connect('J', 9), await g.say('J', 0)
  await g.say('A', 'L1', 'to the old link'), await g.say('B', 'L2', 'to the new link'), await g.leave('A'), await g.leave('B')
})
probe('rebinding to the same member (wrap): is the link fresh?', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.say('J', 0)
  await g.say('A', 'L1', 'old'), await g.say('A', 'L3', 'new'), await g.leave('J')
})
probe('the member asks again (true): do its links live on?', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0), await g.connect('A', 1), await g.connect('A', 5, [1])
  await g.say('A', 'L1', 'still?'), await g.say('J', 0, 'still?')
})

// ---- 4744 and rule 5

probe('4744: joiners J (lets itself in) and K of A', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 8), await g.connect('K', 9), await g.say('J', 0), await g.say('K', 0)
  await g.connect('J', 8), await g.say('J', 0, 'after'), await g.connect('K', 9), await g.say('K', 0, 'who?')
})
probe('4744: A answers its close frame late; meanwhile content, connects', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 8), await g.connect('K', 9), await g.say('J', 0), await g.say('K', 0)
  const a = g.at('A')
  a.ws._socket.pause() // A reads nothing from here on, so it does not answer the close frame
  g.peers.delete('A')
  await g.connect('J', 8), await g.say('K', 0, 'K to the old member'), await g.say('J', 0, 'J to the old member'), await g.connect('K', 9), await g.say('K', 0, 'who?')
  a.ws._socket.resume()
  await a.closed
  g.peers.set('A', a)
  await g.note('A reads on')
})
probe('4744: A, its close frame unanswered, still sends content and connect', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 8), await g.connect('K', 9), await g.say('J', 0), await g.say('K', 0)
  const a = g.at('A')
  a.ws._socket.pause()
  g.peers.delete('A')
  await g.connect('J', 8)
  a.ws.send(encode({ content: { recipientId: g.id('L2'), data: Buffer.from('late') } }))
  await g.note('A sends content to K')
  a.ws.send(encode({ connect: { id: 1, members: [8] } }))
  await g.note('A asks connect 1 [8]')
  await g.connect('K', 9, [1]), await g.connect('K', 9, [8])
  a.ws._socket.resume()
  await a.closed
  g.peers.set('A', a)
  await g.note('A reads on')
})
probe('4744: the one put out was itself bound (chain A <- J, J sole, K blocks J)', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 2), await g.say('J', 0), await g.connect('J', 2, [1]), await g.connect('A', 1, []), await g.say('A', 0, 'who?')
  await g.connect('K', 3), await g.say('K', 0, 'who?'), await g.connect('K', 3)
})
probe('rule 5: A of [A, B] names nobody', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.say('J', 0)
  await g.connect('A', 1), await g.say('A', 0, 'who?'), await g.say('J', 0, 'still A?'), await g.say('A', 'L1', 'to J')
  await g.connect('A', 1), await g.say('J', 0, 'now?')
})
probe('rule 5: A of [A, B] names an unknown member', async (g) => {
  await g.open('AB')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('A', 1, [55]), await g.say('A', 0, 'who?')
})
probe('rule 5: A of [A, B, C] leaves the members and comes back: its place in the order', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('C', 3, [1])
  await g.connect('A', 1), await g.say('A', 0, 'who?'), await g.connect('A', 1, [2])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.say('J', 0, 'who?')
})
probe('rule 5: is A offered to itself? [A, B] where B was tried by A before', async (g) => {
  await g.open('AB')
  await g.connect('B', 2), await g.connect('A', 1), await g.connect('A', 1, [2]), await g.connect('A', 1), await g.say('A', 0, 'who?'), await g.connect('A', 1)
})
probe('a member asks with [] when the group is itself and one other that it had tried (blocking?)', async (g) => {
  await g.open('ABC')
  await g.connect('A', 1), await g.connect('B', 2), await g.connect('B', 2, [1]), await g.connect('B', 2, []), await g.say('B', 0, 'who?'), await g.connect('B', 2, [])
})
probe('rule order: the sole member names an unknown id', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('A', 5, [66]), await g.connect('J', 9, [5]), await g.connect('J', 9, [1])
})
probe('everybody leaves; the group starts anew', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.leave('A'), await g.connect('J', 9, [1]), await g.connect('B', 1, [1]), await g.connect('B', 1, [9])
})

// ---- keys

const key = (name, path) =>
  probe(`key ${name}`, async (g) => {
    await g.open('A', '', path)
    await g.note('open')
    if (g.at('A').code === null) await g.connect('A', 1)
    if (g.at('A').error) g.log.push(g.at('A').error)
  })
key('(empty, path /)', '')
key('a/b', 'a/b')
key('512 characters', 'k'.repeat(512))
key('513 characters', 'k'.repeat(513))
key('511 characters', 'k'.repeat(511))
key('170 x %C3%A9 (1020 escaped, 340 bytes)', '%C3%A9'.repeat(170))
key('85 x %C3%A9 (510 escaped)', '%C3%A9'.repeat(85))
key('%zz', '%zz')
key('%ff', '%ff')
key('% alone', '%')
key('a trailing slash', 'k/')
key('//k', '/k')
key('only a slash more (//)', '/')
key('%20', '%20')
key('%00', '%00')

/** Which spellings meet in one group: A is a member under one, is J bound to it under the other? */
for (const [one, two] of [['K', 'K/'], ['K', '/K'], ['K', '%4B'.replace('%4B', 'K') + '?x'], ['aK', '%61K'], ['K%2fx', 'K%2Fx'], ['K%2Fx', 'K/x'], ['K', 'k'], ['K+x', 'K%20x'], ['K;x', 'K']])
  probe(`same group? /${one} and /${two}`, async (g) => {
    const path = (k) => k.replace('K', 'K' + g.key)
    await g.open('A', '', path(one)), await g.open('J', '', two === 'k' ? path(one).toLowerCase() : path(two))
    await g.connect('A', 1)
    const seen = await g.connect('J', 9)
    g.log = [seen === 'J:false' ? 'one group' : `two groups (${seen})`]
  })

/** Raw request lines, which a WebSocket library would not send. */
const rawKey = (name, target, extra = '') =>
  probe(`raw request: ${name}`, async (g) => {
    const { hostname, port } = new URL(g.base)
    const socket = net.connect(port, hostname)
    socket.on('error', () => {}) // 'close' follows
    socket.write(`GET ${target.replace('KEY', g.key)} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`, 'latin1')
    let bytes = Buffer.alloc(0)
    await new Promise((resolve) => {
      const look = (chunk) => {
        bytes = Buffer.concat([bytes, chunk])
        const head = bytes.indexOf('\r\n\r\n')
        // A head and then a close frame, or a head and silence; the masked ping (89 80) makes an open socket speak.
        if (head >= 0 && bytes.length === head + 4) socket.write(Buffer.from('898000000000', 'hex'))
        if (head >= 0 && bytes.length > head + 4) resolve()
      }
      socket.on('data', look)
      socket.on('close', resolve)
    })
    socket.destroy()
    const head = bytes.indexOf('\r\n\r\n')
    const frame = bytes.subarray(head + 4)
    const lines = bytes.subarray(0, Math.max(head, 0)).toString('latin1').split('\r\n')
    const what = frame[0] === 0x8a ? 'open' : frame[0] === 0x88 ? `close ${frame.readUInt16BE(2)} "${frame.subarray(4)}"` : `frame ${frame.toString('hex')}`
    g.log.push(head < 0 ? 'no answer, stream ended' : `${lines[0]} [${lines.slice(1).filter((l) => !/^(Upgrade|Connection|Sec-WebSocket-Accept)/i.test(l))}] then ${what}`)
    if (server && !server.alive) g.log.push('THE SERVER DIED')
  })
rawKey('a plain key', '/KEY')
rawKey('absolute form', 'http://x/KEY')
rawKey('no leading slash', 'KEY')
rawKey('only a query', '/?favored')
rawKey('%ff', '/%ff')
rawKey('%zz', '/%zz')
rawKey('a raw non-ASCII byte', '/KEY\xe9')
rawKey('//', '//')
rawKey('///', '///')
rawKey('//host/KEY', '//host/KEY')
rawKey('offers a subprotocol', '/KEY', 'Sec-WebSocket-Protocol: a, b\r\n')
rawKey('offers permessage-deflate', '/KEY', 'Sec-WebSocket-Extensions: permessage-deflate\r\n')

// ---- bytes

const bytes = (name, ...hex) =>
  probe(`bytes: ${name}`, async (g) => {
    await g.open('AJ')
    await g.connect('A', 1)
    await g.connect('J', 9)
    await g.say('J', 0, 'hi') // so that L1 is known and content shows
    g.log = []
    for (const h of hex) await g.raw('J', h)
    if (g.at('J').code === null && !(server && !server.alive)) await g.say('J', 0, 'alive')
  })
bytes('empty frame', '')
bytes('heartbeat true', '0801')
bytes('heartbeat false', '0800')
bytes('heartbeat 2', '0802')
bytes('connected true from a peer', '2001')
bytes('connected false from a peer', '2000')
bytes('content, empty submessage', '1200')
bytes('connect, empty submessage', '1a00')
bytes('content then connect (two oneof fields: the last wins?)', '12021001 1a020809')
bytes('connect then content', '1a020809 1203220178')
bytes('heartbeat then content', '0801 1203220178')
bytes('content then heartbeat', '1203220178 0801')
bytes('content then connected', '1203220178 2001')
bytes('two contents: merged or last? (data x, then data y to 0)', '1203220178 1203220179')
bytes('two contents: data x, then only a recipient (merge keeps x)', '1203220178 12021000')
bytes('two contents: to 5 without data, then data y (merge keeps to 5)', '12021005 1203220179')
bytes('two connects: members [1], then only id 8 (merge keeps the members)', '1a03120101 1a020808')
bytes('data twice in one content', '1206220178220179')
bytes('lastData = 2', '1205 1802 220178', '1203220178')
bytes('lastData = 0 written out', '1205 1800 220178', '1203220178')
bytes('unknown field 5 varint only', '2801')
bytes('unknown field 100 length-delimited only', 'a2060161')
bytes('unknown field then content', '2801 1203220178')
bytes('unknown field inside content', '1205 3001 220178')
bytes('unknown group (start 3b .. end 3c) then content', '3b 0801 3c 1203220178')
bytes('end group alone', '3c')
bytes('unclosed group', '3b')
bytes('field 0', '0001')
bytes('truncated: tag only', '12')
bytes('truncated: content longer than the frame', '120a2201')
bytes('truncated: data longer than its content', '1203220578')
bytes('truncated: data longer than content, but inside the frame', '1203220578 61626364')
bytes('truncated varint', '08ff')
bytes('varint of 11 bytes', '08ffffffffffffffffffff01')
bytes('garbage ff', 'ffffffff')
bytes('garbage text', '68656c6c6f')
bytes('wire type: heartbeat as bytes', '0a0101')
bytes('wire type: heartbeat as fixed32', '0d01000000')
bytes('wire type: heartbeat as fixed64', '090100000000000000')
bytes('wire type: content as varint 3 (then what could be a body)', '1003 220178')
bytes('wire type: content as varint 0', '1000')
bytes('wire type: connect as varint 0', '1800')
bytes('wire type: connect as varint 2', '1802 0808')
bytes('wire type: connected as bytes', '220101')
bytes('wire type: connected as an empty string', '2200')
bytes('wire type: senderId as bytes', '12050a0101220178'.replace('1205', '1206'))
bytes('wire type: senderId as fixed32', '12080d01000000220178')
bytes('wire type: recipientId as fixed32', '12081500000000220178')
bytes('wire type: lastData as bytes', '12061a0101220178')
bytes('wire type: data as varint', '12022001')
bytes('wire type: data as varint 0', '12022000')
bytes('wire type: id as bytes', '1a030a0108')
bytes('wire type: id as fixed32', '1a050d08000000')
bytes('wire type: members as fixed32', '1a051501000000')
bytes('wire type 6', '0e01')
bytes('wire type 7', '0f01')
bytes('members packed [1]', '1a05 0808 120101')
bytes('members unpacked [1]', '1a04 0808 1001')
bytes('members packed and unpacked [55] + [1]', '1a07 0808 120137 1001')
bytes('members packed, empty', '1a04 0808 1200')
bytes('members packed, truncated varint', '1a05 0808 1201ff')
bytes('id = 2^32-1 (5-byte varint)', '1a0608ffffffff0f')
bytes('id = -1 as 10 bytes, members as 10 bytes', '1a0b08ffffffffffffffffff01')
bytes('members [2^32 + 1] (truncates to 1?)', '1a08 0808 12048180808010'.replace('1a08', '1a09').replace('1204', '1205'))
bytes('overlong tag (8a 00 is no valid minimal tag for 1..)', '9280 00 03 220178')
bytes('tag of 6 bytes', '928080808000 03 220178')
bytes('recipientId 2^32-1', '1209 10ffffffff0f 220178')
bytes('recipientId 2^32 (truncates to 0?)', '1209 108080808010 220178')
bytes('senderId 2^32-1', '1209 08ffffffff0f 220178')
probe('bytes: text frame', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.at('J').ws.send('hello')
  await g.note('J sends text')
})
probe('bytes: empty text frame', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.at('J').ws.send('')
  await g.note('J sends empty text')
})
probe('bytes: text frame with bytes that would be a Message', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.at('J').ws.send('\x08\x01')
  await g.note('J sends text')
})
probe('bytes: a bad message followed at once by good ones', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.at('J').send(Buffer.alloc(0))
  g.at('J').send(encode({ content: { data: Buffer.from('after the bad one') } }))
  g.at('J').send(encode({ connect: { id: 9, members: [1] } }))
  await g.note('J: bad, content, connect in one burst')
})
probe('bytes: a bad message from the sole member, then J asks', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.raw('A', ''), await g.connect('J', 9), await g.say('J', 0)
})
probe('bytes: a bad message from the sole member A, its close frame unanswered; J asks', async (g) => {
  await g.open('AJ'), await g.connect('A', 1)
  const a = g.at('A')
  a.ws._socket.pause()
  g.peers.delete('A')
  a.send(Buffer.alloc(0))
  await g.connect('J', 9), await g.connect('J', 9, [1]), await g.say('J', 0)
  a.ws._socket.resume()
  await a.closed
  g.peers.set('A', a)
  await g.note('A reads on')
})
probe('bytes: a fragmented message', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  const m = encode({ content: { data: Buffer.from('in two frames') } })
  g.at('J').ws.send(m.subarray(0, 5), { fin: false })
  g.at('J').ws.send(m.subarray(5), { fin: true })
  await g.note('J sends content in two frames')
})
for (const mb of [1, 10])
  probe(`size: ${mb} MB of data`, async (g) => {
    await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0, 'x'.repeat(mb << 20))
    g.log = [g.log.at(-1)]
  })
probe('many members: 5000 ids, the last is known', async (g) => {
  await g.open('AJ'), await g.connect('A', 1)
  g.at('J').send(encode({ connect: { id: 9, members: [...Array(5000).keys()].map((i) => 5001 - i) } }))
  await g.note('J connects with 5001..2')
  g.at('J').send(encode({ connect: { id: 9, members: [...Array(5000).keys()].map((i) => 5000 - i) } }))
  await g.note('J connects with 5000..1')
})

// ---- sockets

for (const code of [undefined, 1000, 1001, 3000, 4999, 4744])
  probe(`close by the client with ${code ?? 'no code'}: the code that comes back`, async (g) => {
    await g.open('A'), await g.leave('A', code)
  })
probe('ping: the pong carries the payload', async (g) => {
  await g.open('A')
  g.at('A').ws.ping('abc')
  g.log.push(`pong ${await new Promise((r) => g.at('A').ws.once('pong', (d) => r(String(d))))}`)
})
probe('pong unasked', async (g) => {
  await g.open('A')
  g.at('A').ws.pong('abc')
  await g.connect('A', 1)
})
probe('the stream ends without a close frame (FIN): A sees', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.at('J').drop(), await g.note('J drops')
})
probe('the stream is reset (RST): A sees', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.at('J').ws._socket.resetAndDestroy()
  await g.at('J').closed
  await g.note('J resets')
})
probe('id 0, member 0', async (g) => {
  await g.open('AJK'), await g.connect('A', 0), await g.connect('J', 9, [0]), await g.connect('K', 0, []), await g.say('K', 0, 'who?')
})
probe('two groups: a link of one used from the other', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.say('J', 0)
  await g.open('XY', '', g.key + 'other'), await g.connect('X', 1), await g.connect('Y', 9), await g.say('Y', 0), await g.say('X', 'L1', 'cross')
})
probe('connect twice in one burst: two answers?', async (g) => {
  await g.open('AJ'), await g.connect('A', 1)
  for (let i = 0; i < 2; i++) g.at('J').send(encode({ connect: { id: 9 } }))
  await g.note('J connects twice at once')
})

probe('heartbeat (17 s, only when asked for by name): who is closed when', async (g) => {
  if (!only) return 'skipped'
  const begin = Date.now()
  const kinds = { silent: null, true: '0801', false: '0800', content: '1200', connected: '2001', 'heartbeat+content': '08011200', 'content+heartbeat': '12000801', 'content+heartbeat+connected': '120008012001' }
  const ends = Object.entries(kinds).map(async ([kind, hex]) => {
    const peer = new Peer(`${g.base}/${g.key}${kind.replaceAll('+', '-')}`)
    await peer.opened
    const timer = hex && setInterval(() => peer.send(Buffer.from(hex, 'hex')), 3500)
    const stop = setTimeout(() => peer.ws.terminate(), 17_000)
    await peer.closed
    clearInterval(timer), clearTimeout(stop)
    const after = ((Date.now() - begin) / 1000).toFixed(1)
    g.log.push(`${kind}: ${peer.heartbeats} heartbeats, ${peer.code === 1006 ? 'still open' : `closed ${peer.code}`} after ${after} s`)
  })
  await Promise.all(ends)
})

for (const { name, run } of probes.filter((p) => p.name.includes(only))) {
  if (!on && !server?.alive) server = await startReference()
  const g = new Group(on ?? server.base)
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(() => resolve('TIMED OUT'), 20_000)))
  const end = await Promise.race([run(g).catch((error) => `FAILED: ${error.message}`), late])
  clearTimeout(timer)
  if (end) g.log.push(end)
  console.log(`${name}\n    ${g.log.join('\n    ')}`)
  for (const peer of g.peers.values()) peer.ws.terminate()
}
server?.stop()
process.exit(0)
