// What is asked of the file without changing it. Long answers come in pages that each take a few ms at most,
// with a turn of the event loop between them.

import type { Clock } from '../../clock.ts'
import type { AttemptRecord } from '../../core/delivery.ts'
import type { Message, Priority } from '../../core/message.ts'
import type { Claim, Counts, ListFilter, QueueHead, QueueName, Stored, StoredLane } from '../store.ts'
import type { SqliteConnection, SqliteStatement, SqlValue } from './driver.ts'
import type { Fresh } from './fresh.ts'
import type { Journal } from './journal.ts'
import {
  DELIVERY,
  type DeliveryRow,
  type LedgerRow,
  MESSAGE,
  type MessageRow,
  stateCode,
  toDelivery,
  toMessage,
} from './rows.ts'

/** Index rows that one page of heads walks: about 5 ms. */
const WALK = 4_000
const LANES = 2_000
/** Messages that one step of a listing looks at, and what it may find by index before it goes by steps. */
const STEP = 2_000
const BY_INDEX = 10_000

interface Position {
  readonly lane: string
  readonly sender: string
  readonly priority: Priority
  readonly due_at: number
  readonly id: number
}

export class Reads {
  readonly #db: SqliteConnection
  readonly #clock: Clock
  readonly #journal: Journal
  readonly #fresh: Fresh
  readonly #message: SqliteStatement
  readonly #deliveries: SqliteStatement
  readonly #prepared = new Map<string, SqliteStatement>()

  constructor(db: SqliteConnection, clock: Clock, journal: Journal, fresh: Fresh) {
    this.#db = db
    this.#journal = journal
    this.#fresh = fresh
    this.#clock = clock
    this.#message = db.prepare(`SELECT ${MESSAGE} FROM message m WHERE m.ticket = ?`)
    this.#deliveries = db.prepare(
      `SELECT ${DELIVERY} FROM delivery d WHERE d.id BETWEEN ? AND ? ORDER BY d.id`,
    )
  }

  #sql(text: string): SqliteStatement {
    let statement = this.#prepared.get(text)
    if (!statement) {
      statement = this.#db.prepare(text)
      this.#prepared.set(text, statement)
    }
    return statement
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#clock.turn(resolve))
  }

  /** The message and the id by which rows refer to it; with what the journal says of it. */
  find(ticket: string): { readonly id: number; readonly stored: Stored } | undefined {
    const row = this.#message.get(ticket) as MessageRow | undefined
    if (!row) return this.#findFresh(ticket)
    const stored = this.#stored(row)
    const settledAt = stored.settledAt ?? (row.recipients === 1 ? this.#journal.endedAt(row.m_id) : undefined)
    const deliveries = stored.deliveries.map((delivery) => this.#journal.overlay(delivery))
    return { id: row.m_id, stored: { ...stored, deliveries, ...(settledAt !== undefined && { settledAt }) } }
  }

  #findFresh(ticket: string): { readonly id: number; readonly stored: Stored } | undefined {
    const fresh = this.#journal.fresh(ticket)
    if (!fresh) return undefined
    const { id, message, delivery } = fresh
    const settledAt = this.#journal.endedAt(id)
    const deliveries = [this.#journal.overlay(delivery)]
    return { id, stored: { message, deliveries, ...(settledAt !== undefined && { settledAt }) } }
  }

  #stored(row: MessageRow): Stored {
    const rows = this.#deliveries.all(row.m_id, row.m_id + row.recipients - 1) as DeliveryRow[]
    const deliveries = rows.map((delivery) => toDelivery(delivery, row.ticket))
    return {
      message: toMessage(row),
      deliveries,
      ...(row.m_settled_at !== null && { settledAt: row.m_settled_at }),
    }
  }

  ticketOf(key: string): string | undefined {
    const row = this.#sql('SELECT ticket FROM message_key WHERE key = ?').get(key) as
      | { ticket: string }
      | undefined
    return row?.ticket
  }

  bytes(ticket: string): Uint8Array | undefined {
    const row = this.#sql('SELECT bytes FROM body WHERE id = (SELECT id FROM message WHERE ticket = ?)').get(
      ticket,
    )
    if (row) return (row as { bytes: Uint8Array }).bytes
    const fresh = this.#journal.fresh(ticket)
    return fresh && this.#fresh.bytesIfThere(fresh)
  }

  history(delivery: number): AttemptRecord[] {
    const first = this.#journal.record(delivery)
    if (first !== undefined) return [JSON.parse(first) as AttemptRecord] // it had none before
    const earlier = this.#sql('SELECT record FROM attempt WHERE delivery = ? ORDER BY n').all(delivery)
    const last = this.#sql('SELECT last AS record FROM delivery WHERE id = ? AND last IS NOT NULL').all(
      delivery,
    )
    return ([...earlier, ...last] as { record: string }[]).map(
      ({ record }) => JSON.parse(record) as AttemptRecord,
    )
  }

  counts(): Counts {
    const { waiting, claimed, parked, accepted, failed, open_messages, open_bytes } = this.#sql(
      'SELECT * FROM ledger',
    ).get() as LedgerRow
    return { waiting, claimed, parked, accepted, failed, openMessages: open_messages, openBytes: open_bytes }
  }

  openClaims(): Claim[] {
    const rows = this.#sql(
      `SELECT ${DELIVERY}, ${MESSAGE} FROM delivery d INDEXED BY delivery_claimed
       CROSS JOIN message m ON m.id = d.message WHERE d.state = 1 ORDER BY d.claim, d.id`,
    ).all() as (DeliveryRow & MessageRow)[]
    const claims = new Map<
      number,
      { fence: number; message: Message; deliveries: Claim['deliveries'][number][] }
    >()
    for (const row of rows) {
      const claim = claims.get(row.claim) ?? { fence: row.claim, message: toMessage(row), deliveries: [] }
      claim.deliveries.push(toDelivery(row, row.ticket))
      claims.set(row.claim, claim)
    }
    return [...claims.values()]
  }

  /** A walk along the index of what waits; a queue longer than a page is summed up over several. */
  async *heads(): AsyncIterable<readonly QueueHead[]> {
    const walk = this.#walk()
    let at: Position | undefined
    let open: QueueHead | undefined
    for (;;) {
      const step = walk(at)
      const page = [...(open ? [open] : []), ...step.heads].reduce<QueueHead[]>(joinQueues, [])
      // the last queue may go on
      open = step.end && page.pop()
      if (page.length > 0) yield page
      if (!step.end) return
      at = step.end
      await this.#pause()
    }
  }

  /**
   * One page of the walk. Rows that are equal but for their id are gone through by id: as one range over all
   * five columns SQLite would look at each of them again for every page (a million due at the same moment).
   */
  #walk(): (at: Position | undefined) => { readonly heads: QueueHead[]; readonly end: Position | undefined } {
    const index = 'FROM delivery d INDEXED BY delivery_waiting WHERE d.state = 0'
    const place = '(d.lane, d.sender, d.priority, d.due_at)'
    const alike = `${index} AND d.lane = ? AND d.sender = ? AND d.priority = ? AND d.due_at = ?`
    const group = 'GROUP BY d.lane, d.sender, d.priority'
    const row = 'SELECT d.lane, d.sender, d.priority, d.due_at, d.id'
    const heads = 'SELECT d.lane, d.sender, d.priority, min(d.due_at) AS dueAt, count(*) AS waiting'
    const page = `LIMIT 1 OFFSET ${WALK - 1}`
    const alikeEnd = this.#sql(`${row} ${alike} AND d.id > ? ORDER BY d.id ${page}`)
    const alikeAfter = this.#sql(`${heads} ${alike} AND d.id > ? ${group}`)
    const alikeUpTo = this.#sql(`${heads} ${alike} AND d.id <= ? ${group}`)
    const order = 'ORDER BY d.lane, d.sender, d.priority, d.due_at, d.id'
    const border = this.#sql(`${row} ${index} AND ${place} > (?, ?, ?, ?) ${order} ${page}`)
    const between = this.#sql(
      `${heads} ${index} AND ${place} > (?, ?, ?, ?) AND ${place} < (?, ?, ?, ?) ${group}`,
    )
    const after = this.#sql(`${heads} ${index} AND ${place} > (?, ?, ?, ?) ${group}`)

    return (at) => {
      const from: SqlValue[] = at ? [at.lane, at.sender, at.priority, at.due_at] : ['', '', -1, 0]
      const found: QueueHead[] = []
      if (at) {
        const end = alikeEnd.get(...from, at.id) as Position | undefined
        if (end) return { heads: [{ ...queueOf(end), dueAt: end.due_at, waiting: WALK }], end }
        found.push(...(alikeAfter.all(...from, at.id) as QueueHead[]))
      }
      const end = border.get(...from) as Position | undefined
      if (!end) return { heads: [...found, ...(after.all(...from) as QueueHead[])], end }
      const to = [end.lane, end.sender, end.priority, end.due_at]
      found.push(
        ...(between.all(...from, ...to) as QueueHead[]),
        ...(alikeUpTo.all(...to, end.id) as QueueHead[]),
      )
      return { heads: found, end }
    }
  }

  async *lanes(): AsyncIterable<readonly StoredLane[]> {
    const page = this.#sql(`SELECT key, state FROM lane WHERE key > ? ORDER BY key LIMIT ${LANES}`)
    for (let from: string | undefined = ''; from !== undefined; ) {
      const lanes = page.all(from) as { key: string; state: string }[]
      if (lanes.length > 0) yield lanes.map(({ key, state }) => ({ key, state }))
      from = lanes.length === LANES ? lanes.at(-1)?.key : undefined
      if (from !== undefined) await this.#pause()
    }
  }

  async list(filter: ListFilter): Promise<Stored[]> {
    const { state, settledSince, limit } = filter
    const conditions: string[] = []
    const values: SqlValue[] = []
    if (settledSince !== undefined) {
      conditions.push('m.settled_at >= ?')
      values.push(settledSince)
    }
    if (state === 'claimed' || state === 'parked')
      conditions.push(`m.id IN (SELECT message FROM delivery WHERE state = ${stateCode[state]})`)
    else if (state !== undefined)
      conditions.push(
        `EXISTS (SELECT 1 FROM delivery d
           WHERE d.id BETWEEN m.id AND m.id + m.recipients - 1 AND +d.state = ${stateCode[state]})`,
      )
    const where = conditions.map((condition) => `AND ${condition}`).join(' ')
    const after = filter.after ?? ''
    if (settledSince !== undefined && this.#settledSince(settledSince) < BY_INDEX) {
      const byIndex = this.#sql(
        `SELECT ${MESSAGE} FROM message m WHERE m.failed IN (0, 1) AND m.settled_at IS NOT NULL AND +m.ticket > ? ${where}
         ORDER BY +m.ticket LIMIT ?`,
      )
      return (byIndex.all(after, ...values, limit) as MessageRow[]).map((row) => this.#stored(row))
    }
    const border = this.#sql(
      `SELECT ticket FROM message WHERE ticket > ? ORDER BY ticket LIMIT 1 OFFSET ${STEP - 1}`,
    )
    const step = this.#sql(
      `SELECT ${MESSAGE} FROM message m WHERE m.ticket > ? AND m.ticket <= ? ${where} ORDER BY m.ticket LIMIT ?`,
    )
    const found: Stored[] = []
    for (let from = after; ; await this.#pause()) {
      const end = border.get(from) as { ticket: string } | undefined
      const rows = step.all(
        from,
        end?.ticket ?? '\u{10ffff}',
        ...values,
        limit - found.length,
      ) as MessageRow[]
      found.push(...rows.map((row) => this.#stored(row)))
      if (!end || found.length >= limit) return found
      from = end.ticket
    }
  }

  /** How many messages settled since then, counted no further than it matters. */
  #settledSince(since: number): number {
    const row = this.#sql(
      `SELECT count(*) AS n FROM (SELECT 1 FROM message
       WHERE failed IN (0, 1) AND settled_at IS NOT NULL AND settled_at >= ? LIMIT ${BY_INDEX})`,
    ).get(since) as { n: number }
    return row.n
  }

  outcomes(limit: number): string[] {
    const rows = this.#sql(
      'SELECT ticket FROM message INDEXED BY message_outcome WHERE outcome = 1 ORDER BY settled_at, id LIMIT ?',
    ).all(limit + this.#journal.ended) as { ticket: string }[]
    return this.#journal.outcomes(
      rows.map(({ ticket }) => ticket),
      limit,
    )
  }
}

function queueOf({ lane, sender, priority }: QueueName): QueueName {
  return { lane, sender, priority }
}

/** Sums up what is of the same queue and follows each other; due are they in order. */
function joinQueues(heads: QueueHead[], next: QueueHead): QueueHead[] {
  const last = heads.at(-1)
  if (last && last.lane === next.lane && last.sender === next.sender && last.priority === next.priority)
    heads[heads.length - 1] = { ...last, waiting: last.waiting + next.waiting }
  else heads.push({ ...queueOf(next), dueAt: next.dueAt, waiting: next.waiting })
  return heads
}
