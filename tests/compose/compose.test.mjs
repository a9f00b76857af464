// The cluster of docker-compose.yml, and what an operator expects of it, while players fight through its balancer.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { within } from '../js/fighter.mjs'
import { fought, Wanderer } from '../js/wanderer.mjs'
import { Containers } from './containers.mjs'
import { Processes } from './processes.mjs'

const GAMES = ['game1', 'game2', 'game3']
const READY_MS = 60_000

const kind = { containers: Containers, processes: Processes }[process.env.COMPOSE_STAGE]
let stage
before(async () => {
  stage = await kind.up()
  try {
    await within('a ready cluster', until(async () => (await ready()) === 3), READY_MS)
  } catch (error) {
    console.error(await stage.logs())
    throw error
  }
})
after(() => stage?.down())

async function until(condition) {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 100))
}

/** How many nodes are ready, by the health check of their image. */
async function ready() {
  const checks = await Promise.all(GAMES.map(game => stage.healthy(game)))
  return checks.filter(Boolean).length
}

async function members() {
  for (const game of GAMES) {
    const { code, out } = await stage.exec(game, ['serverv2', 'cluster', 'status', '--json'])
    if (code === 0) return JSON.parse(out)
  }
  return undefined
}

async function leader() {
  let found
  await within('a leader', until(async () => (found = (await members())?.leader)))
  return `game${found}`
}

/** Waits until another node leads in the eyes of one that is left. */
async function anotherLeads(lost) {
  const witness = GAMES.find(game => game !== lost)
  const seen = async () => {
    const { out } = await stage.exec(witness, ['serverv2', 'cluster', 'status', '--json'])
    const { leader } = JSON.parse(out || '{}')
    return leader && `game${leader}` !== lost
  }
  await within('another leader', until(seen))
}

/** A battle that is going on while `deed` is done; both have seen the same, and its end. */
async function battleOver(deed) {
  const players = await Promise.all([0, 1].map(number => Wanderer.create([stage], 0, number, { staying: true })))
  const rooms = await Promise.all(players.map(player => player.match()))
  assert.equal(rooms[0], rooms[1])
  const fighting = fought(players)
  await Promise.all([fighting, deed()])
  players.forEach(player => player.close())
}

test('players meet and fight through the balancer', () => battleOver(async () => {}))

test('the leader is killed in a battle and comes back', () =>
  battleOver(async () => {
    const killed = await leader()
    await stage.kill(killed)
    await anotherLeads(killed)
    await stage.start(killed)
    await within('its return', until(async () => (await ready()) === 3), READY_MS)
  }))

test('a node is cut off from the network in a battle and comes back', () =>
  battleOver(async () => {
    const lost = await leader()
    await stage.cut(lost)
    await anotherLeads(lost)
    await stage.join(lost)
    await within('its return', until(async () => (await ready()) === 3), READY_MS)
  }))

test('Redis is stopped in its tracks in a battle, and nodes are degraded and ready', () =>
  battleOver(async () => {
    const health = async () => (await fetch(`${stage.url}/health`)).json()
    await stage.pause('redis')
    await within('degraded', until(async () => (await health()).cluster.status === 'degraded'))
    assert.equal((await fetch(`${stage.url}/ready`)).status, 200)
    await stage.unpause('redis')
    await within('healthy', until(async () => (await health()).cluster.status !== 'degraded'))
  }))

test('a node that is stopped goes in order', async () => {
  await battleOver(async () => assert.equal(await stage.stop('game2'), 0, 'exit code'))
  await stage.start('game2')
  await within('its return', until(async () => (await ready()) === 3), READY_MS)
})

test('nodes run without root and write only where they may', async () => {
  for (const game of GAMES) assert.deepEqual(await stage.user(game), { uid: 10001, readOnly: true, capabilities: 0 })
})
