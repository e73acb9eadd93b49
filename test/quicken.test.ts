// What nodemailer does in its own way, and what it does not have to do, while a pool's connection sends mail of ours.

import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { attempt } from '../src/attempt.ts'
import { systemClock } from '../src/clock.ts'
import type { Message } from '../src/core/message.ts'
import { memoryStore, wrapTransport } from '../src/index.ts'
import { smtpServer } from '../src/testing.ts'
import { type InnerTransport, openTarget, type Target } from '../src/transporter.ts'
import { chance } from './chaos/fixtures/plan.ts'
import { MAJORS, type Nodemailer, silent } from './nodemailers.ts'

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one()
})

/** Of nodemailer's, as far as it is looked at here. */
interface Connection {
  readonly _socket: Socket
  _createSendStream(callback: unknown): unknown
  _setEnvelope(envelope: unknown, callback: unknown): void
  _sendRcpt(recipient: string, callback: unknown): void
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
  return { transporter, target: openTarget(transporter), first, send }
}

function mail(subject: string, size: number) {
  return { from: 'me@here.test', to: 'you@there.test', subject, text: dots(size) }
}

/** So many lines of it. */
function dots(size: number): string {
  return '.\r\n'.repeat(size)
}

const ACCEPTED = { status: 'accepted', tries: 1 }

describe.each(MAJORS)('nodemailer $major', ({ major, nodemailer }) => {
  it.each([
    ['', {}, { small: 0, large: 1, own: 2 }],
    [', but with a logger', { logger: silent() }, { small: 3, large: 4, own: 5 }],
    [', but with debug', { logger: silent(), debug: true }, { small: 3, large: 4, own: 5 }],
  ])('makes no stream for a small body of ours%s', async (_, options, wanted) => {
    const server = await smtpServer()
    undo.push(() => server.close())
    const { transporter, first, send } = wrapped(nodemailer, server.port, options)
    const prototype = Object.getPrototypeOf(await first()) as Connection
    const made = { streams: 0, envelopes: 0 }
    const { _createSendStream: createSendStream, _setEnvelope: setEnvelope } = prototype
    undo.push(() => {
      prototype._createSendStream = createSendStream
      prototype._setEnvelope = setEnvelope
    })
    prototype._createSendStream = function (callback) {
      made.streams++
      return createSendStream.call(this, callback)
    }
    prototype._setEnvelope = function (envelope, callback) {
      made.envelopes++
      setEnvelope.call(this, envelope, callback)
    }
    for (const subject of ['one', 'two', 'three']) expect(await send(subject)).toEqual(ACCEPTED)
    expect(made).toEqual({ streams: wanted.small, envelopes: major < 10 ? 3 : wanted.small })
    expect(await send('a large one', 20_000)).toEqual(ACCEPTED)
    expect(made.streams).toBe(wanted.large)
    await transporter.sendMail(mail("nodemailer's own", 10))
    expect(made.streams).toBe(wanted.own)
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

  it.each([
    ['a pool', { pool: true }],
    ['a pool with a logger', { pool: true, logger: silent() }],
    ['no pool', {}],
  ])('a reply before the body accepts nothing, over %s', async (_, options) => {
    let connections = 0
    const bodies: string[] = []
    const server = createServer((socket) => {
      const isFirst = ++connections === 1
      let pending = ''
      let inBody = false
      socket.on('error', () => socket.destroy())
      socket.write('220 here\r\n')
      socket.on('data', (chunk) => {
        pending += chunk
        for (let end = 0; end >= 0; ) {
          end = pending.indexOf(inBody ? '\r\n.\r\n' : '\r\n')
          if (end < 0) return
          const said = pending.slice(0, end)
          pending = pending.slice(end + (inBody ? 5 : 2))
          if (inBody) bodies.push(said)
          inBody = said === 'DATA'
          socket.write(
            inBody ? '354 Go\r\n' : said.startsWith('EHLO') ? '250-here\r\n250 PIPELINING\r\n' : '250 Ok\r\n',
          )
          if (inBody && isFirst) setImmediate(() => socket.write('250 Early\r\n'))
        }
      })
    })
    undo.push(() => server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as { port: number }
    const transporter = nodemailer.createTransport({
      ...{ host: '127.0.0.1', port, ignoreTLS: true, maxConnections: 1 },
      ...options,
    })
    const target = openTarget(transporter)
    undo.push(async () => {
      await target.close()
      transporter.close()
    })
    const early = await attemptTo(target, ['you@there.test'], () => new Promise(() => {}))
    expect(early).toMatchObject({ gated: false, aborted: false, resends: 0 })
    expect(early.outcomes).toMatchObject([
      { accepted: false, uncertain: false, reply: { errno: 'EPROTOCOL', phase: 'data' } },
    ])
    expect((await attemptTo(target, ['you@there.test'])).outcomes).toMatchObject([{ accepted: true }])
    expect(connections).toBe(2)
    expect(bodies).toHaveLength(1)
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

// nodemailer 7 takes all that comes for latin1
it.each(MAJORS.filter(({ major }) => major > 7))(
  'nodemailer $major: hears a refusal in whatever script',
  async ({ nodemailer }) => {
    const text = '550 5.1.1 用户不存在'
    const server = await talker(() => {}, text)
    const { target } = wrapped(nodemailer, server.port)
    const { outcomes } = await attemptTo(target, ['you@there.test'])
    expect(outcomes).toMatchObject([{ accepted: false, reply: { text, phase: 'rcpt' } }])
  },
)

it("gives a socket whose write is somebody else's what stays as it is", async () => {
  const { nodemailer } = MAJORS[3] as (typeof MAJORS)[number]
  const server = await smtpServer()
  undo.push(() => server.close())
  const { first, send } = wrapped(nodemailer, server.port)
  const { _socket: socket } = await first()
  const kept: Uint8Array[] = []
  const { write } = socket
  socket.write = ((chunk: Uint8Array, ...more: never[]) => {
    kept.push(chunk)
    return write.call(socket, chunk, ...more)
  }) as Socket['write']
  for (const subject of ['one', 'two']) expect(await send(subject)).toEqual(ACCEPTED)
  const subjects = kept.flatMap((chunk) => /^Subject: (.*)$/m.exec(String(chunk))?.[1]?.trim() ?? [])
  expect(subjects).toEqual(['one', 'two'])
})

it('takes a connection that speaks in a way of its own for lost, and nobody for refused', async () => {
  const { nodemailer } = MAJORS[3] as (typeof MAJORS)[number]
  const server = await smtpServer({
    script: { on: 'rcpt', to: 'no@there.test', times: 1, answer: '550 5.1.1 No' },
  })
  undo.push(() => server.close())
  const { first, target } = wrapped(nodemailer, server.port)
  const prototype = Object.getPrototypeOf(await first()) as Connection
  const { _sendRcpt: sendRcpt } = prototype
  undo.push(() => {
    prototype._sendRcpt = sendRcpt
  })
  prototype._sendRcpt = function (recipient, callback) {
    sendRcpt.call(this, `rewritten.${recipient}`, callback)
  }
  const result = await attemptTo(target, ['no@there.test', 'yes@there.test'])
  expect(result.outcomes).toMatchObject([
    { accepted: false, uncertain: false, reply: { errno: 'ECONNECTION' } },
    { accepted: false, uncertain: false, reply: { errno: 'ECONNECTION' } },
  ])
  expect(result.outcomes.map(({ reply }) => reply.code)).toEqual([undefined, undefined])
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

describe.concurrent.each(MAJORS)('nodemailer $major, whatever a server says', ({ major, nodemailer }) => {
  it.each(Array.from({ length: SEEDS }, (_, n) => n + 1))(
    'comes to the same as without: seed %i',
    async (seed) => {
      const trials = Array.from({ length: 12 }, (_, n) => scriptOf(chance(1_000 * seed + 100 * major + n)))
      await Promise.all(
        trials.map(async (script) => {
          const quick = await played(nodemailer, script, {})
          const plain = await played(nodemailer, script, { logger: silent() })
          expect(quick, JSON.stringify(script)).toEqual(plain)
        }),
      )
    },
  )
})

const SEEDS = 4

/** What a server does with the messages of a connection, one after another. */
interface Script {
  readonly recipients: number
  /** By command of the envelope, then the final dot; `drop` ends the connection instead. */
  readonly replies: readonly (readonly string[])[]
  /** Whether the replies to what came together go together. */
  readonly together: boolean
  readonly offersPipelining: boolean
}

const YES = { mail: '250 Ok', rcpt: '250 2.1.5 Ok', data: '354 Go', dot: '250 2.0.0 Queued as 1' }
const NO = [
  ...['421 4.7.0 Try again later', '450 4.2.0 Greylisted', '451 4.3.0 Busy', '452 4.2.2 Full'],
  ...[
    '550 5.1.1 No such user',
    '554 5.7.1 Spam',
    '503 5.5.1 What?',
    '550-5.7.1 Line one\r\n550 5.7.1 Line two',
  ],
  '550 5.1.1 用户不存在',
  ...['drop', '354 Go', '250 Ok', 'nonsense', '250-half'],
]

function scriptOf(random: () => number): Script {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T
  const recipients = pick([1, 1, 2, 3])
  const replies = Array.from({ length: 4 }, () => {
    const yes = [YES.mail, ...Array(recipients).fill(YES.rcpt), YES.data, YES.dot] as string[]
    const wrong = Math.floor(random() * 3)
    for (let n = 0; n < wrong; n++) yes[Math.floor(random() * yes.length)] = pick(NO)
    return yes
  })
  return { recipients, replies, together: random() < 0.5, offersPipelining: random() < 0.8 }
}

/** What four messages over one pool come to, and the bodies that the server got. */
async function played(nodemailer: Nodemailer, script: Script, options: object) {
  const bodies: string[] = []
  let message = 0
  const server = createServer((socket) => {
    let step = -1
    let inBody = false
    let pending = ''
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      if (step >= 0) message++
      step = -1
    })
    const reply = () => script.replies[message % 4]?.[step] ?? '250 Ok'
    const say = (answers: string[]) => {
      for (const [at, answer] of answers.entries()) {
        if (answer === 'drop' || answer.startsWith('250-half')) {
          socket.end(answers.slice(0, at + (answer === 'drop' ? 0 : 1)).join(''))
          return
        }
      }
      if (script.together) socket.write(answers.join(''))
      else for (const answer of answers) socket.write(answer)
    }
    const line = (answer: string) => (answer === 'drop' ? answer : `${answer}\r\n`)
    socket.write('220 here\r\n')
    socket.on('data', (chunk) => {
      pending += chunk.toString('latin1')
      const answers: string[] = []
      for (;;) {
        // some go on after a 250 to DATA, nodemailer as well, unless the recipients were refused
        if (inBody && pending.startsWith('RSET\r\n')) inBody = false
        if (inBody) {
          const end = pending.startsWith('.\r\n') ? 0 : pending.indexOf('\r\n.\r\n')
          if (end < 0) break
          bodies.push(`${message}: ${end} octets`)
          pending = pending.slice(end === 0 ? 3 : end + 5)
          inBody = false
          step = script.recipients + 2
          answers.push(line(reply()))
          step = -1
          message++
          continue
        }
        const end = pending.indexOf('\r\n')
        if (end < 0) break
        const command = pending.slice(0, end)
        pending = pending.slice(end + 2)
        if (command.startsWith('EHLO')) {
          answers.push(script.offersPipelining ? '250-here\r\n250 PIPELINING\r\n' : '250 here\r\n')
          continue
        }
        if (/^(MAIL|RCPT|DATA)/.test(command)) {
          step++
          const answer = reply()
          answers.push(line(answer))
          inBody = command === 'DATA' && /^[23]\d\d /.test(answer)
          continue
        }
        answers.push('250 Ok\r\n') // RSET, QUIT
        if (step >= 0) message++
        step = -1
      }
      if (answers.length > 0) say(answers)
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  const transporter = nodemailer.createTransport({
    host: '127.0.0.1',
    port,
    pool: true,
    maxConnections: 1,
    maxRequeues: 0,
    ignoreTLS: true,
    ...options,
  })
  const target = openTarget(transporter)
  const results: unknown[] = []
  for (let n = 0; n < 4; n++) {
    const to = Array.from({ length: script.recipients }, (_, at) => `u${at}@there.test`)
    const result = await attemptTo(target, to)
    // without a code it is a lost connection: nodemailer forgets what it had not come to, we do not
    const outcomes = result.outcomes.map(({ reply, ...one }) => {
      return reply.code === undefined ? { ...one, errno: reply.errno, text: reply.text } : { ...one, reply }
    })
    results.push({ ...result, outcomes, durationMs: 0 })
  }
  await target.close()
  transporter.close()
  server.close()
  return { results, bodies }
}

function attemptTo(target: Target, recipients: string[], gate: () => void | Promise<void> = () => {}) {
  return attempt(target, { message: FROZEN, bytes: BYTES, recipients, timeoutMs: 10_000, gate }, systemClock)
}

const BYTES = Buffer.from('Subject: x\r\nMessage-ID: <1@here.test>\r\n\r\n.\r\n..\r\nHello\r\n')
const FROZEN: Message = {
  id: 'm1',
  messageId: '<1@here.test>',
  from: 'me@here.test',
  fromDomain: 'here.test',
  size: BYTES.length,
  priority: 1,
  createdAt: 0,
  expiresAt: 1,
  recipients: 1,
  wire: {},
}

/** Takes all mail, with the replies to an envelope in one segment; `also` says what else. */
async function talker(also: (data: string, say: (text: string) => void) => void, rcpt = '250 Ok') {
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
            ? rcpt.startsWith('2')
              ? '354 Go\r\n'
              : '554 5.5.1 No recipients\r\n'
            : `${command.startsWith('RCPT') ? rcpt : '250 Ok'}\r\n`
        inBody &&= rcpt.startsWith('2')
      }
      socket.write(replies)
    })
  })
  undo.push(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  return { port, connections: () => connections }
}
