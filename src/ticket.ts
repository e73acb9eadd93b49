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

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
/** Chance is drawn in large pieces: one call of the generator costs as much as twenty ids. */
const POOL_BYTES = 4_096
const CHANCE_BYTES = 12
let pool: Buffer = Buffer.alloc(0)
let drawn = 0
let lastAt = 0
let lastText = ''
let counter = 0

/** A new id: 50 bits of time, 20 of order within it, 60 of chance, in base 32; ids sort by creation. */
export function newId(now: number): string {
  // a clock set back must not undo the order
  if (now > lastAt) {
    lastAt = now
    lastText = base32(now, 10)
    counter = 0
  } else counter++
  if (drawn + CHANCE_BYTES > pool.length) {
    pool = randomBytes(POOL_BYTES)
    drawn = 0
  }
  let id = lastText + base32(counter, 4)
  for (const end = drawn + CHANCE_BYTES; drawn < end; drawn++) id += ALPHABET[(pool[drawn] ?? 0) & 31]
  return id
}

function base32(value: number, digits: number): string {
  let text = ''
  for (let rest = value, i = 0; i < digits; i++) {
    text = `${ALPHABET[rest % 32]}${text}`
    rest = Math.floor(rest / 32)
  }
  return text
}
