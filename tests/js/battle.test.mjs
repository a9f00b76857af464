// Whole battles with the official client, over each way of transport.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { pair } from './fighter.mjs'
import { startServer } from './server.mjs'

let server
before(async () => (server = await startServer()))
after(async () => server?.stop())

const transports = {
  websocket: ['websocket'],
  polling: ['polling'],
  'polling, then websocket': ['polling', 'websocket'],
}

for (const [name, list] of Object.entries(transports)) {
  test(`two players fight a whole battle by ${name}`, async () => {
    const { a, b, room } = await pair(server.url, list)
    try {
      for (const fighter of [a, b]) {
        const state = await fighter.ok('getState')
        assert.equal(state.status, 'Unstarted')
        assert.deepEqual(await fighter.ok('getAvailableSelection'), [])
      }
      // The later client waits for this acknowledgement, the seed client gives no callback.
      assert.deepEqual(await a.ok('ready'), { status: 'READY' })
      b.socket.emit('ready')
      const [{ end }, { end: same }] = await Promise.all([a.play(), b.play()])
      assert.deepEqual(end.data, same.data)
      assert.equal(end.data.reason, 'all_pet_fainted')
      assert.ok([a.id, b.id, null].includes(end.data.winner))
      for (const fighter of [a, b]) {
        const closed = await fighter.seen('roomClosed', event => event === 'roomClosed')
        assert.deepEqual(fighter.events[closed][1], { roomId: room })
        const ends = fighter.events.flatMap(([, m], at) => (m?.type === 'BATTLE_END' ? [at] : []))
        assert.equal(ends.length, 1, 'exactly one BATTLE_END')
        assert.ok(ends[0] < closed, 'BATTLE_END precedes roomClosed')
      }
      assert.deepEqual(a.story(), b.story())
      assert.equal(a.story()[0][0], 0)
      const used = a.socket.io.engine.transport.name
      assert.equal(used, list.at(-1), 'the battle ended on the transport it was to end on')
    } finally {
      a.close()
      b.close()
    }
  })
}

test('a client whose connection broke goes on in its battle', async () => {
  const { a, b } = await pair(server.url, ['websocket'])
  try {
    await Promise.all([a.ok('ready'), b.ok('ready')])
    const [{ place }, { place: placeB }] = await Promise.all([a.play({ turns: 2 }), b.play({ turns: 2 })])
    const before = a.events.length
    a.socket.io.engine.close()
    await a.seen('reconnect', name => name === 'connect', before)
    assert.ok(place <= before)
    await a.resume()
    const [{ end }, { end: same }] = await Promise.all([
      a.play({ from: a.events.length, asked: true }),
      b.play({ from: placeB, asked: true }),
    ])
    assert.deepEqual(end.data, same.data)
    assert.equal(end.sequenceId, same.sequenceId)
  } finally {
    a.close()
    b.close()
  }
})
