// What holds of a lane whatever is done to it: random traffic, replies, holds, restarts and clocks.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  clampLane,
  holdLane,
  type LaneState,
  loadLane,
  opening,
  releaseLane,
  saveLane,
} from '../../src/core/lane.ts'
import type { LaneLimits } from '../../src/core/limits.ts'
import {
  DAY,
  Driven,
  HOUR,
  IDLE,
  MINUTE,
  NO_SUCH_USER,
  noReason,
  OK,
  type Said,
  slowDown,
  tooManyConnections,
} from './driven-lane.ts'

const said: fc.Arbitrary<Said> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(OK) },
  { weight: 1, arbitrary: fc.constantFrom<Said>(NO_SUCH_USER, { kind: 'returned' }) },
  { weight: 1, arbitrary: fc.constant(tooManyConnections) },
  { weight: 1, arbitrary: fc.constant(noReason) },
  {
    weight: 1,
    arbitrary: fc
      .record({
        retryAfterMs: fc.integer({ min: 0, max: 100 * DAY }),
        retryAfterFrom: fc.constantFrom('text', 'rule'),
      })
      .map((stated) =>
        slowDown(
          {},
          {
            ...stated,
            retryAfterMs: Math.min(stated.retryAfterMs, stated.retryAfterFrom === 'rule' ? HOUR : Infinity),
          },
        ),
      ),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        holdMs: fc.integer({ min: 1_000, max: HOUR }),
        rateFactor: fc.double({ min: 0.1, max: 1, noNaN: true }),
      })
      .map((more) => slowDown(more)),
  },
)

type Step =
  | { do: 'send'; said: Said; after: number; recipients: number }
  | { do: 'rest'; ms: number }
  | { do: 'hold'; ms: number }
  | { do: 'release' | 'restart' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      said,
      after: fc.integer({ min: 0, max: 2_000 }),
      recipients: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('rest' as const), ms: fc.integer({ min: 0, max: 20 * MINUTE }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('hold' as const), ms: fc.integer({ min: 0, max: HOUR }) }),
  },
  { weight: 1, arbitrary: fc.constantFrom({ do: 'release' as const }, { do: 'restart' as const }) },
)

/** A hold about rate whose probe passes after two years of silence: that said the receiver takes less than one a day. */
const AFTER_WEEKS: [LaneLimits, [number, Step][]] = [
  { burst: 8, caps: [], concurrency: 1 },
  [
    [0, { do: 'send', said: OK, after: 0, recipients: 5 }],
    [18_121_907_744, { do: 'send', said: OK, after: 27, recipients: 8 }],
    [8_174_433_150, { do: 'rest', ms: 559_917 }],
    [26_225_466_480, { do: 'send', said: OK, after: 1_491, recipients: 7 }],
    [33_752_102_267, { do: 'rest', ms: 577_093 }],
    [0, { do: 'send', said: slowDown({ holdMs: 1_000, rateFactor: 0.1 }), after: 209, recipients: 1 }],
    [76_311_780_423, { do: 'send', said: noReason, after: 0, recipients: 1 }],
    [0, { do: 'release' }],
  ],
]

const steps = fc.array(step, { minLength: 1, maxLength: 60 })

const limits: fc.Arbitrary<LaneLimits> = fc.record(
  {
    rate: fc.integer({ min: 1, max: 600 }).map((count) => ({ count, perMs: MINUTE, text: `${count}/min` })),
    burst: fc.integer({ min: 1, max: 20 }),
    caps: fc.array(
      fc.integer({ min: 1, max: 40 }).map((count) => ({ count, perMs: HOUR, text: `${count}/h` })),
      { maxLength: 1 },
    ),
    concurrency: fc.integer({ min: 1, max: 10 }),
  },
  { requiredKeys: ['burst', 'caps', 'concurrency'] },
)

function reload(state: LaneState, within: LaneLimits, now: number): LaneState {
  const loaded = loadLane(saveLane(state))
  if (loaded === undefined) throw new Error('the lane did not come back')
  return clampLane(loaded, within, now)
}

/** Does the step; when recipients were sent to, once each. */
function play(lane: Driven, within: LaneLimits, one: Step): readonly number[] {
  switch (one.do) {
    case 'send': {
      const { startedAt, recipients } = lane.send(one.said, one)
      return one.said.kind === 'returned' ? [] : Array.from({ length: recipients }, () => startedAt)
    }
    case 'rest':
      lane.now += one.ms
      return []
    case 'hold':
      lane.state = holdLane(lane.state, within, lane.now, lane.now + one.ms, {
        by: 'operator',
        reason: 'test',
      })
      return []
    case 'release':
      lane.state = releaseLane(lane.state, within, lane.now)
      return []
    case 'restart':
      lane.state = reload(lane.state, within, lane.now)
      return []
    default:
      return one satisfies never
  }
}

describe('whatever happens to a lane', () => {
  it('it never lets more than rate × T + burst go in any stretch of length T, nor more than a cap', () => {
    fc.assert(
      fc.property(limits, steps, (within, done) => {
        const lane = new Driven(within, 1_000 * DAY)
        const times = done.flatMap((one) => play(lane, within, one))
        const perMs = (within.rate?.count ?? 0) / MINUTE
        times.forEach((from, i) => {
          times.slice(i).forEach((to, n) => {
            const allowed = within.rate === undefined ? Infinity : perMs * (to - from) + within.burst
            expect(n + 1).toBeLessThanOrEqual(allowed + 1e-6)
          })
          const cap = within.caps[0]?.count ?? Infinity
          expect(times.filter((to) => to >= from && to < from + HOUR).length).toBeLessThanOrEqual(cap)
        })
      }),
      { numRuns: 300 },
    )
  })

  it('it gets fifty messages out within two days of a receiver that takes everything', () => {
    fc.assert(
      fc.property(limits, steps, (within, done) => {
        const lane = new Driven({ ...within, caps: [] })
        for (const one of done) play(lane, { ...within, caps: [] }, one)
        const from = lane.now
        for (let i = 0; i < 50; i += 1) lane.send(OK)
        expect(lane.now - from).toBeLessThan(2.2 * DAY)
        expect(lane.view().phase).not.toBe('held')
      }),
      { numRuns: 300 },
    )
  })

  it('no hold is longer than what the server states, what the reaction allows, or a day', () => {
    fc.assert(
      fc.property(limits, steps, (within, done) => {
        const lane = new Driven(within)
        for (const one of done) {
          play(lane, within, one)
          const { hold } = lane.state
          if (hold?.by === 'reply') expect(hold.until - hold.since).toBeLessThanOrEqual(1.1 * DAY)
          expect(lane.opening().at).toBeLessThan(Infinity)
        }
      }),
    )
  })

  it('a restart changes nothing', () => {
    fc.assert(
      fc.property(limits, steps, steps, (within, before, after) => {
        const lane = new Driven(within)
        for (const one of before) play(lane, within, one)
        const other = new Driven(within)
        other.now = lane.now
        other.serial = lane.serial
        other.state = reload(lane.state, within, lane.now)
        expect(other.view()).toEqual(lane.view())
        for (const one of after) {
          expect(play(other, within, one)).toEqual(play(lane, within, one))
          expect(other.view()).toEqual(lane.view())
        }
      }),
    )
  })

  it('a clock that jumps leaves no lane waiting longer than a day for nothing', () => {
    const jump = fc.integer({ min: -1_000 * DAY, max: 1_000 * DAY })
    fc.assert(
      fc.property(limits, fc.array(fc.tuple(jump, step), { minLength: 1, maxLength: 30 }), (within, done) => {
        const lane = new Driven(within, 5_000 * DAY)
        for (const [ms, one] of done) {
          lane.now = Math.max(0, lane.now + ms)
          lane.state = clampLane(lane.state, within, lane.now)
          const { at, room } = opening(lane.state, within, lane.now, IDLE, 0)
          expect(at - lane.now).toBeLessThanOrEqual(1.1 * DAY)
          expect(room).toBeGreaterThanOrEqual(1)
          expect(room).toBeLessThanOrEqual(within.burst)
          play(lane, within, one)
        }
      }),
      { examples: [AFTER_WEEKS] },
    )
  })

  it('and even without clamping, it never hands out more than its burst at once', () => {
    fc.assert(
      fc.property(
        limits,
        fc.array(fc.tuple(fc.integer({ min: -HOUR, max: HOUR }), step), { maxLength: 40 }),
        (within, done) => {
          const lane = new Driven(within, 5_000 * DAY)
          for (const [ms, one] of done) {
            play(lane, within, one)
            lane.now += ms
            const { at, room } = lane.opening(0)
            expect(Number.isNaN(at)).toBe(false)
            expect(room).toBeLessThanOrEqual(within.burst)
          }
        },
      ),
    )
  })
})
