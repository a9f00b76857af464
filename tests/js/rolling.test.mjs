// All three nodes are restarted one after the other, behind a real balancer, while players play: nobody loses a
// battle, and each node costs nobody more than one reconnect.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { startBalancer } from './balancer.mjs'
import { open, within } from './fighter.mjs'
import { createGuest, startCluster } from './server.mjs'
import { fought, Wanderer } from './wanderer.mjs'

const PAIRS = 4
const IDLE = 30
const REST_PAUSE_MS = 10
/** Idle clients of each kind of transport; polling ones keep the balancer's cookie, as browsers do. */
const KINDS = [
  { transports: ['websocket'] },
  { transports: ['polling'], withCredentials: true },
  { transports: ['polling', 'websocket'], withCredentials: true },
]

let cluster, balancer
/** Closed whatever happens: who is still connected keeps the process from its end. */
const everybody = []
before(async () => {
  // Nobody is helped on by a clock, and nodes are known to be gone because they said so.
  const patient = { NODE_GONE_AFTER_MS: '600000', TURN_TIME_LIMIT: '300' }
  cluster = await startCluster({ DRAIN_NOTICE: '1', DRAIN_PERIOD: '1', ...patient })
  balancer = await startBalancer(cluster.nodes)
})
after(async () => {
  everybody.forEach(who => who.close())
  await balancer?.stop()
  await cluster?.stop()
})

/** Connects, stays, and counts how often it had to come back. */
class Idler {
  connects = 0

  static async create(url, kind) {
    const idler = new Idler()
    const { playerId } = await createGuest(url)
    await within(
      `connection by ${kind.transports}`,
      new Promise(resolve => {
        idler.socket = open(url, { playerId }, kind.transports, socket => {
          Object.assign(socket.io.opts, kind)
          everybody.push(socket)
          socket.on('connect', () => ((idler.connects += 1), resolve()))
          socket.on('ping', () => socket.emit('pong'))
        })
      }),
    )
    return idler
  }
}

/** How often each has connected. */
const connections = (idlers, players) => [...idlers.map(idler => idler.connects), ...players.map(player => player.connections)]

/** Waits until the condition holds. */
async function until(condition) {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 50))
}

/** How many nodes this one knows to be alive. */
async function healthy(url) {
  const answer = await fetch(`${url}/cluster/status`)
  return (await answer.json()).stats.instances.healthy
}

/** Whether this node knows this player. */
async function exists(url, id) {
  const answer = await fetch(`${url}/api/v1/auth/check-player/${id}`)
  return (await answer.json()).data?.playerId === id
}

/** Makes guests without end, each of which must be there afterwards. */
class Writer {
  guests = []
  failures = []
  longestGap = 0
  #over = false

  async run(url) {
    let last = performance.now()
    while (!this.#over) {
      try {
        this.guests.push((await createGuest(url)).playerId)
        this.longestGap = Math.max(this.longestGap, performance.now() - last)
      } catch (error) {
        this.failures.push(String(error))
      }
      last = performance.now()
      await new Promise(resolve => setTimeout(resolve, REST_PAUSE_MS))
    }
  }

  stop() {
    this.#over = true
  }
}

test('a rolling restart behind a balancer loses nothing and costs one reconnect for each node', async t => {
  const { url } = balancer
  const idlers = []
  for (let at = 0; at < IDLE; at += 1) idlers.push(await Idler.create(url, KINDS[at % KINDS.length]))
  const players = []
  for (let at = 0; at < 2 * PAIRS; at += 1) players.push(await Wanderer.create([balancer], 0, at % 2, { staying: true }))
  everybody.push(...players)
  const pairs = Array.from({ length: PAIRS }, (_, pair) => players.slice(2 * pair, 2 * pair + 2))
  // One pair after the other, or they would be mixed.
  let queueing = Promise.resolve()
  const match = pair => (queueing = queueing.then(() => Promise.all(pair.map(player => player.match()))))
  await Promise.all(pairs.map(match))

  let over = false
  let battles = 0
  const playing = pairs.map(async pair => {
    for (;;) {
      await fought(pair)
      battles += 1
      if (over) return
      pair.forEach(player => player.again())
      await match(pair)
    }
  })
  const writer = new Writer()
  const writing = writer.run(url)

  const most = {}
  const restarting = (async () => {
    for (const [at, node] of cluster.nodes.entries()) {
      const before = connections(idlers, players)
      assert.equal(await within(`end of node ${at + 1}`, node.terminate()), 0, 'exit code')
      // Whoever was cut is back before the next one goes.
      await within('return of all idlers', until(() => idlers.every(idler => idler.socket.connected)))
      await node.start()
      await within('a balancer that knows all nodes', until(async () => (await healthy(node.url)) === 3))
      most[`node ${at + 1}`] = Math.max(...connections(idlers, players).map((count, who) => count - before[who]))
    }
  })()
  await Promise.race([restarting, Promise.all(playing)])
  over = true
  await Promise.all(playing)
  writer.stop()
  await writing

  const came = connections(idlers, players).reduce((sum, count) => sum + count - 1, 0)
  t.diagnostic(`${battles} battles; reconnects ${came}, most for one player: ${JSON.stringify(most)}`)
  t.diagnostic(`${writer.guests.length} guests made, longest time for one ${Math.round(writer.longestGap)} ms`)
  for (const [node, count] of Object.entries(most)) assert.ok(count <= 1, `${node} cost somebody ${count} reconnects`)
  assert.ok(came > 0, 'somebody had to move')
  assert.deepEqual(writer.failures, [])
  for (const node of cluster.nodes) {
    for (const id of writer.guests) assert.ok(await exists(node.url, id), `guest ${id} at ${node.url}`)
  }
})
