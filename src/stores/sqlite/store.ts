// The durable store: one SQLite file that survives kills and power cuts, shared by the processes of one machine.
// This file puts the parts together; each promise is kept in a file of its own:
//   file (where, mode 0600)   schema (tables, upgrades)   commits (one transaction per turn)   durable (fsync)
//   deliveries, inserts (add, put, end)   claims (claim, settle)   fresh (new mail)   journal, fold (what turns said)
//   recent, windows, cache (what need not be read)   reads   retention (purge, erase)   upkeep, copier (checkpoints, shrinking)

import { type Clock, systemClock } from '../../clock.ts'
import { type AttemptRecord, deliveryOf } from '../../core/delivery.ts'
import { badOption, SteadymailError } from '../../core/error.ts'
import { isFinal } from '../rules.ts'
import type {
  Added,
  Amendment,
  Claim,
  Counts,
  ListFilter,
  NewMessage,
  Notice,
  QueueHead,
  Room,
  Store,
  Stored,
  StoredLane,
  Turn,
  TurnResult,
} from '../store.ts'
import { BytesCache } from './cache.ts'
import { Claims } from './claims.ts'
import { Commits, type Transaction } from './commits.ts'
import { Copier } from './copier.ts'
import { Deliveries, demandOwner } from './deliveries.ts'
import { findDriver, type SqliteConnection, type SqliteDriver, type SqliteStatement } from './driver.ts'
import { WalSync } from './durable.ts'
import { sqliteCode, storeFailed } from './errors.ts'
import { databasePath, openDatabase, prepareFile } from './file.ts'
import { Folding } from './folding.ts'
import { Fresh } from './fresh.ts'
import { Inserts } from './inserts.ts'
import { Journal } from './journal.ts'
import { Reads } from './reads.ts'
import { type PurgeBefore, Retention } from './retention.ts'
import type { LedgerRow } from './rows.ts'
import { DiskSpace } from './space.ts'
import { deliveryStatements } from './statements.ts'
import { Upkeep } from './upkeep.ts'
import { queueKey } from './windows.ts'

/** How a SQLite store opens its file. */
export interface SqliteOptions {
  /** `Database` of better-sqlite3 or `DatabaseSync` of node:sqlite. @default what this Node has, else better-sqlite3 */
  readonly driver?: SqliteDriver
  /** How long opening and writes wait for another process's lock before they fail, ms; the event loop runs on. @default 5000 */
  readonly lockWaitMs?: number
  /**
   * Bytes that must stay free on the disk: with less, new mail is refused while what waits is still sent.
   * @default 16 MiB
   */
  readonly minFreeBytes?: number
  /** For tests. @default the machine's */
  readonly clock?: Clock
}

/** Two processes read the clock at different moments. */
const CLOCKS_APART_MS = 1_000
/** A lease from a clock that was ahead stands at least so long after it was first seen: its owner may live and renew it. */
const ODD_LEASE_MS = 10_000

const OPTIONS: readonly string[] = [
  'driver',
  'lockWaitMs',
  'minFreeBytes',
  'clock',
] satisfies (keyof SqliteOptions)[]

/**
 * A store in a file. Made readable by its owner only; opened when the mailer starts.
 * A mail is stored when an fsync has confirmed it. Several processes of one machine may use the file.
 * @throws {SteadymailError} `BAD_OPTION` here; on opening `STORE_DRIVER`, `STORE_SCHEMA`, `STORE_FAILED`
 */
export function sqliteStore(file: string, options: SqliteOptions = {}): Store {
  const path = databasePath(file)
  for (const name of Object.keys(options))
    if (!OPTIONS.includes(name)) throw badOption(`sqliteStore.${name}`, `one of ${OPTIONS.join(', ')}`, name)
  const { driver, lockWaitMs = 5000, minFreeBytes = 16 << 20, clock = systemClock } = options
  if (driver !== undefined && typeof driver !== 'function')
    throw badOption('sqliteStore.driver', 'a class that opens a file, as better-sqlite3 exports', driver)
  if (!Number.isFinite(lockWaitMs) || lockWaitMs < 0)
    throw badOption('sqliteStore.lockWaitMs', 'milliseconds, 0 or more', lockWaitMs)
  if (!Number.isFinite(minFreeBytes) || minFreeBytes < 0)
    throw badOption('sqliteStore.minFreeBytes', 'bytes, 0 or more', minFreeBytes)
  return new SqliteStore(path, { driver, lockWaitMs, minFreeBytes, clock })
}

interface Settings {
  readonly driver: SqliteDriver | undefined
  readonly lockWaitMs: number
  readonly minFreeBytes: number
  readonly clock: Clock
}

/** What exists while the file is open. */
interface Opened {
  readonly db: SqliteConnection
  readonly sync: WalSync
  readonly commits: Commits
  readonly journal: Journal
  readonly fresh: Fresh
  readonly folding: Folding
  readonly deliveries: Deliveries
  readonly claims: Claims
  readonly reads: Reads
  readonly retention: Retention
  readonly upkeep: Upkeep
  readonly space: DiskSpace
  readonly dataVersion: SqliteStatement
  readonly acknowledge: SqliteStatement
}

class SqliteStore implements Store {
  readonly name = 'sqlite'
  readonly durable = true
  readonly #file: string
  readonly #driver: SqliteDriver | undefined
  readonly #lockWaitMs: number
  readonly #minFreeBytes: number
  readonly #clock: Clock
  readonly #cache: BytesCache
  #opened: Opened | undefined
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #opens = 0
  /** Of the owner lease, when it was taken here last. */
  #fence: number | undefined
  /** Of `PRAGMA data_version` at the last look for notices; it moves with commits of other connections only. */
  #noticedVersion = -1
  #noticedHere = true
  /** Another's lease from a time when the clock was ahead, and since when it stands unchanged. */
  #odd: { readonly fence: number; readonly until: number; readonly since: number } | undefined

  constructor(file: string, options: Settings) {
    this.#file = file
    this.#driver = options.driver
    this.#lockWaitMs = options.lockWaitMs
    this.#minFreeBytes = options.minFreeBytes
    this.#clock = options.clock
    this.#cache = new BytesCache(options.clock)
  }

  async open(): Promise<void> {
    // one mailer closes, the next of this process begins
    while (this.#closing) await this.#closing.catch(() => undefined)
    this.#opening ??= this.#openFile().finally(() => {
      this.#opening = undefined
    })
    await this.#opening
    this.#opens++
  }

  async #openFile(): Promise<void> {
    if (this.#opened) return
    const real = prepareFile(this.#file)
    const driver = this.#driver ?? findDriver()
    const db = await openDatabase(real, driver, this.#clock, this.#lockWaitMs)
    try {
      this.#opened = this.#assemble(db, real, new Copier(real, driver, this.#driver !== undefined))
    } catch (error) {
      db.close()
      throw storeFailed(this.#file, error)
    }
  }

  #assemble(db: SqliteConnection, real: string, copier: Copier): Opened {
    const sync = new WalSync(this.#file, `${real}-wal`, this.#clock)
    const commits = new Commits(this.#file, db, sync, this.#clock, this.#lockWaitMs)
    const fresh = new Fresh(db, this.#clock)
    const journal = new Journal(db, fresh)
    const sql = deliveryStatements(db)
    const deliveries = new Deliveries(sql, new Inserts(db))
    const claims = new Claims(sql, journal, fresh, deliveries, this.#cache, this.#clock)
    const upkeep = new Upkeep(db, this.#clock, copier, () => commits.pause())
    const forget = () => {
      journal.forget()
      claims.recent.forget()
    }
    commits.onCommitting = () => fresh.write()
    commits.onCommit = (pages) => upkeep.wrote(pages)
    commits.onOthers = (did, { owner_fence }) => {
      if (did === 'changed') {
        this.#cache.clear() // some of it may be cancelled
        return forget()
      }
      if (did === 'added') claims.recent.added()
      if (owner_fence !== this.#fence) journal.forget() // its owner has gone on writing it
    }
    commits.onRollback = (error) => {
      forget()
      if (sqliteCode(error) === 'SQLITE_FULL') upkeep.full()
    }
    sync.onSynced = () => upkeep.quiet()
    upkeep.onLost = (error) => sync.lost(error)
    return {
      db,
      sync,
      commits,
      journal,
      fresh,
      folding: new Folding(commits, journal, fresh, claims.recent, this.#clock),
      deliveries,
      claims,
      reads: new Reads(db, this.#clock, journal, fresh),
      retention: new Retention(db, deliveries, this.#clock),
      upkeep,
      space: new DiskSpace(real, this.#minFreeBytes, this.#clock),
      dataVersion: db.prepare('PRAGMA data_version'),
      acknowledge: db.prepare('UPDATE message SET outcome = 0 WHERE ticket = ? AND outcome = 1'),
    }
  }

  async close(): Promise<void> {
    if (this.#opening) await this.#opening.catch(() => undefined)
    if (this.#closing) return this.#closing
    if (!this.#opened || --this.#opens > 0) return
    this.#closing = this.#closeFile(this.#opened).finally(() => {
      this.#closing = undefined
    })
    await this.#closing
  }

  async #closeFile({ commits, folding, sync, upkeep, db }: Opened): Promise<void> {
    await commits.settled()
    await folding.close()
    this.#opened = undefined
    await sync.close()
    await upkeep.close()
    db.close()
    this.#cache.clear()
  }

  get #open(): Opened {
    if (!this.#opened) throw new SteadymailError('CLOSED', `${this.#file}: the store is not open`)
    return this.#opened
  }

  /** Reads the tables as they are. */
  #readFolded<T>(body: (reads: Reads) => T | Promise<T>): Promise<T> {
    return this.#read(async (reads) => {
      const release = await this.#open.folding.need()
      try {
        return await body(reads)
      } finally {
        release()
      }
    })
  }

  /** As `#readFolded`, page by page. */
  async *#pagesFolded<T>(pages: (reads: Reads) => AsyncIterable<T>): AsyncIterable<T> {
    const { folding, reads } = this.#open
    const release = await this.#read(() => folding.need())
    try {
      yield* pages(reads)
    } finally {
      release()
    }
  }

  /** Reads what `Reads` completes with the journal: of one moment, whatever others do meanwhile. */
  #readOver<T>(body: (reads: Reads) => T): Promise<T> {
    return this.#read((reads) => this.#open.folding.complete(() => body(reads)))
  }

  /** Reads, with what SQLite throws as an error of ours. */
  async #read<T>(body: (reads: Reads) => T | Promise<T>): Promise<T> {
    try {
      return await body(this.#open.reads)
    } catch (error) {
      throw storeFailed(this.#file, error)
    }
  }

  async own(owner: string, now: number, until: number): Promise<number | undefined> {
    const { commits, db, journal, claims } = this.#open
    const { value } = await commits.write((tx) => {
      const { ledger } = tx
      const another = ledger.owner !== null && ledger.owner !== owner && ledger.owner_until > now
      if (another && !this.#outlived(ledger, now, until)) return undefined
      journal.fold(tx, { most: 0, hasty: true }) // the rest comes with the heads, a part at a time
      claims.recent.forget()
      ledger.owner = owner
      ledger.owner_until = until
      ledger.owner_fence++
      ledger.changes++
      db.exec('DELETE FROM due_notice') // the new owner reads the heads
      tx.pages += 2
      return ledger.owner_fence
    })
    if (value !== undefined) this.#fence = value
    return value
  }

  /** A lease that outlasts any that is given now was made before the clock went back: it stands while it is renewed, and one length more. */
  #outlived({ owner_fence: fence, owner_until: stands }: LedgerRow, now: number, until: number): boolean {
    const monotonic = this.#clock.monotonic()
    if (stands <= until + CLOCKS_APART_MS) this.#odd = undefined
    else if (this.#odd?.fence !== fence || this.#odd.until !== stands)
      this.#odd = { fence, until: stands, since: monotonic }
    return this.#odd !== undefined && monotonic - this.#odd.since >= Math.max(until - now, ODD_LEASE_MS)
  }

  async renew(fence: number, until: number): Promise<boolean> {
    const { value } = await this.#open.commits.write((tx) => {
      if (!isOwner(tx, fence)) return false
      tx.ledger.owner_until = until
      tx.pages++
      return true
    })
    return value
  }

  async disown(fence: number): Promise<void> {
    await this.#open.commits.write((tx) => {
      if (!isOwner(tx, fence)) return
      tx.ledger.owner = null
      tx.pages++
    })
  }

  async add(added: NewMessage, room: Room | undefined, owner: number): Promise<Added> {
    const { commits, journal, fresh, folding, deliveries, claims, space } = this.#open
    const { message, bytes } = added
    const store = (tx: Transaction) => {
      // the owner's, and nobody is looking at the tables
      const mayBeFresh = owner !== 0 && owner === tx.ledger.owner_fence && !folding.needed
      const stored = deliveries.add(tx, added, room, owner, space, mayBeFresh ? fresh : undefined)
      if (tx.ledger.owner_fence !== owner) this.#noticedHere = true
      if (!('kind' in stored) || stored.kind !== 'added') return stored
      const { recent } = claims
      for (const [at, delivery] of added.deliveries.entries()) {
        const id = stored.ids[at]
        if (id === undefined || delivery.state !== 'waiting') continue
        recent.windows.put(queueKey(delivery), { id, due_at: delivery.dueAt })
        if (owner !== 0 && added.deliveries.length === 1 && !fresh.get(id))
          recent.stored(message, deliveryOf(id, delivery))
      }
      // only who delivers will want them; after a rollback nobody asks for them
      if (owner !== 0) this.#cache.put(message.id, bytes)
      return stored
    }
    const stored = await commits.join(store).catch(async (error) => {
      // what was accepted since the last fold makes room
      if (sqliteCode(error.cause) !== 'SQLITE_FULL' || !journal.any()) throw error
      await folding.now()
      return commits.join(store)
    })
    if (!('kind' in stored)) throw stored
    folding.later()
    return stored
  }

  async turn(turn: Turn): Promise<TurnResult> {
    const { folding } = this.#open
    if (folding.knows()) return this.#turn(turn)
    const release = await folding.need()
    return this.#turn(turn).finally(release)
  }

  async #turn(turn: Turn): Promise<TurnResult> {
    const { commits, journal, folding, claims: hot } = this.#open
    const { value, durable } = await commits.write((tx) => {
      demandOwner(tx.ledger, turn.owner)
      folding.before(tx)
      const stale: number[] = []
      const ended: string[] = []
      turn.settle.forEach((settlement, at) => {
        const became = hot.settle(tx, settlement, turn)
        if (became === 'stale') stale.push(at)
        else if (became === 'ended') ended.push(settlement.delivery.ticket)
      })
      const claims = turn.claims.map((request) => hot.claim(tx, request, turn.now))
      journal.lanes(turn.lanes(claims))
      journal.write(tx)
      return { claims, stale, ended }
    }, turn.urgent)
    for (const ticket of value.ended) this.#cache.drop(ticket)
    folding.later()
    return { ...value, durable }
  }

  async bytes(ticket: string): Promise<Uint8Array | undefined> {
    const cached = this.#cache.take(ticket)
    if (cached) return cached
    return this.#readOver((reads) =>
      this.#open.journal.acceptedTicket(ticket) ? undefined : reads.bytes(ticket),
    )
  }

  heads(): AsyncIterable<readonly QueueHead[]> {
    return this.#pagesFolded((reads) => reads.heads())
  }

  lanes(): AsyncIterable<readonly StoredLane[]> {
    return this.#pagesFolded((reads) => reads.lanes())
  }

  openClaims(): Promise<readonly Claim[]> {
    return this.#readFolded((reads) => reads.openClaims())
  }

  async claimExpired(owner: number, now: number, _until: number, limit: number): Promise<readonly Claim[]> {
    const { commits, claims, folding } = this.#open
    const { value: any } = await commits.write((tx) => {
      demandOwner(tx.ledger, owner)
      return claims.anyExpired(now)
    })
    if (!any) return []
    const { value } = await folding.change((tx) => {
      demandOwner(tx.ledger, owner)
      return claims.expired(tx, now, limit)
    })
    return value
  }

  async notices(owner: number): Promise<readonly Notice[]> {
    const { commits, db, dataVersion } = this.#open
    const { data_version: version } = dataVersion.get() as { data_version: number }
    if (version === this.#noticedVersion && !this.#noticedHere) return []
    const { value } = await commits.write((tx) => {
      if (!isOwner(tx, owner)) return undefined
      const due = db.prepare('SELECT * FROM due_notice').all() as DueRow[]
      const rest = db.prepare('SELECT body FROM notice ORDER BY id').all() as { body: string }[]
      if (due.length > 0) db.exec('DELETE FROM due_notice')
      if (rest.length > 0) db.exec('DELETE FROM notice')
      if (due.length + rest.length > 0) tx.pages += 2
      return [...due.map(toNotice), ...rest.map(({ body }) => JSON.parse(body) as Notice)]
    })
    if (!value) return []
    this.#noticedVersion = version
    this.#noticedHere = false
    return value
  }

  async notify(notice: Notice): Promise<void> {
    const { commits, deliveries, db } = this.#open
    await commits.writeDurably((tx) => {
      this.#noticedHere = true
      tx.pages++
      if (notice.kind === 'due') deliveries.noticeDue(tx, notice, notice.count)
      else db.prepare('INSERT INTO notice (body) VALUES (?)').run(JSON.stringify(notice))
    })
  }

  get(ticket: string): Promise<Stored | undefined> {
    return this.#readOver((reads) => reads.find(ticket)?.stored)
  }

  byKey(key: string): Promise<Stored | undefined> {
    return this.#readOver((reads) => {
      const ticket = reads.ticketOf(key)
      return ticket === undefined ? undefined : reads.find(ticket)?.stored
    })
  }

  history(deliveryId: number): Promise<readonly AttemptRecord[]> {
    return this.#readOver((reads) => reads.history(deliveryId))
  }

  list(filter: ListFilter): Promise<readonly Stored[]> {
    return this.#readFolded((reads) => reads.list(filter))
  }

  counts(): Promise<Counts> {
    return this.#read((reads) => reads.counts())
  }

  async amend(
    ticket: string,
    change: Amendment,
    now: number,
    owner: number,
    keepOutcomes: boolean,
  ): Promise<Stored | undefined> {
    const { folding, deliveries, reads } = this.#open
    const put = (tx: Transaction) => {
      const found = reads.find(ticket)
      if (!found) return undefined
      const free = new Map(
        found.stored.deliveries.filter(({ state }) => state !== 'claimed').map((one) => [one.id, one]),
      )
      const written = change({ ...found.stored, deliveries: [...free.values()] }).filter(({ id }) =>
        free.has(id),
      )
      for (const next of written) {
        const before = free.get(next.id)
        if (before) deliveries.put(tx, before, next, found.id, { now, owner, keepOutcomes })
        if (!isFinal(next.state)) this.#noticedHere = true
      }
      return written.length > 0 ? reads.find(ticket)?.stored : found.stored
    }
    const { value: amended, durable } = await folding.change(put)
    await durable
    if (amended?.settledAt !== undefined) this.#cache.drop(ticket)
    return amended
  }

  outcomes(limit: number): Promise<readonly string[]> {
    return this.#readOver((reads) => reads.outcomes(limit))
  }

  async acknowledge(tickets: readonly string[]): Promise<void> {
    const { commits, journal, acknowledge } = this.#open
    const inTables = (tx: Transaction, left: readonly string[]) => {
      for (const ticket of left) tx.pages += Number(acknowledge.run(ticket).changes)
    }
    await commits.write((tx) => {
      // the journal is its owner's
      if (!journal.own || tx.ledger.owner_fence !== this.#fence) {
        journal.fold(tx, { most: 0, hasty: true })
        const { pages } = tx
        inTables(tx, tickets)
        if (tx.pages > pages) tx.ledger.changes++
        return
      }
      inTables(
        tx,
        tickets.filter((ticket) => !journal.acknowledge(ticket)),
      )
      journal.write(tx)
    })
  }

  async purge(before: PurgeBefore, limit: number): Promise<number> {
    const { commits, journal, retention, upkeep } = this.#open
    const { value } = await commits.write((tx) => {
      journal.fold(tx, { most: 0, hasty: !journal.own })
      return retention.purge(tx, before, limit)
    })
    upkeep.shrink()
    return value
  }

  async erase(
    address: string,
    now: number,
    owner: number,
    keepOutcomes: boolean,
  ): Promise<readonly string[]> {
    const { folding, retention, upkeep } = this.#open
    const release = await folding.need() // until all of it was looked through
    const tickets = await retention
      .erase(address, { now, owner, keepOutcomes }, async (body) => {
        const { value, durable } = await folding.change(body)
        await durable
        return value
      })
      .finally(release)
    await upkeep.truncate() // the log still had it
    for (const ticket of tickets) this.#cache.drop(ticket)
    return tickets
  }
}

interface DueRow {
  readonly lane: string
  readonly sender: string
  readonly priority: 0 | 1 | 2
  readonly due_at: number
  readonly count: number
}

function toNotice({ lane, sender, priority, due_at, count }: DueRow): Notice {
  return { kind: 'due', lane, sender, priority, dueAt: due_at, count }
}

function isOwner({ ledger }: Transaction, fence: number): boolean {
  return ledger.owner !== null && ledger.owner_fence === fence
}
