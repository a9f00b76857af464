// 5.3: what may be chosen when (row 19).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { duel, withDuel } from '../support/battle.mjs'
import { LONG_LIFE, plain } from '../support/teams.mjs'

const types = choices => choices.map(({ type }) => type)
const INVALID = ['BATTLE_ACTION_ERROR', 'INVALID_SELECTION']

export function tests() {
  test(
    "5.3 selection phase: affordable skills in the pet's order, living pets of the bench, surrender last",
    withDuel(async ({ a }) => {
      const state = await a.ok('getState')
      const own = state.players.find(({ id }) => id === a.id)
      const active = own.team.find(({ id }) => id === own.activePet)
      const affordable = active.skills.filter(({ rage }) => rage <= own.rage)
      const offered = await a.available()
      assert.ok(affordable.length > 0 && affordable.length < active.skills.length, 'some are too dear at the start')
      const skills = affordable.map(skill => ({
        type: 'use-skill',
        player: a.id,
        skill: skill.id,
        target: skill.target,
      }))
      const bench = own.team.filter(({ id }) => id !== own.activePet)
      const switches = bench.map(({ id }) => ({ type: 'switch-pet', player: a.id, pet: id }))
      assert.deepEqual(offered, [...skills, ...switches, a.surrender])
    }),
  )

  test('5.3 do-nothing is offered only without an affordable skill', async () => {
    const idle = owner => {
      const team = plain('slow', LONG_LIFE)(owner)
      team.team[0].skills = []
      return team
    }
    const { a, b, close } = await duel({ a: { team: idle } })
    assert.deepEqual(types(await a.available()), ['do-nothing', 'surrender'])
    assert.ok(!types(await b.available()).includes('do-nothing'))
    await b.fails('submitPlayerSelection', [{ type: 'do-nothing', player: b.id }], ...INVALID)
    await a.submit({ type: 'do-nothing', player: a.id })
    close()
  })

  test(
    '5.3 what is not offered is INVALID_SELECTION: own active pet, too dear, of another pet, of the opponent (quirk, fixed)',
    withDuel(async ({ a, b }) => {
      const state = await a.ok('getState')
      const [own, other] = state.players
      const active = own.team.find(({ id }) => id === own.activePet)
      const bench = own.team.find(({ id }) => id !== own.activePet)
      const dear = active.skills.find(({ rage }) => rage > own.rage)
      const skill = id => ({ type: 'use-skill', player: a.id, skill: id, target: 'opponent' })
      const theirs = (await b.ok('getState')).players[1].team[0].skills[0]
      const wrong = [
        { type: 'switch-pet', player: a.id, pet: own.activePet },
        { type: 'switch-pet', player: a.id, pet: other.team[1].id },
        skill(dear.id),
        skill(bench.skills[0].id),
        skill(theirs.id),
        { type: 'do-nothing', player: a.id },
      ]
      for (const choice of wrong) await a.fails('submitPlayerSelection', [choice], ...INVALID)
      assert.equal(a.story.filter(({ message }) => message.type === 'TURN_START').length, 0)
    }),
  )

  test(
    "5.2 the target of a skill must be there, and may be another than the skill's own",
    withDuel(async ({ a }) => {
      const [skill] = await a.available()
      for (const target of ['self', 'opponent']) await a.submit({ ...skill, target })
    }),
  )

  test(
    '5.3 a choice may be replaced until the phase is resolved; the last one counts',
    withDuel(async ({ a, b }) => {
      const offered = await a.available()
      const [skill] = offered
      const change = offered.find(({ type }) => type === 'switch-pet')
      for (const choice of [skill, a.surrender, change]) await a.submit(choice)
      await b.submit((await b.available())[0])
      const { data } = await b.type('PET_SWITCH')
      assert.deepEqual([data.player, data.toPet], [a.id, change.pet])
      await b.type('TURN_ACTION', 2)
      assert.equal(b.story.filter(({ message }) => message.type === 'BATTLE_END').length, 0)
    }),
  )

  test('5.3 switch phases: forced offers switches and surrender (ours), a bonus do-nothing first (row 18)', async () => {
    const { a, b, asked, close } = await duel({
      a: { team: plain('quick', LONG_LIFE, LONG_LIFE) },
      b: { team: plain('slow', 1, LONG_LIFE, LONG_LIFE) },
    })
    const [mine, theirs] = [(await a.available())[0], (await b.available())[0]]
    await Promise.all([a.submit(mine), b.submit(theirs)])
    const [forced, bonus] = await Promise.all([b.type('FORCED_SWITCH', asked), a.type('FAINT_SWITCH', asked)])
    assert.deepEqual(forced.data, { player: [b.id] })
    assert.deepEqual(bonus.data, { player: a.id })
    assert.equal(bonus.sequenceId, forced.sequenceId + 1, 'both come together, forced first')
    assert.deepEqual(types(await b.available()), ['switch-pet', 'switch-pet', 'surrender'])
    assert.deepEqual(types(await a.available()), ['do-nothing', 'switch-pet', 'surrender'])
    await b.fails('submitPlayerSelection', [{ type: 'do-nothing', player: b.id }], ...INVALID)
    await a.fails('submitPlayerSelection', [mine], ...INVALID)
    await a.submit({ type: 'do-nothing', player: a.id })
    await b.submit((await b.available())[0])
    await Promise.all([a.type('TURN_ACTION', bonus.sequenceId), b.type('TURN_ACTION', bonus.sequenceId)])
    close()
  })

  test('5.3 a player of whom nothing is asked gets INVALID_SELECTION', async () => {
    const { a, b, asked, close } = await duel({
      a: { team: plain('quick', LONG_LIFE) },
      b: { team: plain('slow', 1, LONG_LIFE) },
    })
    await Promise.all([a.submit((await a.available())[0]), b.submit((await b.available())[0])])
    await Promise.all([a.type('FORCED_SWITCH', asked), b.type('FORCED_SWITCH', asked)])
    const offered = await a.available()
    // Alone in its team, A has nobody to follow up with; whether it is asked at all, the server says.
    if (a.story.some(({ message }) => message.type === 'FAINT_SWITCH')) {
      assert.deepEqual(types(offered), ['do-nothing', 'surrender'])
    } else {
      assert.deepEqual(offered, [])
      await a.fails('submitPlayerSelection', [a.surrender], ...INVALID)
    }
    close()
  })
}
