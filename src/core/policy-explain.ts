// The effective policy of a domain for a person: every value, and which policy (or default) it comes from.
// Not here: the merging itself (policy-merge.ts); this only tells which layer won.

import { CAUSES, type Cause } from './cause.ts'
import type { RateLimit, WarmupPlan } from './limits.ts'
import type { Layer } from './policy-match.ts'
import { burstOf, DEFAULT_PARTS, type EffectivePolicy, first } from './policy-merge.ts'
import type { Origin, ParsedPolicy } from './policy-parse.ts'
import { DEFAULT_RETRY_SOURCE, type ResolvedReaction, type ResolvedSchedule } from './reaction.ts'
import type { ReactionPart } from './reaction-parse.ts'
import { durationText } from './units.ts'
import { WARMUP_PLANS } from './warmup.ts'

/** One effective value. */
export interface ExplainedValue {
  /** As `rate`, or `reactions.greylist.retry`. */
  readonly name: string
  /** As one would write it: `20/min`, `6m, 15m, 30m`. */
  readonly value: string
  readonly from: Origin
}

/** What holds for a domain and why; `String(explanation)` is a table. */
export interface PolicyExplanation {
  readonly domain: string
  readonly lane: string
  readonly provider?: string
  /** Policies that apply, first asked first. */
  readonly policies: readonly string[]
  readonly values: readonly ExplainedValue[]
  toString(): string
}

const REACTIONS = 'reactions.'
const DEFAULT: Origin = { kind: 'default' }
const RETRY_DEFAULT: Origin = { kind: 'default', source: DEFAULT_RETRY_SOURCE }

/** Explains the policy that merging `layers` gave; `limitLayers` are those that decide the lane's limits. */
export function explainLayers(
  domain: string,
  policy: EffectivePolicy,
  layers: readonly Layer[],
  limitLayers: readonly Layer[],
  ttlMs: number | undefined,
): PolicyExplanation {
  const values = [
    ...limitValues(policy, layers, limitLayers),
    ...generalValues(policy, layers, ttlMs),
    ...CAUSES.flatMap((cause) => reactionValues(cause, policy.reactions[cause], layers)),
  ]
  return {
    domain,
    lane: policy.lane,
    policies: policy.names,
    values,
    ...(policy.provider === undefined ? {} : { provider: policy.provider }),
    toString: () => table(domain, policy, values),
  }
}

const WHO = { user: 'policy', 'built-in': 'built-in', mailer: 'the mailer', default: 'default' } as const

/** Where a value comes from, in words: `policy 'acme'`, `built-in 'gmail' (source, 2026-08-01)`, `default`. */
export function originText(from: Origin): string {
  const who = WHO[from.kind] + (from.policy === undefined ? '' : ` '${from.policy}'`)
  const notes = [from.source, from.date].filter((note) => note !== undefined)
  return notes.length === 0 ? who : `${who} (${notes.join(', ')})`
}

function limitValues(
  policy: EffectivePolicy,
  layers: readonly Layer[],
  limits: readonly Layer[],
): ExplainedValue[] {
  const { rate, burst, caps, concurrency, warmup } = policy.limits
  const rateFrom = from(limits, 'rate')
  const values: ExplainedValue[] = [
    { name: 'lane', value: policy.lane, from: from(layers, 'lane') },
    { name: 'rate', value: rate?.text ?? 'no limit', from: rateFrom },
    // a burst that follows from the rate is the rate's
    { name: 'burst', value: String(burst), from: burstOf(limits)?.layer.policy.origin ?? rateFrom },
    { name: 'caps', value: caps.map(rateText).join(', ') || 'none', from: from(limits, 'caps') },
    { name: 'concurrency', value: String(concurrency), from: from(limits, 'concurrency') },
  ]
  if (warmup !== undefined)
    values.push({ name: 'warmup', value: warmupText(warmup), from: from(limits, 'warmup') })
  return values
}

/** The stages, before them the plan's name and where that comes from. */
function warmupText({ name, daily }: WarmupPlan): string {
  const stages = `${daily.join(', ')} a day`
  if (name === undefined) return stages
  const { source, date } = WARMUP_PLANS[name]
  return `'${name}' (${source}, ${date}): ${stages}`
}

function generalValues(
  policy: EffectivePolicy,
  layers: readonly Layer[],
  ttlMs: number | undefined,
): ExplainedValue[] {
  const ttl = policy.ttlMs ?? ttlMs
  const per = policy.messagesPerConnection
  const retryFrom = from(layers, 'retry')
  const ttlFrom: Origin = policy.ttlMs === undefined ? { kind: 'mailer' } : from(layers, 'ttlMs')
  return [
    {
      name: 'ttl',
      value: ttl === undefined ? "the mailer's" : durationText(ttl),
      from: ttlFrom,
    },
    {
      name: 'retry',
      value: scheduleText(policy.retry),
      from: retryFrom.kind === 'default' ? RETRY_DEFAULT : retryFrom,
    },
    {
      name: 'messagesPerConnection',
      value: per === undefined ? 'as learned' : String(per),
      from: from(layers, 'messagesPerConnection'),
    },
    { name: 'tls', value: policy.tls, from: from(layers, 'tls') },
    ...layers
      .filter((layer) => layer.policy.rules > 0)
      .map((layer) => ({
        name: 'rules',
        value: `${layer.policy.rules} of ${layer.policy.name}`,
        from: layer.policy.origin,
      })),
  ]
}

function reactionValues(
  cause: Cause,
  reaction: ResolvedReaction,
  layers: readonly Layer[],
): ExplainedValue[] {
  const values: ExplainedValue[] = []
  for (const [key, value] of Object.entries(reactionTexts(reaction))) {
    if (value === undefined) continue
    values.push({
      name: `${REACTIONS}${cause}.${key}`,
      value,
      from: reactionFrom(cause, PART_OF[key], layers),
    })
  }
  return values
}

const PART_OF: Readonly<Record<string, keyof ReactionPart>> = {
  retry: 'retry',
  hold: 'holdMs',
  permanentHold: 'permanentHoldMs',
  holdMax: 'holdMaxMs',
  rateFactor: 'rateFactor',
  concurrencyFactor: 'concurrencyFactor',
  countsAsAttempt: 'countsAsAttempt',
  onPermanent: 'onPermanent',
  maxAttempts: 'maxAttempts',
  maxAge: 'maxAgeMs',
  alert: 'alert',
}

/** Only what is said: a factor of 1, or a longest hold where there is no hold, says nothing. */
function reactionTexts(reaction: ResolvedReaction): Readonly<Record<string, string | undefined>> {
  const { holdMs, holdStepsMs, permanentHoldMs, maxAttempts, maxAgeMs } = reaction
  const held = holdMs !== undefined || permanentHoldMs !== undefined
  return {
    retry: reaction.retry && scheduleText(reaction.retry),
    hold: holdMs === undefined ? undefined : (holdStepsMs ?? [holdMs]).map(durationText).join(', '),
    permanentHold: permanentHoldMs === holdMs ? undefined : durationText(permanentHoldMs ?? 0),
    holdMax: held && holdStepsMs === undefined ? durationText(reaction.holdMaxMs) : undefined,
    rateFactor: reaction.rateFactor === 1 ? undefined : String(reaction.rateFactor),
    concurrencyFactor: reaction.concurrencyFactor === 1 ? undefined : String(reaction.concurrencyFactor),
    countsAsAttempt: reaction.countsAsAttempt ? undefined : 'false',
    onPermanent: reaction.onPermanent === 'fail' ? undefined : reaction.onPermanent,
    maxAttempts: maxAttempts === undefined ? undefined : String(maxAttempts),
    maxAge: maxAgeMs === undefined ? undefined : durationText(maxAgeMs),
    alert: reaction.alert ? 'true' : undefined,
  }
}

function reactionFrom(cause: Cause, key: keyof ReactionPart | undefined, layers: readonly Layer[]): Origin {
  if (key === undefined) return DEFAULT
  for (const { policy } of layers) {
    const part = policy.reactions[cause]
    if (part?.[key] === undefined) continue
    return part.source === undefined ? policy.origin : { ...policy.origin, source: part.source }
  }
  const { source } = DEFAULT_PARTS[cause]
  return source === undefined ? DEFAULT : { kind: 'default', source }
}

function from(layers: readonly Layer[], key: keyof ParsedPolicy): Origin {
  return first(layers, key)?.layer.policy.origin ?? DEFAULT
}

/** A schedule as one would write it. */
export function scheduleText(schedule: ResolvedSchedule): string {
  if (schedule.kind === 'list') return `${schedule.ms.map(durationText).join(', ')} and so on`
  const { firstMs, factor, maxMs, jitter } = schedule
  return `${durationText(firstMs)} ×${factor} to ${durationText(maxMs)} ±${Math.round(jitter * 100)} %`
}

function rateText(limit: RateLimit): string {
  return limit.text
}

function table(domain: string, policy: EffectivePolicy, values: readonly ExplainedValue[]): string {
  const names = policy.names.length === 0 ? 'no policy, defaults only' : `policies ${policy.names.join(', ')}`
  const limits = values.filter((v) => !v.name.startsWith(REACTIONS))
  const rows = [
    ...limits.map((v) => [v.name, v.value, originText(v.from)] as const),
    ...CAUSES.flatMap(reactionRow),
  ]
  const wide = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length))
  const [nameWidth, valueWidth] = [wide(0), Math.min(60, wide(1))]
  const lines = rows.map((row) => `  ${row[0].padEnd(nameWidth)}  ${row[1].padEnd(valueWidth)}  ${row[2]}`)
  return [`${domain}: lane '${policy.lane}', ${names}`, ...lines].join('\n')

  /** All of a cause's reaction in one row; of its origins each is named once, with what it says where it is not all. */
  function reactionRow(cause: Cause): readonly [readonly [string, string, string]] {
    const own = values.filter((v) => v.name.startsWith(`${REACTIONS}${cause}.`))
    if (own.length === 0) return [[cause, 'retry as above', originText({ kind: 'default' })]]
    const key = (value: ExplainedValue) => value.name.slice(REACTIONS.length + cause.length + 1)
    const origins = [...new Set(own.map((v) => originText(v.from)))].map((origin) => {
      const said = own.filter((v) => originText(v.from) === origin)
      return said.length === own.length ? origin : `${said.map(key).join(', ')}: ${origin}`
    })
    return [[cause, own.map((v) => `${key(v)} ${v.value}`).join(', '), origins.join('; ')]]
  }
}
