// 3.1: frames on the wire, without a client library, and the official client over each transport.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import WebSocket from 'ws'

import { anyNode } from '../support/environment.mjs'
import { duel } from '../support/battle.mjs'
import { send } from '../support/http.mjs'
import { NOBODY, guest } from '../support/players.mjs'
import { Connection, within } from '../support/socket.mjs'

/** A websocket, and whatever it is told. */
async function raw(playerId) {
  const url = `${anyNode().replace(/^http/, 'ws')}/socket.io/?playerId=${playerId}&EIO=4&transport=websocket`
  const socket = new WebSocket(url)
  const frames = []
  let news = () => {}
  socket.on('message', data => (frames.push(data.toString()), news()))
  socket.on('error', error => (frames.push(`error ${error.message}`), news()))
  socket.on('close', code => (frames.push(`closed ${code}`), news()))
  const next = async (what, wanted) => {
    const found = new Promise(resolve => {
      news = () => {
        const place = frames.findIndex(wanted)
        if (place >= 0) resolve(frames.splice(place, 1)[0])
      }
      news()
    })
    return await within(what, found).catch(error => {
      throw new Error(`${error.message}, but ${JSON.stringify(frames)}`)
    })
  }
  const open = await next('open packet', frame => frame.startsWith('0'))
  return { socket, frames, next, open: JSON.parse(open.slice(1)) }
}

export function tests() {
  test('3.1 polling opens with sid, upgrades, pingInterval, pingTimeout and maxPayload', async () => {
    const { playerId } = await guest()
    const answer = await send('GET', `/socket.io/?EIO=4&transport=polling&playerId=${playerId}`)
    assert.equal(answer.text[0], '0')
    const { sid, maxPayload, ...open } = JSON.parse(answer.text.slice(1))
    assert.deepEqual(open, { upgrades: ['websocket'], pingInterval: 25_000, pingTimeout: 60_000 })
    assert.ok(sid.length > 0 && maxPayload >= 1_000_000)
  })

  test('3.1 a direct websocket opens without upgrades', async () => {
    const { socket, open } = await raw((await guest()).playerId)
    assert.deepEqual([open.upgrades, open.pingInterval, open.pingTimeout], [[], 25_000, 60_000])
    socket.terminate()
  })

  test('3.1 raw frames: 40 is answered by 40 with a sid, 42 with an id by 43, and the server pings', async () => {
    const { socket, next } = await raw((await guest()).playerId)
    // In the same instant in which it is accepted: the handlers must be there.
    socket.on('message', data => data.toString().startsWith('40') && socket.send('420["getServerState"]'))
    socket.send('40')
    const accepted = await next('accepted', frame => frame.startsWith('40'))
    assert.equal(typeof JSON.parse(accepted.slice(2)).sid, 'string')
    const answer = await next('answer', frame => frame.startsWith('430'))
    const [ack, ...rest] = JSON.parse(answer.slice(3))
    assert.deepEqual([ack.status, rest], ['SUCCESS', []])
    socket.send('421["getAvailableSelection"]')
    const refused = await next('answer', frame => frame.startsWith('431'))
    assert.deepEqual(JSON.parse(refused.slice(3)), [
      { status: 'ERROR', code: 'GET_SELECTION_ERROR', details: 'NOT_IN_BATTLE' },
    ])
    assert.equal(await next('ping', frame => frame.includes('"ping"')), '42["ping"]')
    socket.terminate()
  })

  test('3.1 raw frames: a refused namespace is 44 with a message and nothing else', async () => {
    const { socket, next } = await raw(NOBODY)
    socket.send('40')
    assert.equal(await next('refusal', frame => frame.startsWith('44')), '44{"message":"PLAYER_NOT_FOUND"}')
    socket.terminate()
  })

  test('3.1 raw frames: the token in the packet 40 does a guest no harm', async () => {
    const { socket, next } = await raw((await guest()).playerId)
    socket.send('40{"token":"x"}')
    await next('accepted', frame => frame.startsWith('40'))
    socket.terminate()
  })

  test('3.1 a message of nearly 1 MB is taken', async () => {
    const { playerId } = await guest()
    const connection = await Connection.open({ query: { playerId } })
    const answer = await connection.ask('joinMatchmaking', { name: 'x'.repeat(900_000), id: playerId, team: [] })
    assert.deepEqual([answer.status, answer.code], ['ERROR', 'VALIDATION_ERROR'])
    connection.close()
  })

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`3.1 a whole battle with the official client by ${transports.join(', then ')} (row 1)`, async () => {
      const { a, b, asked, close } = await duel({ a: { transports }, b: { transports } })
      const [end, same] = await Promise.all([a.play({ after: asked - 1 }), b.play({ after: asked - 1 })])
      assert.deepEqual(end.data, same.data)
      assert.equal(a.connection.socket.io.engine.transport.name, transports.at(-1))
      close()
    })
  }
}
