// What is asked of the file without changing it. Long answers come in pages that each take a few ms at most,
// with a turn of the event loop between them.

import type { Clock } from '../../clock.ts'
import type { AttemptRecord } from '../../core/delivery.ts'
import type { Message, Priority } from '../../core/message.ts'
import type { Claim, Counts, ListFilter, QueueHead, Stored, StoredLane } from '../store.ts'
import type { SqliteConnection, SqliteStatement, SqlValue } from './driver.ts'
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
  readonly #message: SqliteStatement
  readonly #deliveries: SqliteStatement
  readonly #prepared = new Map<string, SqliteStatement>()

  constructor(db: SqliteConnection, clock: Clock) {
    this.#db = db
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

  /** The message and the id by which rows refer to it. */
  find(ticket: string): { readonly id: number; readonly stored: Stored } | undefined {
    const row = this.#message.get(ticket) as MessageRow | undefined
    return row && { id: row.m_id, stored: this.#stored(row) }
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
    return (row as { bytes: Uint8Array } | undefined)?.bytes
  }

  history(delivery: number): AttemptRecord[] {
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
    const index = 'FROM delivery d INDEXED BY delivery_waiting WHERE d.state = 0'
    const place = '(d.lane, d.sender, d.priority, d.due_at, d.id)'
    const border = this.#sql(
      `SELECT d.lane, d.sender, d.priority, d.due_at, d.id ${index} AND ${place} > (?, ?, ?, ?, ?)
       ORDER BY d.lane, d.sender, d.priority, d.due_at, d.id LIMIT 1 OFFSET ${WALK - 1}`,
    )
    const grouped = 'SELECT d.lane, d.sender, d.priority, min(d.due_at) AS dueAt, count(*) AS waiting'
    const upTo = this.#sql(
      `${grouped} ${index} AND ${place} > (?, ?, ?, ?, ?) AND ${place} <= (?, ?, ?, ?, ?)
       GROUP BY d.lane, d.sender, d.priority`,
    )
    const rest = this.#sql(
      `${grouped} ${index} AND ${place} > (?, ?, ?, ?, ?) GROUP BY d.lane, d.sender, d.priority`,
    )

    let from: SqlValue[] = ['', '', -1, 0, 0]
    let partial: QueueHead | undefined
    for (;;) {
      const end = border.get(...from) as Position | undefined
      const to = end && [end.lane, end.sender, end.priority, end.due_at, end.id]
      const page = (to ? upTo.all(...from, ...to) : rest.all(...from)) as QueueHead[]
      const [first] = page
      if (partial && first && sameQueue(partial, first))
        page[0] = { ...partial, waiting: partial.waiting + first.waiting }
      else if (partial) page.unshift(partial)
      // the last queue may go on beyond the border
      partial = to && page.pop()
      if (page.length > 0) yield page.map((head) => ({ ...head }))
      if (!to) return
      from = to
      await this.#pause()
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
    ).all(limit) as { ticket: string }[]
    return rows.map(({ ticket }) => ticket)
  }
}

function sameQueue(a: QueueHead, b: QueueHead): boolean {
  return a.lane === b.lane && a.sender === b.sender && a.priority === b.priority
}
