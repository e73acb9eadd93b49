// Which lane a recipient domain is in: its policy's, or, where MX hosts are looked up, that of whoever really
// answers for it. Looked up before a message is stored and remembered; never on the way of delivery.
// Not here: the look-up itself (mx/resolver.ts), or what policies say (core/policy-book.ts).

import { domainOf } from './address.ts'
import type { Clock } from './clock.ts'
import type { Delivery } from './core/delivery.ts'
import type { EffectivePolicy, PolicyBook } from './core/policy-book.ts'

/** Finds the best MX host of a domain; `peek` from memory. As `mxResolver()` of `steadymail/mx`. */
export interface MxLookup {
  resolve(domain: string): Promise<{ readonly mx: string; readonly ttlMs: number }>
  peek(domain: string): string | undefined
}

/** A look-up may hold up `sendWithRetry` this long; after that the domain stands for itself. */
const LOOKUP_MS = 1_000

export class Grouping {
  readonly book: PolicyBook
  readonly #mx: MxLookup | undefined
  readonly #clock: Clock

  constructor(book: PolicyBook, mx: MxLookup | undefined, clock: Clock) {
    this.book = book
    this.#mx = mx
    this.#clock = clock
  }

  /** Gets the MX hosts of addresses into memory, as far as that matters to their lanes; nothing to wait for without a look-up. */
  learn(addresses: readonly string[]): Promise<void> | undefined {
    const mx = this.#mx
    return mx && this.#resolve(mx, addresses.map(domainOf))
  }

  async #resolve(mx: MxLookup, domains: readonly string[]): Promise<void> {
    const unknown = domains.filter(
      (d) => this.book.forDomain(d).provider === undefined && mx.peek(d) === undefined,
    )
    if (unknown.length === 0) return
    let timer: { cancel(): void } | undefined
    const late = new Promise<void>((resolve) => {
      timer = this.#clock.after(LOOKUP_MS, resolve)
    })
    await Promise.race([Promise.all([...new Set(unknown)].map((d) => mx.resolve(d))), late]).catch(
      () => undefined,
    )
    timer?.cancel()
  }

  /** The MX host of a domain, where it is known without asking. */
  mxOf(domain: string): string | undefined {
    return this.#mx?.peek(domain)
  }

  /** The policy of a domain as far as is known now; its lane is where mail to it belongs. */
  policyOf(domain: string): EffectivePolicy {
    const mx = this.#mx?.peek(domain)
    if (mx === undefined) return this.book.forDomain(domain)
    const policy = this.book.forDomain(domain, mx)
    // nobody's policy: all domains behind one host share its patience
    return policy.provider === undefined && policy.lane === domain ? this.book.forLane(mx, mx) : policy
  }

  /** The policy of a stored delivery: what is not known (any more) leaves it in its lane. */
  policyFor(delivery: Delivery): EffectivePolicy {
    const { domain, lane } = delivery
    if (this.#mx === undefined) return this.book.forDomain(domain)
    return this.#mx.peek(domain) === undefined ? this.book.forLane(lane, domain) : this.policyOf(domain)
  }
}
