// What is taken out of the file again: old messages and keys, and recipients who are to be forgotten.

import type { Clock } from '../../clock.ts'
import { erasable } from '../rules.ts'
import type { Transaction } from './commits.ts'
import type { Deliveries, Occasion } from './deliveries.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'
import { DELIVERY, type DeliveryRow, STATES, toDelivery } from './rows.ts'

/** Rows that one step of an erasure reads: a few ms. */
const STEP = 4_000

export interface PurgeBefore {
  readonly settledBefore: number
  readonly failedBefore: number
  readonly keysBefore: number
}

export class Retention {
  readonly #deliveries: Deliveries
  readonly #clock: Clock
  readonly #old: SqliteStatement
  readonly #states: SqliteStatement
  readonly #forget: readonly SqliteStatement[]
  readonly #forgetKeys: SqliteStatement
  readonly #step: SqliteStatement
  readonly #row: SqliteStatement
  readonly #flag: SqliteStatement
  readonly #openKey: SqliteStatement

  constructor(db: SqliteConnection, deliveries: Deliveries, clock: Clock) {
    this.#deliveries = deliveries
    this.#clock = clock
    this.#old = db.prepare(
      `SELECT id, recipients FROM message INDEXED BY message_settled
       WHERE settled_at IS NOT NULL AND failed = ? AND settled_at < ? AND outcome = 0 LIMIT ?`,
    )
    this.#states = db.prepare(
      'SELECT state, count(*) AS n FROM delivery WHERE id BETWEEN ? AND ? GROUP BY state',
    )
    this.#forget = [
      'DELETE FROM attempt WHERE delivery BETWEEN ? AND ?',
      'DELETE FROM delivery WHERE id BETWEEN ? AND ?',
      'DELETE FROM body WHERE id = ? AND ? IS NOT NULL',
      'DELETE FROM message WHERE id = ? AND ? IS NOT NULL',
    ].map((sql) => db.prepare(sql))
    this.#forgetKeys = db.prepare(
      `DELETE FROM message_key WHERE key IN
         (SELECT key FROM message_key INDEXED BY message_key_ended WHERE ended_at < ? LIMIT ?)`,
    )
    this.#step = db.prepare('SELECT id, address FROM delivery WHERE id > ? ORDER BY id LIMIT ?')
    this.#row = db.prepare(
      `SELECT ${DELIVERY}, m.ticket FROM delivery d CROSS JOIN message m ON m.id = d.message WHERE d.id = ?`,
    )
    this.#flag = db.prepare('UPDATE delivery SET erase = 1 WHERE id = ?')
    this.#openKey = db.prepare(
      'UPDATE message_key SET recipients = NULL WHERE (key, ticket) = (SELECT key, ticket FROM message WHERE id = ?)',
    )
  }

  purge(tx: Transaction, before: PurgeBefore, limit: number): number {
    const { ledger } = tx
    const old = [
      ...this.#old.all(0, before.settledBefore, limit),
      ...this.#old.all(1, before.failedBefore, limit),
    ].slice(0, limit) as { id: number; recipients: number }[]
    for (const { id, recipients } of old) {
      const last = id + recipients - 1
      for (const { state, n } of this.#states.all(id, last) as { state: number; n: number }[])
        ledger[STATES[state] as (typeof STATES)[number]] -= n
      for (const statement of this.#forget) statement.run(id, last)
      tx.pages += 3
    }
    const { changes } = this.#forgetKeys.run(before.keysBefore, limit)
    tx.pages += Number(changes)
    return old.length
  }

  /**
   * Reads every delivery, a few ms at a time: there is no index by address, since nothing else asks for one.
   * `change` is how it writes.
   */
  async erase(
    address: string,
    on: Occasion,
    change: <T>(body: (tx: Transaction) => T) => Promise<T>,
  ): Promise<string[]> {
    const wanted = erasable(address)
    const tickets = new Set<string>()
    if (wanted === '') return []
    for (let from = 0; ; ) {
      const rows = this.#step.all(from, STEP) as { id: number; address: string }[]
      const ids = rows.filter((row) => erasable(row.address) === wanted).map(({ id }) => id)
      if (ids.length > 0)
        for (const ticket of await change((tx) => this.#blank(tx, ids, wanted, on))) tickets.add(ticket)
      const last = rows.at(-1)
      if (!last || rows.length < STEP) return [...tickets]
      from = last.id
      await new Promise<void>((resolve) => this.#clock.turn(resolve))
    }
  }

  #blank(tx: Transaction, ids: readonly number[], wanted: string, on: Occasion): string[] {
    return ids.flatMap((id) => {
      const row = this.#row.get(id) as (DeliveryRow & { ticket: string }) | undefined
      if (!row || erasable(row.address) !== wanted) return [] // changed since it was found
      this.#openKey.run(row.message)
      tx.pages += 2
      const delivery = toDelivery(row, row.ticket)
      if (delivery.state === 'claimed') this.#flag.run(id)
      else this.#deliveries.blank(tx, delivery, delivery, row.message, on)
      return [row.ticket]
    })
  }
}
