// 1.6: accounts and tokens over REST (row 1).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { without } from '../support/environment.mjs'
import { API, answers, bodyOf, refuses, send, succeeds } from '../support/http.mjs'
import { NANOID, NOBODY, claimsOf, guest, read, registered, sign } from '../support/players.mjs'

const RENAMED = '玩家名称更新成功'
const put = json => send('PUT', `${API}/auth/update-player-name`, { json })

export function tests() {
  test('1.6 create-guest: 200 with id, name, isGuest and message, and no token', async () => {
    const before = Date.now()
    const { data, ...envelope } = bodyOf(await send('POST', `${API}/auth/create-guest`))
    assert.deepEqual(envelope, { success: true, message: '游客创建成功' })
    const { playerId, playerName, ...rest } = data
    assert.deepEqual(rest, { isGuest: true, message: '游客模式无需认证，可直接使用所有功能' })
    assert.match(playerId, NANOID)
    const [, moment] = /^游客-([0-9a-z]+)$/.exec(playerName)
    assert.ok(Math.abs(parseInt(moment, 36) - before) < 60_000, 'the name is the moment in base 36')
  })

  test('1.6 create-guest: a body is not looked at', async () => {
    const answer = await send('POST', `${API}/auth/create-guest`, { json: { playerId: NOBODY, name: 5 } })
    assert.notEqual(succeeds(answer, '游客创建成功').data.playerId, NOBODY)
  })

  test('1.6 check-player: what a guest is, at any node', async () => {
    const { playerId, playerName } = await guest()
    const answer = await send('GET', `${API}/auth/check-player/${playerId}`)
    const { createdAt } = bodyOf(answer).data
    const data = { playerId, playerName, isRegistered: false, requiresAuth: false, email: null, createdAt }
    answers(answer, 200, { success: true, data })
    assert.match(createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/)
    assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 60_000)
  })

  test('1.6 check-player: what a registered player is', { skip: without.mailbox }, async () => {
    const { id, email } = await registered()
    const { data } = bodyOf(await send('GET', `${API}/auth/check-player/${id}`))
    assert.deepEqual([data.isRegistered, data.requiresAuth, data.email], [true, true, email])
  })

  test('1.6 check-player: an unknown player is 404 PLAYER_NOT_FOUND', async () => {
    for (const id of [NOBODY, 'x', '%00', encodeURIComponent('玩家')]) {
      refuses(await send('GET', `${API}/auth/check-player/${id}`), 404, '玩家不存在', 'PLAYER_NOT_FOUND')
    }
  })

  test('1.6 update-player-name: 200 with the new name, which any node knows then', async () => {
    const { playerId } = await guest()
    for (const name of ['A', 'x'.repeat(30), '名'.repeat(30), ' Ann  B ']) {
      answers(await put({ playerId, name }), 200, {
        success: true,
        message: RENAMED,
        data: { playerId, playerName: name },
      })
      const checked = bodyOf(await send('GET', `${API}/auth/check-player/${playerId}`))
      assert.equal(checked.data.playerName, name)
    }
  })

  test('1.6 update-player-name: a name has 1 to 30 characters', async () => {
    const { playerId } = await guest()
    refuses(await put({ playerId, name: '' }), 400, '玩家名称不能为空', 'VALIDATION_ERROR')
    refuses(await put({ playerId, name: 'x'.repeat(31) }), 400, '名称长度不能超过30个字符', 'VALIDATION_ERROR')
    refuses(await put({ playerId }), 400, 'Required', 'VALIDATION_ERROR')
  })

  test('1.6 refresh: an empty token is 400, a bad one 401 REFRESH_TOKEN_INVALID', async () => {
    const refresh = refreshToken => send('POST', `${API}/auth/refresh`, { json: { refreshToken } })
    refuses(await refresh(''), 400, '刷新令牌不能为空', 'VALIDATION_ERROR')
    refuses(await refresh('nonsense'), 401, '刷新令牌无效或已过期', 'REFRESH_TOKEN_INVALID')
  })

  test('1.6 refresh: 200 with a new pair', { skip: without.mailbox }, async () => {
    const { id, email, refreshToken } = await registered()
    const { data } = succeeds(await send('POST', `${API}/auth/refresh`, { json: { refreshToken } }), '令牌刷新成功')
    assert.deepEqual(Object.keys(data).sort(), ['accessToken', 'expiresIn', 'player', 'refreshToken'])
    assert.deepEqual(data.player, { id, isRegistered: true, email })
    const { iat, exp } = read(data.accessToken)
    assert.equal(exp - iat, data.expiresIn)
    assert.equal(bodyOf(await send('GET', `${API}/auth/verify`, { token: data.accessToken })).valid, true)
  })

  test(
    '1.6 refresh: an access token is none, and neither is one of a player who is not there',
    { skip: without.secret },
    async () => {
      const { playerId } = await guest()
      for (const claims of [claimsOf(playerId), claimsOf(NOBODY, { type: 'refresh' })]) {
        const answer = await send('POST', `${API}/auth/refresh`, { json: { refreshToken: sign(claims) } })
        refuses(answer, 401, '刷新令牌无效或已过期', 'REFRESH_TOKEN_INVALID')
      }
    },
  )

  test('1.6 verify: 200 with what the token says', { skip: without.mailbox }, async () => {
    const { id, email, accessToken } = await registered()
    const answer = await send('GET', `${API}/auth/verify`, { token: accessToken })
    answers(answer, 200, { success: true, valid: true, data: { playerId: id, isRegistered: true, email } })
  })

  test('1.6 logout: 200, and the token is refused from then on', { skip: without.mailbox }, async () => {
    const { accessToken: token } = await registered()
    answers(await send('POST', `${API}/auth/logout`, { token }), 200, { success: true, message: '登出成功' })
    refuses(await send('POST', `${API}/auth/logout`, { token }), 401, '访问令牌无效或已过期', 'TOKEN_INVALID')
  })
}
