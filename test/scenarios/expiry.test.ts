// The TTL is enforced by itself: days of refusals end in one failure that carries them all.

import { describe, expect, it } from 'vitest'
import { BEGIN, DAY, HOUR, MINUTE, world } from './world.ts'

const ROUTES = ['relay', 'direct'] as const

describe.each(ROUTES)('%s: five days of 421', (route) => {
  it('that says nothing ends in expired, with the whole history', async () => {
    const w = await world({ route, smtp: { script: { on: 'rcpt', answer: '421 Try again later' } } })
    const failed: unknown[] = []
    w.mailer.on('failed', (e) => failed.push([e.reason, e.history.length, e.reply?.text]))
    const [outcome] = await w.deliver('a@one.test')
    const [recipient] = outcome?.recipients ?? []
    expect(recipient).toMatchObject({ state: 'failed', reason: 'expired' })
    const history = recipient?.history ?? []
    expect(history.length).toBe(recipient?.tries)
    expect(history.length).toBe(w.asked('rcpt'))
    expect(failed).toEqual([['expired', history.length, '421 Try again later']])
    // 15 min doubling to 4 h, over five days; the last try a minute before the end
    const waits = history.map((h, i) => (h.at - (history[i - 1]?.at ?? h.at)) / MINUTE)
    expect(history.length).toBeGreaterThan(28)
    expect(history.length).toBeLessThan(40)
    expect(Math.max(...waits)).toBeLessThanOrEqual(4.8 * 60)
    expect(history.at(-1)?.at).toBe(BEGIN + 5 * DAY - MINUTE)
    expect(w.clock.now()).toBeLessThanOrEqual(BEGIN + 5 * DAY)
  })

  it('that throttles ends in expired, knocking less and less', async () => {
    const w = await world({
      route,
      smtp: { script: { on: 'rcpt', answer: '421 4.7.0 Too many messages, try again later' } },
    })
    const outcomes = await w.deliver(...Array.from({ length: 20 }, (_, i) => `user${i}@one.test`))
    expect(outcomes.flatMap((o) => o.recipients.map((r) => r.reason))).toEqual(Array(20).fill('expired'))
    expect(w.clock.now() - BEGIN).toBeGreaterThanOrEqual(5 * DAY - MINUTE)
    expect(w.clock.now() - BEGIN).toBeLessThan(5 * DAY + 2 * MINUTE)
    // one probe per hold of up to 4 h, and each message's last try
    expect(w.asked('rcpt')).toBeLessThan(75)
  })
})

describe('the TTL', () => {
  const never = { script: { on: 'rcpt', answer: '451 4.3.0 Temporarily rejected' } } as const
  const policies = [{ name: 'slow', domains: ['slow.test'], ttl: '2d' }] as const

  it('per send comes before the policy, and the policy before the mailer', async () => {
    const w = await world({ smtp: never, ttl: '3d', policies })
    const tickets = [
      await w.send('a@slow.test', { ttl: '1d' }),
      await w.send('b@slow.test'),
      await w.send('c@other.test'),
    ]
    const outcomes = await w.run(Promise.all(tickets.map((t) => t.settled())))
    const days = outcomes.map((o) => Math.round((o.settledAt - BEGIN) / DAY))
    expect(days).toEqual([1, 2, 3])
  })

  it('counts from notBefore', async () => {
    const w = await world({ smtp: never })
    const ticket = await w.send('a@one.test', { ttl: '1h', notBefore: new Date(BEGIN + DAY) })
    await w.pass(DAY - 1)
    expect(w.server.counts.connections).toBe(0)
    const outcome = await w.run(ticket.settled())
    expect(outcome.recipients[0]?.history[0]?.at).toBe(BEGIN + DAY)
    expect(outcome.settledAt - BEGIN).toBeGreaterThan(DAY + 0.9 * HOUR)
    expect(outcome.settledAt - BEGIN).toBeLessThanOrEqual(DAY + HOUR + MINUTE)
  })

  it('ends what waits behind a hold that outlasts it', async () => {
    const w = await world()
    await w.mailer.hold('one.test')
    const ticket = await w.send('a@one.test', { ttl: '1h' })
    const outcome = await w.run(ticket.settled())
    expect(outcome.recipients[0]).toMatchObject({ state: 'failed', reason: 'expired', tries: 0, history: [] })
    expect(w.server.counts.connections).toBe(0)
  })

  it('stands still while the clock is being set', async () => {
    const w = await world()
    await w.mailer.hold('one.test')
    const ticket = await w.send('a@one.test', { ttl: '1h' })
    await w.pass(MINUTE)
    w.clock.jump(2 * HOUR)
    await w.pass(29_000)
    expect((await ticket.status())?.state).toBe('waiting')
    await w.pass(2 * MINUTE)
    expect((await ticket.status())?.state).toBe('settled')
  })
})
