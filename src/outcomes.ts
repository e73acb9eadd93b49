// How outcomes reach the user: `settled()` waits, the `settled` event, and `onSettled`, which is durable:
// called at least once per message, again after a crash or a rejection, until it resolves.

import { Aborts } from './aborts.ts'
import type { Breath } from './breath.ts'
import type { Clock, Timer } from './clock.ts'
import { SteadymailError } from './core/error.ts'
import { FleetingMap, FleetingSet } from './core/fleeting.ts'
import type { Events, MessageStatus, Outcome, RecipientStatus } from './events.ts'
import { Pace } from './pace.ts'
import type { Store, Stored } from './stores/store.ts'
import { aboutMessage } from './tell.ts'

const AT_ONCE = 100
const RETRY_MS = 1_000
const RETRY_MAX_MS = 300_000
/** A call of the handler that takes longer holds up no other outcome. */
const HANDLER_MS = 60_000
/** A handler that rejects so many outcomes in a row is not available at all. */
const MOST_IN_A_ROW = 5
/** How often a process that does not deliver looks whether what it waits for has ended. */
const POLL_MS = 1_000

interface Waiter {
  resolve(outcome: Outcome): void
  reject(error: unknown): void
}

export interface OutcomesParts {
  readonly store: Store
  readonly clock: Clock
  readonly events: Events
  readonly breath: Breath
  /** `onSettled`. */
  readonly handler: ((outcome: Outcome) => unknown) | undefined
  /** Whether it is this process that delivers. */
  readonly delivers: () => boolean
  readonly onHandlerError: (error: unknown) => void
  /** Keeps the process alive until what it gives is called. */
  readonly keepAlive: () => () => void
}

export class Outcomes {
  readonly #store: Store
  readonly #clock: Clock
  readonly #events: Events
  readonly #handler: ((outcome: Outcome) => unknown) | undefined
  readonly #delivers: () => boolean
  readonly #onHandlerError: (error: unknown) => void
  /** One is the usual case, and thousands wait for one each; but any number may for one. */
  readonly #waiting = new FleetingMap<string, Waiter | Set<Waiter>>()
  readonly #keepAlive: () => () => void
  /** Lets the process end, as far as those are concerned who wait. */
  #release: (() => void) | undefined
  readonly #aborts = new Aborts()
  /** Tickets whose call of the handler has not come back in time. */
  readonly #overdue = new Set<string>()
  #handling = false
  #again = false
  #retryMs = RETRY_MS
  #pausedUntil = 0
  /** Tickets that the handler rejected: when it is given them again, and after how long a wait. */
  readonly #rejected = new Map<string, { readonly at: number; readonly waitMs: number }>()
  /** Before then none of them, several having been rejected again in a row; what is new to the handler goes on. */
  #againAt = 0
  #againMs = RETRY_MS
  #timer: Timer | undefined
  #poll: Timer | undefined
  /** Tickets that somebody has begun to wait for, and whether another process ends them. */
  readonly #asked: { readonly ticket: string; readonly poll: boolean }[] = []
  #answering = false
  readonly #pace: Pace
  #closed = false
  #handled: Promise<void> = Promise.resolve()
  /** Tickets of messages that ended, to be told of. */
  #untold: string[] = []
  #telling: Promise<void> | undefined
  /** What is being told. */
  readonly #reading = new FleetingSet<Promise<void>>()

  constructor(parts: OutcomesParts) {
    this.#store = parts.store
    this.#clock = parts.clock
    this.#events = parts.events
    this.#handler = parts.handler
    this.#delivers = parts.delivers
    this.#onHandlerError = parts.onHandlerError
    this.#keepAlive = parts.keepAlive
    this.#pace = new Pace(parts.breath)
  }

  /** Messages whose last recipient ended. */
  ended(tickets: readonly string[]): void {
    const heard = this.#events.heard('settled')
    for (const ticket of tickets) if (heard || this.#waiting.has(ticket)) this.#untold.push(ticket)
    if (this.#untold.length > 0 && this.#telling === undefined) {
      this.#telling = this.#tellAll()
      this.#clock.working?.(this.#telling)
    }
    this.handle()
  }

  /** One fsync may end thousands at once, and each has to be read; a store that takes long for one holds up no other. */
  async #tellAll(): Promise<void> {
    while (this.#untold.length > 0) {
      for (const ticket of this.#untold.splice(0)) {
        const told = this.#tell(ticket).catch(() => undefined)
        this.#reading.add(told)
        told.then(() => this.#reading.delete(told))
        this.#clock.working?.(told)
        await this.#pace.step()
      }
    }
    this.#telling = undefined
  }

  async #told(): Promise<void> {
    while (this.#telling !== undefined || this.#reading.size > 0)
      await Promise.all([this.#telling, ...this.#reading])
  }

  async #tell(ticket: string): Promise<void> {
    const outcome = await this.outcome(ticket)
    if (outcome === undefined) return
    this.#events.emit('settled', outcome)
    this.#resolve(ticket, outcome)
  }

  #resolve(ticket: string, outcome: Outcome): void {
    this.#dismiss(ticket, (waiter) => waiter.resolve(outcome))
  }

  #reject(ticket: string, error: unknown): void {
    this.#dismiss(ticket, (waiter) => waiter.reject(error))
  }

  /** Tells those who waited for it, who from now on do not. */
  #dismiss(ticket: string, tell: (waiter: Waiter) => void): void {
    const waiting = this.#waiting.get(ticket)
    this.#waiting.delete(ticket)
    if (waiting instanceof Set) waiting.forEach(tell)
    else if (waiting !== undefined) tell(waiting)
    this.#letGo()
  }

  #wait(ticket: string, waiter: Waiter): void {
    const waiting = this.#waiting.get(ticket)
    if (waiting === undefined) this.#waiting.set(ticket, waiter)
    else if (waiting instanceof Set) waiting.add(waiter)
    else this.#waiting.set(ticket, new Set([waiting, waiter]))
    this.#release ??= this.#keepAlive()
  }

  #leave(ticket: string, waiter: Waiter): void {
    const waiting = this.#waiting.get(ticket)
    if (waiting === waiter || (waiting instanceof Set && waiting.delete(waiter) && waiting.size === 0))
      this.#waiting.delete(ticket)
    this.#letGo()
  }

  #letGo(): void {
    if (this.#waiting.size > 0) return
    this.#release?.()
    this.#release = undefined
  }

  async outcome(ticket: string): Promise<Outcome | undefined> {
    const stored = await this.#store.get(ticket)
    if (stored?.settledAt === undefined) return undefined
    return toOutcome(stored, await statuses(this.#store, stored))
  }

  /** Resolves when the message has ended, at once if it has; the process stays alive until then. */
  settled(ticket: string, poll: boolean, signal: AbortSignal | undefined): Promise<Outcome> {
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const waiter =
        signal === undefined ? { resolve, reject } : this.#stoppable(ticket, signal, { resolve, reject })
      this.#wait(ticket, waiter)
      this.#asked.push({ ticket, poll })
      if (!this.#answering) void this.#answer()
    })
  }

  #stoppable(ticket: string, signal: AbortSignal, { resolve, reject }: Waiter): Waiter {
    const forget = this.#aborts.on(signal, (reason) => {
      this.#leave(ticket, waiter)
      waiter.reject(reason)
    })
    const waiter: Waiter = {
      resolve: (outcome) => {
        forget()
        resolve(outcome)
      },
      reject: (error) => {
        forget()
        reject(error)
      },
    }
    return waiter
  }

  /**
   * The outcome may have come before anybody waited. Thousands may ask at once, and a look takes SQLite 30 µs:
   * all of them in one turn would hold up the event loop.
   */
  async #answer(): Promise<void> {
    this.#answering = true
    while (this.#asked.length > 0) {
      for (const { ticket, poll } of this.#asked.splice(0)) {
        if (!this.#waiting.has(ticket)) continue
        try {
          const known = await this.#resolveKnown(ticket)
          if (!known && poll) this.poll()
        } catch (error) {
          this.#reject(ticket, error) // a store that fails is asked again by whoever asks again
        }
        await this.#pace.step()
      }
    }
    this.#answering = false
  }

  /** Looks for outcomes that another process brought about, as long as somebody waits here. */
  poll(): void {
    if (this.#poll !== undefined || this.#closed || this.#waiting.size === 0) return
    this.#poll = this.#clock.after(POLL_MS, () => {
      this.#poll = undefined
      void this.#look()
    })
  }

  async #look(): Promise<void> {
    for (const ticket of [...this.#waiting.keys()]) {
      await this.#resolveKnown(ticket).catch((error) => {
        if (isNotFound(error)) this.#reject(ticket, error) // any other failure of the store passes
      })
      await this.#pace.step()
    }
    this.poll()
  }

  /** Tells who waits for a message if it has ended. Throws `NOT_FOUND` when nobody knows it any more. */
  async #resolveKnown(ticket: string): Promise<boolean> {
    const stored = await this.#store.get(ticket)
    if (stored === undefined) throw new SteadymailError('NOT_FOUND', `${ticket}: forgotten since it ended`)
    if (stored.settledAt === undefined) return false
    this.#resolve(ticket, toOutcome(stored, await statuses(this.#store, stored)))
    return true
  }

  /** Calls the durable handler for what it has not acknowledged, in the process that delivers. */
  handle(): void {
    if (this.#handler === undefined || this.#closed || !this.#delivers()) return
    if (this.#handling) {
      this.#again = true
      return
    }
    if (this.#clock.monotonic() < this.#pausedUntil && this.#timer !== undefined) return
    this.#handling = true
    this.#handled = this.#handleAll()
  }

  async #handleAll(): Promise<void> {
    let goesOn = false
    try {
      do {
        this.#again = false
        goesOn = await this.#handleSome()
      } while ((this.#again || goesOn) && !this.#closed)
    } catch {
      this.#pausedUntil = this.#clock.monotonic() + this.#retryMs
      this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS)
    }
    this.#handling = false
    this.#arm()
  }

  /**
   * One page of outcomes, oldest first, those that were never rejected before those that were: what is always
   * rejected keeps nobody else from the handler. When it rejects all that is new to it, it is left alone for a while.
   * @returns whether there may be more
   * @throws when the store fails or the handler rejects everything
   */
  async #handleSome(): Promise<boolean> {
    const limit = AT_ONCE + this.#rejected.size
    const tickets = await this.#store.outcomes(limit)
    const now = this.#clock.monotonic()
    const done: string[] = []
    const isDue = (ticket: string) => (this.#rejected.get(ticket)?.at ?? Infinity) <= now
    const due = this.#againAt > now ? [] : tickets.filter(isDue)
    const fresh = tickets.filter((ticket) => !this.#rejected.has(ticket))
    const isDown = await this.#give(fresh, done)
    const taken = done.length
    if (!isDown && (await this.#give(due, done))) {
      this.#againAt = this.#clock.monotonic() + this.#againMs
      this.#againMs = Math.min(2 * this.#againMs, RETRY_MAX_MS)
    }
    if (done.length > taken) this.#againMs = RETRY_MS
    if (done.length > 0) {
      await this.#store.acknowledge(done)
      this.#retryMs = RETRY_MS
    }
    if (isDown) throw new Error('the handler rejects everything')
    if (tickets.length === limit) return done.length > 0
    // all there are: what is not among them was forgotten or opened again
    const there = new Set(tickets)
    for (const ticket of this.#rejected.keys()) if (!there.has(ticket)) this.#rejected.delete(ticket)
    return false
  }

  /** Gives outcomes to the handler until it has rejected several in a row; whether it has. Adds to `done` what it took. */
  async #give(tickets: readonly string[], done: string[]): Promise<boolean> {
    let inARow = 0
    for (const ticket of tickets) {
      if (this.#closed) break
      if (await this.#handleOne(ticket)) {
        this.#rejected.delete(ticket)
        done.push(ticket)
        inARow = 0
      } else {
        const before = this.#rejected.get(ticket)?.waitMs ?? RETRY_MS / 2
        const waitMs = Math.min(2 * before, RETRY_MAX_MS)
        this.#rejected.set(ticket, { at: this.#clock.monotonic() + waitMs, waitMs })
        if (++inARow === MOST_IN_A_ROW) return true
      }
      await this.#pace.step() // a handler that returns at once waits for nothing
    }
    return false
  }

  /** Sets the moment of the next call that nothing else brings about. */
  #arm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#closed) return
    let at = this.#pausedUntil > this.#clock.monotonic() ? this.#pausedUntil : Number.POSITIVE_INFINITY
    if (at === Number.POSITIVE_INFINITY)
      for (const rejected of this.#rejected.values()) at = Math.min(at, Math.max(rejected.at, this.#againAt))
    if (at === Number.POSITIVE_INFINITY) return
    this.#timer = this.#clock.after(at - this.#clock.monotonic(), () => {
      this.#timer = undefined
      this.handle()
    })
    this.#timer.keep(false)
  }

  async #handleOne(ticket: string): Promise<boolean> {
    if (this.#overdue.has(ticket)) return false // its call has not come back: no second one meanwhile
    const outcome = await this.outcome(ticket)
    if (outcome === undefined) return true // purged or reopened meanwhile
    const call = this.#call(outcome)
    let timer: Timer | undefined
    const late = new Promise<undefined>((resolve) => {
      timer = this.#clock.after(HANDLER_MS, () => resolve(undefined))
      timer.keep(false)
    })
    const answer = await Promise.race([call, late])
    timer?.cancel()
    return answer ?? this.#goOnWithout(ticket, call)
  }

  /** Whether the handler took it. */
  async #call(outcome: Outcome): Promise<boolean> {
    try {
      await this.#handler?.(outcome)
      return true
    } catch (error) {
      this.#onHandlerError(error)
      return false
    }
  }

  /** A handler that does not come back keeps its own outcome and no other. */
  #goOnWithout(ticket: string, call: Promise<boolean>): false {
    this.#overdue.add(ticket)
    this.#events.emit('trouble', {
      kind: 'handler',
      at: this.#clock.now(),
      pattern: `onSettled has not come back from ${ticket} for ${HANDLER_MS / 1000} s`,
      advice: 'Other outcomes go on. Look at what the handler awaits; give it a time limit of its own.',
    })
    void call.then(async (taken) => {
      this.#overdue.delete(ticket)
      // a store that fails now gives the outcome once more: at least once is what was promised
      if (taken) await this.#store.acknowledge([ticket]).catch(() => undefined)
    })
    return false
  }

  /** Resolves when all that has ended so far was told, and given to the durable handler once. */
  async rest(): Promise<void> {
    await this.#told()
    while (this.#handling) await this.#handled
  }

  /** Tells what has ended, lets the handler that runs now end unless time is up, and starts no other. */
  async close(timeout: Promise<void>): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#poll?.cancel()
    await Promise.race([this.#told(), timeout])
    await Promise.race([this.#handled, timeout])
    const closed = new SteadymailError('CLOSED', 'the mailer was closed before the message ended')
    for (const ticket of [...this.#waiting.keys()]) this.#reject(ticket, closed)
  }
}

function isNotFound(error: unknown): boolean {
  return SteadymailError.is(error) && error.code === 'NOT_FOUND'
}

/** Where each recipient stands, with its history. */
export async function statuses(store: Store, stored: Stored): Promise<RecipientStatus[]> {
  return Promise.all(
    stored.deliveries.map(async (d) => {
      const history = d.last === undefined ? [] : d.tries === 1 ? [d.last] : await store.history(d.id)
      return {
        address: d.address,
        domain: d.domain,
        lane: d.lane,
        state: d.state,
        attempts: d.attempts,
        tries: d.tries,
        uncertain: d.uncertain > 0 || d.crashes > 0 || history.some((one) => one.uncertain === true),
        expiresAt: d.expiresAt,
        history,
        ...(d.reason === undefined ? {} : { reason: d.reason }),
        ...(d.state === 'waiting' ? { nextAttemptAt: d.dueAt } : {}),
        ...(d.settledAt === undefined ? {} : { settledAt: d.settledAt }),
        ...(d.last === undefined ? {} : { reply: d.last.reply }),
        ...(d.last?.verdict === undefined ? {} : { verdict: d.last.verdict }),
      }
    }),
  )
}

export function toStatus(stored: Stored, recipients: readonly RecipientStatus[]): MessageStatus {
  const { recipients: _, ...about } = aboutMessage(stored.message)
  const parked = recipients.some((r) => r.state === 'parked')
  return {
    ...about,
    state: stored.settledAt === undefined ? (parked ? 'parked' : 'waiting') : 'settled',
    recipients,
    createdAt: stored.message.createdAt,
    ...(stored.settledAt === undefined ? {} : { settledAt: stored.settledAt }),
  }
}

function toOutcome(stored: Stored, recipients: readonly RecipientStatus[]): Outcome {
  const { recipients: _, ...about } = aboutMessage(stored.message)
  const accepted = recipients.filter((r) => r.state === 'accepted').length
  const status = accepted === recipients.length ? 'accepted' : accepted > 0 ? 'partial' : 'failed'
  return { ...about, status, recipients, settledAt: stored.settledAt ?? 0 }
}
