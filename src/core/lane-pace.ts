// How fast a lane goes: additive increase, multiplicative decrease, on rate and on concurrency apart.
// Like TCP's CUBIC (RFC 9438): quickly back to where it was last refused, slowly past it, then bolder again.
// Not here: when it stands still (lane-hold.ts).

import { tokensAt } from './bucket.ts'
import { copyLane, type LaneState, MANY } from './lane-state.ts'
import type { LaneLimits } from './limits.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

/** The slowest a lane gets by itself: four recipients an hour, unless less is configured. */
const FLOOR = 4 / HOUR_MS
/** What is accepted is counted in two stretches of a minute; a rate is measured over one minute at least. */
const STRETCH_MS = MINUTE_MS
/** With fewer accepted than this, what was measured says little. */
const ENOUGH = 5

/** A flow refused sooner than this was refused for its first burst: what its rate may be is a guess. */
const STEADY_MS = 60_000
/** What was accepted in the time of a whole standstill and what was refused differ so much that neither is the rate. */
const FAR_APART = 8

/** Share of the refused rate up to which growth is quick, and from which on it is bold again. */
const NEAR = 0.9
const PAST = 1.05
/** Growth per minute of sending, as shares of the refused rate. */
const QUICK_STEP = 0.2
const NEAR_STEP = 0.001
const BOLD_STEP = 0.02
const BOLD_GAIN = 0.1
/** Growth per minute of sending, as a share of the rate, while the refused one is but a guess. */
const SEARCH_GAIN = 0.2

/** A lane that was refused sends no more at once than its rate allows in so long: the burst may have been at fault. */
const ADAPTED_BURST_MS = 1_000

/** A refused concurrency is not tried again for so long. */
const SLOTS_REST_MS = HOUR_MS
/** Accepted attempts for each slot before another is added. */
const SLOT_STEP = 5

/** Slow start doubles in the time of so many ms, and in no fewer than one accepted recipient. */
const DOUBLING_MS = 5_000
const RAMP_START = 1 / 16
const RAMP_LEAST = 1 / 10_000
/** Where slow start ends when no rate is configured or adapted. */
const RAMP_GOAL = 10 / 1_000

/** Configured rate, recipients per ms. */
export function configuredRate(limits: LaneLimits): number {
  return limits.rate === undefined ? Infinity : limits.rate.count / limits.rate.perMs
}

/** The rate that applies now, recipients per ms. */
export function paceOf(state: LaneState, limits: LaneLimits): number {
  const configured = configuredRate(limits)
  const rate = state.rate !== undefined && state.rate < configured ? state.rate : configured
  return state.phase === 'slow-start' && state.rampRate < rate ? state.rampRate : rate
}

/** Recipients that may go at once: 1 until the lane is open, the configured burst, or a second's worth once adapted. */
export function burstOf(state: LaneState, limits: LaneLimits): number {
  if (state.phase !== 'open') return 1
  if (state.rate === undefined) return limits.burst
  return Math.max(1, Math.min(limits.burst, state.rate * ADAPTED_BURST_MS))
}

/** Attempts that may be under way. */
export function slotsOf(state: LaneState, limits: LaneLimits): number {
  let slots = limits.concurrency
  if (state.slots !== undefined && state.slots < slots) slots = Math.max(1, Math.floor(state.slots))
  if (state.phase === 'slow-start' && state.rampSlots < slots)
    slots = Math.max(1, Math.floor(state.rampSlots))
  return slots
}

/** Tokens as of now. */
export function tokensOf(state: LaneState, limits: LaneLimits, now: number): number {
  return tokensAt(state, paceOf(state, limits), burstOf(state, limits), now)
}

/** Accepted recipients per ms over the last one to two minutes of flow; `undefined` when too few to tell. */
export function measured(state: LaneState, now: number): number | undefined {
  const before = now - state.stretchAt < STRETCH_MS * 2 ? state.stretchBefore : 0
  const count = state.stretchCount + before
  if (count < ENOUGH) return undefined
  const since = before > 0 ? state.stretchAt - STRETCH_MS : state.stretchAt
  return count / Math.max(MINUTE_MS, now - Math.max(since, state.flowAt))
}

/** Accepted recipients over the last one to two minutes. */
export function acceptedLately(state: LaneState, now: number): number {
  if (now - state.stretchAt >= STRETCH_MS * 2) return 0
  return state.stretchCount + (now - state.stretchAt < STRETCH_MS ? state.stretchBefore : 0)
}

/** Counts accepted recipients. */
export function counted(state: LaneState, accepted: number, now: number): LaneState {
  const age = now - state.stretchAt
  const next = copyLane(state)
  next.flowCount += accepted
  if (age < STRETCH_MS) {
    next.stretchCount += accepted
    return next
  }
  next.stretchAt = now
  next.stretchCount = accepted
  next.stretchBefore = age < STRETCH_MS * 2 ? state.stretchCount : 0
  return next
}

/** The flow begins anew: the lane came out of a hold. */
export function beginFlow(state: LaneState, now: number): LaneState {
  return { ...state, flowAt: now, flowCount: 0, stretchAt: now, stretchCount: 0, stretchBefore: 0 }
}

/** Cuts the rate to `factor` of what was really accepted, at most of what was allowed. */
export function cutRate(state: LaneState, limits: LaneLimits, factor: number, now: number): LaneState {
  if (factor >= 1) return state
  const configured = configuredRate(limits)
  const allowed = Math.min(configured, state.rate ?? Infinity)
  const seen = measured(state, now)
  const really = seen ?? (allowed === Infinity ? (state.flowCount + 1) / MINUTE_MS : allowed)
  // in a lane that grows, what was measured lags behind
  const refused = Math.min(
    allowed,
    really > allowed / 2 && state.rate !== undefined ? Math.sqrt(really * allowed) : really,
  )
  const floor = Math.min(FLOOR, configured)
  return {
    ...state,
    rate: Math.max(floor, refused * factor),
    refusedRate: Math.max(floor, refused),
    refusedRateAt: now,
    sure: seen !== undefined && now - state.flowAt >= STEADY_MS,
  }
}

/**
 * A refused probe cuts no further, but tells that what was accepted before was all the receiver takes in the time
 * since then: the rate to be wary of is no higher.
 */
export function boundRate(state: LaneState, limits: LaneLimits, now: number): LaneState {
  if (state.rate === undefined || state.refusedRate === undefined || state.flowCount < MANY) return state
  const bound = Math.max(sustained(state, now), Math.min(FLOOR, configuredRate(limits)))
  return bound <= state.refusedRate ? { ...state, refusedRate: bound, refusedRateAt: now } : state
}

/** Accepted recipients per ms, the time of standing still included. */
function sustained(state: LaneState, now: number): number {
  const lately = state.stretchCount + state.stretchBefore
  return Math.max(
    state.flowCount / Math.max(MINUTE_MS, now - state.flowAt),
    lately / Math.max(MINUTE_MS, now - Math.max(state.stretchAt - STRETCH_MS, state.flowAt)),
  )
}

/**
 * A probe passed, after others were refused or after very long: what the receiver takes lies between what it refused
 * and what it accepted in the time up to now. The middle of the two is the rate to be wary of.
 */
export function bracketRate(state: LaneState, limits: LaneLimits, now: number): LaneState {
  if (state.rate === undefined || state.refusedRate === undefined || state.flowCount < MANY) return state
  if (!state.hold?.aboutRate) return state
  // where nothing was sent for weeks, that says little of the receiver
  const floor = Math.min(FLOOR, configuredRate(limits))
  const lowest = Math.min(state.refusedRate, Math.max(floor, sustained(state, now)))
  const isBounded = state.refusedRateAt > (state.episode?.stoodAt ?? Infinity)
  if (!isBounded && lowest * FAR_APART > state.refusedRate) return state
  const middle = Math.sqrt(state.refusedRate * lowest)
  return {
    ...state,
    rate: Math.min(state.rate, Math.max(floor, NEAR * middle)),
    refusedRate: middle,
    refusedRateAt: now,
    sure: true,
  }
}

/** Cuts the concurrency to `factor` of the attempts that were under way. */
export function cutSlots(
  state: LaneState,
  limits: LaneLimits,
  factor: number,
  inFlight: number | undefined,
  now: number,
): LaneState {
  if (factor >= 1) return state
  const allowed = Math.min(limits.concurrency, state.slots ?? Infinity)
  const refused = Math.max(1, Math.min(allowed, inFlight ?? allowed))
  return { ...state, slots: Math.max(1, refused * factor), refusedSlots: refused, refusedSlotsAt: now }
}

/** Accepted mail lets an adapted lane grow, up to what is configured. */
export function grow(state: LaneState, limits: LaneLimits, accepted: number, now: number): LaneState {
  let next = state
  if (state.rate !== undefined) next = growRate(next, limits, state.rate, accepted, now)
  if (state.slots !== undefined) next = growSlots(next, limits, state.slots, now)
  return next
}

function growRate(
  state: LaneState,
  limits: LaneLimits,
  rate: number,
  accepted: number,
  now: number,
): LaneState {
  const configured = configuredRate(limits)
  const remembered = now - state.refusedRateAt < DAY_MS ? state.refusedRate : undefined
  if (remembered === undefined && configured === Infinity)
    return { ...state, rate: undefined, refusedRate: undefined }
  const top = remembered ?? configured
  const [step, edge] = !state.sure
    ? [SEARCH_GAIN * rate, Infinity]
    : rate < NEAR * top
      ? [QUICK_STEP * top, NEAR * top]
      : rate < PAST * top
        ? [NEAR_STEP * top, PAST * top]
        : [BOLD_STEP * top + BOLD_GAIN * (rate - top), Infinity]
  // minutes of sending at this rate that these recipients stand for
  const minutes = Math.min(1, accepted / (rate * MINUTE_MS))
  const grown = Math.min(rate + step * minutes, Math.max(edge, rate))
  return { ...state, rate: grown >= configured ? undefined : grown }
}

function growSlots(state: LaneState, limits: LaneLimits, slots: number, now: number): LaneState {
  const resting = state.refusedSlots !== undefined && now - state.refusedSlotsAt < SLOTS_REST_MS
  const top = resting ? Math.max(1, (state.refusedSlots ?? 1) - 1) : limits.concurrency
  if (slots >= top) return slots >= limits.concurrency ? { ...state, slots: undefined } : state
  const grown = Math.min(top, slots + 1 / (SLOT_STEP * slots))
  return { ...state, slots: grown >= limits.concurrency ? undefined : grown }
}

/** Slow start from a sixteenth of the rate, one attempt at a time. */
export function beginRamp(state: LaneState, limits: LaneLimits): LaneState {
  const goal = rampGoal(state, limits)
  return { ...state, rampRate: Math.min(goal, Math.max(RAMP_LEAST, goal * RAMP_START)), rampSlots: 1 }
}

/** Accepted mail speeds slow start up; `done` when it reached what the lane may. */
export function ramp(
  state: LaneState,
  limits: LaneLimits,
  accepted: number,
): LaneState & { phase: 'open' | 'slow-start' } {
  const rampRate = state.rampRate * 2 ** (accepted / Math.max(1, state.rampRate * DOUBLING_MS))
  const rampSlots = state.rampSlots + accepted
  const slots = Math.min(limits.concurrency, state.slots ?? Infinity)
  const done = rampRate >= rampGoal(state, limits) && rampSlots >= Math.floor(slots)
  return { ...state, phase: done ? 'open' : 'slow-start', rampRate, rampSlots }
}

function rampGoal(state: LaneState, limits: LaneLimits): number {
  const rate = Math.min(configuredRate(limits), state.rate ?? Infinity)
  return rate === Infinity ? RAMP_GOAL : rate
}
