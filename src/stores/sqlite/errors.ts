// What SQLite threw, as our error: which file, what is wrong with it in words, and whether waiting helps.

import { SteadymailError, wordsOf } from '../../core/error.ts'

/** Primary result codes (sqlite.org/rescode.html) that a store can meet, by the name better-sqlite3 gives them. */
const NAMES: Readonly<Record<number, string>> = {
  5: 'SQLITE_BUSY',
  6: 'SQLITE_LOCKED',
  8: 'SQLITE_READONLY',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  13: 'SQLITE_FULL',
  14: 'SQLITE_CANTOPEN',
  18: 'SQLITE_TOOBIG',
  19: 'SQLITE_CONSTRAINT',
  26: 'SQLITE_NOTADB',
}

const WORDS: Readonly<Record<string, string>> = {
  SQLITE_BUSY: 'locked by another process',
  SQLITE_LOCKED: 'locked by another process',
  SQLITE_READONLY: 'read-only',
  SQLITE_IOERR: 'the disk cannot be read or written',
  SQLITE_CORRUPT: 'the file is damaged',
  SQLITE_FULL: 'the disk is full',
  SQLITE_CANTOPEN: 'cannot be opened',
  SQLITE_NOTADB: 'the file is no SQLite database',
}

/** The primary code of what a driver threw, as `SQLITE_FULL`; `undefined` when SQLite did not throw it. */
export function sqliteCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  // node:sqlite: { code: 'ERR_SQLITE_ERROR', errcode }; the low byte is the primary code
  if ('errcode' in error && typeof error.errcode === 'number')
    return NAMES[error.errcode & 0xff] ?? 'SQLITE_ERROR'
  if (!('code' in error) || typeof error.code !== 'string' || !error.code.startsWith('SQLITE_'))
    return undefined
  return error.code.split('_', 2).join('_')
}

export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === 'SQLITE_BUSY' || code === 'SQLITE_LOCKED'
}

/** As a `STORE_FAILED` that names the file; errors of ours pass through. */
export function storeFailed(file: string, error: unknown): SteadymailError {
  if (SteadymailError.is(error)) return error
  const code = sqliteCode(error)
  const text = wordsOf(error)
  const words = code && WORDS[code]
  return new SteadymailError('STORE_FAILED', `${file}: ${words ? `${words} (${code})` : text}`, {
    cause: error,
  })
}
