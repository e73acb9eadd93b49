import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clampToLast, nominalWait, scheduleOf, waitAfter } from '../../src/core/backoff.ts'
import type { Cause } from '../../src/core/cause.ts'
import type { ResolvedSchedule } from '../../src/core/reaction.ts'
import { durationText } from '../../src/core/units.ts'
import { DAY, HOUR, MIN, policyOf } from './fixtures.ts'

/** The age of a message at each try, as one would tell it. */
const told = (cause: Cause, ttl: '1h' | '1d' | '5d', user: Parameters<typeof policyOf>[0] = []) =>
  scheduleOf(policyOf(user), cause, ttl).map(durationText)

describe('the whole schedule of a message that is refused each time', () => {
  it('for no reason: 15 min, doubling to 4 h, and once more just before it expires', () => {
    expect(told('unknown', '5d')).toEqual([
      '0ms',
      '15m',
      '45m',
      '1h 45m',
      '3h 45m',
      '7h 45m',
      '11h 45m',
      '15h 45m',
      '19h 45m',
      '23h 45m',
      '1d 3h',
      '1d 7h',
      '1d 11h',
      '1d 15h',
      '1d 19h',
      '1d 23h',
      '2d 3h',
      '2d 7h',
      '2d 11h',
      '2d 15h',
      '2d 19h',
      '2d 23h',
      '3d 3h',
      '3d 7h',
      '3d 11h',
      '3d 15h',
      '3d 19h',
      '3d 23h',
      '4d 3h',
      '4d 7h',
      '4d 11h',
      '4d 15h',
      '4d 19h',
      '4d 23h',
      '4d 23h',
    ])
    expect(scheduleOf(policyOf(), 'unknown', '5d').at(-1)).toBe(5 * DAY - MIN)
  })

  it('by a greylist: sooner', () => {
    expect(told('greylist', '1h')).toEqual(['0ms', '6m', '21m', '51m', '59m'])
  })

  it('because the mailbox is full: for three days at most', () => {
    const ages = scheduleOf(policyOf(), 'mailbox-full', '5d')
    expect(ages.slice(0, 5).map(durationText)).toEqual(['0ms', '2h', '6h', '12h', '18h'])
    expect(ages.at(-1)).toBe(3 * DAY - MIN)
  })

  it('for its content: four tries', () => {
    expect(told('content', '5d')).toEqual(['0ms', '5m', '35m', '2h 35m'])
  })

  it('by a rate limit: the holds of its lane, doubling', () => {
    expect(told('rate-limit', '1d')).toEqual([
      '0ms',
      '5m',
      '15m',
      '35m',
      '1h 15m',
      '2h 35m',
      '5h 15m',
      '9h 15m',
      '13h 15m',
      '17h 15m',
      '21h 15m',
      '23h 59m',
    ])
  })

  it('for its login: after 5, 15 and 60 minutes, then hourly', () => {
    const ages = scheduleOf(policyOf(), 'auth-credentials', '1d').slice(0, 6).map(durationText)
    expect(ages).toEqual(['0ms', '5m', '20m', '1h 20m', '2h 20m', '3h 20m'])
  })

  it('because connections are recycled: at once, then half a minute apart, and after 20 free tries by the back-off', () => {
    const ages = scheduleOf(policyOf(), 'connection-recycle', '1d')
    expect(ages.slice(0, 4).map(durationText)).toEqual(['0ms', '0ms', '30s', '1m'])
    expect(ages.slice(19, 24).map(durationText)).toEqual(['9m', '9m 30s', '24m 30s', '54m 30s', '1h 54m'])
  })

  it('by a user’s own list', () => {
    expect(told('unknown', '1h', [{ name: 'mine', domains: ['*'], retry: ['5m', '20m'] }])).toEqual([
      '0ms',
      '5m',
      '25m',
      '45m',
      '59m',
    ])
  })

  it('by a user’s own curve for one cause', () => {
    const user = {
      name: 'mine',
      domains: ['*'],
      reactions: { greylist: { retry: { first: '1m', factor: 3, max: '10m' } } },
    } as const
    expect(told('greylist', '1h', [user])).toEqual([
      '0ms',
      '1m',
      '4m',
      '13m',
      '23m',
      '33m',
      '43m',
      '53m',
      '59m',
    ])
  })
})

describe('jitter', () => {
  const curve: ResolvedSchedule = {
    kind: 'curve',
    firstMs: 15 * MIN,
    factor: 2,
    maxMs: 4 * HOUR,
    jitter: 0.2,
  }
  const list: ResolvedSchedule = { kind: 'list', ms: [6 * MIN, 15 * MIN], spread: 0.2 }

  it('of a curve is a fifth of the wait either way, in proportion', () => {
    expect([0, 1, 2, 3, 4, 9].map((n) => waitAfter(curve, n, () => 0) / MIN)).toEqual([
      12, 24, 48, 96, 192, 192,
    ])
    expect([0, 1, 4].map((n) => waitAfter(curve, n, () => 0.999_999_9) / MIN).map(Math.round)).toEqual([
      18, 36, 288,
    ])
  })

  it('of a list only lengthens: a greylist is never met early', () => {
    expect([0, 1, 2].map((n) => waitAfter(list, n, () => 0) / MIN)).toEqual([6, 15, 15])
    expect(waitAfter(list, 0, () => 0.999_999_9) / MIN).toBeCloseTo(7.2, 3)
  })

  it('never leaves its bounds, however often it was tried', () => {
    const cases = fc.tuple(fc.nat(100_000), fc.double({ min: 0, max: 0.999_999, noNaN: true }))
    fc.assert(
      fc.property(cases, ([attempts, chance]) => {
        const wait = waitAfter(curve, attempts, () => chance)
        const nominal = nominalWait(curve, attempts)
        expect(wait).toBeGreaterThanOrEqual(Math.floor(nominal * 0.8))
        expect(wait).toBeLessThanOrEqual(Math.ceil(nominal * 1.2))
        expect(nominal).toBeLessThanOrEqual(4 * HOUR)
      }),
    )
  })
})

describe('the last try', () => {
  it('is a minute before the end, or a tenth of a short life', () => {
    expect(clampToLast(5 * DAY, 0, 0, DAY)).toBe(DAY - MIN)
    expect(clampToLast(5 * DAY, 0, 0, MIN)).toBe(54_000)
  })

  it('is not moved when the next one comes before it, and is not repeated', () => {
    expect(clampToLast(HOUR, 0, 0, DAY)).toBe(HOUR)
    expect(clampToLast(5 * DAY, DAY - MIN, 0, DAY)).toBeUndefined()
    expect(clampToLast(5 * DAY, 2 * DAY, 0, DAY)).toBeUndefined()
  })
})
