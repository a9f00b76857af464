// Private servers for a test file: the real binary on free ports with temporary folders.
//
// SERVERV2_URL names a running one instead; else SERVERV2_BIN must name the binary.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const START_DEADLINE_MS = 60_000
/** Hands out ports that must be known before anybody listens on them. */
const PORTS = new URL('../setup/ports.sh', import.meta.url).pathname

/** Starts a server; gives its URL and a function that ends it. */
export async function startServer(env = {}) {
  if (process.env.SERVERV2_URL) {
    return { url: process.env.SERVERV2_URL, stop: async () => {} }
  }
  const folder = await mkdtemp(join(tmpdir(), 'serverv2-js-'))
  const node = new Node(['dev', '--port', '0', '--data-dir', folder], undefined, env)
  const stop = async () => {
    await node.kill()
    await rm(folder, { recursive: true, force: true })
    node.assertNoPanic()
  }
  try {
    await node.start()
  } catch (error) {
    await stop()
    throw error
  }
  return { url: node.url, stop }
}

/** Starts three nodes of one cluster; gives them and a function that ends them. */
export async function startCluster(env = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'serverv2-js-'))
  const ports = await freePorts(9)
  const peers = [1, 2, 3].map(id => `${id}=127.0.0.1:${ports[id - 1]}`).join(',')
  const nodes = [1, 2, 3].map(id => {
    // Its clients come back to the address they know, so the port stays the same.
    const args = ['run', '--port', String(ports[id + 2]), '--data-dir', join(folder, `node-${id}`)]
    const agent = ports[id + 5]
    return new Node(args, agent, {
      NODE_ID: String(id),
      PEERS: peers,
      PEER_BIND: `127.0.0.1:${ports[id - 1]}`,
      BIND_HOST: '127.0.0.1',
      AGENT_BIND: `127.0.0.1:${agent}`,
      JWT_SECRET: 'a secret for tokens',
      // All clients of a test have one address.
      RATE_LIMIT_AUTH: '0',
      CLUSTER_SECRET: 'a secret of three nodes',
      ...env,
    })
  })
  const stop = async () => {
    await Promise.all(nodes.map(node => node.kill()))
    await rm(folder, { recursive: true, force: true })
    nodes.forEach(node => node.assertNoPanic())
  }
  try {
    await Promise.all(nodes.map(node => node.start()))
  } catch (error) {
    await stop()
    throw error
  }
  return { nodes, stop }
}

/** A server process that can be killed and started again. */
class Node {
  url
  #child
  #ended
  #log = []

  /** `agent` is the port on which it answers HAProxy's agent checks. */
  constructor(args, agent, env) {
    this.args = args
    this.agent = agent
    this.env = env
    process.once('exit', () => this.#child?.kill('SIGKILL'))
  }

  /** Starts it and waits until it is ready. */
  async start() {
    const binary = process.env.SERVERV2_BIN
    if (!binary) throw new Error('set SERVERV2_BIN to the server binary, or SERVERV2_URL to a running server')
    const child = spawn(binary, this.args, {
      env: { PATH: process.env.PATH, ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    this.#ended = new Promise(resolve => child.once('exit', resolve))
    createInterface({ input: child.stderr }).on('line', line => this.#log.push(line))
    const listening = new Promise(resolve => {
      createInterface({ input: child.stdout }).on('line', line => {
        this.#log.push(line)
        if (line.startsWith('READY ')) resolve(JSON.parse(line.slice('READY '.length)).http)
      })
    })
    let timer
    const deadline = new Promise(resolve => (timer = setTimeout(resolve, START_DEADLINE_MS)))
    const url = await Promise.race([listening, this.#ended, deadline])
    clearTimeout(timer)
    if (typeof url !== 'string') {
      await this.kill()
      throw new Error(`the server did not start:\n${this.#log.slice(-60).join('\n')}`)
    }
    this.url = url
  }

  /** Asks it to stop, and waits until it has; gives its exit code. */
  async terminate() {
    this.#child.kill('SIGTERM')
    return await this.#ended
  }

  /** Ends it as a power cut would. */
  async kill() {
    this.#child?.kill('SIGKILL')
    await this.#ended
  }

  /** A panic is a defect, also where a client notices nothing. */
  assertNoPanic() {
    const told = this.#log.find(line => line.includes('panicked'))
    if (told) throw new Error(`the server panicked: ${told}`)
  }
}

/** Ports that nobody listens on, and that no other run takes while this process lives. */
export async function freePorts(count) {
  const found = []
  while (found.length < count) {
    const port = await lockedPort()
    const probe = createServer()
    const free = new Promise(resolve => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (await free) found.push(port)
  }
  return found
}

/** Holds the locks, since Node can lock no file; it ends with this process. */
let locks
let asking = Promise.resolve()

function lockedPort() {
  // One after the other: each waits for a line of its own.
  asking = asking.then(async () => {
    if (!locks) {
      const child = spawn('bash', [PORTS], { stdio: ['pipe', 'pipe', 'inherit'] })
      locks = { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
    }
    // Only while it is asked is it a reason to stay.
    const { child, lines } = locks
    const parts = [child, child.stdin, child.stdout]
    parts.forEach(part => part.ref())
    child.stdin.write('\n')
    const { value, done } = await lines.next()
    parts.forEach(part => part.unref())
    if (done) throw new Error('no port was handed out')
    return Number(value)
  })
  return asking
}

/** Makes a guest through REST. */
export async function createGuest(url) {
  const answer = await fetch(`${url}/api/v1/auth/create-guest`, { method: 'POST' })
  const text = await answer.text()
  const body = text.startsWith('{') ? JSON.parse(text) : { status: answer.status, text }
  if (!body.success) throw new Error(`no guest: ${JSON.stringify(body)}`)
  return body.data
}
