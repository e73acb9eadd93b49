// When is a commit safe from a power cut? Commits write the WAL and do not wait for the disk
// (synchronous=NORMAL); this file makes it durable on a thread of libuv's pool, so that the event loop never
// waits for it. One fsync runs and at most one is wanted: everybody who commits meanwhile shares that one.
//
// Why that is sound (sqlite.org/wal.html, and wal.c as of 3.53):
// - A commit is its frames in the WAL. An fsync of the WAL that began after the commit and has ended puts
//   them on disk, and recovery replays every frame whose checksum holds up to the last commit frame.
// - A checkpoint in NORMAL syncs the WAL before it copies from it, and syncs the database before it says
//   that everything was copied; only then may a later commit start the WAL anew. So a commit whose frames
//   are overwritten is in a synced database file: whoever waits for our later fsync is told the truth.
// - The thread that copies (copier.ts) does so through a connection of its own, in NORMAL: it syncs as above. Only a
//   commit starts the WAL anew, there or here, and only a WAL that was copied and synced whole.
// - A WAL that starts anew keeps its inode (it is overwritten, or truncated), and its header is synced
//   by SQLite before frames follow, so old frames can not be taken for new ones.
// - SQLite unlinks the WAL only when the last connection closes, and ours is open as long as we wait.
// - The WAL carries no POSIX locks (the database and -shm do), so opening and closing it here drops none.
// - A new WAL's directory is synced by us, once: SQLite would, with its first sync of the file.
// - libuv's fsync is F_FULLFSYNC on macOS; checkpoints get the same by PRAGMA checkpoint_fullfsync.

import { close, closeSync, fdatasync, fstatSync, fsyncSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Clock, Timer } from '../../clock.ts'
import { SteadymailError } from '../../core/error.ts'

/** A deleted file takes every commit gladly. Looked for this often at most: it costs a few µs. */
const LOOK_EVERY_MS = 100
/** What nobody waits for is synced with what somebody does, at the latest after so long. */
const SOON_MS = 20

interface Waiting {
  readonly done: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class WalSync {
  readonly #file: string
  readonly #clock: Clock
  readonly #wal: number
  readonly #inode: number
  #running: Waiting | undefined
  #next: Waiting | undefined
  #lookedAt: number
  #broken: SteadymailError | undefined
  #soon: Timer | undefined
  /** Whether anybody waits for `#next`. */
  #urgent = false
  #closing: (() => void) | undefined
  /** Called whenever the WAL has just been synced: the moment when a checkpoint costs least. */
  onSynced: () => void = () => {}

  /** `file` as it was named, which may be a link; the WAL must exist: SQLite makes it with the first transaction. */
  constructor(file: string, wal: string, clock: Clock) {
    this.#file = file
    this.#clock = clock
    this.#wal = openSync(wal, 'r+')
    this.#inode = statSync(file).ino
    this.#lookedAt = clock.monotonic()
    syncFolder(dirname(wal))
  }

  /** What made this store useless until it is opened again. */
  get broken(): SteadymailError | undefined {
    return this.#broken
  }

  /** Resolves when every commit made until now would survive a power cut. */
  synced(): Promise<void> {
    if (this.#broken) return Promise.reject(this.#broken)
    this.#next ??= waiting()
    this.#urgent = true
    const { done } = this.#next
    if (!this.#running) this.#start()
    return done
  }

  /** As `synced`, a little later: one fsync for many commits that nobody waits for. */
  syncedSoon(): Promise<void> {
    if (this.#broken) return Promise.reject(this.#broken)
    this.#next ??= waiting()
    const { done } = this.#next
    this.#startSoon()
    return done
  }

  /** Closes the file once no fsync runs on it. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#closing = () => close(this.#wal, () => resolve())
      if (this.#next && !this.#running) this.#start()
      else if (!this.#running) this.#closing()
    })
  }

  /** Throws when the file was deleted or replaced: what is committed to it now, nobody will find again. */
  look(): void {
    this.#lookedAt = this.#clock.monotonic()
    if (this.#broken) throw this.#broken
    const there = statSync(this.#file, { throwIfNoEntry: false })
    if (there?.ino === this.#inode && fstatSync(this.#wal).nlink > 0) return
    this.#broken = new SteadymailError(
      'STORE_FAILED',
      `${this.#file}: deleted or replaced while it was in use; nothing more is stored until it is opened again`,
    )
    throw this.#broken
  }

  #startSoon(): void {
    if (!this.#running) this.#soon ??= this.#clock.after(SOON_MS, () => this.#start())
  }

  #start(): void {
    this.#soon?.cancel()
    this.#soon = undefined
    if (this.#running) return
    this.#urgent = false
    const group = this.#next
    this.#next = undefined
    this.#running = group
    if (!group) return
    fdatasync(this.#wal, (error) => {
      this.#running = undefined
      try {
        if (error) throw this.lost(error)
        if (this.#clock.monotonic() - this.#lookedAt >= LOOK_EVERY_MS) this.look()
        group.resolve()
      } catch (failure) {
        group.reject(failure as Error)
        this.#next?.reject(failure as Error)
        this.#next = undefined
      }
      if (this.#next && (this.#urgent || this.#closing)) this.#start()
      else if (this.#next) this.#startSoon()
      else if (this.#closing) this.#closing()
      if (!error && !this.#closing) this.onSynced()
    })
  }

  /** After a failed fsync the kernel may have dropped the pages: a later success would prove nothing. */
  lost(cause: Error): SteadymailError {
    this.#broken = new SteadymailError(
      'STORE_FAILED',
      `${this.#file}: the disk did not confirm a write (${cause.message}); nothing more is stored until it is opened again`,
      { cause },
    )
    return this.#broken
  }
}

function waiting(): Waiting {
  let resolve!: () => void // both are set before the constructor returns
  let reject!: (error: Error) => void
  const done = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  done.catch(() => {}) // a turn's `durable` need not be listened to
  return { done, resolve, reject }
}

function syncFolder(folder: string): void {
  if (process.platform === 'win32') return // folders cannot be opened there, and NTFS logs its entries
  const handle = openSync(folder, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
