// 3.5: what a client may ask, outside a battle and in one.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { alone, withDuel, withPair, withPlayers } from '../support/battle.mjs'
import { NANOID, NOBODY } from '../support/players.mjs'

const CONFIG = {
  enabled: true,
  turnTimeLimit: 30,
  totalTimeLimit: 1500,
  animationPauseEnabled: true,
  maxAnimationDuration: 20_000,
}
const UNKNOWN = 'Failed to validate player data'

export function tests() {
  test(
    '3.5.1 getServerState: four counts, cluster-wide; onlinePlayers counts (quirk, fixed)',
    withPlayers(2, async (a, b) => {
      for (const player of [a, b]) {
        const counts = await player.ok('getServerState')
        assert.deepEqual(Object.keys(counts).sort(), ['matchmakingQueue', 'onlinePlayers', 'playersInRooms', 'rooms'])
        for (const count of Object.values(counts)) assert.ok(Number.isInteger(count) && count >= 0)
        assert.ok(counts.onlinePlayers >= 1)
      }
    }),
  )

  test(
    '3.5.1 getServerState: playersInRooms is twice the running rooms (quirk, fixed)',
    withDuel(async ({ a, b }) => {
      for (const player of [a, b]) {
        const counts = await player.ok('getServerState')
        assert.ok(counts.rooms >= 1 && counts.playersInRooms >= 2)
        assert.equal(counts.playersInRooms % 2, 0)
      }
    }),
  )

  test(
    '3.5.2 joinMatchmaking: QUEUED, also again, and the queue is counted',
    withPlayers(1, player =>
      alone(player.among, async () => {
        await player.join()
        await player.join()
        assert.equal((await player.ok('getServerState')).matchmakingQueue, 1)
        assert.deepEqual(await player.ok('cancelMatchmaking'), { status: 'CANCELED' })
        assert.equal((await player.ok('getServerState')).matchmakingQueue, 0)
      }),
    ),
  )

  test(
    '3.5.2 joinMatchmaking: another id is PLAYER_ID_MISMATCH, and so is none',
    withPlayers(1, async player => {
      const { id: _, ...nameless } = player.team
      for (const team of [{ ...player.team, id: NOBODY }, nameless]) {
        await player.fails('joinMatchmaking', [team], 'VALIDATION_ERROR', 'PLAYER_ID_MISMATCH')
      }
    }),
  )

  test(
    '3.5.2 joinMatchmaking: what the game data lacks is refused (row 9)',
    withPlayers(1, async player => {
      for (const change of [
        { species: 'pet_nobody' },
        { skills: ['skill_nothing'] },
        { ability: 'mark_nothing' },
        { emblem: 'mark_nothing' },
      ]) {
        const [first, ...rest] = player.team.team
        const team = { ...player.team, team: [{ ...first, ...change }, ...rest] }
        await player.fails('joinMatchmaking', [team], 'VALIDATION_ERROR', UNKNOWN)
      }
    }),
  )

  test(
    '3.9, 10.1 joinMatchmaking: the wrapped payload of later clients is taken, whatever its ruleSetId',
    withPlayers(1, player =>
      alone(player.among, async () => {
        for (const more of [
          {},
          { ruleSetId: 'standard' },
          { ruleSetId: 'casual_standard_ruleset' },
          { ruleSetId: 'nothing' },
        ]) {
          const data = await player.ok('joinMatchmaking', { playerSchema: player.team, ...more })
          assert.deepEqual(data, { status: 'QUEUED' })
        }
        await player.ok('cancelMatchmaking')
      }),
    ),
  )

  test(
    '3.5.3 cancelMatchmaking: CANCELED also for who is not queued (row 12)',
    withPlayers(1, async player => {
      for (let times = 0; times < 2; times += 1)
        assert.deepEqual(await player.ok('cancelMatchmaking'), { status: 'CANCELED' })
    }),
  )

  test(
    '3.5 without a battle: each event has its own answer',
    withPlayers(1, async player => {
      const choice = { type: 'do-nothing', player: player.id }
      await player.fails('submitPlayerSelection', [choice], 'BATTLE_ACTION_ERROR', 'BATTLE_NOT_FOUND')
      await player.fails('getState', [], 'GET_STATE_ERROR', 'BATTLE_NOT_FOUND')
      await player.fails('getAvailableSelection', [], 'GET_SELECTION_ERROR', 'NOT_IN_BATTLE')
      assert.equal(await player.ok('isTimerEnabled'), false)
      assert.equal(await player.ok('getPlayerTimerState', { playerId: player.id }), null)
      assert.deepEqual(await player.ok('getAllPlayerTimerStates'), [])
      assert.deepEqual(await player.ok('getTimerConfig'), {})
      const animation = { source: NOBODY, expectedDuration: 100, ownerId: player.id }
      await player.fails('startAnimation', [animation], 'NOT_IN_BATTLE', 'Player not in battle')
      // Ignored, without an answer.
      player.connection.socket.emit('endAnimation', { animationId: NOBODY })
      player.connection.socket.emit('reportAnimationEnd', { animationId: NOBODY, actualDuration: 5 })
      player.connection.socket.emit('ready')
      await player.ok('getServerState')
    }),
  )

  test(
    '3.5.4 (later) ready without a room is ROOM_NOT_FOUND where a callback is given',
    withPlayers(1, async player => {
      const answer = await player.ask('ready')
      assert.deepEqual([answer.status, answer.code], ['ERROR', 'ROOM_NOT_FOUND'])
    }),
  )

  test(
    '3.5.4 ready: acknowledged where a callback is given, and again without effect (row 1)',
    withPair(async ({ a, b }) => {
      assert.deepEqual(await a.ok('ready'), { status: 'READY' })
      assert.deepEqual(await a.ok('ready'), { status: 'READY' })
      assert.equal((await a.ok('getState')).status, 'Unstarted')
      b.connection.socket.emit('ready')
      await Promise.all([a.type('TURN_ACTION'), b.type('TURN_ACTION')])
      assert.deepEqual(await a.ok('ready'), { status: 'READY' })
      assert.equal(a.story.filter(({ message }) => message.type === 'BATTLE_START').length, 1)
    }),
  )

  test(
    '3.5.5 submitPlayerSelection: malformed, foreign or with another key is INVALID_SELECTION_DATA (row 19)',
    withDuel(async ({ a, b }) => {
      const [skill] = await a.available()
      const { target: _, ...untargeted } = skill
      const bad = [
        {},
        null,
        5,
        [],
        'surrender',
        { type: 'surrender' },
        { type: 'win', player: a.id },
        untargeted,
        b.surrender,
        { ...skill, player: b.id },
        { ...skill, more: 1 },
        { ...skill, target: 'both' },
        { ...skill, skill: 5 },
        { type: 'switch-pet', player: a.id, pet: 'x' },
        { ...a.surrender, player: 'x' },
      ]
      for (const choice of bad) {
        await a.fails('submitPlayerSelection', [choice], 'BATTLE_ACTION_ERROR', 'INVALID_SELECTION_DATA')
      }
      await a.fails('submitPlayerSelection', [], 'BATTLE_ACTION_ERROR', 'INVALID_SELECTION_DATA')
      await a.submit(skill)
    }),
  )

  test(
    '3.5.5 submitPlayerSelection: ids that are not of this battle are unknown',
    withDuel(async ({ a }) => {
      const skill = { type: 'use-skill', player: a.id, skill: NOBODY, target: 'opponent' }
      await a.fails('submitPlayerSelection', [skill], 'BATTLE_ACTION_ERROR', 'Unknown skill')
      const pet = { type: 'switch-pet', player: a.id, pet: NOBODY }
      await a.fails('submitPlayerSelection', [pet], 'BATTLE_ACTION_ERROR', 'Unknown pet')
    }),
  )

  test(
    '3.5 another session of the player is not in the battle',
    withDuel(async ({ a }) => {
      const session = a.connection
      const other = await a.connect({ session: 'another' })
      await a.fails('getState', [], 'GET_STATE_ERROR', 'BATTLE_NOT_FOUND')
      await a.fails('getAvailableSelection', [], 'GET_SELECTION_ERROR', 'NOT_IN_BATTLE')
      other.close()
      a.connection = session
      assert.equal((await a.ok('getState')).status, 'On')
    }),
  )

  test(
    '3.5.8 timers: on in a battle, with the limits of the contract',
    withDuel(async ({ a }) => {
      assert.equal(await a.ok('isTimerEnabled'), true)
      assert.deepEqual(await a.ok('getTimerConfig'), CONFIG)
    }),
  )

  test(
    '3.5.8 timers: the asked player is honoured (quirk, fixed), missing is the caller, unknown is null',
    withDuel(async ({ a, b }) => {
      const asked = async (...args) => (await a.ok('getPlayerTimerState', ...args))?.playerId
      assert.equal(await asked({ playerId: b.id }), b.id)
      assert.equal(await asked({ playerId: a.id }), a.id)
      assert.equal(await asked({}), a.id)
      assert.equal(await a.ok('getPlayerTimerState', { playerId: NOBODY }), null)
      const both = await b.ok('getAllPlayerTimerStates')
      assert.deepEqual(
        both.map(({ playerId }) => playerId),
        [a.id, b.id],
        'A, then B',
      )
    }),
  )

  test(
    '3.5.9 startAnimation: its id, and what must be in it',
    withDuel(async ({ a }) => {
      const good = { source: NOBODY, expectedDuration: 200, ownerId: a.id }
      const id = await a.ok('startAnimation', good)
      assert.match(id, NANOID)
      for (const bad of [
        { ...good, source: '' },
        { ...good, expectedDuration: 0 },
        { source: NOBODY, ownerId: a.id },
        { ...good, ownerId: '' },
        {},
        null,
      ]) {
        await a.fails('startAnimation', [bad], 'BATTLE_NOT_FOUND', 'Battle instance not found or invalid data')
      }
      a.connection.socket.emit('endAnimation', { animationId: id, actualDuration: 100 })
      a.connection.socket.emit('reportAnimationEnd', { animationId: 'unknown', actualDuration: 100 })
      await a.ok('getState')
    }),
  )
}
