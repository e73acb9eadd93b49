// What a transaction does to messages and deliveries: add, claim, settle, put. The hot path.
// Every change of a delivery's state goes through here, so that the ledger's counts stay true.

import { createHash } from 'node:crypto'
import type { Delivery, DeliveryState } from '../../core/delivery.ts'
import type { Message } from '../../core/message.ts'
import {
  bytesGone,
  isDeadLetter,
  isFinal,
  newsOf,
  noRoom,
  ownerLost,
  recipientSet,
  withoutAddress,
  withoutRecipient,
} from '../rules.ts'
import type {
  Added,
  Claim,
  Claimed,
  ClaimRequest,
  NewMessage,
  QueueName,
  Room,
  Settlement,
} from '../store.ts'
import type { Transaction } from './commits.ts'
import type { SqliteConnection } from './driver.ts'
import {
  type DeliveryRow,
  type LedgerRow,
  type MessageRow,
  stateCode,
  toDelivery,
  toMessage,
  wireText,
} from './rows.ts'
import type { DiskSpace } from './space.ts'
import { type DeliveryStatements, deliveryStatements } from './statements.ts'

/** Of a turn or a verb, what changes of state need. */
export interface Occasion {
  readonly now: number
  /** Fence of who does it; the owner is sent a notice of what becomes waiting by others. */
  readonly owner: number
  readonly keepOutcomes: boolean
}

/** What settling needs of the message of a claim, remembered so that it is not read again. */
interface Flight {
  readonly message: number
  readonly recipients: number
  readonly size: number
  readonly key: string | null
  /** A key that was purged may be another message's by now. */
  readonly ticket: string
  /** It has an earlier record, to be moved to the attempts. */
  readonly tried: boolean
}

type JoinedRow = DeliveryRow & MessageRow

/** Flights kept at most; one more and they are read from the file again. */
const FLIGHTS = 10_000

export class Deliveries {
  readonly #flights = new Map<number, Flight>()
  readonly #sql: DeliveryStatements

  constructor(db: SqliteConnection) {
    this.#sql = deliveryStatements(db)
  }

  /** What is remembered of claims may be of a transaction that was rolled back. */
  forgetFlights(): void {
    this.#flights.clear()
  }

  add(tx: Transaction, added: NewMessage, room: Room | undefined, owner: number, space: DiskSpace): Added {
    const { ledger } = tx
    const { message, bytes, deliveries } = added
    let recipients: string | undefined
    if (message.key !== undefined) {
      recipients = createHash('sha256').update(recipientSet(added)).digest('base64url')
      const known = this.#sql.findKey.get(message.key) as
        | { ticket: string; recipients: string | null }
        | undefined
      if (known) {
        const same = known.recipients === null || known.recipients === recipients
        return { kind: same ? 'duplicate' : 'conflict', ticket: known.ticket }
      }
    }
    const full = noRoom(room, { messages: ledger.open_messages, bytes: ledger.open_bytes }, message.size)
    if (full) throw full
    space.take(message.size)

    const id = ledger.last_id + 1
    const { size } = message
    this.#sql.insertMessage.run(
      id,
      message.id,
      message.key ?? null,
      message.messageId,
      message.from,
      message.fromDomain,
      size,
      message.priority,
      message.createdAt,
      message.expiresAt,
      deliveries.length,
      message.onUncertain ?? null,
      wireText(message.wire),
      message.meta ?? null,
      deliveries.length,
    )
    this.#sql.insertBody.run(id, bytes)
    if (message.key !== undefined && recipients !== undefined)
      this.#sql.insertKey.run(message.key, message.id, recipients)
    const shared = deliveries.length > 1 ? 1 : 0
    const ids = deliveries.map((delivery, at) => {
      this.#sql.insertDelivery.run(
        id + at,
        id,
        stateCode[delivery.state],
        delivery.lane,
        delivery.sender,
        delivery.priority,
        delivery.dueAt,
        delivery.expiresAt,
        delivery.state === 'parked' ? null : delivery.expiresAt,
        delivery.address,
        delivery.domain,
        delivery.attempts,
        delivery.tries,
        delivery.uncounted,
        delivery.uncertain,
        delivery.crashes,
        delivery.createdAt,
        shared,
      )
      ledger[delivery.state]++
      if (delivery.state === 'waiting') this.#announce(tx, delivery, 1, owner)
      return id + at
    })
    ledger.last_id = id + deliveries.length - 1
    ledger.open_messages++
    ledger.open_bytes += size
    tx.pages += 3 + Math.ceil(size / 4096) + deliveries.length
    return { kind: 'added', ids }
  }

  claim(tx: Transaction, request: ClaimRequest, now: number): Claimed {
    const { lane, sender, priority, avoid } = request
    const [head, next] = this.#sql.heads.all(lane, sender, priority) as { id: number; due_at: number }[]
    if (!head) return {}
    if (head.due_at > now) return { nextDueAt: head.due_at }
    const other =
      avoid && avoid.length > 0 && next
        ? (this.#sql.headPast.get(lane, sender, priority, now, JSON.stringify(avoid)) as
            | { id: number }
            | undefined)
        : undefined
    const first = this.#sql.one.get(other?.id ?? head.id) as JoinedRow
    const rows =
      first.recipients === 1
        ? [first]
        : (this.#sql.beside.all(
            first.message,
            lane,
            now,
            sender,
            priority,
            Math.max(1, request.limit),
          ) as JoinedRow[])
    const claim = this.#take(tx, rows)
    if (rows.length === 1 && first.id === head.id) return next ? { claim, nextDueAt: next.due_at } : { claim }
    const [after] = this.#sql.heads.all(lane, sender, priority) as { due_at: number }[]
    return after ? { claim, nextDueAt: after.due_at } : { claim }
  }

  /** Waiting deliveries past their time, message by message. */
  claimExpired(tx: Transaction, now: number, limit: number): Claim[] {
    const found = new Map<number, JoinedRow[]>()
    for (const row of this.#sql.expired.all(now, limit) as JoinedRow[]) {
      const beside = found.get(row.message)
      if (beside) beside.push(row)
      else found.set(row.message, [row])
    }
    return [...found.values()].map((rows) =>
      this.#take(
        tx,
        rows.sort((a, b) => a.id - b.id),
      ),
    )
  }

  #take(tx: Transaction, rows: readonly JoinedRow[]): Claim {
    const fence = ++tx.ledger.last_fence
    tx.ledger.waiting -= rows.length
    tx.ledger.claimed += rows.length
    tx.pages += 2 * rows.length
    if (this.#flights.size > FLIGHTS) this.#flights.clear()
    let message: Message | undefined
    const deliveries = rows.map((row) => {
      message ??= toMessage(row)
      this.#sql.claim.run(fence, row.id)
      this.#flights.set(row.id, {
        message: row.message,
        recipients: row.recipients,
        size: row.size,
        key: row.key,
        ticket: row.ticket,
        tried: row.last !== null,
      })
      return toDelivery(row, row.ticket, 'claimed')
    })
    return { fence, message: message as Message, deliveries } // rows has at least one
  }

  /** `stale` when the claim no longer stands, `ended` when it was the message's last recipient. */
  settle(
    tx: Transaction,
    { fence, delivery, record }: Settlement,
    on: Occasion,
  ): 'stale' | 'ended' | 'written' {
    const { id, state } = delivery
    const flight = this.#flights.get(id) ?? (this.#sql.flight.get(id) as Flight | undefined)
    if (!flight) return 'stale'
    if (record && flight.tried) this.#sql.archive.run(id, fence)
    const { changes } = this.#sql.settleOne.run(
      stateCode[state],
      state === 'claimed' ? fence : 0,
      delivery.lane,
      delivery.dueAt,
      delivery.expiresAt,
      sweepAt(delivery),
      delivery.attempts,
      delivery.tries,
      delivery.uncounted,
      delivery.uncertain,
      delivery.crashes,
      delivery.settledAt ?? null,
      delivery.reason ?? null,
      record ? JSON.stringify(record) : null,
      id,
      fence,
    )
    tx.pages += 2
    if (changes === 0)
      return this.#settleErased(tx, { fence, delivery, ...(record && { record }) }, flight, on)
    if (state !== 'claimed') this.#flights.delete(id)
    else if (record) this.#flights.set(id, { ...flight, tried: true })
    tx.ledger.claimed--
    tx.ledger[state]++
    if (!isFinal(state)) return 'written'
    return this.#close(tx, flight, 1, [delivery], on) ? 'ended' : 'written'
  }

  /** Its recipient was erased meanwhile, or the claim does not stand. */
  #settleErased(
    tx: Transaction,
    settlement: Settlement,
    flight: Flight,
    on: Occasion,
  ): 'stale' | 'ended' | 'written' {
    const { fence, delivery, record } = settlement
    const row = this.#sql.one.get(delivery.id) as JoinedRow | undefined
    if (row?.state !== 1 || row.claim !== fence) return 'stale'
    const before = toDelivery(row, row.ticket)
    const last = record ?? before.last
    this.#flights.delete(delivery.id)
    const next = { ...delivery, address: before.address, ...(last && { last }) }
    return this.blank(tx, before, next, flight.message, on) ? 'ended' : 'written'
  }

  /** Writes a delivery without its recipient, in its replies too; true when its message ended by it. */
  blank(tx: Transaction, before: Delivery, next: Delivery, message: number, on: Occasion): boolean {
    for (const { n, record } of this.#sql.attempts.all(before.id) as { n: number; record: string }[])
      this.#sql.rewriteAttempt.run(
        JSON.stringify(withoutAddress(JSON.parse(record), before.address)),
        before.id,
        n,
      )
    return this.put(tx, before, withoutRecipient(next, on.now), message, on)
  }

  /** Replaces one delivery, whatever changes; true when its message ended by it. */
  put(tx: Transaction, before: Delivery, next: Delivery, message: number, on: Occasion): boolean {
    const { ledger } = tx
    if (!isFinal(next.state) && this.#sql.hasBody.get(message) === undefined) throw bytesGone(before.ticket)
    this.#sql.replace.run(
      stateCode[next.state],
      0,
      next.lane,
      next.dueAt,
      next.expiresAt,
      sweepAt(next),
      next.address,
      next.domain,
      next.attempts,
      next.tries,
      next.uncounted,
      next.uncertain,
      next.crashes,
      next.settledAt ?? null,
      next.reason ?? null,
      next.last ? JSON.stringify(next.last) : null,
      before.id,
    )
    tx.pages += 3
    ledger[before.state]--
    ledger[next.state]++
    const news = newsOf(before, next)
    if (news !== undefined) this.#announce(tx, next, news, on.owner)
    const closed = Number(isFinal(next.state)) - Number(isFinal(before.state))
    if (closed === 0) {
      if (isFinal(next.state)) this.#rejudge(message)
      return false
    }
    const flight = this.#sql.flight.get(before.id) as Flight
    return this.#close(tx, flight, closed, [next], on)
  }

  /** Counts deliveries that became final (or, below zero, no longer are); true when none is left. */
  #close(
    tx: Transaction,
    flight: Flight,
    closed: number,
    deliveries: readonly Delivery[],
    on: Occasion,
  ): boolean {
    const { ledger } = tx
    const failed = deliveries.some(({ state }) => state === 'failed') ? 1 : 0
    let dead = deliveries.some(isDeadLetter) ? 1 : 0
    const outcome = on.keepOutcomes ? 1 : 0
    if (flight.recipients === 1 && closed === 1) {
      this.#sql.endSingle.run(failed, dead, on.now, outcome, flight.message)
    } else {
      this.#sql.countDown.run(closed, failed, dead, flight.message)
      const now = this.#sql.progress.get(flight.message) as {
        open: number
        dead: number
        settled_at: number | null
      }
      if (now.open > 0) {
        if (closed < 0) this.#reopened(ledger, flight, now.settled_at !== null)
        return false
      }
      dead = now.dead
      this.#sql.end.run(on.now, outcome, flight.message)
    }
    if (dead === 0) this.#sql.wipe.run(flight.message)
    if (flight.key !== null) this.#sql.endKey.run(on.now, flight.key, flight.ticket)
    ledger.open_messages--
    ledger.open_bytes -= flight.size
    return true
  }

  /** A final delivery became another: an ended message may be a dead letter no more. */
  #rejudge(message: number): void {
    this.#sql.judge.run(message)
    const { open, dead } = this.#sql.progress.get(message) as { open: number; dead: number }
    if (open === 0 && dead === 0) this.#sql.wipe.run(message)
  }

  #reopened(ledger: LedgerRow, flight: Flight, hadEnded: boolean): void {
    this.#sql.judge.run(flight.message)
    if (!hadEnded) return
    this.#sql.reopen.run(flight.message)
    ledger.open_messages++
    ledger.open_bytes += flight.size
    if (flight.key !== null) this.#sql.endKey.run(null, flight.key, flight.ticket)
  }

  #announce(tx: Transaction, due: QueueName & { readonly dueAt: number }, count: number, by: number): void {
    const { owner, owner_fence } = tx.ledger
    if (owner !== null && owner_fence !== by) this.noticeDue(tx, due, count)
  }

  noticeDue(tx: Transaction, due: QueueName & { readonly dueAt: number }, count: number): void {
    this.#sql.noticeDue.run(due.lane, due.sender, due.priority, due.dueAt, count)
    tx.pages++
  }
}

/** Whether the ledger's owner is this one. */
export function demandOwner({ owner, owner_fence }: LedgerRow, fence: number): void {
  if (owner === null || owner_fence !== fence) throw ownerLost()
}

function sweepAt({
  state,
  expiresAt,
}: {
  readonly state: DeliveryState
  readonly expiresAt: number
}): number | null {
  return state === 'waiting' || state === 'claimed' ? expiresAt : null
}
