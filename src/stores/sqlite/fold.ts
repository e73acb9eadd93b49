// Brings the tables up to what the journal says, in one transaction: a pure function of what is in the file, so
// that any process may do it, after any kill. What was claimed and accepted in one fold never touches the index of
// claims, and the rows of many turns share their pages: that is what the journal is for.

import type { Delivery } from '../../core/delivery.ts'
import type { Transaction } from './commits.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'

/** What an acceptance changes in a delivery. */
export type Became = Pick<
  Delivery,
  'attempts' | 'tries' | 'uncounted' | 'uncertain' | 'crashes' | 'settledAt'
>

/** A delivery that was its message's only recipient and was accepted, as the journal tells it. */
export interface Acceptance {
  readonly id: number
  readonly fence: number
  /** When its message ended. */
  readonly now: number
  /** 1: kept for `outcomes()`, and not acknowledged so far. */
  outcome: number
  /** 1: its message has a key. */
  readonly keyed: number
  readonly size: number
  readonly became: Became
  /** JSON. */
  readonly record: string
}

/** One row of the journal, in the order in which its parts happened; ids are of deliveries. */
export interface JournalRow {
  readonly accepted: Acceptance[]
  /** Settled in the tables by this very transaction: a claim before it is none. */
  readonly withdrawn: number[]
  /** Id and fence. */
  readonly claims: [number, number][]
  readonly acknowledged: number[]
  /** Key and state. */
  readonly lanes: [string, string | null][]
}

/** As it is in the file: all but its record, which is JSON already, and that. */
type AcceptanceJson = [...numbers: [number, number, number, number, number, number], Became, object]

/** A row as it is in the file. */
interface RowJson {
  readonly s?: readonly AcceptanceJson[]
  readonly x?: number[]
  readonly c?: [number, number][]
  readonly a?: number[]
  readonly l?: [string, string | null][]
}

export class Fold {
  readonly #rows: SqliteStatement
  readonly #wipe: SqliteStatement
  readonly #accept: SqliteStatement
  readonly #end: SqliteStatement
  readonly #endKey: SqliteStatement
  readonly #claim: SqliteStatement
  readonly #acknowledge: SqliteStatement
  readonly #saveLane: SqliteStatement
  readonly #dropLane: SqliteStatement
  readonly #empty: SqliteStatement

  constructor(db: SqliteConnection) {
    this.#rows = db.prepare('SELECT body FROM journal ORDER BY id')
    this.#wipe = db.prepare('DELETE FROM body WHERE id = ?')
    this.#accept = db.prepare(
      `UPDATE delivery SET state = 3, claim = 0, sweep_at = NULL, attempts = ?, tries = ?, uncounted = ?, uncertain = ?,
         crashes = ?, settled_at = ?, last = ?
       WHERE id = ? AND erase = 0 AND (state = 0 OR state = 1 AND claim = ?)`,
    )
    this.#end = db.prepare('UPDATE message SET open = 0, settled_at = ?, outcome = ? WHERE id = ?')
    this.#endKey = db.prepare(
      'UPDATE message_key SET ended_at = ? WHERE (key, ticket) = (SELECT key, ticket FROM message WHERE id = ?)',
    )
    this.#claim = db.prepare('UPDATE delivery SET state = 1, claim = ? WHERE id = ? AND state = 0')
    this.#acknowledge = db.prepare('UPDATE message SET outcome = 0 WHERE id = ? AND outcome = 1')
    this.#saveLane = db.prepare(
      'INSERT INTO lane (key, state) VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state',
    )
    this.#dropLane = db.prepare('DELETE FROM lane WHERE key = ?')
    this.#empty = db.prepare('DELETE FROM journal')
  }

  /** What the journal says, in the order in which it happened. */
  read(): Pick<Sum, 'accepted' | 'claims'> {
    const rows = this.#rows.all() as { body: string }[]
    const { accepted, claims, acknowledged } = sumUp(rows.map(({ body }) => parseRow(body)))
    for (const one of accepted) if (acknowledged.has(one.id)) one.outcome = 0
    return { accepted, claims }
  }

  /** `remembered` saves the parsing of rows that the caller made itself. */
  run(tx: Transaction, remembered: (body: string) => JournalRow | undefined = () => undefined): void {
    const rows = this.#rows.all() as { body: string }[]
    if (rows.length === 0) return
    const { accepted, claims, acknowledged, lanes } = sumUp(
      rows.map(({ body }) => remembered(body) ?? parseRow(body)),
    )
    // neighbours share pages
    accepted.sort((a, b) => a.id - b.id)
    // bodies first: what they free is room for what follows
    for (const { id } of accepted) this.#wipe.run(id)
    for (const one of accepted) this.#write(tx, one, acknowledged.has(one.id) ? 0 : one.outcome)
    for (const id of acknowledged) this.#acknowledge.run(id)
    for (const [id, fence] of claims) {
      if (this.#claim.run(fence, id).changes === 1) continue
      tx.ledger.claimed-- // as below
      tx.ledger.waiting++
    }
    for (const [key, state] of lanes) {
      if (state === null) this.#dropLane.run(key)
      else this.#saveLane.run(key, state)
    }
    this.#empty.run()
    tx.pages += 4 * accepted.length + claims.size + lanes.size + rows.length
  }

  #write(tx: Transaction, one: Acceptance, outcome: number): void {
    const { id, fence, now, became } = one
    const { changes } = this.#accept.run(
      became.attempts,
      became.tries,
      became.uncounted,
      became.uncertain,
      became.crashes,
      became.settledAt ?? now,
      one.record,
      id,
      fence,
    )
    if (changes === 1) {
      this.#end.run(now, outcome, id)
      if (one.keyed === 1) this.#endKey.run(now, id)
      return
    }
    // Only a process of an older version, which knows no journal, can have ended it in the tables meanwhile.
    // Then that stands, and the ledger counts it once.
    tx.ledger.accepted--
    tx.ledger.waiting++
    tx.ledger.open_messages++
    tx.ledger.open_bytes += one.size
  }
}

interface Sum {
  /** In the order in which they happened. */
  readonly accepted: Acceptance[]
  /** Those that stand. */
  readonly claims: ReadonlyMap<number, number>
  readonly acknowledged: ReadonlySet<number>
  readonly lanes: ReadonlyMap<string, string | null>
}

function sumUp(rows: readonly JournalRow[]): Sum {
  const accepted: Acceptance[] = []
  const claims = new Map<number, number>()
  const acknowledged = new Set<number>()
  const lanes = new Map<string, string | null>()
  for (const row of rows) {
    for (const one of row.accepted) {
      accepted.push(one)
      claims.delete(one.id)
    }
    for (const id of row.withdrawn) claims.delete(id)
    for (const [id, fence] of row.claims) claims.set(id, fence)
    for (const id of row.acknowledged) acknowledged.add(id)
    for (const [key, state] of row.lanes) lanes.set(key, state)
  }
  return { accepted, claims, acknowledged, lanes }
}

function parseRow(body: string): JournalRow {
  const { s = [], x = [], c = [], a = [], l = [] } = JSON.parse(body) as RowJson
  return {
    accepted: s.map(([id, fence, now, outcome, keyed, size, became, record]) => ({
      id,
      fence,
      now,
      outcome,
      keyed,
      size,
      became,
      record: JSON.stringify(record),
    })),
    withdrawn: x,
    claims: c,
    acknowledged: a,
    lanes: l,
  }
}
