// What a turn usually does is said in one small row rather than in the five tables it changes: claims, acceptances
// at the first try, acknowledgements, lanes. Counts are in the ledger at once; the tables follow with the fold
// (fold.ts), many turns at a time. This file writes the rows, and keeps in memory what they say: the process that
// made them reads it from here, all others fold first.

import type { Delivery } from '../../core/delivery.ts'
import { FleetingMap } from '../../core/fleeting.ts'
import type { StoredLane } from '../store.ts'
import type { Transaction } from './commits.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'
import { type Acceptance, type Became, Fold, type JournalRow, type Reach } from './fold.ts'
import type { Fresh, FreshMail } from './fresh.ts'

/** What the tables do not say yet of a delivery. */
export interface Pending {
  /** Of its claim. */
  readonly fence: number
  readonly queue: string | undefined
  /** Once it was accepted. */
  accepted?: Acceptance
}

/** Claims and acceptances after which the journal is folded: 2 to 4 ms; more at a time would be no cheaper. */
export const FOLD_AT = 128

export class Journal {
  readonly #fresh: Fresh
  readonly #insert: SqliteStatement
  readonly #any: SqliteStatement
  readonly #ticket: SqliteStatement
  readonly #fold: Fold
  readonly #pending = new FleetingMap<number, Pending>()
  /** Of accepted ones, by ticket. */
  readonly #accepted = new FleetingMap<string, number>()
  readonly #perQueue = new FleetingMap<string, number>()
  /** Rows as they were written, so that the fold need not read them again. */
  readonly #written = new FleetingMap<string, JournalRow>()
  /** Fresh mail that the tables have since; for who reads what others wrote. */
  #moved: ReadonlySet<number> = new Set()
  /** Of claims and acceptances, and of rows, what was folded and had to be said again. */
  #said = { pending: 0, rows: 0 }
  /** The row that this transaction will write. */
  #draft = blank()
  #drafted = 0
  /** Lanes that were written and not folded. */
  #lanes = 0
  /** Whether what is remembered here is what the file has; `read`: it was read from there, for answers. */
  #known: 'no' | 'read' | 'written' = 'no'

  constructor(db: SqliteConnection, fresh: Fresh) {
    this.#fresh = fresh
    this.#insert = db.prepare('INSERT INTO turns (body) VALUES (?)')
    this.#any = db.prepare('SELECT 1 AS yes FROM turns LIMIT 1')
    this.#ticket = db.prepare('SELECT ticket FROM message WHERE id = ?')
    this.#fold = new Fold(db, fresh)
  }

  /** Whether everything in it was written here, so that turns may go on from what is remembered; otherwise they fold first. */
  get own(): boolean {
    return this.#known === 'written'
  }

  /** Claims and acceptances, or rows or lanes if there are more of them. */
  get size(): number {
    return Math.max(this.#pending.size - this.#said.pending, this.rows >> 1, this.#lanes >> 1)
  }

  /** Written and not folded. */
  get rows(): number {
    return this.#written.size - this.#said.rows
  }

  /** Whether the file has rows. */
  any(): boolean {
    return this.#any.get() !== undefined || this.#fresh.any()
  }

  pending(delivery: number): Pending | undefined {
    return this.#pending.get(delivery)
  }

  /** How many waiting rows of a queue are no longer waiting. */
  pendingOf(queue: string): number {
    return this.#perQueue.get(queue) ?? 0
  }

  /** Of what no table has. */
  fresh(ticket: string): FreshMail | undefined {
    return this.own ? this.#fresh.named(ticket) : this.#fresh.find(ticket, this.#moved)
  }

  acceptedTicket(ticket: string): boolean {
    return this.#accepted.has(ticket)
  }

  /** The delivery as it is, of what the tables say. */
  overlay(delivery: Delivery): Delivery {
    const pending = this.#pending.get(delivery.id)
    if (!pending) return delivery
    const { accepted } = pending
    if (!accepted) return delivery.state === 'waiting' ? { ...delivery, state: 'claimed' } : delivery
    return { ...delivery, state: 'accepted', ...accepted.became, last: JSON.parse(accepted.record) }
  }

  /** When the message of a single accepted delivery ended. */
  endedAt(delivery: number): number | undefined {
    return this.#pending.get(delivery)?.accepted?.now
  }

  /** The record of an acceptance. */
  record(delivery: number): string | undefined {
    return this.#pending.get(delivery)?.accepted?.record
  }

  /** How many messages ended here: of the outcomes that the tables name, at most so many are acknowledged in the journal. */
  get ended(): number {
    return this.#accepted.size
  }

  /** Tickets that wait to be acknowledged, in the order in which they ended; `known` are those the tables name. */
  outcomes(known: readonly string[], limit: number): string[] {
    const unacknowledged = (ticket: string) => {
      const id = this.#accepted.get(ticket)
      return id === undefined || this.#pending.get(id)?.accepted?.outcome === 1
    }
    const found = known.filter(unacknowledged).slice(0, limit)
    const named = new Set(known)
    for (const ticket of this.#accepted.keys()) {
      if (found.length >= limit) break
      if (!named.has(ticket) && unacknowledged(ticket)) found.push(ticket)
    }
    return found
  }

  /** @param queue in which the tables say that it waits; `undefined` for fresh mail */
  claim(delivery: number, fence: number, queue: string | undefined): void {
    this.#pending.set(delivery, { fence, queue })
    if (queue !== undefined) this.#perQueue.set(queue, this.pendingOf(queue) + 1)
    this.#draft.claims.push([delivery, fence])
    this.#drafted++
  }

  /** Of a claim that stands, in the journal or in the tables. */
  accept(ticket: string, accepted: Acceptance): void {
    const { id, fence } = accepted
    const pending = this.#pending.get(id) ?? { fence, queue: undefined }
    pending.accepted = accepted
    this.#pending.set(id, pending)
    this.#accepted.set(ticket, id)
    this.#draft.accepted.push(accepted)
    this.#drafted++
    if (accepted.ticket !== undefined) this.#fresh.ended(id)
  }

  /** Fresh mail that this transaction puts into the tables. */
  moved(mail: FreshMail): void {
    this.#pending.delete(mail.id)
    this.#fresh.ended(mail.id) // its row has bytes that the tables may wipe
    this.#fresh.gone(mail)
    this.#draft.moved.push(mail.id)
    this.#drafted++
  }

  /** What is settled in the tables after all: its claim is not to be made again. */
  withdraw(delivery: number): void {
    const pending = this.#pending.get(delivery)
    if (!pending) return
    this.#pending.delete(delivery)
    const { queue } = pending
    if (queue !== undefined) this.#perQueue.set(queue, this.pendingOf(queue) - 1)
    this.#draft.withdrawn.push(delivery)
    this.#drafted++
  }

  /** False when it is not for the journal. */
  acknowledge(ticket: string): boolean {
    const id = this.#accepted.get(ticket)
    const accepted = id === undefined ? undefined : this.#pending.get(id)?.accepted
    if (id === undefined || !accepted) return false
    if (accepted.outcome === 1) {
      accepted.outcome = 0
      this.#draft.acknowledged.push(id)
      this.#drafted++
    }
    return true
  }

  lanes(lanes: readonly StoredLane[]): void {
    for (const { key, state } of lanes) this.#draft.lanes.push([key, state ?? null])
    this.#drafted += lanes.length
    this.#lanes += lanes.length
  }

  /** Writes what was said since the last time. */
  write(tx: Transaction): void {
    if (this.#drafted === 0) return
    const row = this.#draft
    const body = rowText(row)
    this.#insert.run(body)
    this.#written.set(body, row)
    this.#draft = blank()
    this.#drafted = 0
    tx.pages += 2
  }

  /** Makes what is remembered complete, by what others wrote: enough to answer, without a lock. */
  learn(): void {
    if (this.#known !== 'no') return
    this.#clear()
    const { accepted, claims, moved } = this.#fold.read()
    for (const [id, fence] of claims) this.#pending.set(id, { fence, queue: undefined })
    for (const one of accepted) {
      this.#pending.set(one.id, { fence: one.fence, queue: undefined, accepted: one })
      const ticket = one.ticket ?? (this.#ticket.get(one.id) as { ticket: string } | undefined)?.ticket
      if (ticket !== undefined) this.#accepted.set(ticket, one.id)
    }
    this.#moved = moved
    this.#known = 'read'
  }

  /** Brings the tables up to date, whoever wrote the journal; of fresh mail that waits, as much as is asked for. */
  fold(tx: Transaction, reach: Reach = { most: 0 }): void {
    const { moved, claims } = this.#fold.run(tx, reach, (body) => this.#written.get(body))
    this.#clear()
    for (const [id, fence] of claims) this.#pending.set(id, { fence, queue: undefined })
    this.#draft.moved.push(...moved)
    this.#draft.claims.push(...claims)
    this.#drafted += moved.length + claims.length
    this.write(tx)
    this.#said = { pending: this.#pending.size, rows: this.#written.size }
    if (this.#fresh.known) this.#known = 'written'
    else this.forget()
  }

  /** What is remembered may not be what is in the file. */
  forget(): void {
    this.#clear()
    this.#draft = blank()
    this.#drafted = 0
    this.#known = 'no'
    this.#fresh.forget()
  }

  #clear(): void {
    this.#pending.clear()
    this.#accepted.clear()
    this.#perQueue.clear()
    this.#written.clear()
    this.#said = { pending: 0, rows: 0 }
    this.#lanes = 0
  }
}

function blank(): JournalRow {
  return { accepted: [], withdrawn: [], moved: [], claims: [], acknowledged: [], lanes: [] }
}

function becameText(b: Became): string {
  return `[${b.attempts},${b.tries},${b.uncounted},${b.uncertain},${b.crashes},${b.settledAt}]`
}

/** JSON, by hand where a record is JSON already. */
function rowText({ accepted, withdrawn, moved, claims, acknowledged, lanes }: JournalRow): string {
  const parts: string[] = []
  if (accepted.length > 0)
    parts.push(
      `"s":[${accepted
        .map(
          (a) =>
            `[${a.id},${a.fence},${a.now},${a.outcome},${a.keyed},${a.size},${becameText(a.became)},${a.record}${a.ticket === undefined ? '' : `,${JSON.stringify(a.ticket)}`}]`,
        )
        .join()}]`,
    )
  if (withdrawn.length > 0) parts.push(`"x":[${withdrawn.join()}]`)
  if (moved.length > 0) parts.push(`"m":[${moved.join()}]`)
  if (claims.length > 0) parts.push(`"c":[${claims.map(([id, fence]) => `[${id},${fence}]`).join()}]`)
  if (acknowledged.length > 0) parts.push(`"a":[${acknowledged.join()}]`)
  if (lanes.length > 0) parts.push(`"l":${JSON.stringify(lanes)}`)
  return `{${parts.join()}}`
}
