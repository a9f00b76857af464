// 3.6: what the server sends unasked.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { duel, withPair } from '../support/battle.mjs'
import { NANOID, guest } from '../support/players.mjs'
import { Connection, pause } from '../support/socket.mjs'

export function tests() {
  test('3.6 updateState: every 10 s, bare, and once per period however many nodes there are (quirk, fixed)', async () => {
    const { playerId } = await guest()
    const connection = await Connection.open({ query: { playerId } })
    const { arg } = await connection.push('updateState')
    assert.deepEqual(Object.keys(arg).sort(), ['matchmakingQueue', 'onlinePlayers', 'playersInRooms', 'rooms'])
    const place = connection.events.findIndex(({ name }) => name === 'updateState')
    const second = await connection.push('updateState', () => true, place + 1)
    const apart = second.at - connection.events[place].at
    assert.ok(Math.abs(apart - 10_000) < 2_500, `${apart} ms apart`)
    connection.close()
  })

  test(
    '3.6 matchSuccess: room and opponent, in an envelope',
    withPair(async ({ a, b, room }) => {
      assert.match(room, NANOID)
      for (const [player, other] of [
        [a, b],
        [b, a],
      ]) {
        const [{ arg, args }] = player.connection.events.filter(({ name }) => name === 'matchSuccess')
        assert.equal(args.length, 1)
        assert.deepEqual(arg, {
          status: 'SUCCESS',
          data: { roomId: room, opponent: { id: other.id, name: other.name } },
        })
      }
    }),
  )

  test('3.6 BATTLE_END precedes roomClosed, and each session gets exactly one of each (row 22)', async () => {
    const { a, b, room, asked, close } = await duel()
    await Promise.all([a.play({ after: asked - 1 }), b.play({ after: asked - 1 })])
    for (const { connection } of [a, b]) {
      const closed = await connection.push('roomClosed')
      assert.deepEqual(closed.arg, { roomId: room })
      const end = connection.events.find(({ name, arg }) => name === 'battleEvent' && arg.type === 'BATTLE_END')
      assert.ok(connection.events.indexOf(end) < connection.events.indexOf(closed))
    }
    // Late repetitions would come within the time that the room is kept.
    await pause(1_000)
    for (const { connection } of [a, b]) {
      assert.equal(
        connection.count('battleEvent', ({ type }) => type === 'BATTLE_END'),
        1,
      )
      assert.equal(connection.count('roomClosed'), 1)
    }
    close()
  })

  test('3.6, 10.1 battle messages come one by one, never as a batch, and no declared event is sent', async () => {
    const { a, b, asked, close } = await duel()
    await Promise.all([a.play({ after: asked - 1 }), b.play({ after: asked - 1 })])
    for (const { connection } of [a, b]) {
      for (const name of ['battleEventBatch', 'matchmakingError', 'timerEvent'])
        assert.equal(connection.count(name), 0, name)
    }
    close()
  })
}
