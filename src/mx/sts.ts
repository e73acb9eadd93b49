// MTA-STS (RFC 8461): which domains have a policy, fetched here and remembered for as long as it says, and given
// to mx-connect, which checks the MX hosts against it. Not fetched by mx-connect, because that waits and reads
// without end, and forgets a policy when DNS fails; a policy's site is anybody's to write.
// Not here: what `enforce` means for a session (post.ts), the download (sts-site.ts).

import type mxConnect from 'mx-connect'
import type { Clock } from '../clock.ts'
import { Cache } from './cache.ts'

export type StsMode = 'none' | 'testing' | 'enforce'

/** How a policy is looked for; both give `undefined` for none, and never reject. */
export interface StsSource {
  /** The id in the domain's TXT record (RFC 8461 §3.1). */
  id(domain: string): Promise<string | undefined>
  /** The policy's text. */
  text(domain: string): Promise<string | undefined>
}

/** How soon a domain is asked again whether it has a policy, or another one. */
const RECHECK_MS = 600_000
const MAX_POLICIES = 10_000
/** RFC 8461 §3.2: a year at most, in seconds. */
const MAX_AGE = 31_557_600
/** MX patterns kept of a policy; more than any real one has. */
const MAX_PATTERNS = 100

export class StsPolicies {
  readonly #clock: Clock
  readonly #source: StsSource
  readonly #policies = new Cache<mxConnect.StsPolicy>(MAX_POLICIES)
  readonly #modes = new Cache<StsMode>(MAX_POLICIES)
  readonly #asking = new Map<string, Promise<StsMode>>()

  constructor(clock: Clock, source: StsSource) {
    this.#clock = clock
    this.#source = source
  }

  /** For mx-connect, which takes a policy without `expires` as due for renewal, and then only compares ids. */
  readonly cache = {
    get: async (domain: string): Promise<mxConnect.StsPolicy | false> => this.#known(domain) ?? false,
    set: async (): Promise<void> => {},
  }

  /** The TXT record for mx-connect: that of the policy we know. */
  record(name: string): readonly (readonly string[])[] {
    const known = this.#known(name.replace(/^_mta-sts\./, ''))
    return known ? [[`v=STSv1; id=${String(known.id)};`]] : []
  }

  /** What the domain asks for; at once where that is known. */
  mode(domain: string): StsMode | Promise<StsMode> {
    const known = this.#modes.get(domain, this.#clock.now())
    if (known) return known
    const asking = this.#asking.get(domain)
    if (asking) return asking
    const asked = this.#learn(domain).then(() => {
      this.#asking.delete(domain)
      const { mode } = this.#known(domain) ?? {}
      const found = mode === 'enforce' || mode === 'testing' ? mode : 'none'
      this.#modes.set(domain, found, this.#clock.now() + RECHECK_MS)
      return found
    })
    this.#asking.set(domain, asked)
    return asked
  }

  /** A policy that is valid stands when its record is gone, or another cannot be had (RFC 8461 §3.1, §5.1). */
  async #learn(domain: string): Promise<void> {
    if (domain.startsWith('[')) return // an address has no policy
    const id = await this.#source.id(domain)
    if (id === undefined || id === this.#known(domain)?.id) return
    const text = await this.#source.text(domain)
    const policy = text === undefined ? undefined : parsePolicy(text, id)
    if (policy) this.#policies.set(domain, policy, this.#clock.now() + policy.maxAge * 1000)
  }

  #known(domain: string): mxConnect.StsPolicy | undefined {
    return this.#policies.get(domain, this.#clock.now())
  }
}

/** Reads the text of a policy (RFC 8461 §3.2); `undefined` for what is none. */
export function parsePolicy(
  text: string,
  id: string,
): (mxConnect.StsPolicy & { readonly maxAge: number }) | undefined {
  const fields = text
    .split(/\r?\n/)
    .map((line) => /^([a-z0-9_.-]+)[ \t]*:[ \t]*(.*?)[ \t]*$/i.exec(line))
    .map((match) => [match?.[1]?.toLowerCase(), match?.[2] ?? ''] as const)
  const field = (name: string) => fields.find(([key]) => key === name)?.[1]
  const mx = fields.filter(([key]) => key === 'mx').map(([, value]) => value.toLowerCase())
  const mode = field('mode')?.toLowerCase()
  const age = field('max_age') ?? ''
  if (field('version') !== 'STSv1' || !/^\d{1,10}$/.test(age)) return undefined
  if (mode !== 'none' && !((mode === 'enforce' || mode === 'testing') && mx.length > 0)) return undefined
  return { id, mode, mx: mx.slice(0, MAX_PATTERNS), maxAge: Math.min(Number(age), MAX_AGE) }
}
