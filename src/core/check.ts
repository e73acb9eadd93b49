// Checks that turn unknown input into typed values, each error naming path, what was expected and what was given.
// Not here: what an option means (options.ts, policy-parse.ts).

import { badOption } from './error.ts'
import { duration } from './units.ts'

/** A plain object whose keys are all known. Unknown keys are refused, with the nearest known one suggested. */
export function fields(
  input: unknown,
  path: string,
  known: readonly string[],
  what = 'an object',
): Record<string, unknown> {
  if (typeof input !== 'object' || input === null || Array.isArray(input) || input instanceof RegExp)
    throw badOption(path === '' ? 'options' : path, what, input)
  const record = input as Record<string, unknown>
  for (const key of Object.keys(record)) {
    if (known.includes(key)) continue
    const near = nearest(key, known)
    const expected = near === undefined ? `one of ${known.join(', ')}` : `a known option, perhaps '${near}'`
    throw badOption(at(path, key), expected, key)
  }
  return record
}

/** The path of a field: `policies[0].rate`, or `ttl` at the top. */
export function at(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

export function list(input: unknown, path: string, what: string): readonly unknown[] {
  if (!Array.isArray(input)) throw badOption(path, what, input)
  return input
}

export function word(input: unknown, path: string, what = 'a non-empty text'): string {
  if (typeof input !== 'string' || input.trim() === '') throw badOption(path, what, input)
  return input
}

export function whole(input: unknown, path: string, least = 1): number {
  if (typeof input !== 'number' || !Number.isSafeInteger(input) || input < least)
    throw badOption(path, `a whole number, at least ${least}`, input)
  return input
}

export function flag(input: unknown, path: string): boolean {
  if (typeof input !== 'boolean') throw badOption(path, 'true or false', input)
  return input
}

export function oneOf<T extends string>(input: unknown, path: string, values: readonly T[]): T {
  const found = values.find((value) => value === input)
  if (found === undefined) throw badOption(path, `one of ${values.map((v) => `'${v}'`).join(', ')}`, input)
  return found
}

export function callable(input: unknown, path: string): (...args: never[]) => unknown {
  if (typeof input !== 'function') throw badOption(path, 'a function', input)
  return input as (...args: never[]) => unknown
}

/** A duration of at least `leastMs`. */
export function span(input: unknown, path: string, leastMs = 1): number {
  if (typeof input !== 'string' && typeof input !== 'number')
    throw badOption(path, "milliseconds or '<number><ms|s|m|h|d|w>'", input)
  const ms = duration(input, path)
  if (ms < leastMs) throw badOption(path, leastMs === 1 ? 'more than 0' : `at least ${leastMs} ms`, input)
  return ms
}

/** Parses a field that may be left out; `undefined` counts as left out. */
export function optional<T>(input: unknown, parse: (given: unknown) => T): T | undefined {
  return input === undefined ? undefined : parse(input)
}

/** The same object without its undefined fields. */
export function defined<T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}

/** The known word meant by a typing mistake: at most two edits away, or begun and not ended. */
function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Math.min(3, Math.ceil(word.length / 2))
  for (const candidate of known) {
    const begun = word.length > 2 && candidate.startsWith(word)
    const cost = begun ? 1 : edits(word.toLowerCase(), candidate.toLowerCase())
    if (cost < least) {
      least = cost
      best = candidate
    }
  }
  return best
}

function edits(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
