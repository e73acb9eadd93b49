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

import { type Attempting, type AttemptResult, begin } from './attempt.ts'
import type { Clock, Timer } from './clock.ts'
import { conclude, type Lesson } from './conclude.ts'
import type { Delivery } from './core/delivery.ts'
import { SteadymailError } from './core/error.ts'
import {
  type Arrival,
  arrive,
  clampLane,
  depart,
  holdLane,
  isQuiet,
  isWorthSaving,
  type LaneState,
  opening,
  releaseLane,
  saveLane,
  speaksOfMessage,
  type Traffic,
} from './core/lane.ts'
import type { OnUncertain } from './core/message.ts'
import { EGRESS, Egress } from './egress.ts'
import type { Events } from './events.ts'
import type { Grouping } from './grouping.ts'
import { type Gated, type Lane, Lanes, type Plan } from './lanes.ts'
import type { ResolvedOptions } from './options.ts'
import { Ownership } from './owner.ts'
import { Permits } from './permits.ts'
import type {
  Claim,
  Claimed,
  ClaimRequest,
  Settlement,
  Store,
  StoredLane,
  TurnResult,
} from './stores/store.ts'
import { Teller } from './tell.ts'
import type { Target } from './transporter.ts'

/** Kept after a claim's attempt timeout before anybody may think it abandoned. */
const CLAIM_MARGIN_MS = 60_000
/** Recipients in a row of one host set before another's: a connection costs as much as some ten messages. */
const RUN = 10
/** Turns of the event loop before one of ours where it means a commit: replies that come close together share it. An idle loop turns at once. */
const GATHER_TURNS = 3
/** What may wait for other lanes to be saved along waits so long. */
const SAVE_LATER_MS = 250
const STORE_RETRY_MS = 1_000
const STORE_RETRY_MAX_MS = 30_000

/** An attempt under way. */
export interface Flight {
  readonly claim: Claim
  readonly plan: Plan
  readonly startedAt: number
  /** A person asked for its message to end. */
  cancelled: boolean
  /** Its time is up and it could not be aborted: the slot is given back, the claim is kept. */
  overdue: boolean
  /** Gives back its slot and the shared gate's permit; safe to call again. */
  readonly giveBack: () => void
  /** Once it has begun. */
  attempting: Attempting | undefined
}

/** A result that is not saved yet, and what to tell once it is. */
interface Unsaved {
  readonly settlement: Settlement
  readonly tell: (() => void) | undefined
}

export interface OutboxParts {
  readonly store: Store
  readonly target: Target
  readonly grouping: Grouping
  readonly options: ResolvedOptions
  readonly route: 'relay' | 'direct'
  readonly clock: Clock
  readonly events: Events
  readonly ownerId: string
  /** Told of tickets whose last recipient ended, after that is durable. */
  readonly onEnded: (tickets: readonly string[]) => void
}

export class Outbox {
  readonly lanes: Lanes
  readonly egress: Egress
  readonly owner: Ownership
  readonly teller: Teller
  readonly flights = new Map<number, Flight>()
  readonly parts: OutboxParts
  disposed = false
  /** The newest failure of the store, until it works again. */
  storeFailure: { readonly error: unknown; readonly since: number } | undefined
  #unsaved: Unsaved[] = []
  /** Lanes to be saved with the next turn, and those that may wait for company until `#laterAt`. */
  readonly #dirty = new Set<Gated>()
  readonly #later = new Set<Gated>()
  #laterAt = Number.POSITIVE_INFINITY
  /** Batches refused as a whole: the most recipients of that ticket to try together. */
  readonly #halved = new Map<string, number>()
  #aborting = false
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
  readonly #landed: (() => void)[] = []
  /** Turns that are written, and not yet told because they are not yet durable. */
  readonly #telling = new Set<Promise<void>>()

  constructor(parts: OutboxParts) {
    const now = parts.clock.now()
    this.parts = parts
    const { limits, connections } = parts.options.egress
    this.egress = new Egress(limits, now, connections)
    this.lanes = new Lanes(this.egress, parts.route === 'direct' ? RUN : 1)
    this.owner = new Ownership(parts.store, parts.ownerId, parts.clock)
    this.teller = new Teller(parts.events, parts.store, parts.clock)
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

  /** Calls back when nothing is being sent any more. */
  whenLanded(callback: () => void): void {
    this.#landed.push(callback)
    if (this.flights.size === 0) for (const each of this.#landed.splice(0)) each()
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
    this.#askAfter(this.parts.store.durable ? GATHER_TURNS : 1)
  }

  #askAfter(turns: number): void {
    this.parts.clock.turn(() => {
      if (turns > 1) {
        this.#askAfter(turns - 1)
        return
      }
      this.#asked = false
      void this.#run()
    })
  }

  /** Somebody awaits something: the process stays alive until they call what this returns. */
  keepAlive(): () => void {
    this.#wanted++
    this.#arm()
    let once = true
    return () => {
      if (!once) return
      once = false
      this.#wanted--
      this.#arm()
    }
  }

  /** Settles without an attempt: recovery, sweep. The next turn writes it. */
  settle(settlement: Settlement, tell?: () => void): void {
    this.#unsaved.push({ settlement, tell })
    this.#noteAgain(settlement.delivery)
    this.ask()
  }

  /** Marks a lane's state to be saved. */
  touch(gated: Gated): void {
    this.#stain(gated, this.parts.clock.now())
    this.ask()
  }

  #stain(gated: Gated, now: number): void {
    if (!this.parts.store.durable || this.#dirty.has(gated)) return
    gated.dirty = true
    if (isWorthSaving(gated.saved, gated.state, gated.limits, now)) {
      this.#later.delete(gated)
      this.#dirty.add(gated)
      return
    }
    if (this.#later.size === 0) this.#laterAt = now + SAVE_LATER_MS
    this.#later.add(gated)
  }

  /** The lanes to save in this turn. */
  #takeDirty(now: number): Gated[] {
    if (this.#laterAt <= now) {
      for (const gated of this.#later) this.#dirty.add(gated)
      this.#later.clear()
      this.#laterAt = Number.POSITIVE_INFINITY
    }
    const dirty = [...this.#dirty]
    this.#dirty.clear()
    return dirty
  }

  /** The wall clock went back: what was to happen at a moment of the old one is looked at anew. */
  clockWentBack(): void {
    const now = this.parts.clock.now()
    this.#retryAt = Math.min(this.#retryAt, now + this.#retryMs)
    for (const gated of [this.egress, ...this.lanes.senders(), ...this.lanes.all()])
      gated.state = clampLane(gated.state, gated.limits, now)
    for (const lane of this.lanes.all()) this.lanes.reschedule(lane, now)
    this.ask()
  }

  /** Turns until every result is saved or the store fails. */
  async flush(): Promise<void> {
    if (!this.parts.store.durable) {
      for (const gated of [this.egress, ...this.lanes.all(), ...this.lanes.senders()]) this.#dirty.add(gated)
    }
    if (this.#later.size > 0) this.#laterAt = Number.NEGATIVE_INFINITY
    while (this.#unsaved.length > 0 || this.#dirty.size + this.#later.size > 0) {
      const before = this.#unsaved.length + this.#dirty.size + this.#later.size
      if (this.#turning) {
        // it waits for the store, which needs the event loop
        await new Promise<void>((resolve) => this.parts.clock.turn(resolve))
        continue
      }
      await this.#run()
      if (
        this.#unsaved.length + this.#dirty.size + this.#later.size >= before &&
        this.storeFailure !== undefined
      )
        return
      if (this.owner.fence === 0) return
    }
  }

  dispose(): void {
    this.#stopped = true
    this.disposed = true
    this.#timer?.cancel()
    this.#timer = undefined
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
      } while (this.#again)
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
    if (this.owner.fence === 0) return false
    const now = clock.now()
    if (now < this.#retryAt) return false
    const settle = this.#unsaved
    this.#unsaved = []
    const undo = new Map<Gated, LaneState>()
    const plans = this.#mayClaim() ? this.#planAll(now, undo) : []
    const dirty = this.#takeDirty(now)
    if (settle.length === 0 && plans.length === 0 && dirty.length === 0) return false
    let result: TurnResult
    try {
      const turn = store.turn({
        owner: this.owner.fence,
        now,
        until: now + this.parts.options.attemptTimeoutMs * (clock.scale ?? 1) + CLAIM_MARGIN_MS,
        settle: settle.map((s) => s.settlement),
        claims: plans.map(claimOf),
        lanes: (claimed) => this.#spend(plans, claimed, undo, dirty, now),
        urgent: this.parts.options.onUncertain !== 'retry',
        keepOutcomes: this.parts.options.onSettled !== undefined,
      })
      clock.working?.(turn)
      result = await turn
    } catch (error) {
      this.#unsaved = [...settle, ...this.#unsaved]
      for (const gated of [...dirty, ...undo.keys()]) {
        gated.saved = undefined // whatever was to be
        gated.dirty = true
      }
      for (const gated of dirty) this.#dirty.add(gated) // still not saved
      for (const [gated, state] of undo) gated.state = state
      for (const plan of plans) {
        this.lanes.unanswered(plan.queue)
        this.#unplan(plan, now)
      }
      this.#failed(error, now)
      return false
    }
    this.#worked()
    clock.working?.(result.durable)
    this.#tellWhenDurable(settle, result)
    for (let i = 0; i < plans.length; i++) {
      this.#claimed(plans[i] as Plan, result.claims[i] as Claimed, result.durable, now)
    }
    return plans.length > 0
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
      pattern: `the gate refused: ${error instanceof Error ? error.message : String(error)}`,
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
    const rows: StoredLane[] = []
    for (const gated of new Set<Gated>([...dirty, ...this.#dirty])) {
      this.#later.delete(gated)
      gated.dirty = false
      gated.saved = gated.state
      const quiet = gated.inFlight === 0 && isQuiet(gated.state, gated.limits, now)
      rows.push({ key: gated.key, state: quiet ? undefined : saveLane(gated.state) })
    }
    this.#dirty.clear()
    return rows
  }

  #claimed(plan: Plan, claimed: Claimed, durable: Promise<void>, now: number): void {
    this.lanes.answered(plan.queue, claimed.claim?.deliveries.length ?? 0, claimed.nextDueAt)
    if (claimed.claim === undefined) {
      this.#unplan(plan, now)
      return
    }
    const claim = this.#trim(claimed.claim)
    this.#launch(plan, claim, claimed.bytes, durable, now)
    this.lanes.reschedule(plan.lane, now)
  }

  /** A batch that was refused as a whole goes in parts: the rest is given back untouched. */
  #trim(claim: Claim): Claim {
    const most = this.#halved.get(claim.message.id)
    if (most === undefined || claim.deliveries.length <= most) return claim
    for (const delivery of claim.deliveries.slice(most)) {
      this.settle({ fence: claim.fence, delivery: { ...delivery, state: 'waiting' } })
    }
    return { ...claim, deliveries: claim.deliveries.slice(0, most) }
  }

  #unplan(plan: Plan, now: number): void {
    this.lanes.release(plan, true)
    this.lanes.reschedule(plan.lane, now)
    this.#freeSender(plan, now)
  }

  #launch(
    plan: Plan,
    claim: Claim,
    bytes: Uint8Array | undefined,
    durable: Promise<void>,
    now: number,
  ): void {
    const freeSlot = this.egress.take()
    const freePermit = this.#permits?.take()
    const flight: Flight = {
      claim,
      plan,
      startedAt: now,
      cancelled: false,
      overdue: false,
      giveBack: () => {
        freeSlot()
        freePermit?.()
      },
      attempting: undefined,
    }
    this.flights.set(claim.fence, flight)
    if (plan.probe) this.parts.events.emit('probing', { lane: plan.lane.key, at: now })
    if (plan.egressProbe) this.parts.events.emit('probing', { lane: EGRESS, at: now })
    if (bytes === undefined) void this.#fetch(flight, durable)
    else this.#fly(flight, bytes, durable)
  }

  /** Gets the bytes of a claim from the store first. */
  async #fetch(flight: Flight, durable: Promise<void>): Promise<void> {
    const { store, clock } = this.parts
    // bytes that are gone do not come back at once: asked for again without a pause, they would spin the loop
    let waitMs = STORE_RETRY_MAX_MS
    try {
      const bytes = await store.bytes(flight.claim.message.id)
      if (bytes !== undefined) {
        this.#fly(flight, bytes, durable)
        return
      }
    } catch (error) {
      this.#failed(error, clock.now())
      waitMs = 0 // the next turn waits for the store by itself
    }
    flight.giveBack()
    this.#return(flight, waitMs)
  }

  /** Begins an attempt; when it ends, its slot is free. */
  #fly(flight: Flight, bytes: Uint8Array, durable: Promise<void>): void {
    const { target, options, clock } = this.parts
    const { claim, plan } = flight
    // A claim must survive a power cut before its body is sent, where what may have been sent is not simply sent
    // again. With 'retry' a lost claim and an open one come to the same: nobody waits for the disk.
    const strict = (claim.message.onUncertain ?? options.onUncertain) !== 'retry'
    flight.attempting = begin(
      target,
      {
        message: claim.message,
        bytes,
        recipients: claim.deliveries.map(addressOf),
        // real servers do not answer faster because a test's clock runs
        timeoutMs: options.attemptTimeoutMs * (clock.scale ?? 1),
        gate: strict ? () => durable.then(() => this.#checkLease()) : () => this.#checkLease(),
        onOverdue: () => {
          flight.overdue = true
          this.lanes.releaseSlot(plan)
          flight.giveBack()
          this.ask()
        },
        ...(target.kind === 'plugin' && { hints: hintsOf(plan.lane) }),
      },
      clock,
      (result) => {
        try {
          this.#land(flight, result)
        } catch (error) {
          // a defect of ours, and the transport that calls back may swallow what is thrown at it
          queueMicrotask(() => {
            throw error
          })
        }
        flight.giveBack()
      },
    )
    if (this.#aborting) flight.attempting.abort()
  }

  /** What was claimed may only be sent while nobody else can have taken it over. */
  #checkLease(): void {
    if (this.owner.stands() && !this.#aborting) return
    throw new SteadymailError('OWNER_LOST', 'this process no longer delivers from this store')
  }

  /** Ends attempts under way, where the transport can. */
  abort(): void {
    this.#aborting = true
    for (const flight of [...this.flights.values()]) flight.attempting?.abort()
  }

  /** The attempt never reached the wire: its claim is given back as it was. */
  #return(flight: Flight, waitMs = 0): void {
    const now = this.parts.clock.now()
    this.#leave(flight)
    for (const delivery of flight.claim.deliveries) {
      this.settle({
        fence: flight.claim.fence,
        delivery: { ...delivery, state: 'waiting', dueAt: Math.max(delivery.dueAt, now + waitMs) },
      })
    }
    this.#learn(flight, { kind: 'returned', recipients: flight.claim.deliveries.length }, flight.plan.lane)
    this.lanes.reschedule(flight.plan.lane, now)
    this.#freeSender(flight.plan, now)
  }

  #leave(flight: Flight): void {
    this.flights.delete(flight.claim.fence)
    this.lanes.release(flight.plan, !flight.overdue)
    if (this.flights.size === 0) for (const each of this.#landed.splice(0)) each()
  }

  #land(flight: Flight, result: AttemptResult): void {
    const { options, clock, grouping, route, target } = this.parts
    const uncertain = result.outcomes.some((o) => !o.accepted && o.uncertain)
    if ((result.gated || result.aborted) && !uncertain && !result.outcomes.some((o) => o.accepted)) {
      if (result.gated || this.#aborting) {
        this.#return(flight)
        return
      }
    }
    const now = clock.now()
    const { claim, plan } = flight
    const { lane } = plan
    this.#leave(flight)
    const conclusion = conclude(claim, result, {
      grouping,
      route,
      onUncertain: claim.message.onUncertain ?? (options.onUncertain as OnUncertain),
      host: target.host,
      startedAt: flight.startedAt,
      now,
      random: clock.random,
      promotes: (rule) => this.egress.promotes(rule, lane.key, now),
      ofMessage: (verdict, target) => {
        const spoken =
          target === 'lane'
            ? lane
            : target === 'egress'
              ? this.egress
              : this.lanes.knownSender(plan.queue.sender)
        return spoken !== undefined && speaksOfMessage(spoken.state, claim.message.id, verdict)
      },
      cancelled: flight.cancelled,
    })
    if (conclusion.halve !== undefined) this.#halved.set(claim.message.id, conclusion.halve)
    else if (result.outcomes.some((o) => o.accepted)) this.#halved.delete(claim.message.id)
    this.#learn(flight, conclusion.lane, lane)
    this.#learn(flight, conclusion.egress, this.egress)
    const speaksOfSender = conclusion.sender.kind === 'throttle' || conclusion.sender.kind === 'unexplained'
    if (plan.sender !== undefined || speaksOfSender) this.#learnOfSender(flight, conclusion.sender, now)
    for (const concluded of conclusion.concluded) {
      this.#unsaved.push({
        settlement: concluded.settlement,
        tell: () => this.teller.concluded(claim, concluded),
      })
      this.#noteAgain(concluded.settlement.delivery)
    }
    this.lanes.reschedule(lane, now)
    this.ask()
  }

  /** A From domain that opens wakes its lanes; one that closes is noticed by each when its turn comes. */
  #learnOfSender(flight: Flight, lesson: Lesson, now: number): void {
    const name = flight.plan.queue.sender
    const sender = this.lanes.sender(name, now)
    const isOpen = (traffic: Traffic) => opening(sender.state, sender.limits, now, traffic, 0).at <= now
    // lanes were put aside while this attempt was under way
    const before = isOpen({
      inFlight: sender.inFlight + 1,
      probing: sender.probing || flight.plan.senderProbe,
    })
    this.#learn(flight, lesson, sender)
    if (!before && isOpen(sender)) this.lanes.rescheduleSender(name, now)
  }

  /** A plan of a From domain that is not quite open came to nothing: lanes that waited for its answer go on. */
  #freeSender({ sender, queue }: Plan, now: number): void {
    if (sender !== undefined && sender.state.phase !== 'open') this.lanes.rescheduleSender(queue.sender, now)
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

  #learn(flight: Flight, lesson: Lesson, gated: Gated): void {
    const { clock } = this.parts
    const now = clock.now()
    const { plan } = flight
    const probe =
      gated === plan.lane ? plan.probe : gated === this.egress ? plan.egressProbe : plan.senderProbe
    const arrival = arrivalOf(flight, lesson, probe, gated.inFlight + 1)
    const { state, events } = arrive(gated.state, gated.limits, now, arrival, clock.random)
    gated.state = state
    this.#stain(gated, now)
    if (lesson.kind !== 'returned') {
      // what made a hold, or made it longer, is not the next to probe
      const refused = events.some((event) => event.kind === 'held')
      if (refused || probe) this.lanes.probed(gated, plan.queue, refused)
      if (refused) plan.lane.avoid = [...plan.lane.avoid.slice(-7), flight.claim.message.id]
      else if (gated === plan.lane && plan.lane.avoid.length > 0) plan.lane.avoid = []
    }
    for (const event of events) this.teller.lane(gated, event, now)
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
        for (const ticket of result.ended) this.#halved.delete(ticket)
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
        pattern: error instanceof Error ? error.message : String(error),
        advice:
          'Results are kept in memory and written when the store works again; nothing new is sent meanwhile.',
      })
    }
    this.#retryAt = now + this.#retryMs
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
      at = Math.min(at, this.#laterAt)
      if (this.#unsaved.length > 0 || this.#dirty.size > 0) at = now
      at = Math.max(at, this.#retryAt)
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
    const waits = this.egress.free <= 0 || !this.#mayClaim() || (this.#permits?.asking ?? 0) > 0
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

function addressOf({ address }: Delivery): string {
  return address
}

/** What transports written for steadymail are told of the lane. */
function hintsOf({ key, policy, limits }: Lane): Readonly<Record<string, unknown>> {
  return {
    lane: key,
    tls: policy.tls,
    concurrency: limits.concurrency,
    messagesPerConnection: policy.messagesPerConnection,
  }
}

/** Field by field for the usual lesson: each accepted message has two, and spreads cost. */
function arrivalOf({ startedAt, claim }: Flight, lesson: Lesson, probe: boolean, inFlight: number): Arrival {
  const ticket = claim.message.id
  if (lesson.kind !== 'accepted') return { ...lesson, probe, startedAt, ticket, inFlight }
  const { recipients, accepted } = lesson
  return { kind: 'accepted', recipients, accepted, probe, startedAt, ticket, inFlight }
}
