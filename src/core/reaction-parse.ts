// Schedules and reactions as written → in numbers. Not here: the default reactions (reaction.ts), nor how those of
// several policies merge (policy-merge.ts).

import { CAUSES, type Cause } from './cause.ts'
import { at, defined, fields, flag, oneOf, optional, span, whole, word } from './check.ts'
import { badOption } from './error.ts'
import type { ResolvedSchedule } from './reaction.ts'

/** A reaction in numbers; what is absent is left to the next policy, at last to the default table. */
export interface ReactionPart {
  readonly retry?: ResolvedSchedule
  readonly holdMs?: number
  /** Stated together with `holdMs`; empty where holds double. */
  readonly holdStepsMs?: readonly number[]
  readonly permanentHoldMs?: number
  readonly holdMaxMs?: number
  readonly rateFactor?: number
  readonly concurrencyFactor?: number
  readonly countsAsAttempt?: boolean
  readonly onPermanent?: 'fail' | 'retry'
  readonly maxAttempts?: number
  readonly maxAgeMs?: number
  readonly alert?: boolean
  readonly source?: string
}

const CURVE_KEYS = ['first', 'factor', 'max', 'jitter']

/** A retry schedule in numbers. */
export function parseSchedule(value: unknown, path: string): ResolvedSchedule {
  if (Array.isArray(value)) {
    if (value.length === 0) throw badOption(path, 'at least one wait', value)
    return { kind: 'list', ms: value.map((wait, i) => span(wait, `${path}[${i}]`)), spread: 0.2 }
  }
  const given = fields(value, path, CURVE_KEYS, 'a list of waits, or { first, factor, max, jitter }')
  const firstMs = span(given.first, at(path, 'first'))
  const maxMs = span(given.max, at(path, 'max'))
  if (maxMs < firstMs) throw badOption(at(path, 'max'), 'no less than first', given.max)
  return {
    kind: 'curve',
    firstMs,
    maxMs,
    factor: optional(given.factor, (v) => between(v, at(path, 'factor'), 1, 100)) ?? 2,
    jitter: optional(given.jitter, (v) => between(v, at(path, 'jitter'), 0, 0.9)) ?? 0.2,
  }
}

// biome-ignore format: read at one glance
const REACTION_KEYS = [
  'retry', 'hold', 'permanentHold', 'holdMax', 'rateFactor', 'concurrencyFactor', 'countsAsAttempt', 'onPermanent',
  'maxAttempts', 'maxAge', 'alert', 'source',
]

/** Reactions by cause. */
export function parseReactions(value: unknown, path: string): { readonly [C in Cause]?: ReactionPart } {
  const given = fields(value, path, CAUSES, 'reactions by cause')
  const parts: { [C in Cause]?: ReactionPart } = {}
  for (const cause of CAUSES)
    if (given[cause] !== undefined) parts[cause] = parseReaction(given[cause], at(path, cause))
  return parts
}

/** One reaction in numbers. */
export function parseReaction(value: unknown, path: string): ReactionPart {
  const given = fields(value, path, REACTION_KEYS, 'a reaction')
  const field = <T>(key: string, parse: (value: unknown, path: string) => T) =>
    optional(given[key], (v) => parse(v, at(path, key)))
  const part: ReactionPart = defined({
    retry: field('retry', parseSchedule),
    holdMs: field('hold', (v, p) => holds(v, p)[0]),
    holdStepsMs: field('hold', (v, p) => (Array.isArray(v) ? holds(v, p) : [])),
    permanentHoldMs: field('permanentHold', (v, p) => span(v, p, 0)),
    holdMaxMs: field('holdMax', (v, p) => span(v, p)),
    rateFactor: field('rateFactor', share),
    concurrencyFactor: field('concurrencyFactor', share),
    countsAsAttempt: field('countsAsAttempt', flag),
    onPermanent: field('onPermanent', (v, p) => oneOf(v, p, ['fail', 'retry'] as const)),
    maxAttempts: field('maxAttempts', (v, p) => whole(v, p)),
    maxAgeMs: field('maxAge', (v, p) => span(v, p)),
    alert: field('alert', flag),
    source: field('source', (v, p) => word(v, p)),
  })
  if (part.holdMaxMs !== undefined && part.holdMs !== undefined && part.holdMaxMs < part.holdMs)
    throw badOption(at(path, 'holdMax'), 'no less than hold', given.holdMax)
  return part
}

function holds(value: unknown, path: string): readonly number[] {
  if (!Array.isArray(value)) return [span(value, path, 0)]
  if (value.length === 0) throw badOption(path, 'at least one hold', value)
  return value.map((hold, i) => span(hold, `${path}[${i}]`))
}

function between(value: unknown, path: string, least: number, most: number): number {
  if (typeof value !== 'number' || !(value >= least && value <= most))
    throw badOption(path, `a number from ${least} to ${most}`, value)
  return value
}

function share(value: unknown, path: string): number {
  if (typeof value !== 'number' || !(value > 0 && value <= 1))
    throw badOption(path, 'a number above 0, at most 1', value)
  return value
}
