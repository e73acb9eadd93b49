// Which SQLite runs underneath: Node's own where it has one, else better-sqlite3, or the user's choice.
// Both have the same shape where it matters here. Loaded when a store opens, so that importing needs neither.

import { SteadymailError } from '../../core/error.ts'

/** What can be bound to a statement. */
export type SqlValue = string | number | null | Uint8Array

/** A prepared statement, as better-sqlite3 and node:sqlite make them. */
export interface SqliteStatement {
  run(...values: SqlValue[]): { readonly changes: number | bigint }
  get(...values: SqlValue[]): unknown
  all(...values: SqlValue[]): unknown[]
}

/** An open database. */
export interface SqliteConnection {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
  close(): unknown
}

/** The class that opens a file: `Database` of better-sqlite3, `DatabaseSync` of node:sqlite, or one of that shape. */
export type SqliteDriver = new (file: string) => SqliteConnection

/** What a process offers to load a driver from. */
export interface DriverSource {
  /** As `20.19.0`. */
  readonly node: string
  builtin(name: string): object | undefined
  /** As CommonJS does. */
  require(name: string): unknown
}

/** This process. */
export function processSource(): DriverSource {
  // one form for both builds: an ES module has import.meta.url, CommonJS __filename (as `node -e` has, but it says '[eval]')
  const here: string = import.meta.url ?? __filename
  const { createRequire } = process.getBuiltinModule('node:module')
  const require = createRequire(here)
  return {
    node: process.versions.node,
    builtin: (name) => process.getBuiltinModule(name),
    require: (name) => require(name),
  }
}

const INSTALL = 'npm install better-sqlite3@12'

/**
 * The driver for this process: `node:sqlite` from Node 22.13 on, else better-sqlite3 12.
 * @throws {SteadymailError} `STORE_DRIVER` with what to install
 */
export function findDriver(source: DriverSource = processSource()): SqliteDriver {
  const [major = 0, minor = 0] = source.node.split('.').map(Number)
  // before 22.13 it hides behind a flag (nodejs.org/api/sqlite.html)
  if (major > 22 || (major === 22 && minor >= 13)) {
    const own = source.builtin('node:sqlite')
    if (own && 'DatabaseSync' in own) return own.DatabaseSync as SqliteDriver
  }
  const version = installedVersion(source)
  if (version === undefined)
    throw new SteadymailError(
      'STORE_DRIVER',
      `Node ${source.node} has no SQLite of its own (22.13 and later do) and better-sqlite3 is not installed: ${INSTALL}`,
    )
  if (version >= 13 && major < 22)
    throw new SteadymailError(
      'STORE_DRIVER',
      `better-sqlite3 ${version} crashes on Node ${source.node}: ${INSTALL}, or use Node 22.13 or later`,
    )
  try {
    return source.require('better-sqlite3') as SqliteDriver
  } catch (error) {
    throw new SteadymailError('STORE_DRIVER', `better-sqlite3 is installed but does not load: ${INSTALL}`, {
      cause: error,
    })
  }
}

function installedVersion(source: DriverSource): number | undefined {
  try {
    const { version } = source.require('better-sqlite3/package.json') as { version: string }
    return Number.parseInt(version, 10)
  } catch {
    return undefined
  }
}
