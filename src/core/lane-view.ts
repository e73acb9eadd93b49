// A lane as a person may see it, for `lanes()` and `explain()`.

import { acceptedLately, burstOf, configuredRate, paceOf, slotsOf, tokensOf } from './lane-pace.ts'
import type { Hold, LaneState } from './lane-state.ts'
import type { LaneLimits, RateLimit } from './limits.ts'
import { warmupAt } from './warmup.ts'
import { used } from './window.ts'

/** A lane as a person may see it. Rates are recipients per second. */
export interface LaneView {
  /** `held` until its time is over, `probing` with one message, `slow-start` after a probe that passed. */
  readonly phase: 'open' | 'held' | 'probing' | 'slow-start'
  /** Recipients per second that it may do now; absent without a limit. */
  readonly rate?: number
  /** Recipients per second as configured; `rate` never goes above it. */
  readonly configuredRate?: number
  /** Recipients that may go at once after a rest; 1 in slow start. */
  readonly burst: number
  /** Attempts that may be under way now. */
  readonly concurrency: number
  readonly configuredConcurrency: number
  /** Epoch ms. */
  readonly heldSince?: number
  /** Epoch ms; past while probing. */
  readonly heldUntil?: number
  /** The hold in force, or that the lane is coming out of. */
  readonly hold?: Hold
  /** How often in a row it was refused; the next hold is longer the higher it is. */
  readonly level: number
  /** Recipients that may go this moment. */
  readonly tokens: number
  /** The rolling windows beside the rate, with what is used of each. */
  readonly caps: readonly { readonly cap: RateLimit; readonly used: number }[]
  /** Where a warm-up plan stands: the day's stage from 0, recipients allowed, sent and accepted in it. */
  readonly warmup?: {
    readonly stage: number
    readonly allowed: number
    readonly sent: number
    readonly delivered: number
  }
  /** Recipients accepted over the last one to two minutes. */
  readonly acceptedLately: number
  /** Holds so far. */
  readonly holds: number
}

/** What the lane is doing, for `lanes()` and `explain()`. */
export function viewLane(state: LaneState, limits: LaneLimits, now: number): LaneView {
  const pace = paceOf(state, limits)
  const probing = state.phase === 'held' && (state.hold?.until ?? 0) <= now
  const warmup = limits.warmup && state.warmup && warmupAt(state.warmup, limits.warmup, now)
  const stage = limits.warmup && warmup && limits.warmup.daily[warmup.stage]
  return {
    phase: probing ? 'probing' : state.phase,
    ...(pace !== Infinity && { rate: pace * 1_000 }),
    ...(limits.rate !== undefined && { configuredRate: configuredRate(limits) * 1_000 }),
    burst: burstOf(state, limits),
    concurrency: state.phase === 'held' ? 1 : slotsOf(state, limits),
    configuredConcurrency: limits.concurrency,
    ...(state.hold !== undefined && {
      heldSince: state.hold.since,
      heldUntil: state.hold.until,
      hold: state.hold,
    }),
    level: state.level,
    tokens: tokensOf(state, limits, now),
    caps: limits.caps.map((cap, i) => {
      const window = state.windows[i]
      return { cap, used: window === undefined ? 0 : used(window, now) }
    }),
    ...(warmup !== undefined &&
      stage !== undefined && {
        warmup: { stage: warmup.stage, allowed: stage, sent: warmup.sent, delivered: warmup.delivered },
      }),
    acceptedLately: acceptedLately(state, now),
    holds: state.holds,
  }
}
