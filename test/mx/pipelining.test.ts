// The next message's envelope goes out behind the final dot (RFC 2920 §3.1), and is lost with nothing.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OwnAnswer } from '../../src/answer.ts'
import { maxMessagesPerConnection } from '../../src/testing/smtp-server.ts'
import { a } from './dns-server.ts'
import { type Answering, type Puppet, puppet } from './puppet.ts'
import { outcomes, type Sending, send, type World, world } from './world.ts'

let w: World
let server: Puppet

beforeEach(async () => {
  w = await world()
  w.domain('acme.test', 'mx1.test')
  w.dns.zone.set('mx1.test', [a('127.0.8.1')])
})

afterEach(async () => {
  await w.close()
  await server?.close()
})

const ENVELOPE = ['MAIL FROM:<a@us.test> SIZE=25', 'RCPT TO:<b@acme.test>', 'DATA', ''].join('\r\n')
const one = { hints: { concurrency: 1 } }

/** Two messages over one connection: the answer to the first one's dot is the test's to give. */
async function pair(
  answering: Answering = () => undefined,
  {
    first = {},
    second = {},
    ...more
  }: { first?: Partial<Sending>; second?: Partial<Sending> } & Options = {},
) {
  let dots = 0
  const holding: Answering = (line, session) => {
    const said = answering(line, session)
    return said ?? (line === '.' && ++dots === 1 ? 'hold' : undefined)
  }
  server = await puppet('127.0.8.1', holding, more.offers)
  const transport = w.transport({ port: server.port, ...more.options })
  const answers = [
    send(transport, { to: 'a@acme.test', ...one, ...first }),
    send(transport, { to: 'b@acme.test', ...one, ...second }),
  ] as const
  await server.heard('.')
  const session = server.sessions[0]
  if (!session) throw new Error('nobody came')
  return { transport, session, answers }
}

interface Options {
  readonly offers?: readonly string[]
  readonly options?: Parameters<World['transport']>[0]
}

const told = async (answers: readonly Promise<OwnAnswer>[]) => (await Promise.all(answers)).map(outcomes)
const along = () => server.sessions.flatMap(({ segments }) => segments).filter((s) => /\.\r\nMAIL/.test(s))

describe('a message that waits for the same hosts', () => {
  it('has its envelope behind the final dot of the one before, in one segment', async () => {
    const { session, answers } = await pair()
    expect(session.segments.at(-1)).toBe(`Subject: hello\r\n\r\nhello\r\n.\r\n${ENVELOPE}`)
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], ['accepted']])
    expect(server.sessions).toHaveLength(1)
  })

  it('has not to a server without PIPELINING', async () => {
    const { session, answers } = await pair(undefined, { offers: ['SIZE 100000'] })
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], ['accepted']])
    expect(along()).toEqual([])
    expect(session.segments.filter((segment) => /MAIL.*\r\nRCPT/s.test(segment))).toEqual([])
  })

  it('says there what it would say anywhere: size, 8 bits, UTF-8, DSN', async () => {
    const { session, answers } = await pair(undefined, {
      second: { to: 'дима@acme.test', body: 'Subject: ä\r\n\r\nä\r\n', dsn: { id: '7', notify: 'never' } },
    })
    expect(Buffer.from(session.segments.at(-1) ?? '', 'latin1').toString()).toMatch(
      /\.\r\nMAIL FROM:<a@us.test> SIZE=19 BODY=8BITMIME SMTPUTF8 ENVID=7\r\nRCPT TO:<дима@acme.test> NOTIFY=NEVER\r\nDATA\r\n$/,
    )
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], ['accepted']])
  })

  it.each([
    ['is too large for the server', { body: Buffer.alloc(200_000, 'x\r\n') }, '5.3.4 mail'],
    ['needs TLS that the session lacks', { hints: { concurrency: 1, tls: 'required' } }, 'ETLS ehlo'],
  ] as const)('and %s is kept apart from it', async (_, second, outcome) => {
    const { session, answers } = await pair(undefined, { second })
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], [outcome]])
    expect(along()).toEqual([])
  })

  it('and is of another lane is kept apart, and has a session of its own where its lane has one', async () => {
    const { session, answers } = await pair(undefined, {
      first: { hints: { concurrency: 2, lane: 'one', sessions: 1 } },
      second: { hints: { concurrency: 2, lane: 'two', sessions: 1 } },
    })
    expect(await told([answers[1]])).toEqual([['accepted']])
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], ['accepted']])
    expect(along()).toEqual([])
    expect(server.sessions).toHaveLength(2)
  })

  it('shows its own dialogue only, and so does the one before', async () => {
    const { session, answers } = await pair((line) =>
      line.includes('b@acme') ? '550 5.1.1 Gone' : undefined,
    )
    session.say('451 4.3.0 Later')
    const [first, second] = await Promise.all(answers)
    const spoken = ({ transcript = [] }: OwnAnswer) => transcript.slice(transcript.indexOf('S: 220 mx') + 3)
    expect(spoken(first)).toEqual([
      'C: MAIL FROM:<a@us.test> SIZE=25',
      'C: RCPT TO:<a@acme.test>',
      'C: DATA',
      ...['S: 250 2.0.0 Ok', 'S: 250 2.0.0 Ok', 'S: 354 Go on'],
      '* message of 25 octets',
      'S: 451 4.3.0 Later',
    ])
    expect(spoken(second)).toEqual([
      ...ENVELOPE.trim()
        .split('\r\n')
        .map((line) => `C: ${line}`),
      ...['S: 250 2.0.0 Ok', 'S: 550 5.1.1 Gone', 'S: 354 Go on', 'C: .', 'S: 250 2.0.0 Ok'],
    ])
  })
})

describe('what is said to the one before', () => {
  it.each([
    ['550 5.7.1 No', '550 dot'],
    ['451 4.3.0 Later', '451 dot'],
    ['250 2.0.0 Ok', 'accepted'],
  ])('as %s is of that one only', async (answer, outcome) => {
    const { session, answers } = await pair()
    session.say(answer)
    expect(await told(answers)).toEqual([[outcome], ['accepted']])
    expect(server.sessions).toHaveLength(1)
  })

  it.each([
    ['a 421', (say: (text: string) => void) => say('421 4.3.2 Going down'), '421 dot'],
    ['a 250 and a 421', (say: (text: string) => void) => say('250 2.0.0 Ok\r\n421 4.4.2 Enough'), 'accepted'],
    ['what is no answer', (say: (text: string) => void) => say('354 Go on'), 'EPROTOCOL dot uncertain'],
  ])('as %s ends the session, and the next loses nothing', async (_, act, outcome) => {
    const { session, answers } = await pair()
    act((text) => session.socket.write(`${text}\r\n`))
    session.socket.end()
    expect(await told(answers)).toEqual([[outcome], ['accepted']])
    expect(server.sessions).toHaveLength(2)
    expect((await answers[1]).recipients[0]?.uncertain).toBeFalsy()
  })

  it('as a lost connection is uncertain for that one only', async () => {
    const { session, answers } = await pair()
    session.socket.destroy()
    const [first, second] = await told(answers)
    expect(first?.[0]).toMatch(/^E\w+ dot uncertain$/)
    expect(second).toEqual(['accepted'])
  })

  it('as nothing in time is uncertain for that one only', async () => {
    const { answers } = await pair(undefined, { options: { dataTimeout: '200ms' } })
    expect(await told(answers)).toEqual([['ETIMEDOUT dot uncertain'], ['accepted']])
  })
})

describe('what is said to the next', () => {
  it.each([
    ['MAIL', '450 4.7.1 Slow down', ['450 mail', '450 mail']],
    ['RCPT TO:<b@', '550 5.1.1 Gone', ['550 rcpt', 'accepted']],
    ['DATA', '451 4.3.0 Not now', ['451 data', '451 data']],
  ])('to %s as %s is of that one only', async (command, answer, outcome) => {
    let dots = 0
    const { session, answers } = await pair(
      (line) => {
        if (line === '.') dots++
        return dots > 0 && line.startsWith(command) ? answer : undefined
      },
      { second: { to: ['b@acme.test', 'c@acme.test'] } },
    )
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], outcome])
  })

  it('as yes to DATA without a recipient is answered by a dot alone (RFC 2920 §3.1)', async () => {
    const { transport, session, answers } = await pair((line) =>
      line.includes('b@acme') ? '550 5.1.1 Gone' : undefined,
    )
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], ['550 rcpt']])
    expect(session.segments.at(-1)).toBe('.\r\n')
    expect(outcomes(await send(transport, { to: 'c@acme.test', ...one }))).toEqual(['accepted'])
    expect(server.sessions).toHaveLength(1)
  })

  it.each(['421 4.7.0 Too many messages on this connection', 'drop'])(
    'as %s costs it nothing: another session takes it',
    async (answer) => {
      let mails = 0
      const { session, answers } = await pair((line) => {
        return line.startsWith('MAIL') && ++mails === 2 ? answer : undefined
      })
      session.say('250 2.0.0 Ok')
      expect(await told(answers)).toEqual([['accepted'], ['accepted']])
      expect(server.sessions).toHaveLength(2)
    },
  )

  it('never, is heard of once: that host is sent nothing along any more', async () => {
    let mails = 0
    const { transport, session, answers } = await pair(
      (line) => (line.startsWith('MAIL') && ++mails === 2 ? 'hold' : undefined),
      { options: { commandTimeout: '200ms' } },
    )
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], ['accepted']])
    const more = ['c', 'd', 'e'].map((name) => send(transport, { to: `${name}@acme.test`, ...one }))
    expect(await told(more)).toEqual(more.map(() => ['accepted']))
    expect(along()).toHaveLength(1)
  })
})

describe('the body of the next', () => {
  it('is behind its gate until the server wants it', async () => {
    let asked = 0
    const gate = () => {
      asked++
    }
    const { session, answers } = await pair(undefined, { second: { gate } })
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(asked).toBe(0)
    session.say('250 2.0.0 Ok')
    expect(await told(answers)).toEqual([['accepted'], ['accepted']])
    expect(asked).toBe(1)
  })

  it.each(['at once', 'later'] as const)(
    'forbidden %s ends the session, with nothing of it sent',
    async (when) => {
      const gate = () => {
        if (when === 'later') return Promise.reject(new Error('the lease is lost'))
        throw new Error('the lease is lost')
      }
      const { transport, session, answers } = await pair(undefined, { second: { gate } })
      session.say('250 2.0.0 Ok')
      expect(await told(answers)).toEqual([['accepted'], ['EABORT data']])
      expect(session.lines.filter((line) => line === 'hello')).toHaveLength(1)
      expect(outcomes(await send(transport, { to: 'c@acme.test', ...one }))).toEqual(['accepted'])
      expect(server.sessions).toHaveLength(2)
    },
  )
})

describe('given up', () => {
  it('the one before is uncertain, and the next goes on elsewhere', async () => {
    const stop = new AbortController()
    const { answers } = await pair(undefined, { first: { signal: stop.signal } })
    stop.abort()
    expect(await told(answers)).toEqual([['EABORT dot uncertain'], ['accepted']])
    expect(server.sessions).toHaveLength(2)
  })

  it('the next is over at once, and the one before is answered', async () => {
    const stop = new AbortController()
    const { transport, session, answers } = await pair(undefined, { second: { signal: stop.signal } })
    stop.abort()
    expect(await told([answers[1]])).toEqual([['EABORT mail']])
    session.say('250 2.0.0 Ok')
    expect(await told([answers[0]])).toEqual([['accepted']])
    // its envelope stands: the session is of no use to others
    expect(outcomes(await send(transport, { to: 'c@acme.test', ...one }))).toEqual(['accepted'])
    expect(server.sessions).toHaveLength(2)
    expect(session.lines.filter((line) => line === 'hello')).toHaveLength(1)
  })
})

describe('a session that messages follow each other on', () => {
  const burst = (n: number, hints: object, transport = w.transport()) =>
    told(
      Array.from({ length: n }, () =>
        send(transport, { to: 'a@acme.test', hints: { concurrency: 1, ...hints } }),
      ),
    )

  it('carries no more of them than it may', async () => {
    const real = await w.server('mx1.test', '127.0.8.1')
    expect((await burst(5, { messagesPerConnection: 2 })).flat()).toEqual(new Array(5).fill('accepted'))
    expect(real.sessions.map(({ messages }) => messages)).toEqual([2, 2, 1])
    expect(real.sessions.map(({ transactions }) => transactions)).toEqual([2, 2, 1])
  })

  it('carries no more than the server was seen to allow', async () => {
    const real = await w.server('mx1.test', '127.0.8.1', { script: maxMessagesPerConnection(3) })
    expect((await burst(12, {})).flat()).toEqual(new Array(12).fill('accepted'))
    expect(real.sessions.map(({ messages }) => messages)).toEqual([3, 3, 3, 3])
    expect(real.log.filter(({ text }) => text.startsWith('421'))).toHaveLength(1)
  })

  it('ends after eight refusals all the same', async () => {
    const real = await w.server('mx1.test', '127.0.8.1', {
      script: { on: 'rcpt', answer: '450 4.2.0 Greylisted' },
    })
    await burst(10, {})
    expect(real.sessions.map(({ transactions }) => transactions)).toEqual([4, 4, 2])
  })

  it('is as good over TLS, where each message is told over what', async () => {
    const real = await w.server('mx1.test', '127.0.8.1', { tls: 'starttls' })
    const transport = w.transport({ tls: 'required' })
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => send(transport, { to: 'a@acme.test', ...one })),
    )
    expect(answers.map(({ recipients: [said] }) => said?.reply.tls)).toEqual(
      new Array(20).fill({ version: 'TLSv1.3', cipher: expect.any(String), verified: false }),
    )
    expect(real.counts).toMatchObject({ connections: 1, messages: 20 })
  })

  it('says goodbye once it is idle', async () => {
    const { transport, session, answers } = await pair(undefined, { options: { idleTimeout: '100ms' } })
    session.say('250 2.0.0 Ok')
    await told(answers)
    await server.heard('QUIT')
    while (transport.steadymail.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  })
})

describe('a word between the yes to DATA and the body', () => {
  it.each([
    ['421 4.3.2 Going down', '421 data'],
    ['451 4.3.0 Not now', '451 data'],
    ['250 2.0.0 Ok', 'EPROTOCOL data'],
  ])('as %s is not taken for the answer to the message', async (word, outcome) => {
    server = await puppet('127.0.8.1', (line) => (line === 'DATA' ? `354 Go on\r\n${word}` : undefined))
    const alone = w.transport({ port: server.port })
    expect(outcomes(await send(alone, { to: 'b@acme.test' }))).toEqual([outcome])
    expect(server.sessions.flatMap(({ lines }) => lines)).not.toContain('.')
  })

  it('that came while the gate was asked is heard as well, and the next host is asked', async () => {
    server = await puppet('127.0.8.1', (line, { socket }) => {
      if (line === 'DATA') setTimeout(() => socket.write('421 4.3.2 Going down\r\n'), 10)
      return undefined
    })
    const second = await w.server('mx2.test', '127.0.8.2', { port: server.port })
    w.domain('acme.test', 'mx1.test', 'mx2.test')
    let asked = 0
    const gate = () => (++asked === 1 ? new Promise<void>((resolve) => setTimeout(resolve, 100)) : undefined)
    expect(outcomes(await send(w.transport({ port: server.port }), { to: 'a@acme.test', gate }))).toEqual([
      'accepted',
    ])
    expect(second.messages).toHaveLength(1)
    expect(server.sessions[0]?.lines).not.toContain('.')
  })
})
