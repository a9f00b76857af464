// A private server for a test file: the real binary on a free port with a temporary folder.
//
// SERVERV2_URL names a running one instead; else SERVERV2_BIN must name the binary.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const START_DEADLINE_MS = 20_000

/** Starts a server; gives its URL and a function that ends it. */
export async function startServer(env = {}) {
  if (process.env.SERVERV2_URL) {
    return { url: process.env.SERVERV2_URL, stop: async () => {} }
  }
  const binary = process.env.SERVERV2_BIN
  if (!binary) throw new Error('set SERVERV2_BIN to the server binary, or SERVERV2_URL to a running server')
  const folder = await mkdtemp(join(tmpdir(), 'serverv2-js-'))
  const child = spawn(binary, ['dev', '--port', '0', '--data-dir', folder], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log = []
  createInterface({ input: child.stderr }).on('line', line => log.push(line))
  const killed = () => child.kill('SIGKILL')
  process.once('exit', killed)
  const ended = new Promise(resolve => child.once('exit', resolve))
  const stop = async () => {
    process.off('exit', killed)
    child.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  const listening = new Promise(resolve => {
    createInterface({ input: child.stdout }).on('line', line => {
      log.push(line)
      if (line.startsWith('READY ')) resolve(JSON.parse(line.slice('READY '.length)).http)
    })
  })
  let timer
  const deadline = new Promise(resolve => (timer = setTimeout(resolve, START_DEADLINE_MS)))
  const url = await Promise.race([listening, ended, deadline])
  clearTimeout(timer)
  if (typeof url !== 'string') {
    await stop()
    throw new Error(`the server did not start:\n${log.join('\n')}`)
  }
  return { url, stop }
}

/** Makes a guest through REST. */
export async function createGuest(url) {
  const answer = await fetch(`${url}/api/v1/auth/create-guest`, { method: 'POST' })
  const body = await answer.json()
  if (!body.success) throw new Error(`no guest: ${JSON.stringify(body)}`)
  return body.data
}
