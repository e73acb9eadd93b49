import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bucket, reserve } from '../../src/core/bucket.ts'

const perMinute = (count: number, burst: number) => ({ perMs: count / 60_000, burst })

describe('a token bucket', () => {
  it('lets a burst go at once and then one every three seconds at 20/min', () => {
    const rate = perMinute(20, 2)
    let bucket: Bucket = { tokens: 2, at: 0 }
    const times: number[] = []
    let now = 0
    for (let i = 0; i < 5; i += 1) {
      const { readyAt } = reserve(bucket, rate, now, 1)
      now = readyAt
      bucket = reserve(bucket, rate, now, 1).bucket
      times.push(now)
    }
    expect(times).toEqual([0, 0, 3_000, 6_000, 9_000])
  })

  it('answers a whole millisecond that is late enough, whatever the fraction', () => {
    const { readyAt } = reserve({ tokens: 0, at: 0 }, perMinute(7, 1), 0, 1)
    expect(readyAt).toBe(8_572)
    expect(reserve({ tokens: 0, at: 0 }, perMinute(7, 1), readyAt, 1).readyAt).toBe(readyAt)
  })

  it('lets a cost above the burst go when full, and pays the debt afterwards', () => {
    const spent = reserve({ tokens: 5, at: 0 }, perMinute(60, 5), 0, 8)
    expect(spent.readyAt).toBe(0)
    expect(reserve(spent.bucket, perMinute(60, 5), 0, 1).readyAt).toBe(4_000)
  })

  it('never says when for a rate of nothing', () => {
    expect(reserve({ tokens: 0, at: 0 }, { perMs: 0, burst: 1 }, 0, 1).readyAt).toBe(Infinity)
  })

  it('has no limit for an infinite rate', () => {
    expect(reserve({ tokens: -3, at: 0 }, { perMs: Infinity, burst: 4 }, 0, 4).readyAt).toBe(0)
  })

  it('fills nothing and takes nothing when the clock goes back', () => {
    const spent = reserve({ tokens: 1, at: 10_000 }, perMinute(60, 1), 10_000, 1).bucket
    expect(reserve(spent, perMinute(60, 1), 4_000, 1).readyAt).toBe(5_000)
  })

  it('never lets more than rate × T + burst go in any stretch of length T', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 2, maxLength: 60 }),
        (count, burst, pauses) => {
          const rate = perMinute(count, burst)
          let bucket: Bucket = { tokens: burst, at: 0 }
          let now = 0
          const times: number[] = []
          for (const pause of pauses) {
            now = Math.max(now + pause, reserve(bucket, rate, now + pause, 1).readyAt)
            bucket = reserve(bucket, rate, now, 1).bucket
            times.push(now)
          }
          for (const [i, from] of times.entries())
            for (const [j, to] of times.entries())
              if (j >= i) expect(j - i + 1).toBeLessThanOrEqual(rate.perMs * (to - from) + burst + 1e-6)
        },
      ),
    )
  })
})
