// MTA-STS (RFC 8461), fetched and checked by mx-connect, remembered here. mx-connect 1.6 fetches a policy
// anew for every connection while it is valid, and forgets it when DNS fails; so it is shown what it would
// have to remember: a policy that is due for renewal, and the TXT record that belongs to it.
// Not here: what `enforce` means for a session (transport.ts).

import type mxConnect from 'mx-connect'
import type { Clock } from '../clock.ts'
import { Cache } from './cache.ts'

export type StsMode = 'none' | 'testing' | 'enforce'

/** How soon a domain is asked again whether it has a policy, or another one. */
const RECHECK_MS = 600_000
const MAX_POLICIES = 10_000

export class StsPolicies {
  readonly #clock: Clock
  readonly #policies = new Cache<mxConnect.StsPolicy>(MAX_POLICIES)
  readonly #modes = new Cache<StsMode>(MAX_POLICIES)
  readonly #asking = new Map<string, Promise<StsMode>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** In mx-connect's form. */
  readonly cache = {
    get: async (domain: string): Promise<mxConnect.StsPolicy | false> => {
      const known = this.#known(domain)
      if (!known) return false
      // without `expires` mx-connect takes it as due for renewal and only compares ids
      const { expires: _, ...renewable } = known
      return renewable
    },
    set: async (domain: string, policy: mxConnect.StsPolicy): Promise<void> => {
      const { maxAge } = policy
      if (policy.error || typeof policy.id !== 'string' || maxAge === undefined) return
      this.#policies.set(domain, policy, this.#clock.now() + maxAge * 1000)
    },
  }

  /** The TXT record to act upon: the one found, or that of a policy which is still valid (RFC 8461 §3.1). */
  record(name: string, found: readonly (readonly string[])[]): readonly (readonly string[])[] {
    const domain = name.replace(/^_mta-sts\./, '')
    const known = this.#known(domain)
    if (!known || found.some((texts) => /^v=STSv1\b/i.test(texts.join('')))) return found
    return [[`v=STSv1; id=${String(known.id)};`]]
  }

  /** What the domain asks for, as far as is known. */
  peekMode(domain: string): StsMode | undefined {
    return this.#modes.get(domain, this.#clock.now())
  }

  /** What the domain asks for; `probe` runs mx-connect's look-up with `cache`. */
  mode(domain: string, probe: () => Promise<void>): Promise<StsMode> {
    const asking = this.#asking.get(domain)
    if (asking) return asking
    const asked = probe().then(() => {
      this.#asking.delete(domain)
      const { mode } = this.#known(domain) ?? {}
      const found = mode === 'enforce' || mode === 'testing' ? mode : 'none'
      this.#modes.set(domain, found, this.#clock.now() + RECHECK_MS)
      return found
    })
    this.#asking.set(domain, asked)
    return asked
  }

  #known(domain: string): mxConnect.StsPolicy | undefined {
    return this.#policies.get(domain, this.#clock.now())
  }
}
