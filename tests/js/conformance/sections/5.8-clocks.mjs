// 5.8: clocks, and what happens when they run out (row 21). Most of it needs short ones.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { asks, duel, withDuel, withPair } from '../support/battle.mjs'
import { quickNodes, without } from '../support/environment.mjs'
import { NOBODY } from '../support/players.mjs'
import { pause } from '../support/socket.mjs'
import { LONG_LIFE, plain } from '../support/teams.mjs'

const { quick: skip } = without
/** Clocks are looked at every second. */
const LATE_MS = 2_500

const states = player => player.ok('getAllPlayerTimerStates')
const limits = async player => await player.ok('getTimerConfig')
const steady = { among: quickNodes, a: { team: plain('quick', LONG_LIFE) }, b: { team: plain('slow', LONG_LIFE) } }

export function tests() {
  test(
    '5.8 before the start clocks are stopped: no turn time, the whole total',
    withPair(async ({ a, b }) => {
      const { totalTimeLimit } = await limits(a)
      for (const [at, state] of (await states(a)).entries()) {
        const { lastUpdateTime, ...rest } = state
        assert.deepEqual(rest, {
          playerId: [a, b][at].id,
          state: 'stopped',
          remainingTurnTime: 0,
          remainingTotalTime: totalTimeLimit,
        })
        assert.ok(Number.isInteger(lastUpdateTime) && Math.abs(lastUpdateTime - Date.now()) < 60_000)
      }
    }),
  )

  test(
    '5.8 both clocks run from TURN_ACTION on; who has chosen is paused',
    withDuel(async ({ a }) => {
      const { turnTimeLimit, totalTimeLimit } = await limits(a)
      for (const state of await states(a)) {
        assert.equal(state.state, 'running')
        assert.ok(state.remainingTurnTime <= turnTimeLimit && state.remainingTurnTime > turnTimeLimit - 20)
        assert.ok(state.remainingTotalTime <= totalTimeLimit && state.remainingTotalTime > totalTimeLimit - 20)
      }
      await a.submit((await a.available())[0])
      const [own, other] = await states(a)
      assert.deepEqual([own.state, other.state], ['paused', 'running'])
      await pause(400)
      const [later, ran] = await states(a)
      assert.equal(later.remainingTotalTime, own.remainingTotalTime, 'a paused clock stands')
      assert.ok(ran.remainingTotalTime < other.remainingTotalTime, 'a running one does not')
    }),
  )

  test(
    '5.8 while an animation is active no clock advances, and no state changes (row 21)',
    withDuel(async ({ b }) => {
      const animationId = await b.ok('startAnimation', { source: NOBODY, expectedDuration: 15_000, ownerId: b.id })
      const before = await states(b)
      await pause(500)
      const during = await states(b)
      assert.deepEqual(
        during.map(({ state }) => state),
        ['running', 'running'],
      )
      for (const at of [0, 1]) assert.equal(during[at].remainingTurnTime, before[at].remainingTurnTime)
      b.connection.socket.emit('endAnimation', { animationId, actualDuration: 500 })
      await b.ok('getState')
      await pause(300)
      const after = await states(b)
      for (const at of [0, 1]) assert.ok(after[at].remainingTurnTime < during[at].remainingTurnTime)
    }),
  )

  test(
    '5.8 an animation that is active when a turn begins defers its clocks: paused, then the whole turn',
    withDuel(async ({ a, b, asked }) => {
      const { turnTimeLimit } = await limits(a)
      const animationId = await a.ok('startAnimation', { source: NOBODY, expectedDuration: 15_000, ownerId: a.id })
      await Promise.all([a.choose(), b.choose()])
      await a.message('what asks next', message => asks(message, a.id) || asks(message, b.id), asked)
      assert.deepEqual(
        (await states(a)).map(({ state }) => state),
        ['paused', 'paused'],
      )
      await pause(500)
      a.connection.socket.emit('reportAnimationEnd', { animationId, actualDuration: 500 })
      await a.ok('getState')
      const running = (await states(a)).filter(({ state }) => state === 'running')
      assert.ok(running.length > 0)
      for (const { remainingTurnTime } of running)
        assert.ok(remainingTurnTime > turnTimeLimit - 0.5, `${remainingTurnTime} s`)
    }),
  )

  test('5.8 turn time used up: the first available choice is made, for both (row 21)', { skip }, async () => {
    const { a, b, asked, close } = await duel(steady)
    const { turnTimeLimit } = await limits(a)
    const first = await Promise.all([a.available(), b.available()])
    const began = performance.now()
    await Promise.all([a.type('TURN_END', asked), b.type('TURN_END', asked)])
    const took = performance.now() - began
    assert.ok(took > turnTimeLimit * 1000 - 700 && took < turnTimeLimit * 1000 + LATE_MS, `${took} ms`)
    const used = a.story.filter(({ message }) => message.type === 'SKILL_USE').map(({ message }) => message.data.skill)
    assert.deepEqual(used, [first[0][0].skill, first[1][0].skill])
    close()
  })

  test('5.8 an animation that nobody ends is ended, and holds the turn until then (row 21)', { skip }, async () => {
    const { a, asked, close } = await duel(steady)
    const { turnTimeLimit } = await limits(a)
    const expectedDuration = 2_000
    const began = performance.now()
    await a.ok('startAnimation', { source: NOBODY, expectedDuration, ownerId: a.id })
    await a.type('TURN_END', asked)
    const took = performance.now() - began
    const held = expectedDuration + 1_000
    assert.ok(took > held + turnTimeLimit * 1000 - 900 && took < held + turnTimeLimit * 1000 + LATE_MS, `${took} ms`)
    close()
  })

  test('5.8 total time used up: the player loses at once, total_time_timeout (row 21)', { skip }, async () => {
    const { a, b, room, close } = await duel(steady)
    const { turnTimeLimit, totalTimeLimit } = await limits(a)
    const playing = (async () => {
      for (let seen = -1; ;) {
        const message = await b.message('turn or end', ({ type }) => ['TURN_ACTION', 'BATTLE_END'].includes(type), seen)
        seen = message.sequenceId
        if (message.type === 'BATTLE_END') return message
        await b.choose()
      }
    })()
    const began = performance.now()
    const end = await a.type('BATTLE_END')
    const took = performance.now() - began
    assert.deepEqual(end.data, { winner: b.id, reason: 'total_time_timeout' })
    assert.deepEqual((await playing).data, end.data)
    assert.ok(
      took > totalTimeLimit * 1000 - 900 && took < (totalTimeLimit + turnTimeLimit) * 1000 + LATE_MS,
      `${took} ms`,
    )
    assert.deepEqual((await a.connection.push('roomClosed')).arg, { roomId: room })
    close()
  })
}
