// Small teams whose battles can be foretold: one skill without effects, no marks, and life as wanted.

import { nanoid } from './players.mjs'

const STATS = ['hp', 'atk', 'def', 'spa', 'spd', 'spe']
const all = value => Object.fromEntries(STATS.map(stat => [stat, value]))
/** Always hit, cost 10, and have no effect. */
const KINDS = {
  quick: { species: 'pet_voltwick', skills: ['skill_static_nip'], evs: { ...all(0), spe: 252 }, ivs: all(31) },
  slow: { species: 'pet_brandlet', skills: ['skill_cinder_flick'], evs: all(0), ivs: { ...all(31), spe: 0 } },
}

/** A team of pets of one kind with these lives: `quick` ones act before `slow` ones. */
export function plain(kind, ...lives) {
  return owner => ({
    name: `Tester ${owner.slice(0, 6)}`,
    id: owner,
    team: lives.map((maxHp, slot) => ({
      ...KINDS[kind],
      name: `${kind} ${slot}`,
      id: nanoid(),
      level: 100,
      nature: 'Hardy',
      maxHp,
    })),
  })
}

export const LONG_LIFE = 100_000
