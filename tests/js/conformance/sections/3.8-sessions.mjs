// 3.8 and 3.10: several sessions, the same one twice, and connections that break.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Player, alone, duel, emptyQueue, pair } from '../support/battle.mjs'
import { anyNode, quickGrace, quickNodes, without } from '../support/environment.mjs'
import { NOBODY } from '../support/players.mjs'
import { pause, within } from '../support/socket.mjs'

/** Time that the loss of a battle may take once it is due: "within about a second". */
const ABOUT_A_SECOND_MS = 1_500

export function tests() {
  test('3.8 a second login of the player does not disturb the first, nor its battle (row 25)', async () => {
    const { a, b, asked, close } = await duel()
    const first = a.connection
    for (let times = 0; times < 2; times += 1) {
      const other = await a.connect({ session: `other-${times}` })
      await other.ok('getServerState')
      other.close()
    }
    a.connection = first
    assert.ok(first.socket.connected)
    const [end] = await Promise.all([a.play({ after: asked - 1 }), b.play({ after: asked - 1 })])
    assert.equal(end.data.reason, 'all_pet_fainted')
    close()
  })

  test("3.8 the same session twice: the newer socket gets the messages, and the older one's close does no harm (row 25)", async () => {
    const { a, b, asked, close } = await duel()
    const older = a.connection
    const newer = await a.connect({ node: anyNode(a.among, older.node) })
    await newer.ok('getState')
    older.close()
    await pause(300)
    assert.equal((await a.ok('getState')).status, 'On', 'the battle goes on')
    await a.choose()
    await b.choose()
    await newer.push('battleEvent', ({ type }) => type === 'TURN_START')
    assert.equal(
      older.count('battleEvent', ({ type }) => type === 'TURN_START'),
      0,
    )
    assert.equal(
      b.connection.count('battleEvent', ({ type }) => type === 'BATTLE_END'),
      0,
    )
    await b.type('TURN_ACTION', asked)
    close()
  })

  test('3.8 a queue entry leaves with its connection', async () => {
    const [waiting, watching] = [await Player.create(), await Player.create()]
    await alone(waiting.among, async () => {
      await waiting.join()
      waiting.close()
      await emptyQueue(watching)
    })
    watching.close()
  })

  for (const [what, start] of [
    ['running', duel],
    ['not started', pair],
  ]) {
    test(
      `3.8 who disconnects and stays away loses, ${what}: BATTLE_END with surrender, then roomClosed, once (row 23)`,
      { skip: without.quick },
      async () => {
        const { a, b, room, close } = await start({ among: quickNodes })
        // Clocks of 2 s would end it too: nobody is to be late.
        const left = performance.now()
        a.close()
        const end = await b.connection.push('battleEvent', ({ type }) => type === 'BATTLE_END')
        const closed = await b.connection.push('roomClosed')
        const after = end.at - left - quickGrace * 1000
        assert.deepEqual(end.arg.data, { winner: b.id, reason: 'surrender' })
        assert.ok(Number.isInteger(end.arg.sequenceId))
        assert.ok(end.arg.stateDelta, 'the end changes the state')
        assert.deepEqual(closed.arg, { roomId: room })
        assert.ok(b.connection.events.indexOf(end) < b.connection.events.indexOf(closed))
        assert.ok(after > -200 && after < ABOUT_A_SECOND_MS, `${after} ms after the grace`)
        if (start === pair) assert.ok(Array.isArray(end.arg.stateDelta.players), 'the whole state is its delta')
        await b.fails('getState', [], 'GET_STATE_ERROR', 'BATTLE_NOT_FOUND')
        await pause(500)
        // The bare BattleEnd and the second roomClosed of the existing server are not sent (quirk, dropped).
        assert.equal(
          b.connection.count('battleEvent', ({ type }) => /^battle_?end$/i.test(type)),
          1,
        )
        assert.equal(b.connection.count('roomClosed'), 1)
        close()
      },
    )
  }

  test('3.10 who comes back within the grace, to any node, goes on from getState (row 24)', async () => {
    const { a, b, close } = await duel()
    await a.submit((await a.available())[0])
    a.close()
    await pause(300)
    assert.equal(
      b.connection.count('battleEvent', ({ type }) => type === 'BATTLE_END'),
      0,
    )
    await a.connect({ node: anyNode(a.among, a.connection.node) })
    const { sequenceId, ...state } = await a.ok('getState')
    Object.assign(a, { state, sequence: sequenceId })
    // The choice that was acknowledged before stands.
    await b.choose()
    const [mine, theirs] = await Promise.all([a.type('TURN_END', sequenceId), b.type('TURN_END')])
    assert.equal(mine.sequenceId, theirs.sequenceId)
    await a.checkState()
    await Promise.all([a.choose(), b.choose()])
    close()
  })

  test('3.10 a new session of the player, who was away, takes the place of the old one', async () => {
    const { a, b, close } = await duel()
    a.close()
    await pause(300)
    await a.connect({ session: 'another-tab' })
    const { sequenceId, ...state } = await a.ok('getState')
    assert.equal(state.status, 'On')
    Object.assign(a, { state, sequence: sequenceId })
    await Promise.all([a.choose(), b.choose()])
    await Promise.all([a.type('TURN_END', sequenceId), b.type('TURN_END', sequenceId)])
    close()
  })

  test('10.1 a seed client that comes back and queues again leaves its old battle first', async () => {
    const { a, b, room, close } = await duel()
    a.close()
    await pause(300)
    // It names no session.
    await a.connect({ session: null })
    await alone(a.among, async () => {
      await a.join()
      assert.deepEqual((await b.type('BATTLE_END')).data, { winner: b.id, reason: 'surrender' })
      assert.deepEqual((await b.connection.push('roomClosed')).arg, { roomId: room })
      assert.deepEqual(await a.ok('cancelMatchmaking'), { status: 'CANCELED' })
    })
    close()
  })

  test('3.10 within the grace nothing is lost; after it, defeat (row 24)', { skip: without.quickGrace }, async () => {
    const { a, b, close } = await duel({ among: quickNodes })
    const left = performance.now()
    a.close()
    const end = await b.connection.push('battleEvent', ({ type }) => type === 'BATTLE_END')
    assert.ok(end.at - left > quickGrace * 1000 - 200, `${end.at - left} ms`)
    assert.deepEqual(end.arg.data, { winner: b.id, reason: 'surrender' })
    await b.connection.push('roomClosed')
    await a.connect()
    await a.fails('getState', [], 'GET_STATE_ERROR', 'BATTLE_NOT_FOUND')
    close()
  })

  test('3.8 after a normal end the final state can be asked for', async () => {
    const { a, b, asked, close } = await duel()
    const [end] = await Promise.all([a.play({ after: asked - 1 }), b.play({ after: asked - 1 })])
    for (const player of [a, b]) {
      const state = await player.ok('getState')
      assert.deepEqual([state.status, state.currentPhase], ['Ended', 'ENDED'])
      const late = await player.ask('submitPlayerSelection', { type: 'do-nothing', player: player.id })
      assert.equal(late.code, 'BATTLE_ACTION_ERROR')
    }
    assert.notEqual(end.data.winner, NOBODY)
    close()
  })

  test('3.10 who comes back is told how things stand, in order, and the opponent hears of both', async () => {
    const { a, b, room, close } = await duel()
    a.close()
    const { arg: gone } = await b.connection.push('opponentDisconnected')
    assert.equal(gone.disconnectedPlayerId, a.id)
    assert.ok(gone.graceTimeRemaining > 0 && gone.graceTimeRemaining <= 60_000, gone.graceTimeRemaining)
    await a.connect({ node: anyNode(a.among, a.connection.node) })
    const { arg: back } = await b.connection.push('opponentReconnected')
    assert.deepEqual(back, { reconnectedPlayerId: a.id })
    const names = ['timerSnapshot', 'battleReconnect', 'reconnectTest']
    const told = await Promise.all(names.map(name => a.connection.push(name)))
    assert.ok(told[0].at <= told[1].at && told[1].at <= told[2].at)
    assert.equal(told[0].arg.snapshots.length, 2)
    assert.equal(typeof told[0].arg.snapshots[0].remainingTotalTime, 'number')
    assert.equal(typeof told[2].arg.timestamp, 'number')
    const { fullBattleState, ...head } = told[1].arg
    assert.deepEqual(head, { roomId: room, shouldRedirect: true, battleState: 'active' })
    assert.deepEqual(fullBattleState, await a.ok('getState'))
    // What follows goes on from that state.
    const { sequenceId, ...state } = fullBattleState
    Object.assign(a, { state, sequence: sequenceId })
    await Promise.all([a.choose(), b.choose()])
    await Promise.all([a.type('TURN_END', sequenceId), b.type('TURN_END', sequenceId)])
    await a.checkState()
    close()
  })
}
