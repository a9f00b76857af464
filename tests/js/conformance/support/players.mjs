// Players as REST makes them, their mails, and tokens as the existing server signs them.

import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'

import { jwtSecret, mailbox } from './environment.mjs'
import { API, bodyOf, send, succeeds } from './http.mjs'

export const NANOID = /^[A-Za-z0-9_-]{21}$/
/** An id that nobody has. */
export const NOBODY = 'AAAAAAAAAAAAAAAAAAAAA'
const MAIL_DEADLINE_MS = 10_000

export const nanoid = () => randomBytes(16).toString('base64url').slice(0, 21)

/** A new guest's `data`. */
export async function guest(options) {
  return bodyOf(await send('POST', `${API}/auth/create-guest`, options)).data
}

export const newAddress = () => `p${randomBytes(8).toString('hex')}@conformance.example`

/** All mails to an address, once there are so many. */
export async function mailsTo(address, count = 1) {
  const deadline = Date.now() + MAIL_DEADLINE_MS
  for (;;) {
    const answer = await send('GET', `/${encodeURIComponent(address)}`, { node: mailbox })
    const mails = bodyOf(answer)
    if (mails.length >= count) return mails
    if (Date.now() > deadline)
      throw new Error(`${mails.length} of ${count} mails to ${address} within ${MAIL_DEADLINE_MS} ms`)
    await new Promise(resolve => setTimeout(resolve, 30))
  }
}

/** Asks for a code and reads it in the mail. */
export async function codeFor(email, purpose, playerId, options = {}) {
  const asked = await send('POST', `${API}/email/send-verification-code`, {
    json: { email, purpose, playerId },
    ...options,
  })
  succeeds(asked, '验证码已发送，请查收邮件')
  return codeIn((await mailsTo(email)).at(-1))
}

export function codeIn(mail) {
  const found = /(?<![0-9])[0-9]{6}(?![0-9])/.exec(mail.parts['text/plain'])
  assert.ok(found, 'the mail has a code of six digits')
  return found[0]
}

/** A player whose address is bound: `{id, email, bound}`, with the answer of `/email/bind`. */
export async function registered({ email = newAddress() } = {}) {
  const { playerId: id } = await guest()
  const code = await codeFor(email, 'bind', id)
  const bound = succeeds(
    await send('POST', `${API}/email/bind`, { json: { email, code, playerId: id } }),
    '邮箱绑定成功',
  )
  return { id, email, bound, ...bound.auth }
}

const encode = value => Buffer.from(JSON.stringify(value)).toString('base64url')

/** An HS256 token of these claims, as any JWT library makes it. */
export function sign(claims, secret = jwtSecret, header = { alg: 'HS256', typ: 'JWT' }) {
  const signed = `${encode(header)}.${encode(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

export const now = () => Math.floor(Date.now() / 1000)

/** Claims of an access token as the existing server writes them (2.1). */
export function claimsOf(playerId, more = {}) {
  return { playerId, isRegistered: false, jti: nanoid(), iat: now(), exp: now() + 3600, ...more }
}

/** What a token says, unchecked. */
export const read = token => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString())
