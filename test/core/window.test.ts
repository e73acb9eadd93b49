import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clampWindow, giveBack, opensAt, openWindow, spend, used } from '../../src/core/window.ts'

const HOUR = 3_600_000

describe('a rolling window', () => {
  it('lets the cap go and then waits until the first part of it has left', () => {
    let window = openWindow(HOUR)
    for (let i = 0; i < 10; i += 1) window = spend(window, 1, i)
    expect(opensAt(window, 10, 10)).toBe(HOUR + HOUR / 24)
    expect(opensAt(window, 11, 10)).toBe(10)
    expect(used(window, HOUR + HOUR / 24)).toBe(0)
  })

  it('never lets more than the cap go in any stretch of its length, and wastes at most a tenth of it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 0, max: 2_000_000_000_000 }),
        fc.array(fc.integer({ min: 0, max: HOUR / 5 }), { minLength: 1, maxLength: 120 }),
        (cap, start, pauses) => {
          let window = openWindow(HOUR)
          let now = start
          const times: number[] = []
          for (const pause of pauses) {
            now = opensAt(window, cap, now + pause)
            window = spend(window, 1, now)
            times.push(now)
          }
          times.forEach((time, i) => {
            const inside = times.filter((other, j) => j <= i && other > time - HOUR).length
            expect(inside).toBeLessThanOrEqual(cap)
            const before = times[i - cap]
            if (before !== undefined)
              expect(time).toBeLessThanOrEqual(Math.max(before + HOUR * 1.1, (times[i - 1] ?? 0) + HOUR / 5))
          })
          expect(window.parts.length).toBeLessThanOrEqual(52)
        },
      ),
    )
  })

  it('gives back what was not used, from the time it was spent at', () => {
    const window = giveBack(spend(spend(openWindow(HOUR), 3, 0), 4, HOUR / 2), 2, 0)
    expect(used(window, HOUR / 2)).toBe(5)
    expect(used(window, 1.2 * HOUR)).toBe(4)
    expect(used(giveBack(openWindow(HOUR), 2, 0), 0)).toBe(0)
  })

  it('opens again one window after a clock that went back a year, once clamped', () => {
    const YEAR = 365 * 24 * HOUR
    const window = clampWindow(spend(openWindow(HOUR), 5, YEAR), 0)
    expect(opensAt(window, 5, 0)).toBe(HOUR + HOUR / 24)
  })

  it('never opens for a cap below one', () => {
    expect(opensAt(openWindow(HOUR), 0, 5)).toBe(Infinity)
  })
})
