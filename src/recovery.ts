// What start-up and the sweep do: take up what an earlier process left, hear what others added,
// end what has expired, forget what is old. Everything that changes a delivery goes through outbox.settle.

import { apply } from './core/apply.ts'
import { crashRecord } from './core/crash.ts'
import { afterCrash } from './core/decide.ts'
import { clampLane, type LaneState, loadLane, releaseLane, viewLane } from './core/lane.ts'
import { EGRESS } from './egress.ts'
import type { Outbox } from './outbox.ts'
import { CLOCKS_APART_MS } from './owner.ts'
import type { Claim, Notice, Store } from './stores/store.ts'

const SWEEP_MS = 30_000
const NOTICES_MS = 1_000
const PURGE_MS = 600_000
/** What a store forgets in one write; more of it follows soon, so that a thousand a second can be sent for ever. */
const PURGE_AT_ONCE = 250
const PURGE_ON_MS = 250
const EXPIRED_AT_ONCE = 200
/** How long mail whose time passed while no process ran gets for its one try. */
const GRACE_MS = 3_600_000
/** Wall and monotonic clock apart by more than this since the last look: expiry waits until they settle. */
const CLOCK_DRIFT_MS = 60_000

/** Mailers of this process by store: what one leaves in it for another is looked at without a delay. */
const beside = new WeakMap<Store, Set<() => void>>()

/** Something was left for whoever delivers from this store, if that is another mailer of this process. */
export function nudge(store: Store): void {
  for (const look of beside.get(store) ?? []) look()
}

export class Recovery {
  readonly #outbox: Outbox
  #owningSince = 0
  #ownAt = 0
  #sweepAt = 0
  #noticesAt = 0
  #purgeAt = 0
  /** When there is more to forget than went at once. */
  #purgeOnAt = Number.POSITIVE_INFINITY
  #offset: number | undefined
  /** The latest that the wall clock was against the monotonic one. */
  #newest: number | undefined
  #recovered = false

  constructor(outbox: Outbox) {
    this.#outbox = outbox
    const { store } = outbox.parts
    const looks = beside.get(store) ?? new Set()
    beside.set(store, looks)
    const look = () => {
      if (outbox.disposed) looks.delete(look)
      else if (outbox.owner.fence > 0) {
        this.#noticesAt = 0
        outbox.ask()
      }
    }
    looks.add(look)
    outbox.chore(
      () => (this.#wentBack() ? 0 : Number.POSITIVE_INFINITY),
      () => this.#clockWentBack(),
    )
    outbox.chore(
      // a renewal that failed is due at once, but not asked for at once
      () => Math.max(this.#outbox.owner.refreshAt, this.#ownAt),
      () => this.#own(),
    )
    outbox.chore(
      () =>
        this.#recovered
          ? Math.min(this.#sweepAt, this.#noticesAt, this.#purgeOnAt)
          : Number.POSITIVE_INFINITY,
      () => this.#look(),
    )
  }

  #wentBack(): boolean {
    const { clock } = this.#outbox.parts
    const since = clock.now() - clock.monotonic()
    if (this.#newest === undefined || since > this.#newest) this.#newest = since
    return since < this.#newest - CLOCKS_APART_MS * (clock.scale ?? 1)
  }

  /** Nothing waits for a moment that was near and now is far. */
  #clockWentBack(): void {
    const { clock } = this.#outbox.parts
    const now = clock.now()
    this.#newest = now - clock.monotonic()
    this.#ownAt = Math.min(this.#ownAt, now)
    this.#noticesAt = Math.min(this.#noticesAt, now)
    this.#sweepAt = Math.min(this.#sweepAt, now + SWEEP_MS)
    this.#purgeAt = Math.min(this.#purgeAt, now + PURGE_MS)
    if (this.#purgeOnAt !== Number.POSITIVE_INFINITY) this.#purgeOnAt = now
    this.#owningSince = Math.min(this.#owningSince, now)
    this.#outbox.clockWentBack()
  }

  /** Takes or renews the owner lease; a new owner takes up what was left. */
  async #own(): Promise<void> {
    const { owner, parts } = this.#outbox
    const had = owner.fence > 0
    const now = parts.clock.now()
    // one that does not own looks again every two seconds, not all at the same moment
    this.#ownAt = now + (1_500 + Math.floor(parts.clock.random() * 1_000)) * (parts.clock.scale ?? 1)
    if (this.#outbox.stopped && !had) return // it closes: another's turn
    let owns: boolean
    try {
      owns = await owner.refresh()
    } catch {
      return // a store that fails is told of by the turn; the lease is asked for again
    }
    if (owns && !(had && this.#recovered)) {
      try {
        await this.#takeUp()
      } catch (error) {
        // half of what was left is known: nothing is claimed until all of it is
        this.#recovered = false
        this.#outbox.failed(error)
        await owner.giveUp().catch(() => undefined)
        return
      }
      parts.events.emit('owner', { owner: true, at: now })
    } else if (!owns && had) {
      this.#recovered = false
      parts.events.emit('owner', { owner: false, at: now })
    }
  }

  /** Lanes, heads, and claims that a process left open when it died. */
  async #takeUp(): Promise<void> {
    const outbox = this.#outbox
    const { store, clock, grouping } = outbox.parts
    const { book } = grouping
    this.#owningSince = clock.now()
    const states = new Map<string, LaneState>()
    for await (const page of store.lanes()) {
      for (const row of page) {
        const state = row.state === undefined ? undefined : loadLane(row.state)
        if (state !== undefined) states.set(row.key, state)
      }
    }
    const now = clock.now()
    this.#takeUpStates(states, now)
    for await (const page of store.heads()) {
      for (const head of page) {
        const policy = book.forLane(head.lane, head.lane)
        const stored = states.get(head.lane)
        states.delete(head.lane)
        const lane = outbox.lanes.lane(
          head.lane,
          policy,
          now,
          stored === undefined ? undefined : clampLane(stored, policy.limits, now),
        )
        lane.several = true // unknown after a restart: a claim asks for all of a message's recipients
        const queue = outbox.lanes.queue(lane, head.sender, head.priority)
        outbox.lanes.note(queue, head.dueAt, head.waiting - queue.waiting, now)
      }
    }
    for (const [key, stored] of states) {
      if (key.startsWith('@')) continue
      const policy = book.forLane(key, key)
      outbox.lanes.lane(key, policy, now, clampLane(stored, policy.limits, now))
    }
    for (const claim of await store.openClaims()) {
      if (!outbox.flights.has(claim.fence)) this.#afterCrash(claim, now)
    }
    this.#recovered = true
    this.#sweepAt = now
    this.#noticesAt = now
    this.#purgeAt = now
    outbox.ask()
  }

  #takeUpStates(states: ReadonlyMap<string, LaneState>, now: number): void {
    const outbox = this.#outbox
    const egress = states.get(EGRESS)
    if (egress !== undefined) {
      const state = clampLane(egress, outbox.egress.limits, now)
      // a restart is often the cure of a refused login: it is tried at once
      const held = viewLane(state, outbox.egress.limits, now).hold
      outbox.egress.state =
        held?.cause === 'auth-credentials' ? releaseLane(state, outbox.egress.limits, now) : state
    }
    for (const [key, state] of states) {
      if (!key.startsWith('@from:')) continue
      const sender = outbox.lanes.sender(key.slice('@from:'.length), now)
      sender.state = clampLane(state, sender.limits, now)
    }
  }

  #afterCrash(claim: Claim, now: number): void {
    const outbox = this.#outbox
    const { options, clock } = outbox.parts
    for (const delivery of claim.deliveries) {
      const decision = afterCrash(delivery, {
        onUncertain: claim.message.onUncertain ?? options.onUncertain,
        now,
        random: clock.random,
      })
      const record = crashRecord(now)
      const after = apply(delivery, decision, record, now)
      outbox.settle({ fence: claim.fence, delivery: after, record }, () => {
        if (decision.kind === 'fail') outbox.teller.failed(claim, after)
        else outbox.teller.crashed(claim, after, decision)
      })
    }
  }

  async #look(): Promise<void> {
    const { parts, owner, stopped } = this.#outbox
    const now = parts.clock.now()
    if (owner.fence === 0 || stopped) {
      this.#purgeOnAt = Number.POSITIVE_INFINITY
      this.#sweepAt = now + SWEEP_MS
      this.#noticesAt = now + NOTICES_MS
      return
    }
    try {
      if (this.#noticesAt <= now) {
        this.#noticesAt = now + (parts.store.durable ? NOTICES_MS * (parts.clock.scale ?? 1) : SWEEP_MS)
        for (const notice of await parts.store.notices(owner.fence)) this.#hear(notice, now)
      }
      if (this.#sweepAt <= now) {
        this.#sweepAt = now + SWEEP_MS
        if (this.#clocksAgree()) await this.#sweep(now)
        this.#outbox.lanes.forgetQuiet(now)
        parts.onEnded([]) // what other processes ended, the durable handler hears of now
        if (this.#purgeAt <= now) await this.#purge(now)
      } else if (this.#purgeOnAt <= now) await this.#purge(now)
    } catch {
      // a store that fails is told of by the turn; the sweep comes again
    }
  }

  /** What another process did to the store. */
  #hear(notice: Notice, now: number): void {
    const outbox = this.#outbox
    switch (notice.kind) {
      case 'due': {
        const lane = outbox.laneOf(notice.lane, notice.lane, now)
        if (notice.count > 1) lane.several = true
        outbox.lanes.note(
          outbox.lanes.queue(lane, notice.sender, notice.priority),
          notice.dueAt,
          notice.count,
          now,
        )
        break
      }
      case 'hold':
        outbox.holdLane(notice.lane, notice.until, notice.reason)
        break
      case 'release':
        outbox.releaseLane(notice.lane)
        break
      case 'cancel':
        for (const flight of outbox.flights.values()) {
          if (flight.claim.message.id === notice.ticket) flight.cancelled = true
        }
        break
      default:
        notice satisfies never
    }
  }

  /** Whether the wall clock ran with the monotonic one since the last look. */
  #clocksAgree(): boolean {
    const { clock } = this.#outbox.parts
    const offset = clock.now() - clock.monotonic()
    const agree = this.#offset === undefined || Math.abs(offset - this.#offset) <= CLOCK_DRIFT_MS
    this.#offset = offset
    return agree
  }

  /** Ends what has expired; what was never tried because no process ran gets its one try. */
  async #sweep(now: number): Promise<void> {
    const outbox = this.#outbox
    const { store, options } = outbox.parts
    const until = now + options.attemptTimeoutMs
    const claims = await store.claimExpired(outbox.owner.fence, now, until, EXPIRED_AT_ONCE)
    for (const claim of claims) {
      for (const delivery of claim.deliveries) {
        outbox.lanes.forgetOne(delivery.lane, delivery.sender, delivery.priority)
        const neverTried = delivery.tries === 0 && delivery.expiresAt < this.#owningSince
        if (neverTried) {
          const after = { ...delivery, state: 'waiting' as const, dueAt: now, expiresAt: now + GRACE_MS }
          outbox.settle({ fence: claim.fence, delivery: after })
          continue
        }
        const after = apply(delivery, { kind: 'fail', reason: 'expired' }, undefined, now)
        outbox.settle({ fence: claim.fence, delivery: after }, () => outbox.teller.failed(claim, after))
      }
    }
    if (claims.length === EXPIRED_AT_ONCE) this.#sweepAt = now
  }

  async #purge(now: number): Promise<void> {
    const { store, options } = this.#outbox.parts
    this.#purgeOnAt = Number.POSITIVE_INFINITY
    if (options.onSettled === undefined) await this.#acknowledge()
    const { acceptedMs, failedMs, keysMs } = options.retention
    const gone = await store.purge(
      { settledBefore: now - acceptedMs, failedBefore: now - failedMs, keysBefore: now - keysMs },
      PURGE_AT_ONCE,
    )
    this.#purgeAt = now + PURGE_MS
    if (gone >= PURGE_AT_ONCE) this.#purgeOnAt = now + PURGE_ON_MS
  }

  /** Outcomes that were kept for a handler that there is not: by other processes, or an earlier version of this one. */
  async #acknowledge(): Promise<void> {
    const { store } = this.#outbox.parts
    for (;;) {
      const tickets = await store.outcomes(PURGE_AT_ONCE)
      if (tickets.length === 0) return
      await store.acknowledge(tickets)
    }
  }
}
