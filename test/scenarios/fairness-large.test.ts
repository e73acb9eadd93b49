// Fairness at size: fifty thousand lanes behind one account, and a lane with much beside one with little.
// The small cases, on real sockets, are fairness.test.ts.

import { memoryStore, type Store } from 'steadymail'
import { describe, expect, it } from 'vitest'
import { type ManualWorld, manualWorld } from './manual-world.ts'
import { BEGIN, DAY, MINUTE } from './world.ts'

const SECOND = 1_000
const NORMAL = 1
const BULK = 2

/** Puts mail in the store as an earlier process would have left it: `count` messages, `lanes` domains in turn. */
async function leave(
  store: Store,
  left: { count: number; lanes: number; name: string; priority: 1 | 2 },
): Promise<void> {
  const { count, lanes, name, priority } = left
  const bytes = new TextEncoder().encode('Subject: Hello\r\n\r\nHello there.\r\n')
  const times = { createdAt: BEGIN, expiresAt: BEGIN + 5 * DAY }
  for (let i = 0; i < count; i++) {
    const id = `${name}-${String(i).padStart(6, '0')}`
    const domain = lanes === 1 ? `${name}.test` : `${name}${i % lanes}.test`
    const counters = { attempts: 0, tries: 0, uncounted: 0, uncertain: 0, crashes: 0 }
    await store.add(
      {
        message: {
          id,
          messageId: `<${id}@sender.test>`,
          from: 'shop@sender.test',
          fromDomain: 'sender.test',
          size: bytes.length,
          priority,
          recipients: 1,
          wire: {},
          ...times,
        },
        bytes,
        deliveries: [
          {
            ticket: id,
            address: `user${i}@${domain}`,
            domain,
            lane: domain,
            sender: 'sender.test',
            priority,
            state: 'waiting',
            dueAt: BEGIN,
            ...counters,
            ...times,
          },
        ],
      },
      undefined,
      0,
    )
  }
}

/** What left so far, by the first letters of its domain. */
const gone = (w: ManualWorld) => {
  const counts: Record<string, number> = {}
  for (const { to } of w.transport.attempts) {
    const kind = to[0]?.match(/@([a-z]+)/)?.[1] ?? ''
    counts[kind] = (counts[kind] ?? 0) + 1
  }
  return counts
}

describe('50,000 lanes of bulk behind a transport of 14 a second', () => {
  const fifty = { count: 50_000, lanes: 50_000, name: 'bulk', priority: BULK } as const

  it('let a password reset in a new lane go at once', async () => {
    const store = memoryStore()
    await leave(store, fifty)
    const w = await manualWorld({ store, egress: { rate: '14/s' } })
    await w.mailer.start()
    await w.clock.advance(10 * SECOND)
    expect((await w.mailer.health()).waiting).toBeGreaterThan(49_000)
    const before = w.transport.attempts.length
    const reset = await w.send('reset@new.test', { priority: 'high' })
    const outcome = await w.clock.runUntil(reset.settled())
    expect(outcome.status).toBe('accepted')
    // the next token is its, a fourteenth of a second away
    expect(outcome.settledAt - BEGIN - 10 * SECOND).toBeLessThanOrEqual(SECOND / 14 + 1)
    expect(w.transport.attempts.length - before).toBeLessThanOrEqual(2)
  })

  it('keep a tenth of what leaves while normal mail keeps coming', async () => {
    const store = memoryStore()
    await leave(store, fifty)
    await leave(store, { count: 2_000, lanes: 300, name: 'normal', priority: NORMAL })
    const w = await manualWorld({ store, egress: { rate: '14/s', burst: 1 } })
    await w.mailer.start()
    for (let second = 0; second < 60; second++) {
      await w.send(`fresh${second}@fresh${second}.test`)
      await w.clock.advance(SECOND)
    }
    const { bulk = 0, normal = 0, fresh = 0 } = gone(w)
    const all = bulk + normal + fresh
    // a burst of 1 loses what is less than a millisecond
    expect(all).toBeGreaterThan(0.99 * 14 * 60)
    expect(all).toBeLessThanOrEqual(14 * 60 + 1)
    expect(bulk / all).toBeGreaterThan(0.09)
    expect(bulk / all).toBeLessThan(0.11)
    // a new lane waits for one turn of the 300 others at most, 24 s, not for all that waits in them
    expect(fresh).toBeGreaterThan(60 - 25)
  })
})

it('a lane with 20,000 waiting and one with 5 both move at their own limits', async () => {
  const store = memoryStore()
  await leave(store, { count: 20_000, lanes: 1, name: 'large', priority: NORMAL })
  await leave(store, { count: 5, lanes: 1, name: 'small', priority: NORMAL })
  const w = await manualWorld({
    store,
    policies: [
      { name: 'large', domains: ['large.test'], rate: '10/s', burst: 1 },
      { name: 'small', domains: ['small.test'], rate: '1/min', burst: 1 },
    ],
  })
  await w.mailer.start()
  for (let minute = 0; minute < 5; minute++) {
    await w.clock.advance(minute === 0 ? SECOND : MINUTE)
    const { large = 0, small = 0 } = gone(w)
    expect(small).toBe(minute + 1)
    expect(large).toBeGreaterThanOrEqual(10 * (60 * minute + 1))
    expect(large).toBeLessThanOrEqual(10 * (60 * minute + 1) + 1)
  }
})
