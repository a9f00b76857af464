// REST as a client sees it: one connection for each request, to any node, from an address of its own.

import assert from 'node:assert/strict'
import { request as open } from 'node:http'
import { request as openSecurely } from 'node:https'

import { anyNode, nodes, ownAddress } from './environment.mjs'

const DEADLINE_MS = 20_000
export const API = '/api/v1'

/**
 * Sends a request and gives the whole answer. `body` is sent as it is, `json` and `form` as their kinds;
 * `announced` claims a length and sends no body; `token` is a bearer's.
 */
export function send(method, path, options = {}) {
  const { node = anyNode(options.among ?? nodes), from = ownAddress(), token, json, form, announced } = options
  const headers = { ...options.headers }
  let { body } = options
  if (token !== undefined) headers.authorization = `Bearer ${token}`
  if (json !== undefined) {
    body = JSON.stringify(json)
    headers['content-type'] ??= 'application/json'
  } else if (form !== undefined) {
    body = new URLSearchParams(form).toString()
    headers['content-type'] ??= 'application/x-www-form-urlencoded'
  }
  if (announced !== undefined) headers['content-length'] = announced
  else if (body !== undefined) headers['content-length'] = Buffer.byteLength(body)
  const url = new URL(node + path)
  const start = url.protocol === 'https:' ? openSecurely : open
  return new Promise((resolve, reject) => {
    const asked = start(url, { method, headers, agent: false, localAddress: from, timeout: DEADLINE_MS })
    asked.once('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer within ${DEADLINE_MS} ms`)))
    asked.once('error', reject)
    asked.once('response', response => {
      // A server that refuses a body need not read it.
      asked.off('error', reject)
      asked.on('error', () => {})
      const chunks = []
      response.on('data', chunk => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode, headers: response.headers, text, node, what: `${method} ${path}` })
        asked.destroy()
      })
    })
    if (announced !== undefined) asked.flushHeaders()
    else asked.end(body)
  })
}

/** The body as JSON; fails with the whole answer if it is none. */
export function bodyOf(answer) {
  try {
    return JSON.parse(answer.text)
  } catch {
    throw new Error(`${answer.what}: ${answer.status} without JSON: ${answer.text.slice(0, 300)}`)
  }
}

/** Checks status and body of an answer, and its content type. */
export function answers(answer, status, body) {
  assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8', answer.what)
  assert.deepEqual([answer.status, bodyOf(answer)], [status, body], answer.what)
}

/** The error envelope of 1.2; without `code` that of `/email`. */
export function refuses(answer, status, message, code) {
  answers(answer, status, { success: false, message, ...(code && { code }) })
}

/** Gives the body of a success. */
export function succeeds(answer, message) {
  const body = bodyOf(answer)
  assert.equal(answer.status, 200, `${answer.what}: ${answer.text.slice(0, 300)}`)
  assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8', answer.what)
  assert.equal(body.success, true, answer.what)
  assert.equal(body.message, message, answer.what)
  return body
}
