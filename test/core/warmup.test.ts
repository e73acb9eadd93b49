import { describe, expect, it } from 'vitest'
import { beginWarmup, nextWarmupDay, warmupAt, warmupRoom } from '../../src/core/warmup.ts'

const DAY = 86_400_000
const plan = { startAt: 10 * DAY, daily: [50, 100, 200] }

const delivered = (state: ReturnType<typeof beginWarmup>, count: number) => ({
  ...state,
  sent: state.sent + count,
  delivered: state.delivered + count,
})

describe('a warm-up plan', () => {
  it('moves on the next day when nine tenths of the stage were delivered', () => {
    const first = delivered(beginWarmup(plan, 10 * DAY + 5), 45)
    expect(warmupRoom(first, plan)).toBe(5)
    const second = warmupAt(first, plan, 11 * DAY)
    expect(warmupRoom(second, plan)).toBe(100)
  })

  it('moves on without mail of high priority, for which a tenth is kept', () => {
    const first = { ...beginWarmup(plan, 10 * DAY), sent: 45, delivered: 41 }
    expect(warmupAt(first, plan, 11 * DAY).stage).toBe(1)
    expect(warmupAt({ ...first, delivered: 40 }, plan, 11 * DAY).stage).toBe(0)
  })

  it('repeats the stage when less was delivered, however much was sent', () => {
    const first = { ...beginWarmup(plan, 10 * DAY), sent: 50, delivered: 44 }
    const second = warmupAt(first, plan, 11 * DAY)
    expect(second.stage).toBe(0)
    expect(warmupRoom(second, plan)).toBe(50)
  })

  it('does not skip stages over idle days', () => {
    const first = delivered(beginWarmup(plan, 10 * DAY), 50)
    expect(warmupAt(first, plan, 30 * DAY).stage).toBe(1)
  })

  it('is over after its last stage, and limits nothing then', () => {
    const last = { stage: 2, dayAt: 12 * DAY, sent: 200, delivered: 200 }
    const over = warmupAt(last, plan, 13 * DAY)
    expect(warmupRoom(over, plan)).toBe(Infinity)
    expect(warmupAt(over, plan, 20 * DAY)).toBe(over)
  })

  it('holds to the first stage before its first day, without completing it', () => {
    const early = delivered(beginWarmup(plan, 8 * DAY), 50)
    expect(warmupRoom(early, plan)).toBe(0)
    expect(nextWarmupDay(early)).toBe(9 * DAY)
    expect(warmupAt(early, plan, 10 * DAY).stage).toBe(0)
  })

  it('stays as it is under a clock that went back', () => {
    const state = delivered(beginWarmup(plan, 12 * DAY), 10)
    expect(warmupAt(state, plan, 11 * DAY)).toBe(state)
  })
})
