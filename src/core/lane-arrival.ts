// What an arrival changes in a lane: the state machine told in lane.ts, transition by transition.

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
  ramp,
  tokensOf,
} from './lane-pace.ts'
import { copyLane, type LaneState } from './lane-state.ts'
import type { LaneLimits } from './limits.ts'
import type { ResolvedReaction } from './reaction.ts'
import type { Reply } from './reply.ts'
import type { Verdict } from './verdict.ts'
import { warmupAt } from './warmup.ts'
import { giveBack } from './window.ts'

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

/** Unexplained 4xx in a row, each to another message, that hold a lane. */
const STRANGE = 3

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
  const settled = copyLane(state)
  settled.tokens = tokensOf(state, limits, now)
  settled.at = now
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
      return { state: returned(settled, limits, arrival), events: NOTHING }
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
    { ...beginFlow(bracketRate(state, limits, now), now), phase: 'slow-start', hold: undefined, suspects },
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
function returned(settled: LaneState, limits: LaneLimits, arrival: Arrival): LaneState {
  if (arrival.startedAt <= settled.deafUntil) return settled
  const state = {
    ...settled,
    tokens: Math.min(burstOf(settled, limits), settled.tokens + arrival.recipients),
  }
  if (limits.caps.length > 0)
    state.windows = state.windows.map((window) => giveBack(window, arrival.recipients, arrival.startedAt))
  if (state.warmup !== undefined && arrival.startedAt >= state.warmup.dayAt)
    state.warmup = { ...state.warmup, sent: Math.max(0, state.warmup.sent - arrival.recipients) }
  return state
}

function rateEvent(from: number, to: number, reason: string): LaneEvent {
  return { kind: 'rate', from: from * 1_000, to: to * 1_000, reason }
}
