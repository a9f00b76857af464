// 9: codes and the mails that bring them.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { without } from '../support/environment.mjs'
import { API, refuses, send, succeeds } from '../support/http.mjs'
import { codeFor, codeIn, guest, mailsTo, newAddress, registered } from '../support/players.mjs'

const CODE_BAD = '验证码无效或已过期'
const bind = (email, code, playerId) => send('POST', `${API}/email/bind`, { json: { email, code, playerId } })

export function tests() {
  test('9 the mail: sender, subject, HTML and text with code and purpose', { skip: without.mailbox }, async () => {
    const { email } = await registered()
    const code = await codeFor(email, 'recover')
    const mails = await mailsTo(email, 2)
    const subjects = ['绑定邮箱验证码 - 阿卡迪亚永恒', '恢复玩家ID验证码 - 阿卡迪亚永恒']
    assert.deepEqual(
      mails.map(({ subject }) => subject),
      subjects,
    )
    for (const [mail, purpose] of [
      [mails[0], '绑定邮箱'],
      [mails[1], '恢复玩家ID'],
    ]) {
      assert.deepEqual(mail.from, { name: '阿卡迪亚永恒', address: 'noreply@yuuinih.com' })
      assert.equal(mail.to, email)
      for (const part of ['text/plain', 'text/html']) assert.ok(mail.parts[part].includes(purpose), part)
    }
    for (const part of ['text/plain', 'text/html']) assert.ok(mails[1].parts[part].includes(code), part)
  })

  test('9 a code is from 100000 to 999999', { skip: without.mailbox }, async () => {
    for (let times = 0; times < 5; times += 1) {
      const { playerId } = await guest()
      const code = await codeFor(newAddress(), 'bind', playerId)
      assert.ok(Number(code) >= 100_000 && Number(code) <= 999_999, code)
    }
  })

  test('9 a code is for one purpose and one address, taken exactly', { skip: without.mailbox }, async () => {
    const { playerId } = await guest()
    const email = newAddress()
    const code = await codeFor(email, 'bind', playerId)
    refuses(await send('POST', `${API}/email/recover`, { json: { email, code } }), 400, CODE_BAD)
    refuses(await bind(email.toUpperCase(), code, playerId), 400, CODE_BAD)
    refuses(await bind(newAddress(), code, playerId), 400, CODE_BAD)
    succeeds(await bind(email, code, playerId), '邮箱绑定成功')
  })

  test('9 a code is not tied to the player who asked for it', { skip: without.mailbox }, async () => {
    const [{ playerId: asked }, { playerId: other }] = [await guest(), await guest()]
    const email = newAddress()
    const code = await codeFor(email, 'bind', asked)
    assert.equal(succeeds(await bind(email, code, other), '邮箱绑定成功').player.id, other)
  })

  test('9 wrong tries are limited: afterwards not even the code is good', { skip: without.mailbox }, async () => {
    const { playerId } = await guest()
    const email = newAddress()
    const code = await codeFor(email, 'bind', playerId)
    for (let tries = 0; tries < 10; tries += 1) {
      const wrong = String(100_000 + ((Number(code) - 100_000 + 1 + tries) % 900_000))
      refuses(await bind(email, wrong, playerId), 400, CODE_BAD)
    }
    refuses(await bind(email, code, playerId), 400, CODE_BAD)
  })

  test('9 mails are told apart by their codes', { skip: without.mailbox }, async () => {
    const codes = new Set()
    for (let times = 0; times < 3; times += 1) {
      const { playerId } = await guest()
      const email = newAddress()
      await codeFor(email, 'bind', playerId)
      codes.add(codeIn((await mailsTo(email))[0]))
    }
    assert.ok(codes.size > 1, 'three codes in a row are not all the same')
  })
}
