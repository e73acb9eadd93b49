// A lane with its clock, driven without an engine: waits for the opening, departs, and is given the reply.

import type { Cause } from '../../src/core/cause.ts'
import {
  type Arrival,
  arrive,
  depart,
  type LaneEvent,
  type LaneState,
  opening,
  openLane,
  viewLane,
} from '../../src/core/lane.ts'
import type { LaneLimits } from '../../src/core/limits.ts'
import type { ResolvedReaction } from '../../src/core/reaction.ts'
import type { Reply } from '../../src/core/reply.ts'
import type { Verdict } from '../../src/core/verdict.ts'

export const SECOND = 1_000
export const MINUTE = 60_000
export const HOUR = 3_600_000
export const DAY = 86_400_000
export const IDLE = { inFlight: 0, probing: false }

export const perMinute = (count: number, more: Partial<LaneLimits> = {}): LaneLimits => ({
  rate: { count, perMs: MINUTE, text: `${count}/min` },
  burst: 1,
  caps: [],
  concurrency: 4,
  ...more,
})

export const reply: Reply = { code: 421, text: '421 4.7.0 slow down', phase: 'mail', host: 'mx.example.net' }

export const verdict = (cause: Cause, more: Partial<Verdict> = {}): Verdict => ({
  persistence: 'transient',
  cause,
  scope: 'lane',
  rule: `test-${cause}`,
  layer: 'general',
  advice: 'Send slower.',
  waitingHelps: true,
  ...more,
})

export const reaction = (more: Partial<ResolvedReaction> = {}): ResolvedReaction => ({
  holdMs: 5 * MINUTE,
  holdMaxMs: 4 * HOUR,
  rateFactor: 0.5,
  concurrencyFactor: 1,
  countsAsAttempt: false,
  onPermanent: 'fail',
  alert: false,
  ...more,
})

/** A lane with its clock: what the engine does, without messages. No jitter: chance is always one half. */
export class Driven {
  state: LaneState
  now: number
  readonly events: LaneEvent[] = []
  readonly #limits: LaneLimits
  serial = 0

  constructor(limits: LaneLimits, now = 0) {
    this.#limits = limits
    this.now = now
    this.state = openLane(limits, now)
  }

  opening(priority: 0 | 1 | 2 = 1, traffic = IDLE) {
    return opening(this.state, this.#limits, this.now, traffic, priority)
  }

  /** Waits for the lane and sends one message to as many recipients as there is room for, up to `recipients`; its reply comes at once unless `after` says when. */
  send(
    said: Said,
    options: {
      ticket?: string
      after?: number
      inFlight?: number
      priority?: 0 | 1 | 2
      recipients?: number
    } = {},
  ) {
    this.now = Math.max(this.now, this.opening(options.priority).at)
    const next = this.opening(options.priority)
    const recipients = Math.min(next.room, options.recipients ?? 1)
    this.state = depart(this.state, this.#limits, this.now, recipients)
    const startedAt = this.now
    this.now += options.after ?? 1
    this.arrive(said.kind === 'accepted' ? { ...said, accepted: recipients } : said, {
      ...options,
      recipients,
      startedAt,
      probe: next.probe,
    })
    return { ...next, startedAt, recipients }
  }

  arrive(
    said: Said,
    options: { ticket?: string; startedAt: number; probe?: boolean; inFlight?: number; recipients?: number },
  ) {
    this.serial += 1
    const change = arrive(
      this.state,
      this.#limits,
      this.now,
      {
        ticket: options.ticket ?? `m${this.serial}`,
        startedAt: options.startedAt,
        probe: options.probe ?? false,
        recipients: options.recipients ?? 1,
        ...(options.inFlight !== undefined && { inFlight: options.inFlight }),
        ...said,
      } as Arrival,
      () => 0,
    )
    this.state = change.state
    this.events.push(...change.events)
  }

  view() {
    return viewLane(this.state, this.#limits, this.now)
  }

  heard<K extends LaneEvent['kind']>(kind: K): Extract<LaneEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<LaneEvent, { kind: K }> => event.kind === kind)
  }
}

export type Said =
  | { kind: 'accepted'; accepted: number }
  | { kind: 'answered' | 'returned' }
  | { kind: 'throttle' | 'unexplained'; verdict: Verdict; reply: Reply; reaction: ResolvedReaction }

export const OK: Said = { kind: 'accepted', accepted: 1 }
export const NO_SUCH_USER: Said = { kind: 'answered' }
export const slowDown = (more: Partial<ResolvedReaction> = {}, meaning: Partial<Verdict> = {}): Said => ({
  kind: 'throttle',
  verdict: verdict('rate-limit', meaning),
  reply,
  reaction: reaction(more),
})
export const tooManyConnections: Said = {
  kind: 'throttle',
  verdict: verdict('concurrency'),
  reply,
  reaction: reaction({ holdMs: 30 * SECOND, rateFactor: 1, concurrencyFactor: 0.5 }),
}
export const noReason: Said = {
  kind: 'unexplained',
  verdict: verdict('unknown'),
  reply,
  reaction: reaction(),
}
