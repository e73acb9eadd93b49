// Receivers as they behave, without a socket: what each answers to an attempt at a moment, and what it remembers.
// Plain data describes one, so that a plan can be a JSON file. Not here: who sends to them (simulate.ts).

import { badOption, SteadymailError } from '../core/error.ts'
import type { Phase } from '../core/reply.ts'
import { type Duration, duration, HOUR, MINUTE, type Rate, rate } from '../core/units.ts'

/** A receiver, described. Several in a list: the first that refuses answers. */
export type ReceiverSpec =
  /** At most so many accepted in any stretch of the window. */
  | { readonly kind: 'sliding-window'; readonly limit: Rate; readonly reply?: string }
  /** So many at once, then as they trickle in. */
  | { readonly kind: 'token-bucket'; readonly rate: Rate; readonly burst: number; readonly reply?: string }
  /** A sliding window in which refused attempts count too, as GMX and WEB.DE have it. */
  | { readonly kind: 'counts-retries'; readonly limit: Rate; readonly reply?: string }
  /** First contact of sender and recipient is deferred for a while. */
  | { readonly kind: 'greylist'; readonly delay?: Duration; readonly reply?: string }
  /** So many connections at a time. */
  | { readonly kind: 'max-connections'; readonly limit: number; readonly reply?: string }
  /** A sliding window that shrinks with every attempt above it and recovers with good time. */
  | {
      readonly kind: 'reputation'
      readonly limit: Rate
      /** From nothing back to full. @default '12h' */
      readonly recovery?: Duration
      readonly reply?: string
    }
  /** Nothing works from then on for so long, counted from the first attempt or the simulation's start. */
  | {
      readonly kind: 'outage'
      readonly from: Duration
      readonly lasts: Duration
      /** @default 'busy' */
      readonly how?: 'busy' | 'refused'
      readonly reply?: string
    }

/** One transaction, as the receiver sees it. */
export interface ReceiverAttempt {
  readonly sender: string
  readonly recipients: readonly string[]
  /** Connections open to it, this one included. */
  readonly connections: number
}

/** What a receiver says to one recipient; `undefined` for 250. */
export type Refusal = {
  readonly reply?: string
  readonly errno?: string
  readonly phase: Phase
  /** The limit was passed, rather than a first contact deferred or a fault met. */
  readonly violation: boolean
}

export interface Receiver {
  /** One answer per recipient. */
  answer(now: number, attempt: ReceiverAttempt): readonly (Refusal | undefined)[]
  /** From when on it would accept one more recipient: what only the omniscient know. */
  clearAt(now: number, attempt: ReceiverAttempt): number
}

// Texts as seen in the wild: what the classifier is measured on.
const TEXTS = {
  'sliding-window': '421 4.7.0 Too many messages received from your IP, please slow down and try again later',
  'token-bucket': '451 4.7.1 Rate limit exceeded for your IP address, try again later',
  'counts-retries':
    '421 Service not available. Too many messages have been received in a short period of time. Please try again later and reduce the sending rate.',
  greylist: '451 4.7.1 Recipient address rejected: Greylisted',
  'max-connections': '421 4.7.0 Error: too many connections from 203.0.113.9',
  reputation: '421 4.7.0 Messages from 203.0.113.9 temporarily deferred due to unexpected volume',
  outage: '421 4.3.2 Service temporarily unavailable, closing transmission channel',
} as const

/**
 * Makes the receiver that a description describes.
 * @param start epoch ms from which outages are counted
 * @throws {SteadymailError} `BAD_OPTION` naming the field, as `providers[0].receiver.limit`
 */
export function receiver(
  spec: ReceiverSpec | readonly ReceiverSpec[],
  start: number,
  path = 'receiver',
): Receiver {
  if (Array.isArray(spec)) {
    const parts = spec.map((one: ReceiverSpec, i) => receiver(one, start, `${path}[${i}]`))
    if (parts.length === 0) throw badOption(path, 'at least one receiver', spec)
    return allOf(parts)
  }
  const one = spec as ReceiverSpec
  const reply = one.reply ?? TEXTS[one.kind]
  switch (one.kind) {
    case 'sliding-window':
      return slidingWindow(limitOf(one.limit, path), reply)
    case 'counts-retries':
      return countsRetries(limitOf(one.limit, path), reply)
    case 'token-bucket':
      return tokenBucket(rate(one.rate, `${path}.rate`), least(one.burst, 1, `${path}.burst`), reply)
    case 'greylist':
      return greylist(duration(one.delay ?? 5 * MINUTE, `${path}.delay`), reply)
    case 'max-connections':
      return maxConnections(least(one.limit, 1, `${path}.limit`), reply)
    case 'reputation':
      return reputation(
        limitOf(one.limit, path),
        duration(one.recovery ?? 12 * HOUR, `${path}.recovery`),
        reply,
      )
    case 'outage': {
      const from = start + duration(one.from, `${path}.from`)
      return outage(from, from + duration(one.lasts, `${path}.lasts`), one.how ?? 'busy', reply)
    }
    default:
      one satisfies never
      throw new SteadymailError(
        'BAD_OPTION',
        `${path}.kind: expected one of ${Object.keys(TEXTS).join(', ')}`,
        {
          path: `${path}.kind`,
        },
      )
  }
}

interface Limit {
  readonly count: number
  readonly perMs: number
}

function limitOf(text: Rate, path: string): Limit {
  const limit = rate(text, `${path}.limit`)
  return { count: Math.max(1, Math.floor(limit.count)), perMs: limit.perMs }
}

function least(given: number, bound: number, path: string): number {
  if (!Number.isFinite(given) || given < bound) throw badOption(path, `a number, at least ${bound}`, given)
  return given
}

/** Moments of the last `perMs`, oldest first, without copying. */
class Recent {
  readonly #perMs: number
  #times: number[] = []
  #from = 0

  constructor(perMs: number) {
    this.#perMs = perMs
  }

  count(now: number): number {
    while (this.#from < this.#times.length && (this.#times[this.#from] ?? 0) <= now - this.#perMs)
      this.#from += 1
    if (this.#from > 10_000 && this.#from * 2 > this.#times.length) {
      this.#times = this.#times.slice(this.#from)
      this.#from = 0
    }
    return this.#times.length - this.#from
  }

  add(now: number): void {
    this.#times.push(now)
  }

  /** When fewer than `limit` are left. */
  below(limit: number, now: number): number {
    const over = this.count(now) - limit
    return over < 0 ? now : (this.#times[this.#from + over] ?? now) + this.#perMs
  }
}

function slidingWindow(limit: Limit, reply: string): Receiver {
  const accepted = new Recent(limit.perMs)
  return {
    answer: (now, { recipients }) =>
      recipients.map(() => {
        if (accepted.count(now) >= limit.count) return { reply, phase: 'mail', violation: true }
        accepted.add(now)
        return undefined
      }),
    clearAt: (now) => accepted.below(limit.count, now),
  }
}

function countsRetries(limit: Limit, reply: string): Receiver {
  const seen = new Recent(limit.perMs)
  return {
    answer: (now, { recipients }) =>
      recipients.map(() => {
        const full = seen.count(now) >= limit.count
        seen.add(now)
        return full ? { reply, phase: 'greeting', violation: true } : undefined
      }),
    clearAt: (now) => seen.below(limit.count, now),
  }
}

function tokenBucket(refill: Limit, burst: number, reply: string): Receiver {
  const perMs = refill.count / refill.perMs
  let tokens = burst
  let at = 0
  const fill = (now: number) => {
    if (at > 0) tokens = Math.min(burst, tokens + Math.max(0, now - at) * perMs)
    at = now
  }
  return {
    answer(now, { recipients }) {
      fill(now)
      return recipients.map(() => {
        if (tokens < 1 - 1e-9) return { reply, phase: 'rcpt', violation: true }
        tokens -= 1
        return undefined
      })
    },
    clearAt(now) {
      fill(now)
      return tokens >= 1 - 1e-9 ? now : Math.ceil(now + (1 - tokens) / perMs)
    },
  }
}

function greylist(delayMs: number, reply: string): Receiver {
  const firstSeen = new Map<string, number>()
  return {
    answer: (now, { sender, recipients }) =>
      recipients.map((recipient) => {
        const triplet = `${sender} ${recipient}`
        const first = firstSeen.get(triplet)
        if (first === undefined) firstSeen.set(triplet, now)
        if (first !== undefined && now - first >= delayMs) return undefined
        return { reply, phase: 'rcpt', violation: false }
      }),
    clearAt: (now, { sender, recipients }) => {
      const first = firstSeen.get(`${sender} ${recipients[0]}`)
      // the first contact must be made before it can be over
      return first === undefined ? now : Math.max(now, first + delayMs)
    },
  }
}

function maxConnections(limit: number, reply: string): Receiver {
  return {
    answer: (_now, { recipients, connections }) =>
      recipients.map(() => (connections > limit ? { reply, phase: 'greeting', violation: true } : undefined)),
    clearAt: (now, { connections }) => (connections > limit ? Infinity : now),
  }
}

/** Each violation takes a twentieth of what is allowed, down to a tenth. */
function reputation(limit: Limit, recoveryMs: number, reply: string): Receiver {
  const accepted = new Recent(limit.perMs)
  let standing = 1
  let at = 0
  const allowed = (now: number) => {
    if (at > 0) standing = Math.min(1, standing + Math.max(0, now - at) / recoveryMs)
    at = now
    return Math.max(1, Math.floor(limit.count * standing))
  }
  return {
    answer: (now, { recipients }) =>
      recipients.map(() => {
        if (accepted.count(now) >= allowed(now)) {
          standing = Math.max(0.1, standing * 0.95)
          return { reply, phase: 'mail', violation: true }
        }
        accepted.add(now)
        return undefined
      }),
    clearAt: (now) => accepted.below(allowed(now), now),
  }
}

function outage(from: number, until: number, how: 'busy' | 'refused', reply: string): Receiver {
  const refusal: Refusal =
    how === 'refused'
      ? { errno: 'ECONNREFUSED', phase: 'greeting', violation: false }
      : { reply, phase: 'greeting', violation: false }
  const isOut = (now: number) => now >= from && now < until
  return {
    answer: (now, { recipients }) => recipients.map(() => (isOut(now) ? refusal : undefined)),
    clearAt: (now) => (isOut(now) ? until : now),
  }
}

/** Later parts are asked only for recipients that the earlier ones let through. */
function allOf(parts: readonly Receiver[]): Receiver {
  return {
    answer(now, attempt) {
      const answers: (Refusal | undefined)[] = attempt.recipients.map(() => undefined)
      for (const part of parts) {
        const open = attempt.recipients.flatMap((_, i) => (answers[i] === undefined ? [i] : []))
        if (open.length === 0) break
        const said = part.answer(now, {
          ...attempt,
          recipients: open.map((i) => attempt.recipients[i] ?? ''),
        })
        open.forEach((i, n) => {
          answers[i] = said[n]
        })
      }
      return answers
    },
    clearAt: (now, attempt) => Math.max(...parts.map((part) => part.clearAt(now, attempt))),
  }
}
