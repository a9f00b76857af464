// The wire contract, asked of a running server from outside: paragraph by paragraph, over HTTP and the
// official Socket.IO client. README.md says how to point it at a server and what that must be set to.
//
// A request goes to any of the nodes, and so does a new socket: SEED makes the same choices again, as far as
// the order of events allows.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, describe, test } from 'node:test'

import { seed } from './support/environment.mjs'
import { closeAll } from './support/socket.mjs'

const SECTIONS = [
  '1.1-http',
  '1.3-operations',
  '1.4-guards',
  '1.5-rates',
  '1.6-auth',
  '1.7-email',
  '1.8-sessions',
  '1.9-reports',
  '2-tokens',
  '3.1-transport',
  '3.2-handshake',
  '3.3-acknowledgements',
  '3.4-heartbeat',
  '3.5-events',
  '3.6-pushes',
  '3.8-sessions',
  '4-matchmaking',
  '5.1-teams',
  '5.3-selections',
  '5.5-views',
  '5.7-flow',
  '5.8-clocks',
  '9-email',
  'bodies',
]
/** Sections at once, and tests of each at once: most of them wait for something. */
const AT_ONCE = [8, 4]
const TIMEOUT_MS = 60_000
const CHECKLIST_ROWS = 27

console.log(`SEED=${seed}`)
after(closeAll)
const sections = await Promise.all(SECTIONS.map(async name => [name, await import(`./sections/${name}.mjs`)]))

const texts = await Promise.all(
  [...SECTIONS, 'restarts'].map(name => readFile(new URL(`sections/${name}.mjs`, import.meta.url), 'utf8')),
)
const everything = texts.join()

test('10 every row of the checklist has a test', () => {
  const rows = new Set(everything.match(/\(rows? [0-9, ]+\)/g).flatMap(title => title.match(/[0-9]+/g).map(Number)))
  const missing = Array.from({ length: CHECKLIST_ROWS }, (_, at) => at + 1).filter(row => !rows.has(row))
  assert.deepEqual(missing, [])
})

test('0.1 every test that docs/quirks.md names is here', async () => {
  const table = await readFile(new URL('../../../docs/quirks.md', import.meta.url), 'utf8')
  const named = [...table.matchAll(/`([0-9][^`]+)`/g)].map(([, name]) => name)
  assert.ok(named.length > 30)
  assert.deepEqual(
    named.filter(name => !everything.includes(name)),
    [],
  )
})

describe('contract', { concurrency: AT_ONCE[0], timeout: 10 * TIMEOUT_MS }, () => {
  for (const [name, { tests }] of sections) describe(name, { concurrency: AT_ONCE[1], timeout: TIMEOUT_MS }, tests)
})
// It ends the nodes, one after the other, so nothing else may run.
const { tests } = await import('./sections/restarts.mjs')
describe('restarts', tests)
