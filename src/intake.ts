// How a mail comes in: frozen, given its lanes, stored. Bounded, because callers are not.
// Not here: tickets and verbs (mailer.ts), or building bytes (freeze.ts).

import { Aborts } from './aborts.ts'
import { addressKey, domainOf } from './address.ts'
import type { Breath } from './breath.ts'
import { systemClock } from './clock.ts'
import { SteadymailError } from './core/error.ts'
import { FleetingSet } from './core/fleeting.ts'
import type { Message } from './core/message.ts'
import type { Events } from './events.ts'
import { envelopeOf, type Frozen, freeze, freezeAtOnce, isAtHand } from './freeze.ts'
import type { Grouping } from './grouping.ts'
import type { ResolvedOptions, ResolvedSend } from './options.ts'
import type { Outbox } from './outbox.ts'
import { nudge } from './recovery.ts'
import type { NewDelivery } from './stores/store.ts'
import { newId, type Ticket } from './ticket.ts'
import type { Target } from './transporter.ts'
import { Turnstile } from './turnstile.ts'

/**
 * Messages being built or stored at a time, of those that are at hand: as many share an fsync, which counts where it
 * takes long; with twice as many the event loop feels each commit. Fewer when they are large.
 */
const AT_HAND_MOST = 256
/** Of those that are read first. */
const TO_READ_MOST = 64
const INTAKE_LEAST = 4
/** What they may come to together, of the size that is usual. */
const INTAKE_BYTES = 64 * 1024 * 1024
/**
 * Messages taken in at most before the event loop turns, and fewer where they take long (breath.ts): building one of
 * plain text never waits for it, and what was taken in is sent and told of in the turns that follow.
 */
const A_TURN = 32
/** So many, though our work has taken its time in this turn: a transport that blocks must not keep mail out until its last. */
const A_TURN_LEAST = 8
/** So many of those that need no building for one that does. */
const BUILT = 2

export interface IntakeParts {
  readonly target: Target
  readonly options: ResolvedOptions
  readonly grouping: Grouping
  readonly outbox: Outbox
  readonly events: Events
  readonly breath: Breath
  /** Throws when the mailer was closed meanwhile. */
  readonly assertOpen: () => void
  /** The ticket of a message that was stored. */
  readonly ticketOf: (message: Message) => Ticket
  /** The ticket of the one that has its key already. */
  readonly duplicateOf: (id: string, key: string | undefined) => Promise<Ticket>
}

export class Intake {
  readonly #target: Target
  readonly #options: ResolvedOptions
  readonly #grouping: Grouping
  readonly #outbox: Outbox
  readonly #events: Events
  readonly #assertOpen: () => void
  readonly #ticketOf: IntakeParts['ticketOf']
  readonly #duplicateOf: IntakeParts['duplicateOf']
  readonly #atHand = new Turnstile(AT_HAND_MOST)
  /** Mail that waits for others while it is built: a stream that never ends must not keep out what needs none. */
  readonly #toRead = new Turnstile(TO_READ_MOST)
  /** Of the messages taken in lately, fading. */
  #largest = 0
  /** Ends the waiting of those whose mail is not stored yet. */
  readonly #building = new FleetingSet<(error: unknown) => void>()
  readonly #aborts = new Aborts()
  readonly #breath: Breath
  /** What was taken in in which turn of the event loop. */
  #sinceTurn = 0
  #turn = 0

  constructor(parts: IntakeParts) {
    this.#target = parts.target
    this.#options = parts.options
    this.#grouping = parts.grouping
    this.#outbox = parts.outbox
    this.#events = parts.events
    this.#breath = parts.breath
    this.#assertOpen = parts.assertOpen
    this.#ticketOf = parts.ticketOf
    this.#duplicateOf = parts.duplicateOf
  }

  /** Resolves when nothing is on its way in. */
  idle(): Promise<void> {
    return Promise.all([this.#atHand.idle(), this.#toRead.idle()]).then(() => undefined)
  }

  #turnstileOf(mail: unknown): Turnstile {
    return isAtHand(mail) ? this.#atHand : this.#toRead
  }

  /** Freezes and stores a mail; bounded, so that a burst of large mail does not fill the memory. */
  take(mail: unknown, send: ResolvedSend): Promise<Ticket> {
    // who waits without a signal costs a closure, and hears of a close when it is his turn
    if (send.signal !== undefined) return this.#stoppable(mail, send)
    try {
      return this.#turnstileOf(mail).run(() => this.#freezeAndStore(mail, send))
    } catch (error) {
      return Promise.reject(error) // by a mail that throws when it is looked at
    }
  }

  async #freezeAndStore(mail: unknown, send: ResolvedSend): Promise<Ticket> {
    while (this.#isBreathless()) await this.#breath.next()
    this.#assertOpen()
    const { maxMessageBytes } = this.#options
    const frozen =
      freezeAtOnce(this.#target, mail, { maxMessageBytes }) ??
      (await this.#freezeUnlessStopped(mail, undefined))
    this.#fit(frozen.bytes.byteLength)
    const learning = this.#grouping.learn(frozen.to)
    if (learning) await learning
    this.#assertOpen()
    return this.#store(frozen, send)
  }

  /**
   * An attachment may never end, or a plugin answer: time, closing or the signal gives the slot back. By a promise of its
   * own: raced with one that had waited for long, what is built stays in memory until everything is collected.
   */
  async #freezeUnlessStopped(mail: unknown, signal: AbortSignal | undefined): Promise<Frozen> {
    let stop: (error: unknown) => void = () => undefined
    const stopped = new Promise<never>((_, reject) => {
      stop = reject
    })
    const forget = this.#stopOn(signal, stop)
    this.#sinceTurn += BUILT - 1
    const { maxMessageBytes, contentTimeoutMs } = this.#options
    const timer = systemClock.after(contentTimeoutMs, () => stop(neverRead(contentTimeoutMs)))
    try {
      return await Promise.race([freeze(this.#target, mail, { maxMessageBytes }), stopped])
    } finally {
      timer.cancel()
      forget()
    }
  }

  async #stoppable(mail: unknown, send: ResolvedSend): Promise<Ticket> {
    const { signal } = send
    const turnstile = this.#turnstileOf(mail) // before anything waits: it may throw
    let storing = false
    let stop: (error: unknown) => void = () => undefined
    const stopped = new Promise<never>((_, reject) => {
      // once it may have been stored only the store's answer tells
      stop = (error) => {
        if (!storing) reject(error)
      }
    })
    const forget = this.#stopOn(signal, stop)
    const taking = turnstile.run(async () => {
      while (this.#isBreathless()) await this.#breath.next()
      throwIfAborted(signal)
      this.#assertOpen()
      const frozen = await this.#freezeUnlessStopped(mail, signal)
      this.#fit(frozen.bytes.byteLength)
      await this.#grouping.learn(frozen.to)
      throwIfAborted(signal)
      this.#assertOpen()
      storing = true
      return this.#store(frozen, send)
    })
    try {
      return await Promise.race([taking, stopped])
    } finally {
      forget()
    }
  }

  #stopOn(signal: AbortSignal | undefined, stop: (error: unknown) => void): () => void {
    this.#building.add(stop)
    const forget = this.#aborts.on(signal, () => stop(abortedBefore(signal)))
    return () => {
      this.#building.delete(stop)
      forget()
    }
  }

  /** Whoever still builds a mail is told that it will not be stored. */
  stop(error: SteadymailError): void {
    for (const stop of this.#building) stop(error)
  }

  /** A loop of `await sendWithRetry` must not keep timers, sockets and delivery waiting until it ends: whether to wait for the next turn. */
  #isBreathless(): boolean {
    const { turn } = this.#breath
    if (turn !== this.#turn) {
      this.#turn = turn
      this.#sinceTurn = 0
    }
    const taken = ++this.#sinceTurn
    return taken > A_TURN || (taken > A_TURN_LEAST && this.#breath.isSpent)
  }

  /** The larger the mail of late, the less of it is taken in at once; mail being built counts, not only what is built. */
  #fit(size: number): void {
    this.#largest = Math.max(size, this.#largest * 0.9)
    const fitting = Math.floor(INTAKE_BYTES / Math.max(1, this.#largest))
    narrow(this.#atHand, fitting, AT_HAND_MOST)
    narrow(this.#toRead, fitting, TO_READ_MOST)
  }

  async #store(frozen: Frozen, send: ResolvedSend): Promise<Ticket> {
    const { store, clock } = this.#options
    const now = clock.now()
    const message = this.#message(frozen, send, now)
    const deliveries = this.#deliveries(frozen, message, send, now)
    this.#foresee(deliveries, now)
    const adding = store.add(
      { message, bytes: frozen.bytes, deliveries },
      this.#options.maxWaiting,
      this.#outbox.owner.fence,
    )
    clock.working?.(adding)
    const added = await adding
    if (added.kind === 'conflict') throw keyConflict(message.key)
    if (added.kind === 'duplicate') return this.#duplicateOf(added.ticket, message.key)
    this.note(deliveries)
    if (this.#events.heard('queued')) {
      this.#events.emit('queued', {
        id: message.id,
        messageId: message.messageId,
        recipients: deliveries.length,
        ...(message.key === undefined ? {} : { key: message.key }),
        ...(send.meta === undefined ? {} : { meta: send.meta }),
      })
    }
    return this.#ticketOf(message)
  }

  #message(frozen: Frozen, send: ResolvedSend, now: number): Message {
    const first = frozen.to[0] ?? ''
    const ttlMs = send.ttlMs ?? this.#ttlOf(frozen.to) ?? this.#options.ttlMs
    const message: { -readonly [K in keyof Message]: Message[K] } = {
      id: newId(now),
      messageId: frozen.messageId,
      from: frozen.from,
      fromDomain: frozen.fromDomain === '' ? domainOf(first) : frozen.fromDomain,
      size: frozen.bytes.byteLength,
      priority: send.priority,
      createdAt: now,
      expiresAt: Math.max(now, send.notBeforeAt ?? now) + ttlMs,
      recipients: frozen.to.length,
      wire: frozen.wire,
    }
    if (send.key !== undefined) message.key = send.key
    if (send.onUncertain !== undefined) message.onUncertain = send.onUncertain
    if (send.meta !== undefined) message.meta = JSON.stringify(send.meta)
    return message
  }

  #ttlOf(addresses: readonly string[]): number | undefined {
    // a message lives as long as its most patient recipient; each delivery has its own end
    const ttls = addresses.map((a) => this.#grouping.policyOf(domainOf(a)).ttlMs)
    return ttls.every((t) => t !== undefined) ? Math.max(...ttls) : undefined
  }

  #deliveries(frozen: Frozen, message: Message, send: ResolvedSend, now: number): NewDelivery[] {
    const from = Math.max(now, send.notBeforeAt ?? now)
    return frozen.to.map((address) => {
      const domain = domainOf(address)
      const policy = this.#grouping.policyOf(domain)
      return {
        ticket: message.id,
        address,
        domain,
        lane: policy.lane,
        sender: message.fromDomain,
        priority: message.priority,
        state: 'waiting',
        attempts: 0,
        tries: 0,
        uncounted: 0,
        uncertain: 0,
        crashes: 0,
        dueAt: from,
        expiresAt: from + (send.ttlMs ?? policy.ttlMs ?? this.#options.ttlMs),
        createdAt: now,
      }
    })
  }

  /** Lanes learn that a message has several recipients in them before a claim can see it. */
  #foresee(deliveries: readonly NewDelivery[], now: number): void {
    if (deliveries.length < 2) return
    const seen = new Set<string>()
    for (const { lane, domain } of deliveries) {
      if (seen.has(lane)) this.#outbox.laneOf(lane, domain, now).several = true
      seen.add(lane)
    }
  }

  /** What was stored, or waits again, is known to whoever delivers. */
  note(deliveries: readonly NewDelivery[]): void {
    if (this.#outbox.owner.fence === 0) {
      nudge(this.#options.store) // its owner was sent a notice
      return
    }
    const now = this.#options.clock.now()
    const { lanes } = this.#outbox
    for (const d of deliveries) {
      lanes.note(
        lanes.queue(this.#outbox.laneOf(d.lane, d.domain, now), d.sender, d.priority),
        d.dueAt,
        1,
        now,
      )
    }
    this.#outbox.ask()
  }

  /**
   * The message of a key that was used before.
   * @throws SteadymailError `KEY_CONFLICT` when it was for other recipients
   */
  async known(key: string, mail: unknown): Promise<Message | undefined> {
    const stored = await this.#options.store.byKey(key)
    if (stored === undefined) return undefined
    const { to } = await envelopeOf(this.#target, mail)
    const before = new Set(stored.deliveries.map((d) => addressKey(d.address)))
    const same = to.length === before.size && to.every((address) => before.has(addressKey(address)))
    if (!same) throw keyConflict(key)
    return stored.message
  }
}

function narrow(turnstile: Turnstile, fitting: number, most: number): void {
  turnstile.allow(Math.min(most, Math.max(INTAKE_LEAST, fitting)))
}

function keyConflict(key: string | undefined): SteadymailError {
  return new SteadymailError('KEY_CONFLICT', `key: '${key}' was used before for other recipients`, {
    path: 'key',
  })
}

function neverRead(timeoutMs: number): SteadymailError {
  return new SteadymailError(
    'BAD_MESSAGE',
    `the content of the mail was not read within ${timeoutMs} ms (contentTimeout): a stream, URL or plugin that does not end`,
  )
}

/** @throws SteadymailError `ABORTED` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedBefore(signal)
}

function abortedBefore(signal: AbortSignal | undefined): SteadymailError {
  return new SteadymailError('ABORTED', 'aborted before the message was stored', { cause: signal?.reason })
}
