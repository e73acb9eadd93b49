// What is about one's own account or connection: it holds all lanes, fails nobody, and is told once.

import { createTransport } from 'nodemailer'
import { memoryStore, wrapTransport } from 'steadymail'
import { manualClock, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { BEGIN, HOUR, MINUTE, mail, runner, world } from './world.ts'

const ROUTES = ['relay', 'direct'] as const

describe('a wrong password', () => {
  const auth = { user: 'shop', pass: 'wrong' }
  const smtp = { auth: { users: { shop: 'right' } } }

  it('closes the transport at once; one login is tried after 5, 15, 60 minutes, then hourly', async () => {
    const w = await world({ auth, smtp })
    const alarms: string[] = []
    w.mailer.on('trouble', (e) => alarms.push(`${e.kind}: ${e.advice}`))
    const tickets = [await w.send('a@one.test')]
    await w.rest()
    expect(w.asked('auth')).toBe(1)
    tickets.push(
      await w.send('b@two.test'),
      await w.send('c@three.test'),
      await w.send('d@four.test', { priority: 'high' }),
    )
    await w.pass(230 * MINUTE)
    const logins = w.server.log.filter((l) => l.kind === 'command' && l.phase === 'auth').slice(1)
    const waits = logins.map((l, i) => (l.at - (logins[i - 1]?.at ?? BEGIN)) / MINUTE)
    const expected = [5, 15, 60, 60, 60]
    expect(waits).toHaveLength(expected.length)
    for (const [i, wait] of waits.entries()) {
      expect(wait).toBeGreaterThan(0.9 * (expected[i] ?? 0))
      expect(wait).toBeLessThan(1.11 * (expected[i] ?? 0))
    }
    expect(alarms).toEqual([
      'login: Check user name, password or app password, and that SMTP login is allowed; repeated tries can lock the account.',
    ])
    expect(w.told.filter((t) => t.startsWith('failed'))).toEqual([])
    expect((await w.mailer.health()).state).toBe('held')
    for (const ticket of tickets) {
      expect((await ticket.status())?.state).toBe('waiting')
      expect((await w.mailer.explain(ticket.id))?.[0]).toMatchObject({
        binding: 'egress-hold',
        cause: 'auth-credentials',
        reply: '535 5.7.8 Authentication credentials invalid',
      })
    }
  })

  it('is tried at once after a restart, and all mail goes when it is right', async () => {
    const clock = manualClock()
    const server = await smtpServer({ now: clock.now, ...smtp })
    const store = memoryStore()
    const open = (pass: string) =>
      wrapTransport(
        createTransport({
          host: server.host,
          port: server.port,
          ignoreTLS: true,
          auth: { user: 'shop', pass },
        }),
        { store, clock },
      )
    // the test holds the store open, as another part of the process would
    await store.open()
    const wrong = open('wrong')
    const ticket = await wrong.sendWithRetry(mail('a@one.test'))
    await runner(clock, wrong).pass(MINUTE)
    await wrong.close()
    const right = open('right')
    onTestFinished(async () => {
      await right.close({ timeout: 0 })
      await store.close()
      await server.close()
    })
    const since = clock.now()
    await right.start()
    const again = await right.ticket(ticket.id)
    expect((await runner(clock, right).run(again?.settled() ?? Promise.reject())).status).toBe('accepted')
    expect(clock.now()).toBe(since)
  })
})

it.each(ROUTES)(
  '%s: connections refused for an hour hold, cost no attempt, and all arrives after',
  async (route) => {
    const w = await world({ route })
    await w.server.down()
    const tickets = await Promise.all(['a@one.test', 'b@one.test', 'c@two.test'].map((to) => w.send(to)))
    await w.pass(HOUR)
    expect(w.told.filter((t) => t.startsWith('failed'))).toEqual([])
    const tries = (await Promise.all(tickets.map((t) => t.status()))).map((s) => s?.recipients[0]?.tries ?? 0)
    expect(
      tries.reduce((a, b) => a + b),
      'an outage is not hammered',
    ).toBeLessThan(16)
    const [why] = (await w.mailer.explain(tickets[0]?.id ?? '')) ?? []
    expect(why).toMatchObject({ binding: route === 'relay' ? 'egress-hold' : 'hold', cause: 'network' })
    await w.server.up()
    const outcomes = await w.run(Promise.all(tickets.map((t) => t.settled())))
    expect(outcomes.map((o) => o.status)).toEqual(['accepted', 'accepted', 'accepted'])
    expect(outcomes.flatMap((o) => o.recipients.map((r) => r.attempts))).toEqual([1, 1, 1])
    expect(w.clock.now() - BEGIN - HOUR).toBeLessThan(35 * MINUTE)
  },
)

describe.each(ROUTES)('%s: a refusal for good before MAIL', (route) => {
  it.each([
    ['greeting', '554 5.7.1 Your address is listed at a blocklist'],
    ['greeting', '554 No SMTP service here'],
    ['ehlo', '550 5.7.1 Access denied'],
  ] as const)('at %s (%s) fails nobody; all goes when it ends', async (on, answer) => {
    // a client whose EHLO is refused says HELO
    const w = await world({ route, smtp: { script: { on, times: on === 'ehlo' ? 4 : 2, answer } } })
    const tickets = [await w.send('a@one.test')]
    await w.rest()
    for (const name of ['b', 'c', 'd']) tickets.push(await w.send(`${name}@one.test`))
    await w.pass(4 * MINUTE)
    expect(w.server.counts.connections).toBe(1)
    expect(w.told.filter((t) => t.startsWith('failed'))).toEqual([])
    expect(w.told).toContain(route === 'relay' ? 'held:@egress' : 'held:one.test')
    const outcomes = await w.run(Promise.all(tickets.map((t) => t.settled())))
    expect(outcomes.map((o) => o.status)).toEqual(Array(4).fill('accepted'))
    expect(w.server.messages).toHaveLength(4)
  })
})

describe('a rule that hits three lanes within a minute', () => {
  // the relay repeats what it says of us as if the provider had said it
  const reply = '421 4.7.0 host mx.example.test said: too many messages from your address'
  const smtp = { script: { on: 'rcpt', times: 4, answer: reply } } as const

  it('relay: is promoted to the transport', async () => {
    const w = await world({ smtp, route: 'relay' })
    for (const lane of ['one', 'two', 'three']) {
      await w.send(`a@${lane}.test`)
      await w.pass(10_000)
    }
    expect(w.told.filter((t) => t.startsWith('held'))).toEqual([
      'held:one.test',
      'held:two.test',
      'held:@egress',
    ])
    await w.send('a@four.test')
    await w.pass(MINUTE)
    expect(w.asked('rcpt')).toBe(3)
  })

  it('relay: not when they are further apart', async () => {
    const w = await world({ smtp, route: 'relay' })
    for (const lane of ['one', 'two', 'three']) {
      await w.send(`a@${lane}.test`)
      await w.pass(45_000)
    }
    expect(w.told.filter((t) => t.startsWith('held'))).toEqual([
      'held:one.test',
      'held:two.test',
      'held:three.test',
    ])
  })

  it('direct: says nothing of a fourth', async () => {
    const w = await world({ smtp, route: 'direct' })
    for (const lane of ['one', 'two', 'three']) await w.send(`a@${lane}.test`)
    await w.rest()
    expect(w.told.filter((t) => t.startsWith('held'))).toHaveLength(3)
    expect(w.told).not.toContain('held:@egress')
  })
})

it.each(ROUTES)('%s: an authentication refusal holds that From domain only', async (route) => {
  const w = await world({
    route,
    smtp: {
      script: {
        on: 'dot',
        from: '@sender.test',
        times: 1,
        answer: '421 4.7.26 This mail is unauthenticated: SPF and DKIM did not pass for sender.test',
      },
    },
  })
  const first = await w.send('a@one.test')
  await w.rest()
  expect(w.told).toContain('held:@from:sender.test')
  const same = await w.send('b@two.test')
  const other = await w.mailer.sendWithRetry({ ...mail('c@one.test'), from: 'desk@other.test' })
  await w.rest()
  expect((await other.status())?.state).toBe('settled')
  expect((await same.status())?.state).toBe('waiting')
  expect((await w.mailer.explain(same.id))?.[0]).toMatchObject({
    binding: 'sender-hold',
    cause: 'authentication',
  })
  expect((await w.mailer.lanes()).map((l) => l.lane)).toContain('@from:sender.test')
  const outcomes = await w.run(Promise.all([first.settled(), same.settled()]))
  expect(outcomes.map((o) => o.status)).toEqual(['accepted', 'accepted'])
})

it.each(ROUTES)('%s: no message that is refused for its own sake keeps others waiting', async (route) => {
  const w = await world({
    route,
    smtp: {
      script: { on: 'rcpt', to: 'poison@one.test', answer: '421 4.7.0 Too many messages, try again later' },
    },
  })
  const alarms: string[] = []
  w.mailer.on('trouble', (e) => alarms.push(`${e.kind}: ${e.pattern}`))
  const poison = await w.send('poison@one.test', { priority: 'high' })
  await w.rest()
  const others = await Promise.all(
    ['b', 'c', 'd'].map((name) => w.send(`${name}@${route === 'relay' ? 'two' : 'one'}.test`)),
  )
  const outcomes = await w.run(Promise.all(others.map((t) => t.settled())))
  expect(outcomes.map((o) => o.status)).toEqual(['accepted', 'accepted', 'accepted'])
  expect(w.clock.now() - BEGIN).toBeLessThan(20 * MINUTE)
  expect((await poison.status())?.state).toBe('waiting')
  expect(alarms).toEqual([`poison: the message ${poison.id} is refused while others pass`])
  expect(w.told.filter((t) => t.startsWith('held'))).toHaveLength(1)
})

it('what a relay says of the account does not open a held lane whose probe heard it', async () => {
  const busy = '421 4.7.0 Too many messages from your account, try again later'
  const w = await world({ smtp: { script: { on: 'mail', times: 1, answer: busy } } })
  await w.mailer.hold('one.test', { for: '1m' })
  const ticket = await w.send('a@one.test')
  await w.run(ticket.settled())
  const ofLane = w.told.filter((told) => told.endsWith(':one.test'))
  expect(ofLane).toEqual(['held:one.test', 'probing:one.test', 'probing:one.test', 'recovering:one.test'])
})
