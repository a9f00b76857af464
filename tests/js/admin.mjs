// An admin of a cluster: a player whose address is in ADMIN_EMAILS, proved by a code from a real mail relay.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { createGuest } from './server.mjs'

const EMAIL = 'ann@game.example'
const DEADLINE_MS = 60_000

/** Starts the relay; gives what a node must be told, and a function that registers the admin there. */
export async function startAdmin() {
  const folder = fileURLToPath(new URL('../py/', import.meta.url))
  const relay = spawn(`${folder}.venv/bin/python`, ['-B', 'relay.py'], { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] })
  let told = () => {}
  const lines = []
  createInterface({ input: relay.stdout }).on('line', line => (lines.push(line), told()))
  const line = async wanted => {
    const deadline = Date.now() + DEADLINE_MS
    for (;;) {
      const found = lines.findIndex(wanted)
      if (found >= 0) return lines.splice(found, 1)[0]
      if (Date.now() > deadline) throw new Error('the relay says nothing')
      await Promise.race([new Promise(resolve => (told = resolve)), new Promise(resolve => setTimeout(resolve, 1_000))])
    }
  }
  const port = (await line(text => text.startsWith('PORT '))).slice('PORT '.length)
  const env = {
    ADMIN_EMAILS: EMAIL,
    EMAIL_PROVIDER: 'smtp',
    RATE_LIMIT_EMAIL: '0',
    SMTP_HOST: '127.0.0.1',
    SMTP_PORT: port,
  }
  const register = async url => {
    const { playerId } = await createGuest(url)
    const asked = { email: EMAIL, playerId }
    await post(`${url}/api/v1/email/send-verification-code`, { ...asked, purpose: 'bind' })
    const mail = JSON.parse(await line(text => text.startsWith('{')))
    const code = mail.parts['text/plain'].match(/\b\d{6}\b/)[0]
    const bound = await post(`${url}/api/v1/email/bind`, { ...asked, code })
    return bound.auth.accessToken
  }
  return { env, register, stop: async () => relay.stdin.end() }
}

async function post(url, body) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
  return await answer.json()
}

/** Announces as an admin; gives the status. */
export async function announce(url, token, body) {
  const answer = await fetch(`${url}/api/v1/cluster/announce`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  })
  return answer.status
}
