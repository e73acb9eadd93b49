// Connection attempts under way, by address: of each a few at a time, whatever names lead to it, so that an address
// that swallows them takes no more than those of all sockets. Whoever comes later waits for one of them to end, and no
// longer than a live address takes to answer. Holds nothing of an address without an attempt under way.
// Not here: what an address has said (hosts.ts), or where a connection is counted (pool.ts).

import type { Clock, Timer } from '../clock.ts'

/** Attempts to one address at a time. */
const MOST = 4
/** A live address answers before the second repeat of a lost SYN (RFC 6298: after 1 s and 3 s). */
const SLOW_MS = 5_000

interface Address {
  /** When each attempt under way began, the oldest first. */
  readonly since: number[]
  readonly waiting: (() => void)[]
  timer: Timer | undefined
}

export class Dials {
  readonly #clock: Clock
  readonly #addresses = new Map<string, Address>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Addresses with an attempt under way. */
  get size(): number {
    return this.#addresses.size
  }

  isBusy(address: string): boolean {
    return (this.#addresses.get(address)?.since.length ?? 0) >= MOST
  }

  /** Whether the oldest attempt has gone unanswered for so long that it is not worth waiting for. */
  isSlow(address: string): boolean {
    const [oldest = Number.POSITIVE_INFINITY] = this.#addresses.get(address)?.since ?? []
    return this.#clock.monotonic() - oldest >= SLOW_MS
  }

  begin(address: string): void {
    let known = this.#addresses.get(address)
    if (!known) {
      known = { since: [], waiting: [], timer: undefined }
      this.#addresses.set(address, known)
    }
    known.since.push(this.#clock.monotonic())
  }

  /** One has succeeded: one of those that wait has its place. The oldest counts as that one, which is near enough. */
  end(address: string): void {
    const known = this.#addresses.get(address)
    if (!known) return
    known.since.shift()
    known.waiting.shift()?.()
    if (known.since.length > 0) return
    this.#addresses.delete(address)
    this.#release(known)
  }

  /** One has failed: all that wait may know of it by now. */
  fail(address: string): void {
    const known = this.#addresses.get(address)
    this.end(address)
    if (known) this.#release(known)
  }

  /** Resolves when an attempt ends, or it is slow. */
  wait(address: string): Promise<void> {
    const known = this.#addresses.get(address)
    if (!known) return Promise.resolve()
    const [oldest = 0] = known.since
    known.timer ??= this.#clock.after(Math.max(0, oldest + SLOW_MS - this.#clock.monotonic()), () =>
      this.#release(known),
    )
    return new Promise((resolve) => {
      known.waiting.push(resolve)
    })
  }

  #release(known: Address): void {
    known.timer?.cancel()
    known.timer = undefined
    for (const go of known.waiting.splice(0)) go()
  }
}
