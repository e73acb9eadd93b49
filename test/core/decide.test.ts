import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { apply } from '../../src/core/apply.ts'
import { CAUSES, type Cause, SCOPES } from '../../src/core/cause.ts'
import { crashRecord } from '../../src/core/crash.ts'
import { afterCrash, type Decision, decide, effectOf, type Tried } from '../../src/core/decide.ts'
import type { Delivery } from '../../src/core/delivery.ts'
import { PHASES, type Reply } from '../../src/core/reply.ts'
import type { Verdict } from '../../src/core/verdict.ts'
import { DAY, deliveryOf, HOUR, MIN, middle, policyOf, replyOf, T0, verdictOf } from './fixtures.ts'

const policy = policyOf()
const context = { onUncertain: 'retry' as const, now: T0, random: middle }

interface Said {
  readonly reply?: Partial<Reply>
  readonly verdict?: Partial<Verdict>
  readonly route?: 'relay' | 'direct'
  readonly tried?: Partial<Tried>
  readonly delivery?: Partial<Delivery>
  readonly now?: number
}

function decided(cause: Cause, said: Said = {}): Decision {
  const reply = replyOf(said.reply)
  const verdict = verdictOf(cause, said.verdict)
  const effect = effectOf(reply, verdict, said.route ?? 'direct', policy)
  const tried = { reply, accepted: false, uncertain: false, verdict, effect, ofMessage: false, ...said.tried }
  return decide(tried, deliveryOf(said.delivery), policy, { ...context, now: said.now ?? T0 })
}

const retry = (waitMs: number, countsAsAttempt: boolean) => ({
  kind: 'retry',
  at: T0 + waitMs,
  countsAsAttempt,
})
const permanent = { persistence: 'permanent' } as const

describe('a throttle is not a failed attempt', () => {
  it.each(['rate-limit', 'concurrency', 'reputation-ip', 'server-busy', 'connection-recycle'] as const)(
    '%s: once at once, then half a minute apart, none of it counted',
    (cause) => {
      expect(decided(cause)).toEqual(retry(0, false))
      for (const uncounted of [1, 2, 19])
        expect(decided(cause, { delivery: { uncounted } })).toEqual(retry(30_000, false))
    },
  )

  it('nothing is free for ever: after 20 they count, each of them, by the message’s own back-off', () => {
    const first = decided('rate-limit', { delivery: { uncounted: 20 } })
    expect(first).toEqual({ ...retry(15 * MIN, true), overdrawn: true })
    const record = { at: T0, durationMs: 0, counted: true, reply: replyOf() }
    const after = apply(deliveryOf({ uncounted: 20 }), first, record, T0)
    expect(decided('rate-limit', { delivery: after })).toEqual({ ...retry(30 * MIN, true), overdrawn: true })
  })

  it('a lane that found the throttle to be about this message counts it', () => {
    expect(decided('rate-limit', { tried: { ofMessage: true } })).toEqual(retry(15 * MIN, true))
  })

  it('said of one recipient it is that recipient’s back-off', () => {
    expect(decided('rate-limit', { verdict: { scope: 'recipient' } })).toEqual(retry(15 * MIN, true))
  })
})

describe('what is about the message or its recipient', () => {
  it('without a reason: 15 min, doubling to 4 h', () => {
    const waits = [0, 1, 2, 3, 4, 5].map((attempts) => decided('unknown', { delivery: { attempts } }))
    expect(waits).toEqual([15, 30, 60, 120, 240, 240].map((min) => retry(min * MIN, true)))
  })

  it('a greylist is met sooner', () => {
    const waits = [0, 1, 2, 3].map((attempts) => decided('greylist', { delivery: { attempts } }))
    // at the middle of chance, a tenth over 6, 15 and 30 min
    expect(waits).toEqual([6.6, 16.5, 33, 33].map((min) => retry(min * MIN, true)))
  })

  it('content is tried four times, then it is rejected', () => {
    expect(decided('content', { delivery: { attempts: 2 } })).toMatchObject({ kind: 'retry' })
    expect(decided('content', { delivery: { attempts: 3 } })).toEqual({ kind: 'fail', reason: 'rejected' })
  })

  it('a full mailbox is waited for during three days, with a last try at their end', () => {
    const old = { createdAt: T0 - 3 * DAY + 30 * MIN, attempts: 9 }
    expect(decided('mailbox-full', { delivery: old })).toEqual(retry(29 * MIN, true))
    expect(decided('mailbox-full', { delivery: old, now: T0 + 29 * MIN })).toEqual({
      kind: 'fail',
      reason: 'expired',
    })
  })

  it.each(
    CAUSES.filter(
      (c) =>
        ![
          'connection-recycle',
          'too-many-recipients',
          'tls-required',
          'auth-credentials',
          'network',
          'protocol',
        ].includes(c),
    ),
  )('%s with a 5xx to RCPT fails', (cause) => {
    expect(decided(cause, { verdict: permanent, reply: { code: 550 } })).toEqual({
      kind: 'fail',
      reason: 'rejected',
    })
  })
})

describe('time said by the server', () => {
  const stated = (retryAfterMs: number, delivery: Partial<Delivery> = {}) =>
    decided('greylist', { verdict: { retryAfterMs, retryAfterFrom: 'text' }, delivery })

  it('counts, and is not met early', () => {
    expect(stated(299_000)).toEqual(retry(Math.ceil(299_000 * 1.05), true))
  })

  it('is believed between a second and a day', () => {
    expect(stated(1)).toEqual(retry(1_050, true))
    expect(stated(30 * DAY)).toEqual(retry(1.05 * DAY, true))
  })

  it('from the second refusal on gives way to a longer back-off', () => {
    expect(stated(MIN, { attempts: 1 })).toEqual(retry(16.5 * MIN, true))
    expect(stated(HOUR, { attempts: 1 })).toEqual(retry(63 * MIN, true))
  })

  it('a rule’s own wait is taken as it is', () => {
    const ruled = { retryAfterMs: 2 * DAY, retryAfterFrom: 'rule' } as const
    expect(decided('unknown', { verdict: ruled })).toEqual(retry(2.1 * DAY, true))
  })
})

describe('no reply before MAIL ever fails a delivery', () => {
  it.each(['greeting', 'ehlo', 'auth', 'idle'] as const)('554 in %s', (phase) => {
    for (const cause of CAUSES)
      for (const scope of SCOPES)
        for (const route of ['relay', 'direct'] as const) {
          const decision = decided(cause, {
            reply: { code: 554, phase },
            verdict: { ...permanent, scope },
            route,
          })
          expect(`${cause} ${scope}: ${decision.kind}`).toBe(`${cause} ${scope}: retry`)
        }
  })

  it('nor does it count', () => {
    expect(decided('blocklist', { reply: { code: 554, phase: 'greeting' }, verdict: permanent })).toEqual(
      retry(0, false),
    )
  })

  it('but a domain that does not exist is no reply: it fails', () => {
    const reply: Reply = { text: 'queryMx ENOTFOUND', errno: 'ENOTFOUND', phase: 'unknown' }
    expect(decided('dns', { reply: { ...reply }, verdict: permanent })).toEqual({
      kind: 'fail',
      reason: 'rejected',
    })
  })
})

describe('a 5xx that says nothing of the message keeps it', () => {
  it.each(['mail', 'rcpt'] as const)('authentication required, in %s', (phase) => {
    expect(
      decided('auth-credentials', { reply: { code: 530, phase }, verdict: permanent, route: 'relay' }),
    ).toEqual(retry(0, false))
  })

  it('STARTTLS first', () => {
    expect(decided('tls-required', { reply: { code: 530, phase: 'mail' }, verdict: permanent })).toEqual(
      retry(0, false),
    )
  })

  it('a refused dialogue that a fresh connection cures', () => {
    const decision = decided('protocol', {
      reply: { code: 503 },
      verdict: { ...permanent, scope: 'connection' },
    })
    expect(decision).toEqual(retry(2 * MIN, true))
  })
})

describe('too many recipients', () => {
  const tooMany = (tried: Partial<Tried>, uncounted: number, verdict: Partial<Verdict> = {}) =>
    decided('too-many-recipients', { reply: { code: 452 }, tried, delivery: { uncounted }, verdict })

  it('the rest go at once, as long as that gets somewhere', () => {
    for (const uncounted of [0, 1, 7]) expect(tooMany({ progress: true }, uncounted)).toEqual(retry(0, false))
  })

  it('without progress half a minute apart: no hot loop', () => {
    expect([0, 1, 2].map((n) => tooMany({}, n))).toEqual([
      retry(0, false),
      retry(30_000, false),
      retry(30_000, false),
    ])
  })

  it('a 5xx is as a 452 at first, and fails when one alone is too many again and again', () => {
    expect(tooMany({ progress: true }, 9, permanent)).toEqual(retry(0, false))
    expect(tooMany({}, 2, permanent)).toEqual(retry(30_000, false))
    expect(tooMany({}, 3, permanent)).toEqual({ kind: 'fail', reason: 'rejected' })
  })
})

describe('the end of a message’s time', () => {
  it('a wait that would pass it is cut to a last try just before', () => {
    const delivery = { attempts: 5, expiresAt: T0 + HOUR }
    expect(decided('unknown', { delivery })).toEqual(retry(59 * MIN, true))
  })

  it('refused at the last try it has expired', () => {
    const delivery = { attempts: 5, expiresAt: T0 + HOUR }
    expect(decided('unknown', { delivery, now: T0 + 59 * MIN })).toEqual({ kind: 'fail', reason: 'expired' })
    expect(decided('rate-limit', { delivery, now: T0 + 59 * MIN })).toEqual({
      kind: 'fail',
      reason: 'expired',
    })
  })

  it('a delivery that is refused for ever ends, whatever is said, after finitely many tries and not before its time', () => {
    const lives = fc.tuple(
      fc.constantFrom(...CAUSES),
      fc.integer({ min: MIN, max: 5 * DAY }),
      fc.constantFrom(...PHASES),
    )
    fc.assert(
      fc.property(
        lives,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        ([cause, ttl, phase], chance) => {
          let delivery = deliveryOf({ expiresAt: T0 + ttl })
          let now = T0
          for (let tries = 0; tries < 2_000; tries++) {
            const verdict = verdictOf(cause)
            const reply = replyOf({ phase })
            const effect = effectOf(reply, verdict, 'direct', policy)
            const tried = { reply, accepted: false, uncertain: false, verdict, effect, ofMessage: false }
            const decision = decide(tried, delivery, policy, {
              ...context,
              now,
              random: () => chance.next().value,
            })
            const record = { at: now, durationMs: 0, counted: true, reply }
            delivery = apply(delivery, decision, record, now)
            if (decision.kind !== 'retry') {
              expect(decision.kind).toBe('fail')
              expect(delivery.tries).toBe(tries + 1)
              return
            }
            expect(decision.at).toBeGreaterThanOrEqual(now)
            expect(decision.at).toBeLessThan(delivery.expiresAt)
            now = decision.at
          }
          expect.fail('it never ended')
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('an uncertain outcome', () => {
  const lost = (onUncertain: 'retry' | 'park' | 'fail', uncertain = 0): Decision => {
    const reply: Reply = { text: 'Connection closed', errno: 'ECONNECTION', phase: 'dot' }
    const verdict = verdictOf('network')
    const effect = effectOf(reply, verdict, 'direct', policy)
    const tried = { reply, accepted: false, uncertain: true, verdict, effect, ofMessage: false }
    return decide(tried, deliveryOf({ uncertain }), policy, { ...context, onUncertain })
  }

  it('retry: again in a minute, counted', () => expect(lost('retry')).toEqual(retry(MIN, true)))
  it('park: a person decides', () => expect(lost('park')).toEqual({ kind: 'park', why: 'uncertain' }))
  it('fail: it is given up', () => expect(lost('fail')).toEqual({ kind: 'fail', reason: 'uncertain' }))
  it('the second parks it whatever the policy', () =>
    expect(lost('retry', 1)).toEqual({ kind: 'park', why: 'uncertain' }))
})

describe('a claim found open after a crash', () => {
  /** Crashes at these minutes; what was decided each time. */
  function crashes(minutes: readonly number[], onUncertain: 'retry' | 'park' | 'fail' = 'retry'): string[] {
    let delivery = deliveryOf()
    return minutes.map((minute) => {
      const now = T0 + minute * MIN
      const decision = afterCrash(delivery, { ...context, now, onUncertain })
      delivery = apply(delivery, decision, crashRecord(now), now)
      return decision.kind === 'retry' ? `again at ${(decision.at - T0) / MIN}` : JSON.stringify(decision)
    })
  }
  const parked = '{"kind":"park","why":"crashes"}'

  it('is tried at once, then after a quarter to half an hour, then parked: no message kills every start', () => {
    expect(crashes([0, 20, 36])).toEqual(['again at 0', 'again at 42.5', parked])
  })

  it('a service that restarts again and again within minutes has crashed once', () => {
    expect(crashes([0, 1, 17, 33])).toEqual(['again at 0', 'again at 23.5', 'again at 39.5', parked])
  })

  it('may have been delivered, so onUncertain is asked', () => {
    expect(crashes([0], 'park')).toEqual(['{"kind":"park","why":"uncertain"}'])
    expect(crashes([0], 'fail')).toEqual(['{"kind":"fail","reason":"uncertain"}'])
  })

  it('is told in the history, and is neither an attempt nor an uncertain outcome of one', () => {
    const after = apply(deliveryOf(), { kind: 'retry', at: T0, countsAsAttempt: false }, crashRecord(T0), T0)
    expect(after).toMatchObject({ crashes: 1, tries: 1, attempts: 0, uncounted: 0, uncertain: 0 })
    expect(after.last?.reply.text).toBe('the process ended during this try')
  })
})

it('an accepted delivery is complete', () => {
  const effect = effectOf(replyOf({ code: 250 }), undefined, 'relay', policy)
  const tried = { reply: replyOf({ code: 250 }), accepted: true, uncertain: false, effect, ofMessage: false }
  expect(decide(tried, deliveryOf(), policy, context)).toEqual({ kind: 'complete' })
})
