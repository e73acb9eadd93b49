// Durations and rates: strict strings or milliseconds, parsed once, with errors that name the path.
// Also the way back, for people, and the calendar day a warm-up starts on. Not here: what is done with them.

import { badOption } from './error.ts'
import type { RateLimit } from './limits.ts'

/** Milliseconds, or a number and a unit without a space: `'500ms' '30s' '15m' '4h' '5d' '2w'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd' | 'w'}`

/** `<number>/<s|min|h|d>`, as `'20/min'`. */
export type Rate = `${number}/${'s' | 'min' | 'h' | 'd'}`

export const SECOND = 1_000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

const DURATION = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d|w)$/
const RATE = /^(\d{1,12}(?:\.\d{1,6})?)\/(s|min|h|d)$/
const DURATION_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: SECOND,
  m: MINUTE,
  h: HOUR,
  d: DAY,
  w: 7 * DAY,
}
const RATE_UNIT: Readonly<Record<string, number>> = { s: SECOND, min: MINUTE, h: HOUR, d: DAY }

/** Longest duration there is a use for: ten years, so that moments stay dates. */
const LONGEST = 3_650 * DAY

/**
 * Milliseconds of a duration: `duration('5d')` is 432 000 000. Takes what comes from the environment.
 * @throws {SteadymailError} `BAD_OPTION` for anything but a number of ms from 0 to ten years, or `'<number><ms|s|m|h|d|w>'`
 */
export function duration(text: string | number, path = 'duration'): number {
  const match = typeof text === 'string' ? DURATION.exec(text) : null
  const ms = match ? Math.round(Number(match[1]) * (DURATION_UNIT[match[2] ?? ''] ?? Number.NaN)) : text
  if (typeof ms !== 'number' || !Number.isFinite(ms) || ms < 0)
    throw badOption(path, "milliseconds or '<number><ms|s|m|h|d|w>'", text)
  if (ms > LONGEST) throw badOption(path, 'at most 3650d', text)
  return ms
}

/**
 * A rate as count and window: `rate('20/min')` is `{ count: 20, perMs: 60000, text: '20/min' }`.
 * @throws {SteadymailError} `BAD_OPTION` for anything but `'<number>/<s|min|h|d>'` with a number above 0
 */
export function rate(text: string, path = 'rate'): RateLimit {
  const match = typeof text === 'string' ? RATE.exec(text) : null
  const count = Number(match?.[1])
  const perMs = RATE_UNIT[match?.[2] ?? '']
  if (!match || perMs === undefined) throw badOption(path, "'<number>/<s|min|h|d>'", text)
  if (count <= 0) throw badOption(path, 'a rate above 0', text)
  return { count, perMs, text }
}

/** A duration for people, in its two largest units: `'15m'`, `'1h 30m'`, `'2d 4h'`. */
export function durationText(ms: number): string {
  const whole = Math.max(0, Math.round(ms))
  if (whole < SECOND) return `${whole}ms`
  let rest = Math.round(whole / SECOND) * SECOND
  const parts: string[] = []
  for (const [size, unit] of [
    [DAY, 'd'],
    [HOUR, 'h'],
    [MINUTE, 'm'],
    [SECOND, 's'],
  ] as const) {
    const count = Math.floor(rest / size)
    if (count > 0) parts.push(`${count}${unit}`)
    else if (parts.length > 0) break
    rest -= count * size
    if (parts.length === 2) break
  }
  return parts.join(' ')
}

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/

/**
 * Epoch ms at which a UTC day begins, or `undefined` when the text is no day of the calendar.
 * By arithmetic: this floor has no clock and no `Date`.
 */
export function startOfDay(text: string): number | undefined {
  const match = DATE.exec(text)
  if (!match) return undefined
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])]
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
  const lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
  const length = lengths[month - 1]
  if (length === undefined || day < 1 || day > length || year < 1970) return undefined
  const leapDays = (y: number) => Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400)
  let days = (year - 1970) * 365 + leapDays(year - 1) - leapDays(1969) + day - 1
  for (const past of lengths.slice(0, month - 1)) days += past
  return days * DAY
}
