// Keeps the file in shape while mail flows: copies the WAL back in portions small enough not to be felt,
// and gives pages back to the disk after a peak, a few at a time.

import type { Clock, Timer } from '../../clock.ts'
import type { Copier } from './copier.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'

/** A checkpoint of so many pages (8 MiB) is due right after an fsync, when the WAL itself needs none. */
const CHECKPOINT_PAGES = 2048
/** The thread is started when so many are written, so that it is there when it is wanted. */
const SOON_PAGES = 512
/** With so many (24 MiB) written while it copies, writers wait for it: a log that only grows is never started anew. */
const MOST_PAGES = 6144
/** What was written while the disk took the copy is copied without halting them if it is so much (1 MiB). */
const AGAIN_PAGES = 256
/** On a slow disk, where writers wait long for the thread, they do so for a tenth of their time at most; */
const WAITED_SHARE = 0.1
/** until so many pages (32 MiB) are written. */
const LONG_PAGES = 8_192
/** As many after a full disk, until the WAL is copied whole: what is free again is first of all the file's to grow into. */
const STARVED_PAGES = 64
/** Free pages that are kept for the next mail rather than given back: at least these, and a quarter of the file. */
const KEPT_FREE = 1024
const VACUUM_PAGES = 128
const VACUUM_EVERY_MS = 50
/** What is free now and wanted again soon is not worth giving back. */
const VACUUM_AFTER_MS = 10_000

export class Upkeep {
  readonly #db: SqliteConnection
  readonly #clock: Clock
  readonly #copier: Copier
  readonly #pause: () => () => void
  readonly #checkpoint: SqliteStatement
  readonly #free: SqliteStatement
  readonly #pages: SqliteStatement
  #written = 0
  #vacuum: Timer | undefined
  #closed = false
  #lost = false
  /** The disk was full, and the WAL still holds what the file had no room for. */
  #starved = false
  /** Whether the thread is copying. */
  #aside = false
  /** Lets writers go on. */
  #goOn: (() => void) | undefined
  /** When writers have written long enough since they waited last. */
  #nextAt = 0

  /** The disk refused what was copied into the file; the log has it still. */
  onLost: (error: Error) => void = () => {}

  /** `pause` keeps this process from writing until what it gives is called. */
  constructor(db: SqliteConnection, clock: Clock, copier: Copier, pause: () => () => void) {
    this.#db = db
    this.#copier = copier
    this.#pause = pause
    this.#clock = clock
    copier.onRefused = (error) => this.#lose(error)
    this.#checkpoint = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')
    this.#free = db.prepare('PRAGMA freelist_count')
    this.#pages = db.prepare('PRAGMA page_count')
  }

  /** Pages that a commit wrote, roughly. */
  wrote(pages: number): void {
    this.#written += pages
    if (this.#written < SOON_PAGES || this.#closed) return
    const thread = this.#copier.there // started by this question
    if (thread && this.#aside && this.#written >= MOST_PAGES) this.#halt()
  }

  /** The disk was full: what is copied out of the WAL makes room in it. */
  full(): void {
    if (this.#closed) return
    this.#written = 0
    this.#starved = !this.#copy()
  }

  /** The WAL has just been synced. */
  quiet(): void {
    if (this.#closed || this.#aside || this.#written < this.#enough()) return
    this.#written = 0
    if (this.#starved) this.#starved = !this.#copy()
    else if (this.#copier.there) void this.#copyAside()
    else this.#copy()
  }

  #enough(): number {
    if (this.#starved) return STARVED_PAGES
    return this.#clock.monotonic() < this.#nextAt ? LONG_PAGES : CHECKPOINT_PAGES
  }

  /**
   * Most of it while others write on, to the disk as well; then what they added meanwhile; and the little that is left
   * while they wait, a few ms. Only a log that was copied whole starts anew.
   */
  async #copyAside(): Promise<void> {
    this.#aside = true
    await this.#copier.copy()
    if (!this.#closed && this.#written >= AGAIN_PAGES) await this.#copier.copy()
    if (!this.#closed) {
      const began = this.#clock.monotonic()
      this.#halt()
      await this.#copier.copyAndBeginAnew()
      const ended = this.#clock.monotonic()
      this.#nextAt = ended + (ended - began) / WAITED_SHARE
    }
    this.#aside = false
    this.#goOn?.()
    this.#goOn = undefined
    this.shrink()
  }

  /** A further sync may only seem to succeed, and SQLite would say that the log was copied: it is not asked any more. */
  #lose(error: Error): void {
    this.#lost = true
    this.#closed = true
    this.#vacuum?.cancel()
    this.#goOn?.()
    this.#goOn = undefined
    this.onLost(error)
  }

  /** Writers wait for the thread; what somebody awaits must not end with the process because nothing else runs. */
  #halt(): void {
    if (this.#goOn) return
    const release = this.#copier.keepAlive()
    const goOn = this.#pause()
    this.#goOn = () => {
      release()
      goOn()
    }
  }

  /** Whether the file has all of the WAL now. */
  #copy(): boolean {
    let result: { readonly log: number; readonly checkpointed: number }
    try {
      result = this.#checkpoint.get() as typeof result
    } catch {
      return false // whoever holds it up, the WAL grows meanwhile, and the next portion takes it along
    }
    this.shrink()
    return result.log === result.checkpointed
  }

  /** Copies everything and empties the WAL, where nobody else is using it. */
  async truncate(): Promise<void> {
    if (this.#lost) return
    const release = this.#copier.keepAlive()
    // what the thread has copied and synced, nobody waits for here
    await (this.#copier.started ? this.#copier.copy() : this.#copier.rest())
    release()
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // another process reads or writes: the WAL stays, and nothing is lost by it
    }
  }

  /** Gives free pages back while there are too many. */
  shrink(afterMs = VACUUM_AFTER_MS): void {
    if (this.#closed || this.#vacuum || !this.#tooManyFree()) return
    this.#vacuum = this.#clock.after(afterMs, () => {
      this.#vacuum = undefined
      if (this.#closed || !this.#tooManyFree()) return
      try {
        this.#db.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`)
        this.wrote(VACUUM_PAGES)
        this.quiet()
      } catch {
        return // locked or out of disk: the next checkpoint comes back to it
      }
      this.shrink(VACUUM_EVERY_MS)
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

  async close(): Promise<void> {
    this.#closed = true
    this.#vacuum?.cancel()
    await this.truncate()
    await this.#copier.close()
  }
}
