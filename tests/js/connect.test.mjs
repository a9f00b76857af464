// What the official client sees of the handshake and of the instant after it.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { open, within } from './fighter.mjs'
import { createGuest, startServer } from './server.mjs'

let server
before(async () => (server = await startServer()))
after(async () => server?.stop())

for (const transports of [['websocket'], ['polling']]) {
  const [way] = transports

  for (const [query, text] of [
    [{}, 'PLAYER_ID_REQUIRED'],
    [{ playerId: 'AAAAAAAAAAAAAAAAAAAAA' }, 'PLAYER_NOT_FOUND'],
  ]) {
    test(`${text} is the message of connect_error by ${way}`, async () => {
      const refused = new Promise((resolve, reject) => {
        open(server.url, query, transports, socket => {
          socket.once('connect_error', error => (socket.close(), resolve(error)))
          socket.once('connect', () => (socket.close(), reject(new Error('accepted'))))
        })
      })
      const error = await within('connect_error', refused)
      assert.equal(error.message, text)
      assert.equal(error.data, undefined)
    })
  }

  test(`a question in the same tick as connect is answered by ${way}`, async () => {
    for (let round = 0; round < 10; round += 1) {
      const { playerId } = await createGuest(server.url)
      let socket
      const answered = new Promise((resolve, reject) => {
        socket = open(server.url, { playerId }, transports, socket => {
          socket.once('connect', () => socket.emit('getServerState', resolve))
          socket.once('connect_error', reject)
        })
      })
      const answer = await within('answer', answered)
      socket.close()
      assert.equal(answer.status, 'SUCCESS')
      assert.deepEqual(Object.keys(answer.data).sort(), ['matchmakingQueue', 'onlinePlayers', 'playersInRooms', 'rooms'])
    }
  })

  test(`what is emitted before the connection arrives in order by ${way}`, async () => {
    const { playerId } = await createGuest(server.url)
    const order = []
    let socket
    const answered = new Promise((resolve, reject) => {
      socket = open(server.url, { playerId }, transports, socket => {
        socket.once('connect_error', reject)
        socket.emit('cancelMatchmaking', () => order.push('first'))
        socket.emit('getServerState', () => order.push('second'))
        socket.emit('getAvailableSelection', () => (order.push('third'), resolve()))
      })
    })
    await within('answers', answered)
    socket.close()
    assert.deepEqual(order, ['first', 'second', 'third'])
  })
}

test('an application ping is answered and the connection stays', async () => {
  const { playerId } = await createGuest(server.url)
  let pings = 0
  let socket
  const lived = new Promise((resolve, reject) => {
    socket = open(server.url, { playerId }, ['websocket'], socket => {
      socket.on('ping', () => {
        socket.emit('pong')
        pings += 1
        if (pings === 3) resolve()
      })
      socket.once('disconnect', reason => reject(new Error(reason)))
    })
  })
  await within('three pings', lived, 25_000)
  socket.removeAllListeners('disconnect')
  socket.close()
})
