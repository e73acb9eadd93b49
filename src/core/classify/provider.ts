// Which provider speaks: told by marks in its text, by the MX host, or by the recipient domain.
// Domains are listed one by one and matched whole: yahoo.co.jp is not Yahoo's.

import type { ProviderPolicy } from '../policy.ts'
import type { ReplyContext } from '../verdict.ts'
import type { Facts } from './facts.ts'
import { compileRules } from './rules.ts'

/** Host or domain patterns, `name` or `*.name`, found by exact name or by suffix. */
export class NameIndex<T> {
  readonly #exact = new Map<string, T>()
  readonly #under = new Map<string, T>()
  #any: T | undefined

  /** Earlier additions win. */
  add(pattern: string, value: T): void {
    const name = normalName(pattern)
    if (name === '*') this.#any ??= value
    else if (name.startsWith('*.')) {
      if (!this.#under.has(name.slice(2))) this.#under.set(name.slice(2), value)
    } else if (!this.#exact.has(name)) this.#exact.set(name, value)
  }

  /** The value of the closest pattern: the name itself, then its longest suffix, then `*`. */
  find(given: string): T | undefined {
    const name = normalName(given)
    const exact = this.#exact.get(name)
    if (exact !== undefined) return exact
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const under = this.#under.get(name.slice(dot + 1))
      if (under !== undefined) return under
    }
    return this.#any
  }
}

function normalName(name: string): string {
  const lower = name.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}

export interface Recognised {
  readonly policy: ProviderPolicy
  readonly by: 'text' | 'mx' | 'domain'
}

/** Finds the providers that a reply may be from, the likeliest first. */
export type Recognise = (facts: Facts, context: ReplyContext) => readonly ProviderPolicy[]

/** Prepares recognition for a list of policies; earlier ones win where two claim a name. */
export function recogniser(policies: readonly ProviderPolicy[]): Recognise {
  const byMx = new NameIndex<ProviderPolicy>()
  const byDomain = new NameIndex<ProviderPolicy>()
  const owners: ProviderPolicy[] = []
  const marks = policies.flatMap((policy) =>
    (policy.marks ?? []).map((text, at) => {
      owners.push(policy)
      return { id: `${policy.name}-${at}`, text, cause: 'unknown' as const }
    }),
  )
  const marked = compileRules(marks)
  const ownerOf = new Map(marks.map((mark, at) => [mark.id, owners[at]]))
  for (const policy of policies) {
    for (const pattern of policy.mx ?? []) byMx.add(pattern, policy)
    for (const pattern of policy.domains ?? []) byDomain.add(pattern, policy)
  }

  return (facts, context) => {
    const found: ProviderPolicy[] = []
    const put = (policy: ProviderPolicy | undefined) => {
      if (policy !== undefined && !found.includes(policy)) found.push(policy)
    }
    const mx = context.mx === undefined ? undefined : byMx.find(context.mx)
    const texts = marked.all(facts).map((mark) => ownerOf.get(mark.rule.id))
    // The receiving host speaks for itself; a submission host repeats others', unless the marks are its own.
    if (mx !== undefined && (mx.role !== 'submission' || texts.includes(mx))) put(mx)
    if (facts.host !== undefined) put(byMx.find(facts.host))
    for (const policy of texts) put(policy)
    put(mx)
    if (context.domain !== undefined) put(byDomain.find(context.domain))
    return found
  }
}
