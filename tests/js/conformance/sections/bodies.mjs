// Whatever a body or payload holds, over the wire: refused or taken, never a 5xx, and the connection lives.
// The same seed makes the same bodies.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { Player, duel } from '../support/battle.mjs'
import { seed } from '../support/environment.mjs'
import { API, send } from '../support/http.mjs'
import { NOBODY, guest, newAddress } from '../support/players.mjs'

const ROUTE_RUNS = 40
const EVENT_RUNS = 25

/** Routes with a body, and one that is fine. */
const ROUTES = [
  ['POST', '/auth/create-guest', () => ({})],
  ['POST', '/auth/refresh', () => ({ refreshToken: 'a.b.c' })],
  ['PUT', '/auth/update-player-name', id => ({ playerId: id, name: 'Ann' })],
  ['POST', '/auth/logout', () => ({})],
  ['POST', '/email/send-verification-code', () => ({ email: newAddress(), purpose: 'recover' })],
  ['POST', '/email/verify-code', id => ({ playerId: id, email: 'a@b.co', code: '123456', purpose: 'bind' })],
  ['POST', '/email/bind', id => ({ playerId: id, email: 'a@b.co', code: '123456' })],
  ['POST', '/email/recover', () => ({ email: 'a@b.co', code: '123456' })],
  ['POST', '/email/unbind', id => ({ playerId: id })],
  ['POST', '/sessions/sessions/cleanup', () => ({})],
]

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', NOBODY, '\0', '__proto__', '\ud800', 'x'.repeat(5_000)),
)
const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.double(),
  fc.constantFrom(-0, 1e308, 2 ** 53, -1),
  text,
)
const json = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(text, tie('value'), { maxKeys: 5 }),
  ),
})).value

/** Changes of a good value: what stands at a place is replaced, gone, doubled, or has something beside it. */
const changes = fc.array(
  fc.record({
    place: fc.nat(),
    how: fc.constantFrom('replace', 'replace', 'remove', 'double', 'add'),
    value: json,
    key: text,
  }),
  { minLength: 1, maxLength: 3 },
)

function changed(good, list) {
  const root = { value: structuredClone(good) }
  for (const { place, how, value, key } of list) {
    const places = []
    const walk = (holder, name) => {
      places.push([holder, name])
      if (holder[name] && typeof holder[name] === 'object')
        for (const key of Object.keys(holder[name])) walk(holder[name], key)
    }
    walk(root, 'value')
    const [holder, name] = places[place % places.length]
    if (how === 'replace') holder[name] = value
    else if (how === 'double') holder[name] = [holder[name], structuredClone(holder[name])]
    else if (how === 'add' && holder[name] && typeof holder[name] === 'object') holder[name][key] = value
    else if (how === 'remove' && holder !== root)
      Array.isArray(holder) ? holder.splice(Number(name), 1) : delete holder[name]
  }
  return root.value
}

const body = fc.oneof(
  { weight: 1, arbitrary: json.map(value => ({ value })) },
  { weight: 2, arbitrary: changes.map(list => ({ list })) },
)
const made = ({ value, list }, good) => (list ? changed(good, list) : value)
const CODE = /^[A-Z][A-Z0-9_]*$/
const options = runs => ({
  seed: seed | 0,
  numRuns: runs,
  endOnFailure: false,
  interruptAfterTimeLimit: 40_000,
  markInterruptAsFailure: true,
})

export function tests() {
  for (const [method, path, good] of ROUTES) {
    test(`1.1 bodies: random and mutated JSON is answered below 500: ${method} ${path}`, async () => {
      const { playerId } = await guest()
      const property = fc.asyncProperty(body, async from => {
        const answer = await send(method, API + path, { json: made(from, good(playerId)) ?? null })
        // The one 500 with a meaning: a mail to an address that the relay does not take.
        const unsent = answer.text.includes('验证码发送失败')
        assert.ok(answer.status < 500 || unsent, `${answer.status} ${answer.text.slice(0, 200)}`)
        assert.match(answer.headers['content-type'], /^(application\/json|text\/(html|plain)); charset=utf-8$/)
      })
      await fc.assert(property, options(ROUTE_RUNS))
      assert.equal((await send('GET', '/ready')).status, 200)
    })
  }

  test('1.1 bodies: bytes that are no JSON are answered below 500', async () => {
    const bytes = fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes))
    const type = fc.constantFrom(
      'application/json',
      'application/x-www-form-urlencoded',
      'text/plain',
      'application/json; charset=latin1',
    )
    const property = fc.asyncProperty(bytes, type, fc.constantFrom(...ROUTES), async (body, type, [method, path]) => {
      const answer = await send(method, API + path, { body, headers: { 'content-type': type } })
      assert.ok(answer.status < 500, `${answer.status} ${answer.text.slice(0, 200)}`)
    })
    await fc.assert(property, options(ROUTE_RUNS))
  })

  /** Events with a payload, and one that is fine in a battle. */
  const EVENTS = [
    ['joinMatchmaking', player => ({ ...player.team, id: NOBODY })],
    ['submitPlayerSelection', player => ({ type: 'use-skill', player: player.id, skill: NOBODY, target: 'opponent' })],
    ['getPlayerTimerState', player => ({ playerId: player.id })],
    ['startAnimation', player => ({ source: NOBODY, expectedDuration: 5, ownerId: player.id })],
    ['getState', () => ({})],
    ['ready', () => ({})],
  ]
  for (const [event, good] of EVENTS) {
    test(`3.5 payloads: random and mutated JSON is answered with a stable code, and the socket lives: ${event}`, async () => {
      const fight = await duel()
      const { a, close } = fight
      const property = fc.asyncProperty(body, fc.boolean(), async (from, keyed) => {
        const payload = made(from, good(a))
        const answer = await a.ask(event, payload, ...(keyed ? [{ requestId: 5, more: payload }] : []))
        const refused = answer.status === 'ERROR' && CODE.test(answer.code)
        assert.ok(answer.status === 'SUCCESS' || refused, JSON.stringify(answer))
        assert.ok(![answer.code, answer.details].includes('INTERNAL_ERROR'), JSON.stringify(answer))
      })
      await fc.assert(property, options(EVENT_RUNS))
      assert.ok(a.connection.socket.connected)
      await a.ok('getServerState')
      close()
    })
  }

  for (const event of ['endAnimation', 'reportAnimationEnd', 'pong', 'cancelMatchmaking']) {
    test(`3.5 payloads: random JSON does the socket no harm: ${event}`, async () => {
      const player = await Player.create()
      const property = fc.asyncProperty(body, async from => {
        player.connection.socket.emit(event, made(from, { animationId: NOBODY, actualDuration: 5 }))
        await player.ok('getServerState')
      })
      await fc.assert(property, options(15))
      assert.ok(player.connection.socket.connected)
      player.close()
    })
  }
}
