// The file itself, before SQLite sees it: where it may be, that only its owner can read it, and the settings
// under which it is opened.

import { closeSync, lstatSync, openSync, readlinkSync, realpathSync, statfsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Clock } from '../../clock.ts'
import { badOption, SteadymailError } from '../../core/error.ts'
import type { SqliteConnection, SqliteDriver } from './driver.ts'
import { isBusy, storeFailed } from './errors.ts'
import { migrate, schemaOf } from './schema.ts'

/** As Linux follows at most (path_resolution(7)). */
const MOST_LINKS = 40
/** `statfs` types whose locks SQLite cannot trust (sqlite.org/faq.html#q5): NFS, SMB 1 to 3, AFS, Ceph. */
const NETWORK = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'SMB'],
  [0xfe534d42, 'SMB'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
])

/** The absolute path of a database file; refuses what SQLite would take for something else. */
export function databasePath(file: string): string {
  if (typeof file !== 'string' || file === '') throw badOption('sqliteStore(file)', 'a file name', file)
  if (file === ':memory:')
    throw badOption('sqliteStore(file)', 'a file name (memoryStore() keeps mail in memory)', file)
  if (/^file:/i.test(file)) throw badOption('sqliteStore(file)', 'a file name, not a URI', file)
  if (file.includes('\0')) throw badOption('sqliteStore(file)', 'a file name without NUL', file)
  return resolve(file)
}

/**
 * Makes the file, readable by its owner only, when it is not there yet. The -wal and -shm beside it get its mode.
 * Gives the file's own path.
 */
export function prepareFile(named: string): string {
  const file = followed(named)
  const folder = dirname(file)
  const network = NETWORK.get(folderType(file, folder) >>> 0)
  if (network)
    throw new SteadymailError('STORE_FAILED', `${file}: on ${network}; SQLite's locks need a local disk`)
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory())
    throw new SteadymailError('STORE_FAILED', `${file}: a folder, not a file`)
  try {
    // 'wx' only ever opens a file that it made: to open and close an existing one would drop the POSIX locks
    // that another store of this process holds on it
    closeSync(openSync(file, 'wx', 0o600))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'EEXIST') throw storeFailed(file, error)
  }
  return file
}

/** SQLite puts the log beside the file itself, not beside a link to it; and one that leads nowhere yet is made where it leads. */
function followed(named: string): string {
  let file = named
  try {
    for (let links = 0; lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink(); links++) {
      if (links === MOST_LINKS) throw new Error('too many symbolic links')
      // from where the folder really is: a '..' in the link is meant from there
      file = resolve(realpathSync(dirname(file)), readlinkSync(file))
    }
  } catch (error) {
    throw storeFailed(named, error)
  }
  return file
}

function folderType(file: string, folder: string): number {
  try {
    return statfsSync(folder).type
  } catch (error) {
    throw new SteadymailError('STORE_FAILED', `${file}: its folder cannot be read`, { cause: error })
  }
}

/** How long SQLite itself waits, and the event loop with it, for another process's commit. */
const BUSY_MS = 3
/** Between tries to open a file that another process recovers, makes or upgrades. */
const REOPEN_MS = 10

/**
 * Opens the file, brings it to this version and sets how it is written.
 * @param waitMs how long it waits for others who have locked it; the event loop runs on
 */
export async function openDatabase(
  file: string,
  driver: SqliteDriver,
  clock: Clock,
  waitMs: number,
): Promise<SqliteConnection> {
  const until = clock.monotonic() + waitMs
  for (;;) {
    try {
      return tryToOpen(file, driver)
    } catch (error) {
      if (!isBusy(error) || clock.monotonic() >= until) throw storeFailed(file, error)
    }
    await new Promise<void>((resolve) => clock.after(REOPEN_MS, resolve))
  }
}

function tryToOpen(file: string, driver: SqliteDriver): SqliteConnection {
  let db: SqliteConnection | undefined
  try {
    db = new driver(file)
    db.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
    schemaOf(db, file) // before anything is changed: it may be somebody else's
    // both only take effect before the first table
    db.exec('PRAGMA page_size = 4096')
    db.exec('PRAGMA auto_vacuum = INCREMENTAL')
    const { journal_mode } = db.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string }
    if (journal_mode !== 'wal')
      throw new SteadymailError(
        'STORE_FAILED',
        `${file}: cannot use a write-ahead log here (${journal_mode})`,
      )
    // wiped bytes are overwritten, not just let go
    db.exec('PRAGMA secure_delete = ON')
    migrate(db, file)
    db.exec('PRAGMA synchronous = NORMAL') // durable.ts does the rest
    db.exec('PRAGMA checkpoint_fullfsync = ON') // macOS only
    db.exec('PRAGMA wal_autocheckpoint = 0') // upkeep.ts chooses the moment
    db.exec(`PRAGMA journal_size_limit = ${64 << 20}`)
    db.exec('PRAGMA cache_size = -32000')
    db.exec('PRAGMA temp_store = MEMORY')
    // the first write finds a read-only file now rather than with the first mail
    db.exec('BEGIN IMMEDIATE; UPDATE ledger SET id = 1; COMMIT')
    return db
  } catch (error) {
    try {
      db?.close()
    } catch {
      // the first failure says more
    }
    throw error
  }
}
