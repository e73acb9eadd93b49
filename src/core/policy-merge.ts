// How the layers of a domain become one policy: field by field, the first layer that states it wins, the
// defaults come last. The only place that knows the defaults. Not here: which layers apply (policy-match.ts).

import { CAUSES, type Cause } from './cause.ts'
import type { LaneLimits } from './limits.ts'
import { isCatchAll, type Layer } from './policy-match.ts'
import type { ParsedPolicy } from './policy-parse.ts'
import {
  DEFAULT_HOLD_MAX,
  DEFAULT_REACTIONS,
  DEFAULT_RETRY,
  type ResolvedReaction,
  type ResolvedSchedule,
} from './reaction.ts'
import { parseReaction, parseSchedule, type ReactionPart } from './reaction-parse.ts'
import { duration, rate } from './units.ts'

/** What holds for one recipient domain, every default in place. */
export interface EffectivePolicy {
  /** Key of the lane the domain's mail goes in. */
  readonly lane: string
  /** Name of the most specific policy, where one speaks of the domain by name. */
  readonly provider?: string
  /** Policies that apply, first asked first. */
  readonly names: readonly string[]
  readonly limits: LaneLimits
  /** Absent: the mailer's. */
  readonly ttlMs?: number
  readonly retry: ResolvedSchedule
  readonly reactions: Readonly<Record<Cause, ResolvedReaction>>
  readonly messagesPerConnection?: number
  readonly tls: 'opportunistic' | 'required' | 'verified'
  /** Policies that speak of submission relays: what they recognise is one's own account's, not a recipient's. */
  readonly relays: ReadonlySet<string>
}

/** Where no policy says otherwise: per recipient domain. */
export const DEFAULT_LIMITS: LaneLimits = { rate: rate('10/s'), burst: 50, caps: [], concurrency: 10 }

/** A stated rate without a burst allows at once what it allows in so long. */
const BURST_WINDOW_MS = 5_000

const DEFAULT_SCHEDULE = parseSchedule(DEFAULT_RETRY, 'retry')

export const DEFAULT_PARTS = Object.fromEntries(
  CAUSES.map((cause) => [cause, parseReaction(DEFAULT_REACTIONS[cause], `reactions.${cause}`)]),
) as Readonly<Record<Cause, ReactionPart>>

/** The value of the first layer that states it, and that layer. */
export function first<K extends keyof ParsedPolicy>(
  layers: readonly Layer[],
  key: K,
): { readonly value: NonNullable<ParsedPolicy[K]>; readonly layer: Layer } | undefined {
  for (const layer of layers) {
    const value = layer.policy[key]
    if (value !== undefined && value !== null) return { value, layer }
  }
  return undefined
}

/** What holds where these layers apply; its lane is still to be named. */
export function merge(layers: readonly Layer[], relays: ReadonlySet<string>): EffectivePolicy {
  const ttlMs = first(layers, 'ttlMs')?.value
  const messagesPerConnection = first(layers, 'messagesPerConnection')?.value
  const provider = layers.find((layer) => !isCatchAll(layer))?.policy.name
  return {
    lane: '',
    relays,
    names: layers.map((layer) => layer.policy.name),
    limits: limitsOf(layers),
    retry: first(layers, 'retry')?.value ?? DEFAULT_SCHEDULE,
    reactions: Object.fromEntries(CAUSES.map((cause) => [cause, reactionOf(layers, cause)])) as Record<
      Cause,
      ResolvedReaction
    >,
    tls: first(layers, 'tls')?.value ?? 'opportunistic',
    ...(provider === undefined ? {} : { provider }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(messagesPerConnection === undefined ? {} : { messagesPerConnection }),
  }
}

function reactionOf(layers: readonly Layer[], cause: Cause): ResolvedReaction {
  const parts = [...layers.map((layer) => layer.policy.reactions[cause] ?? {}), DEFAULT_PARTS[cause]]
  const part: ReactionPart = Object.assign({}, ...[...parts].reverse())
  // of a hold and a longest hold that contradict each other, the one stated by the nearer policy stands
  const stated = (key: keyof ReactionPart) => parts.findIndex((p) => p[key] !== undefined)
  const longest = part.holdMaxMs ?? duration(DEFAULT_HOLD_MAX)
  const binds = part.holdMaxMs !== undefined && stated('holdMaxMs') < stated('holdMs')
  const cut = (ms: number) => (binds ? Math.min(ms, longest) : ms)
  const { holdMs: hold = 0, permanentHoldMs: permanent = hold, holdStepsMs: steps = [], ...rest } = part
  const [holdMs, permanentHoldMs, holdStepsMs] = [cut(hold), cut(permanent), steps.map(cut)]
  return {
    rateFactor: 1,
    concurrencyFactor: 1,
    countsAsAttempt: true,
    onPermanent: 'fail',
    alert: false,
    ...rest,
    holdMaxMs: holdStepsMs.length > 0 ? Math.max(...holdStepsMs) : Math.max(longest, holdMs),
    ...(holdMs > 0 ? { holdMs } : {}),
    ...(holdStepsMs.length > 0 ? { holdStepsMs } : {}),
    ...(permanentHoldMs > 0 ? { permanentHoldMs } : {}),
  }
}

/** Limits of one lane. A burst belongs to the rate it was stated with, or overrides it from above. */
export function limitsOf(layers: readonly Layer[]): LaneLimits {
  const stated = first(layers, 'rate')
  const burst = burstOf(layers)?.value
  const warmup = first(layers, 'warmup')?.value
  const rateLimit = stated?.value ?? DEFAULT_LIMITS.rate
  const fallback =
    stated === undefined
      ? DEFAULT_LIMITS.burst
      : Math.max(1, Math.floor((stated.value.count / stated.value.perMs) * BURST_WINDOW_MS))
  return {
    ...(rateLimit === undefined ? {} : { rate: rateLimit }),
    burst: burst ?? fallback,
    caps: first(layers, 'caps')?.value ?? DEFAULT_LIMITS.caps,
    concurrency: first(layers, 'concurrency')?.value ?? DEFAULT_LIMITS.concurrency,
    ...(warmup === undefined ? {} : { warmup }),
  }
}

/** The burst that goes with the rate: one stated below it was meant for another rate. */
export function burstOf(
  layers: readonly Layer[],
): { readonly value: number; readonly layer: Layer } | undefined {
  const stated = first(layers, 'rate')
  const entitled = stated === undefined ? layers : layers.filter((layer) => layer.rank >= stated.layer.rank)
  return first(entitled, 'burst')
}
