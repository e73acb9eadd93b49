// A lane as text and back: what the store keeps. Text that is no lane is refused, and a fresh lane takes its place.

import { CAUSES } from './cause.ts'
import { tokensOf } from './lane-pace.ts'
import { type LaneState, openLane } from './lane-state.ts'
import type { LaneLimits } from './limits.ts'

/** One line of JSON. */
export function saveLane(state: LaneState): string {
  return JSON.stringify(state)
}

/** The lane that was saved; `undefined` when the text is none (then a fresh one takes its place). */
export function loadLane(text: string): LaneState | undefined {
  let read: unknown
  try {
    read = JSON.parse(text)
  } catch {
    return undefined
  }
  return isLane(read) ? { ...BLANK, ...read } : undefined
}

/** The share of its burst that a lane may spend unsaved: a crash then lets at most so much go twice. */
const UNSAVED_SHARE = 0.02

/**
 * Whether what became of a lane must be saved with the next commit. What only counts, and tokens while few of the
 * burst were spent, may wait a moment for company: a busy relay would write each lane's row for every message.
 * Lanes with caps or a warm-up never wait, since those are promised to the message.
 * @param saved what a restart would find; `undefined` for a lane without a row
 */
export function isWorthSaving(
  saved: LaneState | undefined,
  state: LaneState,
  limits: LaneLimits,
  now: number,
): boolean {
  if (limits.caps.length > 0 || limits.warmup !== undefined) return true
  const before = saved ?? BLANK
  if (
    state.phase !== before.phase ||
    state.rate !== before.rate ||
    state.slots !== before.slots ||
    state.refusedRate !== before.refusedRate ||
    state.refusedSlots !== before.refusedSlots ||
    state.rampRate !== before.rampRate ||
    state.hold !== before.hold ||
    state.level !== before.level ||
    state.holds !== before.holds ||
    state.suspects.length !== before.suspects.length ||
    state.strange !== before.strange ||
    state.deafUntil !== before.deafUntil
  )
    return true
  const found = saved === undefined ? limits.burst : tokensOf(saved, limits, now)
  return found - tokensOf(state, limits, now) > UNSAVED_SHARE * limits.burst
}

const BLANK = openLane({ burst: 1, caps: [], concurrency: 1 }, 0)

const NUMBERS = Object.keys(BLANK).filter((key) => typeof BLANK[key as keyof LaneState] === 'number')
const OPTIONAL_NUMBERS = ['rate', 'refusedRate', 'slots', 'refusedSlots']

function isLane(read: unknown): read is LaneState {
  if (!isRecord(read)) return false
  if (read.phase !== 'open' && read.phase !== 'held' && read.phase !== 'slow-start') return false
  if (!NUMBERS.every((key) => Number.isFinite(read[key]))) return false
  if (!OPTIONAL_NUMBERS.every((key) => read[key] === undefined || Number.isFinite(read[key]))) return false
  if (typeof read.strangeTicket !== 'string' || !Array.isArray(read.suspects) || !Array.isArray(read.windows))
    return false
  if (
    !read.suspects.every(
      (one) => isRecord(one) && typeof one.ticket === 'string' && typeof one.rule === 'string',
    )
  )
    return false
  if (!read.windows.every(isWindow)) return false
  if (read.phase === 'held' && read.hold === undefined) return false
  return (
    (read.hold === undefined || isHold(read.hold)) &&
    (read.episode === undefined || hasNumbers(read.episode, ['since', 'holds', 'stoodAt'])) &&
    (read.warmup === undefined || hasNumbers(read.warmup, ['stage', 'dayAt', 'sent', 'delivered']))
  )
}

function isWindow(read: unknown): boolean {
  return (
    hasNumbers(read, ['perMs']) &&
    Array.isArray(read.parts) &&
    read.parts.every((one) => Number.isFinite(one))
  )
}

function isHold(read: unknown): boolean {
  if (!hasNumbers(read, ['since', 'until', 'level']) || typeof read.by !== 'string') return false
  return read.cause === undefined || (CAUSES as readonly unknown[]).includes(read.cause)
}

function hasNumbers(read: unknown, keys: readonly string[]): read is Record<string, unknown> {
  return isRecord(read) && keys.every((key) => Number.isFinite(read[key]))
}

function isRecord(read: unknown): read is Record<string, unknown> {
  return typeof read === 'object' && read !== null && !Array.isArray(read)
}
