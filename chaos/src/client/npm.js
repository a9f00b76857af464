// Sockets of the official client. What is said and heard goes through lines: a socket's number, a space, and the frame
// that it is on the wire, or one of these: `open {…}`, `cut`, `gone …`.

const { createInterface } = require('node:readline')
const { io } = require('socket.io-client')

const sockets = new Map()

function say(number, text) {
  process.stdout.write(`${number} ${text}\n`)
}

function open(number, { url, query, auth, localAddress }) {
  const socket = io(url, {
    query,
    auth,
    localAddress,
    transports: ['websocket'],
    forceNew: true,
    // Whoever is cut off goes on at another node.
    reconnection: false,
  })
  sockets.set(number, socket)
  const gone = why => {
    if (sockets.delete(number)) say(number, `gone ${why}`)
  }
  socket.on('connect', () => say(number, `40${JSON.stringify({ sid: socket.id })}`))
  socket.on('connect_error', error => {
    const isRefused = error.type !== 'TransportError' && error.message !== 'timeout'
    if (isRefused) say(number, `44${JSON.stringify({ message: error.message })}`)
    gone(error.message)
    socket.disconnect()
  })
  socket.on('disconnect', reason => {
    if (reason === 'io server disconnect') say(number, '41')
    gone(reason)
  })
  socket.onAny((name, ...args) => say(number, `42${JSON.stringify([name, ...args])}`))
}

function emit(number, text) {
  const [, id, args] = /^42(\d*)(.*)$/s.exec(text)
  const answered = id === '' ? [] : [answer => say(number, `43${id}${JSON.stringify([answer])}`)]
  sockets.get(number)?.emit(...JSON.parse(args), ...answered)
}

/** Ends a connection without a word. */
function cut(number) {
  const socket = sockets.get(number)
  sockets.delete(number)
  socket?.io.engine?.transport?.ws?.terminate?.()
  socket?.disconnect()
}

createInterface({ input: process.stdin })
  .on('line', line => {
    const at = line.indexOf(' ')
    const [number, text] = [line.slice(0, at), line.slice(at + 1)]
    if (text.startsWith('open ')) open(number, JSON.parse(text.slice('open '.length)))
    else if (text === 'cut') cut(number)
    else if (text === '41') sockets.get(number)?.disconnect()
    else if (text.startsWith('42')) emit(number, text)
  })
  // Whoever began this is gone.
  .on('close', () => process.exit())
