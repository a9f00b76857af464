// 3.4: the application's own heartbeat (row 8).

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { guest } from '../support/players.mjs'
import { Connection } from '../support/socket.mjs'

const PERIOD_MS = 5_000
const SLACK_MS = 1_500

export function tests() {
  test('3.4 a ping every 5 s, the first 5 s after the connection; who answers stays (row 8)', async () => {
    const { playerId } = await guest()
    const connection = await Connection.open({ query: { playerId } })
    const began = connection.events[0].at
    let place = 0
    for (let number = 1; number <= 4; number += 1) {
      place = (await connection.seen(`ping ${number}`, ({ name }) => name === 'ping', place)) + 1
      const { at, args } = connection.events[place - 1]
      assert.deepEqual(args, [])
      assert.ok(Math.abs(at - began - number * PERIOD_MS) < SLACK_MS, `ping ${number} after ${at - began} ms`)
    }
    assert.ok(connection.socket.connected)
    assert.equal(connection.count('disconnect'), 0)
    connection.close()
  })

  for (const transports of [['websocket'], ['polling']]) {
    test(`3.4 who does not answer is closed between 10 and 16 s, by ${transports} (row 8)`, async () => {
      const { playerId } = await guest()
      // The server counts from when it has accepted, which is after this.
      const began = performance.now()
      const connection = await Connection.open({ query: { playerId }, transports, silent: true })
      const { at, arg } = await connection.push('disconnect')
      // A polling client has nothing that can be cut: its next poll is told that its session is no more.
      const reasons = [
        'io server disconnect',
        'transport close',
        ...(transports[0] === 'polling' ? ['transport error'] : []),
      ]
      assert.ok(reasons.includes(arg), arg)
      assert.ok(at - began > 10_000 && at - began < 16_000, `closed after ${at - began} ms`)
    })
  }
}
