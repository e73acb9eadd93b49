// A 421 in each phase: whom it holds, that nothing knocks meanwhile, and that everybody gets the mail once.

import { during, maxConnections, maxMessagesPerConnection } from 'steadymail/testing'
import { describe, expect, it } from 'vitest'
import { BEGIN, HOUR, MINUTE, world } from './world.ts'

const ROUTES = ['relay', 'direct'] as const
const PHASES = ['greeting', 'ehlo', 'mail', 'rcpt', 'data', 'dot'] as const
const TOO_MANY = '421 4.7.0 Too many messages from your address, try again later'

describe.each(ROUTES)('%s: one 421 that says why', (route) => {
  it.each(PHASES)('in %s holds, is probed once, and every message arrives once', async (phase) => {
    const w = await world({ route, smtp: { script: [{ on: phase, times: 2, answer: TOO_MANY }] } })
    const first = await w.send('first@one.test')
    await w.rest()
    const held = route === 'relay' ? '@egress' : 'one.test'
    expect(w.told).toEqual([`held:${held}`, 'deferred:first@one.test'])

    const rest = await Promise.all(['b', 'c', 'd'].map((name) => w.send(`${name}@one.test`)))
    const connections = w.server.counts.connections
    await w.pass(4 * MINUTE)
    expect(w.server.counts.connections, 'nobody knocks while it is held').toBe(connections)

    const outcomes = await w.run(Promise.all([first, ...rest].map((t) => t.settled())))
    expect(outcomes.map((o) => o.status)).toEqual(Array(4).fill('accepted'))
    expect(w.server.messages.map((m) => m.to[0]).sort()).toEqual([
      'b@one.test',
      'c@one.test',
      'd@one.test',
      'first@one.test',
    ])
    expect(w.told.filter((t) => t === `held:${held}`)).toHaveLength(2)
    expect(w.told.filter((t) => t === `probing:${held}`)).toHaveLength(2)
    expect(w.told.filter((t) => t === `recovering:${held}`)).toHaveLength(1)
    const refused = outcomes.flatMap((o) => o.recipients.flatMap((r) => r.history.filter((h) => h.verdict)))
    expect(refused.map((h) => [h.reply.text, h.reply.phase, h.verdict?.cause, h.counted])).toEqual(
      Array(2).fill([TOO_MANY, phase, 'rate-limit', false]),
    )
    // the second hold is longer than the first: 5 min, then 10, each ±10 %
    expect(w.clock.now() - BEGIN).toBeGreaterThan(13 * MINUTE)
  })
})

it.each(ROUTES)(
  '%s: a throttle of an hour is met by a handful of tries, not by every message',
  async (route) => {
    const w = await world({
      route,
      smtp: { script: during({ until: BEGIN + HOUR }, (e) => (e.phase === 'rcpt' ? TOO_MANY : undefined)) },
    })
    const tickets = await Promise.all(Array.from({ length: 300 }, (_, i) => w.send(`user${i}@one.test`)))
    await w.pass(HOUR)
    // those in flight at the first reply, then one probe at 5, 15 and 35 min
    expect(w.asked('rcpt')).toBeLessThanOrEqual(5 + 3)
    expect(
      w.told.filter((t) => t.startsWith('trouble')),
      'told once',
    ).toHaveLength(1)
    const outcomes = await w.run(Promise.all(tickets.map((t) => t.settled())))
    expect(outcomes.every((o) => o.status === 'accepted')).toBe(true)
    expect(w.server.messages).toHaveLength(300)
    expect(w.asked('rcpt')).toBeLessThanOrEqual(300 + 10)
    expect(w.clock.now() - BEGIN).toBeLessThan(3 * HOUR)
  },
)

it('direct: a throttled domain does not keep another waiting', async () => {
  const w = await world({
    route: 'direct',
    smtp: { script: [{ on: 'rcpt', to: '@one.test', times: 1, answer: TOO_MANY }] },
  })
  const first = await w.send('a@one.test')
  await w.rest()
  const other = await w.send('b@two.test')
  await w.rest()
  expect((await other.status())?.state).toBe('settled')
  expect((await first.status())?.state).toBe('waiting')
})

describe.each(ROUTES)('%s: a 421 that says nothing', (route) => {
  it.each(PHASES)('once in %s defers its message and holds nobody', async (phase) => {
    const w = await world({
      route,
      smtp: { script: [{ on: phase, times: 1, answer: '421 Try again later' }] },
    })
    const outcomes = await w.deliver('a@one.test', 'b@one.test', 'c@two.test')
    expect(w.told.filter((t) => /^held/.test(t))).toEqual([])
    expect(outcomes.map((o) => o.recipients[0]?.tries).sort()).toEqual([1, 1, 2])
    expect(w.server.messages).toHaveLength(3)
  })
})

it.each(ROUTES)('%s: a 421 on an idle pooled connection costs nothing', async (route) => {
  const w = await world({ route, pool: true })
  await w.deliver('a@one.test')
  expect(w.server.endIdle('421 4.4.2 idle too long, closing connection')).toBe(1)
  const [outcome] = await w.deliver('b@one.test')
  expect(outcome?.recipients[0]).toMatchObject({ state: 'accepted', tries: 1 })
  expect(w.told).toEqual(['accepted:a@one.test', 'accepted:b@one.test'])
  expect(w.clock.now()).toBe(BEGIN)
})

it.each(ROUTES)('%s: "too many connections" lowers the concurrency and all arrives', async (route) => {
  const w = await world({ route, smtp: { script: maxConnections(2) } })
  const adapted: string[] = []
  w.mailer.on('adapted', (e) => adapted.push(`${e.lane} ${e.what} ${e.from} to ${e.to}`))
  const outcomes = await w.deliver(...Array.from({ length: 12 }, (_, i) => `user${i}@one.test`))
  expect(outcomes.map((o) => o.status)).toEqual(Array(12).fill('accepted'))
  expect(w.server.messages).toHaveLength(12)
  expect(adapted[0]).toMatch(
    route === 'relay' ? /^@egress concurrency 5 to / : /^one.test concurrency 10 to /,
  )
  expect(w.server.counts.connections).toBeLessThan(24)
  expect(w.clock.now() - BEGIN).toBeLessThan(10 * MINUTE)
})

describe.each(ROUTES)('%s: "too many messages on this connection"', (route) => {
  it('is tried again at once, on a fresh connection, without penalty', async () => {
    const w = await world({
      route,
      pool: true,
      transport: { maxConnections: 1 },
      smtp: { script: maxMessagesPerConnection(5) },
    })
    const outcomes = await w.deliver(...Array.from({ length: 8 }, (_, i) => `user${i}@one.test`))
    expect(outcomes.map((o) => o.status)).toEqual(Array(8).fill('accepted'))
    expect(w.told.filter((t) => !/^accepted/.test(t))).toEqual(['deferred:user5@one.test'])
    expect(outcomes[5]?.recipients[0]).toMatchObject({ tries: 2, attempts: 1 })
    expect(w.clock.now(), 'nothing waited').toBe(BEGIN)
    expect(w.server.messages).toHaveLength(8)
  })

  it('does not turn into a hot loop when it never stops', async () => {
    const w = await world({ route, smtp: { script: maxMessagesPerConnection(0) } })
    const ticket = await w.send('a@one.test')
    await w.pass(HOUR)
    // one at once, then 30 s apart, and from the 21st on they count: 15, 30, 60 min
    expect(w.server.counts.mail).toBeLessThan(26)
    const status = await ticket.status()
    expect(status?.recipients[0]?.history.filter((h) => !h.counted)).toHaveLength(20)
    expect(w.told.filter((t) => /^held/.test(t))).toEqual([])
  })
})
