// A player who goes on wherever a node is alive: the official client, one connection after another,
// always the same session. What is asked is asked again under the same request id until it is answered.

import assert from 'node:assert/strict'

import { patch } from 'jsondiffpatch'

import { open, teamOf, within } from './fighter.mjs'
import { createGuest } from './server.mjs'

const BATTLE_DEADLINE_MS = 180_000
/** Answers that say nothing about what happened: the same request may be sent again. */
const RETRYABLE = ['BATTLE_OWNER_TEMP_UNAVAILABLE', 'CLUSTER_UNAVAILABLE', 'Failed to add to matchmaking queue']
const PAUSE_MS = 60
/** A choice takes two questions, and a socket may ask 20 in a second. */
const CHOICE_PAUSE_MS = 120

const pause = (ms = PAUSE_MS) => new Promise(resolve => setTimeout(resolve, ms))

/** The connection is gone, or gave no answer. */
class Lost extends Error {}

export class Wanderer {
  /** What was heard in this battle, by number: `[type, data]`. */
  story = new Map()
  connections = 0
  retries = 0
  #socket
  #lost
  #lose = () => {}
  #state
  #unapplied = []
  #asked = false
  /** Whether it is known that no choice of this player is waiting. */
  #sure = false
  #ended
  #news = () => {}
  #requests = 0
  /** The one on which it is working, by number. */
  #connection = 0
  #closed = false

  /**
   * `nodes` are those of the cluster; the first try goes to the one at `home`. With `staying` it is one
   * address, of a balancer, and the client itself reconnects, as a page's does.
   */
  static async create(nodes, home, number, { staying = false } = {}) {
    const player = new Wanderer()
    player.nodes = nodes
    player.staying = staying
    for (let at = home; !player.id; at += 1) {
      if (at > 100) throw new Error('no guest anywhere')
      player.id = await createGuest(nodes[at % nodes.length].url).then(({ playerId }) => playerId, () => pause())
    }
    player.at = home
    player.team = teamOf(number, player.id)
    return player
  }

  /** Queues, and gives the room's id once matched. */
  async match() {
    const join = { requestId: `join-${(this.#requests += 1)}` }
    return await within(
      'match',
      this.#insist(async () => {
        const known = await this.#ask('getState')
        if (known.status === 'SUCCESS' && known.data.status !== 'Ended') return
        this.#success(await this.#ask('joinMatchmaking', this.team, join), { status: 'QUEUED' })
        await this.#until(() => this.matched)
      }),
      BATTLE_DEADLINE_MS,
    )
  }

  /** Fights until the battle is over; gives what is known of its end. */
  async fight() {
    let choice
    const fighting = this.#insist(async () => {
      await this.#resume()
      while (!this.#ended) {
        if (this.#asked || choice) {
          // What asks next may arrive before the answer to this choice is looked at; or it came while nobody
          // was here, if this choice is one that is asked again.
          if (!choice) {
            this.#asked = false
            choice = await this.#choice()
          }
          if (choice) {
            const answer = await this.#ask('submitPlayerSelection', ...choice.args)
            // Retried after its turn was resolved by it, it is answered as the first time. A choice
            // that replaces one made before the connection was lost may come too late.
            const late = !choice.sure && answer.details === 'INVALID_SELECTION'
            if (!late) this.#success(answer, { status: 'ACTION_ACCEPTED' })
            // Whatever asked meanwhile may be what got this very choice.
            if (!choice.sure) this.#sure = false
          }
          choice = undefined
          await pause(CHOICE_PAUSE_MS)
        }
        await this.#until(() => this.#asked || this.#ended)
      }
    })
    try {
      await within('end of the battle', fighting, BATTLE_DEADLINE_MS)
    } catch (error) {
      error.message += `; ${await this.#standing(choice)}`
      throw error
    }
    return this.#ended
  }

  /** How things stand, for whoever has to find out why they do not go on. */
  async #standing(choice) {
    const ask = name => Promise.race([this.#socket.emitWithAck(name), pause(2_000)]).catch(String)
    const connected = this.#socket.connected
    const [state, available] = connected ? await Promise.all([ask('getState'), ask('getAvailableSelection')]) : []
    const { sequenceId, currentPhase, currentTurn } = state?.data ?? {}
    const heard = [...this.story].slice(-5).map(([number, [type]]) => `${number} ${type}`)
    return JSON.stringify({
      id: this.id,
      connected,
      connections: this.connections,
      retries: this.retries,
      asked: this.#asked,
      choice: choice?.args,
      heard,
      server: { sequenceId, currentPhase, currentTurn, status: state?.data?.status ?? state },
      available: available?.data?.length ?? available,
    })
  }

  /** Forgets the battle that is over, to play another one. */
  again() {
    this.story = new Map()
    this.#ended = this.matched = undefined
    this.#asked = this.#sure = false
  }

  /** Gives up, whatever it is doing. */
  close() {
    this.#closed = true
    this.#socket?.close()
  }

  /** Does it again from the beginning on another node whenever the connection is lost. */
  async #insist(work) {
    for (;;) {
      try {
        await this.#arrive()
        this.#connection = this.connections
        return await work()
      } catch (error) {
        if (!(error instanceof Lost) || this.#closed) throw error
        this.retries += 1
        await pause()
      }
    }
  }

  /** Connects, to the next node if need be. */
  async #arrive() {
    if (this.#socket?.connected) return
    if (this.staying && this.#socket) {
      await within('connection', new Promise(resolve => this.#socket.once('connect', resolve)))
      return
    }
    this.#socket?.close()
    if (this.connections > 0) this.at = (this.at + 1) % this.nodes.length
    const connected = new Promise(resolve => this.#open(resolve))
    await Promise.race([connected, this.#lost])
  }

  #open(connected) {
    this.#begin()
    const query = { playerId: this.id, sessionId: `js-${this.id}` }
    this.#socket = open(this.nodes[this.at].url, query, ['websocket'], socket => {
      socket.io.reconnection(this.staying)
      socket.on('connect', () => {
        this.connections += 1
        this.#begin()
        connected()
      })
      socket.on('connect_error', () => this.#lose())
      socket.on('disconnect', () => this.#lose())
      socket.on('ping', () => socket.emit('pong'))
      socket.on('matchSuccess', found => ((this.matched = found.data), this.#news()))
      socket.on('battleEvent', message => this.#hear(message))
    })
  }

  /** A connection begins, with nothing known. */
  #begin() {
    this.#unapplied = []
    this.#state = undefined
    const ended = new Promise((_, reject) => (this.#lose = () => reject(new Lost('the connection is lost'))))
    // Who tries to connect waits for the first one, who is connected for the second.
    this.#lost = ended
    ended.catch(() => {})
  }

  /** Where the battle stands; what is heard from here on changes it. */
  async #resume() {
    const { data } = this.#success(await this.#ask('getState'))
    this.#state = data
    if (data.status === 'Unstarted') this.#success(await this.#ask('ready'))
    if (data.status === 'Ended') this.#ended ??= { sequenceId: data.sequenceId }
    // What was asked while nobody was here is not asked again.
    this.#asked = true
    this.#sure = false
    for (const message of this.#unapplied.splice(0)) this.#apply(message)
  }

  #hear(message) {
    if (this.#state) this.#apply(message)
    else this.#unapplied.push(message)
  }

  #apply(message) {
    const { sequenceId, type, data, stateDelta } = message
    const known = this.#state.sequenceId ?? -1
    if (!Number.isInteger(sequenceId) || sequenceId <= known) return
    assert.equal(sequenceId, known + 1, 'no number is missing')
    if (stateDelta) this.#state = patch(this.#state, structuredClone(stateDelta))
    this.#state.sequenceId = sequenceId
    this.story.set(sequenceId, [type, data])
    const asks =
      type === 'FAINT_SWITCH'
        ? data.player === this.id
        : ['TURN_ACTION', 'FORCED_SWITCH'].includes(type) && data.player.includes(this.id)
    if (asks) this.#asked = this.#sure = true
    if (type === 'BATTLE_END') this.#ended = { sequenceId, ...data }
    this.#news()
  }

  /** What to choose and under which request id; nothing if there is nothing to choose. */
  async #choice() {
    const sure = this.#sure
    const available = this.#success(await this.#ask('getAvailableSelection')).data
    const skills = available.filter(({ type }) => type === 'use-skill')
    const options = skills.length > 0 ? skills : available.filter(({ type }) => type !== 'surrender')
    if (options.length === 0) return undefined
    const key = { requestId: `choice-${(this.#requests += 1)}` }
    const args = [options[Math.floor(Math.random() * options.length)], key]
    return { args, sure }
  }

  /** A client that reconnects by itself may have lost its connection, and have another, while nobody looked. */
  #sameConnection() {
    if (this.connections !== this.#connection) throw new Lost('it is another connection')
  }

  async #ask(name, ...args) {
    this.#sameConnection()
    const answer = await Promise.race([this.#socket.emitWithAck(name, ...args), this.#lost, pause(10_000)])
    if (!answer || RETRYABLE.includes(answer.details)) throw new Lost(`${name} was not answered`)
    return answer
  }

  #success(answer, data) {
    assert.equal(answer.status, 'SUCCESS', JSON.stringify(answer))
    if (data) assert.deepEqual(answer.data, data)
    return answer
  }

  async #until(condition) {
    this.#sameConnection()
    const met = new Promise(resolve => {
      this.#news = () => condition() && resolve()
      this.#news()
    })
    await Promise.race([met, this.#lost])
  }
}

/** Both fight to the end, and have heard the same wherever both were listening. */
export async function fought([a, b]) {
  const [end, same] = await Promise.all([a.fight(), b.fight()])
  assert.equal(end.sequenceId, same.sequenceId)
  for (const [number, message] of a.story) {
    const other = b.story.get(number)
    if (other) assert.deepEqual(message, other, `message ${number}`)
  }
  assert.ok([a, b].some(player => player.story.get(end.sequenceId)?.[0] === 'BATTLE_END'), 'somebody heard the end')
}
