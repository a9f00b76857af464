// One connection of a player: the official client, which remembers whatever arrives. What is awaited has
// a name and a deadline.

import assert from 'node:assert/strict'

import { io } from 'socket.io-client'

import { anyNode, nodes } from './environment.mjs'

export const DEADLINE_MS = 20_000
const PUSHES = [
  'updateState',
  'matchSuccess',
  'battleEvent',
  'roomClosed',
  'battleEventBatch',
  'matchmakingError',
  'timerEvent',
  'timerSnapshot',
  'battleReconnect',
  'reconnectTest',
  'opponentDisconnected',
  'opponentReconnected',
]
/** Below the 20 events a second with a burst of 60 that a server may allow a socket. */
const PACE = { perMs: 18 / 1000, burst: 45 }

export const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** Gives the promise's value, or fails with its name. */
export async function within(what, promise, ms = DEADLINE_MS) {
  let timer
  const late = new Promise(
    (_, reject) => (timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms)),
  )
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** All that are open: a test that fails must not keep the process. */
const open = new Set()
export const closeAll = () => open.forEach(connection => connection.close())

export class Connection {
  /** What arrived, in order: `{name, arg, at}`; also `connect`, `disconnect` and `connect_error`. */
  events = []
  #waiters = new Set()
  #tokens = PACE.burst
  #filled = performance.now()

  /** Opens a connection; `query`, `auth` and `transports` are the client's, `silent` answers no ping. */
  constructor({ node = anyNode(nodes), query = {}, auth, transports = ['websocket'], silent = false, attach } = {}) {
    this.node = node
    this.socket = io(node, { query, auth, transports, forceNew: true, reconnection: false, autoConnect: false })
    this.socket.on('connect', () => this.#record('connect'))
    this.socket.on('disconnect', reason => this.#record('disconnect', reason))
    this.socket.on('connect_error', error => this.#record('connect_error', error))
    this.socket.on('ping', () => {
      this.#record('ping')
      if (!silent) this.socket.emit('pong')
    })
    for (const name of PUSHES) this.socket.on(name, (...args) => this.#record(name, ...args))
    attach?.(this.socket)
    open.add(this)
    this.socket.connect()
  }

  /** Opens a connection that is let in. */
  static async open(options) {
    const connection = new Connection(options)
    const place = await connection.seen('connect', ({ name }) => name === 'connect' || name === 'connect_error')
    const { name, arg } = connection.events[place]
    if (name === 'connect_error') throw new Error(`refused: ${arg.message}`)
    return connection
  }

  /** Opens a connection that is refused, and gives the error. */
  static async refused(options) {
    const connection = new Connection(options)
    try {
      const place = await connection.seen('refusal', ({ name }) => name === 'connect' || name === 'connect_error')
      const { name, arg } = connection.events[place]
      assert.equal(name, 'connect_error', 'the connection is refused')
      return arg
    } finally {
      connection.close()
    }
  }

  #record(name, ...args) {
    this.events.push({ name, arg: args[0], args, at: performance.now() })
    this.onEvent?.(this.events.at(-1))
    for (const check of [...this.#waiters]) check()
  }

  /** Waits for the first event, from the place `from` on, that `wanted` accepts; gives its place. */
  async seen(what, wanted, from = 0, ms = DEADLINE_MS) {
    let check
    const found = new Promise(resolve => {
      check = () => {
        const place = this.events.findIndex((event, place) => place >= from && wanted(event))
        if (place >= 0) resolve(place)
      }
      this.#waiters.add(check)
      check()
    })
    return await within(what, found, ms).finally(() => this.#waiters.delete(check))
  }

  /** Waits for the first push of this name, and gives it. */
  async push(name, wanted = () => true, from = 0, ms = DEADLINE_MS) {
    return this.events[await this.seen(name, event => event.name === name && wanted(event.arg), from, ms)]
  }

  count(name, wanted = () => true) {
    return this.events.filter(event => event.name === name && wanted(event.arg)).length
  }

  /** Emits with a callback; gives the acknowledgement, which must have exactly one argument. */
  async ask(name, ...args) {
    const now = performance.now()
    this.#tokens = Math.min(this.#tokens + (now - this.#filled) * PACE.perMs, PACE.burst) - 1
    this.#filled = now
    if (this.#tokens < 0) await pause(-this.#tokens / PACE.perMs)
    const answered = new Promise(resolve => this.socket.emit(name, ...args, (...answer) => resolve(answer)))
    const answer = await within(`answer to ${name}`, answered)
    assert.equal(answer.length, 1, `${name} is acknowledged with one argument`)
    return answer[0]
  }

  /** The data of a success. */
  async ok(name, ...args) {
    const answer = await this.ask(name, ...args)
    assert.equal(answer?.status, 'SUCCESS', `${name}: ${JSON.stringify(answer)}`)
    return answer.data
  }

  /** Checks that it is refused with this code and these details. */
  async fails(name, args, code, details) {
    const answer = await this.ask(name, ...args)
    assert.deepEqual(answer, { status: 'ERROR', code, ...(details !== undefined && { details }) }, name)
  }

  close() {
    open.delete(this)
    this.socket.close()
  }
}
