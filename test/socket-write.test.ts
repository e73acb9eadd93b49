// Bodies share the memory in which they are made ready for a socket: no message may ever show in another.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { afterEach, expect, test } from 'vitest'
import { memoryStore, wrapTransport } from '../src/index.ts'
import { writeTogether } from '../src/socket-write.ts'
import { smtpServer } from '../src/testing.ts'
import { MAJORS } from './nodemailers.ts'

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one()
})

test('what a socket could not take at once is still what it was when others have written', async () => {
  const received = new Map<number, Promise<string>>()
  const accepted: Socket[] = []
  const server = createServer((socket) => {
    accepted.push(socket) // nobody reads so far
    const hash = createHash('sha256')
    socket.on('data', (chunk) => hash.update(chunk)).pause()
    received.set(
      socket.remotePort as number,
      once(socket, 'end').then(() => hash.digest('hex')),
    )
  })
  undo.push(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  const sockets = await Promise.all(
    [0, 1, 2].map(async () => {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      return { socket, sent: createHash('sha256') }
    }),
  )
  while (accepted.length < sockets.length) await once(server, 'connection')
  let left = 0
  for (let n = 0; left < 300; n++) {
    for (const [at, { socket, sent }] of sockets.entries()) {
      const body = Buffer.alloc(1_000 + ((n * 7_919) % 30_000), `${n} of ${at}, `)
      writeTogether(socket, body, '\r\n.\r\n')
      sent.update(body).update('\r\n.\r\n')
      if (socket.writableLength > 0) left++
    }
  }
  for (const socket of accepted) socket.resume()
  for (const { socket, sent } of sockets) {
    const { localPort } = socket
    socket.end()
    expect(await received.get(localPort as number)).toBe(sent.digest('hex'))
  }
})

/** A socket as a proxy's client may give it: it says that it is done with a chunk, and reads it later. */
class Lazy extends Duplex {
  private readonly held: Buffer[] = []
  private readonly socket: Socket

  constructor(socket: Socket) {
    super()
    this.socket = socket
    socket.on('data', (chunk) => this.push(chunk)).on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error)).on('close', () => this.destroy())
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.held.push(chunk)
    setTimeout(() => this.socket.write(this.held.shift() as Buffer), 5)
    done()
  }

  override _final(done: () => void): void {
    this.socket.end()
    done()
  }

  setKeepAlive(): this {
    return this
  }

  setTimeout(): this {
    return this
  }
}

test.each(MAJORS)('nodemailer $major: each body arrives as it is', async ({ nodemailer }) => {
  const server = await smtpServer()
  undo.push(() => server.close())
  for (const way of ['sockets', 'sockets that are debugged', 'a stream of somebody else'] as const) {
    const transporter = nodemailer.createTransport({
      host: server.host,
      port: server.port,
      pool: true,
      maxConnections: 5,
      ignoreTLS: true,
      ...(way === 'sockets that are debugged' && { debug: true }),
      ...(way === 'a stream of somebody else' && {
        getSocket: (_: unknown, callback: (error: unknown, given?: object) => void) => {
          const socket = connect(server.port, server.host)
          socket.once('connect', () => callback(null, { connection: new Lazy(socket) }))
        },
      }),
    })
    const mailer = wrapTransport(transporter as never, {
      store: memoryStore(),
      policies: [{ name: 'fast', domains: ['*'], rate: '1000/s', burst: 1000, concurrency: 5 }],
    })
    undo.push(async () => {
      await mailer.close()
      transporter.close()
    })
    const from = server.messages.length
    const bodies = Array.from(
      { length: 40 },
      (_, n) => `.${n} of ${way}\r\n${`line ${n}\r\n..\r\n`.repeat(n * 5)}`,
    )
    const head = 'Message-ID: <1@here.test>\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n\r\n'
    await Promise.all(
      bodies.map((body, n) =>
        mailer.sendWithRetry({
          envelope: { from: 'me@here.test', to: `u${n}@d${n % 7}.test` },
          raw: Buffer.from(head + body),
        }),
      ),
    )
    await mailer.idle()
    const arrived = server.messages.slice(from).map(({ bytes }) => Buffer.from(bytes).toString('latin1'))
    expect(arrived.sort()).toEqual(bodies.map((body) => head + body).sort())
  }
})
