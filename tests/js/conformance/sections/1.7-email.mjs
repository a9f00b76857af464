// 1.7: binding an address and coming back by it (rows 1, 2).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { without } from '../support/environment.mjs'
import { API, answers, bodyOf, refuses, send, succeeds } from '../support/http.mjs'
import { NOBODY, codeFor, guest, newAddress, registered } from '../support/players.mjs'
import { Connection } from '../support/socket.mjs'

const EMAIL = `${API}/email`
const CODE_BAD = '验证码无效或已过期'
const EMAIL_BAD = '邮箱格式不正确'
const TAKEN = '该邮箱已被其他玩家绑定'
const UNBOUND = '该邮箱未绑定任何玩家账户'
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/

const post = (path, json, options) => send('POST', EMAIL + path, { json, ...options })

/** Checks a player's row as it leaks from the database. */
function checkRow({ created_at, last_login_at, email_bound_at, name, ...row }, id, email) {
  assert.deepEqual(row, { id, metadata: {}, email, email_verified: true, is_registered: true })
  assert.equal(typeof name, 'string')
  for (const time of [created_at, last_login_at, email_bound_at]) assert.match(time, TIME)
}

function checkAuth({ accessToken, refreshToken, expiresIn, ...rest }, id, email) {
  assert.deepEqual(rest, { player: { id, isRegistered: true, email } })
  for (const token of [accessToken, refreshToken]) assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/)
  assert.ok(Number.isInteger(expiresIn) && expiresIn > 0)
}

export function tests() {
  test('1.7 an address must be one: 400 without a code, on every route', async () => {
    const { playerId } = await guest()
    for (const email of ['', 'a', 'a@b', '@b.co', 'a b@c.co', 'a@b.co\n', 'a@b@c.co']) {
      const code = '123456'
      refuses(await post('/send-verification-code', { email, playerId, purpose: 'bind' }), 400, EMAIL_BAD)
      refuses(await post('/verify-code', { email, code, playerId, purpose: 'bind' }), 400, EMAIL_BAD)
      refuses(await post('/bind', { email, code, playerId }), 400, EMAIL_BAD)
      refuses(await post('/recover', { email, code }), 400, EMAIL_BAD)
      refuses(await send('GET', `${EMAIL}/check-binding?email=${encodeURIComponent(email)}`), 400, EMAIL_BAD)
    }
    refuses(await send('GET', `${EMAIL}/check-binding`), 400, EMAIL_BAD)
  })

  test('1.7 a code has exactly 6 characters, which are digits', async () => {
    const { playerId } = await guest()
    for (const [code, message] of [
      ['', '验证码必须是6位数字'],
      ['12345', '验证码必须是6位数字'],
      ['1234567', '验证码必须是6位数字'],
      ['12345x', '验证码只能包含数字'],
      ['１２３４５６', '验证码只能包含数字'],
    ]) {
      refuses(await post('/recover', { email: newAddress(), code }), 400, message)
      refuses(await post('/bind', { email: newAddress(), code, playerId }), 400, message)
      refuses(await post('/verify-code', { email: newAddress(), code, playerId, purpose: 'bind' }), 400, message)
    }
  })

  test('1.7 send-verification-code: bind needs a playerId, and the smart guard', async () => {
    const email = newAddress()
    refuses(await post('/send-verification-code', { email, purpose: 'bind' }), 400, '绑定操作需要提供玩家ID')
    const unknown = await post('/send-verification-code', { email, purpose: 'bind', playerId: NOBODY })
    refuses(unknown, 404, '玩家不存在', 'PLAYER_NOT_FOUND')
  })

  test('1.7 send-verification-code: recover of an address that nobody has is 404', async () => {
    refuses(await post('/send-verification-code', { email: newAddress(), purpose: 'recover' }), 404, UNBOUND)
  })

  test('1.7 send-verification-code: an address of another player is 400', { skip: without.mailbox }, async () => {
    const { email } = await registered()
    const { playerId } = await guest()
    refuses(await post('/send-verification-code', { email, playerId, purpose: 'bind' }), 400, TAKEN)
  })

  test('1.7 send-verification-code: again within 60 s is 429, at any node', { skip: without.mailbox }, async () => {
    const { playerId } = await guest()
    const email = newAddress()
    await codeFor(email, 'bind', playerId)
    for (let times = 0; times < 3; times += 1) {
      const again = await post('/send-verification-code', { email, playerId, purpose: 'bind' })
      answers(again, 429, { success: false, message: '发送过于频繁，请稍后再试', rateLimitSeconds: 60 })
    }
  })

  test('1.7 send-verification-code: a mail that could not be sent is 500', { skip: without.mailbox }, async () => {
    const { playerId } = await guest()
    const json = { email: `nobody@h${Date.now()}.example`, playerId, purpose: 'bind' }
    refuses(await post('/send-verification-code', json), 500, '验证码发送失败，请稍后重试')
    assert.equal((await post('/send-verification-code', json)).status, 429, 'the code is there by then')
  })

  test('1.7 verify-code: tells whether it is the code, and leaves it usable', { skip: without.mailbox }, async () => {
    const { playerId } = await guest()
    const email = newAddress()
    const code = await codeFor(email, 'bind', playerId)
    const wrong = code === '111111' ? '222222' : '111111'
    const check = code => post('/verify-code', { email, code, playerId, purpose: 'bind' })
    answers(await check(wrong), 400, { success: false, message: CODE_BAD, valid: false })
    for (let times = 0; times < 2; times += 1) {
      answers(await check(code), 200, { success: true, message: '验证码验证成功', valid: true })
    }
    succeeds(await post('/bind', { email, code, playerId }), '邮箱绑定成功')
    answers(await check(code), 401, {
      success: false,
      message: '注册用户需要提供访问令牌',
      code: 'TOKEN_REQUIRED_FOR_REGISTERED_USER',
    })
  })

  test('1.7 verify-code: without a playerId the guard refuses', async () => {
    refuses(
      await post('/verify-code', { email: newAddress(), code: '123456', purpose: 'bind' }),
      400,
      '缺少玩家ID',
      'PLAYER_ID_MISSING',
    )
  })

  test('1.7 bind: the guest becomes registered, and gets tokens', { skip: without.mailbox }, async () => {
    const { id, email, bound } = await registered()
    assert.deepEqual(Object.keys(bound).sort(), ['auth', 'message', 'player', 'success'])
    checkRow(bound.player, id, email)
    checkAuth(bound.auth, id, email)
  })

  test('1.7 bind: a wrong code is 400, and a code counts once', { skip: without.mailbox }, async () => {
    const { playerId } = await guest()
    refuses(await post('/bind', { email: newAddress(), code: '123456', playerId }), 400, CODE_BAD)
    const email = newAddress()
    const code = await codeFor(email, 'bind', playerId)
    const [first, second] = await Promise.all([1, 2].map(() => post('/bind', { email, code, playerId })))
    assert.deepEqual(
      [first.status, second.status].filter(status => status === 200),
      [200],
      `${first.text} ${second.text}`,
    )
  })

  test('1.7 bind: an unknown player is 404', async () => {
    const answer = await post('/bind', { email: newAddress(), code: '123456', playerId: NOBODY })
    refuses(answer, 404, '玩家不存在', 'PLAYER_NOT_FOUND')
  })

  test('1.7 bind: an address that was bound meanwhile is 400', { skip: without.mailbox }, async () => {
    const [{ playerId: first }, { playerId: second }] = [await guest(), await guest()]
    const email = newAddress()
    const code = await codeFor(email, 'bind', first)
    succeeds(await post('/bind', { email, code, playerId: first }), '邮箱绑定成功')
    refuses(await post('/bind', { email, code, playerId: second }), 400, CODE_BAD)
    refuses(await post('/send-verification-code', { email, playerId: second, purpose: 'bind' }), 400, TAKEN)
  })

  test('1.7 recover: gives the player and tokens, at any node', { skip: without.mailbox }, async () => {
    const { id, email } = await registered()
    const code = await codeFor(email, 'recover')
    const recovered = succeeds(await post('/recover', { email, code }), '玩家ID恢复成功')
    assert.deepEqual(Object.keys(recovered).sort(), ['auth', 'message', 'player', 'success'])
    checkRow(recovered.player, id, email)
    checkAuth(recovered.auth, id, email)
    refuses(await post('/recover', { email, code }), 400, CODE_BAD)
  })

  test('1.7 recover: a wrong code is 400', async () => {
    refuses(await post('/recover', { email: newAddress(), code: '123456' }), 400, CODE_BAD)
  })

  test('1.7 check-binding: whose an address is, without an envelope', { skip: without.mailbox }, async () => {
    const { id, email, bound } = await registered()
    const found = await send('GET', `${EMAIL}/check-binding?email=${encodeURIComponent(email)}`)
    answers(found, 200, { bound: true, playerId: id, playerName: bound.player.name })
  })

  test('1.7 check-binding: nobody has it', async () => {
    answers(await send('GET', `${EMAIL}/check-binding?email=${encodeURIComponent(newAddress())}`), 200, {
      bound: false,
    })
  })

  test('1.7 unbind: a guest again, and the address is free', { skip: without.mailbox }, async () => {
    const { id, email, accessToken: token } = await registered()
    answers(await post('/unbind', { playerId: id }, { token }), 200, { success: true, message: '邮箱解绑成功' })
    answers(await send('GET', `${EMAIL}/check-binding?email=${encodeURIComponent(email)}`), 200, { bound: false })
    const checked = bodyOf(await send('GET', `${API}/auth/check-player/${id}`)).data
    assert.deepEqual([checked.isRegistered, checked.requiresAuth, checked.email], [false, false, null])
    refuses(
      await post('/unbind', { playerId: id }, { token }),
      403,
      '此功能仅限注册用户使用',
      'REGISTERED_USER_REQUIRED',
    )
  })

  test(
    '1.7 a guest needs no token, a registered player does, an unbound one does not (row 2)',
    { skip: without.mailbox },
    async () => {
      const rename = (id, token) =>
        send('PUT', `${API}/auth/update-player-name`, { json: { playerId: id, name: 'Ann' }, token })
      const enter = async (playerId, token) => {
        const connection = await Connection.open({ query: { playerId }, ...(token && { auth: { token } }) })
        await connection.ok('getServerState')
        connection.close()
      }
      const { playerId } = await guest()
      succeeds(await rename(playerId), '玩家名称更新成功')
      await enter(playerId)
      const email = newAddress()
      const code = await codeFor(email, 'bind', playerId)
      const { auth } = succeeds(await post('/bind', { email, code, playerId }), '邮箱绑定成功')
      const needed = ['注册用户需要提供访问令牌', 'TOKEN_REQUIRED_FOR_REGISTERED_USER']
      refuses(await rename(playerId), 401, ...needed)
      refuses(await post('/unbind', { playerId }), 401, ...needed)
      refuses(await post('/send-verification-code', { email, playerId, purpose: 'bind' }), 401, ...needed)
      assert.equal((await Connection.refused({ query: { playerId } })).message, needed[1])
      succeeds(await rename(playerId, auth.accessToken), '玩家名称更新成功')
      await enter(playerId, auth.accessToken)
      succeeds(await post('/unbind', { playerId }, { token: auth.accessToken }), '邮箱解绑成功')
      succeeds(await rename(playerId), '玩家名称更新成功')
      await enter(playerId)
    },
  )
}
