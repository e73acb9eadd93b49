// All policies together: what holds for a recipient domain or a lane, kept for the domains met lately.
// Not here: which policies match (policy-match.ts), how they merge (policy-merge.ts), are checked
// (policy-parse.ts) or printed (policy-explain.ts).

import { SteadymailError } from './error.ts'
import type { ProviderPolicy } from './policy.ts'
import { explainLayers, type PolicyExplanation } from './policy-explain.ts'
import { extended, isCatchAll, type Layer, PolicyIndex } from './policy-match.ts'
import { type EffectivePolicy, first, limitsOf, merge } from './policy-merge.ts'
import { type ParsedPolicy, parsePolicies } from './policy-parse.ts'
import type { Reply } from './reply.ts'
import type { ReplyContext, Verdict } from './verdict.ts'

export type { EffectivePolicy } from './policy-merge.ts'

export type Classify = (reply: Reply, context: ReplyContext) => Verdict

export interface PolicyBook {
  /** What holds for a normalised domain; with its MX host, where known, hosted domains join their provider. */
  forDomain(domain: string, mx?: string): EffectivePolicy
  /** What holds for a lane, where `domain` is one of its domains; a named lane is known without one. */
  forLane(lane: string, domain: string): EffectivePolicy
  classify(reply: Reply, context: ReplyContext): Verdict
  /** Every effective value for a domain and where it comes from; prints as text. */
  explain(domain: string, mx?: string): PolicyExplanation
}

/** Domains whose merged policy is kept, in each of two generations. */
const CACHED = 20_000

/**
 * Merges users' policies over built-in ones.
 * @throws {SteadymailError} `BAD_OPTION` for a policy that does not fit, and for lanes with contradictory limits
 */
export function policyBook(
  user: readonly ProviderPolicy[],
  builtin: readonly ProviderPolicy[],
  classifier: (user: readonly ProviderPolicy[], builtin: readonly ProviderPolicy[]) => Classify,
  defaults: { readonly ttlMs?: number } = {},
): PolicyBook {
  const base = parsePolicies(builtin, 'builtin', 'built-in')
  const names = new Set(base.map((policy) => policy.name))
  const parsed = extended(parsePolicies(user, 'policies', 'user', names), base)
  const all = [...parsed.user, ...parsed.builtin]
  const index = new PolicyIndex(all)
  const relays = new Set(all.filter((policy) => policy.role === 'submission').map((policy) => policy.name))
  const lanes = namedLanes(index, all)
  const classify = classifier(user, builtin)
  const shared = new Map<string, EffectivePolicy>()
  const cache = new Recent<EffectivePolicy>(CACHED)

  // what domains with the same layers have in common is made once
  const merged = (layers: readonly Layer[], lane: string): EffectivePolicy => {
    const key = layers.map((layer) => all.indexOf(layer.policy)).join()
    const known = shared.get(key) ?? merge(layers, relays)
    shared.set(key, known)
    const members = lanes.get(lane)
    return { ...known, lane, limits: members === undefined ? known.limits : limitsOf(members) }
  }
  const forDomain = (domain: string, mx?: string): EffectivePolicy => {
    const key = mx === undefined ? domain : `${domain} ${mx}`
    const known = cache.get(key)
    if (known !== undefined) return known
    const name = normal(domain)
    const layers = index.layersOf(name, mx === undefined ? undefined : normal(mx))
    return cache.set(key, merged(layers, first(layers, 'lane')?.value ?? name))
  }
  return {
    forDomain,
    forLane(lane, domain) {
      const policy = forDomain(domain)
      if (policy.lane === lane) return policy
      const members = lanes.get(lane)
      if (members === undefined) return { ...merged(index.layersOf(normal(lane), undefined), lane), lane }
      return merged(members, lane)
    },
    classify,
    explain(domain, mx) {
      const name = normal(domain)
      const layers = index.layersOf(name, mx === undefined ? undefined : normal(mx))
      const policy = forDomain(domain, mx)
      return explainLayers(name, policy, layers, lanes.get(policy.lane) ?? layers, defaults.ttlMs)
    },
  }
}

const SHARED = ['rate', 'burst', 'caps', 'concurrency', 'warmup'] as const

function namedLanes(index: PolicyIndex, all: readonly ParsedPolicy[]): ReadonlyMap<string, readonly Layer[]> {
  const lanes = new Map<string, readonly Layer[]>()
  for (const { lane } of all) {
    if (lane === undefined || lanes.has(lane)) continue
    const members = index.membersOf(lane, all)
    for (const key of SHARED) refuseConflict(members, key, lane)
    lanes.set(lane, members)
  }
  return lanes
}

function refuseConflict(members: readonly Layer[], key: (typeof SHARED)[number], lane: string): void {
  const users = members.filter(
    (m) => m.policy.origin.kind === 'user' && !isCatchAll(m) && m.policy[key] !== undefined,
  )
  for (const [i, one] of users.entries()) {
    const other = users.slice(0, i).find((before) => before.rank === one.rank)
    if (other === undefined || limitText(other.policy[key]) === limitText(one.policy[key])) continue
    const [earlier, later] = [other.policy, one.policy]
    const path = `${later.path}.${key}`
    throw new SteadymailError(
      'BAD_OPTION',
      `${path}: expected ${limitText(earlier[key])}, as ${earlier.path} says for the lane '${lane}' that both share, got ${limitText(later[key])}`,
      { path },
    )
  }
}

function limitText(value: ParsedPolicy[(typeof SHARED)[number]]): string {
  if (value === undefined || typeof value === 'number') return String(value)
  if ('text' in value) return `'${value.text}'`
  if ('daily' in value) return JSON.stringify(value)
  return value.map((cap) => `'${cap.text}'`).join(', ')
}

function normal(name: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}

/** A bounded map of two generations: what was not asked for during the last `size` additions is forgotten. */
class Recent<V> {
  #young = new Map<string, V>()
  #old = new Map<string, V>()
  readonly #size: number

  constructor(size: number) {
    this.#size = size
  }

  get(key: string): V | undefined {
    const value = this.#young.get(key)
    if (value !== undefined) return value
    const aged = this.#old.get(key)
    return aged === undefined ? undefined : this.set(key, aged)
  }

  set(key: string, value: V): V {
    if (this.#young.size >= this.#size) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, value)
    return value
  }
}
