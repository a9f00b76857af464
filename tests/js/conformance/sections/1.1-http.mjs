// 1.1 and 1.2: what holds for every request.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { allowedOrigin, anyNode, ownAddress } from '../support/environment.mjs'
import { API, answers, bodyOf, refuses, send, succeeds } from '../support/http.mjs'
import { guest, nanoid } from '../support/players.mjs'

const MIB = 1024 * 1024
const WITH_BODY = [
  ['POST', '/auth/refresh'],
  ['PUT', '/auth/update-player-name'],
  ['POST', '/email/send-verification-code'],
  ['POST', '/email/verify-code'],
  ['POST', '/email/bind'],
  ['POST', '/email/recover'],
  ['POST', '/email/unbind'],
]
const FOREIGN = 'https://elsewhere.example'

const vary = answer => (answer.headers.vary ?? '').split(',').map(name => name.trim().toLowerCase())

export function tests() {
  for (const type of ['application/json', 'application/x-www-form-urlencoded']) {
    test(`1.1 a body of more than 10 MB is refused with 413: ${type}`, async () => {
      const headers = { 'content-type': type }
      const answer = await send('PUT', `${API}/auth/update-player-name`, { headers, announced: 10 * MIB + 1 })
      assert.equal(answer.status, 413)
    })
  }

  test('1.1 a body of nearly 10 MB is read', async () => {
    const { playerId } = await guest()
    const json = { playerId, name: 'Large', more: 'x'.repeat(10 * MIB - 200) }
    succeeds(await send('PUT', `${API}/auth/update-player-name`, { json }), '玩家名称更新成功')
  })

  for (const [method, path] of WITH_BODY) {
    test(`1.1 malformed JSON is refused with 400: ${method} ${path}`, async () => {
      for (const body of ['{', '{"email":}', '"text"', 'nonsense', '{"a":1}}']) {
        const answer = await send(method, API + path, { body, headers: { 'content-type': 'application/json' } })
        assert.equal(answer.status, 400, body)
      }
    })
  }

  test('1.1 an unknown route is 404 and says "Cannot <METHOD> <path>"', async () => {
    for (const [method, path] of [
      ['GET', '/nowhere'],
      ['POST', `${API}/nowhere`],
      ['DELETE', `${API}/auth/verify`],
    ]) {
      const answer = await send(method, path)
      assert.equal(answer.status, 404)
      assert.ok(answer.text.includes(`Cannot ${method} ${path}`), answer.text)
    }
  })

  test('1.1 a missing body counts as an empty object: the first required field fails', async () => {
    refuses(await send('POST', `${API}/auth/refresh`), 400, 'Required', 'VALIDATION_ERROR')
    refuses(await send('POST', `${API}/email/recover`), 400, 'Required')
  })

  test('1.1 a urlencoded body is read like a JSON one', async () => {
    const { playerId } = await guest()
    const renamed = await send('PUT', `${API}/auth/update-player-name`, { form: { playerId, name: 'Änne Ä' } })
    assert.deepEqual(succeeds(renamed, '玩家名称更新成功').data, { playerId, playerName: 'Änne Ä' })
  })

  test('1.1 CORS: an allowed origin is named, with credentials and Vary (row 5)', async () => {
    const answer = await send('POST', `${API}/auth/create-guest`, { headers: { origin: allowedOrigin } })
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['access-control-allow-origin'], allowedOrigin)
    assert.equal(answer.headers['access-control-allow-credentials'], 'true')
    assert.ok(vary(answer).includes('origin'))
  })

  test('1.1 CORS: a foreign or missing origin is served without Allow-Origin (row 5)', async () => {
    for (const headers of [{ origin: FOREIGN }, {}]) {
      const answer = await send('POST', `${API}/auth/create-guest`, { headers })
      assert.equal(answer.status, 200)
      assert.equal(bodyOf(answer).success, true)
      assert.equal(answer.headers['access-control-allow-origin'], undefined)
      assert.equal(answer.headers['access-control-allow-credentials'], 'true')
      assert.ok(vary(answer).includes('origin'))
    }
  })

  test('1.1 CORS: a preflight on any path is 204 and echoes the wanted headers (row 5)', async () => {
    for (const path of ['/health', `${API}/auth/create-guest`, '/nowhere', '/socket.io/']) {
      const wanted = 'authorization, x-anything'
      const headers = { 'access-control-request-headers': wanted, 'access-control-request-method': 'PUT' }
      const answer = await send('OPTIONS', path, { headers: { ...headers, origin: allowedOrigin } })
      assert.equal(answer.status, 204, path)
      assert.equal(answer.text, '')
      assert.equal(answer.headers['access-control-allow-origin'], allowedOrigin)
      assert.equal(answer.headers['access-control-allow-methods'], 'GET,HEAD,PUT,PATCH,POST,DELETE')
      assert.equal(answer.headers['access-control-allow-headers'], wanted)
      assert.ok(['origin', 'access-control-request-headers'].every(name => vary(answer).includes(name)))
      const foreign = await send('OPTIONS', path, { headers: { ...headers, origin: FOREIGN } })
      assert.equal(foreign.status, 204)
      assert.equal(foreign.headers['access-control-allow-origin'], undefined)
    }
  })

  test('1.1 CORS: Socket.IO shares the list (row 5)', async () => {
    const { playerId } = await guest()
    const path = `/socket.io/?EIO=4&transport=polling&playerId=${playerId}`
    const node = anyNode()
    const own = await send('GET', path, { node, headers: { origin: allowedOrigin } })
    assert.equal(own.headers['access-control-allow-origin'], allowedOrigin)
    const foreign = await send('GET', path, { node, headers: { origin: FOREIGN } })
    assert.deepEqual([foreign.status, foreign.headers['access-control-allow-origin']], [200, undefined])
  })

  test('1.2 a field of a wrong type is named with the types', async () => {
    const refused = await send('POST', `${API}/auth/refresh`, { json: { refreshToken: 5 } })
    refuses(refused, 400, 'Expected string, received number', 'VALIDATION_ERROR')
    const { playerId } = await guest()
    const named = await send('PUT', `${API}/auth/update-player-name`, { json: { playerId, name: null } })
    refuses(named, 400, 'Expected string, received null', 'VALIDATION_ERROR')
  })

  test('1.2 a wrong enum value is named with what was expected', async () => {
    const json = { email: 'a@b.co', purpose: 'q' }
    const answer = await send('POST', `${API}/email/send-verification-code`, { json })
    refuses(answer, 400, "Invalid enum value. Expected 'bind' | 'recover', received 'q'")
  })

  test('1.2 only the first problem is told, in the order of the fields', async () => {
    refuses(await send('POST', `${API}/email/recover`, { json: { email: 'x', code: 'y' } }), 400, '邮箱格式不正确')
    const { playerId } = await guest()
    const both = await send('PUT', `${API}/auth/update-player-name?playerId=${playerId}`, {
      json: { playerId: '', name: '' },
    })
    refuses(both, 400, '玩家ID不能为空', 'VALIDATION_ERROR')
  })

  test('1.10 there is no data editor', async () => {
    for (const path of ['/api/files', '/api/file/pets.yaml', '/api/data/pets']) {
      assert.equal((await send('GET', path)).status, 404, path)
    }
    assert.equal((await send('POST', '/api/file/pets.yaml', { json: {} })).status, 404)
  })

  test('3.3 an Idempotency-Key: the retry, at any node, gets the answer of the first time', async () => {
    const headers = { 'idempotency-key': nanoid() }
    const from = ownAddress()
    const first = await send('POST', `${API}/auth/create-guest`, { headers, from })
    const again = await send('POST', `${API}/auth/create-guest`, { headers, from })
    answers(again, 200, bodyOf(first))
  })
}
