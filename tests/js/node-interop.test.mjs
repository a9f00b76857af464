// Node processes beside the cluster: @socket.io/redis-emitter pushes to our players, and two Socket.IO servers with
// @socket.io/redis-adapter hear what is announced here, through a real Redis.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'

import { createAdapter } from '@socket.io/redis-adapter'
import { Emitter } from '@socket.io/redis-emitter'
import { createClient } from 'redis'
import { Server } from 'socket.io'
import { io } from 'socket.io-client'

import { announce, startAdmin } from './admin.mjs'
import { pair } from './fighter.mjs'
import { createGuest, freePorts, startCluster } from './server.mjs'

const DEADLINE_MS = 60_000

let folder, redis, url, clients, cluster, admin, emitter
const open = []

before(async () => {
  const [port] = await freePorts(1)
  folder = await mkdtemp(join(tmpdir(), 'serverv2-redis-'))
  url = `redis://127.0.0.1:${port}`
  redis = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder], {
    stdio: 'ignore',
  })
  process.once('exit', () => redis.kill('SIGKILL'))
  clients = []
  emitter = new Emitter(await redisClient())
  admin = await startAdmin()
  cluster = await startCluster({
    REDIS_URL: url,
    NODE_INTEROP: 'true',
    NODE_INTEROP_EVENTS: 'announcement,gift',
    ANNOUNCE_EVENTS: 'announcement,local',
    ...admin.env,
  })
  admin.token = await admin.register(cluster.nodes[0].url)
  await until('three listeners', async () => {
    const count = await clients[0].sendCommand(['PUBSUB', 'NUMPAT'])
    return count === 1 && (await subscribers()) === 3
  })
})

after(async () => {
  open.forEach(it => it.close())
  await cluster?.stop()
  await admin?.stop()
  for (const client of clients) client.destroy()
  redis?.kill('SIGKILL')
  if (folder) await rm(folder, { recursive: true, force: true })
})

async function redisClient() {
  const client = createClient({ url })
  client.on('error', () => {})
  await client.connect()
  clients.push(client)
  return client
}

/** How many of our nodes listen. */
async function subscribers() {
  const [channel] = await clients[0].sendCommand(['PUBSUB', 'CHANNELS', '*:notices'])
  return channel ? (await clients[0].sendCommand(['PUBSUB', 'NUMSUB', channel]))[1] : 0
}

async function until(what, condition) {
  const deadline = Date.now() + DEADLINE_MS
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`no ${what} in time`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** A client that keeps what it hears beside the game. */
async function listener(serverUrl, query = {}) {
  const socket = io(serverUrl, { query, transports: ['websocket'], reconnection: false, forceNew: true })
  // Who does not answer is cut after a while.
  socket.on('ping', () => socket.emit('pong'))
  const heard = []
  socket.onAny((event, ...args) => {
    if (['announcement', 'gift', 'local', 'forbidden'].includes(event)) heard.push([event, ...args])
  })
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('connect_error', reject)
  })
  open.push(socket)
  return { socket, heard, close: () => socket.close() }
}

/** A socket of ours whose session is open: from then on it is told what is announced. */
async function admitted(serverUrl, playerId) {
  const it = await listener(serverUrl, { playerId })
  await it.socket.emitWithAck('getServerState')
  return it
}

/** A guest with a socket on one of our nodes. */
async function player(at) {
  const { playerId } = await createGuest(cluster.nodes[at].url)
  return { id: playerId, ...(await admitted(cluster.nodes[at].url, playerId)) }
}

/** A Socket.IO server of Node's with the Redis adapter, and a client of it. */
async function nodeServer(rooms) {
  const http = createServer()
  const server = new Server(http, { adapter: createAdapter(await redisClient(), await redisClient()) })
  server.on('connection', socket => socket.join(rooms))
  await new Promise(resolve => http.listen(0, '127.0.0.1', resolve))
  open.push(server)
  return { server, client: await listener(`http://127.0.0.1:${http.address().port}`) }
}

test('an emitter reaches all, one player and one room, with bytes, and nothing that is not allowed', async () => {
  const players = await Promise.all([0, 1, 2].map(player))
  emitter.emit('forbidden', 'x')
  emitter.emit('matchSuccess', {})
  emitter.emit('gift', 'all', { number: 1 }, Buffer.from([1, 2]))
  for (const { heard } of players) {
    await until('gift', () => heard.length === 1)
    assert.deepEqual(heard, [['gift', 'all', { number: 1 }, Buffer.from([1, 2])]])
  }
  emitter.to(players[1].id).emit('gift', 'bare')
  emitter.to(`player:${players[1].id}`).emit('gift', 'one')
  emitter.of('/other').emit('gift', 'another namespace')
  emitter.except(players[0].id).emit('gift', 'others')
  await until('three gifts', () => players[1].heard.length === 4)
  assert.deepEqual(players[1].heard.slice(1).map(([, text]) => text), ['bare', 'one', 'others'])
  await until('the last gift', () => players[2].heard.length === 2)
  assert.deepEqual(players[2].heard[1], ['gift', 'others'])
  assert.equal(players[0].heard.length, 1)

  const { a, b, room } = await pair(cluster.nodes[0].url)
  const told = [a, b].map(({ socket }) => new Promise(resolve => socket.once('gift', resolve)))
  emitter.to(room).emit('gift', 'room')
  assert.deepEqual(await Promise.all(told), ['room', 'room'])
  for (const fighter of [a, b]) fighter.close()
})

test('two Node servers and three nodes hear each other, each once', async () => {
  const players = await Promise.all([0, 1, 2].map(player))
  const room = `player:${players[0].id}`
  const servers = [await nodeServer([room]), await nodeServer([])]
  const everybody = [...players, ...servers.map(({ client }) => client)]
  const barrier = async (name, listeners) => {
    for (const { heard } of listeners) await until(name, () => heard.some(([, text]) => text === name))
  }

  assert.equal(await announce(cluster.nodes[1].url, admin.token, { to: 'all', event: 'announcement', data: 'ours' }), 200)
  await barrier('ours', everybody)
  servers[1].server.emit('announcement', 'theirs')
  await barrier('theirs', everybody)
  servers[0].server.emit('forbidden', 'x')
  assert.equal(await announce(cluster.nodes[2].url, admin.token, { to: 'all', event: 'local', data: 'not for Node' }), 200)
  await barrier('not for Node', players)
  const to = { player: players[0].id }
  assert.equal(await announce(cluster.nodes[2].url, admin.token, { to, event: 'announcement', data: 'one' }), 200)
  await barrier('one', [players[0], servers[0].client])
  servers[0].server.emit('announcement', 'end')
  await barrier('end', everybody)

  const texts = ({ heard }) => heard.filter(([event]) => event !== 'forbidden').map(([, text]) => text)
  assert.deepEqual(texts(players[0]), ['ours', 'theirs', 'not for Node', 'one', 'end'])
  assert.deepEqual(texts(players[1]), ['ours', 'theirs', 'not for Node', 'end'])
  assert.deepEqual(texts(servers[0].client), ['ours', 'theirs', 'one', 'end'])
  assert.deepEqual(texts(servers[1].client), ['ours', 'theirs', 'end'])
  for (const { heard } of players) assert.ok(!heard.some(([event]) => event === 'forbidden'))
  // The request channel is Node's own: whoever subscribed to it would be waited for.
  assert.equal((await servers[0].server.fetchSockets()).length, 2)
})

test('without the setting nothing passes', async () => {
  const deaf = await startCluster({ REDIS_URL: url, REDIS_KEY_PREFIX: 'deaf:', CLUSTER_NAME: 'deaf', ...admin.env })
  try {
    const { playerId } = await createGuest(deaf.nodes[0].url)
    const { heard } = await admitted(deaf.nodes[0].url, playerId)
    const { client } = await nodeServer([])
    const token = await admin.register(deaf.nodes[0].url)
    emitter.emit('announcement', 'by the emitter')
    await until('the news at Node', () => client.heard.length === 1)
    assert.equal(await announce(deaf.nodes[1].url, token, { to: 'all', event: 'announcement', data: 'ours' }), 200)
    await until('news', () => heard.length > 0)
    assert.deepEqual(heard, [['announcement', 'ours']])
    emitter.emit('announcement', 'end')
    await until('the end at Node', () => client.heard.length > 1)
    assert.deepEqual(client.heard.map(([, text]) => text), ['by the emitter', 'end'])
  } finally {
    await deaf.stop()
  }
})
