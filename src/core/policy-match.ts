// Which policies speak of a domain, in order: users' before built-in ones, the more specific before the less.
// Nothing matches by prefix: a domain is named, lies under a named one, or is answered for by a named MX host.
// Not here: what the policies say (policy-book.ts).

import type { NamePattern, ParsedPolicy } from './policy-parse.ts'

/** A policy that speaks of a domain; a higher rank is asked first. */
export interface Layer {
  readonly policy: ParsedPolicy
  readonly rank: number
}

/** Ranks by how a policy came to match; users' policies stand above all of them. */
const USER = 10_000
const NAMED = 4_000
const UNDER = 3_000
const MX_NAMED = 2_000
const MX_UNDER = 1_000
const ALL = 0

type Index = Map<string, Layer[]>

/** Finds the layers of a domain in time that does not grow with the number of policies. */
export class PolicyIndex {
  readonly #named: Index = new Map()
  readonly #under: Index = new Map()
  readonly #mxNamed: Index = new Map()
  readonly #mxUnder: Index = new Map()
  readonly #all: Layer[] = []
  readonly #order = new Map<ParsedPolicy, number>()

  constructor(policies: readonly ParsedPolicy[]) {
    for (const policy of policies) {
      this.#order.set(policy, this.#order.size)
      const base = policy.origin.kind === 'user' ? USER : 0
      for (const pattern of policy.domains) {
        if (pattern.kind === 'all') this.#all.push({ policy, rank: base + ALL })
        else if (pattern.kind === 'exact') push(this.#named, pattern.name, { policy, rank: base + NAMED })
        else push(this.#under, pattern.name, { policy, rank: base + UNDER + pattern.name.length })
      }
      for (const pattern of policy.mx) {
        if (pattern.kind === 'exact') push(this.#mxNamed, pattern.name, { policy, rank: base + MX_NAMED })
        else if (pattern.kind === 'under')
          push(this.#mxUnder, pattern.name, { policy, rank: base + MX_UNDER + pattern.name.length })
      }
    }
  }

  /** The layers of a normalised domain, first asked first. */
  layersOf(domain: string, mx: string | undefined): readonly Layer[] {
    const found = [...this.#all, ...(this.#named.get(domain) ?? [])]
    for (const parent of parents(domain)) found.push(...(this.#under.get(parent) ?? []))
    if (mx !== undefined) {
      found.push(...(this.#mxNamed.get(mx) ?? []))
      for (const parent of parents(mx)) found.push(...(this.#mxUnder.get(parent) ?? []))
    }
    const best = new Map<ParsedPolicy, Layer>()
    for (const layer of found) {
      const known = best.get(layer.policy)
      if (known === undefined || known.rank < layer.rank) best.set(layer.policy, layer)
    }
    return [...best.values()].sort((a, b) => b.rank - a.rank || this.#orderOf(a) - this.#orderOf(b))
  }

  /**
   * The policies whose limits bind a named lane: those that name it, and users' policies that name no lane
   * of their own but speak of domains in it. A lane is one queue, so its limits must be one.
   */
  membersOf(lane: string, policies: readonly ParsedPolicy[]): readonly Layer[] {
    const owners = policies.filter((policy) => policy.lane === lane)
    const members: Layer[] = []
    for (const policy of policies) {
      const base = policy.origin.kind === 'user' ? USER : 0
      if (policy.lane === lane) members.push({ policy, rank: base + NAMED })
      else if (policy.lane === undefined && policy.origin.kind === 'user') {
        const rank = Math.max(...owners.map((owner) => overlap(policy, owner)))
        if (rank >= 0) members.push({ policy, rank: base + rank })
      }
    }
    return members.sort((a, b) => b.rank - a.rank || this.#orderOf(a) - this.#orderOf(b))
  }

  #orderOf(layer: Layer): number {
    return this.#order.get(layer.policy) ?? 0
  }
}

/** Whether a layer speaks of all domains, as `*` does. */
export function isCatchAll(layer: Layer): boolean {
  return layer.rank % USER === ALL
}

/** A policy of a built-in's name extends it: each speaks of the other's domains and MX hosts too. */
export function extended(
  user: readonly ParsedPolicy[],
  builtin: readonly ParsedPolicy[],
): { readonly user: readonly ParsedPolicy[]; readonly builtin: readonly ParsedPolicy[] } {
  const join = (policy: ParsedPolicy, others: readonly ParsedPolicy[]): ParsedPolicy => {
    const other = others.find((candidate) => candidate.name === policy.name)
    if (other === undefined) return policy
    return { ...policy, domains: [...policy.domains, ...other.domains], mx: [...policy.mx, ...other.mx] }
  }
  return {
    user: user.map((policy) => join(policy, builtin)),
    builtin: builtin.map((policy) => join(policy, user)),
  }
}

function push(index: Index, name: string, layer: Layer): void {
  const known = index.get(name)
  if (known === undefined) index.set(name, [layer])
  else known.push(layer)
}

/** `a.b.c` → `b.c`, `c`. */
function parents(name: string): string[] {
  const found: string[] = []
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1))
    found.push(name.slice(dot + 1))
  return found
}

/** How specifically `policy` speaks of what `owner` speaks of; below 0 when not at all. */
function overlap(policy: ParsedPolicy, owner: ParsedPolicy): number {
  const ranks = [-1]
  for (const a of policy.domains)
    for (const b of owner.domains) if (meet(a, b)) ranks.push(rankOf(a, NAMED, UNDER))
  for (const a of policy.mx)
    for (const b of owner.mx) if (meet(a, b)) ranks.push(rankOf(a, MX_NAMED, MX_UNDER))
  return Math.max(...ranks)
}

function rankOf(pattern: NamePattern, named: number, under: number): number {
  if (pattern.kind === 'all') return ALL
  return pattern.kind === 'exact' ? named : under + pattern.name.length
}

function meet(a: NamePattern, b: NamePattern): boolean {
  if (a.kind === 'all' || b.kind === 'all') return true
  if (a.kind === 'exact' && b.kind === 'exact') return a.name === b.name
  const under = (name: string, parent: string) => name.endsWith(`.${parent}`)
  if (a.kind === 'exact') return under(a.name, b.name)
  if (b.kind === 'exact') return under(b.name, a.name)
  return a.name === b.name || under(a.name, b.name) || under(b.name, a.name)
}
