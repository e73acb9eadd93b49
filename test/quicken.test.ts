// What nodemailer does in its own way, and what it does not have to do, while a pool's connection sends mail of ours.

import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { memoryStore, wrapTransport } from '../src/index.ts'
import { smtpServer } from '../src/testing.ts'
import type { InnerTransport } from '../src/transporter.ts'
import { MAJORS, type Nodemailer } from './nodemailers.ts'

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one()
})

/** Of nodemailer's, as far as it is looked at here. */
interface Connection {
  readonly _socket: Socket
  _createSendStream(callback: unknown): unknown
}

function wrapped(nodemailer: Nodemailer, port: number, options: object = {}) {
  const transporter = nodemailer.createTransport({
    host: '127.0.0.1',
    port,
    pool: true,
    maxConnections: 1,
    ignoreTLS: true,
    ...options,
  })
  const mailer = wrapTransport(transporter as never, { store: memoryStore() })
  undo.push(async () => {
    await mailer.close()
    transporter.close()
  })
  const first = async (): Promise<Connection> => {
    await transporter.sendMail(mail('the first', 10))
    const { _connections: connections } = transporter.transporter as InnerTransport
    const [resource] = connections as [{ connection: Connection }]
    return resource.connection
  }
  const send = async (subject: string, size = 10) => {
    const outcome = await (await mailer.sendWithRetry(mail(subject, size))).settled()
    return { status: outcome.status, tries: outcome.recipients[0]?.history.length }
  }
  return { transporter, first, send }
}

function mail(subject: string, size: number) {
  return { from: 'me@here.test', to: 'you@there.test', subject, text: dots(size) }
}

/** So many lines of it. */
function dots(size: number): string {
  return '.\r\n'.repeat(size)
}

const ACCEPTED = { status: 'accepted', tries: 1 }

describe.each(MAJORS)('nodemailer $major', ({ nodemailer }) => {
  it.each([
    ['', {}, { small: 0, large: 1, own: 2 }],
    [', but with a logger', { logger: silent() }, { small: 3, large: 4, own: 5 }],
    [', but with debug', { logger: silent(), debug: true }, { small: 3, large: 4, own: 5 }],
  ])('makes no stream for a small body of ours%s', async (_, options, wanted) => {
    const server = await smtpServer()
    undo.push(() => server.close())
    const { transporter, first, send } = wrapped(nodemailer, server.port, options)
    const prototype = Object.getPrototypeOf(await first()) as Connection
    const original = prototype._createSendStream
    undo.push(() => {
      prototype._createSendStream = original
    })
    let made = 0
    prototype._createSendStream = function (callback) {
      made++
      return original.call(this, callback)
    }
    for (const subject of ['one', 'two', 'three']) expect(await send(subject)).toEqual(ACCEPTED)
    expect(made).toBe(wanted.small)
    expect(await send('a large one', 20_000)).toEqual(ACCEPTED)
    expect(made).toBe(wanted.large)
    await transporter.sendMail(mail("nodemailer's own", 10))
    expect(made).toBe(wanted.own)
    expect(await send('the last')).toEqual(ACCEPTED)
    const arrived = server.messages.map(({ bytes }) => {
      const [head = '', text = ''] = String(bytes).split('\r\n\r\n')
      return [/^Subject: (.*)$/m.exec(head)?.[1]?.trim(), text]
    })
    expect(arrived).toEqual([
      ['the first', dots(10)],
      ['one', dots(10)],
      ['two', dots(10)],
      ['three', dots(10)],
      ['a large one', dots(20_000)],
      ["nodemailer's own", dots(10)],
      ['the last', dots(10)],
    ])
    expect(server.counts.connections).toBe(1)
  })

  it('goes on after a goodbye that came with the reply to a message', async () => {
    const server = await talker((data, say) => {
      if (data.endsWith('\r\n.\r\n')) say('250 Ok\r\n421 4.3.2 Enough\r\n')
    })
    const { send } = wrapped(nodemailer, server.port)
    expect(await send('one')).toEqual(ACCEPTED)
    expect(await send('two')).toEqual(ACCEPTED)
    expect(server.connections()).toBe(2)
  })
})

it('reads replies that come together in one turn of the event loop', async () => {
  const { nodemailer } = MAJORS[3] as (typeof MAJORS)[number] // the others wait before DATA
  const server = await talker(() => {})
  const { first, send } = wrapped(nodemailer, server.port)
  const { _socket: socket } = await first()
  const written: number[] = []
  socket.on('data', (chunk) => {
    if (String(chunk).startsWith('250 Ok\r\n250 Ok\r\n354')) written.push(socket.bytesWritten)
  })
  const before = socket.bytesWritten
  expect(await send('one', 4_000)).toEqual(ACCEPTED)
  expect(written).toHaveLength(1)
  expect((written[0] as number) - before).toBeGreaterThan(4_000)
})

/** Takes all mail, with the replies to an envelope in one segment; `also` says what else. */
async function talker(also: (data: string, say: (text: string) => void) => void) {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    let inBody = false
    socket.on('error', () => socket.destroy())
    socket.write('220 here\r\n')
    socket.on('data', (chunk) => {
      const data = String(chunk)
      let replies = ''
      if (inBody) {
        if (!data.endsWith('\r\n.\r\n')) return
        inBody = false
        let said = false
        also(data, (text) => {
          said = true
          socket.end(text)
        })
        if (!said) socket.write('250 Ok\r\n')
        return
      }
      for (const command of data.split('\r\n').slice(0, -1)) {
        inBody = command === 'DATA'
        replies += command.startsWith('EHLO')
          ? '250-here\r\n250 PIPELINING\r\n'
          : inBody
            ? '354 Go\r\n'
            : '250 Ok\r\n'
      }
      socket.write(replies)
    })
  })
  undo.push(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  return { port, connections: () => connections }
}

function silent() {
  const log = () => {}
  return { trace: log, debug: log, info: log, warn: log, error: log, fatal: log }
}
