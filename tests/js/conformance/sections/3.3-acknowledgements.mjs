// 3.3: envelopes, and requests that are sent again.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { alone, withDuel, withPlayers } from '../support/battle.mjs'
import { anyNode } from '../support/environment.mjs'
import { nanoid } from '../support/players.mjs'

export function tests() {
  test(
    '3.3 an event without a callback is served and answers nothing',
    withPlayers(1, async player => {
      player.connection.socket.emit('getServerState')
      player.connection.socket.emit('cancelMatchmaking')
      assert.equal((await player.ask('getServerState')).status, 'SUCCESS')
    }),
  )

  test(
    '3.3 an event with an unknown name is ignored',
    withPlayers(1, async player => {
      const { socket } = player.connection
      for (const name of ['getEverything', 'connectAll', '__proto__', 'constructor', '事件']) {
        socket.emit(name, { a: 1 }, () => assert.fail(`${name} was answered`))
      }
      await player.ok('getServerState')
      assert.ok(socket.connected)
    }),
  )

  test(
    '3.3, 10.2 something that is no callback in its place is ignored',
    withPlayers(1, async player => {
      for (const odd of [5, null, 'callback', [], {}]) player.connection.socket.emit('getServerState', odd)
      await player.ok('getServerState')
    }),
  )

  test(
    '3.3 answers come in the order of the questions',
    withPlayers(1, async player => {
      const order = []
      const ask = name => player.ask(name).then(() => order.push(name))
      const names = ['cancelMatchmaking', 'getServerState', 'getAvailableSelection', 'isTimerEnabled', 'getState']
      await Promise.all(names.map(ask))
      assert.deepEqual(order, names)
    }),
  )

  test(
    '3.3 a request id: the retry, through any node, gets the answer of the first time',
    withDuel(async ({ a }) => {
      const [choice] = await a.available()
      const key = { requestId: nanoid() }
      const first = await a.ask('submitPlayerSelection', choice, key)
      assert.deepEqual(first, { status: 'SUCCESS', data: { status: 'ACTION_ACCEPTED' } })
      a.close()
      await a.connect({ node: anyNode(a.among, a.connection.node) })
      assert.deepEqual(await a.ask('submitPlayerSelection', choice, key), first)
    }),
  )

  test(
    '3.3 a request id: a join that is sent again queues once',
    withPlayers(1, player =>
      alone(player.among, async () => {
        const key = { requestId: nanoid() }
        for (let times = 0; times < 2; times += 1) {
          assert.deepEqual(await player.ok('joinMatchmaking', player.team, key), { status: 'QUEUED' })
        }
        assert.deepEqual(await player.ok('cancelMatchmaking'), { status: 'CANCELED' })
        // Its first time is over: the retry is no new join.
        assert.deepEqual(await player.ok('joinMatchmaking', player.team, key), { status: 'QUEUED' })
        assert.equal((await player.ok('getServerState')).matchmakingQueue, 0)
      }),
    ),
  )

  test(
    '3.3 a request id that is none is refused',
    withPlayers(1, async player => {
      for (const requestId of ['', 'a b', 'x'.repeat(65), 5]) {
        await player.fails('joinMatchmaking', [player.team, { requestId }], 'VALIDATION_ERROR', 'INVALID_REQUEST_ID')
      }
    }),
  )
}
