// Counts, lane by lane, what a simulation's events and receivers tell, and makes its result.
// Not here: running it (simulate.ts), drawing it (picture.ts).

import type { EventMap, Listeners } from '../events.ts'
import type { LaneStatus } from '../explain.ts'
import type { Refusal } from './models.ts'

/** One stretch of a lane's time. */
export interface LaneStep {
  /** Ms from the start to the end of the step. */
  readonly at: number
  /** Recipients accepted in it. */
  readonly delivered: number
  readonly attempts: number
  /** Attempts refused because a limit was passed. */
  readonly violations: number
  /** Recipients per minute that the lane may do at the step's end; absent without a limit. */
  readonly rate?: number
  /** Recipients waiting at its end. */
  readonly waiting: number
}

/** A time in which a lane stood still because of replies, refused probes included. */
export interface LaneHold {
  /** Ms from the start. */
  readonly from: number
  readonly until: number
  readonly cause: string
  /** The reply that began it. */
  readonly reply: string
}

/** What became of a lane. */
export interface SimulatedLane {
  readonly lane: string
  readonly domains: readonly string[]
  readonly messages: number
  readonly delivered: number
  readonly failed: number
  /** Neither by the end. */
  readonly waiting: number
  readonly attempts: number
  /** Attempts that delivered nothing. */
  readonly wasted: number
  /** Attempts refused because the receiver's limit was passed: what harms a reputation. */
  readonly violations: number
  /** Ms from the lane's first message to its last delivery. */
  readonly drainMs: number
  /** How long delivered messages waited: the middle one, and the slowest twentieth at least. */
  readonly waitedMs: { readonly median: number; readonly p95: number }
  readonly holds: readonly LaneHold[]
  readonly steps: readonly LaneStep[]
  /** Patterns of its `trouble` events. */
  readonly troubles: readonly string[]
}

/** What became of the whole plan. */
export interface Simulation {
  /** In the order in which they were first sent to. */
  readonly lanes: readonly SimulatedLane[]
  /** Simulated ms until all mail had ended, or the days were over. */
  readonly lengthMs: number
  readonly stepMs: number
  readonly messages: number
  readonly delivered: number
  readonly failed: number
}

class LaneCount {
  readonly domains = new Set<string>()
  messages = 0
  delivered = 0
  failed = 0
  attempts = 0
  wasted = 0
  violations = 0
  firstAt = 0
  lastAt = 0
  readonly waits: number[] = []
  readonly holds: { from: number; until: number; cause: string; reply: string }[] = []
  readonly steps: LaneStep[] = []
  readonly troubles: string[] = []
  /** Totals up to the last step. */
  stepped = { delivered: 0, attempts: 0, violations: 0 }

  step(at: number, status: LaneStatus | undefined): void {
    const { delivered, attempts, violations, stepped } = this
    const rate = status === undefined ? this.steps.at(-1)?.rate : status.rate && status.rate * 60
    this.steps.push({
      at,
      delivered: delivered - stepped.delivered,
      attempts: attempts - stepped.attempts,
      violations: violations - stepped.violations,
      ...(rate !== undefined && { rate }),
      waiting: status?.waiting ?? 0,
    })
    this.stepped = { delivered, attempts, violations }
  }
}

export class Ledger {
  failure: unknown
  readonly #start: number
  readonly #now: () => number
  readonly #lanes = new Map<string, LaneCount>()
  readonly #sentAt = new Map<string, number>()
  readonly #laneOf: (domain: string) => string
  #sent = 0
  #ended = 0
  #endedAt = 0

  constructor(now: () => number, laneOf: (domain: string) => string) {
    this.#start = now()
    this.#now = now
    this.#laneOf = laneOf
  }

  get ended(): number {
    return this.#ended
  }

  listeners(): Listeners {
    return {
      accepted: (event) => this.#accepted(event),
      failed: ({ recipient }) => {
        this.#ended += 1
        this.#named(recipient.lane).failed += 1
        this.#sentAt.delete(recipient.address)
      },
      held: (event) => this.#held(event),
      recovering: ({ lane, at }) => {
        const last = this.#named(lane).holds.at(-1)
        if (last !== undefined) last.until = at - this.#start
      },
      trouble: ({ lane, pattern }) => {
        if (lane !== undefined) this.#named(lane).troubles.push(pattern)
      },
    }
  }

  /** A message was handed to the mailer. */
  sent(address: string, domain: string, now: number): void {
    const count = this.#of(domain)
    if (count.messages === 0) count.firstAt = now
    count.messages += 1
    this.#sent += 1
    this.#sentAt.set(address, now)
  }

  /** A receiver answered an attempt. */
  attempted(domain: string, answers: readonly (Refusal | undefined)[]): void {
    const count = this.#of(domain)
    count.attempts += 1
    if (answers.every((answer) => answer !== undefined)) count.wasted += 1
    if (answers.some((answer) => answer?.violation)) count.violations += 1
  }

  /** Lanes that are as good as new are not listed: they go on as they were, with nothing waiting. */
  step(now: number, lanes: readonly LaneStatus[]): void {
    const listed = new Map(lanes.map((status) => [status.lane, status]))
    for (const [lane, count] of this.#lanes) count.step(now - this.#start, listed.get(lane))
  }

  fail(error: unknown): void {
    this.failure ??= error
  }

  result(lengthMs: number, stepMs: number): Simulation {
    const lanes = [...this.#lanes].flatMap(([lane, count]) =>
      count.messages > 0 ? [laneOf(lane, count)] : [],
    )
    const sum = (of: (one: SimulatedLane) => number) => lanes.reduce((total, one) => total + of(one), 0)
    return {
      lanes,
      lengthMs: this.#ended === this.#sent ? this.#endedAt - this.#start : lengthMs,
      stepMs,
      messages: sum((one) => one.messages),
      delivered: sum((one) => one.delivered),
      failed: sum((one) => one.failed),
    }
  }

  #accepted({ recipient }: EventMap['accepted']): void {
    const now = this.#now()
    const count = this.#named(recipient.lane)
    this.#ended += 1
    this.#endedAt = now
    count.delivered += 1
    count.lastAt = now
    const sentAt = this.#sentAt.get(recipient.address)
    if (sentAt !== undefined) count.waits.push(now - sentAt)
    this.#sentAt.delete(recipient.address)
  }

  #held({ lane, at, until, level, cause, reply }: EventMap['held']): void {
    const { holds } = this.#named(lane)
    const last = holds.at(-1)
    // a probe that was refused goes on with the same standstill
    if (level > 1 && last !== undefined && last.until <= at - this.#start) last.until = until - this.#start
    else
      holds.push({
        from: at - this.#start,
        until: until - this.#start,
        cause: cause ?? '',
        reply: reply ?? '',
      })
  }

  #of(domain: string): LaneCount {
    const count = this.#named(this.#laneOf(domain))
    count.domains.add(domain)
    return count
  }

  #named(lane: string): LaneCount {
    let count = this.#lanes.get(lane)
    if (count === undefined) {
      count = new LaneCount()
      this.#lanes.set(lane, count)
    }
    return count
  }
}

function laneOf(lane: string, count: LaneCount): SimulatedLane {
  const waits = count.waits.sort((a, b) => a - b)
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0
  return {
    lane,
    domains: [...count.domains],
    messages: count.messages,
    delivered: count.delivered,
    failed: count.failed,
    waiting: count.messages - count.delivered - count.failed,
    attempts: count.attempts,
    wasted: count.wasted,
    violations: count.violations,
    drainMs: Math.max(0, count.lastAt - count.firstAt),
    waitedMs: { median: at(0.5), p95: at(0.95) },
    holds: count.holds,
    steps: count.steps,
    troubles: count.troubles,
  }
}
