// Rows to values and back. Hot columns are plain numbers and texts; only what is opaque is JSON.

import type { AttemptRecord, Delivery, DeliveryState, FailReason } from '../../core/delivery.ts'
import type { Message, OnUncertain, Priority, WireOptions } from '../../core/message.ts'

export const STATES = [
  'waiting',
  'claimed',
  'parked',
  'accepted',
  'failed',
] as const satisfies DeliveryState[]

export const stateCode = {
  waiting: 0,
  claimed: 1,
  parked: 2,
  accepted: 3,
  failed: 4,
} as const satisfies Record<DeliveryState, number>

/** The columns of a delivery that are read, for a FROM that names it `d`. */
export const DELIVERY =
  'd.id, d.message, d.state, d.claim, d.lane, d.sender, d.priority, d.due_at, d.expires_at, d.address, d.domain, ' +
  'd.attempts, d.tries, d.uncounted, d.uncertain, d.crashes, d.created_at, d.settled_at, d.reason, d.last'

export interface DeliveryRow {
  readonly id: number
  readonly message: number
  readonly state: number
  readonly claim: number
  readonly lane: string
  readonly sender: string
  readonly priority: Priority
  readonly due_at: number
  readonly expires_at: number
  readonly address: string
  readonly domain: string
  readonly attempts: number
  readonly tries: number
  readonly uncounted: number
  readonly uncertain: number
  readonly crashes: number
  readonly created_at: number
  readonly settled_at: number | null
  readonly reason: FailReason | null
  readonly last: string | null
}

export function toDelivery(
  row: DeliveryRow,
  ticket: string,
  state = STATES[row.state] as DeliveryState,
): Delivery {
  const delivery: { -readonly [K in keyof Delivery]: Delivery[K] } = {
    id: row.id,
    ticket,
    address: row.address,
    domain: row.domain,
    lane: row.lane,
    sender: row.sender,
    priority: row.priority,
    state,
    attempts: row.attempts,
    tries: row.tries,
    uncounted: row.uncounted,
    uncertain: row.uncertain,
    crashes: row.crashes,
    dueAt: row.due_at,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
  }
  if (row.settled_at !== null) delivery.settledAt = row.settled_at
  if (row.reason !== null) delivery.reason = row.reason
  if (row.last !== null) delivery.last = JSON.parse(row.last) as AttemptRecord
  return delivery
}

/** The columns of a message that are read, for a FROM that names it `m`; `rowid` and the like are renamed, so that both fit one row. */
export const MESSAGE =
  'm.id AS m_id, m.ticket, m.key, m.message_id, m.mail_from, m.from_domain, m.size, m.priority AS m_priority, ' +
  'm.created_at AS m_created_at, m.expires_at AS m_expires_at, m.recipients, m.on_uncertain, m.wire, m.meta, ' +
  'm.open, m.settled_at AS m_settled_at'

export interface MessageRow {
  readonly m_id: number
  readonly ticket: string
  readonly key: string | null
  readonly message_id: string
  readonly mail_from: string
  readonly from_domain: string
  readonly size: number
  readonly m_priority: Priority
  readonly m_created_at: number
  readonly m_expires_at: number
  readonly recipients: number
  readonly on_uncertain: OnUncertain | null
  readonly wire: string | null
  readonly meta: string | null
  readonly open: number
  readonly m_settled_at: number | null
}

export function toMessage(row: MessageRow): Message {
  const message: { -readonly [K in keyof Message]: Message[K] } = {
    id: row.ticket,
    messageId: row.message_id,
    from: row.mail_from,
    fromDomain: row.from_domain,
    size: row.size,
    priority: row.m_priority,
    createdAt: row.m_created_at,
    expiresAt: row.m_expires_at,
    recipients: row.recipients,
    wire: row.wire === null ? {} : (JSON.parse(row.wire) as WireOptions),
  }
  if (row.key !== null) message.key = row.key
  if (row.on_uncertain !== null) message.onUncertain = row.on_uncertain
  if (row.meta !== null) message.meta = row.meta
  return message
}

/** NULL for the usual case, nothing. */
export function wireText(wire: WireOptions): string | null {
  for (const _ in wire) return JSON.stringify(wire)
  return null
}

/** One row: the counters of the whole store, and who owns it. */
export interface LedgerRow {
  last_id: number
  last_fence: number
  owner: string | null
  owner_fence: number
  owner_until: number
  waiting: number
  claimed: number
  parked: number
  accepted: number
  failed: number
  open_messages: number
  open_bytes: number
  /** Moves with every change but new mail and turns. */
  changes: number
}

/** When a delivery is looked at by the sweep; `null` for never. */
export function sweepAt({
  state,
  expiresAt,
}: {
  readonly state: DeliveryState
  readonly expiresAt: number
}): number | null {
  return state === 'waiting' || state === 'claimed' ? expiresAt : null
}
