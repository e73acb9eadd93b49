// Which lanes differ from what is stored, and when each is to be saved: with the next turn, or a moment later with
// others. Not here: what makes one worth saving at once (core/lane-saved.ts), or the turn itself (outbox.ts).

import { FleetingSet } from './core/fleeting.ts'
import { isQuiet, isWorthSaving, saveLane } from './core/lane.ts'
import type { Gated } from './lanes.ts'
import type { StoredLane } from './stores/store.ts'

/** What may wait for others waits so long. */
const LATER_MS = 250
/** Of what waited, so many go with one turn: a row each, twice, some 5 µs. */
const AT_ONCE = 256

export class UnsavedLanes {
  readonly #next = new FleetingSet<Gated>()
  readonly #later = new FleetingSet<Gated>()
  #laterAt = Number.POSITIVE_INFINITY

  get size(): number {
    return this.#next.size + this.#later.size
  }

  /** When there is something to save; `Infinity` for never. */
  dueAt(now: number): number {
    return this.#next.size > 0 ? now : this.#laterAt
  }

  /** A lane's state has changed. */
  stain(gated: Gated, now: number): void {
    if (this.#next.has(gated)) return
    gated.dirty = true
    if (isWorthSaving(gated.saved, gated.state, gated.limits, now)) {
      this.#later.delete(gated)
      this.#next.add(gated)
      return
    }
    if (this.#later.size === 0) this.#laterAt = now + LATER_MS
    this.#later.add(gated)
  }

  /** All of these are to be saved with the next turn, whatever changed. */
  add(lanes: Iterable<Gated>): void {
    for (const gated of lanes) this.#next.add(gated)
  }

  /** Nothing waits for others any more. */
  hurry(): void {
    if (this.#later.size > 0) this.#laterAt = Number.NEGATIVE_INFINITY
  }

  /** Those to save in this turn; there may be more that are due. */
  take(now: number): Gated[] {
    const taken = [...this.#next]
    this.#next.clear()
    if (this.#laterAt > now) return taken
    for (const gated of this.#later) {
      if (taken.length >= AT_ONCE) return taken
      taken.push(gated)
      this.#later.delete(gated)
    }
    this.#laterAt = Number.POSITIVE_INFINITY
    return taken
  }

  /** The rows of those taken, and of what changed since and must be saved with them. */
  rows(taken: readonly Gated[], now: number): StoredLane[] {
    const rows: StoredLane[] = []
    for (const gated of new Set<Gated>([...taken, ...this.#next])) {
      this.#later.delete(gated)
      gated.dirty = false
      gated.saved = gated.state
      const quiet = gated.inFlight === 0 && isQuiet(gated.state, gated.limits, now)
      rows.push({ key: gated.key, state: quiet ? undefined : saveLane(gated.state) })
    }
    this.#next.clear()
    return rows
  }

  /** The turn that was to save them failed; `touched` are those it changed, which may have waited for company. */
  giveBack(taken: readonly Gated[], touched: Iterable<Gated>): void {
    for (const gated of [...taken, ...touched]) {
      gated.saved = undefined // whatever was to be
      gated.dirty = true
      this.#later.delete(gated)
      this.#next.add(gated)
    }
  }
}
