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
import type { SqliteConnection, SqliteStatement } from './driver.ts'
import {
  DELIVERY,
  type DeliveryRow,
  type LedgerRow,
  MESSAGE,
  type MessageRow,
  stateCode,
  toDelivery,
  toMessage,
  wireText,
} from './rows.ts'
import type { DiskSpace } from './space.ts'

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
  readonly #insertMessage: SqliteStatement
  readonly #insertBody: SqliteStatement
  readonly #insertDelivery: SqliteStatement
  readonly #insertKey: SqliteStatement
  readonly #findKey: SqliteStatement
  readonly #heads: SqliteStatement
  readonly #headPast: SqliteStatement
  readonly #one: SqliteStatement
  readonly #beside: SqliteStatement
  readonly #expired: SqliteStatement
  readonly #claim: SqliteStatement
  readonly #settleOne: SqliteStatement
  readonly #archive: SqliteStatement
  readonly #flight: SqliteStatement
  readonly #replace: SqliteStatement
  readonly #attempts: SqliteStatement
  readonly #rewriteAttempt: SqliteStatement
  readonly #endSingle: SqliteStatement
  readonly #countDown: SqliteStatement
  readonly #progress: SqliteStatement
  readonly #end: SqliteStatement
  readonly #reopen: SqliteStatement
  readonly #judge: SqliteStatement
  readonly #hasBody: SqliteStatement
  readonly #wipe: SqliteStatement
  readonly #endKey: SqliteStatement
  readonly #noticeDue: SqliteStatement

  constructor(db: SqliteConnection) {
    this.#insertMessage = db.prepare(
      `INSERT INTO message (id, ticket, key, message_id, mail_from, from_domain, size, priority, created_at, expires_at,
         recipients, on_uncertain, wire, meta, open, failed, dead, settled_at, outcome)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, NULL, 0)`,
    )
    this.#insertBody = db.prepare('INSERT INTO body (id, bytes) VALUES (?, ?)')
    this.#insertDelivery = db.prepare(
      `INSERT INTO delivery (id, message, state, claim, lane, sender, priority, due_at, expires_at, sweep_at, address,
         domain, attempts, tries, uncounted, uncertain, crashes, created_at, settled_at, reason, shared, erase, last)
       VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, 0, NULL)`,
    )
    this.#insertKey = db.prepare('INSERT INTO message_key (key, ticket, recipients) VALUES (?, ?, ?)')
    this.#findKey = db.prepare('SELECT ticket, recipients FROM message_key WHERE key = ?')
    const queue = 'd.lane = ? AND d.sender = ? AND d.priority = ? AND d.state = 0'
    // two, from the index alone: the one to claim, and when the next is due
    this.#heads = db.prepare(
      `SELECT d.id, d.due_at FROM delivery d INDEXED BY delivery_waiting WHERE ${queue}
       ORDER BY d.due_at, d.id LIMIT 2`,
    )
    this.#headPast = db.prepare(
      `SELECT d.id, d.due_at FROM delivery d INDEXED BY delivery_waiting WHERE ${queue} AND d.due_at <= ?
         AND d.message NOT IN (SELECT id FROM message WHERE ticket IN (SELECT value FROM json_each(?)))
       ORDER BY d.due_at, d.id LIMIT 1`,
    )
    const joined = `SELECT ${DELIVERY}, ${MESSAGE} FROM delivery d`
    this.#one = db.prepare(`${joined} CROSS JOIN message m ON m.id = d.message WHERE d.id = ?`)
    this.#beside = db.prepare(
      `${joined} INDEXED BY delivery_beside CROSS JOIN message m ON m.id = d.message
       WHERE d.message = ? AND d.lane = ? AND d.state = 0 AND d.shared = 1 AND d.due_at <= ? AND d.sender = ? AND d.priority = ?
       ORDER BY d.due_at, d.id LIMIT ?`,
    )
    this.#expired = db.prepare(
      `${joined} INDEXED BY delivery_sweep CROSS JOIN message m ON m.id = d.message
       WHERE d.sweep_at <= ? AND d.state = 0 ORDER BY d.sweep_at, d.id LIMIT ?`,
    )
    this.#claim = db.prepare('UPDATE delivery SET state = 1, claim = ? WHERE id = ?')
    this.#settleOne = db.prepare(
      `UPDATE delivery SET state = ?, claim = ?, lane = ?, due_at = ?, expires_at = ?, sweep_at = ?, attempts = ?, tries = ?,
         uncounted = ?, uncertain = ?, crashes = ?, settled_at = ?, reason = ?, last = coalesce(?, last)
       WHERE id = ? AND claim = ? AND state = 1 AND erase = 0`,
    )
    this.#archive = db.prepare(
      `INSERT INTO attempt (delivery, n, record)
       SELECT d.id, coalesce((SELECT max(n) FROM attempt a WHERE a.delivery = d.id), 0) + 1, d.last FROM delivery d
       WHERE d.id = ? AND d.claim = ? AND d.state = 1 AND d.last IS NOT NULL`,
    )
    this.#flight = db.prepare(
      `SELECT d.message, m.recipients, m.size, m.key, m.ticket, d.last IS NOT NULL AS tried
       FROM delivery d CROSS JOIN message m ON m.id = d.message WHERE d.id = ?`,
    )
    this.#replace = db.prepare(
      `UPDATE delivery SET state = ?, claim = ?, lane = ?, due_at = ?, expires_at = ?, sweep_at = ?, address = ?, domain = ?,
         attempts = ?, tries = ?, uncounted = ?, uncertain = ?, crashes = ?, settled_at = ?, reason = ?, last = ?, erase = 0
       WHERE id = ?`,
    )
    this.#attempts = db.prepare('SELECT n, record FROM attempt WHERE delivery = ? ORDER BY n')
    this.#rewriteAttempt = db.prepare('UPDATE attempt SET record = ? WHERE delivery = ? AND n = ?')
    this.#endSingle = db.prepare(
      'UPDATE message SET open = 0, failed = ?, dead = ?, settled_at = ?, outcome = ? WHERE id = ?',
    )
    this.#countDown = db.prepare(
      'UPDATE message SET open = open - ?, failed = failed | ?, dead = dead | ? WHERE id = ?',
    )
    this.#progress = db.prepare('SELECT open, dead, settled_at FROM message WHERE id = ?')
    this.#end = db.prepare('UPDATE message SET settled_at = ?, outcome = ? WHERE id = ?')
    this.#reopen = db.prepare('UPDATE message SET settled_at = NULL, outcome = 0 WHERE id = ?')
    const any = (condition: string) =>
      `EXISTS (SELECT 1 FROM delivery d WHERE d.id BETWEEN message.id AND message.id + recipients - 1 AND ${condition})`
    this.#judge = db.prepare(
      `UPDATE message SET failed = ${any('+d.state = 4')}, dead = ${any("+d.state = 4 AND d.reason <> 'cancelled'")}
       WHERE id = ?`,
    )
    this.#hasBody = db.prepare('SELECT 1 AS yes FROM body WHERE id = ?')
    this.#wipe = db.prepare('DELETE FROM body WHERE id = ?')
    this.#endKey = db.prepare('UPDATE message_key SET ended_at = ? WHERE key = ? AND ticket = ?')
    this.#noticeDue = db.prepare(
      `INSERT INTO due_notice (lane, sender, priority, due_at, count) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET due_at = min(due_at, excluded.due_at), count = count + excluded.count`,
    )
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
      const known = this.#findKey.get(message.key) as
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
    this.#insertMessage.run(
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
    this.#insertBody.run(id, bytes)
    if (message.key !== undefined && recipients !== undefined)
      this.#insertKey.run(message.key, message.id, recipients)
    const shared = deliveries.length > 1 ? 1 : 0
    const ids = deliveries.map((delivery, at) => {
      this.#insertDelivery.run(
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
    const [head, next] = this.#heads.all(lane, sender, priority) as { id: number; due_at: number }[]
    if (!head) return {}
    if (head.due_at > now) return { nextDueAt: head.due_at }
    const other =
      avoid && avoid.length > 0 && next
        ? (this.#headPast.get(lane, sender, priority, now, JSON.stringify(avoid)) as
            | { id: number }
            | undefined)
        : undefined
    const first = this.#one.get(other?.id ?? head.id) as JoinedRow
    const rows =
      first.recipients === 1
        ? [first]
        : (this.#beside.all(
            first.message,
            lane,
            now,
            sender,
            priority,
            Math.max(1, request.limit),
          ) as JoinedRow[])
    const claim = this.#take(tx, rows)
    if (rows.length === 1 && first.id === head.id) return next ? { claim, nextDueAt: next.due_at } : { claim }
    const [after] = this.#heads.all(lane, sender, priority) as { due_at: number }[]
    return after ? { claim, nextDueAt: after.due_at } : { claim }
  }

  /** Waiting deliveries past their time, message by message. */
  claimExpired(tx: Transaction, now: number, limit: number): Claim[] {
    const found = new Map<number, JoinedRow[]>()
    for (const row of this.#expired.all(now, limit) as JoinedRow[]) {
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
      this.#claim.run(fence, row.id)
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
    const flight = this.#flights.get(id) ?? (this.#flight.get(id) as Flight | undefined)
    if (!flight) return 'stale'
    if (record && flight.tried) this.#archive.run(id, fence)
    const { changes } = this.#settleOne.run(
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
    const row = this.#one.get(delivery.id) as JoinedRow | undefined
    if (row?.state !== 1 || row.claim !== fence) return 'stale'
    const before = toDelivery(row, row.ticket)
    const last = record ?? before.last
    this.#flights.delete(delivery.id)
    const next = { ...delivery, address: before.address, ...(last && { last }) }
    return this.blank(tx, before, next, flight.message, on) ? 'ended' : 'written'
  }

  /** Writes a delivery without its recipient, in its replies too; true when its message ended by it. */
  blank(tx: Transaction, before: Delivery, next: Delivery, message: number, on: Occasion): boolean {
    for (const { n, record } of this.#attempts.all(before.id) as { n: number; record: string }[])
      this.#rewriteAttempt.run(
        JSON.stringify(withoutAddress(JSON.parse(record), before.address)),
        before.id,
        n,
      )
    return this.put(tx, before, withoutRecipient(next, on.now), message, on)
  }

  /** Replaces one delivery, whatever changes; true when its message ended by it. */
  put(tx: Transaction, before: Delivery, next: Delivery, message: number, on: Occasion): boolean {
    const { ledger } = tx
    if (!isFinal(next.state) && this.#hasBody.get(message) === undefined) throw bytesGone(before.ticket)
    this.#replace.run(
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
    const flight = this.#flight.get(before.id) as Flight
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
      this.#endSingle.run(failed, dead, on.now, outcome, flight.message)
    } else {
      this.#countDown.run(closed, failed, dead, flight.message)
      const now = this.#progress.get(flight.message) as {
        open: number
        dead: number
        settled_at: number | null
      }
      if (now.open > 0) {
        if (closed < 0) this.#reopened(ledger, flight, now.settled_at !== null)
        return false
      }
      dead = now.dead
      this.#end.run(on.now, outcome, flight.message)
    }
    if (dead === 0) this.#wipe.run(flight.message)
    if (flight.key !== null) this.#endKey.run(on.now, flight.key, flight.ticket)
    ledger.open_messages--
    ledger.open_bytes -= flight.size
    return true
  }

  /** A final delivery became another: an ended message may be a dead letter no more. */
  #rejudge(message: number): void {
    this.#judge.run(message)
    const { open, dead } = this.#progress.get(message) as { open: number; dead: number }
    if (open === 0 && dead === 0) this.#wipe.run(message)
  }

  #reopened(ledger: LedgerRow, flight: Flight, hadEnded: boolean): void {
    this.#judge.run(flight.message)
    if (!hadEnded) return
    this.#reopen.run(flight.message)
    ledger.open_messages++
    ledger.open_bytes += flight.size
    if (flight.key !== null) this.#endKey.run(null, flight.key, flight.ticket)
  }

  #announce(tx: Transaction, due: QueueName & { readonly dueAt: number }, count: number, by: number): void {
    const { owner, owner_fence } = tx.ledger
    if (owner !== null && owner_fence !== by) this.noticeDue(tx, due, count)
  }

  noticeDue(tx: Transaction, due: QueueName & { readonly dueAt: number }, count: number): void {
    this.#noticeDue.run(due.lane, due.sender, due.priority, due.dueAt, count)
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
