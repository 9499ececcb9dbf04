// The protocol's groups and links as a small program: what each peer must see after each step of a script.
//
// The judge holds both servers against it. That makes the one intended difference exact: the reference must show what the model says *plus*
// the leak (all that a bound peer says also reaches its bound member), ours what the model says and no more. It also tells the
// generator what would be ambiguous, before anything runs.

class Link {
  joinerOver = false // after `lastData` from the joiner: that direction is over
  memberOver = false
  constructor(joiner, member) {
    Object.assign(this, { joiner, member, memberId: member.id })
  }
}

export class Model {
  peers = new Map() // name -> { name, key, favored, id, tried, link }, open ones only
  groups = new Map() // key -> members in order of admission
  links = new Set()
  seen = [] // [peer name, message] since the last look; `leak: true` on what only the reference shows
  fired = {} // how often which rule spoke, to show that scripts reach them all

  members(key) {
    if (!this.groups.has(key)) this.groups.set(key, [])
    return this.groups.get(key)
  }
  tell(peer, message) {
    if (this.peers.has(peer.name)) this.seen.push([peer.name, message])
  }
  open(name, key, favored) {
    this.peers.set(name, { name, key, favored, id: null, tried: new Set(), link: null })
  }

  connect(name, id, ids) {
    const peer = this.peers.get(name)
    const rule = this.admission(peer, ids)
    const members = this.members(peer.key)
    this.fired[rule] = (this.fired[rule] ?? 0) + 1
    if (rule === 'alone') return this.tell(peer, { kind: 'connected', yes: true })
    if (rule === 'offer' || rule === 'wrap') {
      if (members.includes(peer)) {
        members.splice(members.indexOf(peer), 1)
        this.fired['put out by an offer'] = (this.fired['put out by an offer'] ?? 0) + 1
      }
      if (rule === 'wrap') peer.tried.clear()
      const first = [...members].sort((a, b) => b.favored - a.favored).find((m) => !peer.tried.has(m.id)) // a stable sort
      peer.tried.add(first.id)
      this.links.delete(peer.link)
      this.links.add((peer.link = new Link(peer, first)))
      return this.tell(peer, { kind: 'connected', yes: false })
    }
    const old = rule === 'blocking' ? members.pop() : null
    peer.id = id
    peer.tried.clear()
    if (!members.includes(peer)) members.push(peer)
    this.tell(peer, { kind: 'connected', yes: true })
    if (old) this.leave(old.name, 4744)
  }
  /** Which rule decides: the checks in their order. */
  admission(peer, ids) {
    const members = this.members(peer.key)
    if (members.length === 0) return 'first'
    if (members.length === 1 && members[0] === peer) return 'alone'
    if (members.some((m) => ids.includes(m.id))) return 'named'
    // "Already bound to it" means: in the tried list, which a wrap forgets (see FINDINGS.md, 1).
    if (members.length === 1 && peer.tried.has(members[0].id)) return 'blocking'
    return members.every((m) => m === peer || peer.tried.has(m.id)) ? 'wrap' : 'offer'
  }

  /** Where content goes: a link and its direction, or nothing. `to` is a number or a link. */
  route(peer, to) {
    if (to instanceof Link) return this.links.has(to) && to.member === peer ? { link: to, back: true } : null
    return peer.link && this.links.has(peer.link) && (to === 0 || to === peer.link.memberId) ? { link: peer.link, back: false } : null
  }
  /** The link over which the reference leaks what this peer says to `to`, if it does. */
  leaks(peer, to) {
    const { link } = peer
    return link && this.links.has(link) && !link.joinerOver && this.route(peer, to)?.link !== link ? link : null
  }
  content(name, to, last, data) {
    const peer = this.peers.get(name)
    const leak = this.leaks(peer, to)
    const way = this.route(peer, to)
    const goes = way && !(way.back ? way.link.memberOver : way.link.joinerOver)
    // Two peers may each be the joiner of the other: then one peer gets both, the older link's first.
    for (const link of this.links) {
      if (link === leak) this.tell(leak.member, { kind: 'content', from: leak, data, leak: true })
      if (goes && link === way.link) this.tell(way.back ? link.joiner : link.member, { kind: 'content', [way.back ? 'to' : 'from']: link, data })
    }
    if (last && goes) way.link[way.back ? 'memberOver' : 'joinerOver'] = true
  }

  leave(name, code) {
    const peer = this.peers.get(name)
    const members = this.members(peer.key)
    if (members.includes(peer)) members.splice(members.indexOf(peer), 1)
    this.tell(peer, { kind: 'closed', code })
    this.peers.delete(name)
    for (const link of this.links) {
      if (link.joiner === peer && !link.joinerOver) this.tell(link.member, { kind: 'content', from: link, data: '' })
      if (link.member === peer && !link.memberOver) this.tell(link.joiner, { kind: 'content', to: link, data: '' })
      if (link.joiner === peer || link.member === peer) this.links.delete(link)
    }
  }
}

/**
 * What was seen, as text, peer by peer. Links get their names L1, L2... here, in order of first appearance (by peer name, then in order of
 * arrival: between peers the order of arrival means nothing). `names` is a Map from a link, or from its number on the wire, to its name.
 */
export function render(seen, names, withLeaks) {
  const name = (link) => {
    if (typeof link === 'number' && link < FIRST_LINK_LIKE) return link
    if (!names.has(link)) names.set(link, `L${names.size + 1}`)
    return names.get(link)
  }
  const text = (m) => {
    if (m.kind === 'connected') return `connected ${m.yes}`
    if (m.kind === 'closed') return `closed ${m.code}`
    if (m.kind !== 'content') return m.kind
    return ['content', m.from ? `from ${name(m.from)}` : '', m.to ? `to ${name(m.to)}` : '', m.last ? 'last' : '', m.data || '-'].filter(Boolean).join(' ')
  }
  const peers = [...new Set(seen.map(([peer]) => peer))].sort()
  return peers.flatMap((peer) => seen.filter(([p, m]) => p === peer && (withLeaks || !m.leak)).map(([, m]) => `${peer} ${text(m)}`))
}

/** A script's own ids are below this; a random 31-bit link id is not (but once in two million, which the judge would report as a number). */
export const FIRST_LINK_LIKE = 1000
