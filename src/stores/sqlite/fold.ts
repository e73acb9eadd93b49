// Brings the tables up to what the journal says, in one transaction: a pure function of what is in the file, so
// that any process may do it, after any kill. What was claimed and accepted in one fold never touches the index of
// claims, and the rows of many turns share their pages: that is what the journal is for. Fresh mail (fresh.ts) comes
// to the tables when it has ended, and as much of the rest as is asked for.

import type { Transaction } from './commits.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'
import type { Fresh, FreshMail } from './fresh.ts'
import { Inserts, type Tried } from './inserts.ts'

/** What an acceptance changes in a delivery. */
export interface Became extends Tried {
  readonly settledAt: number
}

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
  /** Of fresh mail, which no table knows. */
  readonly ticket: string | undefined
}

/** One row of the journal, in the order in which its parts happened; ids are of deliveries. */
export interface JournalRow {
  readonly accepted: Acceptance[]
  /** Settled in the tables by this very transaction: a claim before it is none. */
  readonly withdrawn: number[]
  /** Fresh mail that the tables have since, also of rows that are still there. */
  readonly moved: number[]
  /** Id and fence. */
  readonly claims: [number, number][]
  readonly acknowledged: number[]
  /** Key and state. */
  readonly lanes: [string, string | null][]
}

/** As it is in the file: all but its record, which is JSON already, and that. */
type AcceptanceJson = [
  ...numbers: [number, number, number, number, number, number],
  BecameJson | Became,
  object,
  ticket?: string,
]

/** Version 2 wrote it as an object. */
type BecameJson = [
  ...tried: [attempts: number, tries: number, uncounted: number, uncertain: number, crashes: number],
  settledAt: number,
]

/** A row as it is in the file. */
interface RowJson {
  readonly s?: readonly AcceptanceJson[]
  readonly x?: number[]
  readonly m?: number[]
  readonly c?: [number, number][]
  readonly a?: number[]
  readonly l?: [string, string | null][]
}

/** How much of a fold somebody wants. */
export interface Reach {
  /** Of the fresh mail that has not ended, so many come to the tables at most. */
  readonly most: number
  /** Whether what is not wanted need not be known afterwards either. */
  readonly hasty?: boolean
}

/** Of what has stayed too long, so many go in one fold: some 6 ms. */
const OVERDUE = 128

export class Fold {
  readonly #fresh: Fresh
  readonly #insert: Inserts
  readonly #rows: SqliteStatement
  readonly #wipe: SqliteStatement
  readonly #accept: SqliteStatement
  readonly #end: SqliteStatement
  readonly #endKey: SqliteStatement
  readonly #endKeyOf: SqliteStatement
  readonly #claim: SqliteStatement
  readonly #acknowledge: SqliteStatement
  readonly #saveLane: SqliteStatement
  readonly #dropLane: SqliteStatement
  readonly #empty: SqliteStatement

  constructor(db: SqliteConnection, fresh: Fresh) {
    this.#fresh = fresh
    this.#insert = new Inserts(db)
    this.#rows = db.prepare('SELECT body FROM turns ORDER BY id')
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
    this.#endKeyOf = db.prepare('UPDATE message_key SET ended_at = ? WHERE key = ? AND ticket = ?')
    this.#claim = db.prepare('UPDATE delivery SET state = 1, claim = ? WHERE id = ? AND state = 0')
    this.#acknowledge = db.prepare('UPDATE message SET outcome = 0 WHERE id = ? AND outcome = 1')
    this.#saveLane = db.prepare(
      'INSERT INTO lane (key, state) VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state',
    )
    this.#dropLane = db.prepare('DELETE FROM lane WHERE key = ?')
    this.#empty = db.prepare('DELETE FROM turns')
  }

  /** What the journal says, in the order in which it happened. */
  read(): Pick<Sum, 'accepted' | 'claims' | 'moved'> {
    const rows = this.#rows.all() as { body: string }[]
    const { accepted, claims, moved, acknowledged } = sumUp(rows.map(({ body }) => parseRow(body)))
    for (const one of accepted) if (acknowledged.has(one.id)) one.outcome = 0
    return { accepted, claims, moved }
  }

  /**
   * What has to be said again, since it is of fresh mail that stays so; nothing must stand in the journal but that.
   * `remembered` saves the parsing of rows that the caller made itself.
   */
  run(
    tx: Transaction,
    { most, hasty = false }: Reach,
    remembered: (body: string) => JournalRow | undefined = () => undefined,
  ): Pick<JournalRow, 'moved' | 'claims'> {
    const fresh = this.#fresh
    fresh.write()
    const rows = this.#rows.all() as { body: string }[]
    const sum = sumUp(rows.map(({ body }) => remembered(body) ?? parseRow(body)))
    const { accepted, claims, acknowledged, lanes, moved } = sum
    const { known } = fresh
    if (!known)
      fresh.load(
        moved,
        hasty ? { ids: [...accepted.map(({ id }) => id), ...claims.keys()], most } : undefined,
      )
    const { count } = fresh
    for (const id of claims.keys()) fresh.take(id)
    for (const one of accepted) if (acknowledged.delete(one.id)) one.outcome = 0
    // neighbours share pages
    accepted.sort((a, b) => a.id - b.id)
    const inTables = this.#freshOnes(tx, sum, most)
    if (!known && fresh.count < count) tx.ledger.changes++ // whoever knew it by heart is told
    // bodies first: what they free is room for what follows
    for (const { id } of inTables) this.#wipe.run(id)
    for (const one of inTables) this.#write(tx, one)
    for (const id of acknowledged) this.#acknowledge.run(id)
    for (const [id, fence] of claims) {
      if (fresh.get(id)) continue
      if (this.#claim.run(fence, id).changes === 1) continue
      tx.ledger.claimed-- // as below
      tx.ledger.waiting++
    }
    for (const [key, state] of lanes) {
      if (state === null) this.#dropLane.run(key)
      else this.#saveLane.run(key, state)
    }
    if (rows.length > 0) this.#empty.run()
    tx.pages += 2 * accepted.length + claims.size + lanes.size + rows.length
    return { moved: [...moved], claims: [...claims].filter(([id]) => fresh.get(id)) }
  }

  /** What has ended, and `most` of the rest or what has stayed too long. The acceptances that are of others. */
  #freshOnes(tx: Transaction, { accepted, moved }: Sum, most: number): Acceptance[] {
    const fresh = this.#fresh
    const go = (mail: FreshMail) => {
      fresh.gone(mail)
      moved.add(mail.id)
    }
    const ended: { readonly one: Acceptance; readonly mail: FreshMail }[] = []
    const inTables: Acceptance[] = []
    for (const one of accepted) {
      const mail = fresh.get(one.id)
      if (!mail) {
        inTables.push(one)
        continue
      }
      ended.push({ one, mail })
      go(mail)
    }
    const others = most > 0 ? fresh.first(most) : fresh.overdue(OVERDUE)
    const bodies = others.map((mail) => fresh.bytes(mail))
    for (const mail of others) go(mail)
    for (const id of fresh.sweepOut(tx)) moved.delete(id)
    for (const { one, mail } of ended) this.#ended(one, mail)
    for (const [at, { id, message, delivery }] of others.entries())
      this.#insert.all(id, { message, bytes: bodies[at] as Uint8Array, deliveries: [delivery] })
    tx.pages += 3 * others.length
    return inTables
  }

  #ended({ now, outcome, became, record }: Acceptance, { id, message, delivery }: FreshMail): void {
    this.#insert.message(id, message, 1, { at: now, outcome })
    this.#insert.accepted(id, delivery, became, became.settledAt, record)
    if (message.key !== undefined) this.#endKeyOf.run(now, message.key, message.id)
  }

  #write(tx: Transaction, one: Acceptance): void {
    const { id, fence, now, outcome, became } = one
    const { changes } = this.#accept.run(
      became.attempts,
      became.tries,
      became.uncounted,
      became.uncertain,
      became.crashes,
      became.settledAt,
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
  /** Fresh mail that the tables have. */
  readonly moved: Set<number>
  readonly acknowledged: Set<number>
  readonly lanes: ReadonlyMap<string, string | null>
}

function sumUp(rows: readonly JournalRow[]): Sum {
  const accepted: Acceptance[] = []
  const claims = new Map<number, number>()
  const moved = new Set<number>()
  const acknowledged = new Set<number>()
  const lanes = new Map<string, string | null>()
  for (const row of rows) {
    for (const one of row.accepted) {
      accepted.push(one)
      claims.delete(one.id)
    }
    for (const id of row.withdrawn) claims.delete(id)
    for (const id of row.moved) {
      claims.delete(id)
      moved.add(id)
    }
    for (const [id, fence] of row.claims) claims.set(id, fence)
    for (const id of row.acknowledged) acknowledged.add(id)
    for (const [key, state] of row.lanes) lanes.set(key, state)
  }
  return { accepted, claims, moved, acknowledged, lanes }
}

function toBecame([attempts, tries, uncounted, uncertain, crashes, settledAt]: BecameJson): Became {
  return { attempts, tries, uncounted, uncertain, crashes, settledAt }
}

function parseRow(body: string): JournalRow {
  const { s = [], x = [], m = [], c = [], a = [], l = [] } = JSON.parse(body) as RowJson
  return {
    accepted: s.map(([id, fence, now, outcome, keyed, size, became, record, ticket]) => ({
      id,
      fence,
      now,
      outcome,
      keyed,
      size,
      became: Array.isArray(became) ? toBecame(became) : became,
      record: JSON.stringify(record),
      ticket,
    })),
    withdrawn: x,
    moved: m,
    claims: c,
    acknowledged: a,
    lanes: l,
  }
}
