// One writer, many writes: puts the adds of an event-loop turn and the write that comes with them into one
// transaction, retries without blocking while another process holds the lock, and tells who failed.
// What a transaction contains is not its business.

import type { Clock } from '../../clock.ts'
import { SteadymailError } from '../../core/error.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'
import type { WalSync } from './durable.ts'
import { isBusy, sqliteCode, storeFailed } from './errors.ts'
import type { LedgerRow } from './rows.ts'

/** Between tries for a lock that another process holds; its commits take far less. */
const RETRY_MS = 5

/** One transaction, as those who write in it see it. */
export interface Transaction {
  /** Changed in place; saved when the transaction ends. */
  readonly ledger: LedgerRow
  /** Pages written, roughly: what the next checkpoint will have to copy. Whoever writes counts; 0 means nothing was. */
  pages: number
}

interface Write {
  readonly body: (tx: Transaction) => unknown
  readonly urgent: boolean
  readonly resolve: (value: { readonly value: unknown; readonly durable: Promise<void> }) => void
  readonly reject: (error: unknown) => void
}

interface Joined {
  readonly body: (tx: Transaction) => unknown
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

const DURABLE = Promise.resolve()

export class Commits {
  readonly #file: string
  readonly #clock: Clock
  readonly #sync: WalSync
  readonly #lockWaitMs: number
  readonly #begin: SqliteStatement
  readonly #commit: SqliteStatement
  readonly #rollback: SqliteStatement
  readonly #read: SqliteStatement
  readonly #save: SqliteStatement
  readonly #dataVersion: SqliteStatement
  /** As committed last; `undefined` when that is not known. */
  #ledger: LedgerRow | undefined
  /** Of `PRAGMA data_version` when it was read; it moves with commits of other connections only. */
  #version = -1
  #joined: Joined[] = []
  #writes: Write[] = []
  #flushing = false
  /** Since when another process has held the lock. */
  #lockedSince: number | undefined
  #waiting = false
  #paused = 0
  #idle: (() => void)[] = []
  /** Called before a commit: the last that may write. */
  onCommitting: () => void = () => {}
  /** Called after a commit with the pages it wrote. */
  onCommit: (pages: number) => void = () => {}
  onRollback: (error: unknown) => void = () => {}
  /** Called when others have committed since the last look. */
  onOthers: (did: OthersDid, ledger: LedgerRow) => void = () => {}

  constructor(file: string, db: SqliteConnection, sync: WalSync, clock: Clock, lockWaitMs: number) {
    this.#file = file
    this.#clock = clock
    this.#sync = sync
    this.#lockWaitMs = lockWaitMs
    this.#begin = db.prepare('BEGIN IMMEDIATE')
    this.#commit = db.prepare('COMMIT')
    this.#rollback = db.prepare('ROLLBACK')
    this.#read = db.prepare(
      `SELECT last_id, last_fence, owner, owner_fence, owner_until, waiting, claimed, parked, accepted, failed,
         open_messages, open_bytes, changes FROM ledger`,
    )
    this.#save = db.prepare(
      `UPDATE ledger SET last_id = ?, last_fence = ?, owner = ?, owner_fence = ?, owner_until = ?, waiting = ?,
         claimed = ?, parked = ?, accepted = ?, failed = ?, open_messages = ?, open_bytes = ?, changes = ?`,
    )
    this.#dataVersion = db.prepare('PRAGMA data_version')
  }

  /** Joins the next transaction, at the latest at the end of this event-loop turn; durable when it resolves. */
  join<T>(body: (tx: Transaction) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#joined.push({ body, resolve: resolve as (value: unknown) => void, reject })
      if (this.#flushing) return
      this.#flushing = true
      this.#clock.turn(() => {
        this.#flushing = false
        this.#drain()
      })
    })
  }

  /** A transaction now, with all that waited to join one. */
  write<T>(
    body: (tx: Transaction) => T,
    urgent = true,
  ): Promise<{ readonly value: T; readonly durable: Promise<void> }> {
    return new Promise((resolve, reject) => {
      this.#writes.push({ body, urgent, resolve: resolve as Write['resolve'], reject })
      this.#drain()
    })
  }

  /** As `write`, durable when it resolves. */
  async writeDurably<T>(body: (tx: Transaction) => T): Promise<T> {
    const { value, durable } = await this.write(body)
    await durable
    return value
  }

  /** The ledger as it is; whoever remembers what the tables say is told when others have changed them. */
  look(): LedgerRow {
    const { data_version: version } = this.#dataVersion.get() as { data_version: number }
    if (this.#ledger && version === this.#version) return this.#ledger
    const ledger = this.#read.get() as LedgerRow
    const did = this.#ledger ? difference(this.#ledger, ledger) : 'changed'
    this.#ledger = ledger
    this.#version = version
    this.onOthers(did, ledger)
    return ledger
  }

  /** Reads outside a transaction, with what SQLite throws as an error of ours. */
  read<T>(body: () => T): T {
    try {
      return body()
    } catch (error) {
      throw storeFailed(this.#file, error)
    }
  }

  /** Nothing is written until the answer is called. */
  pause(): () => void {
    this.#paused++
    return () => {
      this.#paused--
      this.#drain()
    }
  }

  /** Resolves when nothing is queued. */
  async settled(): Promise<void> {
    this.#drain()
    if (this.#joined.length + this.#writes.length > 0)
      await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #durable(written: boolean, urgent: boolean): Promise<void> {
    if (!written) return DURABLE
    return urgent ? this.#sync.synced() : this.#sync.syncedSoon()
  }

  #drain(): void {
    if (this.#waiting || this.#paused > 0) return // it comes back here
    while (this.#joined.length + this.#writes.length > 0) {
      const joined = this.#joined
      this.#joined = []
      const write = this.#writes.shift()
      if (this.#transact(joined, write)) continue
      // locked: everything keeps its place
      this.#joined = [...joined, ...this.#joined]
      if (write) this.#writes.unshift(write)
      return
    }
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** False when another process holds the lock and it is worth waiting. */
  #transact(joined: readonly Joined[], write: Write | undefined): boolean {
    if (this.#sync.broken) return this.#fail(joined, write, this.#sync.broken)
    try {
      this.#begin.run()
      this.#lockedSince = undefined
    } catch (error) {
      if (isBusy(error) && this.#mayWait()) return false
      return this.#fail(joined, write, error)
    }
    let culprit: Joined | Write | undefined
    try {
      const tx: Transaction = { ledger: this.look(), pages: 0 }
      const answers = joined.map((one) => {
        culprit = one
        return one.body(tx)
      })
      culprit = write
      const value = write?.body(tx)
      culprit = undefined
      this.onCommitting()
      if (tx.pages > 0) this.#saveLedger(tx.ledger)
      this.#commit.run()
      const durable = this.#durable(
        tx.pages > 0 || joined.length > 0,
        joined.length > 0 || write?.urgent !== false,
      )
      this.onCommit(tx.pages)
      write?.resolve({ value, durable })
      if (joined.length > 0)
        durable.then(
          () => {
            for (const [at, one] of joined.entries()) one.resolve(answers[at])
          },
          (error) => {
            for (const one of joined) one.reject(error)
          },
        )
      return true
    } catch (error) {
      this.#undo(error)
      // a refusal, or a value that SQLite does not take, is one caller's fault; the rest goes in without it
      if (!culprit || !isOwnFault(error)) return this.#fail(joined, write, error)
      culprit.reject(SteadymailError.is(error) ? error : storeFailed(this.#file, error))
      this.#joined = [...joined.filter((one) => one !== culprit), ...this.#joined]
      if (write && write !== culprit) this.#writes.unshift(write)
      return true
    }
  }

  #saveLedger(of: LedgerRow): void {
    this.#save.run(
      of.last_id,
      of.last_fence,
      of.owner,
      of.owner_fence,
      of.owner_until,
      of.waiting,
      of.claimed,
      of.parked,
      of.accepted,
      of.failed,
      of.open_messages,
      of.open_bytes,
      of.changes,
    )
  }

  #undo(error: unknown): void {
    this.#ledger = undefined
    try {
      this.#rollback.run()
    } catch {
      // SQLite rolls back by itself after some errors (full disk), and then there is nothing to roll back
    }
    this.onRollback(error)
  }

  #fail(joined: readonly Joined[], write: Write | undefined, error: unknown): true {
    const failure = storeFailed(this.#file, error)
    for (const one of joined) one.reject(failure)
    write?.reject(failure)
    return true
  }

  /** Sets the next try for the lock; false when it was waited for long enough. */
  #mayWait(): boolean {
    const now = this.#clock.monotonic()
    this.#lockedSince ??= now
    if (now - this.#lockedSince >= this.#lockWaitMs) {
      this.#lockedSince = undefined
      return false
    }
    this.#waiting = true
    this.#clock.after(RETRY_MS, () => {
      this.#waiting = false
      this.#drain()
    })
    return true
  }
}

/** `nothing`: at most notices, and what an owner says of lanes. `added`: mail too, and what an owner says. `changed`: anything. */
export type OthersDid = 'nothing' | 'added' | 'changed'

function difference(before: LedgerRow, after: LedgerRow): OthersDid {
  if (before.changes !== after.changes) return 'changed'
  const names = Object.keys(after) as (keyof LedgerRow)[]
  return names.every((name) => before[name] === after[name]) ? 'nothing' : 'added'
}

/** Not the store's: one of our refusals, a value that cannot be bound, a row that breaks a constraint. */
function isOwnFault(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === undefined || code === 'SQLITE_CONSTRAINT' || code === 'SQLITE_TOOBIG'
}
