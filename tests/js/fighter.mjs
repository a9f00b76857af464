// A player as a game page would be one: the official Socket.IO client, and jsondiffpatch for the
// state. Whatever is awaited has a deadline and a name.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import { patch } from 'jsondiffpatch'
import { io } from 'socket.io-client'

import { createGuest } from './server.mjs'

const teams = JSON.parse(readFileSync(new URL('../teams.json', import.meta.url), 'utf8'))
const DEADLINE_MS = 60_000
/** Below the 20 events a second, with a burst of 60, that the server allows a socket. */
const PACE_MS = 55
const BURST = 45

/** Gives the promise's value, or fails with its name. */
export async function within(what, promise, ms = DEADLINE_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The team of this number, as `joinMatchmaking` wants it. */
export function teamOf(number, owner) {
  const all = value => Object.fromEntries(['hp', 'atk', 'def', 'spa', 'spd', 'spe'].map(key => [key, value]))
  const team = teams[number].map((pet, slot) => ({
    ...pet,
    name: `secret ${slot} of ${owner}`,
    level: 100,
    evs: all(85),
    ivs: all(31),
  }))
  return { name: `Tester ${owner.slice(0, 6)}`, id: owner, team }
}

/** Opens a socket; the handlers of `attach` are there before anything can arrive. */
export function open(url, query, transports, attach = () => {}) {
  const socket = io(url, { query, transports, forceNew: true, reconnectionDelay: 50, autoConnect: false })
  attach(socket)
  socket.connect()
  return socket
}

export class Fighter {
  /** Every event in the order of arrival: `[name, argument]`. */
  events = []
  state = {}
  sequence = -1
  #waiters = []
  #tokens = BURST
  #refilled = performance.now()

  static async create(url, number, transports) {
    const fighter = new Fighter()
    fighter.id = (await createGuest(url)).playerId
    fighter.team = teamOf(number, fighter.id)
    const query = { playerId: fighter.id, sessionId: `js-${fighter.id}` }
    fighter.socket = open(url, query, transports, socket => fighter.#attach(socket))
    await fighter.seen('connect', name => name === 'connect')
    return fighter
  }

  #attach(socket) {
    socket.on('connect', () => this.#record('connect'))
    socket.on('disconnect', reason => this.#record('disconnect', reason))
    socket.on('ping', () => socket.emit('pong'))
    for (const name of ['matchSuccess', 'roomClosed', 'updateState']) {
      socket.on(name, argument => this.#record(name, argument))
    }
    socket.on('battleEvent', message => {
      if (message.sequenceId > this.sequence) {
        assert.equal(message.sequenceId, this.sequence + 1, 'no number is missing')
        if (message.stateDelta) this.state = patch(this.state, structuredClone(message.stateDelta))
        this.sequence = message.sequenceId
      }
      this.#record('battleEvent', message)
    })
  }

  #record(name, argument) {
    this.events.push([name, argument])
    for (const check of [...this.#waiters]) check()
  }

  /** Waits for the first event, from the place `from` on, that `wanted` accepts; gives its place. */
  seen(what, wanted, from = 0) {
    let check
    const found = new Promise(resolve => {
      check = () => {
        const at = this.events.findIndex(([name, argument], at) => at >= from && wanted(name, argument))
        if (at >= 0) resolve(at)
      }
      this.#waiters.push(check)
      check()
    })
    return within(what, found).finally(() => this.#waiters.splice(this.#waiters.indexOf(check), 1))
  }

  /** Emits with an acknowledgement and gives the data of the success. */
  async ok(name, ...args) {
    const answer = await this.ask(name, ...args)
    assert.equal(answer.status, 'SUCCESS', `${name}: ${JSON.stringify(answer)}`)
    return answer.data
  }

  async ask(name, ...args) {
    const now = performance.now()
    this.#tokens = Math.min(this.#tokens + (now - this.#refilled) / PACE_MS, BURST) - 1
    this.#refilled = now
    if (this.#tokens < 0) await new Promise(resolve => setTimeout(resolve, -this.#tokens * PACE_MS))
    return await this.socket.timeout(DEADLINE_MS).emitWithAck(name, ...args)
  }

  async join() {
    assert.deepEqual(await this.ok('joinMatchmaking', this.team), { status: 'QUEUED' })
  }

  async matched() {
    const at = await this.seen('matchSuccess', name => name === 'matchSuccess')
    const found = this.events[at][1]
    assert.equal(found.status, 'SUCCESS')
    return found.data
  }

  /** Takes the state of a running battle as the one to go on from, as a page does that came back. */
  async resume() {
    this.state = await this.ok('getState')
    this.sequence = this.state.sequenceId ?? -1
  }

  /** Compares the patched state with the server's; nothing moves while this player is asked. */
  async checkState() {
    const asked = await this.ok('getState')
    if (asked.sequenceId > this.sequence) {
      await this.seen(`message ${asked.sequenceId}`, (name, m) => name === 'battleEvent' && m.sequenceId >= asked.sequenceId)
    }
    if (asked.sequenceId < this.sequence) return // the other player's choice came in between
    const { sequenceId: _, ...server } = asked
    const { sequenceId: __, ...own } = this.state
    assert.deepEqual(own, server, `after message ${this.sequence}`)
  }

  #asks({ type, data }) {
    if (type === 'FAINT_SWITCH') return data.player === this.id
    return ['TURN_ACTION', 'FORCED_SWITCH'].includes(type) && data.player.includes(this.id)
  }

  /** Chooses whenever asked until the battle ends, or until `turns` choices are made. */
  async play({ from = 0, asked = false, turns = Infinity } = {}) {
    let place = from
    for (let made = 0; ; made += 1) {
      if (!asked) {
        place = await this.seen(
          'message that asks to choose, or the end',
          (name, m) => name === 'battleEvent' && (m.type === 'BATTLE_END' || this.#asks(m)),
          place,
        )
        const message = this.events[place][1]
        place += 1
        if (message.type === 'BATTLE_END') return { end: message, place }
        if (made >= turns) return { place }
      }
      asked = false
      await this.checkState()
      await this.choose()
    }
  }

  async choose() {
    const available = await this.ok('getAvailableSelection')
    const skills = available.filter(choice => choice.type === 'use-skill')
    const options = skills.length > 0 ? skills : available.filter(choice => choice.type !== 'surrender')
    assert.ok(options.length > 0, `asked to choose, but there is only ${JSON.stringify(available)}`)
    const choice = options[Math.floor(Math.random() * options.length)]
    assert.deepEqual(await this.ok('submitPlayerSelection', choice), { status: 'ACTION_ACCEPTED' })
  }

  /** Numbers and types of all battle messages so far. */
  story() {
    return this.events
      .filter(([name, m]) => name === 'battleEvent' && Number.isInteger(m.sequenceId))
      .map(([, m]) => [m.sequenceId, m.type, m.data])
  }

  close() {
    this.socket.close()
  }
}

/** Two players in one room, with the server's word for it. */
export async function pair(url, transports) {
  const fighters = [await Fighter.create(url, 0, transports), await Fighter.create(url, 1, transports)]
  const [a, b] = fighters
  await a.join()
  await b.join()
  const [forA, forB] = await Promise.all([a.matched(), b.matched()])
  assert.equal(forA.roomId, forB.roomId)
  assert.deepEqual([forA.opponent.id, forB.opponent.id], [b.id, a.id])
  return { a, b, room: forA.roomId }
}
