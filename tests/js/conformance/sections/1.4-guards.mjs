// 1.4: who may act as whom.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { without } from '../support/environment.mjs'
import { API, bodyOf, refuses, send, succeeds } from '../support/http.mjs'
import { NOBODY, claimsOf, guest, now, registered, sign } from '../support/players.mjs'

const RENAME = `${API}/auth/update-player-name`
const rename = (playerId, options) => send('PUT', RENAME, { json: { playerId, name: 'Ann' }, ...options })

export function tests() {
  test('1.4 smart: without a player id 400 PLAYER_ID_MISSING, also before validation', async () => {
    for (const json of [{ name: 'Ann' }, { name: '' }, {}, { playerId: '', name: 'Ann' }]) {
      refuses(await send('PUT', RENAME, { json }), 400, '缺少玩家ID', 'PLAYER_ID_MISSING')
    }
  })

  test('1.4 smart: an unknown player is 404 PLAYER_NOT_FOUND', async () => {
    for (const id of [NOBODY, 'x', '../x', 'ä'.repeat(21)]) {
      refuses(await rename(id), 404, '玩家不存在', 'PLAYER_NOT_FOUND')
    }
  })

  test('1.4 smart: the id is taken from the body, else from the query', async () => {
    const { playerId } = await guest()
    const inQuery = await send('PUT', `${RENAME}?playerId=${playerId}`, { json: { name: 'Ann' } })
    refuses(inQuery, 400, 'Required', 'VALIDATION_ERROR')
    succeeds(await send('PUT', `${RENAME}?playerId=${NOBODY}`, { json: { playerId, name: 'Ann' } }), '玩家名称更新成功')
  })

  test('1.4 smart: a guest passes by id, whatever token is sent', async () => {
    const { playerId } = await guest()
    succeeds(await rename(playerId), '玩家名称更新成功')
    succeeds(await rename(playerId, { token: 'nonsense' }), '玩家名称更新成功')
  })

  test(
    '1.4 smart: a registered player needs a token, his own and a good one (row 3)',
    { skip: without.secretAndMailbox },
    async () => {
      const { id, accessToken } = await registered()
      refuses(await rename(id), 401, '注册用户需要提供访问令牌', 'TOKEN_REQUIRED_FOR_REGISTERED_USER')
      const expired = sign(claimsOf(id, { iat: now() - 7200, exp: now() - 3600 }))
      for (const token of ['nonsense', expired, sign(claimsOf(id), 'another secret')]) {
        refuses(await rename(id, { token }), 401, '访问令牌无效或已过期', 'TOKEN_INVALID')
      }
      const { playerId: other } = await guest()
      refuses(
        await rename(id, { token: sign(claimsOf(other)) }),
        403,
        '令牌与请求的玩家ID不匹配',
        'PLAYER_ID_TOKEN_MISMATCH',
      )
      succeeds(await rename(id, { token: accessToken }), '玩家名称更新成功')
    },
  )

  test('1.4 registered: a guest is refused with 403 REGISTERED_USER_REQUIRED', async () => {
    const { playerId } = await guest()
    const answer = await send('POST', `${API}/email/unbind`, { json: { playerId } })
    refuses(answer, 403, '此功能仅限注册用户使用', 'REGISTERED_USER_REQUIRED')
  })

  for (const [method, path] of [
    ['GET', '/auth/verify'],
    ['POST', '/auth/logout'],
    ['GET', `/sessions/sessions/${NOBODY}`],
  ]) {
    test(`1.4 token: none is 401 TOKEN_MISSING, a bad one 401 TOKEN_INVALID: ${method} ${path}`, async () => {
      refuses(await send(method, API + path), 401, '访问令牌缺失', 'TOKEN_MISSING')
      refuses(
        await send(method, API + path, { headers: { authorization: 'Bearer' } }),
        401,
        '访问令牌缺失',
        'TOKEN_MISSING',
      )
      for (const token of ['nonsense', 'a.b.c', sign(claimsOf(NOBODY), 'another secret')]) {
        refuses(await send(method, API + path, { token }), 401, '访问令牌无效或已过期', 'TOKEN_INVALID')
      }
    })
  }

  test('1.4 quirk: the word before the token does not matter', { skip: without.secret }, async () => {
    const { playerId } = await guest()
    for (const word of ['Bearer', 'bearer', 'Token', 'x']) {
      const headers = { authorization: `${word} ${sign(claimsOf(playerId))}` }
      const answer = await send('GET', `${API}/auth/verify`, { headers })
      assert.equal(bodyOf(answer).valid, true, word)
    }
  })
}
