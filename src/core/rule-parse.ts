// Checks a policy's rules: every one must be able to match something, and must not keep state between matches.
// Not here: how a rule matches (classify/rules.ts).

import { CAUSES, SCOPES } from './cause.ts'
import { at, fields, list, oneOf, optional, span, word } from './check.ts'
import { badOption } from './error.ts'
import { PHASES } from './reply.ts'
import { startOfDay } from './units.ts'

// biome-ignore format: read at one glance
const RULE_KEYS = [
  'id', 'code', 'enhanced', 'text', 'phase', 'cause', 'scope', 'persistence', 'retryAfter', 'advice', 'url', 'source',
  'date', 'samples',
]

const CONDITIONS = 'at least one of code, enhanced, text, phase'
const ID = /^[a-z0-9]+(?:[-_.][a-z0-9]+)*$/
const ENHANCED = /^[45*]\.(?:\d{1,3}|\*)(?:\.(?:\d{1,3}|\*))?$/

/**
 * Checks rules and returns how many there are.
 * @throws {SteadymailError} `BAD_OPTION` for a rule that can never match, keeps state, or is not understood
 */
export function parseRules(input: unknown, path: string, kind: 'user' | 'built-in'): number {
  const ids = new Set<string>()
  const rules = list(input, path, 'an array of rules')
  rules.forEach((given, i) => {
    const id = parseRule(given, `${path}[${i}]`, kind)
    if (ids.has(id)) throw badOption(`${path}[${i}].id`, 'an id no other rule of the policy has', id)
    ids.add(id)
  })
  return rules.length
}

function parseRule(input: unknown, path: string, kind: 'user' | 'built-in'): string {
  const rule = fields(input, path, RULE_KEYS, 'a rule, an object with an id')
  if (typeof rule.id !== 'string' || !ID.test(rule.id))
    throw badOption(at(path, 'id'), "an id as 'acme-slow-down'", rule.id)
  oneOf(rule.cause, at(path, 'cause'), CAUSES)
  optional(rule.scope, (v) => oneOf(v, at(path, 'scope'), SCOPES))
  optional(rule.persistence, (v) => oneOf(v, at(path, 'persistence'), ['transient', 'permanent'] as const))
  if (['code', 'enhanced', 'text', 'phase'].every((key) => rule[key] === undefined))
    throw badOption(path, `a condition (${CONDITIONS}), else it would match every reply`, rule.id)
  const codes = optional(rule.code, (v) => several(v, at(path, 'code'), checkCode))
  const enhanced = optional(rule.enhanced, (v) => several(v, at(path, 'enhanced'), checkEnhanced))
  if (kind === 'user') contradiction(codes, enhanced, path, rule.enhanced)
  optional(rule.text, (v) => checkText(v, at(path, 'text')))
  optional(rule.phase, (v) => several(v, at(path, 'phase'), (phase, where) => oneOf(phase, where, PHASES)))
  optional(rule.retryAfter, (v) => span(v, at(path, 'retryAfter')))
  for (const key of ['advice', 'url', 'source']) optional(rule[key], (v) => word(v, at(path, key)))
  optional(rule.date, (v) => {
    if (typeof v !== 'string' || startOfDay(v) === undefined)
      throw badOption(at(path, 'date'), "a day as 'YYYY-MM-DD'", v)
  })
  optional(rule.samples, (v) =>
    list(v, at(path, 'samples'), 'an array of replies').forEach((sample, i) => {
      word(sample, `${at(path, 'samples')}[${i}]`, 'a reply')
    }),
  )
  return rule.id
}

/** One value or several; the first character of each, which is the reply class it asks for. */
function several(
  value: unknown,
  path: string,
  check: (one: unknown, path: string) => string,
): readonly string[] {
  if (!Array.isArray(value)) return [check(value, path)]
  if (value.length === 0) throw badOption(path, 'at least one', value)
  return value.map((one, i) => check(one, `${path}[${i}]`))
}

function checkCode(value: unknown, path: string): string {
  if (value === '4xx' || value === '5xx') return value.charAt(0)
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 400 || value > 599)
    throw badOption(path, "a refusal's code, 400 to 599, '4xx' or '5xx'", value)
  return String(value).charAt(0)
}

function checkEnhanced(value: unknown, path: string): string {
  if (typeof value !== 'string' || !ENHANCED.test(value))
    throw badOption(path, "a refusal's enhanced status code as '4.7.28' or '4.7.*'", value)
  return value.charAt(0)
}

function contradiction(
  codes: readonly string[] | undefined,
  enhanced: readonly string[] | undefined,
  path: string,
  given: unknown,
): void {
  if (codes === undefined || enhanced === undefined || enhanced.includes('*')) return
  if (enhanced.some((kind) => codes.includes(kind))) return
  throw badOption(at(path, 'enhanced'), `the class of code, '${codes[0]}.…', else it can never match`, given)
}

function checkText(value: unknown, path: string): void {
  if (value instanceof RegExp) {
    if (value.global || value.sticky)
      throw badOption(path, 'a pattern without the g and y flags, which skip matches', value)
    if (value.source === '(?:)') throw badOption(path, 'a pattern that is not empty', value)
    return
  }
  word(value, path, 'a pattern or words, not empty')
}
