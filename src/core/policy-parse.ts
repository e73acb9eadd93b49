// A provider policy as written → a policy in numbers, or an error that names the field at fault.
// Not here: which policies apply to a domain and how they merge (policy-match.ts, policy-merge.ts), their reactions
// (reaction-parse.ts), nor how rules match (classify/).

import type { Cause } from './cause.ts'
import { at, callable, defined, fields, list, oneOf, optional, span, whole, word } from './check.ts'
import { badOption } from './error.ts'
import type { RateLimit, WarmupPlan } from './limits.ts'
import type { ResolvedSchedule } from './reaction.ts'
import { parseReactions, parseSchedule, type ReactionPart } from './reaction-parse.ts'
import { parseRules } from './rule-parse.ts'
import { rate, startOfDay } from './units.ts'
import { WARMUP_NAMES, WARMUP_PLANS } from './warmup.ts'

/** Where a value comes from. */
export interface Origin {
  readonly kind: 'user' | 'built-in' | 'mailer' | 'default'
  /** The policy's name. */
  readonly policy?: string
  readonly source?: string
  readonly date?: string
}

/** A pattern of domains or MX hosts: one name, all names under it, or all names. */
export type NamePattern =
  | { readonly kind: 'exact'; readonly name: string }
  | { readonly kind: 'under'; readonly name: string }
  | { readonly kind: 'all' }

export const TLS_MODES = ['opportunistic', 'required', 'verified'] as const

/** A policy in numbers. */
export interface ParsedPolicy {
  readonly path: string
  readonly origin: Origin
  readonly name: string
  readonly domains: readonly NamePattern[]
  readonly mx: readonly NamePattern[]
  readonly role: 'receiver' | 'submission'
  readonly lane?: string
  readonly rate?: RateLimit
  readonly burst?: number
  readonly caps?: readonly RateLimit[]
  readonly concurrency?: number
  readonly messagesPerConnection?: number
  readonly ttlMs?: number
  readonly retry?: ResolvedSchedule
  readonly reactions: { readonly [C in Cause]?: ReactionPart }
  readonly warmup?: WarmupPlan
  readonly tls?: (typeof TLS_MODES)[number]
  readonly rules: number
}

// biome-ignore format: read at one glance
const POLICY_KEYS = [
  'name', 'domains', 'mx', 'marks', 'role', 'url', 'lane', 'rate', 'burst', 'caps', 'concurrency',
  'messagesPerConnection', 'ttl', 'retry', 'rules', 'reactions', 'warmup', 'tls', 'classify', 'source', 'date',
]

/**
 * Checks and resolves a list of policies.
 * @throws {SteadymailError} `BAD_OPTION` with the path of the first field that does not fit
 */
export function parsePolicies(
  input: unknown,
  path: string,
  kind: 'user' | 'built-in',
  /** Names a policy may extend without saying which domains. */
  extendable: ReadonlySet<string> = new Set(),
): readonly ParsedPolicy[] {
  const names = new Set<string>()
  return list(input, path, 'an array of policies').map((given, i) => {
    const policy = parsePolicy(given, `${path}[${i}]`, kind, extendable)
    if (names.has(policy.name))
      throw badOption(`${policy.path}.name`, 'a name no other policy has', policy.name)
    names.add(policy.name)
    return policy
  })
}

function parsePolicy(
  input: unknown,
  path: string,
  kind: 'user' | 'built-in',
  extendable: ReadonlySet<string>,
): ParsedPolicy {
  const given = fields(input, path, POLICY_KEYS, 'a policy, an object with a name')
  const name = word(given.name, at(path, 'name'), 'a name')
  const domains = optional(given.domains, (v) => patterns(v, at(path, 'domains'), 'domain')) ?? []
  const mx = optional(given.mx, (v) => patterns(v, at(path, 'mx'), 'mx')) ?? []
  if (kind === 'user' && domains.length === 0 && mx.length === 0 && !extendable.has(name))
    throw badOption(
      at(path, 'domains'),
      "domains or mx ('*' for all), or the name of a built-in policy",
      name,
    )
  if (given.marks !== undefined) checkMarks(given.marks, at(path, 'marks'))
  if (given.classify !== undefined) callable(given.classify, at(path, 'classify'))
  optional(given.url, (v) => word(v, at(path, 'url')))
  const source = optional(given.source, (v) => word(v, at(path, 'source')))
  const date = optional(given.date, (v) => day(v, at(path, 'date')))
  const limits = parseLimits(given, path)
  return {
    path,
    origin: { kind, policy: name, ...defined({ source, date }) },
    name,
    domains,
    mx,
    role: optional(given.role, (v) => oneOf(v, at(path, 'role'), ['receiver', 'submission'])) ?? 'receiver',
    ...limits,
    reactions: optional(given.reactions, (v) => parseReactions(v, at(path, 'reactions'))) ?? {},
    rules: optional(given.rules, (v) => parseRules(v, at(path, 'rules'), kind)) ?? 0,
  }
}

function parseLimits(given: Record<string, unknown>, path: string) {
  const field = <T>(key: string, parse: (value: unknown, path: string) => T) =>
    optional(given[key], (value) => parse(value, at(path, key)))
  return defined({
    lane: field('lane', parseLaneName),
    rate: field('rate', parseRate),
    burst: field('burst', (v, p) => whole(v, p)),
    caps: field('caps', parseCaps),
    concurrency: field('concurrency', (v, p) => whole(v, p)),
    messagesPerConnection: field('messagesPerConnection', (v, p) => whole(v, p)),
    ttlMs: field('ttl', (v, p) => span(v, p)),
    retry: field('retry', parseSchedule),
    warmup: field('warmup', parseWarmup),
    tls: field('tls', (v, p) => oneOf(v, p, TLS_MODES)),
  })
}

const LANE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/

function parseLaneName(value: unknown, path: string): string {
  if (typeof value !== 'string' || !LANE_NAME.test(value))
    throw badOption(path, "a lane name of letters, digits, '.', '_' and '-'", value)
  return value
}

function parseRate(value: unknown, path: string): RateLimit {
  return rate(value as string, path)
}

/** Rolling windows: whole recipients, else a window would never open. */
export function parseCaps(value: unknown, path: string): readonly RateLimit[] {
  const one = (given: unknown, where: string) => {
    const cap = parseRate(given, where)
    if (!Number.isInteger(cap.count))
      throw badOption(where, 'a whole number of recipients to a window', given)
    return cap
  }
  if (!Array.isArray(value)) return [one(value, path)]
  return value.map((given, i) => one(given, `${path}[${i}]`))
}

const WARMUP_KEYS = ['start', 'daily']

/** A warm-up as a policy or the egress states it. */
export function parseWarmup(value: unknown, path: string): WarmupPlan {
  const given = fields(value, path, WARMUP_KEYS, "{ start: 'YYYY-MM-DD', daily: [...] }")
  const startAt = startOfDay(day(given.start, at(path, 'start'))) ?? 0
  if (typeof given.daily === 'string') {
    const name = oneOf(given.daily, at(path, 'daily'), WARMUP_NAMES)
    return { startAt, daily: WARMUP_PLANS[name].daily, name }
  }
  const daily = list(given.daily, at(path, 'daily'), "recipients for each day, 'automated' or 'gentle'")
  if (daily.length === 0) throw badOption(at(path, 'daily'), 'at least one day', daily)
  return {
    startAt,
    daily: daily.map((count, i) => whole(count, `${at(path, 'daily')}[${i}]`)),
  }
}

function checkMarks(value: unknown, path: string): void {
  list(value, path, 'an array of patterns or words').forEach((mark, i) => {
    if (mark instanceof RegExp) {
      if (mark.global || mark.sticky) throw badOption(`${path}[${i}]`, 'a pattern without g or y', mark)
    } else word(mark, `${path}[${i}]`, 'a pattern or words')
  })
}

const DOMAIN =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/
const LITERAL = /^\[[0-9a-f.:]{2,60}\]$/

function patterns(value: unknown, path: string, kind: 'domain' | 'mx'): readonly NamePattern[] {
  const given = list(value, path, kind === 'domain' ? 'an array of domains' : 'an array of MX host patterns')
  if (given.length === 0) throw badOption(path, 'at least one', given)
  return given.map((text, i) => pattern(text, `${path}[${i}]`, kind))
}

function pattern(value: unknown, path: string, kind: 'domain' | 'mx'): NamePattern {
  const expected =
    kind === 'domain' ? "a domain, '*.<domain>' for its subdomains, or '*'" : "an MX host or '*.<domain>'"
  if (typeof value !== 'string') throw badOption(path, expected, value)
  if (value === '*' && kind === 'domain') return { kind: 'all' }
  const under = value.startsWith('*.')
  const name = normal(under ? value.slice(2) : value)
  const known = DOMAIN.test(name) || (LITERAL.test(name) && kind === 'domain' && !under)
  if (!known) throw badOption(path, expected, value)
  return { kind: under ? 'under' : 'exact', name }
}

/** Lower case, ASCII, no trailing dot. */
function normal(name: string): string {
  const lower = name.toLowerCase().replace(/\.$/, '')
  if (/^[\x21-\x7e]*$/.test(lower) || /[\s/?#@:\\]/.test(lower)) return lower
  // IDN to ASCII, as a URL's host is (UTS 46)
  return URL.canParse(`http://${lower}`) ? new URL(`http://${lower}`).hostname : lower
}

function day(value: unknown, path: string): string {
  if (typeof value !== 'string' || startOfDay(value) === undefined)
    throw badOption(path, "a day as 'YYYY-MM-DD'", value)
  return value
}
