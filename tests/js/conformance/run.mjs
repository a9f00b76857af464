// Runs the suite: against the server that BASE_URL names, or else against one node and three of the
// binary in SERVERV2_BIN (NODES=3: only three). A failed run leaves its folder, with all logs, and says where.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { start } from './support/servers.mjs'

const SUITE = fileURLToPath(new URL('contract.test.mjs', import.meta.url))

/** Gives whether all tests passed. What is said is printed at once, or, beside another suite, in one piece at the end. */
async function suite(env, isAlone) {
  const args = ['--test', '--test-reporter=spec', ...process.argv.slice(2), SUITE]
  const stdio = isAlone ? 'inherit' : ['inherit', 'pipe', 'pipe']
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio })
  const said = []
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', data => said.push(data))
  const end = signal => child.kill(signal)
  process.on('SIGINT', end).on('SIGTERM', end)
  const code = await new Promise(resolve => child.once('close', resolve))
  process.stdout.write(Buffer.concat(said))
  process.off('SIGINT', end).off('SIGTERM', end)
  return code === 0
}

async function against(nodes, isAlone) {
  const binary = process.env.SERVERV2_BIN
  if (!binary) throw new Error('set SERVERV2_BIN to the server binary, or BASE_URL to a running server')
  const folder = await mkdtemp(join(tmpdir(), 'serverv2-conformance-'))
  const servers = await start({ binary, folder, nodes })
  const what = `${nodes} node${nodes > 1 ? 's' : ''}`
  console.log(`=== conformance against ${what}: ${servers.env.BASE_URL}`)
  let passed = false
  try {
    passed = await suite(servers.env, isAlone)
    console.log(`=== conformance against ${what} ${passed ? 'passed' : 'FAILED'}`)
  } finally {
    await servers.stop()
    if (passed) await rm(folder, { recursive: true, force: true })
    else console.log(`=== the logs of the servers are in ${folder}`)
  }
  return passed
}

const began = performance.now()
let passed
if (process.env.BASE_URL) {
  passed = await suite({}, true)
} else {
  const counts = (process.env.NODES ?? '1,3').split(',').map(Number)
  const all = await Promise.all(counts.map(nodes => against(nodes, counts.length === 1)))
  passed = all.every(Boolean)
}
console.log(`=== conformance ${passed ? 'passed' : 'FAILED'} after ${Math.round((performance.now() - began) / 1000)} s`)
process.exitCode = passed ? 0 : 1
