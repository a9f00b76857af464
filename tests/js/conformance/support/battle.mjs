// Players who queue and fight. Each keeps a copy of the battle's state as a page does: by patching it with
// every delta, in the order of arrival.

import assert from 'node:assert/strict'

import { patch } from 'jsondiffpatch'

import { teamOf } from '../../fighter.mjs'
import { anyNode, nodes, pick } from './environment.mjs'
import { guest, nanoid } from './players.mjs'
import { Connection, DEADLINE_MS, pause, within } from './socket.mjs'

/** An entry leaves with its connection, or is counted out with its node. */
const QUEUE_MS = 5_000

/** A cluster has one queue: whoever needs to know with whom he is paired queues alone. */
const queues = new Map()
export async function alone(among, work) {
  const key = among.join()
  const before = queues.get(key) ?? Promise.resolve()
  const done = before.then(work)
  queues.set(
    key,
    done.catch(() => {}),
  )
  return await done
}

/** Waits until nobody queues. */
export async function emptyQueue(watching) {
  const empty = async () => {
    while ((await watching.ok('getServerState')).matchmakingQueue > 0) await pause(50)
  }
  await within('empty queue', empty(), QUEUE_MS)
}

/** Messages after which this player has something to choose. */
export function asks({ type, data }, player) {
  if (type === 'FAINT_SWITCH') return data.player === player
  return ['TURN_ACTION', 'FORCED_SWITCH'].includes(type) && data.player.includes(player)
}

export class Player {
  /** Battle messages in order, each with the state after it: `{message, state, text}`. */
  story = []
  state = {}
  sequence = -1

  /** A guest with a team, by its number or made for its owner, and a connection to any node of `among`. */
  static async create({ among = nodes, node = anyNode(among), team = 0, id, session, ...rest } = {}) {
    const player = new Player()
    const made = id ? { playerId: id } : await guest({ among })
    Object.assign(player, { among, id: made.playerId, name: made.playerName, session: session ?? `s-${nanoid()}` })
    player.team = typeof team === 'function' ? team(player.id) : teamOf(team, player.id)
    await player.connect({ node, ...rest })
    return player
  }

  async connect({ node = anyNode(this.among), session = this.session, ...rest } = {}) {
    const query = { playerId: this.id, ...(session && { sessionId: session }) }
    const connection = new Connection({ node, query, ...rest })
    connection.onEvent = event => event.name === 'battleEvent' && this.#hear(event.arg)
    this.connection = connection
    const place = await connection.seen('connect', ({ name }) => name.startsWith('connect'))
    assert.equal(connection.events[place].name, 'connect', connection.events[place].arg?.message)
    return connection
  }

  #hear(message) {
    // A message without a number is none that clients know (3.8).
    if (!Number.isInteger(message.sequenceId)) return
    if (message.stateDelta) this.state = patch(this.state, structuredClone(message.stateDelta))
    this.sequence = message.sequenceId
    this.story.push({ message, state: structuredClone(this.state), text: JSON.stringify(message) })
  }

  ask(...args) {
    return this.connection.ask(...args)
  }

  ok(...args) {
    return this.connection.ok(...args)
  }

  fails(...args) {
    return this.connection.fails(...args)
  }

  async join() {
    assert.deepEqual(await this.ok('joinMatchmaking', this.team), { status: 'QUEUED' })
  }

  async matched(from = 0) {
    const { arg } = await this.connection.push('matchSuccess', () => true, from)
    assert.equal(arg.status, 'SUCCESS')
    return arg.data
  }

  /** Waits for the first battle message after a number that `wanted` accepts. */
  async message(what, wanted, after = -1, ms = DEADLINE_MS) {
    const fits = message => Number.isInteger(message.sequenceId) && message.sequenceId > after && wanted(message)
    return (await this.connection.push('battleEvent', fits, 0, ms)).arg
  }

  type(type, after = -1, ms = DEADLINE_MS) {
    return this.message(type, message => message.type === type, after, ms)
  }

  available() {
    return this.ok('getAvailableSelection')
  }

  async submit(choice) {
    assert.deepEqual(await this.ok('submitPlayerSelection', choice), { status: 'ACTION_ACCEPTED' })
  }

  get surrender() {
    return { type: 'surrender', player: this.id }
  }

  /** Chooses at random among what is offered, but does not give up. */
  async choose() {
    const offered = await this.available()
    const fighting = offered.filter(({ type }) => type !== 'surrender')
    assert.ok(fighting.length > 0, `asked to choose, but there is only ${JSON.stringify(offered)}`)
    const skills = fighting.filter(({ type }) => type === 'use-skill')
    const switches = fighting.filter(({ type }) => type === 'switch-pet')
    const likely = skills.length > 0 && (switches.length === 0 || pick([true, true, true, false])) ? skills : fighting
    await this.submit(pick(likely))
  }

  /** Chooses whenever asked until the battle ends; `each` is called before each choice. Gives the end. */
  async play({ after = -1, each = async () => {} } = {}) {
    for (let seen = after; ;) {
      const wanted = message => message.type === 'BATTLE_END' || asks(message, this.id)
      const message = await this.message('message that asks to choose, or the end', wanted, seen)
      seen = message.sequenceId
      if (message.type === 'BATTLE_END') return message
      await each(message)
      await this.choose()
    }
  }

  /** Compares the patched state with the server's (5.6). */
  async checkState() {
    const { sequenceId = this.sequence, ...server } = await this.ok('getState')
    if (sequenceId > this.sequence) await this.message(`message ${sequenceId}`, m => m.sequenceId >= sequenceId)
    const known = this.story.find(({ message }) => message.sequenceId === sequenceId)
    assert.ok(known, `message ${sequenceId}, which the state names, has arrived`)
    assert.deepEqual(known.state, server, `after message ${sequenceId}`)
  }

  close() {
    this.connection?.close()
  }
}

/** Two players on different nodes in one room; A is the one who queued first. */
export async function pair({ among = nodes, a = {}, b = {} } = {}) {
  const first = await Player.create({ among, team: 0, ...a })
  const second = await Player.create({ among, team: 1, node: anyNode(among, first.connection.node), ...b })
  return await alone(among, async () => {
    await first.join()
    await second.join()
    const [found, same] = await Promise.all([first.matched(), second.matched()])
    assert.equal(found.roomId, same.roomId, 'both are told the same room')
    assert.deepEqual([found.opponent.id, same.opponent.id], [second.id, first.id])
    return { a: first, b: second, room: found.roomId, close: () => (first.close(), second.close()) }
  })
}

/** The same, and both are asked for their first choice. */
export async function duel(options) {
  const duel = await pair(options)
  await Promise.all([duel.a.ok('ready'), duel.b.ok('ready')])
  const [forA, forB] = await Promise.all([duel.a.type('TURN_ACTION'), duel.b.type('TURN_ACTION')])
  assert.equal(forA.sequenceId, forB.sequenceId)
  return { ...duel, asked: forA.sequenceId }
}

/** Runs a test with a duel and lets go of it. */
export const withDuel = (work, options) => async () => {
  const fight = await duel(options)
  try {
    await work(fight)
  } finally {
    fight.close()
  }
}

export const withPair = (work, options) => async () => {
  const found = await pair(options)
  try {
    await work(found)
  } finally {
    found.close()
  }
}

/** Runs a test with connected players and lets go of them. */
export const withPlayers = (count, work, options) => async () => {
  const players = []
  try {
    for (let number = 0; number < count; number += 1) players.push(await Player.create({ team: number, ...options }))
    await work(...players)
  } finally {
    players.forEach(player => player.close())
  }
}
