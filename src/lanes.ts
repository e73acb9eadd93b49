// Which lane may go now: readiness, priority and fairness over many lanes, all in memory.
//
// A lane with something waiting is in exactly one of three places:
//   asleep   nothing is due yet, or a token, hold or cap says when: it is in `#wakes` under that moment
//   ready    something is due and the lane is open: it is in `#ready` of each priority it has due
//   parked   it waits for an answer (a probe, its concurrency, a slot): the arrival reschedules it
// Among ready lanes of one priority the one that had the least so far goes first (start-time fair
// queueing, in recipients: the deficit round robin of DESIGN in the form that needs no rounds). Its turn is one
// recipient, or a run of some where a lane's connection is dear: delivered directly, each host set has its own.
//
// A direct transport takes messages ahead: beside the one on each connection some that wait behind it. A lane has them
// only where it gets no further connection, by its own concurrency or because all are taken; then in the middle of its
// run, so that none is claimed that would keep a connection from another lane.
// Not here: what a lane's limits are (core/lane.ts) and what is done with a plan (outbox.ts).

import { Heap } from './core/heap.ts'
import {
  type Bound,
  depart,
  isQuiet,
  type LaneState,
  type Opening,
  opening,
  openLane,
  slotsOf,
} from './core/lane.ts'
import type { LaneLimits } from './core/limits.ts'
import type { Priority } from './core/message.ts'
import type { EffectivePolicy } from './core/policy-book.ts'

/** What one lane has waiting from one From domain at one priority. */
export interface Queue {
  readonly lane: Lane
  readonly sender: string
  readonly priority: Priority
  /** Of its next delivery; `Infinity` when none waits. */
  dueAt: number
  /** May be off by deliveries that are being stored. */
  waiting: number
  /** Claims planned and not yet answered. */
  planned: number
}

/** Something with a lane's state: a lane, the egress, or a From domain. */
export interface Gated {
  readonly key: string
  readonly limits: LaneLimits
  state: LaneState
  /** Attempts under way. */
  inFlight: number
  /** Whether one of them is the probe. */
  probing: boolean
  /** Whether the state differs from the stored one. */
  dirty: boolean
  /** The stored state, where this process stored it. */
  saved: LaneState | undefined
}

export interface Lane extends Gated {
  policy: EffectivePolicy
  limits: LaneLimits
  readonly queues: Queue[]
  /** Whether one message may have several recipients here; then a claim asks for them together. */
  several: boolean
  /** Attempts beside those in flight, which wait behind them; one of them moves up when one of those ends. */
  ahead: number
  /** Tickets whose probe was refused: the next probe takes another. */
  avoid: readonly string[]
  /** Virtual time: what it has had, in recipients. */
  served: number
  /** What it had had when its present run began. */
  runFrom: number
  wakeAt: number
  readonly ready: [boolean, boolean, boolean]
  /** Its rank in `#ready` of each priority; any other there is one it no longer has. */
  readonly rankAt: [number, number, number]
}

/** One claim to make. */
export interface Plan {
  readonly lane: Lane
  readonly queue: Queue
  readonly limit: number
  /** Whether it probes its lane, the egress, its From domain. */
  readonly probe: boolean
  readonly egressProbe: boolean
  readonly senderProbe: boolean
  readonly sender: Gated | undefined
}

/** At most so many recipients in one SMTP transaction; RFC 5321 §4.5.3.1.8 asks servers for 100. */
export const BATCH = 50
/** Of what leaves while higher priorities wait, one recipient in this many is of each lower one. */
const LOWER_SHARE = 10
const FOREVER = Number.POSITIVE_INFINITY
/** The rank of a ready lane that is in no heap. */
const ASIDE = Number.NEGATIVE_INFINITY
const ALONE = { inFlight: 0, probing: false }
const UNLIMITED: LaneLimits = { burst: 1_000_000_000, caps: [], concurrency: 1_000_000_000 }

export class Lanes {
  readonly #lanes = new Map<string, Lane>()
  readonly #senders = new Map<string, Gated>()
  readonly #ready = [new Heap<Lane>(), new Heap<Lane>(), new Heap<Lane>()] as const
  #wakes = new Heap<Lane>()
  /** Ready lanes that may not take the last slot; back in when a slot is free. */
  #aside: [Priority, Lane][] = []
  #served = 0
  #waiting = 0
  /** What lower priorities are owed of what left before them, in recipients. */
  readonly #owed = [0, 0, 0]
  /** Queues whose message made a hold of a lane, the egress or a From domain, since a probe last passed. */
  readonly #refused = new Map<Gated, readonly Queue[]>()
  readonly #egress: Gated & { readonly connections: number }
  readonly #run: number
  readonly #ahead: number
  /** Of all lanes, those in flight. */
  #connected = 0

  /**
   * @param run how many recipients in a row are one lane's while others are ready
   * @param ahead attempts that wait behind each one in flight, where the transport keeps a queue for each lane
   */
  constructor(egress: Gated & { readonly connections: number }, run = 1, ahead = 0) {
    this.#egress = egress
    this.#run = run
    this.#ahead = ahead
  }

  /** Whether messages go ahead, and no lane gets a further connection. */
  get isFull(): boolean {
    return this.#ahead > 0 && this.#connected >= this.#egress.connections
  }

  get size(): number {
    return this.#lanes.size
  }

  all(): IterableIterator<Lane> {
    return this.#lanes.values()
  }

  senders(): IterableIterator<Gated> {
    return this.#senders.values()
  }

  find(key: string): Lane | undefined {
    return this.#lanes.get(key)
  }

  /** The lane of that key, made when new. */
  lane(key: string, policy: EffectivePolicy, now: number, state?: LaneState): Lane {
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = {
        key,
        policy,
        limits: policy.limits,
        state: state ?? openLane(policy.limits, now),
        queues: [],
        several: false,
        inFlight: 0,
        ahead: 0,
        probing: false,
        dirty: false,
        saved: state,
        avoid: [],
        served: this.#served,
        runFrom: this.#served,
        wakeAt: FOREVER,
        ready: [false, false, false],
        rankAt: [0, 0, 0],
      }
      this.#lanes.set(key, lane)
    } else if (state !== undefined) {
      lane.state = state
      lane.saved = state
    }
    return lane
  }

  /** A From domain that was spoken of; most never are. */
  sender(name: string, now: number): Gated {
    let sender = this.#senders.get(name)
    if (sender === undefined) {
      sender = {
        key: `@from:${name}`,
        limits: UNLIMITED,
        state: openLane(UNLIMITED, now),
        inFlight: 0,
        probing: false,
        dirty: false,
        saved: undefined,
      }
      this.#senders.set(name, sender)
    }
    return sender
  }

  knownSender(name: string): Gated | undefined {
    return this.#senders.get(name)
  }

  /** Forgets lanes and From domains that nothing waits in and that are as good as new; what comes later makes them again. */
  forgetQuiet(now: number): void {
    for (const lane of this.#lanes.values()) {
      if (lane.inFlight > 0 || lane.dirty || lane.wakeAt !== FOREVER) continue
      const idle = lane.queues.every((q) => q.waiting === 0 && q.planned === 0 && q.dueAt === FOREVER)
      if (idle && !lane.ready.some((r) => r) && isQuiet(lane.state, lane.limits, now))
        this.#lanes.delete(lane.key)
    }
    for (const [name, sender] of this.#senders) {
      if (sender.inFlight === 0 && !sender.dirty && isQuiet(sender.state, sender.limits, now))
        this.#senders.delete(name)
    }
  }

  queue(lane: Lane, sender: string, priority: Priority): Queue {
    let queue = lane.queues.find((q) => q.priority === priority && q.sender === sender)
    if (queue === undefined) {
      queue = { lane, sender, priority, dueAt: FOREVER, waiting: 0, planned: 0 }
      lane.queues.push(queue)
    }
    return queue
  }

  /** Something waits: in the store already, or about to be seen there. */
  note(queue: Queue, dueAt: number, count: number, now: number): void {
    this.#count(queue, count)
    if (dueAt < queue.dueAt) queue.dueAt = dueAt
    this.reschedule(queue.lane, now)
  }

  /** One delivery no longer waits: it expired or was cancelled. */
  forgetOne(key: string, sender: string, priority: Priority): void {
    const queue = this.#lanes.get(key)?.queues.find((q) => q.priority === priority && q.sender === sender)
    if (queue !== undefined) this.#count(queue, -1)
  }

  /** The answer to a plan: so many were claimed, the next is due then. */
  answered(queue: Queue, claimed: number, nextDueAt: number | undefined): void {
    queue.planned--
    queue.dueAt = nextDueAt ?? FOREVER
    // nothing left in the store: whatever the count said, it is none
    this.#count(queue, nextDueAt === undefined && claimed === 0 ? -queue.waiting : -claimed)
  }

  /** The plan came to nothing: the store failed. */
  unanswered(queue: Queue): void {
    queue.planned--
  }

  #count(queue: Queue, change: number): void {
    queue.waiting += change
    this.#waiting += change
  }

  /** Deliveries that wait, over all lanes. */
  get waiting(): number {
    return this.#waiting
  }

  /** Puts a lane where it belongs after anything about it changed. */
  reschedule(lane: Lane, now: number): void {
    let wakeAt = FOREVER
    for (const queue of lane.queues) {
      const dueAt = this.#dueAt(queue, now)
      if (dueAt === FOREVER) continue
      const at = Math.max(dueAt, dueAt <= now ? this.#opening(lane, now, queue.priority).at : 0)
      if (at <= now) this.#makeReady(lane, queue.priority)
      else if (at < wakeAt) wakeAt = at
    }
    if (wakeAt !== lane.wakeAt) {
      lane.wakeAt = wakeAt
      if (wakeAt !== FOREVER) this.#wakes.push(wakeAt, lane)
      if (this.#wakes.size > 4 * this.#lanes.size + 1000) this.#compact()
    }
  }

  /** Everything about a From domain changed: its lanes are looked at again. */
  rescheduleSender(name: string, now: number): void {
    for (const lane of this.#lanes.values()) {
      if (lane.queues.some((q) => q.sender === name)) this.reschedule(lane, now)
    }
  }

  /** A plan of a From domain that is not quite open came to nothing: lanes that waited for its answer go on. */
  wakeSender({ sender, queue }: Plan, now: number): void {
    if (sender !== undefined && sender.state.phase !== 'open') this.rescheduleSender(queue.sender, now)
  }

  /** When something can go without anything arriving first; `Infinity` for never. */
  nextAt(now: number): number {
    let at = this.#wakes.next
    for (const priority of [0, 1, 2] as const) {
      if (this.#ready[priority].size > 0) at = Math.min(at, this.#egressOpening(now, priority).at)
    }
    return at
  }

  /** Attempts that could begin now but for a shared gate: a permit asked for in vain is asked for again at once. */
  readyCount(now: number): number {
    this.#wake(now)
    let lanes = 0 // may count one twice
    let room = 0
    for (const priority of [0, 1, 2] as const) {
      if (this.#ready[priority].size === 0) continue
      const open = this.#egressOpening(now, priority)
      if (open.at > now) continue
      lanes += this.#ready[priority].size
      room = Math.max(room, open.room)
    }
    return Math.min(lanes, room)
  }

  /** The highest priority that is ready. */
  get highestReady(): Priority {
    return this.#ready[0].size > 0 ? 0 : this.#ready[1].size > 0 ? 1 : 2
  }

  /**
   * The next claim to make, its slot and tokens taken at once; `undefined` when nothing may go.
   * `undo` gets the states from before the turn's first plan of each: `settleUp` and `unplan` go back to them.
   */
  plan(now: number, undo: Map<Gated, LaneState>): Plan | undefined {
    this.#wake(now)
    if (this.#refused.size === 0) return this.#next(now, undo, undefined)
    // a probe that was refused may be about its message: another queue's goes first, if one can
    const passedOver: [Priority, Lane][] = []
    const plan = this.#next(now, undo, passedOver)
    for (const [priority, lane] of passedOver) this.#makeReady(lane, priority)
    return plan ?? this.#next(now, undo, undefined)
  }

  /** This queue's message made a hold or lengthened it; or a probe passed, and all is forgotten. */
  probed(gated: Gated, queue: Queue, refused: boolean): void {
    if (!refused) {
      this.#refused.delete(gated)
      return
    }
    const others = (this.#refused.get(gated) ?? []).filter((one) => one !== queue)
    this.#refused.set(gated, [...others.slice(-7), queue])
  }

  #isRefusedProbe(queue: Queue, open: Opening, now: number): boolean {
    const { lane, priority } = queue
    const met = (gated: Gated | undefined) =>
      gated !== undefined && this.#refused.get(gated)?.includes(queue) === true
    if (open.probe && met(lane)) return true
    if (met(this.#egress) && this.#egressOpening(now, priority).probe) return true
    const sender = this.#senders.get(queue.sender)
    return met(sender) && sender?.state.phase === 'held'
  }

  #next(
    now: number,
    undo: Map<Gated, LaneState>,
    passedOver: [Priority, Lane][] | undefined,
  ): Plan | undefined {
    for (;;) {
      const priority = this.#pickPriority(now)
      if (priority === undefined) return undefined
      const rank = this.#ready[priority].next
      const lane = this.#ready[priority].pop() as Lane
      if (!lane.ready[priority] || lane.rankAt[priority] !== rank) continue
      lane.ready[priority] = false
      const open = this.#opening(lane, now, priority)
      const queue = open.at <= now ? this.#pickQueue(lane, priority, now) : undefined
      if (queue === undefined) {
        this.reschedule(lane, now)
        continue
      }
      if (passedOver !== undefined && this.#isRefusedProbe(queue, open, now)) {
        passedOver.push([priority, lane])
        continue
      }
      const isKept = this.isKeptFrom(lane, now, priority)
      const others = this.#ready[priority].size
      // others will have what is free: it goes on behind the one it has
      const isScarce = others >= this.#egress.connections - this.#connected && rank < this.#lastRank(lane)
      const isBehind =
        this.#mayWaitBehind(lane) &&
        (isKept || isScarce || lane.inFlight >= slotsOf(lane.state, lane.limits)) &&
        (others === 0 || !this.isFull || isInRun(lane))
      if (isKept && !isBehind) {
        lane.ready[priority] = true
        if (this.isFull) {
          // those after it in order have no better claim to what is not there
          lane.rankAt[priority] = rank
          this.#ready[priority].push(rank, lane)
          return undefined
        }
        this.#aside.push([priority, lane])
        lane.rankAt[priority] = ASIDE
        continue
      }
      if (!isBehind && others > 0 && this.#ahead > 0 && lane.inFlight > 0 && rank < this.#lastRank(lane)) {
        // it was first for a place behind, and there are connections for all: it has its second after their first
        lane.ready[priority] = true
        lane.rankAt[priority] = this.#lastRank(lane)
        this.#ready[priority].push(lane.rankAt[priority], lane)
        continue
      }
      return this.#take({ lane, queue, open, isBehind }, now, undo)
    }
  }

  /** When a lane may go, behind one in flight where its concurrency is used up. */
  #opening(lane: Lane, now: number, priority: Priority): Opening {
    const open = opening(lane.state, lane.limits, now, lane, priority)
    if (open.bound !== 'concurrency' || !this.#mayWaitBehind(lane)) return open
    return opening(lane.state, lane.limits, now, ALONE, priority)
  }

  #mayWaitBehind({ ahead, inFlight, state }: Lane): boolean {
    return ahead < this.#ahead * inFlight && state.phase === 'open'
  }

  #take(
    {
      lane,
      queue,
      open,
      isBehind,
    }: { readonly lane: Lane; readonly queue: Queue; readonly open: Opening; readonly isBehind: boolean },
    now: number,
    undo: Map<Gated, LaneState>,
  ): Plan {
    const egress = this.#egressOpening(now, queue.priority)
    const sender = this.#senders.get(queue.sender)
    const senderProbe =
      sender !== undefined && opening(sender.state, sender.limits, now, sender, queue.priority).probe
    const probe = open.probe || egress.probe || senderProbe
    const limit = lane.several && !probe ? Math.max(1, Math.min(BATCH, open.room, egress.room)) : 1
    for (const gated of [lane, this.#egress]) {
      if (!undo.has(gated)) undo.set(gated, gated.state)
      gated.state = depart(gated.state, gated.limits, now, limit)
    }
    this.#egress.inFlight++
    if (isBehind) lane.ahead++
    else {
      lane.inFlight++
      this.#connected++
    }
    queue.planned++
    if (open.probe) lane.probing = true
    if (egress.probe) this.#egress.probing = true
    if (sender !== undefined) {
      sender.inFlight++
      if (senderProbe) sender.probing = true
    }
    this.#served = Math.max(this.#served, lane.runFrom)
    lane.served += limit
    if (lane.served - lane.runFrom >= this.#run) lane.runFrom = lane.served
    this.#owe(queue.priority, limit)
    // a lane of single recipients may be planned again in this turn; one of several waits for the true cost
    if (!lane.several) this.reschedule(lane, now)
    return { lane, queue, limit, probe: open.probe, egressProbe: egress.probe, senderProbe, sender }
  }

  /** Gives back the slot of a plan: nothing was claimed, or its attempt has ended. */
  release(plan: Plan, egressToo: boolean): void {
    const { lane } = plan
    if (lane.ahead > 0 && lane.inFlight <= slotsOf(lane.state, lane.limits)) lane.ahead--
    else {
      lane.inFlight--
      this.#connected--
    }
    if (this.#run > 1) this.#resume(plan.lane)
    if (plan.probe) plan.lane.probing = false
    if (plan.sender !== undefined) {
      plan.sender.inFlight--
      if (plan.senderProbe) plan.sender.probing = false
    }
    if (egressToo) this.releaseSlot(plan)
  }

  /** Gives back only the slot at the egress. */
  releaseSlot(plan: Plan): void {
    this.#egress.inFlight--
    if (plan.egressProbe) this.#egress.probing = false
    for (const [priority, lane] of this.#aside.splice(0)) this.#place(lane, priority)
  }

  #place(lane: Lane, priority: Priority): void {
    const rank = this.#rank(lane)
    lane.rankAt[priority] = rank
    this.#ready[priority].push(rank, lane)
  }

  /** Its connection is free again: it goes before those that would need another. */
  #resume(lane: Lane): void {
    if (lane.inFlight > 0 && this.#ahead === 0) return
    for (const priority of [0, 1, 2] as const) {
      if (lane.ready[priority] && this.#rank(lane) < lane.rankAt[priority]) this.#place(lane, priority)
    }
  }

  /**
   * The least goes first. Of those in the middle of their run the one that has come farthest, so that few connections
   * are kept busy and none is taken away; a second attempt at a time only after all others have had their run.
   */
  #rank(lane: Lane): number {
    const { served, runFrom, inFlight } = lane
    if (this.#run === 1) return served
    if (inFlight > 0 && !(this.#mayWaitBehind(lane) && isInRun(lane))) return this.#lastRank(lane)
    return runFrom - (served - runFrom) / this.#run
  }

  #lastRank({ runFrom }: Lane): number {
    return runFrom + this.#run + 0.5
  }

  /** The moment from which a queue's head may go, its From domain considered. */
  #dueAt(queue: Queue, now: number): number {
    if (queue.dueAt === FOREVER || (queue.planned > 0 && queue.planned >= queue.waiting)) return FOREVER
    const sender = this.#senders.get(queue.sender)
    if (sender === undefined) return queue.dueAt
    return Math.max(queue.dueAt, opening(sender.state, sender.limits, now, sender, queue.priority).at)
  }

  #pickQueue(lane: Lane, priority: Priority, now: number): Queue | undefined {
    // the From domains of a lane take turns: the one picked goes to the end
    for (let i = 0; i < lane.queues.length; i++) {
      const queue = lane.queues[i] as Queue
      if (queue.priority !== priority || this.#dueAt(queue, now) > now) continue
      if (lane.queues.length > 1) {
        lane.queues.splice(i, 1)
        lane.queues.push(queue)
      }
      return queue
    }
    return undefined
  }

  /** Whoever waits while a higher priority leaves is owed a share of it. */
  #owe(left: Priority, recipients: number): void {
    this.#owed[left] = Math.max(0, (this.#owed[left] ?? 0) - recipients)
    for (const lower of [1, 2] as const) {
      if (lower <= left || this.#ready[lower].size === 0) continue
      this.#owed[lower] = (this.#owed[lower] ?? 0) + recipients / (LOWER_SHARE - 1)
    }
  }

  #pickPriority(now: number): Priority | undefined {
    const may = (priority: Priority) =>
      this.#ready[priority].size > 0 && this.#egressOpening(now, priority).at <= now
    for (const priority of [2, 1] as const)
      if ((this.#owed[priority] ?? 0) >= 1 && may(priority)) return priority
    for (const priority of [0, 1, 2] as const) if (may(priority)) return priority
    return undefined
  }

  #egressOpening(now: number, priority: Priority): Opening {
    return opening(this.#egress.state, this.#egress.limits, now, this.#egress, priority)
  }

  /** Whether the lane has a slot and taking one more would leave none: that one is for a lane without. */
  isKeptFrom(lane: Lane, now: number, priority: Priority): boolean {
    if (this.#ahead > 0) {
      return this.#connected + (lane.inFlight > 0 ? 1 : 0) >= this.#egress.connections
    }
    if (lane.inFlight === 0 || this.#egress.inFlight === 0) return false
    const { connections, limits } = this.#egress
    // what is claimed ahead waits behind a lane that hangs: it may hang all connections but one
    if (limits.concurrency > connections && connections > 1 && lane.inFlight >= connections - 1) return true
    const after = { inFlight: this.#egress.inFlight + 1, probing: this.#egress.probing }
    const bound: Bound | undefined = opening(
      this.#egress.state,
      this.#egress.limits,
      now,
      after,
      priority,
    ).bound
    return bound === 'concurrency'
  }

  #wake(now: number): void {
    while (this.#wakes.next <= now) {
      const at = this.#wakes.next
      const lane = this.#wakes.pop() as Lane
      if (lane.wakeAt !== at) continue
      lane.wakeAt = FOREVER
      this.reschedule(lane, now)
    }
  }

  #makeReady(lane: Lane, priority: Priority): void {
    if (lane.ready[priority]) return
    // an idle lane has no claim on the time in which it wanted nothing
    if (lane.served < this.#served) {
      lane.served = this.#served
      lane.runFrom = lane.served
    }
    lane.ready[priority] = true
    this.#place(lane, priority)
  }

  #compact(): void {
    this.#wakes = new Heap()
    for (const lane of this.#lanes.values()) if (lane.wakeAt !== FOREVER) this.#wakes.push(lane.wakeAt, lane)
  }
}

function isInRun({ served, runFrom }: Lane): boolean {
  return served > runFrom
}
