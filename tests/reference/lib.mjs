// What the judge and the probes share: the schema, a peer that notes what it sees, starting a server, and knowing when all is quiet.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'
import WebSocket from 'ws'

const Message = protobuf.parse(`
  syntax = "proto3";
  message Message { oneof type { bool heartbeat = 1; Content content = 2; GroupData connect = 3; bool connected = 4; } }
  message Content { uint32 senderId = 1; uint32 recipientId = 2; bool lastData = 3; bytes data = 4; }
  message GroupData { uint32 id = 1; repeated uint32 members = 2; }
`).root.lookupType('Message')

export const encode = (message) => Message.encode(message).finish()
export const decode = (bytes) => Message.toObject(Message.decode(bytes), { defaults: true, oneofs: true })

/** One socket, and everything that arrived on it. The server's own heartbeats come by the clock, so they are counted apart. */
export class Peer {
  inbox = []
  heartbeats = 0
  code = null // the close code, once the socket is closed

  constructor(url) {
    this.ws = new WebSocket(url, { perMessageDeflate: false })
    this.ws.on('message', (bytes, binary) => {
      const message = binary ? decode(bytes) : { type: 'text', text: String(bytes) }
      if (message.type === 'heartbeat') this.heartbeats++
      else this.inbox.push(message)
    })
    this.ws.on('error', (error) => (this.error = error.message)) // 'close' with 1006 always follows
    // Not events.once(): it rejects on 'error', and an error is no end of the story.
    this.closed = new Promise((resolve) => this.ws.once('close', (code) => resolve((this.code = code))))
    this.opened = Promise.race([new Promise((resolve) => this.ws.once('open', resolve)), this.closed])
  }

  send(bytes) {
    // A socket that the server is closing takes no more; the step that closed it already shows that.
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(bytes)
  }

  /** Ends the stream without a close frame. A FIN and not a reset, because the server's own FIN then tells us that it noticed. */
  drop() {
    this.ws._socket?.end()
    return this.closed
  }

  /** Resolves when the server has answered a ping, or the socket is closed. */
  async roundTrip() {
    if (this.ws.readyState === WebSocket.OPEN) {
      this.ws.ping()
      await Promise.race([new Promise((resolve) => this.ws.once('pong', resolve)), this.closed])
    }
    // CLOSING: the close frame is exchanged, the end of the stream is on its way.
    if (this.ws.readyState === WebSocket.CLOSING) await this.closed
  }

  take() {
    return this.inbox.splice(0)
  }
}

/**
 * Waits until the server has nothing more to say to these peers. It answers a ping after the frames before it, so after one round all
 * that was sent is handled, after the second what that caused at other peers is here. A server with threads may answer B's ping just
 * before it flushes what A caused, hence: rounds, and on until one brings nothing new.
 */
export async function quiet(peers, rounds = 3) {
  const seen = () => peers.reduce((n, p) => n + p.inbox.length + (p.code === null ? 0 : 1), 0)
  for (let before = -1, round = 0; round < rounds || seen() !== before; round++) {
    before = seen()
    await Promise.all(peers.map((p) => p.roundTrip()))
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a program and waits for its line `Signaling server is listening on HOST:PORT`. */
async function start(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  process.once('exit', () => child.kill())
  let output = ''
  const base = await new Promise((resolve, reject) => {
    const read = (chunk) => {
      output += chunk
      const found = /listening on (\S+?:\d+)/.exec(output)
      if (found) resolve(`ws://${found[1]}`)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.on('error', reject)
    child.on('exit', (code, signal) => reject(new Error(`${command} ended (${code ?? signal}) before it listened:\n${output}`)))
  })
  const server = { base, alive: true, output: () => output, stop: () => child.kill() }
  child.on('exit', () => (server.alive = false))
  return server
}

// Thousands of sockets come from this machine's one address, and the reference counts none.
const MANY = ['--opens-per-second', '4294967295', '--max-peers-per-address', '100000']
export const startBinary = (path) => start(path, ['-h', '127.0.0.1', '-p', '0', ...MANY])

export async function startReference() {
  const script = fileURLToPath(new URL('node_modules/sigver/dist/server.js', import.meta.url))
  return start(process.execPath, [script, '-h', '127.0.0.1', '-p', String(await freePort())])
}
