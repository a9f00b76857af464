// 4: who is paired with whom.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Player, alone, duel, emptyQueue, withPair, withPlayers } from '../support/battle.mjs'
import { anyNode, nodes } from '../support/environment.mjs'
import { NANOID } from '../support/players.mjs'
import { pause } from '../support/socket.mjs'

/** A match that was to come would have: it usually takes well below a second. */
const QUIET_MS = 700

const matches = player => player.connection.count('matchSuccess')

export function tests() {
  test(
    '4.2 two players, on different nodes, are paired once; both get the room, A is the older entry (row 10)',
    withPair(async ({ a, b, room }) => {
      if (nodes.length > 1) assert.notEqual(a.connection.node, b.connection.node)
      assert.match(room, NANOID)
      for (const player of [a, b]) {
        const { players } = await player.ok('getState')
        assert.deepEqual(
          players.map(({ id }) => id),
          [a.id, b.id],
        )
      }
      await pause(QUIET_MS)
      assert.deepEqual([matches(a), matches(b)], [1, 1])
      for (const player of [a, b]) assert.deepEqual(await player.ok('cancelMatchmaking'), { status: 'CANCELED' })
    }),
  )

  test('4.2 the joiner hears QUEUED before matchSuccess (row 9)', async () => {
    for (let round = 0; round < 5; round += 1) {
      const [a, b] = [await Player.create(), await Player.create()]
      await alone(a.among, async () => {
        await a.join()
        const order = []
        b.connection.socket.on('matchSuccess', () => order.push('matchSuccess'))
        b.connection.socket.emit('joinMatchmaking', b.team, () => order.push('QUEUED'))
        await Promise.all([a.matched(), b.matched()])
        assert.deepEqual(order, ['QUEUED', 'matchSuccess'])
      })
      a.close()
      b.close()
    }
  })

  test('4.1 two sessions of one player are never paired; entries are served oldest first (row 11)', async () => {
    const first = await Player.create()
    const second = await Player.create({ id: first.id })
    const [third, fourth] = [await Player.create({ team: 1 }), await Player.create({ team: 1 })]
    await alone(first.among, async () => {
      await first.join()
      await second.join()
      await pause(QUIET_MS)
      assert.deepEqual([matches(first), matches(second)], [0, 0])
      await third.join()
      const [one, other] = await Promise.all([first.matched(), third.matched()])
      assert.equal(one.roomId, other.roomId)
      assert.equal(matches(second), 0)
      await fourth.join()
      const [next, last] = await Promise.all([second.matched(), fourth.matched()])
      assert.equal(next.roomId, last.roomId)
      assert.equal(matches(first), 1)
    })
    for (const player of [first, second, third, fourth]) player.close()
  })

  test('4.1 joining again moves the session to the end', async () => {
    const first = await Player.create()
    const second = await Player.create({ id: first.id })
    const third = await Player.create({ team: 1 })
    await alone(first.among, async () => {
      await first.join()
      await second.join()
      await first.join()
      await third.join()
      await Promise.all([second.matched(), third.matched()])
      await pause(QUIET_MS)
      assert.equal(matches(first), 0)
      await first.ok('cancelMatchmaking')
    })
    for (const player of [first, second, third]) player.close()
  })

  test(
    '3.5.3 a cancelled session is not paired (row 12)',
    withPlayers(2, (a, b) =>
      alone(a.among, async () => {
        await a.join()
        assert.deepEqual(await a.ok('cancelMatchmaking'), { status: 'CANCELED' })
        await b.join()
        await pause(QUIET_MS)
        assert.deepEqual([matches(a), matches(b)], [0, 0])
        await b.ok('cancelMatchmaking')
      }),
    ),
  )

  test(
    '3.5.3 a cancel after the match has no effect on the room',
    withPair(async ({ a, b }) => {
      assert.deepEqual(await a.ok('cancelMatchmaking'), { status: 'CANCELED' })
      await Promise.all([a.ok('ready'), b.ok('ready')])
      await Promise.all([a.type('TURN_ACTION'), b.type('TURN_ACTION')])
    }),
  )

  test('4.2 an entry whose connection is gone blocks nobody (quirk, fixed)', async () => {
    const [dead, a, b] = [await Player.create(), await Player.create(), await Player.create({ team: 1 })]
    await alone(a.among, async () => {
      await dead.join()
      dead.close()
      await emptyQueue(a)
      await a.join()
      await b.join()
      const [one, other] = await Promise.all([a.matched(), b.matched()])
      assert.equal(one.roomId, other.roomId)
    })
    a.close()
    b.close()
  })

  test('4.2 many at once: everybody is paired, once, and each pair agrees (row 10)', async () => {
    const players = []
    for (let number = 0; number < 10; number += 1)
      players.push(await Player.create({ node: anyNode(), team: number % 4 }))
    await alone(nodes, async () => {
      await Promise.all(players.map(player => player.join()))
      const found = await Promise.all(players.map(player => player.matched()))
      const opponents = new Map(players.map(({ id }, at) => [id, found[at]]))
      for (const [id, { roomId, opponent }] of opponents) {
        assert.notEqual(opponent.id, id)
        const back = opponents.get(opponent.id)
        assert.deepEqual([back.roomId, back.opponent.id], [roomId, id])
      }
      await pause(QUIET_MS)
      assert.deepEqual(
        players.map(matches),
        players.map(() => 1),
      )
      assert.equal((await players[0].ok('getServerState')).matchmakingQueue, 0)
    })
    players.forEach(player => player.close())
  })

  test('4.1 being in a battle does not keep a player from queueing', async () => {
    const { a, close } = await duel()
    await alone(a.among, async () => {
      await a.join()
      assert.deepEqual(await a.ok('cancelMatchmaking'), { status: 'CANCELED' })
    })
    assert.equal((await a.ok('getState')).status, 'On')
    close()
  })

  test(
    '4.3 a battle waits for ready, and can be looked at from matchSuccess on (rows 13, 14)',
    withPair(async ({ a, b }) => {
      await a.ok('ready')
      await pause(QUIET_MS)
      for (const [player, other] of [
        [a, b],
        [b, a],
      ]) {
        assert.equal(player.connection.count('battleEvent'), 0, 'no message before both are ready')
        const state = await player.ok('getState')
        assert.deepEqual([state.status, state.currentPhase, state.currentTurn], ['Unstarted', 'SELECTION_PHASE', 0])
        assert.ok(!('sequenceId' in state), 'left out before the start')
        assert.deepEqual(await player.ok('getAvailableSelection'), [])
        const opponent = state.players.find(({ id }) => id === other.id)
        const [starter, ...bench] = opponent.team
        assert.equal(starter.isUnknown, false)
        assert.ok(bench.length > 0 && bench.every(pet => pet.isUnknown && pet.name === '' && pet.speciesID === ''))
        const [choice] = state.players.find(({ id }) => id === player.id).team[0].skills
        const early = { type: 'use-skill', player: player.id, skill: choice.id, target: 'opponent' }
        await player.fails('submitPlayerSelection', [early], 'BATTLE_ACTION_ERROR', 'INVALID_SELECTION')
      }
    }),
  )
}
