// The attempts under way, from claim to result: each has a slot, hands its bytes to the transport behind the gate,
// and when it ends its lanes learn from it before its result goes to the outbox to be saved.
// Not here: who may go and what is written (outbox.ts), one try (attempt.ts), what its replies mean (conclude.ts).

import { type Attempting, type AttemptResult, begin } from './attempt.ts'
import type { Breath } from './breath.ts'
import type { Clock } from './clock.ts'
import { conclude, type Lesson } from './conclude.ts'
import type { Delivery } from './core/delivery.ts'
import { SteadymailError } from './core/error.ts'
import { FleetingMap } from './core/fleeting.ts'
import { type Arrival, arrive, opening, speaksOfMessage, type Traffic } from './core/lane.ts'
import type { OnUncertain } from './core/message.ts'
import { EGRESS, type Egress } from './egress.ts'
import type { Events } from './events.ts'
import type { Grouping } from './grouping.ts'
import type { Gated, Lane, Lanes, Plan } from './lanes.ts'
import type { ResolvedOptions } from './options.ts'
import type { Ownership } from './owner.ts'
import type { Claim, Settlement, Store } from './stores/store.ts'
import type { Teller } from './tell.ts'
import type { Target } from './transporter.ts'

/** Bytes that are gone do not come back at once: asked for again without a pause, they would spin the loop. */
const GONE_MS = 30_000

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

/** What an outbox is made of. */
export interface OutboxParts {
  readonly store: Store
  readonly target: Target
  readonly grouping: Grouping
  readonly options: ResolvedOptions
  readonly route: 'relay' | 'direct'
  readonly clock: Clock
  readonly events: Events
  readonly breath: Breath
  readonly ownerId: string
  /** Told of tickets whose last recipient ended, after that is durable. */
  readonly onEnded: (tickets: readonly string[]) => void
}

/** What flights need of the loop. */
export interface Ground {
  readonly parts: OutboxParts
  readonly lanes: Lanes
  readonly egress: Egress
  readonly owner: Ownership
  readonly teller: Teller
  ask(): void
  settle(settlement: Settlement, tell?: () => void): void
  /** A lane's state has changed. */
  stain(gated: Gated, now: number): void
  /** The store failed. */
  failed(error: unknown): void
}

export class Flights {
  readonly #ground: Ground
  readonly #flights = new FleetingMap<number, Flight>()
  /** Batches refused as a whole: the most recipients of that ticket to try together. */
  readonly #halved = new Map<string, number>()
  readonly #landed: (() => void)[] = []
  #aborting = false

  constructor(ground: Ground) {
    this.#ground = ground
  }

  get size(): number {
    return this.#flights.size
  }

  values(): IterableIterator<Flight> {
    return this.#flights.values()
  }

  /** Whether the claim of that fence is under way. */
  has(fence: number): boolean {
    return this.#flights.has(fence)
  }

  /** Calls back when nothing is being sent any more. */
  whenLanded(callback: () => void): void {
    this.#landed.push(callback)
    if (this.#flights.size === 0) for (const each of this.#landed.splice(0)) each()
  }

  /** Ends attempts under way, where the transport can. */
  abort(): void {
    this.#aborting = true
    for (const flight of [...this.#flights.values()]) flight.attempting?.abort()
  }

  /** Messages that ended are tried no more. */
  forget(tickets: readonly string[]): void {
    for (const ticket of tickets) this.#halved.delete(ticket)
  }

  /** Begins the attempt of a claim. */
  launch(
    plan: Plan,
    claimed: Claim,
    bytes: Uint8Array | undefined,
    durable: Promise<void>,
    now: number,
    freePermit: (() => void) | undefined,
  ): void {
    const { egress, parts } = this.#ground
    const claim = this.#trim(claimed)
    const freeSlot = egress.take()
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
    this.#flights.set(claim.fence, flight)
    if (plan.probe) parts.events.emit('probing', { lane: plan.lane.key, at: now })
    if (plan.egressProbe) parts.events.emit('probing', { lane: EGRESS, at: now })
    if (bytes === undefined) void this.#fetch(flight, durable)
    else this.#fly(flight, bytes, durable)
  }

  /** A batch that was refused as a whole goes in parts: the rest is given back untouched. */
  #trim(claim: Claim): Claim {
    const most = this.#halved.get(claim.message.id)
    if (most === undefined || claim.deliveries.length <= most) return claim
    for (const delivery of claim.deliveries.slice(most)) {
      this.#ground.settle({ fence: claim.fence, delivery: { ...delivery, state: 'waiting' } })
    }
    return { ...claim, deliveries: claim.deliveries.slice(0, most) }
  }

  /** Gets the bytes of a claim from the store first. */
  async #fetch(flight: Flight, durable: Promise<void>): Promise<void> {
    const { store } = this.#ground.parts
    let waitMs = GONE_MS
    try {
      const bytes = await store.bytes(flight.claim.message.id)
      if (bytes !== undefined) {
        this.#fly(flight, bytes, durable)
        return
      }
    } catch (error) {
      this.#ground.failed(error)
      waitMs = 0 // the next turn waits for the store by itself
    }
    flight.giveBack()
    this.#return(flight, waitMs)
  }

  /** Begins an attempt; when it ends, its slot is free. */
  #fly(flight: Flight, bytes: Uint8Array, durable: Promise<void>): void {
    const { target, options, clock } = this.#ground.parts
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
        mayBegin: () => this.#mayBegin(plan),
        onOverdue: () => {
          flight.overdue = true
          this.#ground.lanes.releaseSlot(plan)
          flight.giveBack()
          this.#ground.ask()
        },
        ...(target.kind === 'plugin' && { hints: hintsOf(plan.lane, options.egress.ahead) }),
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

  /** A hold is for what waits at the transport as well; the message that asks whether it is over goes. */
  #mayBegin({ lane, probe, egressProbe }: Plan): boolean {
    const { egress } = this.#ground
    return (lane.state.phase !== 'held' || probe) && (egress.state.phase !== 'held' || egressProbe)
  }

  /** What was claimed may only be sent while nobody else can have taken it over. */
  #checkLease(): void {
    if (this.#ground.owner.stands() && !this.#aborting) return
    throw new SteadymailError('OWNER_LOST', 'this process no longer delivers from this store')
  }

  /** The attempt never reached the wire: its claim is given back as it was. */
  #return(flight: Flight, waitMs = 0): void {
    const now = this.#ground.parts.clock.now()
    this.#leave(flight)
    for (const delivery of flight.claim.deliveries) {
      this.#ground.settle({
        fence: flight.claim.fence,
        delivery: { ...delivery, state: 'waiting', dueAt: Math.max(delivery.dueAt, now + waitMs) },
      })
    }
    this.#learn(flight, { kind: 'returned', recipients: flight.claim.deliveries.length }, flight.plan.lane)
    this.#ground.lanes.reschedule(flight.plan.lane, now)
    this.#ground.lanes.wakeSender(flight.plan, now)
  }

  #leave(flight: Flight): void {
    this.#flights.delete(flight.claim.fence)
    this.#ground.lanes.release(flight.plan, !flight.overdue)
    if (this.#flights.size === 0) for (const each of this.#landed.splice(0)) each()
  }

  #land(flight: Flight, result: AttemptResult): void {
    const { options, clock, grouping, route, target } = this.#ground.parts
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
      promotes: (rule) => this.#ground.egress.promotes(rule, lane.key, now),
      ofMessage: (verdict, target) => {
        const spoken =
          target === 'lane'
            ? lane
            : target === 'egress'
              ? this.#ground.egress
              : this.#ground.lanes.knownSender(plan.queue.sender)
        return spoken !== undefined && speaksOfMessage(spoken.state, claim.message.id, verdict)
      },
      cancelled: flight.cancelled,
    })
    if (conclusion.halve !== undefined) this.#halved.set(claim.message.id, conclusion.halve)
    else if (result.outcomes.some((o) => o.accepted)) this.#halved.delete(claim.message.id)
    this.#learn(flight, conclusion.lane, lane)
    this.#learn(flight, conclusion.egress, this.#ground.egress)
    const speaksOfSender = conclusion.sender.kind === 'throttle' || conclusion.sender.kind === 'unexplained'
    if (plan.sender !== undefined || speaksOfSender) this.#learnOfSender(flight, conclusion.sender, now)
    for (const concluded of conclusion.concluded) {
      this.#ground.settle(concluded.settlement, () => this.#ground.teller.concluded(claim, concluded))
    }
    this.#ground.lanes.reschedule(lane, now)
    this.#ground.ask()
  }

  /** A From domain that opens wakes its lanes; one that closes is noticed by each when its turn comes. */
  #learnOfSender(flight: Flight, lesson: Lesson, now: number): void {
    const name = flight.plan.queue.sender
    const sender = this.#ground.lanes.sender(name, now)
    const isOpen = (traffic: Traffic) => opening(sender.state, sender.limits, now, traffic, 0).at <= now
    // lanes were put aside while this attempt was under way
    const before = isOpen({
      inFlight: sender.inFlight + 1,
      probing: sender.probing || flight.plan.senderProbe,
    })
    this.#learn(flight, lesson, sender)
    if (!before && isOpen(sender)) this.#ground.lanes.rescheduleSender(name, now)
  }

  #learn(flight: Flight, lesson: Lesson, gated: Gated): void {
    const { clock } = this.#ground.parts
    const now = clock.now()
    const { plan } = flight
    const probe =
      gated === plan.lane ? plan.probe : gated === this.#ground.egress ? plan.egressProbe : plan.senderProbe
    const arrival = arrivalOf(flight, lesson, probe, gated.inFlight + 1)
    const { state, events } = arrive(gated.state, gated.limits, now, arrival, clock.random)
    gated.state = state
    this.#ground.stain(gated, now)
    if (lesson.kind !== 'returned') {
      // what made a hold, or made it longer, is not the next to probe
      const refused = events.some((event) => event.kind === 'held')
      if (refused || probe) this.#ground.lanes.probed(gated, plan.queue, refused)
      if (refused) plan.lane.avoid = [...plan.lane.avoid.slice(-7), flight.claim.message.id]
      else if (gated === plan.lane && plan.lane.avoid.length > 0) plan.lane.avoid = []
    }
    for (const event of events) this.#ground.teller.lane(gated, event, now)
  }
}

function addressOf({ address }: Delivery): string {
  return address
}

/** What transports written for steadymail are told of the lane. */
function hintsOf(
  { key, policy, limits, inFlight }: Lane,
  ahead: number | undefined,
): Readonly<Record<string, unknown>> {
  return {
    lane: key,
    ...(ahead && { sessions: inFlight }),
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
