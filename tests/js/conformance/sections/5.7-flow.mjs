// 5.7 and 5.9: how a battle goes, and the numbers that show.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { duel } from '../support/battle.mjs'
import { LONG_LIFE, plain } from '../support/teams.mjs'

const types = (player, from = 0) => player.story.map(({ message }) => message.type).slice(from)

/** Both take what is offered first. */
async function attack({ a, b }) {
  await Promise.all([a, b].map(async player => player.submit((await player.available())[0])))
}

const plainDuel = (livesA, livesB) =>
  duel({ a: { team: plain('quick', ...livesA) }, b: { team: plain('slow', ...livesB) } })

export function tests() {
  test('5.7 the first turn, message by message, with the numbers of 5.9', async () => {
    const fight = await plainDuel([LONG_LIFE], [LONG_LIFE])
    const { a, b, close } = fight
    await attack(fight)
    await Promise.all([a, b].map(player => player.type('TURN_ACTION', 17)))
    const story = a.story.slice(0, 19).map(({ message }) => message)
    const owner = new Map(
      [a, b].flatMap((player, at) => a.story[0].state.players[at].team.map(({ id }) => [id, player.id])),
    )
    const told = story.map(({ type, data }) => {
      switch (type) {
        case 'SKILL_USE':
        case 'SKILL_USE_END':
          return [type, owner.get(data.user)]
        case 'RAGE_CHANGE':
          return [type, data.player, data.reason]
        case 'DAMAGE':
          return [type, owner.get(data.target)]
        default:
          return [type]
      }
    })
    const strike = (by, on) => [
      ['SKILL_USE', by],
      ['RAGE_CHANGE', by, 'skill'],
      ['DAMAGE', on],
      ['RAGE_CHANGE', on, 'damage'],
      ['RAGE_CHANGE', by, 'skillHit'],
      ['SKILL_USE_END', by],
    ]
    assert.deepEqual(told, [
      ['BATTLE_START'],
      ['TURN_ACTION'],
      ['TURN_START'],
      ...strike(a.id, b.id),
      ...strike(b.id, a.id),
      ['RAGE_CHANGE', a.id, 'turn'],
      ['RAGE_CHANGE', b.id, 'turn'],
      ['TURN_END'],
      ['TURN_ACTION'],
    ])
    assert.deepEqual([story[2].data, story[17].data], [{ turn: 1 }, { turn: 1 }])
    const rage = { [a.id]: 20, [b.id]: 20 }
    for (const { type, data } of story) {
      if (type !== 'RAGE_CHANGE') continue
      assert.equal(data.before, rage[data.player])
      const by = data.after - data.before
      if (data.reason === 'turn' || data.reason === 'skillHit') assert.equal(by, 15, data.reason)
      if (data.reason === 'skill') assert.equal(by, -10)
      if (data.reason === 'damage') {
        const { damage, maxHp } = story.find(
          message => message.type === 'DAMAGE' && owner.get(message.data.target) === data.player,
        ).data
        assert.equal(by, Math.floor((damage * 49) / maxHp))
      }
      rage[data.player] = data.after
    }
    for (const { data } of story.filter(({ type }) => type === 'DAMAGE')) {
      assert.deepEqual(Object.keys(data).sort(), [
        'currentHp',
        'damage',
        'damageType',
        'effectiveness',
        'isCrit',
        'maxHp',
        'source',
        'target',
      ])
      assert.deepEqual([data.maxHp, data.currentHp], [LONG_LIFE, LONG_LIFE - data.damage])
    }
    close()
  })

  test('5.7 the last pet faints: the turn runs to its end, then BATTLE_END, all_pet_fainted, and the phase is ENDED', async () => {
    const fight = await plainDuel([LONG_LIFE], [1])
    const { a, b, asked, close } = fight
    await attack(fight)
    const [end] = await Promise.all([a.type('BATTLE_END'), b.type('BATTLE_END')])
    assert.deepEqual(end.data, { winner: a.id, reason: 'all_pet_fainted' })
    const told = types(b, asked + 1)
    assert.deepEqual(told.slice(-2), ['TURN_END', 'BATTLE_END'])
    const failed = b.story.find(({ message }) => message.type === 'SKILL_USE_FAIL').message
    assert.equal(failed.data.reason, 'faint', 'who fainted before his turn')
    assert.ok(!b.story.some(({ message }) => message.type === 'SKILL_USE' && message.data.user === failed.data.user))
    const { state } = b.story.at(-1)
    assert.deepEqual([state.status, state.currentPhase], ['Ended', 'ENDED'])
    close()
  })

  test('5.7 a knock-out: forced and bonus switches are made together', async () => {
    const fight = await plainDuel([LONG_LIFE, LONG_LIFE], [1, LONG_LIFE])
    const { a, b, asked, close } = fight
    await attack(fight)
    await Promise.all([a.type('FAINT_SWITCH', asked), b.type('FORCED_SWITCH', asked)])
    const bonus = (await a.available()).find(({ type }) => type === 'switch-pet')
    await a.submit(bonus)
    assert.equal(types(b).filter(type => type === 'PET_SWITCH').length, 0, 'not before all have chosen')
    const forced = (await b.available()).find(({ type }) => type === 'switch-pet')
    await b.submit(forced)
    const action = await b.type('TURN_ACTION', asked)
    const switches = b.story.filter(({ message }) => message.type === 'PET_SWITCH').map(({ message }) => message.data)
    assert.deepEqual(
      switches.map(({ player, toPet }) => [player, toPet]),
      [
        [b.id, forced.pet],
        [a.id, bonus.pet],
      ],
    )
    assert.equal(action.sequenceId, b.story.at(-1).message.sequenceId)
    close()
  })

  test("5.7 switches come before skills, and B's before A's; rage falls to 0.8 without a message", async () => {
    const fight = await plainDuel([LONG_LIFE, LONG_LIFE], [LONG_LIFE, LONG_LIFE])
    const { a, b, asked, close } = fight
    await Promise.all(
      [a, b].map(async player => player.submit((await player.available()).find(({ type }) => type === 'switch-pet'))),
    )
    await a.type('TURN_END', asked)
    const switched = a.story.filter(({ message }) => message.type === 'PET_SWITCH')
    assert.deepEqual(
      switched.map(({ message }) => message.data.player),
      [b.id, a.id],
    )
    assert.deepEqual(
      switched[1].state.players.map(({ rage }) => rage),
      [16, 16],
    )
    const next = await a.type('TURN_ACTION', asked)
    await a.submit((await a.available())[0])
    await b.submit((await b.available()).find(({ type }) => type === 'switch-pet'))
    await a.type('TURN_END', next.sequenceId)
    const second = types(a, next.sequenceId + 1).filter(type => ['PET_SWITCH', 'SKILL_USE'].includes(type))
    assert.deepEqual(second, ['PET_SWITCH', 'SKILL_USE'])
    close()
  })

  test('5.7 surrender takes effect only when the opponent has chosen: BATTLE_END without TURN_END (row 20)', async () => {
    const { a, b, asked, close } = await duel()
    await a.submit(a.surrender)
    assert.equal((await b.ok('getState')).status, 'On')
    assert.equal(b.sequence, asked)
    await b.choose()
    const [end] = await Promise.all([a.type('BATTLE_END'), b.type('BATTLE_END')])
    assert.deepEqual(end.data, { winner: b.id, reason: 'surrender' })
    assert.deepEqual(types(a, asked + 1), ['TURN_START', 'BATTLE_END'])
    close()
  })

  test("5.7 both surrender: A's is read first, B wins (row 20)", async () => {
    const { a, b, close } = await duel()
    await Promise.all([b.submit(b.surrender), a.submit(a.surrender)])
    const { data } = await a.type('BATTLE_END')
    assert.deepEqual(data, { winner: b.id, reason: 'surrender' })
    close()
  })

  test('5.7 rage stays between 0 and 100 in a whole battle', async () => {
    const { a, b, close } = await duel()
    await Promise.all([a.play(), b.play()])
    for (const { state } of a.story)
      for (const { rage, maxRage } of state.players) assert.ok(rage >= 0 && rage <= maxRage)
    close()
  })
}
