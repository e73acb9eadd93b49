// The loop that delivers: one timer, one transaction a turn.
//
// A turn, in prose: what attempts brought since the last one is settled, and for every free slot that a
// lane may use a claim is made, in the same commit as the tokens it spends. Only then do the attempts of
// those claims begin. Each attempt's body is gated: at its first read the claim must be durable and the
// owner lease must stand. When an attempt ends its slot is free, its lane has learned, its result waits
// for the next turn; nothing new begins while a result cannot be saved.
//
//   asleep ──timer, add, arrival──▶ turn ──claims──▶ attempts ──land──▶ turn …
//      ▲                             │ nothing to do
//      └─────────────────────────────┘
//
// Not here: which lane goes next (lanes.ts), what replies mean (conclude.ts), what start-up and the
// sweep do (recovery.ts).

import type { Timer } from './clock.ts'
import type { Delivery } from './core/delivery.ts'
import { SteadymailError, wordsOf } from './core/error.ts'
import { FleetingSet } from './core/fleeting.ts'
import { clampLane, depart, holdLane, type LaneState, releaseLane } from './core/lane.ts'
import { EGRESS, Egress } from './egress.ts'
import { Flights, type OutboxParts } from './flights.ts'
import { type Gated, type Lane, Lanes, type Plan } from './lanes.ts'
import { Ownership } from './owner.ts'
import { Permits } from './permits.ts'
import { ownerLost } from './stores/rules.ts'
import type { Claimed, ClaimRequest, Settlement, StoredLane, TurnResult } from './stores/store.ts'
import { Teller } from './tell.ts'
import { UnsavedLanes } from './unsaved-lanes.ts'

/** Kept after a claim's attempt timeout before anybody may think it abandoned. */
const CLAIM_MARGIN_MS = 60_000
/** Recipients in a row of one host set before another's: a connection costs as much as some ten messages. */
const RUN = 10
/** Turns of the event loop before one of ours where it means a commit: replies that come close together share it. An idle loop turns at once. */
const GATHER_TURNS = 16
/** And no longer than this, where the application keeps the loop busy. */
const GATHER_MS = 5
const STORE_RETRY_MS = 1_000
const STORE_RETRY_MAX_MS = 30_000
/** So much of it, at most, a wait is shorter by chance. */
const STORE_RETRY_JITTER = 0.5

/** A result that is not saved yet, and what to tell once it is. */
interface Unsaved {
  readonly settlement: Settlement
  readonly tell: (() => void) | undefined
}

interface Saver {
  resolve(): void
  reject(error: unknown): void
}

export class Outbox {
  readonly lanes: Lanes
  readonly egress: Egress
  readonly owner: Ownership
  readonly teller: Teller
  readonly flights: Flights
  readonly parts: OutboxParts
  disposed = false
  /** The newest failure of the store, until it works again. */
  storeFailure: { readonly error: unknown; readonly since: number } | undefined
  #unsaved: Unsaved[] = []
  /** Those who wait until what was touched is in the store. */
  #savers: Saver[] = []
  readonly #unsavedLanes = new UnsavedLanes()
  #turning = false
  #again = false
  #asked = false
  #stopped = true
  #retryMs = STORE_RETRY_MS
  #retryAt = 0
  readonly #permits: Permits | undefined
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  /** What else wants the timer, and what it does then. */
  readonly #chores: { at: () => number; run: () => Promise<void> | void }[] = []
  #wanted = 0
  #quiet: Promise<void> | undefined
  #quieted: (() => void) | undefined
  /** Turns that are written, and not yet told because they are not yet durable. */
  readonly #telling = new FleetingSet<Promise<void>>()

  constructor(parts: OutboxParts) {
    const now = parts.clock.now()
    this.parts = parts
    const { limits, connections, ahead } = parts.options.egress
    this.egress = new Egress(limits, now, connections)
    this.lanes = new Lanes(this.egress, parts.route === 'direct' ? RUN : 1, ahead)
    this.owner = new Ownership(parts.store, parts.ownerId, parts.clock)
    this.teller = new Teller(parts.events, parts.store, parts.clock)
    this.flights = new Flights({
      parts,
      lanes: this.lanes,
      egress: this.egress,
      owner: this.owner,
      teller: this.teller,
      ask: () => this.ask(),
      settle: (settlement, tell) => this.settle(settlement, tell),
      stain: (gated, now) => this.#stain(gated, now),
      failed: (error) => this.failed(error),
    })
    const { gate } = parts.options.egress
    if (gate !== undefined) {
      this.#permits = new Permits(
        gate,
        () => this.ask(),
        (error) => this.#gateRefused(error),
      )
    }
  }

  /** Something to be run by the one timer: `at` says when next. */
  chore(at: () => number, run: () => Promise<void> | void): void {
    this.#chores.push({ at, run })
  }

  /** Starts; resolves after the first look at the store. */
  begin(): Promise<void> {
    this.#stopped = false
    return this.#run()
  }

  /** Resolves when nothing waits, nothing is being sent and nothing is unsaved, as far as this process knows. */
  quiet(): Promise<void> {
    this.#quiet ??= new Promise((resolve) => {
      this.#quieted = resolve
    })
    const quiet = this.#quiet // one for all who wait, however often they ask
    this.#tellQuiet()
    return quiet
  }

  #tellQuiet(): void {
    if (this.flights.size + this.#unsaved.length > 0 || this.lanes.waiting > 0) return
    this.#quieted?.()
    this.#quiet = undefined
  }

  /** Claims nothing more; what is under way goes on. */
  stop(): void {
    this.#stopped = true
  }

  get stopped(): boolean {
    return this.#stopped
  }

  /** Results that wait to be saved. */
  get unsaved(): number {
    return this.#unsaved.length
  }

  /** Asks for a turn soon; many askers share one. */
  ask(): void {
    if (this.#asked) return
    this.#asked = true
    const { store, clock } = this.parts
    this.#askAfter(store.durable ? GATHER_TURNS : 1, clock.monotonic() + GATHER_MS)
  }

  #askAfter(turns: number, until: number): void {
    const { clock } = this.parts
    clock.turn(() => {
      if (turns > 1 && clock.monotonic() < until) {
        this.#askAfter(turns - 1, until)
        return
      }
      this.#asked = false
      void this.#run()
    })
  }

  /** Somebody awaits something: the process stays alive until they call what this returns. */
  keepAlive(): () => void {
    if (++this.#wanted === 1) this.#arm()
    let once = true
    return () => {
      if (!once) return
      once = false
      if (--this.#wanted === 0) this.#arm()
    }
  }

  /** Settles without an attempt: recovery, sweep. The next turn writes it. */
  settle(settlement: Settlement, tell?: () => void): void {
    this.#unsaved.push({ settlement, tell })
    this.#noteAgain(settlement.delivery)
    this.ask()
  }

  /** Marks a lane's state to be saved with the next turn. */
  touch(gated: Gated): void {
    this.#stain(gated, this.parts.clock.now())
    // also what may wait for company: a person waits for it
    if (this.parts.store.durable) this.#unsavedLanes.add([gated])
    this.ask()
  }

  /**
   * Resolves when what was touched so far is durable.
   * @throws what the store says when it fails; `OWNER_LOST` when another process delivers by now
   */
  saved(): Promise<void> {
    if (this.#unsavedLanes.size === 0) return Promise.resolve()
    if (this.storeFailure !== undefined) return Promise.reject(this.storeFailure.error)
    return new Promise((resolve, reject) => {
      this.#savers.push({ resolve, reject })
    })
  }

  #refuse(savers: readonly Saver[], error: unknown): void {
    for (const saver of savers) saver.reject(error)
  }

  #stain(gated: Gated, now: number): void {
    if (this.parts.store.durable) this.#unsavedLanes.stain(gated, now)
  }

  /** The wall clock went back: what was to happen at a moment of the old one is looked at anew. */
  clockWentBack(): void {
    const now = this.parts.clock.now()
    this.#retryAt = Math.min(this.#retryAt, now + this.#retryMs)
    this.#unsavedLanes.hurry()
    for (const gated of [this.egress, ...this.lanes.senders(), ...this.lanes.all()])
      gated.state = clampLane(gated.state, gated.limits, now)
    for (const lane of this.lanes.all()) this.lanes.reschedule(lane, now)
    this.ask()
  }

  /** Turns until every result is saved or the store fails. */
  async flush(): Promise<void> {
    if (!this.parts.store.durable) {
      this.#unsavedLanes.add([this.egress, ...this.lanes.all(), ...this.lanes.senders()])
    }
    this.#unsavedLanes.hurry()
    const left = () => this.#unsaved.length + this.#unsavedLanes.size
    while (left() > 0) {
      const before = left()
      if (this.#turning) {
        // it waits for the store, which needs the event loop
        await new Promise<void>((resolve) => this.parts.clock.turn(resolve))
        continue
      }
      await this.#run()
      if (left() >= before && this.storeFailure !== undefined) return
      if (this.owner.fence === 0) return
    }
  }

  dispose(): void {
    this.#stopped = true
    this.disposed = true
    this.#timer?.cancel()
    this.#timer = undefined
    this.#refuse(this.#savers.splice(0), new SteadymailError('CLOSED', 'the mailer was closed'))
  }

  async #run(): Promise<void> {
    if (this.disposed) return
    if (this.#turning) {
      this.#again = true
      return
    }
    this.#turning = true
    try {
      do {
        this.#again = false
        for (const chore of this.#chores) {
          if (chore.at() <= this.parts.clock.now()) await chore.run()
        }
        if (await this.#turn()) this.#again = true
        if (this.#again && this.parts.breath.isSpent) await this.parts.breath.next()
      } while (this.#again && !this.disposed)
      if (this.#permits !== undefined && this.#mayClaim()) {
        const ready = this.lanes.readyCount(this.parts.clock.now())
        this.#permits.ask(Math.min(this.egress.free, ready), this.lanes.highestReady)
      }
    } finally {
      this.#turning = false
      this.#tellQuiet()
      this.#arm()
    }
  }

  /** One turn; true when another may find more to do. */
  async #turn(): Promise<boolean> {
    const { store, clock } = this.parts
    if (this.owner.fence === 0) {
      this.#refuse(this.#savers.splice(0), ownerLost())
      return false
    }
    const now = clock.now()
    if (now < this.#retryAt) return false
    const settle = this.#unsaved
    this.#unsaved = []
    const undo = new Map<Gated, LaneState>()
    const plans = this.#mayClaim() ? this.#planAll(now, undo) : []
    const dirty = this.#unsavedLanes.take(now)
    if (settle.length === 0 && plans.length === 0 && dirty.length === 0) return false
    const savers: Saver[] = []
    let result: TurnResult
    try {
      const turn = store.turn({
        owner: this.owner.fence,
        now,
        until: now + this.parts.options.attemptTimeoutMs * (clock.scale ?? 1) + CLAIM_MARGIN_MS,
        settle: settle.map((s) => s.settlement),
        claims: plans.map(claimOf),
        lanes: (claimed) => {
          savers.push(...this.#savers.splice(0)) // what they touched is in these rows
          return this.#spend(plans, claimed, undo, dirty, now)
        },
        urgent: this.parts.options.onUncertain !== 'retry' || this.#savers.length > 0,
        keepOutcomes: this.parts.options.onSettled !== undefined,
      })
      clock.working?.(turn)
      result = await turn
    } catch (error) {
      this.#unsaved = [...settle, ...this.#unsaved]
      this.#unsavedLanes.giveBack(dirty, undo.keys())
      for (const [gated, state] of undo) gated.state = state
      for (const plan of plans) {
        this.lanes.unanswered(plan.queue)
        this.#unplan(plan, now)
      }
      this.#failed(error, now)
      this.#refuse([...savers, ...this.#savers.splice(0)], error)
      return false
    }
    if (savers.length > 0)
      result.durable.then(
        () => {
          for (const saver of savers) saver.resolve()
        },
        (error) => this.#refuse(savers, error),
      )
    this.#worked()
    clock.working?.(result.durable)
    this.#tellWhenDurable(settle, result)
    for (let i = 0; i < plans.length; i++) {
      this.#claimed(plans[i] as Plan, result.claims[i] as Claimed, result.durable, now)
    }
    return plans.length > 0 || this.#unsavedLanes.dueAt(now) <= now
  }

  #mayClaim(): boolean {
    return !this.#stopped && this.owner.stands()
  }

  #planAll(now: number, undo: Map<Gated, LaneState>): Plan[] {
    const plans: Plan[] = []
    const most = Math.min(this.egress.free, this.#permits?.granted ?? Number.POSITIVE_INFINITY)
    while (plans.length < most) {
      const plan = this.lanes.plan(now, undo)
      if (plan === undefined) break
      plans.push(plan)
    }
    this.#permits?.keep(plans.length)
    return plans
  }

  #gateRefused(error: unknown): void {
    const now = this.parts.clock.now()
    if (this.#retryAt > now || this.#stopped) return
    this.#retryAt = now + STORE_RETRY_MS
    this.parts.events.emit('trouble', {
      kind: 'egress',
      at: now,
      pattern: `the gate refused: ${wordsOf(error)}`,
      advice:
        'Nothing is sent while egress.gate refuses; mail waits in the outbox. Look at the limiter behind it.',
    })
  }

  /** Inside the transaction: the true cost of the claims, and the states to save. */
  #spend(
    plans: readonly Plan[],
    claimed: readonly Claimed[],
    undo: ReadonlyMap<Gated, LaneState>,
    dirty: readonly Gated[],
    now: number,
  ): StoredLane[] {
    const cost = (i: number) => claimed[i]?.claim?.deliveries.length ?? 0
    // planning spent what was asked for; where less was claimed, the true cost is spent instead
    if (plans.some((plan, i) => cost(i) !== plan.limit)) {
      for (const [gated, state] of undo) gated.state = state
      for (const [i, { lane }] of plans.entries()) {
        if (cost(i) === 0) continue
        lane.state = depart(lane.state, lane.limits, now, cost(i))
        this.egress.state = depart(this.egress.state, this.egress.limits, now, cost(i))
      }
    }
    // what ends with the process is saved when the mailer closes: another may go on with the same store
    if (!this.parts.store.durable && !this.#stopped) return []
    for (const gated of undo.keys()) this.#stain(gated, now)
    return this.#unsavedLanes.rows(dirty, now)
  }

  #claimed(plan: Plan, claimed: Claimed, durable: Promise<void>, now: number): void {
    this.lanes.answered(plan.queue, claimed.claim?.deliveries.length ?? 0, claimed.nextDueAt)
    if (claimed.claim === undefined) {
      this.#unplan(plan, now)
      return
    }
    this.flights.launch(plan, claimed.claim, claimed.bytes, durable, now, this.#permits?.take())
    this.lanes.reschedule(plan.lane, now)
  }

  #unplan(plan: Plan, now: number): void {
    this.lanes.release(plan, true)
    this.lanes.reschedule(plan.lane, now)
    this.lanes.wakeSender(plan, now)
  }

  /** A delivery that waits again is known to its queue; the store has it from the next turn on. */
  #noteAgain(delivery: Delivery): void {
    if (delivery.state !== 'waiting') return
    const now = this.parts.clock.now()
    const lane = this.laneOf(delivery.lane, delivery.domain, now)
    this.lanes.note(this.lanes.queue(lane, delivery.sender, delivery.priority), delivery.dueAt, 1, now)
  }

  /** The lane of that key, with the policy of a domain that is in it. */
  laneOf(key: string, domain: string, now: number): Lane {
    const known = this.lanes.find(key)
    if (known !== undefined) return known
    return this.lanes.lane(key, this.parts.grouping.book.forLane(key, domain), now)
  }

  /** Holds a lane because a person said so; a lane without mail yet is held too. */
  holdLane(key: string, until: number, reason: string): void {
    const now = this.parts.clock.now()
    const gated = this.gated(key, now)
    gated.state = holdLane(gated.state, gated.limits, now, until, { reason, by: 'operator' })
    this.touch(gated)
    this.#lookAgain(gated, now)
    this.parts.events.emit('held', { lane: key, at: now, until, level: 0, cause: reason })
  }

  /** Ends a hold; the lane goes on in slow start. */
  releaseLane(key: string): void {
    const now = this.parts.clock.now()
    const gated = this.gated(key, now)
    gated.state = releaseLane(gated.state, gated.limits, now)
    this.touch(gated)
    this.#lookAgain(gated, now)
    this.parts.events.emit('recovering', { lane: key, at: now })
  }

  /** The lane, the egress or the From domain of that key. */
  gated(key: string, now: number): Gated {
    if (key === EGRESS) return this.egress
    if (key.startsWith('@from:')) return this.lanes.sender(key.slice('@from:'.length), now)
    return this.laneOf(key, key, now)
  }

  #lookAgain(gated: Gated, now: number): void {
    if (gated.key.startsWith('@from:')) this.lanes.rescheduleSender(gated.key.slice('@from:'.length), now)
    else if (gated !== this.egress) this.lanes.reschedule(gated as Lane, now)
  }

  #tellWhenDurable(settle: readonly Unsaved[], result: TurnResult): void {
    if (settle.length === 0) return
    const telling = result.durable.then(
      () => {
        const stale = new Set(result.stale)
        for (let i = 0; i < settle.length; i++) if (!stale.has(i)) settle[i]?.tell?.()
        this.flights.forget(result.ended)
        if (result.ended.length > 0) this.parts.onEnded(result.ended)
      },
      (error) => this.#failed(error, this.parts.clock.now()),
    )
    this.#telling.add(telling)
    const over = () => {
      this.#telling.delete(telling)
    }
    telling.then(over, over)
  }

  /** Resolves when every result that is written so far has been told. */
  async told(): Promise<void> {
    await Promise.allSettled(this.#telling)
  }

  /** The store failed in something other than a turn. */
  failed(error: unknown): void {
    this.#failed(error, this.parts.clock.now())
  }

  #failed(error: unknown, now: number): void {
    if (SteadymailError.is(error) && error.code === 'OWNER_LOST') {
      this.owner.lost()
      this.parts.events.emit('owner', { owner: false, at: now })
      return
    }
    if (this.storeFailure === undefined) {
      this.storeFailure = { error, since: now }
      this.parts.events.emit('trouble', {
        kind: 'store',
        at: now,
        pattern: wordsOf(error),
        advice:
          'Results are kept in memory and written when the store works again; nothing new is sent meanwhile.',
      })
    }
    if (now < this.#retryAt) return // it waits already: what fails meanwhile is the same failure
    // whatever makes it fail may come and go at even intervals, and other processes wait for the same disk
    this.#retryAt = now + this.#retryMs * (1 - STORE_RETRY_JITTER * this.parts.clock.random())
    this.#retryMs = Math.min(2 * this.#retryMs, STORE_RETRY_MAX_MS)
  }

  #worked(): void {
    if (this.storeFailure === undefined) return
    this.storeFailure = undefined
    this.#retryMs = STORE_RETRY_MS
    this.#retryAt = 0
  }

  /** When there is something to do without anything arriving first. */
  #nextAt(now: number): number {
    let at = Number.POSITIVE_INFINITY
    if (this.owner.fence > 0) {
      at = Math.max(this.#unsaved.length > 0 ? now : this.#unsavedLanes.dueAt(now), this.#retryAt)
    }
    if (!this.#stopped && this.owner.fence > 0)
      at = Math.min(at, Math.max(this.lanes.nextAt(now), this.#retryAt))
    return at
  }

  #arm(): void {
    if (this.disposed) return
    const { clock } = this.parts
    const now = clock.now()
    const work = this.#nextAt(now)
    let at = work
    if (!this.#stopped || this.#chores.length > 0)
      for (const chore of this.#chores) at = Math.min(at, chore.at())
    // the turn that has just ended could not begin it: something else has to happen first, and asks for the next turn
    const waits =
      this.egress.free <= 0 || this.lanes.isFull || !this.#mayClaim() || (this.#permits?.asking ?? 0) > 0
    if (work <= now) at = Math.max(at, now + (waits ? LOOK_AGAIN_MS : LOOK_SOON_MS))
    if (at !== this.#timerAt || this.#timer === undefined) {
      this.#timer?.cancel()
      this.#timer = undefined
      this.#timerAt = at
      if (at !== Number.POSITIVE_INFINITY) {
        this.#timer = clock.after(Math.max(0, at - now), () => {
          this.#timer = undefined
          this.#timerAt = Number.POSITIVE_INFINITY
          void this.#run()
        })
      }
    }
    this.#timer?.keep(this.#wanted > 0 || this.flights.size > 0 || work - now <= DUE_SOON_MS)
  }
}

/** What is due and cannot begin is looked at again after so long; sooner where nothing is known to hold it up. */
const LOOK_AGAIN_MS = 1_000
const LOOK_SOON_MS = 5
/** The process stays alive for what is due within this time. */
const DUE_SOON_MS = 10_000

function claimOf({ lane, queue, limit, probe, egressProbe, senderProbe }: Plan): ClaimRequest {
  const probing = probe || egressProbe || senderProbe
  return {
    lane: lane.key,
    sender: queue.sender,
    priority: queue.priority,
    limit,
    avoid: probing ? lane.avoid : NONE,
  }
}

const NONE: readonly never[] = []
