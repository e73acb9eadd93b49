// Bytes that will be asked for in a moment, so that they are not read from the file one by one: those of fresh mail,
// bounded, and those of what was just claimed.

import type { Clock } from '../../clock.ts'
import { FleetingMap } from '../../core/fleeting.ts'

const LIMIT = 32 << 20
/** What was not sent for so long makes room for newer; before that the oldest stay, since they go out first. */
const FRESH_MS = 10_000
/** Claimed and not asked for; there are as many as attempts in flight. */
const HANDED = 256

export class BytesCache {
  readonly #clock: Clock
  readonly #bytes = new FleetingMap<string, { readonly bytes: Uint8Array; readonly at: number }>()
  readonly #handed = new FleetingMap<string, Uint8Array>()
  #size = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Of mail that was stored. */
  put(ticket: string, bytes: Uint8Array): void {
    if (bytes.length > LIMIT) return
    this.drop(ticket)
    const at = this.#clock.monotonic()
    for (const [oldest, kept] of this.#bytes) {
      if (this.#size + bytes.length <= LIMIT) break
      if (at - kept.at < FRESH_MS) return
      this.drop(oldest)
    }
    this.#bytes.set(ticket, { bytes, at })
    this.#size += bytes.length
  }

  /** Of what was claimed: for who asks next. */
  hand(ticket: string, bytes: Uint8Array): void {
    if (this.#handed.size >= HANDED) this.#handed.clear()
    this.#handed.set(ticket, bytes)
  }

  has(ticket: string): boolean {
    return this.#bytes.has(ticket)
  }

  take(ticket: string): Uint8Array | undefined {
    const handed = this.#handed.get(ticket)
    if (handed) this.#handed.delete(ticket)
    return handed ?? this.#bytes.get(ticket)?.bytes
  }

  drop(ticket: string): void {
    this.#handed.delete(ticket)
    const kept = this.#bytes.get(ticket)
    if (!kept) return
    this.#bytes.delete(ticket)
    this.#size -= kept.bytes.length
  }

  clear(): void {
    this.#handed.clear()
    this.#bytes.clear()
    this.#size = 0
  }
}
