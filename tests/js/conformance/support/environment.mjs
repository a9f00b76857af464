// What the suite is told about the server under test, and what it may therefore ask of it.
//
// Only BASE_URL is needed. Whatever else a test needs and is not given skips that test, with a reason.

import { createServer, isIP } from 'node:net'

const { env } = process
const list = text =>
  (text ?? '')
    .split(',')
    .map(url => url.trim().replace(/\/+$/, ''))
    .filter(Boolean)

/** Base URLs of the nodes under test. */
export const nodes = list(env.BASE_URL)
if (nodes.length === 0)
  throw new Error('set BASE_URL to the base URL of the server, or of its nodes with commas between')

/** Nodes of another cluster of the same server, whose clocks are short. */
export const quickNodes = list(env.QUICK_URL)
/** Seconds that the quick nodes give a player to come back. */
export const quickGrace = Number(env.QUICK_GRACE ?? 0)
/** Whether the quick nodes run with CLUSTER_ENABLED=false. */
export const quickAlone = env.QUICK_CLUSTER === 'off'
/** Process ids of the nodes, in their order; whoever owns them starts a node again that ends. */
export const processes = list(env.NODE_PIDS).map(Number)

export const jwtSecret = env.JWT_SECRET
/** Answers `GET <url>/<address>` with the mails to that address, as JSON. */
export const mailbox = list(env.MAILBOX_URL)[0]
export const adminEmail = env.ADMIN_EMAIL
export const allowedOrigin = env.ALLOWED_ORIGIN ?? 'http://localhost:5173'
export const rateLimits = { auth: Number(env.RATE_LIMIT_AUTH ?? 50), email: Number(env.RATE_LIMIT_EMAIL ?? 20) }
/** Whether BASE_URL serves battle reports. */
export const reports = env.REPORTS === 'on'
/** Whether BASE_URL serves its API documentation. */
const apiDocs = env.API_DOCS === 'on'

/** Numbers in [0, 1) from a seed that is printed. */
export const seed = env.SEED ? Number(env.SEED) >>> 0 : Math.floor(Math.random() * 2 ** 32)
let state = seed
export function random() {
  state = (state + 0x6d2b79f5) >>> 0
  let mixed = Math.imul(state ^ (state >>> 15), state | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

export const pick = list => list[Math.floor(random() * list.length)]

/** Any of the nodes; of two that must differ, the second is any but the first. */
export const anyNode = (among = nodes, but) => pick(among.length > 1 ? among.filter(node => node !== but) : among)

/** Whether requests can come from addresses of their own: on Linux every 127.x.y.z is this machine. */
const loopback = new URL(nodes[0]).hostname === '127.0.0.1'
export const manyAddresses =
  loopback &&
  (await new Promise(resolve => {
    const probe = createServer().once('error', () => resolve(false))
    probe.listen(0, '127.45.67.89', () => probe.close(() => resolve(true)))
  }))

/** An address that nobody else sends from; nothing where there is only one. */
export function ownAddress() {
  if (!manyAddresses) return undefined
  const byte = () => 1 + Math.floor(random() * 254)
  const address = `127.${byte()}.${byte()}.${byte()}`
  return isIP(address) ? address : undefined
}

const ADDRESSES = 'counts what one address sends, and so needs a server on 127.0.0.1 and Linux'
/** Why a test can't run here, or false. */
export const without = {
  admin:
    !(adminEmail && mailbox) && 'needs an admin: set ADMIN_EMAIL as in the ADMIN_EMAILS of the server, and MAILBOX_URL',
  rates:
    (!manyAddresses && ADDRESSES) ||
    (!(rateLimits.auth && rateLimits.email) &&
      'this server has no rate limits: RATE_LIMIT_AUTH or RATE_LIMIT_EMAIL is 0'),
  apiDocs: !apiDocs && 'this server has no API documentation: set API_DOCS=on where there is',
  mailbox: !mailbox && 'reads a code in a mailbox: set MAILBOX_URL',
  quick: quickNodes.length === 0 && 'waits for clocks to run out: set QUICK_URL to nodes with short ones',
  quickAlone: !quickAlone && 'is about CLUSTER_ENABLED=false: set QUICK_URL to such a node, and QUICK_CLUSTER=off',
  quickGrace:
    !(quickNodes.length > 0 && quickGrace > 0) &&
    'waits for the grace to end: set QUICK_URL, and QUICK_GRACE to its seconds',
  reports: !reports && 'battle reports are off at this server: set REPORTS=on where they are on',
  restarts:
    !(processes.length > 1) && 'ends nodes that somebody starts again: set NODE_PIDS to the processes of several nodes',
  secret: !jwtSecret && 'signs tokens: set JWT_SECRET to that of the server',
  secretAndMailbox:
    !(jwtSecret && mailbox) && 'needs a registered player and forged tokens: set JWT_SECRET and MAILBOX_URL',
  several: nodes.length < 2 && 'is about several nodes: give BASE_URL more than one',
}
