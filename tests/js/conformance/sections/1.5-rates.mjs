// 1.5: how often one address may ask. Windows are counted by each node for itself, so a test stays at one.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { anyNode, ownAddress, rateLimits, without } from '../support/environment.mjs'
import { API, bodyOf, send } from '../support/http.mjs'
import { NOBODY } from '../support/players.mjs'

const WINDOW_S = 60
const CHECK = `${API}/auth/check-player/${NOBODY}`
const BINDING = `${API}/email/check-binding?email=nobody%40conformance.example`

async function exhaust(path, limit, at) {
  for (let sent = 0; sent < limit; sent += 1) {
    const answer = await send('GET', path, at)
    assert.notEqual(answer.status, 429, `request ${sent + 1} of ${limit}`)
  }
}

function tooMany(answer) {
  const { retryAfter, ...body } = bodyOf(answer)
  assert.equal(answer.status, 429)
  assert.deepEqual(body, { success: false, message: '请求过于频繁，请稍后重试', code: 'RATE_LIMIT_EXCEEDED' })
  assert.ok(Number.isInteger(retryAfter) && retryAfter > 0 && retryAfter <= WINDOW_S, `retryAfter ${retryAfter}`)
  for (const name of Object.keys(answer.headers)) assert.doesNotMatch(name, /^(retry-after|x-ratelimit)/)
}

export function tests() {
  test(
    `1.5 request ${rateLimits.auth + 1} to /auth within 60 s is 429 with retryAfter (row 4)`,
    { skip: without.rates },
    async () => {
      const at = { node: anyNode(), from: ownAddress() }
      await exhaust(CHECK, rateLimits.auth, at)
      tooMany(await send('GET', CHECK, at))
      tooMany(await send('POST', `${API}/auth/create-guest`, at))
      const elsewhere = await send('GET', CHECK, { ...at, from: ownAddress() })
      assert.equal(elsewhere.status, 404, 'another address is not counted with it')
    },
  )

  test(
    `1.5 request ${rateLimits.email + 1} to /email within 60 s is 429 with retryAfter`,
    { skip: without.rates },
    async () => {
      const at = { node: anyNode(), from: ownAddress() }
      await exhaust(BINDING, rateLimits.email, at)
      tooMany(await send('GET', BINDING, at))
    },
  )

  test('1.5 quirk, fixed: /auth and /email are counted apart', { skip: without.rates }, async () => {
    const at = { node: anyNode(), from: ownAddress() }
    await exhaust(CHECK, rateLimits.auth, at)
    assert.equal((await send('GET', BINDING, at)).status, 200)
  })

  test('1.5 other routes have no limit', { skip: without.rates }, async () => {
    const at = { node: anyNode(), from: ownAddress() }
    for (const path of ['/health', `${API}/sessions/sessions/${NOBODY}`]) await exhaust(path, rateLimits.auth + 5, at)
  })

  test('1.1 quirk: a forwarded address from a stranger is not believed', { skip: without.rates }, async () => {
    const at = { node: anyNode(), from: ownAddress() }
    const headers = () => ({ 'x-forwarded-for': `10.0.0.${Math.floor(Math.random() * 255)}` })
    for (let sent = 0; sent < rateLimits.email; sent += 1) await send('GET', BINDING, { ...at, headers: headers() })
    tooMany(await send('GET', BINDING, { ...at, headers: headers() }))
  })
}
