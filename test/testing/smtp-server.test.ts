import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import {
  during,
  greylist,
  maxConnections,
  maxMessagesPerConnection,
  maxRecipients,
  rateLimit,
  recipients,
  type SmtpScript,
  type SmtpServer,
  type SmtpServerOptions,
  smtpServer,
  testCertificate,
} from '../../src/testing/smtp-server.ts'
import { MAJORS } from '../nodemailers.ts'

let cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const one of cleanUp.reverse()) await one()
  cleanUp = []
})

async function serve(options: SmtpServerOptions = {}): Promise<SmtpServer> {
  const server = await smtpServer(options)
  cleanUp.push(() => server.close())
  return server
}

/** A bare client: says lines, hears whole replies. */
class Client {
  private heard = ''
  private wake: () => void = () => {}
  isClosed = false
  readonly socket: Socket

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      this.heard += text
      this.wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isClosed = true
      this.wake()
    })
    cleanUp.push(() => socket.destroy())
  }

  /** The next reply, lines joined by ` / `; `closed` when there is none. */
  async reply(): Promise<string> {
    for (;;) {
      const match = /^(?:\d{3}-.*\r\n)*\d{3} .*\r\n/.exec(this.heard)
      if (match) {
        this.heard = this.heard.slice(match[0].length)
        return match[0].trim().split('\r\n').join(' / ')
      }
      if (this.isClosed) return 'closed'
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }

  async say(line: string): Promise<string> {
    this.socket.write(`${line}\r\n`)
    return this.reply()
  }

  /** Several lines, one reply each. */
  async all(...lines: string[]): Promise<string[]> {
    const replies: string[] = []
    for (const line of lines) replies.push(await this.say(line))
    return replies
  }
}

async function connect({ host, port }: SmtpServer): Promise<Client> {
  const client = new Client(connectTcp({ host, port }))
  return client
}

async function greeted(server: SmtpServer): Promise<Client> {
  const client = await connect(server)
  expect(await client.reply()).toMatch(/^220 /)
  expect(await client.say('EHLO client.test')).toMatch(/^250-/)
  return client
}

const TRANSACTION = ['MAIL FROM:<a@b.test>', 'RCPT TO:<c@d.test>', 'DATA']

async function deliver(client: Client, body = 'Hi\r\n'): Promise<string> {
  for (const line of TRANSACTION) {
    const reply = await client.say(line)
    if (!/^[23]/.test(reply)) return reply
  }
  return client.say(`${body}.`)
}

describe('a friendly server', () => {
  test('takes a message and keeps what was said', async () => {
    let now = 1000
    const server = await serve({ now: () => now++ })
    const client = await greeted(server)
    expect(await client.all(...TRANSACTION)).toEqual([
      '250 2.1.0 Ok',
      '250 2.1.5 Ok',
      '354 End data with <CR><LF>.<CR><LF>',
    ])
    expect(await client.say('Subject: x\r\n\r\n..dot\r\n...two\r\n.')).toBe('250 2.0.0 Ok: queued as 1.1')
    expect(await client.say('QUIT')).toBe('221 2.0.0 Bye')
    expect(await client.reply()).toBe('closed')
    await server.seen(({ kind }) => kind === 'close')
    expect(server.messages).toMatchObject([
      { from: 'a@b.test', to: ['c@d.test'], text: 'Subject: x\r\n\r\n.dot\r\n..two\r\n' },
    ])
    expect(server.log.map(({ kind, phase, text }) => `${kind} ${phase ?? ''} ${text}`.trim())).toEqual([
      'open  127.0.0.1',
      'reply greeting 220 mx.test ESMTP',
      'command ehlo EHLO client.test',
      'reply ehlo 250-mx.test\n250-PIPELINING\n250-8BITMIME\n250-SMTPUTF8\n250-ENHANCEDSTATUSCODES\n250-DSN\n250 SIZE 26214400',
      'command mail MAIL FROM:<a@b.test>',
      'reply mail 250 2.1.0 Ok',
      'command rcpt RCPT TO:<c@d.test>',
      'reply rcpt 250 2.1.5 Ok',
      'command data DATA',
      'reply data 354 End data with <CR><LF>.<CR><LF>',
      'message dot a@b.test -> c@d.test',
      'reply dot 250 2.0.0 Ok: queued as 1.1',
      'command quit QUIT',
      'reply quit 221 2.0.0 Bye',
      'close',
    ])
    expect(server.log.map(({ at }) => at)).toEqual([...server.log.map(({ at }) => at)].sort((a, b) => a - b))
    expect(server.sessions).toMatchObject([
      { id: 1, clientName: 'client.test', messages: 1, transactions: 1 },
    ])
    expect(server.counts).toMatchObject({
      connections: 1,
      open: 0,
      peak: 1,
      mail: 1,
      rcpt: 1,
      messages: 1,
      recipients: 1,
    })
  })

  test('finds the final dot wherever segments end', async () => {
    const server = await serve()
    const client = await greeted(server)
    const body = 'one\r\n..two\r\n.\rthree\r\n'
    for (let cut = 1; cut < 12; cut++) {
      await client.all(...TRANSACTION)
      const whole = `${body}.\r\nNOOP\r\n`
      for (let at = 0; at < whole.length; at += cut) {
        client.socket.write(whole.slice(at, at + cut))
        await new Promise(setImmediate)
      }
      expect(await client.reply()).toMatch(/^250 2\.0\.0 Ok: queued/)
      expect(await client.reply()).toBe('250 2.0.0 Ok')
    }
    expect(new Set(server.messages.map(({ text }) => text))).toEqual(new Set(['one\r\n.two\r\n.\rthree\r\n']))
    expect(server.messages).toHaveLength(11)
  })

  test('takes an empty message, and a whole session in one segment', async () => {
    const server = await serve()
    const client = await connect(server)
    client.socket.write(
      `EHLO x\r\n${TRANSACTION.join('\r\n')}\r\n.\r\n${TRANSACTION.join('\r\n')}\r\nx\r\n.\r\nQUIT\r\n`,
    )
    const codes: string[] = []
    for (let i = 0; i < 11; i++) codes.push((await client.reply()).slice(0, 3))
    expect(codes).toEqual(['220', '250', '250', '250', '354', '250', '250', '250', '354', '250', '221'])
    expect(server.messages.map(({ text }) => text)).toEqual(['', 'x\r\n'])
  })

  test('holds to the protocol', async () => {
    const server = await serve({ maxSize: 100 })
    const client = await greeted(server)
    expect(
      await client.all(
        'RCPT TO:<a@b.test>',
        'DATA',
        'MAIL FROM:a@b.test',
        'MAIL FROM:<a@b.test> SIZE=101',
        'MAIL FROM:<>',
        'MAIL FROM:<a@b.test>',
        'RCPT TO:nobody',
        'RCPT TO:<дима@почта.рф>',
        'DATA',
        'RSET',
        'MAIL FROM:<"a> b"@c.test> SMTPUTF8',
        'RCPT TO:<дима@почта.рф> NOTIFY=NEVER',
        'VRFY x',
        'DATA',
      ),
    ).toEqual([
      '503 5.5.1 Need MAIL command',
      '503 5.5.1 Need MAIL command',
      '501 5.5.4 Syntax: MAIL FROM:<address>',
      '552 5.3.4 Message too large',
      '250 2.1.0 Ok',
      '503 5.5.1 Nested MAIL command',
      '501 5.5.4 Syntax: RCPT TO:<address>',
      '553 5.6.7 Address needs SMTPUTF8',
      '554 5.5.1 No valid recipients',
      '250 2.0.0 Ok',
      '250 2.1.0 Ok',
      '250 2.1.5 Ok',
      '502 5.5.2 Command not recognized',
      '354 End data with <CR><LF>.<CR><LF>',
    ])
    expect(await client.say(`${'x'.repeat(101)}\r\n.`)).toBe('552 5.3.4 Message too large')
    expect(await deliver(client)).toMatch(/^250/)
    expect(server.counts).toMatchObject({ refused: 10, deferred: 0 })
  })
})

describe('a script', () => {
  test('is a list of rules and functions, and the first opinion counts', async () => {
    const script: SmtpScript = [
      { on: 'rcpt', to: 'c@d.test', answer: ['450 4.2.1 one', 'pass', '450 4.2.1 three'] },
      [{ on: 'rcpt', to: '@d.test', after: 1, times: 1, answer: '451 4.3.0 second' }],
      ({ phase, to }) => (phase === 'rcpt' && to.startsWith('z') ? '550 5.1.1 z\nand more' : undefined),
    ]
    const server = await serve({ script })
    const client = await greeted(server)
    await client.say('MAIL FROM:<a@b.test>')
    const rcpt = (to: string) => client.say(`RCPT TO:<${to}>`)
    expect(await rcpt('C@D.test')).toBe('450 4.2.1 one')
    expect(await rcpt('c@d.test')).toBe('250 2.1.5 Ok')
    expect(await rcpt('c@d.test')).toBe('450 4.2.1 three')
    expect(await rcpt('c@d.test')).toBe('451 4.3.0 second')
    expect(await rcpt('c@d.test')).toBe('250 2.1.5 Ok')
    expect(await rcpt('z@x.test')).toBe('550-5.1.1 z / 550 and more')
  })

  test('a 421 closes the connection, unless told to stay', async () => {
    const server = await serve({
      script: { on: 'noop', answer: [{ reply: '421 4.0.0 But stay', and: 'stay' }, '421 4.0.0 Bye'] },
    })
    const client = await greeted(server)
    expect(await client.all('NOOP', 'NOOP')).toEqual(['421 4.0.0 But stay', '421 4.0.0 Bye'])
    expect(await client.reply()).toBe('closed')
  })

  test('can drop or hang, in any phase', async () => {
    for (const on of ['greeting', 'ehlo', 'mail', 'rcpt', 'data', 'dot'] as const) {
      const dropping = await serve({ script: { on, answer: 'drop' } })
      const client = await connect(dropping)
      client.socket.write(`EHLO x\r\n${TRANSACTION.join('\r\n')}\r\nHi\r\n.\r\n`)
      let last = ''
      for (let reply = await client.reply(); reply !== 'closed'; reply = await client.reply()) last = reply
      const before = { greeting: '', ehlo: '220', mail: '250', rcpt: '250', data: '250', dot: '354' }
      expect(last.slice(0, 3)).toBe(before[on])
      const hanging = await serve({ script: { on, answer: 'hang' } })
      const silent = await connect(hanging)
      silent.socket.write(`EHLO x\r\n${TRANSACTION.join('\r\n')}\r\nHi\r\n.\r\nQUIT\r\n`)
      const steps = ['greeting', 'ehlo', 'mail', 'rcpt', 'data', 'dot'].indexOf(on)
      for (let step = 0; step < steps; step++) await silent.reply()
      await hanging.seen(({ kind, phase }) =>
        steps === 0 ? kind === 'open' : kind === 'command' && phase !== 'quit',
      )
      await hanging.down()
      expect(await silent.reply()).toBe('closed')
      expect(hanging.log.some(({ kind, phase }) => kind === 'reply' && phase === on)).toBe(false)
    }
  })

  test('may take the message and hang up all the same', async () => {
    const server = await serve({ script: { on: 'dot', times: 1, answer: { deliver: true, and: 'drop' } } })
    expect(await deliver(await greeted(server))).toBe('closed')
    expect(server.messages).toHaveLength(1)
  })

  test('may cut a body short', async () => {
    const server = await serve({ script: { on: 'body', bytes: 1000, answer: 'drop' } })
    const client = await greeted(server)
    await client.all(...TRANSACTION)
    client.socket.write('x'.repeat(999))
    await new Promise(setImmediate)
    client.socket.write('x'.repeat(999))
    expect(await client.reply()).toBe('closed')
    expect(server.counts.messages).toBe(0)
  })

  test('may take its time: nothing else is answered meanwhile', async () => {
    let release: () => void = () => {}
    const asked = new Promise<void>((ask) => {
      serveLater = ask
    })
    const server = await serve({
      script: async ({ phase }) => {
        if (phase !== 'mail') return undefined
        serveLater()
        await new Promise<void>((resolve) => {
          release = resolve
        })
        return '451 4.3.0 Thought about it'
      },
    })
    const client = await connect(server)
    client.socket.write('EHLO x\r\nMAIL FROM:<a@b.test>\r\nNOOP\r\n')
    await asked
    expect(server.log.some(({ phase }) => phase === 'noop')).toBe(false)
    release()
    const replies = [await client.reply(), await client.reply(), await client.reply(), await client.reply()]
    expect(replies.map((reply) => reply.slice(0, 3))).toEqual(['220', '250', '451', '250'])
  })

  test('can be put in and taken away while the server runs', async () => {
    const server = await serve()
    const client = await greeted(server)
    const away = server.use({ on: 'noop', answer: '450 4.0.0 No' })
    expect(await client.say('NOOP')).toBe('450 4.0.0 No')
    away()
    expect(await client.say('NOOP')).toBe('250 2.0.0 Ok')
  })

  test('with a mistake in it is told so in the reply', async () => {
    const server = await serve()
    const told = async (script: SmtpScript) => {
      const client = await greeted(server)
      const away = server.use(script)
      const reply = await client.say('NOOP')
      away()
      return reply
    }
    const prefix = '451 4.3.0 Error in the SMTP script: '
    const bug = () => {
      throw new Error('my bug')
    }
    expect(await told(bug)).toBe(`${prefix}my bug`)
    expect(await told(async () => bug())).toBe(`${prefix}my bug`)
    expect(await told({ on: 'noop', answer: 'later' as never })).toBe(
      `${prefix}expected a code and a text, 'drop', 'hang' or 'pass', got 'later'`,
    )
    expect(() => rateLimit({ rate: '5/x' as never })).toThrow(
      "rate: expected '<number>/<s|min|h|d>', got '5/x'",
    )
  })
})

let serveLater: () => void = () => {}

describe('built-in behaviour', () => {
  test('greylisting counts from the first try, per sender and recipient', async () => {
    let now = 0
    const server = await serve({ script: greylist({ seconds: 60 }), now: () => now })
    const client = await greeted(server)
    const attempt = async (to: string) => {
      await client.say('RSET')
      await client.say('MAIL FROM:<a@b.test>')
      return client.say(`RCPT TO:<${to}>`)
    }
    expect(await attempt('c@d.test')).toBe('451 4.7.1 Greylisted, please try again in 60 seconds')
    now = 50_000
    expect(await attempt('c@d.test')).toBe('451 4.7.1 Greylisted, please try again in 10 seconds')
    now = 60_000
    expect(await attempt('c@d.test')).toBe('250 2.1.5 Ok')
    expect(await attempt('e@d.test')).toBe('451 4.7.1 Greylisted, please try again in 60 seconds')
  })

  test.each([
    { countsRetries: false, accepted: 4 },
    { countsRetries: true, accepted: 2 },
  ])('a rate whose refused tries count: $countsRetries', async ({ countsRetries, accepted }) => {
    let now = 0
    const server = await serve({
      script: [rateLimit({ rate: '2/min', countsRetries, reply: '450 4.7.0 Too fast' })],
      now: () => now,
    })
    const client = await greeted(server)
    let passed = 0
    for (now = 0; now <= 90_000; now += 10_000) {
      if ((await client.say('MAIL FROM:<a@b.test>')).startsWith('250')) passed++
      await client.say('RSET')
    }
    expect(passed).toBe(accepted)
  })

  test('a rate may be one recipient domain’s, and the window slides', async () => {
    let now = 0
    const server = await serve({
      script: rateLimit({ rate: '2/s', on: 'rcpt', to: '@d.test', reply: '450 4.7.0 Too fast' }),
      now: () => now,
    })
    const client = await greeted(server)
    await client.say('MAIL FROM:<a@b.test>')
    const codes: string[] = []
    for (const [at, to] of [
      [0, 'd'],
      [500, 'd'],
      [900, 'd'],
      [900, 'other'],
      [1000, 'd'],
      [1499, 'd'],
      [1500, 'd'],
    ] as const) {
      now = at
      codes.push((await client.say(`RCPT TO:<x@${to}.test>`)).slice(0, 3))
    }
    expect(codes).toEqual(['250', '250', '450', '250', '250', '450', '250'])
  })

  test('connections beyond the limit are turned away at the greeting', async () => {
    const server = await serve({ script: maxConnections(2) })
    const first = await greeted(server)
    await greeted(server)
    const third = await connect(server)
    expect(await third.reply()).toBe('421 4.7.0 Too many concurrent connections from your address')
    expect(await third.reply()).toBe('closed')
    const closed = server.next(({ kind, session }) => kind === 'close' && session === 1)
    await first.say('QUIT')
    await closed
    await greeted(server)
    expect(server.counts.peak).toBe(3)
  })

  test('a connection ends when it begins one message too many', async () => {
    const server = await serve({ script: maxMessagesPerConnection(2) })
    const client = await greeted(server)
    expect(await deliver(client)).toMatch(/^250/)
    expect(await deliver(client)).toMatch(/^250/)
    expect(await deliver(client)).toBe('421 4.7.0 Too many messages on this connection')
    expect(await client.reply()).toBe('closed')
  })

  test('recipients beyond the limit, single ones, and only for a while', async () => {
    let now = 0
    const script = [
      maxRecipients(1),
      recipients({ 'full@d.test': '452 4.2.2 Full', '@gone.test': '550 5.1.2 Gone' }),
      during({ from: 10, until: 20 }, () => '451 4.3.2 Maintenance'),
    ]
    const server = await serve({ script, now: () => now })
    const client = await greeted(server)
    await client.say('MAIL FROM:<a@b.test>')
    const rcpt = (to: string) => client.say(`RCPT TO:<${to}>`)
    expect(await rcpt('Full@d.test')).toBe('452 4.2.2 Full')
    expect(await rcpt('x@gone.test')).toBe('550 5.1.2 Gone')
    expect(await rcpt('x@d.test')).toBe('250 2.1.5 Ok')
    expect(await rcpt('y@d.test')).toBe('452 4.5.3 Too many recipients')
    now = 15
    expect(await client.say('NOOP')).toBe('451 4.3.2 Maintenance')
    now = 20
    expect(await client.say('NOOP')).toBe('250 2.0.0 Ok')
  })
})

describe('TLS and login', () => {
  test.each(MAJORS)(
    'STARTTLS and implicit TLS with a verified certificate (nodemailer $major)',
    async ({ nodemailer }) => {
      for (const tls of ['starttls', 'implicit'] as const) {
        const server = await serve({ tls, auth: { users: { me: 'secret' }, required: true } })
        for (const authMethod of ['PLAIN', 'LOGIN']) {
          const transporter = nodemailer.createTransport({
            host: server.host,
            port: server.port,
            secure: tls === 'implicit',
            requireTLS: true,
            auth: { user: 'me', pass: 'secret' },
            authMethod,
            tls: { ca: server.certificate?.cert },
          })
          await transporter.sendMail({ from: 'a@b.test', to: 'c@d.test', text: authMethod })
        }
        expect(server.messages.map(({ text }) => /(PLAIN|LOGIN)/.exec(text)?.[0])).toEqual(['PLAIN', 'LOGIN'])
        expect(server.sessions).toMatchObject([
          { secure: true, user: 'me' },
          { secure: true, user: 'me' },
        ])
        expect(JSON.stringify(server.log)).not.toContain(Buffer.from('secret').toString('base64').slice(0, 6))
      }
    },
  )

  test('logins: wrong, absent, interrupted, refused by script', async () => {
    const server = await serve({
      auth: { users: { me: 'secret', slow: 'x' }, required: true },
      script: ({ login }) => (login?.user === 'slow' ? '454 4.7.0 Too many login attempts' : undefined),
    })
    const client = await greeted(server)
    const plain = (user: string, pass: string) => Buffer.from(`\0${user}\0${pass}`).toString('base64')
    expect(
      await client.all(
        'MAIL FROM:<a@b.test>',
        `AUTH PLAIN ${plain('me', 'wrong')}`,
        'AUTH PLAIN',
        plain('nobody', 'secret'),
        `AUTH PLAIN ${plain('slow', 'x')}`,
        'AUTH CRAM-MD5',
        'AUTH LOGIN',
        Buffer.from('me').toString('base64'),
        Buffer.from('secret').toString('base64'),
        'MAIL FROM:<a@b.test>',
      ),
    ).toEqual([
      '530 5.7.0 Authentication required',
      '535 5.7.8 Authentication credentials invalid',
      '334',
      '535 5.7.8 Authentication credentials invalid',
      '454 4.7.0 Too many login attempts',
      '504 5.5.4 Unrecognized authentication type',
      '334 VXNlcm5hbWU6',
      '334 UGFzc3dvcmQ6',
      '235 2.7.0 Authentication successful',
      '250 2.1.0 Ok',
    ])
  })

  test('a certificate for the names one asks for, and an expired one', async () => {
    const handshake = async (certificate: ReturnType<typeof testCertificate>, servername: string) => {
      const { host, port } = await serve({ tls: { mode: 'implicit', certificate } })
      return new Promise<string>((resolve) => {
        const socket = connectTls({ host, port, servername, ca: certificate.cert }, () => resolve('trusted'))
        socket.on('error', (error: Error & { code?: string }) => resolve(String(error.code)))
        cleanUp.push(() => socket.destroy())
      })
    }
    const names = ['mx.example.test', '*.mail.test', '127.0.0.2', '2001:db8::1']
    expect(await handshake(testCertificate({ names }), 'mx.example.test')).toBe('trusted')
    expect(await handshake(testCertificate({ names }), 'a.mail.test')).toBe('trusted')
    expect(await handshake(testCertificate({ names }), 'other.test')).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
    const expired = testCertificate({ names, notAfter: '20210101000000Z' })
    expect(await handshake(expired, 'mx.example.test')).toBe('CERT_HAS_EXPIRED')
  })
})

describe('the server as a whole', () => {
  test('tells idle connections goodbye, and no others', async () => {
    const server = await serve()
    const idle = await greeted(server)
    const busy = await greeted(server)
    await busy.say('MAIL FROM:<a@b.test>')
    expect(server.endIdle('421 4.4.2 Idle')).toBe(1)
    expect(await idle.reply()).toBe('421 4.4.2 Idle')
    expect(await idle.reply()).toBe('closed')
    expect(await busy.say('RCPT TO:<c@d.test>')).toBe('250 2.1.5 Ok')
  })

  test('goes down and comes up again on its port', async () => {
    const server = await serve()
    const client = await greeted(server)
    const { port } = server
    await server.down()
    expect(await client.reply()).toBe('closed')
    expect(await (await connect(server)).reply()).toBe('closed')
    await server.up()
    expect(server.port).toBe(port)
    await greeted(server)
  })

  test('next waits for what comes, seen also takes what came', async () => {
    const server = await serve()
    const client = await greeted(server)
    expect((await server.seen(({ phase }) => phase === 'ehlo')).text).toBe('EHLO client.test')
    const noop = server.next(({ phase, kind }) => phase === 'noop' && kind === 'reply')
    await client.say('NOOP')
    expect((await noop).text).toBe('250 2.0.0 Ok')
    const never = server.next(() => false)
    await server.close()
    await expect(never).rejects.toThrow('closed before it saw')
  })

  test('keeps nothing when not recording, but counts and waits', async () => {
    const server = await serve({ record: false })
    const client = await greeted(server)
    const message = server.next(({ kind }) => kind === 'message')
    expect(await deliver(client)).toMatch(/^250/)
    await message
    expect([server.log.length, server.messages.length, server.sessions.length]).toEqual([0, 0, 0])
    expect(server.counts).toMatchObject({ messages: 1, recipients: 1, connections: 1 })
  })

  test('listens on other loopback addresses, under another name', async () => {
    const server = await serve({ host: '127.0.0.9', name: 'mx9.test', extensions: ['SIZE'] })
    const client = await connect(server)
    expect(await client.all('EHLO x')).toEqual(['220 mx9.test ESMTP'])
    expect(await client.reply()).toBe('250-mx9.test / 250 SIZE')
    expect(server.url).toBe(`smtp://127.0.0.9:${server.port}`)
  })
})

test('a rule for a phase that does not exist is refused, not silently never asked', async () => {
  await expect(
    smtpServer({ script: { on: 'connect' as 'greeting', answer: '421 4.7.0 Busy' } }),
  ).rejects.toThrow(
    "script.on: expected one of greeting, ehlo, starttls, auth, mail, rcpt, data, body, dot, rset, noop, quit, other, got 'connect'",
  )
})
