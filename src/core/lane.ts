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
import type { Cause } from './cause.ts'
import {
  clearSuspects,
  holdBy,
  rearmSuspect,
  speaksOfMessage,
  type Trouble,
  usualHoldMs,
} from './lane-hold.ts'
import {
  acceptedLately,
  beginFlow,
  beginRamp,
  boundRate,
  bracketRate,
  burstOf,
  configuredRate,
  counted,
  cutRate,
  cutSlots,
  grow,
  paceOf,
  ramp,
  slotsOf,
  tokensOf,
} from './lane-pace.ts'
import type { Hold, LaneState } from './lane-state.ts'
import type { LaneLimits, RateLimit } from './limits.ts'
import type { Priority } from './message.ts'
import type { ResolvedReaction } from './reaction.ts'
import type { Reply } from './reply.ts'
import type { Verdict } from './verdict.ts'
import { nextWarmupDay, warmupAt, warmupRoom } from './warmup.ts'
import { opensAt, spend, used } from './window.ts'

export { speaksOfMessage } from './lane-hold.ts'
export { clampLane, isQuiet, type LaneState, loadLane, openLane, saveLane } from './lane-state.ts'

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

interface Refusal {
  readonly verdict: Verdict
  readonly reply: Reply
  readonly reaction: ResolvedReaction
}

/**
 * What an attempt brought back, as far as it concerns the lane. `throttle`: it speaks of this lane and calls for a
 * hold or a cut. `unexplained`: a 4xx without a cause. `answered`: any other reply. `returned`: nothing was said.
 */
export type Arrival = {
  readonly startedAt: number
  readonly probe: boolean
  readonly ticket: string
  readonly recipients: number
  /** Attempts under way when the reply came, this one included; lets a cut of concurrency start from there. */
  readonly inFlight?: number
} & (
  | { readonly kind: 'accepted'; readonly accepted: number }
  | ({ readonly kind: 'throttle' } & Refusal)
  | ({ readonly kind: 'unexplained' } & Refusal)
  | { readonly kind: 'answered' }
  | { readonly kind: 'returned' }
)

/** What a lane has to tell. Rates are recipients per second. */
export type LaneEvent =
  | {
      readonly kind: 'held'
      readonly until: number
      readonly level: number
      readonly cause: Cause
      readonly rule: string
      readonly probe: boolean
    }
  | { readonly kind: 'slow-start' }
  | { readonly kind: 'opened' }
  | { readonly kind: 'rate'; readonly from: number; readonly to: number; readonly reason: string }
  | { readonly kind: 'concurrency'; readonly from: number; readonly to: number; readonly reason: string }
  | Trouble
  | { readonly kind: 'poison'; readonly ticket: string; readonly rule: string }

const DAY_MS = 86_400_000
/** Share of daily caps and warm-up stages that only high priority may use. */
const RESERVE = 0.1
/** Unexplained 4xx in a row, each to another message, that hold a lane. */
const STRANGE = 3

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
    const kept = priority > 0 && free !== Infinity ? Math.floor((free + warmup.sent) * RESERVE) : 0
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
  const next = { ...state, tokens: tokensOf(state, limits, now) - recipients, at: now }
  if (configuredRate(limits) === Infinity && state.rate === undefined && state.phase === 'open')
    next.tokens = limits.burst
  if (limits.caps.length > 0) next.windows = state.windows.map((window) => spend(window, recipients, now))
  if (limits.warmup !== undefined && state.warmup !== undefined) {
    const warmup = warmupAt(state.warmup, limits.warmup, now)
    next.warmup = { ...warmup, sent: warmup.sent + recipients }
  }
  return next
}

/** What a reply changes. */
export function arrive(
  state: LaneState,
  limits: LaneLimits,
  now: number,
  arrival: Arrival,
  random: () => number,
): { readonly state: LaneState; readonly events: readonly LaneEvent[] } {
  if (arrival.kind === 'accepted' && isPlain(state))
    return { state: counted(state, arrival.accepted, now), events: NOTHING }
  // tokens earned so far were earned at the rate so far
  const settled = { ...state, tokens: tokensOf(state, limits, now), at: now }
  switch (arrival.kind) {
    case 'accepted':
      return accepted(settled, limits, now, arrival)
    case 'answered':
      return answered(settled, limits, now, arrival)
    case 'throttle':
      return throttled(settled, limits, now, arrival, random)
    case 'unexplained':
      return unexplained(settled, limits, now, arrival, random)
    case 'returned':
      return { state: returned(settled, limits, now, arrival), events: NOTHING }
    default:
      return arrival satisfies never
  }
}

type Change = { readonly state: LaneState; readonly events: readonly LaneEvent[] }

const NOTHING: readonly never[] = []

/** Whether accepted mail changes nothing but counters: the common case, kept fast. */
function isPlain(state: LaneState): boolean {
  return (
    state.phase === 'open' &&
    state.rate === undefined &&
    state.slots === undefined &&
    state.warmup === undefined &&
    state.suspects.length === 0 &&
    state.strange === 0
  )
}

/** Whether the arrival says something about the lane as it is now. */
function isHeard(state: LaneState, arrival: Arrival): boolean {
  if (state.phase === 'held') return arrival.probe && arrival.startedAt > (state.hold?.since ?? 0)
  return arrival.startedAt > state.deafUntil
}

function accepted(
  settled: LaneState,
  limits: LaneLimits,
  now: number,
  arrival: Arrival & { kind: 'accepted' },
): Change {
  let state = counted(settled, arrival.accepted, now)
  if (limits.warmup !== undefined && state.warmup !== undefined) {
    const warmup = warmupAt(state.warmup, limits.warmup, now)
    state = { ...state, warmup: { ...warmup, delivered: warmup.delivered + arrival.accepted } }
  }
  if (!isHeard(state, arrival)) return { state, events: NOTHING }
  if (state.strange > 0) state = { ...state, strange: 0, strangeTicket: '' }
  const suspects = clearSuspects(state.suspects, arrival.ticket)
  if (suspects !== state.suspects) state = { ...state, suspects }
  if (state.phase === 'held') return passed(state, limits, now, arrival)
  if (state.phase === 'slow-start') return climbed(state, limits, arrival.accepted)
  if (state.rate === undefined && state.slots === undefined) return { state, events: NOTHING }
  const grown = grow(state, limits, arrival.accepted, now)
  if (grown.rate !== undefined || state.rate === undefined) return { state: grown, events: NOTHING }
  return {
    state: grown,
    events: [rateEvent(state.rate, configuredRate(limits), 'as fast as configured again')],
  }
}

function answered(settled: LaneState, limits: LaneLimits, now: number, arrival: Arrival): Change {
  if (!isHeard(settled, arrival)) return { state: settled, events: NOTHING }
  const state = settled.strange > 0 ? { ...settled, strange: 0, strangeTicket: '' } : settled
  if (state.phase === 'held') return passed(state, limits, now, arrival)
  if (state.phase === 'slow-start') return climbed(state, limits, 1)
  return { state, events: NOTHING }
}

/** A probe passed: the hold is over. */
function passed(state: LaneState, limits: LaneLimits, now: number, arrival: Arrival): Change {
  const suspects = clearSuspects(state.suspects, arrival.ticket)
  const open: LaneState = beginRamp(
    { ...beginFlow(bracketRate(state, now), now), phase: 'slow-start', hold: undefined, suspects },
    limits,
  )
  return {
    state: arrival.kind === 'accepted' ? counted(open, arrival.accepted, now) : open,
    events: [{ kind: 'slow-start' }],
  }
}

function climbed(state: LaneState, limits: LaneLimits, replies: number): Change {
  const next = ramp(state, limits, replies)
  return { state: next, events: next.phase === 'open' ? [{ kind: 'opened' }] : NOTHING }
}

function throttled(
  settled: LaneState,
  limits: LaneLimits,
  now: number,
  arrival: Arrival & { kind: 'throttle' },
  random: () => number,
): Change {
  if (!isHeard(settled, arrival)) return { state: settled, events: NOTHING }
  const { verdict, reaction } = arrival
  if (speaksOfMessage(settled, arrival.ticket, verdict)) {
    // a probe that was refused for its own sake says that the lane is open
    const change = answered(settled, limits, now, arrival)
    return {
      state: { ...change.state, suspects: rearmSuspect(change.state.suspects, arrival.ticket) },
      events: [{ kind: 'poison', ticket: arrival.ticket, rule: verdict.rule }, ...change.events],
    }
  }
  const events: LaneEvent[] = []
  let state = settled
  if (state.phase === 'held') {
    if (reaction.rateFactor < 1) state = boundRate(state, limits, now)
  } else {
    state = cutRate(state, limits, reaction.rateFactor, now)
    state = cutSlots(state, limits, reaction.concurrencyFactor, arrival.inFlight, now)
    const why = `${verdict.cause} (${verdict.rule})`
    if (state.rate !== undefined && state.rate !== settled.rate)
      events.push(rateEvent(Math.min(settled.rate ?? Infinity, configuredRate(limits)), state.rate, why))
    if (state.slots !== undefined && state.slots !== settled.slots)
      events.push({
        kind: 'concurrency',
        from: Math.floor(settled.slots ?? limits.concurrency),
        to: Math.floor(state.slots),
        reason: why,
      })
  }
  const lasts = usualHoldMs(verdict, reaction) ?? verdict.retryAfterMs ?? 0
  if (lasts === 0) {
    if (state.phase === 'held') return passed(state, limits, now, arrival)
    return {
      state: { ...state, tokens: Math.min(state.tokens, burstOf(state, limits)), deafUntil: now },
      events,
    }
  }
  const probe = state.phase === 'held'
  const held = holdBy(state, arrival, arrival.ticket, now, random)
  const { until, level } = held.hold
  events.push({ kind: 'held', until, level, cause: verdict.cause, rule: verdict.rule, probe })
  if (held.trouble) events.push(held.trouble)
  return { state: held.state, events }
}

function unexplained(
  settled: LaneState,
  limits: LaneLimits,
  now: number,
  arrival: Arrival & { kind: 'unexplained' },
  random: () => number,
): Change {
  if (!isHeard(settled, arrival)) return { state: settled, events: NOTHING }
  const throttle = { ...arrival, kind: 'throttle' as const }
  if (settled.phase === 'held') {
    // what held the lane was no more explained: it is refused again
    if (settled.hold?.rule === arrival.verdict.rule || settled.hold?.cause === 'unknown')
      return throttled(settled, limits, now, throttle, random)
    const change = passed(settled, limits, now, arrival)
    return { state: { ...change.state, strange: 1, strangeTicket: arrival.ticket }, events: change.events }
  }
  if (settled.strangeTicket === arrival.ticket) return { state: settled, events: NOTHING }
  if (settled.strange + 1 < STRANGE)
    return {
      state: { ...settled, strange: settled.strange + 1, strangeTicket: arrival.ticket },
      events: NOTHING,
    }
  return throttled(settled, limits, now, throttle, random)
}

/** Gives back what an attempt took that never came to speak. */
function returned(settled: LaneState, limits: LaneLimits, now: number, arrival: Arrival): LaneState {
  if (arrival.startedAt <= settled.deafUntil) return settled
  const state = {
    ...settled,
    tokens: Math.min(burstOf(settled, limits), settled.tokens + arrival.recipients),
  }
  if (limits.caps.length > 0)
    state.windows = state.windows.map((window) => spend(window, -arrival.recipients, now))
  if (state.warmup !== undefined && arrival.startedAt >= state.warmup.dayAt)
    state.warmup = { ...state.warmup, sent: Math.max(0, state.warmup.sent - arrival.recipients) }
  return state
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
  return beginRamp(
    { ...beginFlow(settled, now), phase: 'slow-start', hold: undefined, deafUntil: now },
    limits,
  )
}

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

function rateEvent(from: number, to: number, reason: string): LaneEvent {
  return { kind: 'rate', from: from * 1_000, to: to * 1_000, reason }
}
