// A fast SMTP sink in a process of its own: says yes to everything, counts messages, nothing else.
// Run as a child; prints its port, then answers `count` on stdin with the number of messages so far. Its argument is how
// far away it is: ms from what is said to the answer.

import { createServer } from 'node:net'

const distance = Number(process.argv[2] ?? 0)
let messages = 0
const server = createServer((socket) => {
  socket.setNoDelay(true)
  let inBody = false
  let tail = ''
  socket.on('error', () => socket.destroy())
  socket.write('220 sink ESMTP\r\n')
  socket.on('data', (chunk) => {
    if (distance > 0) setTimeout(hear, distance, chunk)
    else hear(chunk)
  })
  function hear(chunk: Buffer): void {
    let text = chunk.toString('latin1')
    let out = ''
    while (text.length > 0) {
      if (inBody) {
        // the end may be split over chunks: the last characters are kept
        const all = tail + text
        const end = all.indexOf('\r\n.\r\n')
        if (end < 0) {
          tail = all.slice(-4)
          break
        }
        inBody = false
        tail = ''
        text = all.slice(end + 5)
        messages++
        out += '250 2.0.0 Ok: queued\r\n'
        continue
      }
      const end = text.indexOf('\n')
      if (end < 0) break
      const command = text.slice(0, 4).toUpperCase()
      text = text.slice(end + 1)
      if (command === 'EHLO')
        out += '250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8\r\n'
      else if (command === 'DATA') {
        out += '354 go on\r\n'
        inBody = true
        tail = '\r\n'
      } else if (command === 'QUIT') {
        socket.end(`${out}221 bye\r\n`)
        return
      } else out += '250 2.0.0 Ok\r\n'
    }
    if (out !== '') socket.write(out)
  }
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) process.stdout.write(`${address.port}\n`)
})
process.stdin.on('data', (line) => {
  if (line.toString().startsWith('count')) process.stdout.write(`${messages}\n`)
})
process.stdin.on('end', () => process.exit(0))
