// wrapTransport and its verbs: what the user touches. Parses first, opens nothing until started,
// hands every mail to the store before it says yes, and leaves delivering to outbox.ts.

import { Aborts } from './aborts.ts'
import { addressKey, checkAddress, domainOf, normalizeDomain } from './address.ts'
import { Breath } from './breath.ts'
import { builtinPolicies } from './builtin.ts'
import type { Clock } from './clock.ts'
import { callable, fields, oneOf, optional, whole, word } from './core/check.ts'
import { type Classifier, createClassifier } from './core/classify/classifier.ts'
import type { Delivery } from './core/delivery.ts'
import { badOption, SteadymailError } from './core/error.ts'
import { NO_END } from './core/lane-state.ts'
import type { Message } from './core/message.ts'
import { policyBook } from './core/policy-book.ts'
import type { PolicyExplanation } from './core/policy-explain.ts'
import type { Reply } from './core/reply.ts'
import { type Duration, duration } from './core/units.ts'
import type { ReplyContext, Verdict } from './core/verdict.ts'
import { type DropInTransport, dropIn } from './dropin.ts'
import { EGRESS } from './egress.ts'
import {
  EVENT_NAMES,
  type EventName,
  Events,
  type Listener,
  type MessageStatus,
  type Outcome,
} from './events.ts'
import { type Explanation, explainLane, explainMessage, type LaneStatus, laneStatus } from './explain.ts'
import { Grouping, type MxLookup } from './grouping.ts'
import { Intake, throwIfAborted } from './intake.ts'
import { mxResolver } from './mx/resolver.ts'
import {
  moment,
  parseOptions,
  parseSendOptions,
  type ResolvedOptions,
  type SendOptions,
  type WrapOptions,
} from './options.ts'
import { Outbox } from './outbox.ts'
import { Outcomes, statuses, toStatus } from './outcomes.ts'
import { nudge, Recovery } from './recovery.ts'
import { type Reporter, report } from './report.ts'
import type { ListFilter, Notice, Stored } from './stores/store.ts'
import { newId, type Ticket } from './ticket.ts'
import { openTarget, type Target, type TransportInput } from './transporter.ts'

/** Which messages `list` gives. */
export interface ListOptions {
  /** Messages with a recipient in this state. */
  readonly state?: Delivery['state']
  /** Messages settled at or after this moment, a Date or epoch ms. */
  readonly settledSince?: Date | number
  /** Those after this ticket, in order of creation: for paging. */
  readonly after?: string
  /** @default 100 */
  readonly limit?: number
}

/** How things stand with the mailer as a whole. */
export interface Health {
  /** `ok`; `idle` before start; `standby` while another process delivers; `store-failing`; `held` while the transport itself is held. */
  readonly state: 'ok' | 'idle' | 'standby' | 'store-failing' | 'held'
  /** Recipients that wait to be tried, now or later. */
  readonly waiting: number
  /** Recipients that are being sent to. */
  readonly inFlight: number
  /** Recipients that wait for a person. */
  readonly parked: number
  /** Recipients accepted, of messages that are still remembered. */
  readonly accepted: number
  /** Recipients failed, of messages that are still remembered. */
  readonly failed: number
  /** Bytes of messages that have not ended. */
  readonly openBytes: number
  /** Lanes that are held now. */
  readonly heldLanes: number
  /** What the store says, while it fails. */
  readonly storeError?: string
}

/** What a person decides of a parked delivery: send it again, or take it as accepted or failed. */
export type UncertainDecision = 'deliver' | 'accepted' | 'failed'

/**
 * A wrapped transport: everything there is to do with it. What is asynchronous rejects with a `SteadymailError`:
 * `CLOSED` once it is closed, `STORE_FAILED`, `STORE_SCHEMA` or `STORE_DRIVER` when the store cannot be opened or read.
 * An id, key or lane that is not known gives `undefined`.
 */
export interface Mailer<M = unknown> {
  /** Opens the store and begins delivering; yesterday's mail resumes. The first `sendWithRetry` does it too. */
  start(): Promise<void>
  /**
   * Stores a mail; resolves when it is safe. Delivery goes on by itself.
   *
   * ```ts
   * const ticket = await mailer.sendWithRetry({ from, to, subject, text }, { key: 'order-42', priority: 'high' })
   * ```
   * @throws SteadymailError `BAD_MESSAGE` `BAD_OPTION` `KEY_CONFLICT` `OUTBOX_FULL` `STORE_FAILED` `CLOSED` `ABORTED`
   */
  sendWithRetry(mail: M, options?: SendOptions): Promise<Ticket>
  /** Where a message stands; `undefined` for an id that is not known (any more). */
  status(id: string): Promise<MessageStatus | undefined>
  /** The ticket of an id or a key, after a restart too. */
  ticket(idOrKey: string): Promise<Ticket | undefined>
  /** Messages in order of creation. */
  list(options?: ListOptions): Promise<readonly MessageStatus[]>
  /** Every lane in use, the transport itself (`@egress`) first. */
  lanes(): Promise<readonly LaneStatus[]>
  /** Why not yet: one reason per recipient of a message, or the lane's, named by its key or a domain in it. */
  explain(idOrLane: string): Promise<readonly Explanation[] | undefined>
  /** Holds a lane, named by its key or a domain in it (`@egress` for all), for ever when no time is said; a kill cannot undo it once it resolves. */
  hold(lane: string, options?: { readonly for?: Duration; readonly reason?: string }): Promise<void>
  /** Ends a hold; the lane goes on slowly first. */
  release(lane: string): Promise<void>
  /** Ends what has not been accepted yet and wipes the mail; recipients that are being sent to end unless this try is accepted. Whether anything was left to end. */
  cancel(id: string): Promise<boolean | undefined>
  /** Opens a message's failed recipients again, with a fresh TTL; their history is kept. @throws `BAD_STATE` when its bytes are gone */
  retry(id: string): Promise<MessageStatus | undefined>
  /**
   * Decides the parked recipients of a message, or one of them.
   * @throws `BAD_OPTION` for another decision; `BAD_STATE` when none is parked
   */
  resolveUncertain(
    id: string,
    decision: UncertainDecision,
    address?: string,
  ): Promise<MessageStatus | undefined>
  /** Removes an address everywhere: waiting deliveries to it end as cancelled, settled ones forget it. How many messages had it. */
  eraseRecipient(address: string): Promise<number>
  /** How things stand; for a health check. */
  health(): Promise<Health>
  /** Resolves when nothing waits, nothing is being sent, and what has ended was told and given to `onSettled` once. */
  idle(options?: { readonly signal?: AbortSignal }): Promise<void>
  /** Connects and logs in once, where the transport can. @throws what the transport says when it cannot */
  verify(): Promise<void>
  /** Listens; the function it returns stops listening. */
  on<N extends EventName>(name: N, listener: Listener<N>): () => void
  /** A nodemailer transport for `createTransport`, whose `sendMail` resolves when stored. */
  transport(): DropInTransport
  /** What a reply means, under this mailer's policies. */
  classifyReply(reply: string | Reply, context?: ReplyContext): Verdict
  /** The policy in force for a domain, and where each value comes from. */
  explainPolicy(domain: string): PolicyExplanation
  /** Stops claiming, waits for what is being sent, then aborts it; the rest stays in the store. @default timeout '20s' */
  close(options?: { readonly timeout?: Duration }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Wraps a nodemailer transporter, transport plugin, transport options or URL. Only parses: nothing is opened or sent
 * before `start()` or the first `sendWithRetry()`. The object is left as it is but for one error listener; only a
 * transporter that was made here, of options or a URL, is closed by `close()`.
 *
 * ```ts
 * const mailer = wrapTransport(nodemailer.createTransport(url), { store: sqliteStore('outbox.db') })
 * ```
 * @throws SteadymailError `BAD_OPTION`, naming the path
 */
export function wrapTransport<M = Record<string, unknown>>(
  transporter: TransportInput<M>,
  options: WrapOptions,
): Mailer<M> {
  const resolved = parseOptions(options)
  const reporter = report(resolved.logger)
  const target = openTarget(transporter, { onError: (error) => reporter.transportError(error) })
  try {
    return new SteadyMailer<M>(target, resolved, reporter)
  } catch (error) {
    void target.close() // a policy was refused: the user's transporter keeps no listener of ours
    throw error
  }
}

class SteadyMailer<M> implements Mailer<M> {
  readonly #target: Target
  readonly #options: ResolvedOptions
  readonly #reporter: Reporter
  readonly #grouping: Grouping
  readonly #classify: Classifier
  readonly #events: Events
  readonly #outbox: Outbox
  readonly #outcomes: Outcomes
  readonly #intake: Intake
  /** Ends the waiting of whoever waits for `idle`. */
  readonly #idling = new Set<(error: unknown) => void>()
  readonly #aborts = new Aborts()
  #opened: Promise<void> | undefined
  #started: Promise<void> | undefined
  #closed: Promise<void> | undefined
  /** Opened, and delivering where it should: nothing to wait for before a mail is taken. */
  #running = false

  constructor(target: Target, options: ResolvedOptions, reporter: Reporter) {
    this.#target = target
    this.#options = options
    this.#reporter = reporter
    const classify = (reply: Reply, context: ReplyContext) => this.#classify(reply, context)
    const book = policyBook(options.policies, builtinPolicies, () => classify, { ttlMs: options.ttlMs })
    this.#classify = createClassifier(builtinPolicies, options.policies) // which takes policies as checked
    this.#grouping = new Grouping(book, mxLookup(options, target), options.clock)
    this.#events = new Events((name, error) => reporter.listenerError(name, error))
    for (const [name, listener] of Object.entries(options.on)) {
      if (listener !== undefined) this.#events.on(name as EventName, listener as Listener<EventName>)
    }
    reporter.follow(this.#events)
    const breath = new Breath(options.clock)
    this.#outcomes = new Outcomes({
      store: options.store,
      clock: options.clock,
      events: this.#events,
      breath,
      handler: options.onSettled,
      delivers: () => this.#outbox.owner.fence > 0,
      onHandlerError: (error) => reporter.handlerError(error),
      keepAlive: () => this.#outbox.keepAlive(),
    })
    this.#outbox = new Outbox({
      store: options.store,
      target,
      grouping: this.#grouping,
      options: { ...options, egress: egressOf(options, target) },
      route: options.route ?? target.defaultRoute,
      clock: options.clock,
      events: this.#events,
      breath,
      ownerId: newId(options.clock.now()),
      onEnded: (tickets) => this.#outcomes.ended(tickets),
    })
    this.#intake = new Intake({
      target,
      options,
      grouping: this.#grouping,
      outbox: this.#outbox,
      events: this.#events,
      breath,
      assertOpen: () => this.#assertOpen(),
      ticketOf: (message) => this.#newTicket(message, false),
      duplicateOf: (id, key) => this.#duplicateOf(id, key),
    })
    // who waits here is told by the loop; when another process takes over, only looking helps
    this.#events.on('owner', ({ owner }) => {
      if (owner) this.#outcomes.handle()
      else this.#outcomes.poll()
    })
    if (options.deliver) new Recovery(this.#outbox)
  }

  async start(): Promise<void> {
    this.#assertOpen()
    await this.#open()
    if (this.#options.deliver) {
      this.#started ??= this.#begin()
      await this.#started
    }
    this.#running = true
  }

  sendWithRetry(mail: M, options?: SendOptions): Promise<Ticket> {
    // one of thousands that are called in one turn costs a promise and its place in line, not a function that waits
    if (options === undefined && this.#isReady) return this.#intake.take(mail, PLAIN_SEND)
    return this.#send(mail, options)
  }

  async #send(mail: M, options: SendOptions | undefined): Promise<Ticket> {
    this.#assertOpen()
    const send = options === undefined ? PLAIN_SEND : parseSendOptions(options)
    throwIfAborted(send.signal)
    if (!this.#running) await this.start()
    if (send.key !== undefined) {
      const known = await this.#intake.known(send.key, mail)
      if (known !== undefined) return this.#newTicket(known, true)
    }
    return this.#intake.take(mail, send)
  }

  async status(id: string): Promise<MessageStatus | undefined> {
    await this.#ready()
    const stored = await this.#options.store.get(id)
    return stored === undefined ? undefined : toStatus(stored, await statuses(this.#options.store, stored))
  }

  async ticket(idOrKey: string): Promise<Ticket | undefined> {
    await this.#ready()
    const { store } = this.#options
    const stored = (await store.get(idOrKey)) ?? (await store.byKey(idOrKey))
    return stored === undefined ? undefined : this.#newTicket(stored.message, false)
  }

  async list(options: ListOptions = {}): Promise<readonly MessageStatus[]> {
    await this.#ready()
    const { store } = this.#options
    const found = await store.list(parseList(options))
    return Promise.all(found.map(async (stored) => toStatus(stored, await statuses(store, stored))))
  }

  async lanes(): Promise<readonly LaneStatus[]> {
    await this.#ready()
    const now = this.#options.clock.now()
    const { lanes, egress } = this.#outbox
    return [egress, ...lanes.senders(), ...lanes.all()].map((gated) => laneStatus(gated, now))
  }

  async explain(idOrLane: string): Promise<readonly Explanation[] | undefined> {
    await this.#ready()
    const now = this.#options.clock.now()
    word(idOrLane, 'idOrLane', 'an id or a lane')
    const stored = await this.#options.store.get(idOrLane)
    if (stored !== undefined) return explainMessage(this.#outbox, stored, now)
    const lane = this.#laneNamed(idOrLane)
    if (lane === undefined) return undefined
    const known = lane.startsWith('@') || this.#outbox.lanes.find(lane) !== undefined
    return known ? [explainLane(this.#outbox, this.#outbox.gated(lane, now), now)] : undefined
  }

  async hold(
    name: string,
    options: { readonly for?: Duration; readonly reason?: string } = {},
  ): Promise<void> {
    await this.#ready()
    const lane = this.#laneGiven(name)
    const given = fields(options, '', ['for', 'reason'], '{ for, reason }') as typeof options
    const now = this.#options.clock.now()
    const until = given.for === undefined ? NO_END : now + duration(given.for, 'for')
    const reason = optional(given.reason, (v) => word(v, 'reason')) ?? 'held by the operator'
    const here = () => this.#outbox.holdLane(lane, until, reason)
    await this.#atOwner(here, { kind: 'hold', lane, until, reason })
  }

  async release(name: string): Promise<void> {
    await this.#ready()
    const lane = this.#laneGiven(name)
    await this.#atOwner(() => this.#outbox.releaseLane(lane), { kind: 'release', lane })
  }

  /** Does it where mail is delivered, here or in another process; resolves when a kill cannot undo it. */
  async #atOwner(here: () => void, notice: Notice): Promise<void> {
    if (this.#outbox.owner.fence > 0) {
      here()
      try {
        return await this.#outbox.saved()
      } catch (error) {
        if (!SteadymailError.is(error) || error.code !== 'OWNER_LOST') throw error
      }
    }
    await this.#notify(notice)
  }

  /** The lane meant by its name, or by a domain in it: mail to gmail.com is in lane 'gmail'. */
  #laneNamed(name: string): string | undefined {
    if (name === EGRESS || this.#outbox.lanes.find(name) !== undefined) return name
    if (name.startsWith('@from:')) return `@from:${normalizeDomain(name.slice('@from:'.length))}`
    if (name.includes('@')) return undefined
    return name.includes('.') ? this.#grouping.policyOf(normalizeDomain(name)).lane : name
  }

  #laneGiven(name: string): string {
    const what = `a lane, a recipient domain, '${EGRESS}' or '@from:<domain>'`
    const lane = this.#laneNamed(word(name, 'lane', what))
    if (lane === undefined) throw badOption('lane', what, name)
    return lane
  }

  async cancel(id: string): Promise<boolean | undefined> {
    await this.#ready()
    let ended = 0
    const now = this.#options.clock.now()
    const stored = await this.#amend(id, ({ deliveries }) => {
      const open = deliveries.filter((d) => d.state === 'waiting' || d.state === 'parked')
      ended = open.length
      for (const d of open)
        if (d.state === 'waiting') this.#outbox.lanes.forgetOne(d.lane, d.sender, d.priority)
      return open.map((d): Delivery => ({ ...d, state: 'failed', reason: 'cancelled', settledAt: now }))
    })
    if (stored === undefined) return undefined
    let flying = 0
    for (const flight of this.#outbox.flights.values()) {
      if (flight.claim.message.id !== id) continue
      flight.cancelled = true
      flying++
    }
    if (flying === 0 && stored.deliveries.some((d) => d.state === 'claimed'))
      await this.#notify({ kind: 'cancel', ticket: id })
    for (const delivery of stored.deliveries) {
      if (delivery.reason === 'cancelled' && delivery.settledAt === now)
        this.#outbox.teller.failed({ fence: 0, message: stored.message, deliveries: [] }, delivery)
    }
    this.#endedIfSettled(stored)
    return ended > 0 || flying > 0
  }

  async retry(id: string): Promise<MessageStatus | undefined> {
    await this.#ready()
    const { store } = this.#options
    const before = await store.get(id)
    if (before === undefined) return undefined
    if (before.deliveries.some((d) => d.state === 'failed') && (await store.bytes(id)) === undefined) {
      throw new SteadymailError('BAD_STATE', `retry('${id}'): its bytes were wiped, send it anew`)
    }
    const now = this.#options.clock.now()
    const reopened = await this.#amend(id, ({ deliveries }) =>
      deliveries.filter((d) => d.state === 'failed').map((d) => this.#reopened(d, before, now)),
    )
    return this.#reopenedStatus(before, reopened)
  }

  #reopened(delivery: Delivery, { message }: Stored, now: number): Delivery {
    const { reason: _, settledAt: __, ...rest } = delivery
    const policy = this.#grouping.policyOf(delivery.domain)
    return {
      ...rest,
      lane: policy.lane,
      state: 'waiting',
      attempts: 0,
      uncounted: 0,
      uncertain: 0,
      crashes: 0,
      dueAt: now,
      // as long as it was meant to live: a password mail does not become one of five days
      expiresAt: now + message.expiresAt - message.createdAt,
    }
  }

  async #reopenedStatus(before: Stored, after: Stored | undefined): Promise<MessageStatus | undefined> {
    if (after === undefined) return undefined
    const waited = new Set(before.deliveries.filter((d) => d.state === 'waiting').map((d) => d.id))
    this.#intake.note(after.deliveries.filter((d) => d.state === 'waiting' && !waited.has(d.id)))
    this.#endedIfSettled(after)
    return toStatus(after, await statuses(this.#options.store, after))
  }

  async resolveUncertain(
    id: string,
    decision: UncertainDecision,
    address?: string,
  ): Promise<MessageStatus | undefined> {
    await this.#ready()
    if (!['deliver', 'accepted', 'failed'].includes(decision)) {
      throw new SteadymailError(
        'BAD_OPTION',
        `resolveUncertain: expected 'deliver', 'accepted' or 'failed', got '${decision}'`,
      )
    }
    const before = await this.#options.store.get(id)
    if (before === undefined) return undefined
    const now = this.#options.clock.now()
    const chosen = (d: Delivery) =>
      d.state === 'parked' && (address === undefined || addressKey(d.address) === addressKey(address))
    if (!before.deliveries.some(chosen)) {
      throw new SteadymailError(
        'BAD_STATE',
        `resolveUncertain('${id}'): no recipient${address === undefined ? '' : ` ${address}`} is parked`,
      )
    }
    const after = await this.#amend(id, ({ deliveries }) =>
      deliveries.filter(chosen).map((d): Delivery => {
        if (decision === 'deliver') return this.#reopened(d, before, now)
        if (decision === 'accepted') return { ...d, state: 'accepted', settledAt: now }
        return { ...d, state: 'failed', reason: 'uncertain', settledAt: now }
      }),
    )
    return this.#reopenedStatus(before, after)
  }

  async eraseRecipient(address: string): Promise<number> {
    await this.#ready()
    checkAddress(word(address, 'address', 'an address'), 'address')
    const { store, clock } = this.#options
    const tickets = await store.erase(address, clock.now(), this.#outbox.owner.fence, this.#keepOutcomes)
    for (const ticket of tickets) {
      for (const flight of this.#outbox.flights.values())
        if (flight.claim.message.id === ticket) flight.cancelled = true
      const stored = await store.get(ticket)
      if (stored !== undefined) this.#endedIfSettled(stored)
    }
    return tickets.length
  }

  async health(): Promise<Health> {
    await this.#ready()
    const counts = await this.#options.store.counts()
    const now = this.#options.clock.now()
    const { storeFailure, owner, lanes, egress } = this.#outbox
    const held = (gated: Parameters<typeof laneStatus>[0]) => (laneStatus(gated, now).heldUntil ?? 0) > now
    const state =
      storeFailure !== undefined
        ? 'store-failing'
        : this.#started === undefined && this.#options.deliver
          ? 'idle'
          : owner.fence === 0
            ? 'standby'
            : held(egress)
              ? 'held'
              : 'ok'
    return {
      state,
      waiting: counts.waiting,
      inFlight: counts.claimed,
      parked: counts.parked,
      accepted: counts.accepted,
      failed: counts.failed,
      openBytes: counts.openBytes,
      heldLanes: [...lanes.all()].filter(held).length,
      ...(storeFailure === undefined ? {} : { storeError: String(storeFailure.error) }),
    }
  }

  async idle(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.#ready()
    const { store, clock } = this.#options
    const release = this.#outbox.keepAlive()
    const { over, forget } = this.#untilOver(options.signal)
    try {
      for (;;) {
        await Promise.race([this.#intake.idle(), over])
        const { waiting, claimed } = await store.counts()
        if (waiting + claimed === 0) break
        // our own loop says when it runs dry; another process's is looked at from time to time
        const later = within(clock, IDLE_POLL_MS)
        const quiet = this.#outbox.owner.fence > 0 ? [this.#outbox.quiet()] : []
        await Promise.race([...quiet, later.over, over]).finally(later.cancel)
        await new Promise<void>((resolve) => clock.turn(resolve)) // never a loop of promises alone
      }
      await Promise.race([this.#outbox.told().then(() => this.#outcomes.rest()), over])
    } finally {
      forget()
      release()
    }
  }

  /** Rejects when the signal aborts or the mailer is closed; leaves nothing on either once it is forgotten. */
  #untilOver(signal: AbortSignal | undefined): { readonly over: Promise<never>; forget(): void } {
    let end: (error: unknown) => void = () => undefined
    const over = new Promise<never>((_, reject) => {
      end = reject
    })
    over.catch(() => undefined)
    const forget = this.#aborts.on(signal, end)
    this.#idling.add(end)
    return {
      over,
      forget: () => {
        forget()
        this.#idling.delete(end)
      },
    }
  }

  async verify(): Promise<void> {
    this.#assertOpen()
    await this.#target.verify()
  }

  on<N extends EventName>(name: N, listener: Listener<N>): () => void {
    oneOf(name, 'event', EVENT_NAMES)
    callable(listener, `on('${name}')`)
    return this.#events.on(name, listener)
  }

  transport(): DropInTransport {
    return dropIn(
      (mail, options) => this.sendWithRetry(mail as M, options),
      () => this.verify(),
    )
  }

  classifyReply(reply: string | Reply, context: ReplyContext = {}): Verdict {
    return this.#classify(reply, context)
  }

  explainPolicy(domain: string): PolicyExplanation {
    const name = domainOf(`x@${domain}`)
    return this.#grouping.book.explain(name, this.#grouping.mxOf(name))
  }

  close(options: { readonly timeout?: Duration } = {}): Promise<void> {
    const timeoutMs = duration(options.timeout ?? '20s', 'timeout')
    this.#closed ??= this.#close(timeoutMs)
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(timeoutMs: number): Promise<void> {
    const outbox = this.#outbox
    const { store, clock } = this.#options
    const release = outbox.keepAlive()
    const timeout = within(clock, timeoutMs)
    try {
      if (this.#opened === undefined) return
      await this.#started?.catch(() => undefined)
      // an attachment that never ends, or a handler, must not keep a process from ending
      await Promise.race([this.#intake.idle(), timeout.over])
      this.#intake.stop(new SteadymailError('CLOSED', 'the mailer was closed before the message was stored'))
      outbox.stop()
      await this.#land(timeout.over)
      await outbox.flush().catch(() => undefined)
      await outbox.told()
      await this.#outcomes.close(timeout.over)
      if (!store.durable) await this.#sayWhatIsLost()
      await outbox.owner.giveUp().catch(() => undefined)
    } finally {
      timeout.cancel()
      await this.#options.egress.gate?.close?.().catch(() => undefined)
      outbox.dispose()
      for (const end of this.#idling) end(new SteadymailError('CLOSED', 'the mailer was closed'))
      this.#reporter.close()
      release()
      await this.#target.close()
      if (this.#opened !== undefined) await store.close()
    }
  }

  /** Waits for attempts under way; aborts what is left when the time is up, and waits a moment for that. */
  async #land(timeout: Promise<void>): Promise<void> {
    const { clock } = this.#options
    const outbox = this.#outbox
    const landed = new Promise<void>((resolve) => outbox.flights.whenLanded(resolve))
    await Promise.race([landed, timeout])
    if (outbox.flights.size === 0) return
    outbox.flights.abort()
    const moment = within(clock, ABORT_MS)
    await Promise.race([landed, moment.over])
    moment.cancel()
  }

  async #sayWhatIsLost(): Promise<void> {
    const { waiting, claimed } = await this.#options.store.counts()
    if (waiting + claimed > 0) this.#reporter.lost(waiting + claimed)
  }

  async #begin(): Promise<void> {
    if (!this.#options.store.durable)
      this.#reporter.atExit(() => this.#outbox.lanes.waiting + this.#outbox.flights.size)
    await this.#outbox.begin()
    this.#outcomes.handle()
  }

  #open(): Promise<void> {
    const opened =
      this.#opened ??
      this.#options.store.open().catch((error: unknown) => {
        this.#opened = undefined
        throw error
      })
    this.#opened = opened
    return opened
  }

  /** Whether there is nothing to wait for or to throw first. */
  get #isReady(): boolean {
    return this.#running && this.#closed === undefined
  }

  async #ready(): Promise<void> {
    this.#assertOpen()
    await this.#open()
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw new SteadymailError('CLOSED', 'the mailer is closed')
  }

  #amend(id: string, change: (stored: Stored) => readonly Delivery[]): Promise<Stored | undefined> {
    const { store, clock } = this.#options
    const amending = store.amend(id, change, clock.now(), this.#outbox.owner.fence, this.#keepOutcomes)
    clock.working?.(amending)
    return amending
  }

  #endedIfSettled(stored: Stored): void {
    if (stored.settledAt !== undefined) this.#outcomes.ended([stored.message.id])
    this.#outbox.ask()
  }

  /** Whoever delivers may have a durable handler that this process knows nothing of; one without it lets go of them. */
  get #keepOutcomes(): boolean {
    return this.#options.onSettled !== undefined || this.#outbox.owner.fence === 0
  }

  async #notify(notice: Notice): Promise<void> {
    await this.#options.store.notify(notice)
    nudge(this.#options.store)
  }

  /** A key is remembered longer than its message: then that it was sent is all there is to say. */
  async #duplicateOf(id: string, key: string | undefined): Promise<Ticket> {
    const stored = await this.#options.store.get(id)
    return this.#newTicket(
      stored?.message ?? { id, messageId: '', ...(key === undefined ? {} : { key }) },
      true,
    )
  }

  #newTicket(message: Pick<Message, 'id' | 'key' | 'messageId'>, duplicate: boolean): Ticket {
    const { id, key, messageId } = message
    const ticket: { -readonly [K in keyof Ticket]: Ticket[K] } = {
      id,
      messageId,
      duplicate,
      status: () => this.status(id),
      settled: ({ signal } = {}) => (this.#isReady ? this.#settledOf(id, signal) : this.#settled(id, signal)),
    }
    if (key !== undefined) ticket.key = key
    return ticket
  }

  async #settled(id: string, signal: AbortSignal | undefined): Promise<Outcome> {
    await this.#ready()
    return this.#settledOf(id, signal)
  }

  #settledOf(id: string, signal: AbortSignal | undefined): Promise<Outcome> {
    return this.#outcomes.settled(id, this.#outbox.owner.fence === 0, signal)
  }
}

const PLAIN_SEND = parseSendOptions({})

const IDLE_POLL_MS = 500
/** After an abort, how long to wait for the transport to let go. */
const ABORT_MS = 2_000

/** What a filter does not understand must not be taken for no filter. */
function parseList(options: ListOptions): ListFilter {
  const given = fields(options, '', ['state', 'settledSince', 'after', 'limit'], 'a filter, as { state }')
  const state = optional(given.state, (v) => oneOf(v, 'state', STATES))
  const settledSince = optional(given.settledSince, (v) => moment(v, 'settledSince'))
  const after = optional(given.after, (v) => word(v, 'after', "a ticket's id"))
  return {
    limit: optional(given.limit, (v) => whole(v, 'limit')) ?? 100,
    ...(state === undefined ? {} : { state }),
    ...(settledSince === undefined ? {} : { settledSince }),
    ...(after === undefined ? {} : { after }),
  }
}

const STATES = [
  'waiting',
  'claimed',
  'parked',
  'accepted',
  'failed',
] as const satisfies readonly Delivery['state'][]

/** A direct transport knows its MX hosts; a relay's are looked up when asked for. */
function mxLookup({ resolveMx }: ResolvedOptions, target: Target): MxLookup | undefined {
  if (typeof resolveMx === 'object') return resolveMx
  return target.mx ?? (resolveMx ? mxResolver() : undefined)
}

/** A pool's connections are its slots, where the user stated none. */
function egressOf({ egress, onUncertain }: ResolvedOptions, target: Target): ResolvedOptions['egress'] {
  const connections = egress.concurrency ?? target.maxConnections ?? egress.limits.concurrency
  // With a few messages in line at the transport for each connection, none waits for our next commit.
  // Where what was sent by a process that died must not be sent again, nothing is claimed ahead.
  const mayGoAhead = egress.concurrency === undefined && onUncertain === 'retry'
  const ahead = mayGoAhead ? target.ahead : 0
  const concurrency = (1 + ahead) * connections
  // a pool has one queue for all; a direct transport has one for each set of hosts, which their lanes have to know
  const ofLanes = target.kind === 'smtp-pool' ? 0 : ahead
  return { ...egress, connections, ahead: ofLanes, limits: { ...egress.limits, concurrency } }
}

/** A time that passes, unless it is not waited for any more. */
function within(clock: Clock, ms: number): { readonly over: Promise<void>; cancel(): void } {
  let pass: () => void = () => undefined
  const over = new Promise<void>((resolve) => {
    pass = resolve
  })
  const timer = clock.after(ms, pass)
  return { over, cancel: () => timer.cancel() }
}
