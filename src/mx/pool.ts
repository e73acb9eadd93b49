// The open sessions, one group per MX host set, and who gets which next. Sockets are bounded overall and per
// set; where there is no room, messages wait in the order in which they came, and idle sessions elsewhere
// say goodbye.
// Not here: how a session comes about (connect.ts), or what is said on it (session.ts).

import type { Clock, Timer } from '../clock.ts'
import type { Reply } from '../core/reply.ts'
import type { Connector, Opened } from './connect.ts'
import type { Exchange, Transaction } from './exchange.ts'
import type { MxRoute } from './resolver.ts'
import type { Follower, Session } from './session.ts'
import type { Stop } from './stop.ts'
import type { StsMode } from './sts.ts'
import { type TlsLevel, trusted } from './tls.ts'

export interface PoolSettings {
  readonly maxConnections: number
  readonly idleMs: number
}

/** Whose a message is, and how many sessions that lane may have under way at a time. */
export interface LaneWish {
  readonly key: string
  readonly sessions: number
}

/** What a message needs of its session. */
export interface Wish {
  readonly route: MxRoute
  readonly need: TlsLevel
  readonly sts: StsMode
  /** Sessions to this host set at a time. */
  readonly connections: number
  /** Addresses not to be asked again for this message. */
  readonly tried: Set<string>
  /** Only a session that no message has been on. */
  readonly fresh: boolean
  readonly lane: LaneWish | undefined
  /** Whether it may still begin, after it has waited. */
  readonly mayBegin: () => boolean
  readonly stop: Stop | undefined
  /** What is to be sent, and who may follow it in turn. */
  readonly transaction: Transaction
  readonly next: Follower['next']
  /** Whether its envelope may go along with the message before. */
  readonly follows: boolean
}

/** A session to send on, to be given back, or why there is none. `begun`: its envelope is on its way already. */
export type Lease =
  | {
      readonly session: Session
      readonly reused: boolean
      readonly begun?: Exchange
      readonly lines: readonly string[]
    }
  | { readonly session: undefined; readonly reply: Reply; readonly lines: readonly string[] }

interface Waiter {
  readonly wish: Wish
  readonly resolve: (lease: Lease | Promise<Lease>) => void
  /** Goes on with opening a session, where that has begun and its socket was given to others meanwhile. */
  readonly resume?: () => void
}

interface Group {
  readonly key: string
  /** The most recently used last. */
  readonly idle: Session[]
  readonly waiting: Waiter[]
  /** Sockets, those that are being opened or closed included. */
  open: number
  /** Openings that gave their socket to others for a while. */
  aside: number
}

/** What a lane has of the sessions: those lent, and those being opened for it. */
interface LaneUse {
  readonly key: string
  busy: number
  /** As told last. */
  most: number
  /** Groups whose first in line waits for one of them. */
  readonly blocked: Set<Group>
}

const ABORTED: Reply = { text: 'aborted before a connection was free', phase: 'unknown', errno: 'EABORT' }

export const HELD: Reply = { text: 'held back before it began', phase: 'unknown', errno: 'EABORT' }

/** Below this an idle session is taken at once: the event loop has looked at its socket just now. */
const SURELY_FRESH_MS = 20

export class Pool {
  readonly #settings: PoolSettings
  readonly #clock: Clock
  readonly #connector: Connector
  readonly #groups = new Map<string, Group>()
  readonly #groupOf = new Map<Session, Group>()
  readonly #lanes = new Map<string, LaneUse>()
  readonly #lent = new Map<Session, LaneUse>()
  /** All idle sessions, the longest idle first. */
  readonly #idle = new Set<Session>()
  /** Sessions that were asked to leave so that others get their sockets, and are not gone yet. */
  readonly #leaving = new Set<Session>()
  /** Groups where somebody waits, the longest served last. */
  readonly #queues = new Set<Group>()
  #open = 0
  #timer: Timer | undefined
  #closed = false

  constructor(settings: PoolSettings, clock: Clock, connector: Connector) {
    this.#settings = settings
    this.#clock = clock
    this.#connector = connector
  }

  /** Sockets open or being opened. */
  get open(): number {
    return this.#open
  }

  /** How much of what it is kept: bounded by what is open or waits. */
  get kept(): {
    readonly groups: number
    readonly sessions: number
    readonly lanes: number
    readonly lent: number
  } {
    return {
      groups: this.#groups.size,
      sessions: this.#groupOf.size,
      lanes: this.#lanes.size,
      lent: this.#lent.size,
    }
  }

  /** A session for one transaction. Resolves when there is one, or nobody of the route takes any. */
  lease(wish: Wish): Lease | Promise<Lease> {
    const group = this.#group(wish)
    const lane = this.#laneFor(wish)
    if (wish.lane) lane.most = wish.lane.sessions
    const session = this.#takeIdle(group, wish, lane)
    if (session) return this.#lend(session, wish, lane)
    return new Promise((resolve) => {
      group.waiting.push({ wish, resolve })
      this.#queues.add(group)
      this.#serve(group)
    })
  }

  #lend(session: Session, wish: Wish, lane: LaneUse): Lease | Promise<Lease> {
    lane.busy++
    this.#lent.set(session, lane)
    if (this.#clock.monotonic() - session.idleSince <= SURELY_FRESH_MS) return leaseOf(session)
    return this.#lookTwice(session, wish)
  }

  /**
   * A goodbye may be waiting in its socket, unread. Sockets are looked at between two turns, but not between a
   * socket's own callback and the turn after it: the second turn is sure to have looked.
   */
  #lookTwice(session: Session, wish: Wish): Promise<Lease> {
    return new Promise((resolve) => {
      const decide = () => {
        if (!session.isOpen) this.release(session, true)
        resolve(session.isOpen ? leaseOf(session) : this.lease(wish))
      }
      this.#clock.turn(() => this.#clock.turn(decide))
    })
  }

  /** Gives a session back; `spent` when it is to carry no further message. */
  release(session: Session, spent: boolean): void {
    const group = this.#groupOf.get(session)
    const lane = this.#lent.get(session)
    if (!group || !lane) return
    this.#lent.delete(session)
    lane.busy--
    if (!session.isOpen || spent || this.#closed) session.quit()
    else {
      session.idleSince = this.#clock.monotonic()
      if (this.#handOn(group, session)) return
      group.idle.push(session)
      this.#idle.add(session)
      this.#timer ??= this.#sweepLater()
      if (this.#open >= this.#settings.maxConnections) this.#makeRoom()
      // whoever waits here cannot use it, and may want its place
      if (group.waiting.length > 0) this.#serve(group)
    }
    this.#unblock(lane)
  }

  /** Gives a session to whoever waits for these hosts. */
  #handOn(group: Group, session: Session): boolean {
    if (group.waiting.length === 0) return false
    const waiter = takeFirst(group.waiting, ({ wish, resume }) => {
      return !resume && suits(session, wish) && hasRoom(this.#laneFor(wish))
    })
    if (!waiter) return false
    const lane = this.#laneFor(waiter.wish)
    lane.busy++
    this.#lent.set(session, lane)
    waiter.resolve(leaseOf(session))
    return true
  }

  /** Who goes on at once on a session that is about to end a message, if anybody waits who would be given it then. */
  follower(session: Session): Follower | undefined {
    const group = this.#groupOf.get(session)
    const lane = this.#lent.get(session)
    if (!group || !lane || group.waiting.length === 0 || this.#closed || lane.busy > lane.most)
      return undefined
    const waiter = takeFirst(group.waiting, ({ wish, resume }) => {
      if (resume || !wish.follows || wish.stop?.aborted || keyOf(wish) !== lane.key) return false
      return suits(session, wish) && session.unable(wish.transaction) === undefined && wish.mayBegin()
    })
    if (!waiter) return undefined
    const { wish, resolve } = waiter
    return {
      transaction: wish.transaction,
      next: wish.next,
      begun: (begun) => resolve({ session, reused: true, begun, lines: session.opening }),
    }
  }

  /** Quits what is idle; what is busy quits when it is given back. */
  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    for (const session of this.#idle) session.quit()
    this.#idle.clear()
    for (const group of this.#groups.values()) group.idle.length = 0
  }

  // ---- groups ---------------------------------------------------------------------------------------------

  #group({ route, sts }: Wish): Group {
    // a policy of its own is a matter between us and that domain: its sessions are not shared
    const key = sts === 'none' ? route.key : `${route.key} for ${route.domain}`
    const known = this.#groups.get(key)
    if (known) return known
    const group: Group = { key, idle: [], waiting: [], open: 0, aside: 0 }
    this.#groups.set(key, group)
    return group
  }

  /** The lane of a message; one for all whose lane is bounded elsewhere. */
  #laneFor(wish: Wish): LaneUse {
    const key = keyOf(wish)
    let lane = this.#lanes.get(key)
    if (!lane) {
      lane = { key, busy: 0, most: Number.POSITIVE_INFINITY, blocked: new Set() }
      this.#lanes.set(key, lane)
    }
    return lane
  }

  /** The lane has a session less under way: others of it may have one. */
  #unblock(lane: LaneUse): void {
    for (const group of lane.blocked) {
      if (!hasRoom(lane)) return
      lane.blocked.delete(group)
      this.#serve(group)
    }
    this.#forget(lane)
  }

  #forget(lane: LaneUse): void {
    if (lane.busy === 0 && lane.blocked.size === 0) this.#lanes.delete(lane.key)
  }

  #takeIdle(group: Group, wish: Wish, lane: LaneUse): Session | undefined {
    if (!hasRoom(lane)) return undefined
    for (let i = group.idle.length - 1; i >= 0; i--) {
      const session = group.idle[i] as Session // in range
      if (session.isOpen && !suits(session, wish)) continue
      group.idle.splice(i, 1)
      this.#idle.delete(session)
      if (session.isOpen) return session
    }
    return undefined
  }

  /** Opens sessions for those who wait, as far as there is room. */
  #serve(group: Group): void {
    for (;;) {
      const [waiter] = group.waiting
      if (!waiter) {
        this.#queues.delete(group)
        return
      }
      const isOver = waiter.wish.stop?.aborted ? ABORTED : waiter.wish.mayBegin() ? undefined : HELD
      if (isOver && !waiter.resume) {
        this.#dismiss(group, isOver)
        continue
      }
      const lane = this.#laneFor(waiter.wish)
      if (!hasRoom(lane) && !waiter.resume) {
        lane.blocked.add(group)
        return
      }
      const session = waiter.resume ? undefined : this.#takeIdle(group, waiter.wish, lane)
      if (session) {
        group.waiting.shift()
        waiter.resolve(this.#lend(session, waiter.wish, lane))
        continue
      }
      if (group.open >= waiter.wish.connections) {
        // what is idle here does not suit whoever waits, or it would have been taken
        const [unsuited] = group.idle
        if (unsuited) this.#retire(unsuited)
        return
      }
      if (this.#open >= this.#settings.maxConnections) {
        this.#makeRoom()
        return
      }
      group.waiting.shift()
      group.open++
      this.#open++
      if (waiter.resume) waiter.resume()
      else {
        lane.busy++
        this.#openFor(group, waiter)
      }
    }
  }

  /** Answers the first in line without a session. */
  #dismiss(group: Group, reply: Reply): void {
    const waiter = group.waiting.shift()
    if (!waiter) return
    waiter.resolve({ session: undefined, reply, lines: [] })
    this.#forget(this.#laneFor(waiter.wish))
  }

  async #openFor(group: Group, { wish, resolve }: Waiter): Promise<void> {
    const opened = await this.#try(group, wish)
    const lane = this.#laneFor(wish)
    if (opened.session) {
      this.#groupOf.set(opened.session, group)
      this.#lent.set(opened.session, lane)
    } else {
      lane.busy--
      this.#freed(group)
      this.#unblock(lane)
    }
    resolve(opened.session ? { ...opened, reused: false } : opened)
  }

  async #try(group: Group, wish: Wish): Promise<Opened> {
    let session: Session | undefined
    let gone = false
    try {
      const opened = await this.#connector.open({
        ...wish,
        standAside: (until) => this.#standAside(group, wish, until),
        onClosed: () => {
          if (session) this.#gone(session)
          else gone = true
        },
      })
      session = opened.session
      if (session && gone) this.#clock.turn(() => session && this.#gone(session))
      return opened
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      return { session: undefined, reply: { text, phase: 'unknown', errno: 'ECONNECTION' }, lines: [] }
    }
  }

  /** Whoever is opening a session gives its socket away, and waits for one again once it can use it. */
  async #standAside(group: Group, wish: Wish, until: Promise<void>): Promise<void> {
    // its lane still has it under way: another of the same would only stand beside it
    group.aside++
    this.#freed(group)
    await until
    group.aside--
    await new Promise<void>((resume) => {
      group.waiting.unshift({ wish, resolve: () => resume(), resume })
      this.#queues.add(group)
      this.#serve(group)
    })
  }

  #gone(session: Session): void {
    const group = this.#groupOf.get(session)
    if (!group) return
    this.#groupOf.delete(session)
    this.#leaving.delete(session)
    const lane = this.#lent.get(session)
    this.#lent.delete(session)
    if (lane) lane.busy--
    if (this.#idle.delete(session)) group.idle.splice(group.idle.indexOf(session), 1)
    this.#freed(group)
    if (lane) this.#unblock(lane)
  }

  /** A slot is free: first for its own group, then for whoever has waited longest. */
  #freed(group: Group): void {
    group.open--
    this.#open--
    this.#serve(group)
    if (group.open + group.waiting.length + group.aside === 0) this.#groups.delete(group.key)
    for (const other of [...this.#queues]) {
      if (this.#open >= this.#settings.maxConnections) return
      // to the end of the line, so that no host set is served twice before another is once
      this.#queues.delete(other)
      this.#queues.add(other)
      this.#serve(other)
    }
  }

  /** The session that has been idle longest leaves, if more wait that could use its socket than are leaving. */
  #makeRoom(): void {
    const [oldest] = this.#idle
    if (!oldest) return
    let short = 1 + this.#leaving.size
    for (const { waiting, open } of this.#queues) {
      const [first] = waiting
      if (!first) continue
      const { most, busy } = this.#laneFor(first.wish)
      short -= Math.max(0, Math.min(waiting.length, first.wish.connections - open, most - busy))
      if (short > 0) continue
      this.#leaving.add(oldest)
      this.#retire(oldest)
      return
    }
  }

  #retire(session: Session): void {
    const group = this.#groupOf.get(session)
    this.#idle.delete(session)
    const at = group?.idle.indexOf(session) ?? -1
    if (at >= 0) group?.idle.splice(at, 1)
    session.quit()
  }

  #sweepLater(): Timer {
    const [oldest] = this.#idle
    const since = oldest?.idleSince ?? this.#clock.monotonic()
    const timer = this.#clock.after(since + this.#settings.idleMs - this.#clock.monotonic(), () =>
      this.#sweep(),
    )
    timer.keep(false)
    return timer
  }

  #sweep(): void {
    const before = this.#clock.monotonic() - this.#settings.idleMs
    for (const session of this.#idle) {
      if (session.idleSince > before) break
      this.#retire(session)
    }
    this.#timer = this.#idle.size > 0 ? this.#sweepLater() : undefined
  }
}

function leaseOf(session: Session): Lease {
  return { session, reused: true, lines: session.opening }
}

function keyOf({ lane }: Wish): string {
  return lane?.key ?? ''
}

function hasRoom({ busy, most }: LaneUse): boolean {
  return busy < most
}

function suits(session: Session, wish: Wish): boolean {
  if (wish.fresh || !session.isOpen) return false
  return trusted(session.tls, wish.need) && !wish.tried.has(session.address)
}

function takeFirst<T>(among: T[], fits: (one: T) => boolean): T | undefined {
  const at = among.findIndex(fits)
  return at < 0 ? undefined : among.splice(at, 1)[0]
}
