// The servers that the suite is run against where nobody names one: real processes, a mail relay, and the
// environment that tells the tests of them.

import { spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const START_DEADLINE_MS = 30_000
const STOP_DEADLINE_MS = 10_000
const RELAY = fileURLToPath(new URL('../../../py/relay.py', import.meta.url))
const PYTHON = fileURLToPath(new URL('../../../py/.venv/bin/python', import.meta.url))

const SECRETS = { JWT_SECRET: 'a secret for tokens of conformance', CLUSTER_SECRET: 'a secret between the nodes' }
const ADMIN_EMAIL = 'boss@conformance.example'
/** Clocks that a test can wait for. */
const QUICK = { TURN_TIME_LIMIT: '2', TOTAL_TIME_LIMIT: '5' }

/** Starts the servers of one run, and gives what ends them and what to tell the tests. */
export async function start({ binary, folder, nodes }) {
  const children = []
  const stop = () => Promise.all(children.map(child => child.stop()))
  try {
    const relay = await startRelay(children)
    const env = {
      ...SECRETS,
      RATE_LIMIT_AUTH: '50',
      RATE_LIMIT_EMAIL: '20',
      ADMIN_EMAILS: ADMIN_EMAIL,
      EMAIL_PROVIDER: 'smtp',
      SMTP_HOST: '127.0.0.1',
      SMTP_PORT: String(relay.port),
    }
    const grace = nodes > 1 ? '1' : '0'
    const alone = nodes === 1
    const quickEnv = { ...SECRETS, ...QUICK, DISCONNECT_GRACE_PERIOD_TTL: grace, CLUSTER_ENABLED: String(!alone) }
    const [main, quick] = await Promise.all([
      startServer(children, { binary, folder, nodes, name: 'main', env }),
      startServer(children, { binary, folder, nodes, name: 'quick', env: quickEnv }),
    ])
    const told = {
      BASE_URL: main.nodes.map(({ http }) => http).join(),
      NODE_PIDS: nodes > 1 ? main.nodes.map(({ pid }) => pid).join() : '',
      QUICK_URL: quick.nodes.map(({ http }) => http).join(),
      QUICK_GRACE: grace,
      QUICK_CLUSTER: alone ? 'off' : 'on',
      MAILBOX_URL: relay.url,
      JWT_SECRET: SECRETS.JWT_SECRET,
      ADMIN_EMAIL,
      RATE_LIMIT_AUTH: env.RATE_LIMIT_AUTH,
      RATE_LIMIT_EMAIL: env.RATE_LIMIT_EMAIL,
      REPORTS: 'on',
      API_DOCS: 'on',
    }
    return { env: told, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** `serverv2 dev`, with all nodes in processes of their own. */
async function startServer(children, { binary, folder, nodes, name, env }) {
  const args = ['dev', '--port', '0', '--data-dir', `${folder}/${name}`]
  if (nodes > 1) args.push('--nodes', String(nodes))
  const child = new Child(name, binary, args, env, `${folder}/${name}.log`)
  children.push(child)
  const ready = JSON.parse(await child.line('READY '))
  return { nodes: ready.nodes ?? [{ http: ready.http, pid: ready.pid }] }
}

/** A relay that keeps all mails, and a page that shows those to an address. */
async function startRelay(children) {
  const child = new Child('relay', PYTHON, [RELAY], {})
  children.push(child)
  const port = Number(await child.line('PORT '))
  const mails = []
  child.onLine = line => mails.push(JSON.parse(line))
  const page = createServer((request, response) => {
    const address = decodeURIComponent(request.url.slice(1))
    response.setHeader('content-type', 'application/json; charset=utf-8')
    response.end(JSON.stringify(mails.filter(({ envelope }) => envelope.to.includes(address))))
  })
  await new Promise((resolve, reject) => page.once('error', reject).listen(0, '127.0.0.1', resolve))
  children.push({ stop: () => new Promise(resolve => (page.close(resolve), page.closeAllConnections())) })
  return { port, url: `http://127.0.0.1:${page.address().port}` }
}

/** A process that ends with this one. */
class Child {
  #waiting

  constructor(name, program, args, env, log) {
    this.name = name
    // Its standard input stays open: some end when it closes.
    this.process = spawn(program, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
    this.process.stdin.on('error', () => {})
    this.ended = new Promise(resolve => {
      this.process.once('exit', (code, signal) => resolve(`${name} ended with ${signal ?? code}`))
      this.process.once('error', error => resolve(`${name} did not start: ${error.message}`))
    })
    this.kill = () => this.process.kill('SIGKILL')
    process.once('exit', this.kill)
    const kept = log && createWriteStream(log)
    const hear = line => {
      kept?.write(`${line}\n`)
      this.#waiting?.(line)
      this.onLine?.(line)
    }
    createInterface({ input: this.process.stdout }).on('line', hear)
    createInterface({ input: this.process.stderr }).on('line', line => kept?.write(`${line}\n`))
  }

  /** The rest of the first line that begins so. */
  async line(beginning) {
    const found = new Promise(resolve => {
      this.#waiting = line => line.startsWith(beginning) && resolve({ rest: line.slice(beginning.length) })
    })
    const late = timer(START_DEADLINE_MS, `${this.name} did not say ${beginning}in time`)
    const what = await Promise.race([found, this.ended, late.over]).finally(late.clear)
    if (what.rest === undefined) throw new Error(what)
    this.#waiting = undefined
    return what.rest
  }

  /** Lets it end gracefully, and sees to it that it does. */
  async stop() {
    process.removeListener('exit', this.kill)
    this.process.kill('SIGTERM')
    this.process.stdin.end()
    const late = timer(STOP_DEADLINE_MS, undefined)
    await Promise.race([this.ended, late.over]).finally(late.clear)
    this.kill()
    await this.ended
  }
}

function timer(ms, value) {
  let id
  const over = new Promise(resolve => (id = setTimeout(resolve, ms, value)))
  return { over, clear: () => clearTimeout(id) }
}
