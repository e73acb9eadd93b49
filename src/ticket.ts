// What sendWithRetry gives back: a name for the stored message, and its end for those who care to wait.

import { randomBytes } from 'node:crypto'
import type { MessageStatus, Outcome } from './events.ts'

/** A stored message. It is delivered whether or not anybody keeps its ticket. */
export interface Ticket {
  /** Ours; `mailer.ticket(id)` finds it again, after a restart too. */
  readonly id: string
  /** The key it was sent with. */
  readonly key?: string
  /** The Message-ID header, the same on every attempt; empty where only the key is remembered. */
  readonly messageId: string
  /** Whether this key was sent before and nothing new was stored. */
  readonly duplicate: boolean
  /**
   * Resolves when every recipient has ended; that may take days.
   * @throws the signal's reason when it aborts first; `CLOSED` when the mailer closes first; `NOT_FOUND` for what was
   * forgotten since it ended
   */
  settled(options?: { readonly signal?: AbortSignal }): Promise<Outcome>
  /** Where it stands; `undefined` once it is purged. */
  status(): Promise<MessageStatus | undefined>
}

const ALPHABET = Buffer.from('0123456789abcdefghjkmnpqrstvwxyz', 'latin1')
const TIME = 10
const ORDER = 14
const LENGTH = 26
/** Chance is drawn in large pieces: one call of the generator costs as much as twenty ids. */
const POOL_BYTES = 4_096
let pool: Buffer = Buffer.alloc(0)
let drawn = 0
let lastAt = 0
let counter = 0
/** The id that is being made: put together of pieces it would be put together again wherever it is looked up. */
const draft = Buffer.alloc(LENGTH, '0')

/** A new id: 50 bits of time, 20 of order within it, 60 of chance, in base 32; ids sort by creation. */
export function newId(now: number): string {
  // a clock set back must not undo the order
  if (now > lastAt) {
    lastAt = now
    base32(now, 0, TIME)
    counter = 0
  } else counter++
  base32(counter, TIME, ORDER)
  if (drawn + LENGTH - ORDER > pool.length) {
    pool = randomBytes(POOL_BYTES)
    drawn = 0
  }
  for (let at = ORDER; at < LENGTH; at++) draft[at] = digit(pool[drawn++] ?? 0)
  return draft.toString('latin1')
}

function base32(value: number, from: number, to: number): void {
  for (let rest = value, at = to - 1; at >= from; at--) {
    draft[at] = digit(rest % 32)
    rest = Math.floor(rest / 32)
  }
}

function digit(value: number): number {
  return ALPHABET[value & 31] ?? 0
}
