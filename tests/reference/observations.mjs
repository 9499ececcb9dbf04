// Named observations of the reference server, for the parts of the protocol that allow two readings. Each prints what its peers received.
//
//   node observations.mjs [--on BASE_URL] [PART_OF_A_NAME]     (--on: observe another server, such as ours)
//
// How to read a line: `B<x from L1` B received content "x" with senderId L1, `J<x to L1` with recipientId L1, `end` content without data,
// `A closed 4744` a close code, `J:true` the answer to J's connect, `nothing` no peer received a message.
import net from 'node:net'
import { Peer, encode, quiet, startReference } from './lib.mjs'

const args = process.argv.slice(2)
const on = args.includes('--on') ? args.splice(args.indexOf('--on'), 2)[1] : null
const only = args[0] ?? ''
let server = null
let count = 0

/** A group with a new key, and its peers by one-letter names. */
class Group {
  peers = new Map()
  links = new Map()
  log = []

  constructor(base) {
    this.base = base
    this.key = `observation-${process.pid}-${count++}`
  }
  async open(names, query = '', path = this.key) {
    for (const name of names) {
      const peer = new Peer(`${this.base}/${path}${query}`)
      await peer.opened
      this.peers.set(name, peer)
    }
  }
  peer(name) {
    return this.peers.get(name)
  }
  /** Returns what all peers received since the last call, as text. */
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
    if (server && !server.alive) out.push('THE SERVER EXITED')
    return out.join(', ') || 'nothing'
  }
  link(id) {
    if (!this.links.has(id)) this.links.set(id, `L${this.links.size + 1}`)
    return this.links.get(id)
  }
  /** Returns the id of the link named `L1`, or the argument if it is a number. */
  id(name) {
    for (const [id, known] of this.links) if (known === name) return id
    return name
  }
  async record(what) {
    const seen = await this.seen()
    this.log.push(`${what} -> ${seen}`)
    return seen
  }
  connect(name, id, members = []) {
    this.peer(name).send(encode({ connect: { id, members } }))
    return this.record(`${name} connect ${id} [${members}]`)
  }
  content(name, to, text = 'x', lastData = false) {
    this.peer(name).send(encode({ content: { senderId: 77, recipientId: this.id(to), lastData, data: Buffer.from(text) } }))
    return this.record(`${name} sends "${text.length > 40 ? text.length + ' bytes' : text}" to ${to}${lastData ? ' (last)' : ''}`)
  }
  raw(name, hex) {
    this.peer(name).send(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
    return this.record(`${name} raw ${hex || '(empty)'}`)
  }
  async leave(name, code) {
    this.peer(name).ws.close(code)
    await this.peer(name).closed
    return this.record(`${name} closes${code ? ' with ' + code : ''}`)
  }
}

const observations = []
const observe = (name, run) => observations.push({ name, run })

// ---- selection and the tried list

for (const times of [1, 2, 3, 4]) {
  observe(`blocking after a leave: J connects ${times} times in [A, B], then A leaves`, async (g) => {
    await g.open('ABJ')
    await g.connect('A', 1), await g.connect('B', 2, [1])
    for (let i = 0; i < times; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
    await g.leave('A')
    await g.connect('J', 9), await g.content('J', 0, 'which member?')
    await g.connect('J', 9)
  })
}
observe('blocking: only member when J connects twice', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9)
})
observe('blocking: only member changes its id in between (does the tried list contain ids or members?)', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('A', 5), await g.connect('A', 5, [1]), await g.connect('A', 6, [5])
  await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('blocking: A leaves, and a new first member has the same id', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.leave('A')
  await g.connect('B', 1), await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('blocking: J connects again with the id of the blocking member in its list', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9, [1]), await g.content('J', 0, 'old link')
})
observe('tried list: J becomes a member, and then a joiner again', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('C', 3, [1])
  await g.connect('J', 9), await g.content('J', 0, 'which member?')
  await g.connect('J', 9, [1]), await g.connect('J', 9, []), await g.content('J', 0, 'which member?')
})
observe('tried list: before and after a wrap', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('C', 3, [1])
  for (let i = 0; i < 7; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('tried list: J connects with a different id each time', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  for (const id of [7, 8, 9]) await g.connect('J', id), await g.content('J', 0, 'which member?')
})
observe('new id: A of [A, B] connects as 5 with its old id in the list; J tried the old id', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  await g.connect('J', 9), await g.content('J', 0, 'which member?')
  await g.connect('A', 5, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('new id: A of [A, B] connects as 5 with only the new id in the list', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  await g.connect('A', 5, [5]), await g.content('A', 0, 'which member?')
})
observe('own id: member connects with only its present id in the list', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('A', 1, [1])
})
observe('own id: new peer connects with only its own id in the list', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9, [9]), await g.content('J', 0, 'which member?')
})
observe('same id: two members have id 1, J connects three times', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 1, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('same id: [1, 1, 2], J connects four times', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 1, [1]), await g.connect('C', 2, [1])
  for (let i = 0; i < 4; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('same id: [A=1, B=1], J tried 1 (A), A leaves, J connects again', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 1, [1]), await g.connect('J', 9), await g.content('J', 0, 'which member?')
  await g.leave('A'), await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('same id: [A=1, B=1], A connects with [] (rule 5)', async (g) => {
  await g.open('AB')
  await g.connect('A', 1), await g.connect('B', 1, [1]), await g.connect('A', 1, []), await g.content('A', 0, 'which member?')
})
observe('same id: joiner has the id of the only member', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 1, []), await g.content('J', 0, 'which member?'), await g.connect('J', 1, [])
})
observe('new id: only member connects as 5; does rule 3 use 1 or 5?', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('A', 5)
  await g.connect('J', 8, [5]), await g.connect('K', 9, [1])
})
observe('new id: only member connects as 5 with its own id 1 in the list; does rule 3 use 1 or 5?', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('A', 5, [1])
  await g.connect('J', 8, [5]), await g.connect('K', 9, [1])
})
observe('favored: order of [A, B, F favored]', async (g) => {
  await g.open('ABJ'), await g.open('F', '?favored')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('F', 3, [1])
  for (let i = 0; i < 4; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('favored: order for a favored joiner', async (g) => {
  await g.open('AB'), await g.open('FJ', '?favored')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('F', 3, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('favored: order of two favored members after a regular one', async (g) => {
  await g.open('AJ'), await g.open('FG', '?favored')
  await g.connect('A', 1), await g.connect('F', 3, [1]), await g.connect('G', 4, [1])
  for (let i = 0; i < 4; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
for (const query of ['?favored=0', '?favored=', '?favored&x=1', '?x=1&favored', '?Favored', '?favoredx', '?x=favored', '?x', '??favored', '?%66avored', '?favored=a&favored=b'])
  observe(`favored: query ${query}`, async (g) => {
    await g.open('AJ'), await g.open('F', query)
    await g.connect('A', 1), await g.connect('F', 3, [1]), await g.connect('J', 9)
    g.log = [(await g.content('J', 0, 'which member?')).startsWith('F') ? 'favored' : `not favored (${g.log.join('; ')})`]
  })

// ---- content and links

observe("content of a joiner to its member's id, its link, an unknown id, its own id, 0", async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0)
  for (const to of [1, 'L1', 12345, 9]) await g.content('J', to)
})
observe('content of a bound member with a joiner to 0, to its joiner', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 2), await g.content('J', 0), await g.connect('J', 2, [1]), await g.content('J', 0, 'old link')
  await g.leave('A'), await g.connect('K', 3), await g.content('K', 0)
  await g.content('J', 'L2', 'to K'), await g.content('J', 0, 'to the closed member')
})
observe('leak: J is bound to A, K to J; J sends content to K', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 2), await g.content('J', 0), await g.connect('J', 2, [1])
  await g.connect('K', 3), await g.content('K', 0), await g.connect('K', 3), await g.content('K', 0)
  await g.content('J', 'L2', 'to K'), await g.content('J', 'L3', 'to K'), await g.content('J', 1, 'to A by id'), await g.content('J', 0, 'to A by 0'), await g.content('J', 12345, 'unknown id')
  await g.content('J', 'L3', 'last to K', true), await g.content('J', 0, 'after the last, to A'), await g.content('J', 'L3', 'after the last, to K')
})
observe('leak: lastData to an unknown id, then content to 0', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 2), await g.content('J', 0), await g.content('J', 12345, 'unknown id, last', true), await g.content('J', 0, 'after')
})
observe('content of a member with a joiner to 0, the id of the joiner, its own id, an unknown id', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0)
  for (const to of [0, 9, 1, 12345]) await g.content('A', to)
  await g.content('A', 'L1', 'by link')
})
observe("content of other peers to a link's id", async (g) => {
  await g.open('ABJK')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.content('J', 0)
  await g.content('B', 'L1', 'from B'), await g.content('K', 'L1', 'from K')
})
observe('content from a peer that never connected', async (g) => {
  await g.open('AX')
  await g.connect('A', 1), await g.content('X', 0), await g.content('X', 1)
})
observe('lastData from the joiner, then content both ways, then J closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0, 'one', true), await g.content('J', 0, 'two'), await g.content('J', 0, 'three', true)
  await g.content('A', 'L1', 'back'), await g.leave('J')
})
observe('lastData from the joiner, then A closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0, 'one', true), await g.leave('A')
})
observe('lastData from the member, then content both ways, then A closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0), await g.content('A', 'L1', 'one', true), await g.content('A', 'L1', 'two')
  await g.content('J', 0, 'forth'), await g.leave('A')
})
observe('lastData from the member, then J closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0), await g.content('A', 'L1', 'one', true), await g.leave('J')
})
observe('lastData both ways, then A closes', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0, 'one', true), await g.content('A', 'L1', 'two', true), await g.content('J', 0), await g.content('A', 'L1'), await g.leave('A')
})
observe('lastData both ways, then J connects again with the only member', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0, 'one', true), await g.content('A', 'L1', 'two', true), await g.connect('J', 9)
})
observe('lastData without data, and content without data', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0, ''), await g.content('J', 0, '', true), await g.content('A', 'L1', ''), await g.content('A', 'L1', '', true), await g.leave('J')
})
observe('J closes without any content before', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.leave('J')
})
observe('A closes without any content before', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('K', 8), await g.leave('A'), await g.content('J', 0)
})
observe('J becomes a member and closes: does A receive the end?', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9, [1]), await g.leave('J')
})
observe('J becomes a member, A closes: does J receive the end?', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.connect('J', 9, [1]), await g.leave('A')
})
observe('J closes after it was bound twice', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.content('J', 0), await g.connect('J', 9), await g.content('J', 0), await g.leave('J')
})
observe('rebinding: A sends content to the old link, then A closes', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.content('J', 0), await g.connect('J', 9), await g.content('J', 0)
  await g.content('A', 'L1', 'to the old link'), await g.content('B', 'L2', 'to the new link'), await g.leave('A'), await g.leave('B')
})
observe('rebinding to the same member (wrap): is the link new?', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.content('J', 0)
  await g.content('A', 'L1', 'old'), await g.content('A', 'L3', 'new'), await g.leave('J')
})
observe('member connects again (true): do its links stay open?', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0), await g.connect('A', 1), await g.connect('A', 5, [1])
  await g.content('A', 'L1', 'old link'), await g.content('J', 0, 'old link')
})

// ---- 4744 and rule 5

observe('4744: J and K are bound to A; J evicts A', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 8), await g.connect('K', 9), await g.content('J', 0), await g.content('K', 0)
  await g.connect('J', 8), await g.content('J', 0, 'after'), await g.connect('K', 9), await g.content('K', 0, 'which member?')
})
observe('4744: A answers its close frame late; others send content and connect', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 8), await g.connect('K', 9), await g.content('J', 0), await g.content('K', 0)
  const a = g.peer('A')
  a.ws._socket.pause() // A stops reading, so it does not answer the close frame
  g.peers.delete('A')
  await g.connect('J', 8), await g.content('K', 0, 'K to the old member'), await g.content('J', 0, 'J to the old member'), await g.connect('K', 9), await g.content('K', 0, 'which member?')
  a.ws._socket.resume()
  await a.closed
  g.peers.set('A', a)
  await g.record('A reads on')
})
observe('4744: A has not answered its close frame and still sends content and connect', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 8), await g.connect('K', 9), await g.content('J', 0), await g.content('K', 0)
  const a = g.peer('A')
  a.ws._socket.pause()
  g.peers.delete('A')
  await g.connect('J', 8)
  a.ws.send(encode({ content: { recipientId: g.id('L2'), data: Buffer.from('late') } }))
  await g.record('A sends content to K')
  a.ws.send(encode({ connect: { id: 1, members: [8] } }))
  await g.record('A connect 1 [8]')
  await g.connect('K', 9, [1]), await g.connect('K', 9, [8])
  a.ws._socket.resume()
  await a.closed
  g.peers.set('A', a)
  await g.record('A reads on')
})
observe('4744: evicted member is itself bound (chain A <- J, J is the only member, K evicts J)', async (g) => {
  await g.open('AJK')
  await g.connect('A', 1), await g.connect('J', 2), await g.content('J', 0), await g.connect('J', 2, [1]), await g.connect('A', 1, []), await g.content('A', 0, 'which member?')
  await g.connect('K', 3), await g.content('K', 0, 'which member?'), await g.connect('K', 3)
})
observe('rule 5: A of [A, B] connects with []', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('J', 9), await g.content('J', 0)
  await g.connect('A', 1), await g.content('A', 0, 'which member?'), await g.content('J', 0, 'to A'), await g.content('A', 'L1', 'to J')
  await g.connect('A', 1), await g.content('J', 0, 'after the second connect')
})
observe('rule 5: A of [A, B] connects with an unknown id', async (g) => {
  await g.open('AB')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('A', 1, [55]), await g.content('A', 0, 'which member?')
})
observe('rule 5: A of [A, B, C] becomes a joiner and a member again: its position in the order', async (g) => {
  await g.open('ABCJ')
  await g.connect('A', 1), await g.connect('B', 2, [1]), await g.connect('C', 3, [1])
  await g.connect('A', 1), await g.content('A', 0, 'which member?'), await g.connect('A', 1, [2])
  for (let i = 0; i < 3; i++) await g.connect('J', 9), await g.content('J', 0, 'which member?')
})
observe('rule 5: is A bound to itself? [A, B], and A tried B before', async (g) => {
  await g.open('AB')
  await g.connect('B', 2), await g.connect('A', 1), await g.connect('A', 1, [2]), await g.connect('A', 1), await g.content('A', 0, 'which member?'), await g.connect('A', 1)
})
observe('rule 5: member connects with [] twice in a group of two; does the other member block?', async (g) => {
  await g.open('ABC')
  await g.connect('A', 1), await g.connect('B', 2), await g.connect('B', 2, [1]), await g.connect('B', 2, []), await g.content('B', 0, 'which member?'), await g.connect('B', 2, [])
})
observe('rule order: sole member connects with an unknown id', async (g) => {
  await g.open('AJ')
  await g.connect('A', 1), await g.connect('A', 5, [66]), await g.connect('J', 9, [5]), await g.connect('J', 9, [1])
})
observe('all members leave; does the group start again?', async (g) => {
  await g.open('ABJ')
  await g.connect('A', 1), await g.connect('J', 9), await g.leave('A'), await g.connect('J', 9, [1]), await g.connect('B', 1, [1]), await g.connect('B', 1, [9])
})

// ---- keys

const key = (name, path) =>
  observe(`key ${name}`, async (g) => {
    await g.open('A', '', path)
    await g.record('open')
    if (g.peer('A').code === null) await g.connect('A', 1)
    if (g.peer('A').error) g.log.push(g.peer('A').error)
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
key('trailing slash', 'k/')
key('//k', '/k')
key('second slash only (//)', '/')
key('%20', '%20')
key('%00', '%00')

/** Which paths lead to the same group? A is a member under the first; J connects under the second. */
for (const [one, two] of [['K', 'K/'], ['K', '/K'], ['K', '%4B'.replace('%4B', 'K') + '?x'], ['aK', '%61K'], ['K%2fx', 'K%2Fx'], ['K%2Fx', 'K/x'], ['K', 'k'], ['K+x', 'K%20x'], ['K;x', 'K']])
  observe(`same group? /${one} and /${two}`, async (g) => {
    const path = (k) => k.replace('K', 'K' + g.key)
    await g.open('A', '', path(one)), await g.open('J', '', two === 'k' ? path(one).toLowerCase() : path(two))
    await g.connect('A', 1)
    const seen = await g.connect('J', 9)
    g.log = [seen === 'J:false' ? 'one group' : `two groups (${seen})`]
  })

/** Raw request lines that a WebSocket library does not send. */
const rawKey = (name, target, extra = '') =>
  observe(`raw request: ${name}`, async (g) => {
    const { hostname, port } = new URL(g.base)
    const socket = net.connect(port, hostname)
    socket.on('error', () => {}) // 'close' follows
    socket.write(`GET ${target.replace('KEY', g.key)} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`, 'latin1')
    let bytes = Buffer.alloc(0)
    await new Promise((resolve) => {
      const look = (chunk) => {
        bytes = Buffer.concat([bytes, chunk])
        const head = bytes.indexOf('\r\n\r\n')
        // The head may be followed by a close frame or by nothing. The masked ping (89 80) makes an open socket answer.
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
    g.log.push(head < 0 ? 'no response, stream ended' : `${lines[0]} [${lines.slice(1).filter((l) => !/^(Upgrade|Connection|Sec-WebSocket-Accept)/i.test(l))}] then ${what}`)
    if (server && !server.alive) g.log.push('THE SERVER EXITED')
  })
rawKey('regular key', '/KEY')
rawKey('absolute form', 'http://x/KEY')
rawKey('no leading slash', 'KEY')
rawKey('only a query', '/?favored')
rawKey('%ff', '/%ff')
rawKey('%zz', '/%zz')
rawKey('raw non-ASCII byte', '/KEY\xe9')
rawKey('//', '//')
rawKey('///', '///')
rawKey('//host/KEY', '//host/KEY')
rawKey('offers a subprotocol', '/KEY', 'Sec-WebSocket-Protocol: a, b\r\n')
rawKey('offers permessage-deflate', '/KEY', 'Sec-WebSocket-Extensions: permessage-deflate\r\n')

// ---- bytes

const bytes = (name, ...hex) =>
  observe(`bytes: ${name}`, async (g) => {
    await g.open('AJ')
    await g.connect('A', 1)
    await g.connect('J', 9)
    await g.content('J', 0, 'hi') // makes L1 known, and shows that content arrives
    g.log = []
    for (const h of hex) await g.raw('J', h)
    if (g.peer('J').code === null && !(server && !server.alive)) await g.content('J', 0, 'alive')
  })
bytes('empty frame', '')
bytes('heartbeat true', '0801')
bytes('heartbeat false', '0800')
bytes('heartbeat 2', '0802')
bytes('connected true from a peer', '2001')
bytes('connected false from a peer', '2000')
bytes('content, empty submessage', '1200')
bytes('connect, empty submessage', '1a00')
bytes('content then connect (two oneof fields: does the last count?)', '12021001 1a020809')
bytes('connect then content', '1a020809 1203220178')
bytes('heartbeat then content', '0801 1203220178')
bytes('content then heartbeat', '1203220178 0801')
bytes('content then connected', '1203220178 2001')
bytes('two contents: data x, then data y to 0', '1203220178 1203220179')
bytes('two contents: data x, then only a recipient (a merge keeps x)', '1203220178 12021000')
bytes('two contents: to 5 without data, then data y (a merge keeps to 5)', '12021005 1203220179')
bytes('two connects: members [1], then only id 8 (a merge keeps the members)', '1a03120101 1a020808')
bytes('data twice in one content', '1206220178220179')
bytes('lastData = 2', '1205 1802 220178', '1203220178')
bytes('lastData = 0 encoded explicitly', '1205 1800 220178', '1203220178')
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
bytes('wire type: content as varint 3, then a valid body', '1003 220178')
bytes('wire type: content as varint 0', '1000')
bytes('wire type: connect as varint 0', '1800')
bytes('wire type: connect as varint 2', '1802 0808')
bytes('wire type: connected as bytes', '220101')
bytes('wire type: connected as empty bytes', '2200')
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
bytes('members [2^32 + 1] (truncated to 1?)', '1a08 0808 12048180808010'.replace('1a08', '1a09').replace('1204', '1205'))
bytes('overlong tag of 2 bytes', '9280 00 03 220178')
bytes('tag of 6 bytes', '928080808000 03 220178')
bytes('recipientId 2^32-1', '1209 10ffffffff0f 220178')
bytes('recipientId 2^32 (truncated to 0?)', '1209 108080808010 220178')
bytes('senderId 2^32-1', '1209 08ffffffff0f 220178')
observe('bytes: text frame', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.peer('J').ws.send('hello')
  await g.record('J sends text')
})
observe('bytes: empty text frame', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.peer('J').ws.send('')
  await g.record('J sends empty text')
})
observe('bytes: text frame with a valid message', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.peer('J').ws.send('\x08\x01')
  await g.record('J sends text')
})
observe('bytes: invalid message followed immediately by valid ones', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.peer('J').send(Buffer.alloc(0))
  g.peer('J').send(encode({ content: { data: Buffer.from('after the invalid message') } }))
  g.peer('J').send(encode({ connect: { id: 9, members: [1] } }))
  await g.record('J sends an invalid message, content and connect in one burst')
})
observe('bytes: invalid message from the only member, then J connects', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.raw('A', ''), await g.connect('J', 9), await g.content('J', 0)
})
observe('bytes: invalid message from the only member A, which does not answer its close frame; J connects', async (g) => {
  await g.open('AJ'), await g.connect('A', 1)
  const a = g.peer('A')
  a.ws._socket.pause()
  g.peers.delete('A')
  a.send(Buffer.alloc(0))
  await g.connect('J', 9), await g.connect('J', 9, [1]), await g.content('J', 0)
  a.ws._socket.resume()
  await a.closed
  g.peers.set('A', a)
  await g.record('A reads on')
})
observe('bytes: fragmented message', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  const m = encode({ content: { data: Buffer.from('in two frames') } })
  g.peer('J').ws.send(m.subarray(0, 5), { fin: false })
  g.peer('J').ws.send(m.subarray(5), { fin: true })
  await g.record('J sends content in two frames')
})
for (const mb of [1, 10])
  observe(`size: ${mb} MB of data`, async (g) => {
    await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0, 'x'.repeat(mb << 20))
    g.log = [g.log.at(-1)]
  })
observe('many members: 5000 ids, the last one exists', async (g) => {
  await g.open('AJ'), await g.connect('A', 1)
  g.peer('J').send(encode({ connect: { id: 9, members: [...Array(5000).keys()].map((i) => 5001 - i) } }))
  await g.record('J connects with 5001..2')
  g.peer('J').send(encode({ connect: { id: 9, members: [...Array(5000).keys()].map((i) => 5000 - i) } }))
  await g.record('J connects with 5000..1')
})

// ---- sockets

for (const code of [undefined, 1000, 1001, 3000, 4999, 4744])
  observe(`close by the client with ${code ?? 'no code'}: the code in the answer`, async (g) => {
    await g.open('A'), await g.leave('A', code)
  })
observe('ping: payload of the pong', async (g) => {
  await g.open('A')
  g.peer('A').ws.ping('abc')
  g.log.push(`pong ${await new Promise((r) => g.peer('A').ws.once('pong', (d) => r(String(d))))}`)
})
observe('unsolicited pong', async (g) => {
  await g.open('A')
  g.peer('A').ws.pong('abc')
  await g.connect('A', 1)
})
observe('stream ends without a close frame (FIN): what A receives', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.peer('J').drop(), await g.record('J drops')
})
observe('stream is reset (RST): what A receives', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9)
  g.peer('J').ws._socket.resetAndDestroy()
  await g.peer('J').closed
  await g.record('J resets')
})
observe('id 0 and members [0]', async (g) => {
  await g.open('AJK'), await g.connect('A', 0), await g.connect('J', 9, [0]), await g.connect('K', 0, []), await g.content('K', 0, 'which member?')
})
observe('two groups: content to a link of another group', async (g) => {
  await g.open('AJ'), await g.connect('A', 1), await g.connect('J', 9), await g.content('J', 0)
  await g.open('XY', '', g.key + 'other'), await g.connect('X', 1), await g.connect('Y', 9), await g.content('Y', 0), await g.content('X', 'L1', 'cross')
})
observe('two connects in one burst: two answers?', async (g) => {
  await g.open('AJ'), await g.connect('A', 1)
  for (let i = 0; i < 2; i++) g.peer('J').send(encode({ connect: { id: 9 } }))
  await g.record('J sends two connects at once')
})

observe('heartbeat (17 s, skipped unless selected by name): which peers are closed, and when', async (g) => {
  if (!only) return 'skipped: select it by name'
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

for (const { name, run } of observations.filter((p) => p.name.includes(only))) {
  if (!on && !server?.alive) server = await startReference()
  const g = new Group(on ?? server.base)
  let timer
  const timeout = new Promise((resolve) => (timer = setTimeout(() => resolve('TIMED OUT'), 20_000)))
  const end = await Promise.race([run(g).catch((error) => `FAILED: ${error.message}`), timeout])
  clearTimeout(timer)
  if (end) g.log.push(end)
  console.log(`${name}\n    ${g.log.join('\n    ')}`)
  for (const peer of g.peers.values()) peer.ws.terminate()
}
server?.stop()
process.exit(0)
