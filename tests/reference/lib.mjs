// Shared by differential.mjs and observations.mjs: the schema, a peer that records what it receives, starting servers, and waiting until
// all messages have arrived.
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

/** One socket and all messages that it received. Heartbeats depend on the clock, so they are counted separately. */
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
    // Not events.once(), which rejects on 'error': 'close' still follows.
    this.closed = new Promise((resolve) => this.ws.once('close', (code) => resolve((this.code = code))))
    this.opened = Promise.race([new Promise((resolve) => this.ws.once('open', resolve)), this.closed])
  }

  send(bytes) {
    // Once the server closes the socket, later messages have no effect. The step that caused the close reports it.
    if (this.ws.readyState === WebSocket.OPEN) this.ws.send(bytes)
  }

  /** Ends the stream without a close frame. Sends a FIN and not a reset: the server's own FIN then shows that it noticed. */
  drop() {
    this.ws._socket?.end()
    return this.closed
  }

  /** Resolves when the server answered a ping, or when the socket is closed. */
  async pong() {
    if (this.ws.readyState === WebSocket.OPEN) {
      this.ws.ping()
      await Promise.race([new Promise((resolve) => this.ws.once('pong', resolve)), this.closed])
    }
    // CLOSING: the close frames are exchanged, and the end of the stream follows.
    if (this.ws.readyState === WebSocket.CLOSING) await this.closed
  }

  take() {
    return this.inbox.splice(0)
  }
}

/**
 * Waits until these peers have received everything that the server sends them. The server answers a ping after the frames before it. So
 * after one round it has handled all frames, and after the second the resulting messages to other peers have arrived. A multi-threaded
 * server may answer B's ping just before it flushes a message from A. Hence several rounds, until one brings nothing new.
 */
export async function quiet(peers, rounds = 3) {
  for (let before = -1, round = 0; round < rounds || received(peers) !== before; round++) {
    before = received(peers)
    await Promise.all(peers.map((p) => p.pong()))
  }
}

/**
 * Waits until these peers have received nothing for a time. This is for a cluster: a node answers a ping before the other nodes know what its
 * peer did.
 */
export async function still(peers, ms) {
  for (let before = -1; received(peers) !== before; ) {
    before = received(peers)
    await new Promise((resolve) => setTimeout(resolve, ms))
  }
}

const received = (peers) => peers.reduce((n, p) => n + p.inbox.length + (p.code === null ? 0 : 1), 0)

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Starts a program and waits for its output `Signaling server is listening on HOST:PORT`. */
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
    child.on('exit', (code, signal) => reject(new Error(`${command} exited with ${code ?? signal} before it listened; output:\n${output}`)))
  })
  const server = { base, alive: true, output: () => output, stop: () => child.kill() }
  child.on('exit', () => (server.alive = false))
  return server
}

// Thousands of sockets have the same client IP, and the reference has no limits per IP.
const LIMITS = ['--joins-per-second-per-ip', '4294967295', '--max-peers-per-ip', '100000']
export const startBinary = (path) => start(path, ['-h', '127.0.0.1', '-p', '0', ...LIMITS])

export async function startReference() {
  const script = fileURLToPath(new URL('node_modules/sigver/dist/server.js', import.meta.url))
  return start(process.execPath, [script, '-h', '127.0.0.1', '-p', String(await freePort())])
}
