// 5.1: what a team must be, and what is said of one that is not (row 9).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { alone, pair, withPlayers } from '../support/battle.mjs'
import { nanoid } from '../support/players.mjs'

const zero = { hp: 0, atk: 0, def: 0, spa: 0, spd: 0, spe: 0 }
const MANY = 'String must contain at least 1 character(s)'

/** What is changed in a good team's first pet, and the messages that follow. */
const PETS = [
  ['name is missing', { name: undefined }, 'Required'],
  ['name is empty', { name: '' }, MANY],
  ['name is a number', { name: 5 }, 'Expected string, received number'],
  ['id is no nanoid', { id: 'x' }, 'Invalid nanoid'],
  ['species does not begin with pet_', { species: 'dilan' }, 'Invalid'],
  ['species is missing', { species: undefined }, 'Required'],
  ['level is a float', { level: 1.5 }, 'Expected integer, received float'],
  ['level is a text', { level: '100' }, 'Expected number, received string'],
  ['level is missing', { level: undefined }, 'Required'],
  ['level is 0', { level: 0 }, 'Number must be greater than or equal to 1'],
  ['level is 101', { level: 101 }, 'Number must be less than or equal to 100'],
  ['an effort value is 256', { evs: { ...zero, hp: 256 } }, 'Number must be less than or equal to 255'],
  ['an effort value is negative', { evs: { ...zero, spe: -1 } }, 'Number must be greater than or equal to 0'],
  ['the effort values are 511', { evs: { ...zero, hp: 255, atk: 255, def: 1 } }, '学习力总和不能超过510'],
  ['an individual value is 32', { ivs: { ...zero, spd: 32 } }, 'Number must be less than or equal to 31'],
  ['an individual value is missing', { ivs: { ...zero, spd: undefined } }, 'Required'],
  ['six skills', { skills: Array(6).fill('skill_a') }, 'Array must contain at most 5 element(s)'],
  ['skills are missing', { skills: undefined }, 'Required'],
]

export function tests() {
  for (const [what, change, message] of PETS) {
    test(
      `5.1 "${message}" where ${what}`,
      withPlayers(1, async player => {
        const [first, ...rest] = player.team.team
        const team = { ...player.team, team: [{ ...first, ...change }, ...rest] }
        await player.fails('joinMatchmaking', [team], 'VALIDATION_ERROR', `Invalid player data: ${message}`)
      }),
    )
  }

  test(
    '5.1 a team has a name, an id that is one, and 1 to 6 pets',
    withPlayers(1, async player => {
      const { team } = player
      const cases = [
        [{ ...team, name: '' }, MANY],
        [{ ...team, id: 'x' }, 'Invalid nanoid'],
        [{ ...team, team: [] }, 'Array must contain at least 1 element(s)'],
        [
          { ...team, team: Array.from({ length: 7 }, () => ({ ...team.team[0], id: nanoid() })) },
          'Array must contain at most 6 element(s)',
        ],
      ]
      for (const [payload, message] of cases) {
        await player.fails('joinMatchmaking', [payload], 'VALIDATION_ERROR', `Invalid player data: ${message}`)
      }
    }),
  )

  test(
    '5.1 all problems are told, in the order of the fields, and the sum in any case',
    withPlayers(1, async player => {
      const [first] = player.team.team
      const team = {
        ...player.team,
        name: '',
        team: [{ ...first, species: 'x', evs: { ...zero, hp: 255, atk: 255, def: 255 } }],
      }
      const all = [MANY, 'Invalid', '学习力总和不能超过510'].join(', ')
      await player.fails('joinMatchmaking', [team], 'VALIDATION_ERROR', `Invalid player data: ${all}`)
    }),
  )

  test(
    '5.1 what is no object is refused',
    withPlayers(1, async player => {
      for (const payload of [null, 5, 'team', [], [player.team]]) {
        const answer = await player.ask('joinMatchmaking', payload)
        assert.deepEqual([answer.status, answer.code], ['ERROR', 'VALIDATION_ERROR'], JSON.stringify(payload))
        assert.match(answer.details, /^Invalid player data: ./)
      }
    }),
  )

  test(
    '5.1 the ends of the ranges and unknown keys are taken, also by later clients',
    withPlayers(1, player =>
      alone(player.among, async () => {
        const [first] = player.team.team
        const changes = [
          { level: 1 },
          { level: 100, evs: { ...zero, hp: 255, atk: 255 }, ivs: { ...zero, hp: 31 } },
          { skills: [], gender: 'NoGender', height: 1.5, weight: 80 },
          { maxHp: 1, unknown: { deep: [1] } },
          { id: undefined },
        ]
        for (const change of changes) {
          const team = { ...player.team, more: true, team: [{ ...first, ...change }] }
          assert.deepEqual(await player.ok('joinMatchmaking', team), { status: 'QUEUED' }, JSON.stringify(change))
        }
        await player.ok('cancelMatchmaking')
      }),
    ),
  )

  test('5.1 pets with one id in both teams are told apart', async () => {
    const id = nanoid()
    const same = number => owner => {
      const evs = { ...zero }
      const pet = {
        name: `pet ${number}`,
        id,
        species: 'pet_brandlet',
        level: 50,
        evs,
        ivs: evs,
        nature: 'Hardy',
        skills: [],
      }
      return { name: 'Same', id: owner, team: [pet] }
    }
    const { a, b, close } = await pair({ a: { team: same(0) }, b: { team: same(1) } })
    const { players } = await a.ok('getState')
    assert.notEqual(players[0].team[0].id, players[1].team[0].id)
    assert.deepEqual(
      players.map(({ team }) => team[0].name),
      ['pet 0', 'pet 1'],
    )
    assert.equal((await b.ok('getState')).status, 'Unstarted')
    close()
  })
}
