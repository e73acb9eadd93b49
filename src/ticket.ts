// What sendWithRetry gives back: a name for the stored message, and its end for those who care to wait.

import { randomBytes } from 'node:crypto'
import type { MessageStatus, Outcome } from './events.ts'

/** A stored message. It is delivered whether or not anybody keeps its ticket. */
export interface Ticket {
  /** Ours; `mailer.ticket(id)` finds it again, after a restart too. */
  readonly id: string
  /** The key it was sent with. */
  readonly key?: string
  /** The Message-ID header, the same on every attempt. */
  readonly messageId: string
  /** Whether this key was sent before and nothing new was stored. */
  readonly duplicate: boolean
  /**
   * Resolves when every recipient has ended; that may take days.
   * @throws the signal's reason when it aborts first; `CLOSED` when the mailer closes first
   */
  settled(options?: { readonly signal?: AbortSignal }): Promise<Outcome>
  /** Where it stands; `undefined` once it is purged. */
  status(): Promise<MessageStatus | undefined>
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
let lastAt = 0
let counter = 0

/** A new id: 48 bits of time, 20 of order within it, 60 of chance, in base 32; ids sort by creation. */
export function newId(now: number): string {
  // a clock set back must not undo the order
  if (now > lastAt) {
    lastAt = now
    counter = 0
  } else counter++
  const chance = randomBytes(12)
  let id = ''
  for (let rest = lastAt, i = 0; i < 10; i++) {
    id = `${ALPHABET[rest % 32]}${id}`
    rest = Math.floor(rest / 32)
  }
  for (let shift = 15; shift >= 0; shift -= 5) id += ALPHABET[(counter >> shift) & 31]
  for (const byte of chance) id += ALPHABET[byte & 31]
  return id
}
