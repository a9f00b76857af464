// Row 27 of the checklist: nodes are restarted one after the other; nobody has to do more than connect again.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Player, alone, duel } from '../support/battle.mjs'
import { nodes, processes, without } from '../support/environment.mjs'
import { send } from '../support/http.mjs'
import { claimsOf, registered, sign } from '../support/players.mjs'
import { Connection, pause, within } from '../support/socket.mjs'

const RESTART_MS = 30_000
const readiness = node =>
  send('GET', '/ready', { node }).then(
    ({ status }) => status === 200,
    () => false,
  )

async function until(what, condition) {
  const met = (async () => {
    while (!(await condition())) await pause(50)
  })()
  await within(what, met, RESTART_MS)
}

async function restart(at) {
  process.kill(processes[at], 'SIGTERM')
  await until('end of a node', async () => !(await readiness(nodes[at])))
  await until('node that is ready again', () => readiness(nodes[at]))
}

export function tests() {
  test(
    '8.1 during a rolling restart a client logs in, queues and plays on another node with the same token (row 27)',
    { skip: without.restarts || without.secretAndMailbox },
    async () => {
      const { id, accessToken: token } = await registered()
      const fight = await duel({ a: { node: nodes[0] }, b: { node: nodes[1] } })
      let asked = fight.asked
      for (const at of nodes.keys()) {
        const away = nodes[(at + 1) % nodes.length]
        const restarting = restart(at)
        await until('lost node', async () => !(await readiness(nodes[at])))
        // Who logs in by token, queues and plays while the node is away.
        const connection = await Connection.open({ node: away, query: { playerId: id }, auth: { token } })
        await connection.ok('getServerState')
        connection.close()
        const [a, b] = [await Player.create({ among: [away] }), await Player.create({ among: [away], team: 1 })]
        await alone(nodes, async () => {
          await a.join()
          await b.join()
          await Promise.all([a.matched(), b.matched()])
        })
        await Promise.all([a.ok('ready'), b.ok('ready')])
        await Promise.all([a.type('TURN_ACTION'), b.type('TURN_ACTION')])
        a.close()
        b.close()
        // The battle that began before goes on: who was at that node comes back to another.
        for (const player of [fight.a, fight.b]) {
          player.close()
          await player.connect({ node: away })
          const { sequenceId, ...state } = await player.ok('getState')
          assert.equal(state.status, 'On')
          Object.assign(player, { state, sequence: sequenceId, story: [] })
          asked = sequenceId
        }
        await Promise.all([fight.a.choose(), fight.b.choose()])
        const next = message => message.type === 'BATTLE_END' || message.type === 'TURN_END'
        await Promise.all([fight.a, fight.b].map(player => player.message('end of the turn', next, asked)))
        await restarting
      }
      assert.equal((await send('GET', '/api/v1/auth/verify', { token })).status, 200)
      assert.equal((await send('GET', '/api/v1/auth/verify', { token: sign(claimsOf(id), 'another') })).status, 401)
      fight.close()
    },
  )
}
