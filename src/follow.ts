// Over a pool, with PIPELINING: the envelope of the next message goes out behind the final dot of the one before it
// (RFC 2920 §3.1), in the same write. One round trip a message where there were two. nodemailer's pool keeps its part:
//
//   in its queue → taken out, its envelope behind a final dot → back in front of the queue, and given to the connection
//   that has its envelope, once that one is free and the server has answered to all of it, or with a goodbye
//
//   connection ends before, or the answers make no sense, or do not come in time → back in the queue, as if nothing had
//   been said: no body was given
//   given up meanwhile → nobody's any more; its connection is closed, since the server waits for a body on it
//
// Only where every connection of the pool is busy, so that it would have waited; where final dots are answered at
// once, so that it does not wait longer; and not past what the user has put a limit to. A server that loses what comes
// behind a dot, or ends a session with that unread, can take the answer to the dot with it: it is sent nothing along.

import type { Clock, Timer } from './clock.ts'

/** A final dot must have been answered so soon for the next to have anything behind it. */
const PROMPT_MS = 250
/** Where that takes so long after all, who waits behind it goes another way. */
const PATIENCE_MS = 1_000
/** So long a server has to answer to an envelope that came behind a dot, until it counts as lost. */
const SILENCE_MS = 5_000
/** For so long nothing goes along any more: after an answer that took its time, or a session that ended behind one, twice as long each time; */
const PAUSE_MS = 60_000
/** and where an envelope was lost, or the answer to the dot before it. */
const APART_MS = 86_400_000
/** After so many that were answered as they should be, a pause is as short as the first. */
const GOOD = 100

/** What a message of ours is to those that send it along. */
export abstract class Follower {
  /** Its envelope while it waits in a queue; `undefined` when it must not go along with another. */
  abstract envelopeToFollow(): { readonly from: string; readonly to: readonly string[] } | undefined
  /** Its envelope is on its way. @param giveUp to be called if its try ends before it is begun */
  abstract follows(giveUp: () => void): void
  /** It waits behind nobody any more. */
  abstract comesNext(): void
}

interface Entry {
  readonly mail?: { readonly message?: unknown }
  callback?(error: unknown): void
}

/** nodemailer's SMTPPool, as far as we look at it. */
export interface Pool {
  readonly options?: { readonly maxConnections?: unknown; readonly maxMessages?: unknown }
  readonly _closed?: unknown
  readonly _rateLimit?: { readonly limit?: unknown }
  readonly _queue: Entry[]
  readonly _connections: Resource[]
  _processMessages(): void
}

/** One of its connections. */
export interface Resource {
  readonly pool: Pool
  readonly connection?: unknown
  readonly messages: number
  available: boolean
  close(): void
  emit(name: 'available'): unknown
  prependListener(name: 'available' | 'close', listener: () => void): unknown
}

/** The connection that it follows on. */
export interface Line {
  /** Replies that are there, and to nobody but the follower. */
  replies(): readonly string[]
  /** Whether it ended from the other side. */
  isCut(): boolean
}

/** What is known of a pool, whichever connection it was learned on. */
interface Manners {
  /** On the monotonic clock: nothing goes along before. */
  notBefore: number
  pauses: number
  good: number
  timer: Timer | undefined
  readonly places: Set<Place>
}

const manners = new WeakMap<Pool, Manners>()

/** Behind one connection of a pool. */
export class Place {
  readonly #resource: Resource
  readonly #line: Line
  readonly #clock: Clock
  readonly #manners: Manners
  #entry: Entry | undefined
  #follower: Follower | undefined
  /** What was written for it, until it is begun. */
  #text: string | undefined
  /** To MAIL, each RCPT, and DATA. */
  #replies = 0
  /** Since when it waits: for the one before it, then for an answer of its own. */
  #since = 0
  #isNext = false
  /** Nobody's: the connection has to go. */
  #isSpoiled = false
  #dotAt = 0
  #isAnswered = false
  #isPrompt = false

  constructor(resource: Resource, line: Line, clock: Clock) {
    const { pool } = resource
    this.#resource = resource
    this.#line = line
    this.#clock = clock
    let known = manners.get(pool)
    if (!known) {
      known = { notBefore: Number.NEGATIVE_INFINITY, pauses: 0, good: 0, timer: undefined, places: new Set() }
      manners.set(pool, known)
    }
    this.#manners = known
    known.places.add(this)
    resource.prependListener('available', () => this.#onAvailable())
    resource.prependListener('close', () => this.#onClose())
  }

  /** Whether replies are for who follows, and nobody hears them yet. */
  get isTaken(): boolean {
    return this.#entry !== undefined || this.#isSpoiled
  }

  /** What goes behind the final dot that is about to be written. @param say gives its envelope as text, if it can */
  take(say: (envelope: object) => string | undefined): string {
    this.#dotAt = this.#clock.monotonic()
    this.#isAnswered = false
    if (!this.#isPrompt || this.isTaken || this.#dotAt < this.#manners.notBefore) return ''
    const { pool, messages } = this.#resource
    const { _queue: queue, _connections: connections, options } = pool
    const [entry] = queue
    const follower = entry?.mail?.message
    if (!entry || !(follower instanceof Follower)) return ''
    if (pool._closed || pool._rateLimit?.limit || messages + 1 >= Number(options?.maxMessages)) return ''
    if (connections.length < Number(options?.maxConnections)) return ''
    for (const { available } of connections) if (available) return ''
    const envelope = follower.envelopeToFollow()
    const text = envelope && say(envelope)
    if (!envelope || text === undefined) return ''
    queue.shift()
    this.#entry = entry
    this.#follower = follower
    this.#text = text
    this.#replies = envelope.to.length + 2
    this.#since = this.#dotAt
    this.#isNext = false
    follower.follows(() => {
      if (this.#entry === entry) this.#giveUp()
    })
    this.#watch()
    return text
  }

  /** The final dot was answered. */
  dotAnswered(): void {
    this.#isAnswered = true
    this.#isPrompt = this.#clock.monotonic() - this.#dotAt < PROMPT_MS
  }

  /** Replies have come that are for who follows. */
  heard(): void {
    if (!this.#isNext || this.#entry === undefined) return
    this.#resource.available = true
    this.#resource.emit('available')
  }

  /** What was written for the message that is being begun, `undefined` if nothing. */
  begin(): string | undefined {
    const text = this.#text
    this.#text = undefined
    return text
  }

  /** Its listener is before the pool's, which gives the first that is available the first of its queue. */
  #onAvailable(): void {
    const resource = this.#resource
    if (this.#isSpoiled) {
      resource.close()
      return
    }
    if (this.#entry === undefined) return
    if (!this.#isNext) {
      this.#isNext = true
      this.#since = this.#clock.monotonic()
      this.#follower?.comesNext()
    }
    const replies = this.#line.replies()
    if (replies.length < this.#replies && !replies.some(isGoodbye)) {
      resource.available = false
      return
    }
    if (replies.length > this.#replies || isLost(replies)) {
      this.#lose(APART_MS)
      return
    }
    const known = this.#manners
    if (++known.good >= GOOD) known.pauses = 0
    const { _connections: connections } = resource.pool
    const at = connections.indexOf(resource)
    if (at > 0) {
      connections.splice(at, 1)
      connections.unshift(resource)
    }
    this.#giveBack()
  }

  #onClose(): void {
    this.#manners.places.delete(this)
    this.#text = undefined
    if (this.#entry === undefined) return
    this.#rest(!this.#isAnswered && this.#line.isCut() ? APART_MS : PAUSE_MS)
    this.#return()
  }

  #rest(ms: number): void {
    const known = this.#manners
    const now = this.#clock.monotonic()
    // what several connections tell at once is one trouble
    if (now >= known.notBefore) ms *= 2 ** known.pauses++
    known.good = 0
    known.notBefore = Math.max(known.notBefore, now + Math.min(ms, APART_MS))
  }

  #giveBack(): void {
    const entry = this.#entry
    this.#entry = undefined
    this.#follower = undefined
    if (entry) this.#resource.pool._queue.unshift(entry)
  }

  /** To the queue, for any connection. */
  #return(): void {
    this.#giveBack()
    this.#clock.turn(() => this.#resource.pool._processMessages())
  }

  /** Its try has ended. */
  #giveUp(): void {
    if (this.#isNext && this.#clock.monotonic() - this.#since >= PATIENCE_MS) this.#rest(PAUSE_MS)
    this.#spoil()
  }

  /** The server must not be left waiting for a body that does not come. */
  #spoil(): void {
    const entry = this.#entry
    this.#entry = undefined
    this.#follower = undefined
    this.#text = undefined
    this.#isSpoiled = true
    if (this.#isNext) this.#resource.close()
    // the pool counts those that it was given
    entry?.callback?.(new Error('given up before it was begun'))
  }

  /** One timer for a pool, and none while nothing follows. */
  #watch(): void {
    const known = this.#manners
    if (known.timer) return
    known.timer = this.#clock.after(PATIENCE_MS, () => {
      known.timer = undefined
      for (const place of known.places) place.#look()
    })
    known.timer.keep(false)
  }

  #look(): void {
    if (this.#entry === undefined) return
    const waits = this.#clock.monotonic() - this.#since
    if (waits < (this.#isNext ? SILENCE_MS : PATIENCE_MS)) {
      this.#watch()
      return
    }
    this.#lose(this.#isNext ? APART_MS : PAUSE_MS)
  }

  /** It goes another way, and its connection is of no more use. */
  #lose(restMs: number): void {
    this.#rest(restMs)
    this.#return()
    this.#spoil()
  }
}

function isGoodbye(reply: string): boolean {
  return /^421[ -]/.test(reply)
}

/** Whether a server has not understood what it was told, or not heard what came before it. */
function isLost(replies: readonly string[]): boolean {
  const [mail = '', rcpt = ''] = replies
  const data = replies.at(-1) ?? ''
  return /^50[023]/.test(mail) || (/^2/.test(mail) && /^503/.test(rcpt)) || /^2/.test(data)
}
