// Brings what was copied into the database file to the disk while others write on. SQLite does that itself, but only
// with the last of a log, when writers wait for it (copier.ts): what is on the disk by then, they do not wait for.
// Nothing relies on it: whatever fails here, SQLite syncs before it says that a log was copied.
//
// Not by opening the file: closing any descriptor of it would drop the locks that SQLite has on it (fcntl(2)), also
// those of other connections. A descriptor that SQLite has open is looked for instead; fdatasync is about the file.

import { type BigIntStats, fdatasync, fstatSync, readdirSync, statSync } from 'node:fs'

/** Where a process finds its own descriptors: Linux; macOS and the BSDs. */
const FOLDERS = ['/proc/self/fd', '/dev/fd']

export class FileSync {
  readonly #file: string
  readonly #fsync: (descriptor: number, done: () => void) => void
  /** `undefined` until it is looked for, `null` where none can be found. */
  #descriptor: number | null | undefined
  #stats: BigIntStats | undefined

  /** @param fsync for tests */
  constructor(file: string, fsync: (descriptor: number, done: () => void) => void = fdatasync) {
    this.#file = file
    this.#fsync = fsync
  }

  /** Resolves when what was written to the file is on the disk, or cannot be brought there from here. */
  async sync(): Promise<void> {
    const descriptor = this.#find()
    if (descriptor !== null) await new Promise<void>((resolve) => this.#fsync(descriptor, () => resolve()))
  }

  #find(): number | null {
    const known = this.#descriptor
    if (known === null) return null
    // it may have been closed meanwhile, and its number another file's
    if (known === undefined || !this.#isIts(known)) this.#descriptor = this.#look()
    return this.#descriptor ?? null
  }

  #look(): number | null {
    try {
      this.#stats = statSync(this.#file, { bigint: true })
    } catch {
      return null
    }
    for (const folder of FOLDERS) {
      try {
        const found = readdirSync(folder)
          .map(Number)
          .find((descriptor) => this.#isIts(descriptor))
        if (found !== undefined) return found
      } catch {
        // not on this system
      }
    }
    return null
  }

  #isIts(descriptor: number): boolean {
    try {
      const { dev, ino } = fstatSync(descriptor, { bigint: true })
      return dev === this.#stats?.dev && ino === this.#stats.ino
    } catch {
      return false
    }
  }
}
