// What a lane remembers: opened fresh, fitted to limits that were edited since, forgotten when it is as good as new.
// Small on purpose: one for each of 50,000 recipient domains. Not here: how it moves (lane.ts, lane-pace.ts, lane-hold.ts).

import type { Cause } from './cause.ts'
import type { LaneLimits } from './limits.ts'
import type { Phase } from './reply.ts'
import { beginWarmup, type WarmupState } from './warmup.ts'
import { clampWindow, openWindow, type RollingWindow, used, windowMs } from './window.ts'

/** The last moment a Date can hold: a hold until then is one without an end. */
export const NO_END = 8_640_000_000_000_000

/** Why nothing goes for a while. */
export interface Hold {
  /** Epoch ms. */
  readonly since: number
  /** Epoch ms; `NO_END` for an operator's hold without an end. */
  readonly until: number
  /** `reply`: a server said so. Others: who asked for it. */
  readonly by: string
  /** 1 for the first, growing while it is refused again. */
  readonly level: number
  /** Its cause speaks of the rate. */
  readonly aboutRate?: boolean
  readonly reason?: string
  readonly cause?: Cause
  readonly rule?: string
  readonly provider?: string
  readonly advice?: string
  readonly url?: string
  /** The reply that began it. */
  readonly text?: string
  readonly code?: number
  readonly host?: string
  readonly phase?: Phase
}

/** A message that was refused where the lane may have been meant, or the message itself. */
export interface Suspect {
  readonly ticket: string
  readonly rule: string
  /** Another message passed since: the next refusal is the message's own. */
  readonly cleared: boolean
}

/** A stretch of holds with little good time between. */
export interface Episode {
  readonly since: number
  readonly holds: number
  /** When the lane came to stand still last: the first hold without a message accepted since. */
  readonly stoodAt: number
  readonly told: boolean
}

export interface LaneState {
  /** `probing` is `held` with its time over: a live attempt, never a stored flag. */
  readonly phase: 'open' | 'held' | 'slow-start'
  /** The bucket: tokens as they were `at`. */
  readonly tokens: number
  readonly at: number
  /** One per cap. */
  readonly windows: readonly RollingWindow[]
  readonly warmup: WarmupState | undefined

  /** Adapted rate in recipients per ms; `undefined`: the configured one. */
  readonly rate: number | undefined
  /** Rate that was last refused, and when. */
  readonly refusedRate: number | undefined
  readonly refusedRateAt: number
  /** Whether the refused rate is more than a guess from a first burst. */
  readonly sure: boolean
  /** Adapted concurrency, with fractions; `undefined`: the configured one. */
  readonly slots: number | undefined
  readonly refusedSlots: number | undefined
  readonly refusedSlotsAt: number
  /** Slow start's own rate and concurrency, while it lasts. */
  readonly rampRate: number
  readonly rampSlots: number

  /** The hold in force, or that the lane is coming out of. */
  readonly hold: Hold | undefined
  /** How often in a row it was refused; decays after good time. */
  readonly level: number
  /** Length of the last hold by a reply. */
  readonly lastHoldMs: number
  /** Cause of the last hold by a reply: another one starts the escalation anew. */
  readonly lastCause: Cause | undefined
  /** Replies to attempts begun until then say nothing new about the lane. */
  readonly deafUntil: number
  /** Holds so far. */
  readonly holds: number
  readonly episode: Episode | undefined
  readonly suspects: readonly Suspect[]
  /** Unexplained refusals in a row, and the ticket of the last. */
  readonly strange: number
  readonly strangeTicket: string

  /** Accepted recipients: since the flow began, in this stretch of a minute, and in the one before. */
  readonly flowAt: number
  readonly flowCount: number
  readonly stretchAt: number
  readonly stretchCount: number
  readonly stretchBefore: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000
/** Accepted recipients that make a flow worth reckoning with. */
export const MANY = 20

/** A lane that has said and heard nothing yet: a full bucket. */
export function openLane(limits: LaneLimits, now: number): LaneState {
  return {
    phase: 'open',
    tokens: limits.burst,
    at: now,
    windows: limits.caps.length === 0 ? NONE : limits.caps.map((cap) => openWindow(windowMs(cap))),
    warmup: limits.warmup && beginWarmup(limits.warmup, now),
    rate: undefined,
    refusedRate: undefined,
    refusedRateAt: 0,
    sure: false,
    slots: undefined,
    refusedSlots: undefined,
    refusedSlotsAt: 0,
    rampRate: 0,
    rampSlots: 0,
    hold: undefined,
    level: 0,
    lastHoldMs: 0,
    lastCause: undefined,
    deafUntil: -1,
    holds: 0,
    episode: undefined,
    suspects: NONE,
    strange: 0,
    strangeTicket: '',
    flowAt: now,
    flowCount: 0,
    stretchAt: now,
    stretchCount: 0,
    stretchBefore: 0,
  }
}

const NONE: readonly never[] = []

type Changing<T> = { -readonly [K in keyof T]: T[K] }

/**
 * The state to be changed into the next one. Field by field, in the order of `openLane`: each attempt makes four of
 * these, and a spread of so many fields costs fifteen times as much.
 */
export function copyLane(state: LaneState): Changing<LaneState> {
  return {
    phase: state.phase,
    tokens: state.tokens,
    at: state.at,
    windows: state.windows,
    warmup: state.warmup,
    rate: state.rate,
    refusedRate: state.refusedRate,
    refusedRateAt: state.refusedRateAt,
    sure: state.sure,
    slots: state.slots,
    refusedSlots: state.refusedSlots,
    refusedSlotsAt: state.refusedSlotsAt,
    rampRate: state.rampRate,
    rampSlots: state.rampSlots,
    hold: state.hold,
    level: state.level,
    lastHoldMs: state.lastHoldMs,
    lastCause: state.lastCause,
    deafUntil: state.deafUntil,
    holds: state.holds,
    episode: state.episode,
    suspects: state.suspects,
    strange: state.strange,
    strangeTicket: state.strangeTicket,
    flowAt: state.flowAt,
    flowCount: state.flowCount,
    stretchAt: state.stretchAt,
    stretchCount: state.stretchCount,
    stretchBefore: state.stretchBefore,
  }
}

/** How much good time takes one refusal off the escalation: a sixteenth of the last hold, at least a minute. */
export function decayMs(state: LaneState): number {
  return Math.max(60_000, state.lastHoldMs / 16)
}

/** Refusals in a row that still count: fewer with each stretch of good time, half at most after much accepted mail. */
export function levelAt(state: LaneState, now: number): number {
  if (state.level === 0 || state.phase === 'held') return state.level
  const level = state.flowCount < MANY ? state.level : Math.floor(state.level / 2)
  return Math.max(0, level - Math.floor(Math.max(0, now - state.flowAt) / decayMs(state)))
}

/** Whether the stretch of holds is over: an hour, or four times the last hold, without another. */
export function episodeOver(state: LaneState, now: number): boolean {
  if (state.episode === undefined) return true
  return state.phase !== 'held' && now - state.flowAt > Math.max(HOUR_MS, 4 * state.lastHoldMs)
}

/**
 * The same lane under limits that may have been edited since and a clock that may have jumped:
 * nothing lies in the future, nothing is above the limits, and a hold lasts from now on at most as long as it
 * was meant to from its beginning (24 hours where a server stated it), and never over 30 days.
 */
export function clampLane(state: LaneState, limits: LaneLimits, now: number): LaneState {
  const { hold, warmup, episode } = state
  const rate = limits.rate ? limits.rate.count / limits.rate.perMs : undefined
  const tooFast = state.rate !== undefined && rate !== undefined && state.rate >= rate
  const tooWide = state.slots !== undefined && state.slots >= limits.concurrency
  return {
    ...state,
    tokens: Math.min(state.tokens, limits.burst),
    at: Math.min(state.at, now),
    windows: limits.caps.map((cap) => {
      const window = state.windows.find((one) => one.perMs === windowMs(cap))
      return window ? clampWindow(window, now) : openWindow(windowMs(cap))
    }),
    warmup:
      limits.warmup &&
      (warmup
        ? {
            ...warmup,
            stage: Math.min(warmup.stage, limits.warmup.daily.length),
            dayAt: Math.min(warmup.dayAt, now),
          }
        : beginWarmup(limits.warmup, now)),
    rate: tooFast ? undefined : state.rate,
    refusedRateAt: Math.min(state.refusedRateAt, now),
    slots: tooWide ? undefined : state.slots,
    refusedSlotsAt: Math.min(state.refusedSlotsAt, now),
    hold: hold && clampHold(hold, now),
    deafUntil: Math.min(state.deafUntil, now),
    episode: episode && episode.since > now ? { ...episode, since: now, stoodAt: now } : episode,
    flowAt: Math.min(state.flowAt, now),
    stretchAt: Math.min(state.stretchAt, now),
  }
}

function clampHold(hold: Hold, now: number): Hold {
  const longest = Math.min(30 * DAY_MS, Math.max(0, hold.until - hold.since))
  const until = Math.min(hold.until, now + longest)
  return until === hold.until && hold.since <= now
    ? hold
    : { ...hold, until, since: Math.min(hold.since, now) }
}

/** Whether forgetting the lane would change nothing: full bucket, empty windows, nothing adapted or suspected, nothing accepted for an hour. */
export function isQuiet(state: LaneState, limits: LaneLimits, now: number): boolean {
  const rate = limits.rate ? limits.rate.count / limits.rate.perMs : Infinity
  return (
    state.phase === 'open' &&
    state.rate === undefined &&
    state.slots === undefined &&
    state.warmup === undefined &&
    (state.suspects.length === 0 || now - state.deafUntil > DAY_MS) &&
    state.strange === 0 &&
    (state.flowCount === 0 || now - state.stretchAt > HOUR_MS) &&
    (state.refusedRate === undefined || now - state.refusedRateAt > DAY_MS) &&
    (state.refusedSlots === undefined || now - state.refusedSlotsAt > DAY_MS) &&
    levelAt(state, now) === 0 &&
    episodeOver(state, now) &&
    (rate === Infinity || state.tokens + Math.max(0, now - state.at) * rate >= limits.burst) &&
    state.windows.every((window) => used(window, now) === 0)
  )
}
