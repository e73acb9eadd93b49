// The wrapped transport as one thing above all lanes: its slots, its own quota and holds, and the shared gate.
// Not here: which lane uses a slot (lanes.ts) and what an attempt says (attempt.ts).

import { type LaneState, openLane } from './core/lane.ts'
import type { LaneLimits } from './core/limits.ts'
import type { Gated } from './lanes.ts'

/** The key under which its state is stored and shown. */
export const EGRESS = '@egress'

/** A rule that is met in this many lanes within this time speaks of the relay, not of the lanes. */
const PROMOTE_LANES = 3
const PROMOTE_WITHIN_MS = 60_000

export class Egress implements Gated {
  readonly key = EGRESS
  readonly limits: LaneLimits
  state: LaneState
  inFlight = 0
  probing = false
  dirty = false
  saved: LaneState | undefined
  #taken = 0
  readonly #met = new Map<string, Map<string, number>>()

  /** What the transport can have on the wire; what is claimed beyond it waits in the transport's own queue. */
  readonly connections: number

  constructor(limits: LaneLimits, now: number, connections: number = limits.concurrency) {
    this.limits = limits
    this.connections = connections
    this.state = openLane(limits, now)
  }

  /** Slots that are free this moment: the hard bound, beside the adaptive one of the state. */
  get free(): number {
    return this.limits.concurrency - this.#taken
  }

  /** Takes a slot for an attempt; what it gives frees it, once. */
  take(): () => void {
    this.#taken++
    let taken = true
    return () => {
      if (taken) this.#taken--
      taken = false
    }
  }

  /** Remembers that a throttling rule was met in a lane; true when that makes it the relay's own. */
  promotes(rule: string, lane: string, now: number): boolean {
    let lanes = this.#met.get(rule)
    if (lanes === undefined) {
      lanes = new Map()
      this.#met.set(rule, lanes)
    }
    lanes.delete(lane)
    lanes.set(lane, now)
    for (const [other, at] of lanes) {
      if (now - at <= PROMOTE_WITHIN_MS && lanes.size <= 100) break
      lanes.delete(other)
    }
    return lanes.size >= PROMOTE_LANES
  }
}
