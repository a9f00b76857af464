// 5.4 to 5.6: the state, who may see what of it, and the messages that change it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { duel, withDuel } from '../support/battle.mjs'
import { NANOID } from '../support/players.mjs'

const UNKNOWN_PET = {
  isUnknown: true,
  name: '',
  speciesID: '',
  element: 'Normal',
  level: 0,
  currentHp: 0,
  maxHp: 0,
  marks: [],
}
const UNKNOWN_SKILL = {
  isUnknown: true,
  baseId: '',
  category: 'Physical',
  element: 'Normal',
  power: 0,
  rage: 0,
  accuracy: 0,
  priority: 0,
  target: 'opponent',
  multihit: 1,
  sureHit: false,
  tag: [],
}
const TYPES = [
  'BATTLE_START',
  'TURN_START',
  'TURN_END',
  'BATTLE_END',
  'TURN_ACTION',
  'FORCED_SWITCH',
  'FAINT_SWITCH',
  'PET_SWITCH',
  'PET_DEFEATED',
  'SKILL_USE',
  'SKILL_USE_FAIL',
  'SKILL_MISS',
  'SKILL_USE_END',
  'DAMAGE',
  'DAMAGE_FAIL',
  'HEAL',
  'HEAL_FAIL',
  'RAGE_CHANGE',
  'MARK_APPLY',
  'MARK_UPDATE',
  'MARK_EXPIRE',
  'MARK_DESTROY',
  'EFFECT_APPLY',
  'EFFECT_APPLY_FAIL',
  'TRANSFORM',
  'TRANSFORM_END',
  'ERROR',
  'INFO',
]

/** Keys that an opponent's object must not have, wherever it stands. */
function checkOpponent(player, seen) {
  assert.ok(!('modifierState' in player))
  for (const pet of player.team) {
    if (pet.isUnknown) {
      const { id, ...rest } = pet
      assert.match(id, NANOID)
      assert.deepEqual(rest, UNKNOWN_PET)
      assert.ok(!seen.pets.has(id), 'a pet that appeared stays known')
      continue
    }
    assert.ok(seen.pets.has(pet.id), `${pet.name} has not appeared`)
    assert.ok(!('stats' in pet) && !('modifierState' in pet))
    for (const skill of pet.skills) {
      assert.ok(!('modifierState' in skill))
      if (!skill.isUnknown) {
        assert.ok(seen.skills.has(skill.id), `${skill.baseId} was not used`)
        continue
      }
      const { id, ...rest } = skill
      assert.ok(id.length > 0)
      assert.deepEqual(rest, UNKNOWN_SKILL)
    }
  }
}

function checkOwn(player) {
  assert.ok(player.modifierState)
  for (const pet of player.team) {
    assert.equal(pet.isUnknown, false)
    assert.deepEqual(Object.keys(pet.stats).sort(), [
      'accuracy',
      'atk',
      'critRate',
      'def',
      'evasion',
      'height',
      'maxHp',
      'ragePerTurn',
      'spa',
      'spd',
      'spe',
      'weight',
    ])
    assert.ok(pet.modifierState)
    for (const skill of pet.skills) assert.ok(skill.isUnknown === false && skill.modifierState)
  }
}

/** What the opponent must not read before it is shown: names, species and skills of each pet. */
function secretsOf(player) {
  return player.team.team.map(pet => ({ pet: [pet.name, pet.species], skills: pet.skills }))
}

/** Goes through a whole battle as one viewer saw it. */
function checkStory(viewer, other, order) {
  const secrets = secretsOf(other)
  const seen = { pets: new Set(), skills: new Set(), bases: new Set() }
  const pets = order.map(({ id }) => id)
  seen.pets.add(pets[0])
  for (const { message, state, text } of viewer.story) {
    if (message.type === 'PET_SWITCH' && message.data.player === other.id) seen.pets.add(message.data.toPet)
    if (message.type === 'SKILL_USE' && pets.includes(message.data.user)) {
      seen.skills.add(message.data.skill)
      seen.bases.add(message.data.baseSkill)
    }
    secrets.forEach(({ pet, skills }, slot) => {
      const appeared = seen.pets.has(pets[slot])
      const hidden = [...(appeared ? [] : pet), ...skills.filter(skill => !seen.bases.has(skill))]
      for (const word of hidden) assert.ok(!text.includes(`"${word}"`), `message ${message.sequenceId} has ${word}`)
    })
    const shown = state.players.find(({ id }) => id === other.id)
    checkOpponent(shown, seen)
    checkOwn(state.players.find(({ id }) => id === viewer.id))
  }
}

export function tests() {
  for (let round = 1; round <= 3; round += 1) {
    test(`5.6 a whole battle: numbers, deltas, choices and secrets, ${round} of 3 (rows 15, 16, 17, 18)`, async () => {
      const { a, b, close } = await duel({ a: { team: round }, b: { team: round - 1 } })
      const each = player => async () => {
        // In this instant the choices are there, and the patched state is the server's.
        assert.ok((await player.available()).length > 0)
        await player.checkState()
      }
      const orders = [(await a.ok('getState')).players[0].team, (await b.ok('getState')).players[1].team]
      const [end, same] = await Promise.all([a.play({ each: each(a) }), b.play({ each: each(b) })])
      assert.deepEqual([end.sequenceId, end.data], [same.sequenceId, same.data])
      for (const { story } of [a, b]) {
        assert.deepEqual(
          story.map(({ message }) => message.sequenceId),
          story.map((_, at) => at),
          'from 0, no gap, no repeat',
        )
        assert.equal(new Set(story.map(({ message }) => message.battleId)).size, 1)
        assert.match(story[0].message.battleId, NANOID)
      }
      const told = ({ story }) => story.map(({ message: { type, data } }) => [type, data])
      assert.deepEqual(told(a), told(b), 'both viewers hear the same')
      for (const [type] of told(a)) assert.ok(TYPES.includes(type), type)
      checkStory(a, b, orders[1])
      checkStory(b, a, orders[0])
      for (const player of [a, b]) await player.checkState()
      close()
    })
  }

  test(
    '5.4 the state: status, phase, turn, marks, and the players A, then B, for both viewers',
    withDuel(async ({ a, b }) => {
      for (const player of [a, b]) {
        const { players, marks, ...rest } = await player.ok('getState')
        assert.deepEqual(rest, {
          status: 'On',
          currentPhase: 'SELECTION_PHASE',
          currentTurn: 0,
          sequenceId: player.sequence,
        })
        assert.ok(Array.isArray(marks))
        assert.deepEqual(
          players.map(({ id }) => id),
          [a.id, b.id],
        )
        for (const [at, { name, rage, maxRage, teamAlives, team, activePet }] of players.entries()) {
          assert.deepEqual([name, rage, maxRage, teamAlives], [[a, b][at].team.name, 20, 100, team.length])
          assert.equal(activePet, team[0].id)
        }
      }
    }),
  )

  test(
    '5.4 a pet: ids and order of the team, skills of category Climax last',
    withDuel(async ({ a }) => {
      const { team } = (await a.ok('getState')).players[0]
      assert.deepEqual(
        team.map(({ name, speciesID }) => [name, speciesID]),
        a.team.team.map(({ name, species }) => [name, species]),
      )
      for (const [slot, { skills }] of team.entries()) {
        assert.deepEqual(skills.map(({ baseId }) => baseId).sort(), [...a.team.team[slot].skills].sort())
        const climax = skills.map(({ category }) => category === 'Climax')
        assert.deepEqual(climax, [...climax].sort(), 'Climax last')
        const [{ id, baseId, modifierState, ...skill }] = skills
        assert.deepEqual(Object.keys(skill).sort(), [
          'accuracy',
          'category',
          'element',
          'isUnknown',
          'multihit',
          'power',
          'priority',
          'rage',
          'sureHit',
          'tag',
          'target',
        ])
        assert.ok(id && baseId && Array.isArray(modifierState.attributes))
      }
    }),
  )

  test(
    '5.6 the first messages: BATTLE_START rebuilds the whole state, TURN_ACTION names both',
    withDuel(async ({ a, b }) => {
      for (const player of [a, b]) {
        const start = player.story.find(({ message }) => message.type === 'BATTLE_START').message
        assert.deepEqual(start.data, {})
        const first = player.story[0].message.stateDelta
        for (const key of ['status', 'currentPhase', 'currentTurn', 'marks', 'players'])
          assert.equal(first[key].length, 1, key)
        const action = player.story.find(({ message }) => message.type === 'TURN_ACTION').message
        assert.deepEqual(action.data, { player: [a.id, b.id] })
      }
    }),
  )
}
