// 2: tokens, also those of the existing server (row 3).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { nodes, without } from '../support/environment.mjs'
import { API, answers, bodyOf, refuses, send, succeeds } from '../support/http.mjs'
import { NANOID, claimsOf, guest, nanoid, now, read, registered, sign } from '../support/players.mjs'
import { Connection } from '../support/socket.mjs'

const INVALID = [401, '访问令牌无效或已过期', 'TOKEN_INVALID']
const verify = (token, options) => send('GET', `${API}/auth/verify`, { token, ...options })
const refresh = (refreshToken, options) => send('POST', `${API}/auth/refresh`, { json: { refreshToken }, ...options })

export function tests() {
  test('2.1 an access token: HS256, with exactly the claims of the contract', { skip: without.mailbox }, async () => {
    const { id, email, accessToken } = await registered()
    const { jti, iat, exp, ...claims } = read(accessToken)
    assert.deepEqual(claims, { playerId: id, isRegistered: true, email })
    assert.match(jti, NANOID)
    assert.ok(Math.abs(iat - now()) < 60 && exp > iat)
    assert.equal(JSON.parse(Buffer.from(accessToken.split('.')[0], 'base64url')).alg, 'HS256')
  })

  test(
    '2.1 a refresh token: type "refresh" and no more about the player than his id',
    { skip: without.mailbox },
    async () => {
      const { id, refreshToken } = await registered()
      const { jti, iat, exp, ...claims } = read(refreshToken)
      assert.deepEqual(claims, { playerId: id, type: 'refresh' })
      assert.match(jti, NANOID)
      assert.ok(exp > iat)
    },
  )

  test('2.2 the lifetimes are 180 and 365 days by default', { skip: without.mailbox }, async () => {
    const { accessToken, refreshToken, expiresIn } = await registered()
    const days = token => (read(token).exp - read(token).iat) / 86_400
    assert.deepEqual([days(accessToken), days(refreshToken), expiresIn], [180, 365, 15_552_000])
  })

  test(
    '2.2 a token that the existing server signed is accepted, at REST and at the handshake (row 3)',
    { skip: without.secretAndMailbox },
    async () => {
      const { id, email } = await registered()
      const token = sign(claimsOf(id, { isRegistered: true, email }))
      answers(await verify(token), 200, {
        success: true,
        valid: true,
        data: { playerId: id, isRegistered: true, email },
      })
      const connection = await Connection.open({ query: { playerId: id }, auth: { token } })
      await connection.ok('getServerState')
      connection.close()
      const old = sign({ playerId: id, type: 'refresh', jti: nanoid(), iat: now(), exp: now() + 3600 })
      succeeds(await refresh(old), '令牌刷新成功')
    },
  )

  test(
    '2.4 wrong secret, expired, no playerId, no signature, another algorithm: refused (row 3)',
    { skip: without.secret },
    async () => {
      const { playerId } = await guest()
      const { playerId: _, ...nobody } = claimsOf(playerId)
      const [header, claims] = sign(claimsOf(playerId)).split('.')
      const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
      const bad = [
        sign(claimsOf(playerId), 'another secret'),
        sign(claimsOf(playerId, { exp: now() - 1 })),
        sign(nobody),
        `${header}.${claims}.`,
        `${none}.${claims}.`,
        sign(claimsOf(playerId), undefined, { alg: 'HS512', typ: 'JWT' }),
      ]
      for (const token of bad) refuses(await verify(token), ...INVALID)
    },
  )

  test('2.4 quirk, not copied: a refresh token is no access token', { skip: without.mailbox }, async () => {
    const { id, refreshToken } = await registered()
    refuses(await verify(refreshToken), ...INVALID)
    const refused = await Connection.refused({ query: { playerId: id }, auth: { token: refreshToken } })
    assert.equal(refused.message, 'INVALID_TOKEN')
  })

  test(
    '2.4 refresh: a retry with the old token after a lost answer is served, at any node',
    { skip: without.mailbox },
    async () => {
      const { refreshToken } = await registered()
      const first = bodyOf(await refresh(refreshToken))
      const again = await refresh(refreshToken)
      assert.equal(again.status, 200)
      for (const { data } of [first, bodyOf(again)]) assert.equal((await verify(data.accessToken)).status, 200)
    },
  )

  test('2.4 refresh: the pair has the values of the database at that time', { skip: without.mailbox }, async () => {
    const { id, accessToken, refreshToken } = await registered()
    const unbound = await send('POST', `${API}/email/unbind`, { json: { playerId: id }, token: accessToken })
    succeeds(unbound, '邮箱解绑成功')
    const { data } = succeeds(await refresh(refreshToken), '令牌刷新成功')
    assert.deepEqual(data.player, { id, isRegistered: false })
    assert.equal(read(data.accessToken).email, undefined)
  })

  test(
    '2.5 logout: the token is refused by every node, at REST and at the handshake',
    { skip: without.mailbox },
    async () => {
      const { id, accessToken } = await registered()
      const connection = await Connection.open({ query: { playerId: id }, auth: { token: accessToken } })
      await connection.ok('getServerState')
      succeeds(await send('POST', `${API}/auth/logout`, { token: accessToken }), '登出成功')
      for (const node of nodes) {
        refuses(await verify(accessToken, { node }), ...INVALID)
        const refused = await Connection.refused({ node, query: { playerId: id }, auth: { token: accessToken } })
        assert.ok(['INVALID_TOKEN', 'TOKEN_BLACKLISTED'].includes(refused.message), refused.message)
      }
      await connection.push('disconnect')
    },
  )
}
