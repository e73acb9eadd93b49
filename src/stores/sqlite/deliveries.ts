// What a transaction does to messages and deliveries in the tables: add, put, end. Claims are in claims.ts.
// Whoever changes a delivery's state changes the ledger's counts with it.

import { createHash } from 'node:crypto'
import type { Delivery } from '../../core/delivery.ts'
import type { SteadymailError } from '../../core/error.ts'
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
import type { Added, NewMessage, QueueName, Room } from '../store.ts'
import type { Transaction } from './commits.ts'
import type { Fresh, FreshMail } from './fresh.ts'
import type { Inserts } from './inserts.ts'
import type { Flight } from './recent.ts'
import { type LedgerRow, stateCode, sweepAt } from './rows.ts'
import type { DiskSpace } from './space.ts'
import type { DeliveryStatements } from './statements.ts'

/** Of a turn or a verb, what changes of state need. */
export interface Occasion {
  readonly now: number
  /** Fence of who does it; the owner is sent a notice of what becomes waiting by others. */
  readonly owner: number
  readonly keepOutcomes: boolean
}

export class Deliveries {
  readonly #sql: DeliveryStatements
  readonly #insert: Inserts

  constructor(sql: DeliveryStatements, insert: Inserts) {
    this.#sql = sql
    this.#insert = insert
  }

  /**
   * A refusal comes back as a value: nothing was written, so nothing need be undone.
   * @param fresh where it is put instead, if it belongs there
   */
  add(
    tx: Transaction,
    added: NewMessage,
    room: Room | undefined,
    owner: number,
    space: DiskSpace,
    fresh: Fresh | undefined,
  ): Added | SteadymailError {
    const { ledger } = tx
    const { message, deliveries } = added
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
    const open = { messages: ledger.open_messages, bytes: ledger.open_bytes }
    const full = noRoom(room, open, message.size) ?? space.take(message.size)
    if (full) return full

    const id = ledger.last_id + 1
    const { size } = message
    if (message.key !== undefined && recipients !== undefined)
      this.#sql.insertKey.run(message.key, message.id, recipients)
    if (fresh?.takes(added)) fresh.put(tx, id, added)
    else this.#rows(tx, id, added)
    for (const delivery of deliveries) {
      ledger[delivery.state]++
      if (delivery.state === 'waiting') this.#announce(tx, delivery, 1, owner)
    }
    ledger.last_id = id + deliveries.length - 1
    ledger.open_messages++
    ledger.open_bytes += size
    return { kind: 'added', ids: deliveries.map((_, at) => id + at) }
  }

  #rows(tx: Transaction, id: number, added: NewMessage): void {
    this.#insert.all(id, added)
    tx.pages += 3 + Math.ceil(added.bytes.length / 4096) + added.deliveries.length
  }

  /** Fresh mail that is to be changed. */
  store(tx: Transaction, { id, message, delivery }: FreshMail, bytes: Uint8Array): void {
    this.#rows(tx, id, { message, bytes, deliveries: [delivery] })
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
    return this.close(tx, flight, closed, [next], on)
  }

  /** Counts deliveries that became final (or, below zero, no longer are); true when none is left. */
  close(
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
