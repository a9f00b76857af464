// A real balancer in front of the nodes: HAProxy with the configuration that docs/haproxy.cfg recommends.

import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { freePorts } from './server.mjs'

const START_DEADLINE_MS = 60_000
const CHECK_PERIOD = '100ms'

/**
 * Starts it; gives its URL, a function that tells how it sees each node, and one that ends it. Without `asksReady` it
 * knows what the nodes' agents say and nothing else.
 */
export async function startBalancer(nodes, { asksReady = true } = {}) {
  const [port] = await freePorts(1)
  const folder = await mkdtemp(join(tmpdir(), 'serverv2-js-'))
  const path = join(folder, 'haproxy.cfg')
  const socket = join(folder, 'socket')
  await writeFile(path, await configuration(nodes, port, socket, asksReady))
  // Debian keeps it out of the path of ordinary users.
  const env = { PATH: `${process.env.PATH}:/usr/sbin` }
  const child = spawn('haproxy', ['-db', '-f', path], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  process.once('exit', () => child.kill('SIGKILL'))
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (log += text))
  const ended = new Promise(resolve => {
    child.once('error', error => resolve(String(error)))
    child.once('exit', code => resolve(`it ended with ${code}`))
  })
  const stop = async () => {
    child.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  const url = `http://127.0.0.1:${port}`
  let gone
  ended.then(how => (gone = how))
  for (const deadline = Date.now() + START_DEADLINE_MS; ; ) {
    const ready = await fetch(`${url}/ready`).then(answer => answer.ok, () => false)
    if (ready) return { url, stop, servers: () => servers(socket) }
    if (gone || Date.now() > deadline) {
      await stop()
      throw new Error(`the balancer did not start: ${gone ?? 'nobody is ready'}\n${log}`)
    }
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** Each node as it sees it, by name: the row of its statistics. */
async function servers(path) {
  const socket = connect(path)
  socket.end('show stat\n')
  let text = ''
  for await (const piece of socket) text += piece
  const [head, ...rows] = text.replace('# ', '').trim().split('\n').map(row => row.split(','))
  const named = rows.map(row => Object.fromEntries(head.map((name, at) => [name, row[at]])))
  const nodes = named.filter(row => row.pxname === 'nodes' && row.svname !== 'BACKEND')
  return Object.fromEntries(
    nodes.map(({ svname, status, weight, scur, stot, agent_status: agent }) => [
      svname,
      { status, weight: Number(weight), current: Number(scur), total: Number(stot), agent },
    ]),
  )
}

/** The recommended one with these nodes in the places of its own. */
async function configuration(nodes, port, socket, asksReady) {
  const text = await readFile(new URL('../../docs/haproxy.cfg', import.meta.url), 'utf8')
  const replace = (text, from, to) => {
    if (!text.includes(from)) throw new Error(`docs/haproxy.cfg has no "${from}"`)
    return text.replace(from, to)
  }
  const addressed = nodes.reduce(
    (text, node, at) => replace(text, `game${at + 1}:8102`, `${new URL(node.url).host} agent-port ${node.agent}`),
    replace(text, 'bind :8080', `bind 127.0.0.1:${port}`),
  )
  const checks = 'default-server check inter 500ms fall 2 rise 1'
  const checked = replace(addressed, checks, asksReady ? checks.replace('500ms', CHECK_PERIOD) : '')
  const quick = replace(checked, 'agent-inter 500ms', `agent-inter ${CHECK_PERIOD}`)
  return replace(quick, 'fd-hard-limit 100000', `fd-hard-limit 2000\n    stats socket ${socket} mode 600 level user`)
}
