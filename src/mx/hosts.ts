// What each host has said: one that is down or busy rests while its siblings are asked, which says nothing
// about the provider as a whole. That a whole set refuses is for the lane to learn.
// Not here: lanes (core/lane.ts).

import type { Clock } from '../clock.ts'
import type { Reply } from '../core/reply.ts'
import { Cache } from './cache.ts'

/** First rest of a host; doubles while it keeps refusing. */
const REST_MS = 60_000
const MAX_REST_MS = 900_000
/** For how long a host whose TLS is broken is talked to without. */
const PLAIN_MS = 3_600_000
/** For how long a limit on messages per connection is remembered. */
const LIMIT_MS = 86_400_000
/** For how long a host that did not hear what was sent along with a message is sent nothing along. */
const APART_MS = 86_400_000
const MAX_HOSTS = 10_000

interface Rest {
  readonly until: number
  readonly ms: number
  readonly reply: Reply
}

export class Hosts {
  readonly #clock: Clock
  readonly #rests = new Cache<Rest>(MAX_HOSTS)
  readonly #plain = new Cache<true>(MAX_HOSTS)
  readonly #limits = new Cache<number>(MAX_HOSTS)
  readonly #apart = new Cache<true>(MAX_HOSTS)

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The host at this address refused a session, or ended one. */
  refused(address: string, reply: Reply): void {
    const now = this.#clock.now()
    const before = this.#rests.get(address, now)
    const ms = before ? Math.min(before.ms * 2, MAX_REST_MS) : REST_MS
    // kept for as long again, so that the next refusal is known to be one of several
    this.#rests.set(address, { until: now + ms, ms, reply }, now + 2 * ms)
  }

  /** It took a session: whatever it said before is over. */
  accepted(address: string): void {
    this.#rests.delete(address)
  }

  /** The last refusal, while the host rests. */
  resting(address: string): Reply | undefined {
    const now = this.#clock.now()
    const rest = this.#rests.get(address, now)
    return rest && rest.until > now ? rest.reply : undefined
  }

  restingAddresses(): readonly string[] {
    const now = this.#clock.now()
    return [...this.#rests.entries()].filter(([, rest]) => rest.until > now).map(([address]) => address)
  }

  /**
   * Its TLS handshake failed; without need of TLS the next session does without. Under this name only: who points a
   * name of his own at somebody's server must not take the TLS from all others.
   */
  tlsFailed(name: string, address: string): void {
    this.#plain.set(`${name} ${address}`, true, this.#clock.now() + PLAIN_MS)
  }

  isPlain(name: string, address: string): boolean {
    return this.#plain.get(`${name} ${address}`, this.#clock.now()) === true
  }

  /** It offers PIPELINING, and lost or confused what came behind a final dot. */
  deaf(host: string): void {
    this.#apart.set(host, true, this.#clock.now() + APART_MS)
  }

  /** Whether it is sent one message after another only. */
  isApart(host: string): boolean {
    return this.#apart.get(host, this.#clock.now()) === true
  }

  /** It ended a session after so many messages and said that a new one may go on. */
  recycled(host: string, messages: number): void {
    this.#limits.set(host, Math.max(1, messages), this.#clock.now() + LIMIT_MS)
  }

  /** Messages per connection, where learned. */
  limit(host: string): number | undefined {
    return this.#limits.get(host, this.#clock.now())
  }
}
