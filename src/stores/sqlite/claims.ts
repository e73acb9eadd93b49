// Claims and their settlements: the hot path. The usual ones go to the journal (journal.ts) and read next to
// nothing; all others change the tables at once.

import type { Clock } from '../../clock.ts'
import { copyDelivery } from '../../core/delivery.ts'
import type { Message } from '../../core/message.ts'
import { isFinal } from '../rules.ts'
import type { Claim, Claimed, ClaimRequest, QueueName, Settlement } from '../store.ts'
import type { BytesCache } from './cache.ts'
import type { Transaction } from './commits.ts'
import type { Deliveries, Occasion } from './deliveries.ts'
import type { Fresh, FreshMail } from './fresh.ts'
import type { Journal } from './journal.ts'
import { type Flight, Recent } from './recent.ts'
import { type DeliveryRow, type MessageRow, stateCode, sweepAt, toDelivery, toMessage } from './rows.ts'
import type { DeliveryStatements } from './statements.ts'
import { type Head, isBefore, queueKey } from './windows.ts'

type JoinedRow = DeliveryRow & MessageRow
/** Bytes that are read with their claim, in its transaction; larger ones when they are asked for. */
const READ_AT_ONCE = 64 << 10

type Became = 'stale' | 'ended' | 'written'

export class Claims {
  readonly recent: Recent
  readonly #sql: DeliveryStatements
  readonly #journal: Journal
  readonly #fresh: Fresh
  readonly #deliveries: Deliveries
  readonly #cache: BytesCache
  /** By the key under which windows know them. */
  #queue: QueueName | undefined

  constructor(
    sql: DeliveryStatements,
    journal: Journal,
    fresh: Fresh,
    deliveries: Deliveries,
    cache: BytesCache,
    clock: Clock,
  ) {
    this.#sql = sql
    this.#cache = cache
    this.#journal = journal
    this.#fresh = fresh
    this.#deliveries = deliveries
    this.recent = new Recent(clock, (queue, limit) => this.#heads(queue, limit))
  }

  #heads(key: string, limit: number): { readonly heads: Head[]; readonly complete: boolean } {
    const { lane, sender, priority } = this.#queue as QueueName // set by whoever asks for a window
    const most = limit + this.#journal.pendingOf(key)
    const rows = this.#sql.heads.all(lane, sender, priority, most) as Head[]
    const stored = rows.filter(({ id }) => this.#journal.pending(id) === undefined)
    const fresh = this.#fresh.heads(key, limit)
    const complete = rows.length < most
    if (fresh.length === 0) return { heads: stored, complete }
    const last = complete ? undefined : rows.at(-1)
    const heads = [...stored, ...(last ? fresh.filter((head) => isBefore(head, last)) : fresh)].sort(
      (a, b) => (isBefore(a, b) ? -1 : 1),
    )
    return { heads: heads.slice(0, limit), complete: complete && heads.length < limit }
  }

  claim(tx: Transaction, request: ClaimRequest, now: number): Claimed {
    const { avoid } = request
    const { windows } = this.recent
    const key = queueKey(request)
    this.#queue = request
    const head = windows.first(key)
    if (!head) return {}
    if (head.due_at > now) return { nextDueAt: head.due_at }
    const id = this.#avoids(head.id, avoid) ? (this.#past(tx, request, now) ?? head.id) : head.id
    const claim = this.#claimFresh(tx, id, key) ?? this.#claimStored(tx, id, key, request, now)
    if (claim.message.recipients === 1) this.#handBytes(claim.message, id)
    const next = windows.first(key)
    return next ? { claim, nextDueAt: next.due_at } : { claim }
  }

  #handBytes({ id: ticket, size }: Message, message: number): void {
    if (size > READ_AT_ONCE || this.#cache.has(ticket)) return
    const fresh = this.#fresh.get(message)
    const bytes = fresh
      ? this.#fresh.bytes(fresh)
      : (this.#sql.body.get(message) as { bytes: Uint8Array } | undefined)?.bytes
    if (bytes) this.#cache.hand(ticket, bytes)
  }

  #avoids(id: number, avoid: readonly string[] = []): boolean {
    if (avoid.length === 0) return false
    const known = this.#fresh.get(id)?.message.id ?? this.recent.ticketOf(id)
    return avoid.includes(known ?? (this.#sql.flight.get(id) as Flight).ticket)
  }

  /** The first that is due and not to be avoided. */
  #past(tx: Transaction, request: ClaimRequest, now: number): number | undefined {
    const { lane, sender, priority, avoid = [] } = request
    // looked for in the tables
    this.#journal.write(tx)
    this.#journal.fold(tx)
    const stored = this.#sql.headPast.get(lane, sender, priority, now, JSON.stringify(avoid)) as
      | Head
      | undefined
    const fresh = this.#fresh
      .heads(queueKey(request), avoid.length + 1)
      .find((head) => head.due_at <= now && !this.#avoids(head.id, avoid))
    if (!stored || !fresh) return (stored ?? fresh)?.id
    return isBefore(stored, fresh) ? stored.id : fresh.id
  }

  #claimFresh(tx: Transaction, id: number, key: string): Claim | undefined {
    const mail = this.#fresh.take(id)
    const known = mail ?? this.recent.take(id)
    if (!known) return undefined
    const { message } = known
    const fence = this.#lease(tx, 1)
    const delivery = copyDelivery(known.delivery)
    delivery.state = 'claimed'
    this.#journal.claim(id, fence, mail ? undefined : key)
    this.recent.windows.take(key, id)
    this.recent.fly(id, {
      message: id,
      recipients: 1,
      size: message.size,
      key: message.key ?? null,
      ticket: message.id,
      tried: false,
      claim: { fence, delivery },
    })
    return { fence, message, deliveries: [delivery] }
  }

  #claimStored(tx: Transaction, id: number, key: string, request: ClaimRequest, now: number): Claim {
    const first = this.#sql.one.get(id) as JoinedRow
    const rows = first.recipients === 1 ? [first] : this.#beside(first, key, request, now)
    const fence = this.#lease(tx, rows.length)
    for (const row of rows) {
      this.#journal.claim(row.id, fence, key)
      this.recent.windows.take(key, row.id)
    }
    return this.#claimed(rows, fence)
  }

  #beside(first: JoinedRow, key: string, request: ClaimRequest, now: number): JoinedRow[] {
    const { lane, sender, priority } = request
    const limit = Math.max(1, request.limit)
    const most = limit + this.#journal.pendingOf(key)
    const rows = this.#sql.beside.all(first.message, lane, now, sender, priority, most) as JoinedRow[]
    return rows.filter(({ id }) => this.#journal.pending(id) === undefined).slice(0, limit)
  }

  /** Whether a look at what has expired is worth it: `expired` wants everything in the tables. */
  anyExpired(now: number): boolean {
    if (!this.#journal.own || this.#fresh.anyExpired(now)) return true
    return this.#sql.anyExpired.get(now) !== undefined
  }

  /** Waiting deliveries past their time, message by message. The journal is folded. */
  expired(tx: Transaction, now: number, limit: number): Claim[] {
    const found = new Map<number, JoinedRow[]>()
    for (const row of this.#sql.expired.all(now, limit) as JoinedRow[]) {
      const beside = found.get(row.message)
      if (beside) beside.push(row)
      else found.set(row.message, [row])
    }
    return [...found.values()].map((rows) => {
      const fence = this.#lease(tx, rows.length)
      for (const { id } of rows) this.#sql.claim.run(fence, id)
      tx.pages += 2 * rows.length
      return this.#claimed(
        rows.sort((a, b) => a.id - b.id),
        fence,
      )
    })
  }

  #lease({ ledger }: Transaction, deliveries: number): number {
    ledger.waiting -= deliveries
    ledger.claimed += deliveries
    return ++ledger.last_fence
  }

  #claimed(rows: readonly JoinedRow[], fence: number): Claim {
    let message: Message | undefined
    const deliveries = rows.map((row) => {
      message ??= toMessage(row)
      const delivery = toDelivery(row, row.ticket, 'claimed')
      this.recent.take(row.id)
      this.recent.fly(row.id, {
        message: row.message,
        recipients: row.recipients,
        size: row.size,
        key: row.key,
        ticket: row.ticket,
        tried: row.last !== null,
        claim: { fence, delivery },
      })
      return delivery
    })
    return { fence, message: message as Message, deliveries } // rows has at least one
  }

  /** `stale` when the claim no longer stands, `ended` when it was the message's last recipient. */
  settle(tx: Transaction, settlement: Settlement, on: Occasion): Became {
    const { fence, delivery, record } = settlement
    const { id, state } = delivery
    const known = this.recent.flight(id)
    if (known && isUsual(known, settlement)) {
      this.#accept(tx, settlement, known, on)
      return 'ended'
    }
    const pending = this.#journal.pending(id)
    const fresh = this.#fresh.get(id)
    const flight = known ?? (fresh ? flightOf(fresh) : (this.#sql.flight.get(id) as Flight | undefined))
    if (!flight || pending?.accepted) return 'stale'
    if (fresh) {
      if (pending?.fence !== fence) return 'stale'
      this.#deliveries.store(tx, fresh, this.#fresh.bytes(fresh))
      this.#journal.moved(fresh)
      this.#sql.claim.run(fence, id)
    } else if (pending?.fence === fence) {
      this.#sql.claim.run(fence, id)
      this.#journal.withdraw(id)
    }
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
    if (changes === 0) return this.#settleErased(tx, settlement, flight, on)
    this.recent.land(id)
    tx.ledger.claimed--
    tx.ledger[state]++
    if (state === 'waiting') this.recent.windows.put(queueKey(delivery), { id, due_at: delivery.dueAt })
    if (!isFinal(state)) return 'written'
    return this.#deliveries.close(tx, flight, 1, [delivery], on) ? 'ended' : 'written'
  }

  #accept(tx: Transaction, { fence, delivery, record }: Settlement, flight: Flight, on: Occasion): void {
    const { id, attempts, tries, uncounted, uncertain, crashes, settledAt = on.now } = delivery
    this.#journal.accept(flight.ticket, {
      id,
      fence,
      now: on.now,
      outcome: on.keepOutcomes ? 1 : 0,
      keyed: flight.key === null ? 0 : 1,
      size: flight.size,
      became: { attempts, tries, uncounted, uncertain, crashes, settledAt },
      record: JSON.stringify(record),
      ticket: this.#fresh.get(id) ? flight.ticket : undefined,
    })
    this.recent.land(id)
    const { ledger } = tx
    ledger.claimed--
    ledger.accepted++
    ledger.open_messages--
    ledger.open_bytes -= flight.size
  }

  /** Its recipient was erased meanwhile, or the claim does not stand. */
  #settleErased(tx: Transaction, settlement: Settlement, flight: Flight, on: Occasion): Became {
    const { fence, delivery, record } = settlement
    const row = this.#sql.one.get(delivery.id) as JoinedRow | undefined
    if (row?.state !== 1 || row.claim !== fence) return 'stale'
    const before = toDelivery(row, row.ticket)
    const last = record ?? before.last
    this.recent.land(delivery.id)
    const next = { ...delivery, address: before.address, ...(last && { last }) }
    return this.#deliveries.blank(tx, before, next, flight.message, on) ? 'ended' : 'written'
  }
}

function flightOf({ id, message: { size, key, id: ticket } }: FreshMail): Flight {
  return { message: id, recipients: 1, size, key: key ?? null, ticket, tried: false }
}

/** The only recipient of its message, accepted at the first try that left a record: what the journal is for. */
function isUsual(flight: Flight, { fence, delivery, record }: Settlement): boolean {
  const { claim } = flight
  return (
    delivery.state === 'accepted' &&
    record !== undefined &&
    flight.recipients === 1 &&
    !flight.tried &&
    claim?.fence === fence &&
    delivery.lane === claim.delivery.lane &&
    delivery.dueAt === claim.delivery.dueAt &&
    delivery.expiresAt === claim.delivery.expiresAt &&
    delivery.reason === undefined
  )
}
