// Three nodes, killed at random and started again; the players hardly notice.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { startCluster } from './server.mjs'
import { fought, Wanderer } from './wanderer.mjs'

const KILLS = 8
const PAIRS = 2
const MOMENT_MS = [300, 1_200]

let cluster
before(async () => (cluster = await startCluster()))
after(async () => cluster?.stop())

/** Numbers in [0, 1) from a seed that is printed: a failure names its plan. */
function random(seed) {
  return () => ((seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0), seed / 2 ** 32)
}

test('battles between players on different nodes go on while nodes are killed at random', async t => {
  const seed = process.env.SEED ? Number(process.env.SEED) : Math.floor(Math.random() * 2 ** 32)
  t.diagnostic(`SEED=${seed}`)
  const next = random(seed)
  const moment = () => new Promise(resolve => setTimeout(resolve, MOMENT_MS[0] + next() * (MOMENT_MS[1] - MOMENT_MS[0])))
  let kills = 0
  let over = false
  // One at a time: two of three must live.
  const killing = (async () => {
    while (!over) {
      await moment()
      const node = cluster.nodes[Math.floor(next() * cluster.nodes.length)]
      await node.kill()
      kills += 1
      await moment()
      await node.start()
    }
  })()
  let battles = 0
  let retries = 0
  const playing = async () => {
    while (kills < KILLS) {
      const pairs = []
      try {
        for (let pair = 0; pair < PAIRS; pair += 1) {
          const players = []
          pairs.push(players)
          for (const number of [0, 1]) {
            players.push(await Wanderer.create(cluster.nodes, (pair + number) % 3, number))
          }
          await Promise.all(players.map(player => player.match()))
        }
        await Promise.all(pairs.map(fought))
      } finally {
        pairs.flat().forEach(player => player.close())
      }
      battles += PAIRS
      retries += pairs.flat().reduce((sum, player) => sum + player.retries, 0)
    }
  }
  try {
    await Promise.race([playing(), killing])
  } finally {
    over = true
    await killing
  }
  t.diagnostic(`${battles} battles, ${kills} nodes killed, ${retries} times a player went elsewhere`)
})
