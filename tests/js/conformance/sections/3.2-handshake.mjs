// 3.2: who is let in, and the literal words for who is not (row 6).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { without } from '../support/environment.mjs'
import { API, bodyOf, send } from '../support/http.mjs'
import { NOBODY, claimsOf, guest, now, registered, sign } from '../support/players.mjs'
import { Connection } from '../support/socket.mjs'

async function refuses(options, message) {
  const error = await Connection.refused(options)
  assert.equal(error.message, message)
  assert.equal(error.data, undefined, 'no data key')
}

async function admits(options) {
  const connection = await Connection.open(options)
  await connection.ok('getServerState')
  connection.close()
}

export function tests() {
  for (const transports of [['websocket'], ['polling']]) {
    const [way] = transports

    test(`3.2 without playerId: PLAYER_ID_REQUIRED, by ${way} (row 6)`, async () => {
      await refuses({ transports }, 'PLAYER_ID_REQUIRED')
      await refuses({ transports, query: { playerId: '' }, auth: { token: 'x' } }, 'PLAYER_ID_REQUIRED')
    })

    test(`3.2 unknown player: PLAYER_NOT_FOUND, by ${way} (row 6)`, async () => {
      for (const playerId of [NOBODY, 'x', '玩家'])
        await refuses({ transports, query: { playerId } }, 'PLAYER_NOT_FOUND')
    })

    test(
      `3.2 a registered player: no token, a bad, a good one, by ${way} (rows 3, 6)`,
      { skip: without.secretAndMailbox },
      async () => {
        const { id, accessToken } = await registered()
        const query = { playerId: id }
        await refuses({ transports, query }, 'TOKEN_REQUIRED_FOR_REGISTERED_USER')
        await refuses({ transports, query, auth: { token: '' } }, 'TOKEN_REQUIRED_FOR_REGISTERED_USER')
        const expired = sign(claimsOf(id, { iat: now() - 7200, exp: now() - 3600 }))
        for (const token of ['nonsense', expired, sign(claimsOf(id), 'another secret')]) {
          await refuses({ transports, query, auth: { token } }, 'INVALID_TOKEN')
        }
        const { playerId: other } = await guest()
        await refuses({ transports, query, auth: { token: sign(claimsOf(other)) } }, 'PLAYER_ID_TOKEN_MISMATCH')
        await admits({ transports, query, auth: { token: accessToken } })
      },
    )
  }

  test('3.2 a revoked token: TOKEN_BLACKLISTED, at any node (row 6)', { skip: without.mailbox }, async () => {
    const { id, accessToken: token } = await registered()
    assert.equal((await send('POST', `${API}/auth/logout`, { token })).status, 200)
    await refuses({ query: { playerId: id }, auth: { token } }, 'TOKEN_BLACKLISTED')
  })

  test('3.2 the token may stand in the query, where auth has none', { skip: without.mailbox }, async () => {
    const { id, accessToken: token } = await registered()
    await admits({ query: { playerId: id, token } })
    await admits({ query: { playerId: id, token: 'nonsense' }, auth: { token } })
    await refuses({ query: { playerId: id, token }, auth: { token: 'nonsense' } }, 'INVALID_TOKEN')
  })

  test('3.2 a guest is accepted, whatever token is sent', async () => {
    const { playerId } = await guest()
    for (const auth of [undefined, { token: 'nonsense' }, { token: 5 }, {}]) await admits({ query: { playerId }, auth })
  })

  test(
    '3.2 without a sessionId the server invents one: base-36 milliseconds, "_", 8 characters',
    { skip: without.secret },
    async () => {
      const { playerId } = await guest()
      const connection = await Connection.open({ query: { playerId } })
      await connection.ok('getServerState')
      const token = sign(claimsOf(playerId))
      const [{ sessionId }] = bodyOf(await send('GET', `${API}/sessions/sessions/${playerId}`, { token })).data.sessions
      const [, moment] = /^([0-9a-z]+)_[A-Za-z0-9_-]{8}$/.exec(sessionId)
      assert.ok(Math.abs(parseInt(moment, 36) - Date.now()) < 60_000)
      connection.close()
    },
  )

  test('3.2 a question in the same tick as connect is answered (row 7)', async () => {
    for (const transports of [['websocket'], ['polling']]) {
      for (let round = 0; round < 5; round += 1) {
        const { playerId } = await guest()
        let answer
        const answered = new Promise(resolve => (answer = resolve))
        const attach = socket => socket.once('connect', () => socket.emit('getServerState', answer))
        const connection = await Connection.open({ query: { playerId }, transports, attach })
        assert.equal((await answered).status, 'SUCCESS')
        connection.close()
      }
    }
  })
}
