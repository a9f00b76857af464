// 1.8: who is connected, for the player himself and for admins (row 1).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { adminEmail, without } from '../support/environment.mjs'
import { API, answers, bodyOf, refuses, send, succeeds } from '../support/http.mjs'
import { NOBODY, claimsOf, codeFor, guest, nanoid, registered, sign } from '../support/players.mjs'
import { Connection } from '../support/socket.mjs'

const DOUBLED = `${API}/sessions/sessions`
const DENIED = ['权限不足', 'INSUFFICIENT_PERMISSIONS']
const LISTED = '获取会话列表成功'

async function withGuest(work) {
  const { playerId } = await guest()
  await work(playerId, sign(claimsOf(playerId)))
}

/** The admin's token: of the player that has the address, whoever made it. */
let known
async function admin() {
  known ??= (async () => {
    const binding = bodyOf(await send('GET', `${API}/email/check-binding?email=${encodeURIComponent(adminEmail)}`))
    if (!binding.bound) return (await registered({ email: adminEmail })).accessToken
    const code = await codeFor(adminEmail, 'recover')
    return bodyOf(await send('POST', `${API}/email/recover`, { json: { email: adminEmail, code } })).auth.accessToken
  })()
  return await known
}

export function tests() {
  for (const [base, name] of [
    [DOUBLED, 'doubled path (quirk, kept)'],
    [`${API}/sessions`, 'single path'],
  ]) {
    test(`1.8 list: the live sessions of the player, ${name}`, { skip: without.secret }, () =>
      withGuest(async (playerId, token) => {
        const empty = succeeds(await send('GET', `${base}/${playerId}`, { token }), LISTED).data
        assert.deepEqual(empty, { playerId, sessionCount: 0, sessions: [] })
        const sessionId = nanoid()
        const connection = await Connection.open({ query: { playerId, sessionId } })
        await connection.ok('getServerState')
        const { sessions, ...rest } = succeeds(await send('GET', `${base}/${playerId}`, { token }), LISTED).data
        assert.deepEqual(rest, { playerId, sessionCount: 1 })
        const [{ createdAt, lastAccessed, expiry, instanceId, ...session }] = sessions
        assert.deepEqual(session, { sessionId, isExpired: false, metadata: {} })
        for (const ms of [createdAt, lastAccessed]) assert.ok(Math.abs(ms - Date.now()) < 60_000)
        assert.ok(expiry > Date.now() && typeof instanceId === 'string')
        connection.close()
      }),
    )
  }

  test('1.8 another player is refused with 403, on every route', { skip: without.secret }, () =>
    withGuest(async (_, token) => {
      const { playerId } = await guest()
      refuses(await send('GET', `${DOUBLED}/${playerId}`, { token }), 403, ...DENIED)
      refuses(await send('DELETE', `${DOUBLED}/${playerId}`, { token }), 403, ...DENIED)
      refuses(await send('DELETE', `${DOUBLED}/${playerId}/${nanoid()}`, { token }), 403, ...DENIED)
    }),
  )

  test(
    '1.8 quirk, not copied: "admin" in the address of a token makes no admin',
    { skip: without.secret },
    async () => {
      const { playerId } = await guest()
      const token = sign(claimsOf(playerId, { email: 'admin@admin.example', isRegistered: true }))
      refuses(await send('GET', `${DOUBLED}/${NOBODY}`, { token }), 403, ...DENIED)
      refuses(await send('POST', `${DOUBLED}/cleanup`, { token }), 403, '权限不足，仅管理员可访问', 'ADMIN_REQUIRED')
    },
  )

  test('1.8 delete one: that session alone ends (quirk, fixed), and its socket goes', { skip: without.secret }, () =>
    withGuest(async (playerId, token) => {
      const [first, second] = [nanoid(), nanoid()]
      const [gone, stays] = [
        await Connection.open({ query: { playerId, sessionId: first } }),
        await Connection.open({ query: { playerId, sessionId: second } }),
      ]
      await Promise.all([gone.ok('getServerState'), stays.ok('getServerState')])
      const deleted = await send('DELETE', `${DOUBLED}/${playerId}/${first}`, { token })
      answers(deleted, 200, { success: true, message: '会话删除成功', data: { playerId, sessionId: first } })
      await gone.push('disconnect')
      await stays.ok('getServerState')
      const again = await send('DELETE', `${DOUBLED}/${playerId}/${first}`, { token })
      refuses(again, 404, '会话不存在', 'SESSION_NOT_FOUND')
      stays.close()
    }),
  )

  test('1.8 delete all: every session ends; none is 404', { skip: without.secret }, () =>
    withGuest(async (playerId, token) => {
      refuses(await send('DELETE', `${DOUBLED}/${playerId}`, { token }), 404, '玩家没有活跃会话', 'NO_SESSIONS_FOUND')
      const connections = []
      for (let count = 0; count < 2; count += 1) connections.push(await Connection.open({ query: { playerId } }))
      await Promise.all(connections.map(connection => connection.ok('getServerState')))
      const deleted = await send('DELETE', `${DOUBLED}/${playerId}`, { token })
      answers(deleted, 200, { success: true, message: '所有会话删除成功', data: { playerId, removedSessionCount: 2 } })
      await Promise.all(connections.map(connection => connection.push('disconnect')))
    }),
  )

  test('1.8 a malformed id in the path is 400 VALIDATION_ERROR', { skip: without.secret }, () =>
    withGuest(async (playerId, token) => {
      const answer = await send('DELETE', `${DOUBLED}/${playerId}/${'x'.repeat(300)}`, { token })
      assert.deepEqual([answer.status, bodyOf(answer).code], [400, 'VALIDATION_ERROR'])
    }),
  )

  test(
    '1.8 the list is of live connections (quirk, filled), and 3.8: nobody is kicked for a sixth',
    { skip: without.secret },
    () =>
      withGuest(async (playerId, token) => {
        const connections = []
        for (let count = 0; count < 6; count += 1) connections.push(await Connection.open({ query: { playerId } }))
        for (const connection of connections) await connection.ok('getServerState')
        const { data } = succeeds(await send('GET', `${DOUBLED}/${playerId}`, { token }), LISTED)
        assert.equal(data.sessionCount, 6)
        assert.ok(connections.every(connection => connection.socket.connected))
        connections.forEach(connection => connection.close())
      }),
  )

  test('1.8 stats (quirk, fixed: it is reached) and cleanup are for admins', { skip: without.admin }, async () => {
    const { accessToken } = await registered()
    for (const [method, path] of [
      ['GET', 'stats'],
      ['POST', 'cleanup'],
    ]) {
      const refused = await send(method, `${DOUBLED}/${path}`, { token: accessToken })
      refuses(refused, 403, '权限不足，仅管理员可访问', 'ADMIN_REQUIRED')
    }
    const token = await admin()
    const { data } = succeeds(await send('GET', `${DOUBLED}/stats`, { token }), '获取会话统计成功')
    for (const key of ['totalSessions', 'activeSessions', 'expiredSessions', 'playerCount'])
      assert.ok(Number.isInteger(data[key]), key)
    const cleaned = succeeds(await send('POST', `${DOUBLED}/cleanup`, { token }), '会话清理完成')
    assert.ok(Number.isInteger(cleaned.data.cleanedSessionCount))
  })

  test('1.8 an admin may look at others', { skip: without.admin }, async () => {
    const { playerId } = await guest()
    const { data } = succeeds(await send('GET', `${DOUBLED}/${playerId}`, { token: await admin() }), LISTED)
    assert.deepEqual(data, { playerId, sessionCount: 0, sessions: [] })
  })

  test('1.8 quirk, not copied: the literal fallback secret opens nothing', async () => {
    const { playerId } = await guest()
    const token = sign(claimsOf(playerId), 'default-secret-key')
    refuses(await send('GET', `${DOUBLED}/${playerId}`, { token }), 401, '访问令牌无效或已过期', 'TOKEN_INVALID')
  })
}
