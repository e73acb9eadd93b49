// One lane: when the next message may go, and what its reply changes. Pure, and used three times: for a recipient
// domain or provider, for the egress above the lanes, and for a From domain (which has holds but no limits).
// Not here: which lane's turn it is (src/lanes.ts), nor what becomes of the message (decide.ts).
//
// The states, and what moves a lane between them:
//
// open        The bucket fills at the configured rate, or at the adapted one when that is lower, and attempts go
//             while tokens, windows, warm-up and concurrency allow. A throttle about rate cuts the rate, one about
//             concurrency the concurrency; with a hold it moves the lane to `held`. So do three unexplained 4xx in a
//             row, each to another message. Accepted mail lets what was cut grow again.
// held        Nothing goes until the hold is over. The bucket was emptied and fills no further than one token.
//             Replies to attempts that began before the hold neither lengthen nor end it. When its time is over,
//             the lane is
// probing     one attempt goes, and no second while it is under way. This is never stored: it is `held` with its time
//             over, and the attempt is the engine's live claim, so that a crash leaves no lane waiting for a probe
//             that is gone. Refused again: `held`, longer. Any other reply moves the lane to
// slow-start  one recipient at a time, one attempt at a time, from a sixteenth of the rate; accepted mail doubles the
//             rate every five seconds and adds attempts, until the lane may do what it could do when `open`. A
//             throttle holds it again, one level higher.
//
// Levels: each refusal without good time between doubles the hold, up to the reaction's longest; as much good time
// as the last hold took lowers the level by one. A person's hold has no level.
//
// Poison: successive probes take different messages. A message whose refusal began or lengthened a hold is a suspect;
// once another message passed, the suspect's next refusal by the same rule is its own and leaves the lane alone;
// the one after that holds the lane again unless another has passed in between.
//
// The clock may jump. Time that runs backwards fills no bucket; call `clampLane` when the jump is noticed.

import { readyAt, wholeTokens } from './bucket.ts'
import { beginFlow, beginRamp, configuredRate, paceOf, slotsOf, tokensOf } from './lane-pace.ts'
import { copyLane, type LaneState } from './lane-state.ts'
import type { LaneLimits, RateLimit } from './limits.ts'
import type { Priority } from './message.ts'
import { nextWarmupDay, WARMUP_RESERVE, warmupAt, warmupRoom } from './warmup.ts'
import { opensAt, spend, used } from './window.ts'

export { type Arrival, arrive, type LaneEvent } from './lane-arrival.ts'
export { speaksOfMessage } from './lane-hold.ts'
export { slotsOf } from './lane-pace.ts'
export { isWorthSaving, loadLane, saveLane } from './lane-saved.ts'
export { clampLane, isQuiet, type LaneState, openLane } from './lane-state.ts'
export { type LaneView, viewLane } from './lane-view.ts'

/** What keeps a lane from going now. `reserve`: the tenth of daily caps that is kept for high priority. */
export type Bound = 'token' | 'cap' | 'warmup' | 'hold' | 'probe' | 'concurrency' | 'reserve'

/** When a lane may go. */
export interface Opening {
  /** `now` or earlier: at once. `Infinity`: an arrival will change it. */
  readonly at: number
  /** Recipients that may go then, at least 1. */
  readonly room: number
  /** This attempt finds out whether a hold is over. */
  readonly probe: boolean
  readonly bound?: Bound
}

/** What the engine has under way in the lane. */
export interface Traffic {
  /** Attempts. */
  readonly inFlight: number
  /** One of them is a probe. */
  readonly probing: boolean
}

const DAY_MS = 86_400_000
/** Share of daily caps that only high priority may use. */
const RESERVE = 0.1
/** Of a cap, what this priority may use. A cap below 1 lets one go in its longer window. */
function shareOf(cap: RateLimit, priority: Priority): number {
  const count = Math.max(1, cap.count)
  return priority > 0 && cap.perMs >= DAY_MS ? count - Math.floor(count * RESERVE) : count
}

/** When the lane may go next, and how much. */
export function opening(
  state: LaneState,
  limits: LaneLimits,
  now: number,
  traffic: Traffic,
  priority: Priority,
): Opening {
  const probe = state.phase === 'held'
  let at = now
  let bound: Bound | undefined
  if (probe) {
    if (traffic.probing) return { at: Infinity, room: 1, probe: false, bound: 'probe' }
    const until = state.hold?.until ?? now
    if (until > now) {
      at = until
      bound = 'hold'
    }
  } else if (traffic.inFlight >= slotsOf(state, limits)) {
    return { at: Infinity, room: 1, probe: false, bound: 'concurrency' }
  }

  const pace = paceOf(state, limits)
  const tokens = tokensOf(state, limits, now)
  let room = wholeTokens(tokens)
  if (room < 1) {
    const token = readyAt(tokens, 1, pace, now)
    if (token > at) {
      at = token
      bound = 'token'
    }
  }

  for (let i = 0; i < limits.caps.length; i += 1) {
    const cap = limits.caps[i]
    const window = state.windows[i]
    if (cap === undefined || window === undefined) continue
    const share = shareOf(cap, priority)
    const free = Math.floor(share - used(window, now))
    if (free < room) room = free
    if (free >= 1) continue
    const opens = opensAt(window, share, now)
    if (opens > at) {
      at = opens
      bound = share < cap.count && used(window, now) < cap.count ? 'reserve' : 'cap'
    }
  }

  if (limits.warmup !== undefined && state.warmup !== undefined) {
    const warmup = warmupAt(state.warmup, limits.warmup, now)
    const free = warmupRoom(warmup, limits.warmup)
    const kept = priority > 0 && free !== Infinity ? Math.floor((free + warmup.sent) * WARMUP_RESERVE) : 0
    if (free - kept < room) room = free - kept
    if (free - kept < 1) {
      const opens = nextWarmupDay(warmup)
      if (opens > at) {
        at = opens
        bound = free >= 1 ? 'reserve' : 'warmup'
      }
    }
  }

  if (bound === undefined) return { at, room: probe ? 1 : Math.max(1, room), probe }
  return { at, room: 1, probe, bound }
}

/** Spends what an attempt takes: tokens, windows, the day's stage. */
export function depart(state: LaneState, limits: LaneLimits, now: number, recipients: number): LaneState {
  const next = copyLane(state)
  next.tokens = tokensOf(state, limits, now) - recipients
  next.at = now
  if (configuredRate(limits) === Infinity && state.rate === undefined && state.phase === 'open')
    next.tokens = limits.burst
  if (limits.caps.length > 0) next.windows = state.windows.map((window) => spend(window, recipients, now))
  if (limits.warmup !== undefined && state.warmup !== undefined) {
    const warmup = warmupAt(state.warmup, limits.warmup, now)
    next.warmup = { ...warmup, sent: warmup.sent + recipients }
  }
  return next
}

/** Holds the lane for somebody's sake; a hold that lasts longer stands. */
export function holdLane(
  state: LaneState,
  limits: LaneLimits,
  now: number,
  until: number,
  why: { readonly reason: string; readonly by: string },
): LaneState {
  if (state.phase === 'held' && (state.hold?.until ?? 0) >= until) return state
  return {
    ...state,
    phase: 'held',
    tokens: Math.min(0, tokensOf(state, limits, now)),
    at: now,
    hold: { since: now, until, by: why.by, level: state.level, reason: why.reason },
    deafUntil: now,
    holds: state.holds + 1,
  }
}

/** Ends a hold at once; the lane goes on in slow start. A lane that is not held stays as it is. */
export function releaseLane(state: LaneState, limits: LaneLimits, now: number): LaneState {
  if (state.phase !== 'held') return state
  const settled = { ...state, tokens: tokensOf(state, limits, now), at: now }
  // an attempt that begins in this very millisecond is heard
  return beginRamp(
    { ...beginFlow(settled, now), phase: 'slow-start', hold: undefined, deafUntil: now - 1 },
    limits,
  )
}
