// Copies the log back into the file on a thread of its own, with a connection of its own, so that the event loop
// waits neither for the copying nor for the disk; nor for the fsync with which SQLite begins a log anew. It never
// waits for a lock (PASSIVE), so it is in nobody's way. Where no thread can be had, the caller does the copying itself.
//
// SQLite syncs the file only with the last of a log, when writers wait for it. So the thread syncs what it has copied
// before that, while they write on: by the descriptor of its connection, since closing one that was opened for it would
// drop the locks that SQLite has on the file (fcntl(2)). An error of that sync is believed at once: the kernel tells of
// it once for each descriptor, and the next sync of this one would seem to succeed.

import type { Worker } from 'node:worker_threads'
import type { SqliteDriver } from './driver.ts'

/** Runs in the thread: text, so that it needs no file of its own in either build. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads')
const { fdatasyncSync, fstatSync, readdirSync, statSync } = require('node:fs')
const { file, from } = workerData
// Linux; macOS and the BSDs
const open = () => ['/proc/self/fd', '/dev/fd'].map((folder) => {
  try {
    return readdirSync(folder).map(Number)
  } catch {
    return []
  }
}).find((all) => all.length > 0) ?? []
const isIts = (descriptor) => {
  try {
    const [of, its] = [fstatSync(descriptor, { bigint: true }), statSync(file, { bigint: true })]
    return of.ino === its.ino && of.dev === its.dev
  } catch {
    return false
  }
}
const IOERR_FSYNC = 1034 // sqlite.org/rescode.html; better-sqlite3 has it by name
const others = new Set(open().filter(isIts))
// a file that was deleted meanwhile is not made again
const db = from === undefined
  ? new (process.getBuiltinModule('node:sqlite').DatabaseSync)(require('node:url').pathToFileURL(file).href + '?mode=rw')
  : new (require('node:module').createRequire(from)('better-sqlite3'))(file, { fileMustExist: true })
db.exec('PRAGMA busy_timeout = 0; PRAGMA synchronous = NORMAL; PRAGMA checkpoint_fullfsync = ON')
const checkpoint = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')
const begin = db.prepare('BEGIN IMMEDIATE')
const touch = db.prepare('UPDATE ledger SET id = 1')
const commit = db.prepare('COMMIT')
const own = open().find((descriptor) => !others.has(descriptor) && isIts(descriptor))
parentPort.on('message', (order) => {
  if (order === 'close') {
    db.close()
    parentPort.close()
    return
  }
  let refused
  try {
    const { log, checkpointed } = checkpoint.get()
    if (order === 'copy' && own !== undefined) {
      try {
        fdatasyncSync(own)
      } catch (error) {
        refused = error.message
      }
    }
    // whoever writes first into a log that was copied whole begins it anew
    if (order === 'begin anew' && log === checkpointed) {
      begin.run()
      touch.run()
      commit.run()
    }
  } catch (error) {
    // busy, or no room: the log keeps what could not be copied, and the next time takes it along
    if (error.code === 'SQLITE_IOERR_FSYNC' || error.errcode === IOERR_FSYNC) refused = error.message
    try {
      db.exec('ROLLBACK')
    } catch {
      // nothing had begun
    }
  }
  parentPort.postMessage({ refused })
})
`

type State = 'unstarted' | 'idle' | 'copying' | 'none'

export class Copier {
  readonly #file: string
  readonly #driver: SqliteDriver
  readonly #given: boolean
  #worker: Worker | undefined
  #state: State = 'unstarted'
  #ended: Promise<void> | undefined
  #waiting: (() => void)[] = []
  #wanted = 0
  /** Called when the disk did not take what was copied; before that is said to be done. */
  onRefused: (error: Error) => void = () => {}

  /** A driver that was `given` by the user is their own class, which cannot go to another thread. */
  constructor(file: string, driver: SqliteDriver, given: boolean) {
    this.#file = file
    this.#driver = driver
    this.#given = given
  }

  /** Whether there is a thread; started when it is first asked for. */
  get there(): boolean {
    if (this.#state === 'unstarted') this.#start()
    return this.#state !== 'none'
  }

  get started(): boolean {
    return this.#worker !== undefined && this.#state !== 'none'
  }

  /** Copies what the log has now; resolves when it is done, or failed. */
  copy(): Promise<void> {
    return this.#order('copy')
  }

  /** As `copy`, and begins the log anew when it was copied whole: for when nobody else here writes. */
  copyAndBeginAnew(): Promise<void> {
    return this.#order('begin anew')
  }

  async #order(order: 'copy' | 'begin anew'): Promise<void> {
    await this.rest()
    if (!this.there) return
    this.#state = 'copying'
    this.#worker?.postMessage(order)
    await this.rest()
  }

  /** Resolves when nothing is being copied. */
  async rest(): Promise<void> {
    while (this.#state === 'copying') await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** The process lives on for the thread until what this gives is called. */
  keepAlive(): () => void {
    if (this.#wanted++ === 0) this.#worker?.ref()
    return () => {
      if (--this.#wanted === 0) this.#worker?.unref()
    }
  }

  #rests(state: State): void {
    this.#state = state
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  async close(): Promise<void> {
    this.keepAlive()
    await this.rest()
    this.#state = 'none'
    this.#worker?.postMessage('close')
    await this.#ended
  }

  #start(): void {
    this.#state = 'none'
    const builtin = process.getBuiltinModule('node:sqlite') as { DatabaseSync?: unknown } | undefined
    const own = builtin?.DatabaseSync === this.#driver
    if (this.#given && !own) return
    try {
      const threads = process.getBuiltinModule('node:worker_threads')
      const from: string | undefined = own ? undefined : (import.meta.url ?? __filename)
      const worker = new threads.Worker(THREAD, {
        eval: true,
        name: 'steadymail',
        workerData: { file: this.#file, from },
        execArgv: [], // the user's loaders are not for it
        env: threads.SHARE_ENV,
      })
      worker.on('message', ({ refused }: { readonly refused?: string }) => {
        if (refused !== undefined) this.onRefused(new Error(refused))
        this.#rests('idle')
      })
      worker.on('error', () => this.#rests('none'))
      this.#ended = new Promise((resolve) =>
        worker.once('exit', () => {
          this.#rests('none')
          resolve()
        }),
      )
      worker.unref() // not before somebody listens: that would undo it
      this.#worker = worker
      this.#state = 'idle'
    } catch {
      // no threads here
    }
  }
}
