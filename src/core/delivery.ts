// One recipient of one message: the unit that is tried, deferred and settled, and the record of each try.
// Not here: the rules that change it (decide.ts, apply.ts).

import type { Cause, Persistence, Scope } from './cause.ts'
import type { Priority } from './message.ts'
import type { Reply } from './reply.ts'

/**
 * `waiting`: to be tried at `dueAt`. `claimed`: an attempt is under way, or was when a process died.
 * `parked`: a person must decide. `accepted` and `failed` are final.
 */
export type DeliveryState = 'waiting' | 'claimed' | 'parked' | 'accepted' | 'failed'

/** Why a delivery failed for good. */
export type FailReason = 'rejected' | 'expired' | 'cancelled' | 'uncertain'

/** One try of one delivery. */
export interface AttemptRecord {
  readonly at: number
  readonly durationMs: number
  /** Whether it advanced the back-off. */
  readonly counted: boolean
  readonly reply: Reply
  /** Absent for an accepted try. */
  readonly verdict?: {
    readonly cause: Cause
    readonly persistence: Persistence
    readonly scope: Scope
    readonly rule: string
    readonly provider?: string
    readonly retryAfterMs?: number
    readonly advice?: string
    readonly url?: string
  }
  /** The body was handed over and no reply came. */
  readonly uncertain?: boolean
  /** When it is to be tried again. */
  readonly nextAt?: number
  /** What was said in the session, bounded, without the body (direct delivery). */
  readonly transcript?: readonly string[]
}

/** One recipient of one message, as stored. Moments are epoch ms. */
export interface Delivery {
  /** Unique in the store, grows in the order of adding. */
  readonly id: number
  /** The message's id. */
  readonly ticket: string
  /** The forward-path used in RCPT TO. */
  readonly address: string
  /** The address's domain, normalised: lower case, ASCII, no trailing dot; or an address literal. */
  readonly domain: string
  readonly lane: string
  /** The message's From domain. */
  readonly sender: string
  readonly priority: Priority
  readonly state: DeliveryState
  /** Counted attempts so far: what back-off goes by. */
  readonly attempts: number
  /** All tries so far. */
  readonly tries: number
  /** Uncounted tries in a row. */
  readonly uncounted: number
  /** Outcomes that were uncertain so far. */
  readonly uncertain: number
  /** Claims found open after a crash so far. */
  readonly crashes: number
  readonly dueAt: number
  readonly expiresAt: number
  readonly createdAt: number
  readonly settledAt?: number
  readonly reason?: FailReason
  /** The newest record of `history`. */
  readonly last?: AttemptRecord
}

/**
 * A delivery to be changed into what it becomes. Field by field: each try makes several, and a spread of so many
 * fields costs many times as much.
 */
export function copyDelivery(delivery: Delivery): { -readonly [K in keyof Delivery]: Delivery[K] } {
  return deliveryOf(delivery.id, delivery)
}

/** As `copyDelivery`, with an id of its own. */
export function deliveryOf(
  id: number,
  delivery: Omit<Delivery, 'id'>,
): { -readonly [K in keyof Delivery]: Delivery[K] } {
  const { settledAt, reason, last } = delivery
  const copy: { -readonly [K in keyof Delivery]: Delivery[K] } = {
    id,
    ticket: delivery.ticket,
    address: delivery.address,
    domain: delivery.domain,
    lane: delivery.lane,
    sender: delivery.sender,
    priority: delivery.priority,
    state: delivery.state,
    attempts: delivery.attempts,
    tries: delivery.tries,
    uncounted: delivery.uncounted,
    uncertain: delivery.uncertain,
    crashes: delivery.crashes,
    dueAt: delivery.dueAt,
    expiresAt: delivery.expiresAt,
    createdAt: delivery.createdAt,
  }
  if (settledAt !== undefined) copy.settledAt = settledAt
  if (reason !== undefined) copy.reason = reason
  if (last !== undefined) copy.last = last
  return copy
}
