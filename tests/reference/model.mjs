// A model of groups and links: what each peer must receive after each step of a script.
//
// differential.mjs compares both servers with it, which makes the one intended difference exact. The reference must show what the model
// predicts plus its leak (all content of a bound peer also reaches the member it is bound to). Our server must show what the model
// predicts and nothing else. The generator of scripts uses the model to avoid steps with an ambiguous result.

class Link {
  joinerEnded = false // the joiner sent `lastData`: this direction is over
  memberEnded = false
  constructor(joiner, member) {
    Object.assign(this, { joiner, member, memberId: member.id })
  }
}

export class Model {
  peers = new Map() // name -> { name, key, favored, id, tried, link }, open peers only
  groups = new Map() // key -> members in the order in which they became members
  links = new Set()
  seen = [] // [peer name, message] since the last check; `leak: true` marks what only the reference shows
  ruleCounts = {} // how often each rule decided: shows that the scripts reach all of them

  members(key) {
    if (!this.groups.has(key)) this.groups.set(key, [])
    return this.groups.get(key)
  }
  deliver(peer, message) {
    if (this.peers.has(peer.name)) this.seen.push([peer.name, message])
  }
  open(name, key, favored) {
    this.peers.set(name, { name, key, favored, id: null, tried: new Set(), link: null })
  }

  connect(name, id, ids) {
    const peer = this.peers.get(name)
    const rule = this.decide(peer, ids)
    const members = this.members(peer.key)
    this.ruleCounts[rule] = (this.ruleCounts[rule] ?? 0) + 1
    if (rule === 'alone') return this.deliver(peer, { kind: 'connected', member: true })
    if (rule === 'select' || rule === 'wrap') {
      if (members.includes(peer)) {
        members.splice(members.indexOf(peer), 1)
        this.ruleCounts['select for a member'] = (this.ruleCounts['select for a member'] ?? 0) + 1
      }
      if (rule === 'wrap') peer.tried.clear()
      const selected = [...members].sort((a, b) => b.favored - a.favored).find((m) => !peer.tried.has(m.id)) // the sort is stable
      peer.tried.add(selected.id)
      this.links.delete(peer.link)
      this.links.add((peer.link = new Link(peer, selected)))
      return this.deliver(peer, { kind: 'connected', member: false })
    }
    const evicted = rule === 'evict' ? members.pop() : null
    peer.id = id
    peer.tried.clear()
    if (!members.includes(peer)) members.push(peer)
    this.deliver(peer, { kind: 'connected', member: true })
    if (evicted) this.leave(evicted.name, 4744)
  }
  /** Returns the rule that decides a `connect`, checked in order. */
  decide(peer, ids) {
    const members = this.members(peer.key)
    if (members.length === 0) return 'first'
    if (members.length === 1 && members[0] === peer) return 'alone'
    if (members.some((m) => ids.includes(m.id))) return 'named'
    // A member blocks if its id is in the joiner's tried list, which a wrap clears (FINDINGS.md, 1).
    if (members.length === 1 && peer.tried.has(members[0].id)) return 'evict'
    return members.every((m) => m === peer || peer.tried.has(m.id)) ? 'wrap' : 'select'
  }

  /** Returns the link and direction of content, or null. `to` is a number or a link. */
  route(peer, to) {
    if (to instanceof Link) return this.links.has(to) && to.member === peer ? { link: to, toJoiner: true } : null
    return peer.link && this.links.has(peer.link) && (to === 0 || to === peer.link.memberId) ? { link: peer.link, toJoiner: false } : null
  }
  /** Returns the link over which the reference leaks content from this peer to `to`, or null. */
  leaks(peer, to) {
    const { link } = peer
    return link && this.links.has(link) && !link.joinerEnded && this.route(peer, to)?.link !== link ? link : null
  }
  content(name, to, last, data) {
    const peer = this.peers.get(name)
    const leak = this.leaks(peer, to)
    const route = this.route(peer, to)
    const delivered = route && !(route.toJoiner ? route.link.memberEnded : route.link.joinerEnded)
    // Each of two peers may be the joiner of the other. One peer then receives both messages, the one of the older link first.
    for (const link of this.links) {
      if (link === leak) this.deliver(leak.member, { kind: 'content', from: leak, data, leak: true })
      if (delivered && link === route.link) this.deliver(route.toJoiner ? link.joiner : link.member, { kind: 'content', [route.toJoiner ? 'to' : 'from']: link, data })
    }
    if (last && delivered) route.link[route.toJoiner ? 'memberEnded' : 'joinerEnded'] = true
  }

  leave(name, code) {
    const peer = this.peers.get(name)
    const members = this.members(peer.key)
    if (members.includes(peer)) members.splice(members.indexOf(peer), 1)
    this.deliver(peer, { kind: 'closed', code })
    this.peers.delete(name)
    for (const link of this.links) {
      if (link.joiner === peer && !link.joinerEnded) this.deliver(link.member, { kind: 'content', from: link, data: '' })
      if (link.member === peer && !link.memberEnded) this.deliver(link.joiner, { kind: 'content', to: link, data: '' })
      if (link.joiner === peer || link.member === peer) this.links.delete(link)
    }
  }
}

/**
 * Formats what was seen, peer by peer. Assigns the names L1, L2... to links in order of first appearance: by peer name, then in order of
 * arrival, because the order of arrival between peers has no meaning. `names` maps a link, or its number on the wire, to its name.
 */
export function render(seen, names, withLeaks) {
  const name = (link) => {
    if (typeof link === 'number' && link < FIRST_LINK_LIKE) return link
    if (!names.has(link)) names.set(link, `L${names.size + 1}`)
    return names.get(link)
  }
  const text = (m) => {
    if (m.kind === 'connected') return `connected ${m.member}`
    if (m.kind === 'closed') return `closed ${m.code}`
    if (m.kind !== 'content') return m.kind
    return ['content', m.from ? `from ${name(m.from)}` : '', m.to ? `to ${name(m.to)}` : '', m.last ? 'last' : '', m.data || '-'].filter(Boolean).join(' ')
  }
  const peers = [...new Set(seen.map(([peer]) => peer))].sort()
  return peers.flatMap((peer) => seen.filter(([p, m]) => p === peer && (withLeaks || !m.leak)).map(([, m]) => `${peer} ${text(m)}`))
}

/** The ids in scripts are below this. A random 31-bit link id is below it once in two million, and is then reported as a number. */
export const FIRST_LINK_LIKE = 1000
