// The one error class. SMTP outcomes are values; only misuse, a broken store and a closed mailer throw.

/** Everything that can be wrong, as a closed set. */
export type ErrorCode =
  | 'BAD_OPTION' // an option, duration, rate, policy or rule that does not fit
  | 'BAD_MESSAGE' // no recipients, a bad address, too large, unreadable attachment, per-message auth
  | 'KEY_CONFLICT' // the key was used for other recipients
  | 'OUTBOX_FULL' // maxWaiting reached
  | 'CLOSED' // the mailer is closed
  | 'ABORTED' // the signal given to sendWithRetry was aborted before the message was stored
  | 'STORE_FAILED' // the store could not read or write: disk full, locked, corrupt
  | 'STORE_SCHEMA' // the database has a newer schema, or is no steadymail outbox
  | 'STORE_DRIVER' // no usable SQLite driver
  | 'OWNER_LOST' // another process delivers from this store now
  | 'NOT_FOUND' // a lane, ticket or recipient that the call needs does not exist
  | 'BAD_STATE' // the call does not fit what the message's state is

const BRAND = Symbol.for('steadymail.error')

/** Thrown for misuse, a broken store or a closed mailer. Its message never holds credentials. */
export class SteadymailError extends Error {
  override readonly name = 'SteadymailError'
  readonly code: ErrorCode
  /** The option or field at fault, as `policies[0].rate`. */
  readonly path: string | undefined
  readonly [BRAND] = true

  constructor(code: ErrorCode, message: string, details: { path?: string; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.path = details.path
  }

  /** True for errors of this class from any copy of the package. */
  static is(error: unknown): error is SteadymailError {
    return typeof error === 'object' && error !== null && BRAND in error
  }
}

/** A `BAD_OPTION` error in the house form: path, what was expected, what was given. */
export function badOption(path: string, expected: string, given: unknown): SteadymailError {
  return new SteadymailError('BAD_OPTION', `${path}: expected ${expected}, got ${show(given)}`, { path })
}

/** A short, safe rendering of a value for an error message: at most 80 characters, control characters escaped. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    const text = `'${value.replace(/[\u0000-\u001f\u007f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)}'`
    return text.length > 80 ? `${text.slice(0, 76)}…'` : text
  }
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (value instanceof RegExp) return String(value).slice(0, 80)
  if (typeof value === 'object' && value !== null)
    return `an object with ${Object.keys(value).slice(0, 5).join(', ') || 'no keys'}`
  return String(value)
}

/** The words of whatever was thrown; an error may be of another realm, as Node's own are under Jest. */
export function wordsOf(error: unknown): string {
  const message =
    typeof error === 'object' && error !== null ? (error as { message?: unknown }).message : error
  return typeof message === 'string' ? message : String(error)
}
