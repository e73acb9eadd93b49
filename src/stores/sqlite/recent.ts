// What the process that delivers need not read again: the mail it stored itself a moment ago, what it claimed, and
// the next of each queue. Bounded, and true only while nobody else changes the file: whoever finds that out says so.

import type { Clock } from '../../clock.ts'
import type { Delivery } from '../../core/delivery.ts'
import { FleetingMap } from '../../core/fleeting.ts'
import type { Message } from '../../core/message.ts'
import { type Head, Windows } from './windows.ts'

/** What settling needs of a claim. */
export interface Flight {
  readonly message: number
  readonly recipients: number
  readonly size: number
  readonly key: string | null
  /** A key that was purged may be another message's by now. */
  readonly ticket: string
  /** It has an earlier record, to be moved to the attempts. */
  readonly tried: boolean
  /** As it was claimed; unknown when read from the file. */
  readonly claim?: { readonly fence: number; readonly delivery: Delivery }
}

interface Fresh {
  readonly message: Message
  readonly delivery: Delivery
  readonly at: number
}

/** Kept at most; of flights, one more and they are read from the file again. */
const FLIGHTS = 10_000
const FRESH = 16_384
/** Mail that was not sent for so long makes room for newer. */
const FRESH_MS = 10_000
/** Larger ones are read when they are sent. */
const META = 2_048

export class Recent {
  readonly windows: Windows
  readonly #clock: Clock
  readonly #flights = new FleetingMap<number, Flight>()
  readonly #fresh = new FleetingMap<number, Fresh>()

  constructor(
    clock: Clock,
    heads: (queue: string, limit: number) => { readonly heads: Head[]; readonly complete: boolean },
  ) {
    this.#clock = clock
    this.windows = new Windows(heads)
  }

  /** A message of one recipient that waits. */
  stored(message: Message, delivery: Delivery): void {
    if ((message.meta?.length ?? 0) > META) return
    const at = this.#clock.monotonic()
    if (this.#fresh.size >= FRESH) {
      // the oldest go out first, so they are kept unless they are held up
      const [oldest] = this.#fresh
      if (!oldest || at - oldest[1].at < FRESH_MS) return
      this.#fresh.delete(oldest[0])
    }
    this.#fresh.set(delivery.id, { message, delivery, at })
  }

  /** The ticket of a delivery that is remembered. */
  ticketOf(id: number): string | undefined {
    return this.#fresh.get(id)?.message.id
  }

  /** What is remembered of a delivery that is being claimed; forgotten by it. */
  take(id: number): Fresh | undefined {
    const fresh = this.#fresh.get(id)
    if (fresh) this.#fresh.delete(id)
    return fresh
  }

  fly(id: number, flight: Flight): void {
    if (this.#flights.size >= FLIGHTS) this.#flights.clear()
    this.#flights.set(id, flight)
  }

  flight(id: number): Flight | undefined {
    return this.#flights.get(id)
  }

  land(id: number): void {
    this.#flights.delete(id)
  }

  /** Others added mail. */
  added(): void {
    this.windows.clear()
  }

  forget(): void {
    this.windows.clear()
    this.#flights.clear()
    this.#fresh.clear()
  }
}
