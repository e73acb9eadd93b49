// Keeps the file in shape while mail flows: copies the WAL back in portions small enough not to be felt,
// and gives pages back to the disk after a peak, a few at a time.

import type { Clock, Timer } from '../../clock.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'

/** A checkpoint of so many pages (4 MiB) is due right after an fsync, when the WAL itself needs none. */
const CHECKPOINT_PAGES = 1024
/** Free pages that are kept for the next mail rather than given back: at least these, and a quarter of the file. */
const KEPT_FREE = 1024
const VACUUM_PAGES = 128
const VACUUM_EVERY_MS = 50

export class Upkeep {
  readonly #db: SqliteConnection
  readonly #clock: Clock
  readonly #checkpoint: SqliteStatement
  readonly #free: SqliteStatement
  readonly #pages: SqliteStatement
  #written = 0
  #vacuum: Timer | undefined
  #closed = false

  constructor(db: SqliteConnection, clock: Clock) {
    this.#db = db
    this.#clock = clock
    this.#checkpoint = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')
    this.#free = db.prepare('PRAGMA freelist_count')
    this.#pages = db.prepare('PRAGMA page_count')
  }

  /** Pages that a commit wrote, roughly. */
  wrote(pages: number): void {
    this.#written += pages
  }

  /** The disk was full: what is copied out of the WAL makes room in it. */
  full(): void {
    this.#written = CHECKPOINT_PAGES
    this.quiet()
  }

  /** The WAL has just been synced. */
  quiet(): void {
    if (this.#closed || this.#written < CHECKPOINT_PAGES) return
    this.#written = 0
    try {
      this.#checkpoint.get()
    } catch {
      return // whoever holds it up, the WAL grows meanwhile, and the next portion takes it along
    }
    this.shrink()
  }

  /** Copies everything and empties the WAL, where nobody else is using it. */
  truncate(): void {
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // another process reads or writes: the WAL stays, and nothing is lost by it
    }
  }

  /** Gives free pages back while there are too many. */
  shrink(): void {
    if (this.#closed || this.#vacuum || !this.#tooManyFree()) return
    this.#vacuum = this.#clock.after(VACUUM_EVERY_MS, () => {
      this.#vacuum = undefined
      if (this.#closed) return
      try {
        this.#db.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`)
        this.wrote(VACUUM_PAGES)
        this.quiet()
      } catch {
        return // locked or out of disk: the next checkpoint comes back to it
      }
      this.shrink()
    })
    this.#vacuum.keep(false)
  }

  #tooManyFree(): boolean {
    try {
      const { freelist_count: free } = this.#free.get() as { freelist_count: number }
      if (free <= KEPT_FREE) return false
      const { page_count: pages } = this.#pages.get() as { page_count: number }
      return free > pages / 4
    } catch {
      return false // a disk that cannot be read is told of by whoever needs it: this is asked from a callback
    }
  }

  close(): void {
    this.#closed = true
    this.#vacuum?.cancel()
    this.truncate()
  }
}
