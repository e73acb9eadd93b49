// Direct delivery behind wrapTransport: lanes by who answers, holds, and the session in the history.

import { type Explanation, type Mailer, memoryStore, type WrapOptions, wrapTransport } from 'steadymail'
import { type ManualClock, manualClock, type SmtpAnswer, type SmtpLogLine } from 'steadymail/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { classifyReply } from '../../src/builtin.ts'
import { type MxTransportOptions, parseMxOptions } from '../../src/mx/options.ts'
import { makeMxTransport } from '../../src/mx/transport.ts'
import { mail, runner } from '../scenarios/world.ts'
import { a, mx } from './dns-server.ts'
import { puppet } from './puppet.ts'
import { outcomes, send, type World, world } from './world.ts'

let w: World
let clock: ManualClock
let close: (() => Promise<unknown>)[]

beforeEach(async () => {
  w = await world()
  clock = manualClock()
  close = []
})

afterEach(async () => {
  for (const one of close) await one()
  await w.close()
})

function mailerOf(options: Partial<WrapOptions> = {}, mxOptions: MxTransportOptions = {}): Mailer {
  const settings = parseMxOptions({
    port: w.port,
    ...mxOptions,
    name: 'mail.us.test',
    allowLocal: true,
    mtaSts: false,
    dane: false,
    dns: { servers: [w.dns.address] },
  })
  const isRecycle = (reply: Parameters<typeof classifyReply>[0]) =>
    classifyReply(reply, { route: 'direct' }).cause === 'connection-recycle'
  const transport = makeMxTransport(settings, { clock, isRecycle })
  const mailer = wrapTransport(transport, { store: memoryStore(), clock, ...options })
  close.push(
    () => clock.runUntil(mailer.close({ timeout: 0 })),
    async () => transport.close(),
  )
  return mailer
}

describe('wrapTransport(mxTransport())', () => {
  it('puts two domains behind one MX in one lane and one session', async () => {
    const server = await w.server('mx.hosting.test', '127.0.5.1')
    w.domain('one.test', 'mx.hosting.test')
    w.domain('two.test', 'mx.hosting.test')
    const mailer = mailerOf()
    const { run } = runner(clock, mailer)
    const tickets = []
    for (const to of ['a@one.test', 'b@two.test']) tickets.push(await run(mailer.sendWithRetry(mail(to))))
    const outcomes = await run(Promise.all(tickets.map((ticket) => ticket.settled())))
    expect(outcomes.map(({ status }) => status)).toEqual(['accepted', 'accepted'])
    expect(server.counts.messages).toBe(2)
    const about = await mailer.status(tickets[0]?.id ?? '')
    const other = await mailer.status(tickets[1]?.id ?? '')
    expect(about?.recipients[0]?.lane).toBe(other?.recipients[0]?.lane)
  })

  it('an attempt that is over in time is uncertain, and the one whose envelope went out behind it is not', async () => {
    let dots = 0
    const server = await puppet('127.0.5.1', (line) => (line === '.' && ++dots === 1 ? 'hold' : undefined))
    w.domain('acme.test', 'mx1.test')
    w.dns.zone.set('mx1.test', [a('127.0.5.1')])
    const policies = [{ name: 'one at a time', domains: ['acme.test'], concurrency: 1 }]
    const mailer = mailerOf({ attemptTimeout: '1m', policies }, { port: server.port })
    close.push(() => server.close())
    const { run } = runner(clock, mailer)
    const [one, two] = await run(
      Promise.all(['a@acme.test', 'b@acme.test'].map((to) => mailer.sendWithRetry(mail(to)))),
    )
    await server.heard('.')
    expect(server.sessions[0]?.segments.at(-1)).toMatch(
      /\.\r\nMAIL FROM.*\r\nRCPT TO:<b@acme\.test>\r\nDATA\r\n$/,
    )
    await clock.advance(60_000)
    const ended = await run(Promise.all([one?.settled(), two?.settled()]))
    expect(ended.map((outcome) => outcome?.status)).toEqual(['accepted', 'accepted'])
    const history = async (id = '') =>
      (await mailer.status(id))?.recipients[0]?.history.map(({ uncertain = false }) => uncertain)
    expect(await history(one?.id)).toEqual([true, false])
    expect((await history(two?.id))?.includes(true)).toBe(false)
    expect(server.sessions.length).toBeGreaterThan(1)
    expect(dots).toBe(3)
  })

  it('puts a hosted domain in the lane of its provider', async () => {
    await w.server('aspmx.l.google.com', '127.0.5.1')
    w.domain('hosted.test', 'aspmx.l.google.com')
    const mailer = mailerOf()
    const { run } = runner(clock, mailer)
    const ticket = await run(mailer.sendWithRetry(mail('a@hosted.test')))
    await run(ticket.settled())
    const gmail = await mailer.explainPolicy('gmail.com')
    expect((await mailer.status(ticket.id))?.recipients[0]?.lane).toBe(gmail.lane)
  })

  it('holds the lane when all hosts refuse, tells what was said, and delivers later', async () => {
    const script = {
      on: 'greeting' as const,
      times: 1,
      answer: '421 4.7.0 Too many connections from your address' as const,
    }
    await w.server('mx1.test', '127.0.5.1', { script })
    await w.server('mx2.test', '127.0.5.2', { script })
    w.domain('acme.test', 'mx1.test', 'mx2.test')
    const mailer = mailerOf()
    const { run } = runner(clock, mailer)
    const ticket = await run(mailer.sendWithRetry(mail('a@acme.test')))
    const outcome = await run(ticket.settled())
    expect(outcome.status).toBe('accepted')
    const [first] = outcome.recipients[0]?.history ?? []
    expect(first?.reply).toMatchObject({ code: 421, phase: 'greeting', host: 'mx1.test' })
    expect(first?.verdict).toMatchObject({ cause: 'concurrency' })
    expect(first?.transcript?.filter((line) => line.startsWith('S: 421'))).toHaveLength(2)
  })

  it('explains a refusal with who said it, over what, and all that was said', async () => {
    const server = await w.server('mx1.test', '127.0.5.1', {
      tls: 'starttls',
      script: { on: 'rcpt', times: 1, answer: '450 4.2.1 Mailbox busy, try again later' },
    })
    w.domain('acme.test', 'mx1.test')
    const mailer = mailerOf()
    const { run } = runner(clock, mailer)
    const ticket = await run(mailer.sendWithRetry(mail('a@acme.test')))
    await run(new Promise<void>((resolve) => mailer.on('deferred', () => resolve())))
    const [why] = (await mailer.explain(ticket.id)) as readonly Explanation[]
    const tls = { version: 'TLSv1.3', cipher: expect.stringMatching(/^TLS_/), verified: false }
    const from = { phase: 'rcpt', host: 'mx1.test', address: '127.0.5.1', tls }
    expect(why).toMatchObject({ binding: 'back-off', from })
    expect(why?.sentence).toContain(
      'try again later (mx1.test [127.0.5.1], TLSv1.3 with an unverified certificate)',
    )
    expect(why?.transcript).toContain('C: RCPT TO:<a@acme.test>')
    expect(why?.transcript?.join('\n')).not.toContain('hello')

    const outcome = await run(ticket.settled())
    const [refused, accepted] = outcome.recipients[0]?.history ?? []
    expect(refused?.reply).toMatchObject(from)
    // an accepted try is told as exactly, and its dialogue is not kept
    expect(accepted?.reply).toMatchObject({ code: 250, phase: 'dot', address: '127.0.5.1', tls })
    expect(accepted?.transcript).toBeUndefined()
    expect(server.counts.messages).toBe(1)
  })

  it('says of a session without TLS that it had none', async () => {
    await w.server('mx1.test', '127.0.5.1')
    w.domain('acme.test', 'mx1.test')
    const mailer = mailerOf()
    const { run } = runner(clock, mailer)
    const ticket = await run(mailer.sendWithRetry(mail('a@acme.test')))
    const [settled] = (await run(ticket.settled())).recipients
    expect(settled?.history[0]?.reply).toMatchObject({ host: 'mx1.test', address: '127.0.5.1', tls: false })
  })

  it('follows an MX that changes while mail waits', async () => {
    const old = await w.server('old.test', '127.0.5.1', {
      script: { on: 'rcpt', answer: '450 4.2.1 Try again later' },
    })
    const fresh = await w.server('new.test', '127.0.5.2')
    w.dns.zone.set('acme.test', [mx('old.test', 10, 60)])
    const mailer = mailerOf()
    const { run } = runner(clock, mailer)
    const ticket = await run(mailer.sendWithRetry(mail('a@acme.test')))
    const deferred = new Promise<void>((resolve) => mailer.on('deferred', () => resolve()))
    await run(deferred)
    w.dns.zone.set('acme.test', [mx('new.test', 10, 60)])
    expect((await run(ticket.settled())).status).toBe('accepted')
    expect([old.counts.messages, fresh.counts.messages]).toEqual([0, 1])
  })

  it('closes only what it made: the transport goes on, and ends by its own close()', async () => {
    const server = await w.server('mx1.test', '127.0.5.1')
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    const mailer = wrapTransport(transport, { store: memoryStore() })
    await (await mailer.sendWithRetry(mail('a@acme.test'))).settled()
    await mailer.close()
    // as a nodemailer pool that was given to wrapTransport: others may be using it
    expect(transport.steadymail.connections).toBe(1)
    expect(outcomes(await send(transport, { to: 'b@acme.test' }))).toEqual(['accepted'])
    expect(server.counts.connections).toBe(1)
    transport.close()
    await server.next(({ kind }) => kind === 'close')
    expect(server.log.filter(({ text }) => text === 'QUIT')).toHaveLength(1)
  })

  describe.each([
    ['one attempt for each', { egress: { concurrency: 4 } }],
    ['messages ahead of them', {}],
  ] as const)('with more host sets than connections, and %s', (_, options) => {
    const MX = 40
    const EACH = 20

    async function delivered(counts: readonly number[]) {
      const server = await w.server('mx.test', '127.0.5.1')
      const mailer = mailerOf(options, { maxConnections: 4 })
      const { run } = runner(clock, mailer)
      const notBefore = clock.now() + 60_000
      const mails = counts.flatMap((count, i) => {
        w.dns.zone.set(`d${i}.test`, [mx(`mx.d${i}.test`)])
        w.dns.zone.set(`mx.d${i}.test`, [a('127.0.5.1')])
        return Array.from({ length: count }, () => mail(`a@d${i}.test`))
      })
      for (const one of mails) await run(mailer.sendWithRetry(one, { notBefore }))
      await run(mailer.idle())
      expect(server.counts.messages).toBe(mails.length)
      return server
    }

    it('a connection carries ten messages before it makes room for another host set', async () => {
      const server = await delivered(new Array(MX).fill(EACH))
      // two runs for each, and a few more where a lane's turn ends while its last message is under way
      expect(server.counts.connections).toBeLessThanOrEqual((MX * EACH) / 5)
      expect(server.counts.peak).toBeLessThanOrEqual(6)
    })

    it('and nobody waits for more than that: little mail is not kept behind much', async () => {
      const server = await delivered([200, 200, 200, 200, 200, 200, 3])
      const at = server.messages.findIndex(({ to }) => to[0] === 'a@d6.test')
      // six others, ten messages each, and what was under way
      expect(at).toBeLessThanOrEqual(6 * 10 + 8)
    })
  })

  describe('hands over messages ahead', () => {
    const policies = [{ name: 'acme', domains: ['acme.test'], concurrency: 1, rate: '1000/s' as const }]

    /** Ten messages to a server that does not answer the first of them until it is let go. */
    async function waiting(options: Partial<WrapOptions>, dot: SmtpAnswer) {
      let letGo = () => {}
      const going = new Promise<void>((resolve) => {
        letGo = resolve
      })
      let dots = 0
      const server = await w.server('mx1.test', '127.0.5.1', {
        script: async (event) => {
          if (event.phase !== 'dot' || ++dots > 1) return undefined
          await going
          return dot
        },
      })
      w.domain('acme.test', 'mx1.test')
      const transport = w.transport()
      const mailer = wrapTransport(transport, { store: memoryStore(), policies, ...options })
      close.push(() => mailer.close({ timeout: 0 }))
      const tickets = []
      for (let i = 0; i < 10; i++) tickets.push(await mailer.sendWithRetry(mail(`a${i}@acme.test`)))
      while (dots === 0) await new Promise(setImmediate)
      for (let i = 0; i < 20; i++) await new Promise(setImmediate)
      return { server, transport, mailer, tickets, letGo }
    }

    it('two for each connection of a lane, where nothing else is said; none has a connection more', async () => {
      const { server, mailer, tickets, letGo } = await waiting({}, '250 2.0.0 Ok')
      expect((await mailer.health()).inFlight).toBe(3)
      const lane = (await mailer.lanes()).find((one) => one.waiting > 0)
      expect(lane).toMatchObject({ inFlight: 3, waiting: 7 })
      letGo()
      await Promise.all(tickets.map((ticket) => ticket.settled()))
      expect(server.counts).toMatchObject({ connections: 1, messages: 10 })
    })

    it.each([
      ['the slots are stated', { egress: { concurrency: 10 } }],
      ['what may have been sent is not sent again', { onUncertain: 'park' }],
    ] as const)('none where %s', async (_, options) => {
      const { mailer, tickets, letGo } = await waiting(options, '250 2.0.0 Ok')
      expect((await mailer.health()).inFlight).toBe(1)
      letGo()
      await Promise.all(tickets.map((ticket) => ticket.settled()))
    })

    it('and none of them begins in a hold: it is given back as if it had not been tried', async () => {
      const { server, mailer, tickets, letGo } = await waiting({}, '421 4.7.0 Too many messages, slow down')
      letGo()
      while ((await mailer.health()).inFlight > 0) await new Promise(setImmediate)
      const states = await Promise.all(tickets.map((ticket) => mailer.status(ticket.id)))
      expect(states.map((state) => state?.recipients[0]?.history.length)).toEqual([
        1,
        ...new Array(9).fill(0),
      ])
      expect(server.counts).toMatchObject({ connections: 1, messages: 0 })
    })

    it('on no more sessions than the lane has, whatever hosts they are for', async () => {
      const sinks = await w.server('mx.test', '127.0.5.3', {
        script: async (event) => {
          if (event.phase === 'dot') await new Promise((resolve) => setTimeout(resolve, 5))
          return undefined
        },
      })
      const many = Array.from({ length: 12 }, (_, i) => `d${i}.test`)
      for (const domain of many) {
        w.domain(domain, `mx.${domain}`)
        w.dns.zone.set(`mx.${domain}`, [a('127.0.5.3')])
      }
      const one = { name: 'one', domains: many, lane: 'one', concurrency: 2, rate: '1000/s' as const }
      const mailer = wrapTransport(w.transport(), { store: memoryStore(), policies: [one] })
      close.push(() => mailer.close({ timeout: 0 }))
      await Promise.all(
        Array.from({ length: 60 }, (_, i) => mailer.sendWithRetry(mail(`a@${many[i % many.length]}`))),
      )
      await mailer.idle()
      expect(sinks.counts.messages).toBe(60)
      // idle ones do not count: what is bounded is how many are spoken on
      expect(atOnce(sinks.log)).toBeLessThanOrEqual(2)
    })
  })

  it('fails at once what a null MX refuses, and nothing that DNS only mislays', async () => {
    w.dns.zone.set('null.test', [mx('', 0)])
    w.dns.zone.set('broken.test', 'SERVFAIL')
    await w.server('mx1.test', '127.0.5.1')
    const mailer = mailerOf()
    const { run } = runner(clock, mailer)
    const never = await run(mailer.sendWithRetry(mail('a@null.test')))
    expect(await run(never.settled())).toMatchObject({
      status: 'failed',
      recipients: [{ reason: 'rejected' }],
    })
    const later = await run(mailer.sendWithRetry(mail('a@broken.test')))
    await run(new Promise<void>((resolve) => mailer.on('deferred', () => resolve())))
    w.dns.zone.set('broken.test', [a('127.0.5.1')])
    expect((await run(later.settled())).status).toBe('accepted')
  })
})

/** The most sessions that were between MAIL and the answer to the dot at a time. */
function atOnce(log: readonly SmtpLogLine[]): number {
  const under = new Set<number>()
  let most = 0
  for (const { kind, session, text, phase } of log) {
    if (kind === 'command' && text.startsWith('MAIL')) under.add(session)
    if (kind === 'reply' && phase === 'dot') under.delete(session)
    most = Math.max(most, under.size)
  }
  return most
}
