// The owner lease: of all processes on one store, one delivers. It renews; when it dies, another takes over.
// A process that was paused past its lease knows so by itself, before anybody tells it.

import type { Clock } from './clock.ts'
import type { Store } from './stores/store.ts'

/** How long a lease stands without renewal: a successor waits this long after a kill. */
const LEASE_MS = 10_000
const RENEW_MS = 3_000
/** Kept back from the lease's end: nothing is begun that a successor might begin too. */
const MARGIN_MS = 2_000
/** Wall and monotonic clock apart by more than this: one of them was set. */
export const CLOCKS_APART_MS = 1_000

export class Ownership {
  #fence = 0
  #until = 0
  #monotonicUntil = 0
  readonly #store: Store
  readonly #id: string
  readonly #clock: Clock
  readonly #leaseMs: number
  readonly #renewMs: number
  readonly #marginMs: number

  constructor(store: Store, id: string, clock: Clock) {
    this.#store = store
    this.#id = id
    this.#clock = clock
    const scale = clock.scale ?? 1
    this.#leaseMs = LEASE_MS * scale
    this.#renewMs = RENEW_MS * scale
    this.#marginMs = MARGIN_MS * scale
  }

  /** The lease's number, 0 while another owns the store. */
  get fence(): number {
    return this.#fence
  }

  /** When to call `refresh` next. */
  get refreshAt(): number {
    // a store that ends with the process has no other process to share with
    if (!this.#store.durable && this.#fence > 0) return Number.POSITIVE_INFINITY
    if (this.#fence === 0) return 0
    const due = this.#until - this.#leaseMs + this.#renewMs
    // a wall clock that was set back must not let the lease run out by the other
    const now = this.#clock.now()
    const left = this.#monotonicUntil - this.#clock.monotonic()
    const apart = this.#until - now - left > CLOCKS_APART_MS * (this.#clock.scale ?? 1)
    return apart ? now + left - this.#leaseMs + this.#renewMs : due
  }

  /** Whether the lease stands, by the wall clock and by the clock that cannot be set. */
  stands(): boolean {
    if (this.#fence === 0) return false
    return (
      this.#clock.now() < this.#until - this.#marginMs &&
      this.#clock.monotonic() < this.#monotonicUntil - this.#marginMs
    )
  }

  /** Takes or renews the lease; whether it is ours now. */
  async refresh(): Promise<boolean> {
    const now = this.#clock.now()
    const length = this.#store.durable ? this.#leaseMs : Number.MAX_SAFE_INTEGER - now
    const until = now + length
    const monotonicUntil = this.#clock.monotonic() + length
    if (this.#fence > 0 && (await this.#store.renew(this.#fence, until))) {
      this.#until = until
      this.#monotonicUntil = monotonicUntil
      return true
    }
    this.#fence = (await this.#store.own(this.#id, now, until)) ?? 0
    this.#until = until
    this.#monotonicUntil = monotonicUntil
    return this.#fence > 0
  }

  /** Another has taken it. */
  lost(): void {
    this.#fence = 0
  }

  async giveUp(): Promise<void> {
    const fence = this.#fence
    this.#fence = 0
    if (fence > 0) await this.#store.disown(fence)
  }
}
