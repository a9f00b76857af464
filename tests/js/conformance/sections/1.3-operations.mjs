// 1.3, 1.11 and 8.6: routes for operators.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { nodes, quickNodes, without } from '../support/environment.mjs'
import { answers, bodyOf, send } from '../support/http.mjs'
import { pause, within } from '../support/socket.mjs'

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const STATS = {
  instances: ['total', 'healthy', 'unhealthy'],
  players: ['total', 'connected', 'disconnected'],
  rooms: ['total', 'waiting', 'active', 'ended'],
  matchmaking: ['queueSize', 'averageWaitTime'],
}

function checkStats(stats) {
  assert.deepEqual(Object.keys(stats).sort(), Object.keys(STATS).sort())
  for (const [group, names] of Object.entries(STATS)) {
    assert.deepEqual(Object.keys(stats[group]).sort(), [...names].sort(), group)
    for (const value of Object.values(stats[group])) assert.ok(Number.isFinite(value) && value >= 0, group)
  }
  assert.equal(stats.instances.healthy + stats.instances.unhealthy, stats.instances.total)
}

export function tests() {
  test('1.3 GET /health is 200 with status, time, uptime and the cluster', async () => {
    for (const node of nodes) {
      const answer = await send('GET', '/health', { node })
      const body = bodyOf(answer)
      assert.equal(answer.status, 200)
      assert.equal(body.status, 'ok')
      assert.match(body.timestamp, ISO)
      assert.ok(Math.abs(Date.parse(body.timestamp) - Date.now()) < 60_000)
      assert.ok(typeof body.uptime === 'number' && body.uptime > 0)
      assert.equal(body.cluster.status, 'healthy')
      checkStats(body.cluster.details.cluster)
      assert.deepEqual(Object.keys(body.cluster.details.instance).sort(), ['host', 'id', 'port'])
    }
  })

  test('1.3 GET /cluster/status names the instance and counts the nodes', async () => {
    const ids = new Set()
    for (const node of nodes) {
      const body = bodyOf(await send('GET', '/cluster/status', { node }))
      assert.equal(body.enabled, true)
      checkStats(body.stats)
      assert.ok(body.stats.instances.healthy >= nodes.length)
      ids.add(body.instanceId)
    }
    assert.equal(ids.size, nodes.length, 'every node has its own name')
  })

  test(
    '1.3 with cluster mode off, /cluster/status says so and /health has no cluster',
    { skip: without.quickAlone },
    async () => {
      const status = await send('GET', '/cluster/status', { among: quickNodes })
      answers(status, 200, { enabled: false, message: 'Cluster mode is disabled' })
      const health = bodyOf(await send('GET', '/health', { among: quickNodes }))
      assert.deepEqual(Object.keys(health).sort(), ['status', 'timestamp', 'uptime'])
    },
  )

  test('1.3 GET /metrics is Prometheus text', async () => {
    const answer = await send('GET', '/metrics')
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['content-type'], 'text/plain; charset=utf-8')
    for (const line of answer.text.split('\n').filter(line => line && !line.startsWith('#'))) {
      assert.match(line, /^[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? \S+( \d+)?$/)
    }
  })

  test('1.3 GET /metrics answers with cluster mode off, too (ours)', { skip: without.quickAlone }, async () => {
    assert.equal((await send('GET', '/metrics', { among: quickNodes })).status, 200)
  })

  test(
    '1.3 GET /api-docs.json is an OpenAPI document, and /api-docs/ shows it',
    { skip: without.apiDocs },
    async () => {
      const document = await send('GET', '/api-docs.json')
      assert.equal(document.status, 200)
      assert.match(bodyOf(document).openapi, /^3\./)
      const page = await send('GET', '/api-docs/')
      assert.equal(page.status, 200)
      assert.match(page.headers['content-type'], /^text\/html/)
    },
  )

  test('1.11 (later, built) GET /ready says ready', async () => {
    for (const node of nodes) {
      const answer = await send('GET', '/ready', { node })
      const body = bodyOf(answer)
      assert.deepEqual([answer.status, body.status, body.state], [200, 'ok', 'ready'])
      assert.match(body.timestamp, ISO)
      assert.match(body.stateChangedAt, ISO)
    }
  })

  const NAMES = [
    'http_request_duration_seconds',
    'http_requests_total',
    'socket_connections_active',
    'battle_rooms_active',
    'matchmaking_queue_size',
    'memory_usage_bytes',
    'cpu_usage_percent',
    'errors_total',
  ]
  for (const name of NAMES) {
    test(`8.6 GET /metrics has ${name}, labelled with instance_id`, async () => {
      const shown = async () => (await send('GET', '/metrics')).text.split('\n').filter(line => line.startsWith(name))
      const found = (async () => {
        for (;;) {
          const lines = await shown()
          if (lines.length > 0) return lines
          await pause(300)
        }
      })()
      for (const line of await within(name, found)) assert.match(line, /instance_id="[^"]+"/)
    })
  }
}
