// A real HAProxy asks the agent of each node: weights follow connections, and a node that drains gets nobody new,
// by what its agent says alone; a dead one gets nobody, by what it does not say at /ready.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { startBalancer } from './balancer.mjs'
import { open, within } from './fighter.mjs'
import { createGuest, startCluster } from './server.mjs'

/** Connections that a node takes. */
const ROOM = 60
/** Left of a node with nothing but its own work to do, percent: it may be a slow machine. */
const IDLE = 75

let cluster, balancer
const sockets = []
before(async () => {
  cluster = await startCluster({ CONNECTIONS_MAX: String(ROOM), DRAIN_NOTICE: '4', DRAIN_PERIOD: '1' })
  balancer = await startBalancer(cluster.nodes, { asksReady: false })
})
after(async () => {
  sockets.forEach(socket => socket.close())
  await balancer?.stop()
  await cluster?.stop()
})

/** How the balancer sees the nodes, once that is as wanted. */
async function seen(what, wanted) {
  let last
  const looking = (async () => {
    for (;;) {
      last = await balancer.servers()
      if (wanted(last['node-1'], last['node-2'], last['node-3'])) return last
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  })()
  return await within(what, looking).catch(error => {
    throw new Error(`${error.message}; it is ${JSON.stringify(last)}`)
  })
}

/** So many clients that stay, one after the other; their guests are made at another address than they go to. */
async function clients(count, url) {
  const opened = []
  for (let at = 0; at < count; at += 1) {
    const { playerId } = await createGuest(cluster.nodes[2].url)
    const connected = new Promise(resolve => {
      const socket = open(url, { playerId }, ['websocket'], socket => {
        socket.on('connect', resolve)
        socket.on('ping', () => socket.emit('pong'))
      })
      opened.push(socket)
    })
    await within(`connection ${at} to ${url}`, connected)
  }
  sockets.push(...opened)
  return opened
}

test('weights follow connections, and so do new clients', async () => {
  await seen('three agents', (...nodes) => nodes.every(node => node.agent === 'L7OK' && node.weight > IDLE))
  const direct = await clients(ROOM / 2, cluster.nodes[0].url)
  const half = await seen('a node of half the weight', one => one.weight <= 50)
  assert.ok(half['node-1'].weight > 0, 'it takes some more')
  await seen('two nodes that are idle', (_, two, three) => two.weight > IDLE && three.weight > IDLE)

  await clients(12, balancer.url)
  const { 'node-1': one, 'node-2': two, 'node-3': three } = await balancer.servers()
  assert.equal(one.current + two.current + three.current, 12)
  assert.ok(one.current > 0 && one.current < two.current && one.current < three.current, JSON.stringify([one, two, three]))

  direct.forEach(socket => socket.close())
  await seen('a node of full weight again', one => one.weight > IDLE)
})

test('a node that drains gets nobody new and keeps whom it has, until it is back', async () => {
  const [{ total, current }, kept] = [(await balancer.servers())['node-1'], sockets.filter(socket => socket.connected).length]
  assert.ok(current > 0, 'somebody is there')
  const ended = cluster.nodes[0].terminate()
  await seen('a node that drains', one => one.status.startsWith('DRAIN'))
  await clients(9, balancer.url)
  const draining = (await balancer.servers())['node-1']
  assert.deepEqual([draining.total, draining.current], [total, current])
  assert.equal(sockets.filter(socket => socket.connected).length, kept + 9, 'nobody was cut for it')
  assert.equal(await within('the end of the node', ended), 0)

  await cluster.nodes[0].start()
  await seen('the node is back', one => !one.status.startsWith('DRAIN') && one.weight > IDLE)
  await clients(6, balancer.url)
  assert.ok((await balancer.servers())['node-1'].total > total, 'it gets clients again')
})

test('a dead node gets nobody', async () => {
  await balancer.stop()
  balancer = await startBalancer(cluster.nodes)
  await seen('three nodes', (...nodes) => nodes.every(node => node.status === 'UP'))
  await cluster.nodes[1].kill()
  const { 'node-2': dead } = await seen('a dead node', (_, two) => two.status.startsWith('DOWN'))
  await clients(9, balancer.url)
  assert.equal((await balancer.servers())['node-2'].total, dead.total)
  await cluster.nodes[1].start()
  await seen('three nodes again', (...nodes) => nodes.every(node => node.status === 'UP'))
})
